//! People: an SSH key each, made by ssh-keygen, and the ways they talk to the agent.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ssh_key::private::Ed25519Keypair;
use ssh_key::{HashAlg, LineEnding, PrivateKey, PublicKey};
use strongroom_proto::client::{Client, KnownAgents, Login, SignError, Signer};
use strongroom_proto::ids::Slug;

use crate::tools;

/// Where pins are, beneath the test's folder: the command's own place, with the configuration in `config`.
pub const KNOWN_AGENTS: &str = "config/strongroom/known_agents";

/// Somebody with a key.
#[derive(Clone, Debug)]
pub struct Person {
    /// Their slug.
    pub slug: String,
    /// Their private key file.
    pub key: PathBuf,
    socket: PathBuf,
    known_agents: PathBuf,
    home: PathBuf,
}

impl Person {
    /// Makes somebody with a new ed25519 key.
    #[must_use]
    pub fn new(slug: &str, root: &Path, socket: &Path) -> Self {
        Self::with_key_type(slug, root, socket, &["-t", "ed25519"])
    }

    /// Makes somebody with a key of a type, in ssh-keygen's words.
    #[must_use]
    pub fn with_key_type(slug: &str, root: &Path, socket: &Path, key_type: &[&str]) -> Self {
        let key = root.join(format!("key-{slug}"));
        let path = key.display().to_string();
        let comment = format!("{slug}@example");
        let mut arguments = vec!["-q", "-N", "", "-C", &comment, "-f", &path];
        arguments.extend_from_slice(key_type);
        tools::run("ssh-keygen", &arguments);
        Self {
            slug: slug.to_owned(),
            key,
            socket: socket.to_owned(),
            known_agents: root.join(KNOWN_AGENTS),
            home: root.to_owned(),
        }
    }

    /// Makes somebody with a new ed25519 key made in this process: for tests that enrol hundreds.
    ///
    /// # Panics
    /// If the key cannot be written.
    #[must_use]
    pub fn quick(slug: &str, root: &Path, socket: &Path) -> Self {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).expect("the system has randomness");
        let mut private = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
        private.set_comment(format!("{slug}@example"));
        let key = root.join(format!("key-{slug}"));
        private.write_openssh_file(&key, LineEnding::LF).expect("the key can be written");
        private.public_key().write_openssh_file(key.with_extension("pub")).expect("the key can be written");
        Self {
            slug: slug.to_owned(),
            key,
            socket: socket.to_owned(),
            known_agents: root.join(KNOWN_AGENTS),
            home: root.to_owned(),
        }
    }

    /// The same key under somebody else's name.
    #[must_use]
    pub fn called(&self, slug: &str) -> Self {
        Self { slug: slug.to_owned(), ..self.clone() }
    }

    /// The line of their `.pub` file.
    ///
    /// # Panics
    /// If the file is gone.
    #[must_use]
    pub fn public_key(&self) -> String {
        std::fs::read_to_string(self.key.with_extension("pub")).expect("ssh-keygen wrote it").trim().to_owned()
    }

    /// `strongroom` as they would call it, with nothing else in the environment.
    #[must_use]
    pub fn strongroom(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(tools::program("strongroom"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", &self.home)
            .env("XDG_CONFIG_HOME", self.home.join("config"))
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("STRONGROOM_SOCK", &self.socket)
            .env("STRONGROOM_IDENTITY", &self.slug)
            .env("STRONGROOM_KEY", &self.key);
        command
    }

    /// Runs `strongroom` to its end.
    pub fn call(&self, arguments: &[&str]) -> Output {
        tools::output(&mut self.strongroom(arguments))
    }

    /// Runs `strongroom`, which must succeed, and gives its output.
    ///
    /// # Panics
    /// If it fails; the message has its errors.
    pub fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.call(arguments);
        assert!(
            output.status.success(),
            "{} strongroom {arguments:?} exited {:?}: {}",
            self.slug,
            output.status.code(),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("the answer is text")
    }

    /// What signs for them: at login, and call by call.
    ///
    /// # Panics
    /// If the key file is gone.
    #[must_use]
    pub fn signer(&self) -> impl Signer + use<> {
        FileSigner::read(&self.key).expect("the key file is there")
    }

    /// Connects and logs in over the protocol.
    ///
    /// # Panics
    /// If the agent refuses.
    pub async fn connect(&self) -> Client {
        self.try_connect().await.unwrap_or_else(|error| panic!("{}: {error:#}", self.slug))
    }

    /// Connects and logs in over the protocol, or says why not.
    ///
    /// # Errors
    /// The client's own.
    pub async fn try_connect(&self) -> anyhow::Result<Client> {
        self.log_in(Client::connect(&self.socket).await?).await
    }

    /// Logs in over a stream that the test has made, and may look into.
    ///
    /// # Errors
    /// The client's own.
    pub async fn connect_over(&self, stream: tokio::net::UnixStream) -> anyhow::Result<Client> {
        self.log_in(Client::from_stream(stream, &self.socket)).await
    }

    async fn log_in(&self, mut client: Client) -> anyhow::Result<Client> {
        let identity = Slug::new(&self.slug)?;
        let signer = FileSigner::read(&self.key)?;
        let pins = KnownAgents::new(None, Some(self.known_agents.clone()));
        client.login(Login { identity: &identity, client: "tests/1", signer: &signer, pins: &pins }).await?;
        Ok(client)
    }
}

/// Signs with a key file in this process.
struct FileSigner {
    private: PrivateKey,
    public: PublicKey,
}

impl FileSigner {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let private = PrivateKey::read_openssh_file(path)?;
        Ok(Self { public: private.public_key().clone(), private })
    }
}

impl Signer for FileSigner {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, namespace: &str, text: &[u8]) -> Result<String, SignError> {
        self.private
            .sign(namespace, HashAlg::Sha512, text)
            .and_then(|signature| signature.to_pem(LineEnding::LF))
            .map_err(|error| SignError(error.to_string()))
    }
}
