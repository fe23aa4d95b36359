//! An organisation of its own for a test: token, store, agent, admin, and whoever else is enrolled.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use strongroom_agent::keystore::pkcs11::BUILT_IN;
use strongroom_proto::client::Client;
use strongroom_proto::ids::{IdentityId, Slug};
use strongroom_proto::method::account::{ImportBegin, ImportCommit, ImportRows, Row};
use strongroom_proto::method::{grant, identity, vault};
use strongroom_proto::words::{IdentityKind, OrgRole, Scheme, VaultRole};
use tempfile::TempDir;

use crate::agent::{AgentProcess, Launch};
use crate::people::{KNOWN_AGENTS, Person};
use crate::schemes::scheme;
use crate::token::{Kind, TestToken};
use crate::tools;

/// The PIN of test tokens: recognisable, so that a leak can be found by searching for it.
pub const PIN: &str = "pin-7391-leak-canary";

/// How an organisation is set up.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Offline recovery recipients; none means `--no-recovery`.
    pub recovery_recipients: Vec<String>,
    /// Where the data folder is, if not in the private folder.
    pub data_dir: Option<PathBuf>,
    /// The PKCS#11 module, if not SoftHSM's own: one that fails on command.
    pub module: Option<PathBuf>,
    /// The token's profile, if not the one of its kind.
    pub profile: Option<&'static str>,
    /// How many workers, if not as many as the profile says.
    pub workers: Option<u8>,
    /// The token's PIN, if not [`PIN`].
    pub pin: Option<&'static str>,
    /// Further environment of the agent.
    pub environment: Vec<(OsString, OsString)>,
    /// The kind of token, if not the one that the suite runs on.
    pub token: Option<Kind>,
}

/// A test's organisation.
pub struct Organisation {
    /// The running agent; `None` between stops and starts.
    pub agent: Option<AgentProcess>,
    /// How it is started.
    pub launch: Launch,
    /// The first admin.
    pub admin: Person,
    /// The data folder.
    pub data_dir: PathBuf,
    /// The token.
    pub token: TestToken,
    root: TempDir,
}

impl Organisation {
    /// Founds an organisation and starts its agent.
    #[must_use]
    pub fn found() -> Self {
        Self::found_with(&Setup::default())
    }

    /// Founds an organisation in a given way and starts its agent.
    ///
    /// # Panics
    /// If any step fails.
    #[must_use]
    pub fn found_with(setup: &Setup) -> Self {
        let mut organisation = Self::prepare(setup);
        let mut arguments = vec!["init", "--admin", "admin", "--admin-name", "Ada Admin", "--admin-key"];
        let key = organisation.admin.key.with_extension("pub").display().to_string();
        arguments.push(&key);
        if setup.recovery_recipients.is_empty() {
            arguments.push("--no-recovery");
        }
        for recipient in &setup.recovery_recipients {
            arguments.extend(["--recovery-recipient", recipient]);
        }
        let output = tools::output(&mut organisation.launch.command(&arguments));
        assert!(output.status.success(), "init: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout);
        let pin_line = text.lines().last().expect("init prints the line for known_agents");
        tools::write_private(&organisation.root.path().join(KNOWN_AGENTS), &format!("{pin_line}\n"));
        organisation.start();
        organisation
    }

    /// Makes token, folders and configuration without founding anything.
    ///
    /// # Panics
    /// If any step fails.
    #[must_use]
    pub fn prepare(setup: &Setup) -> Self {
        let root = tempfile::Builder::new().prefix("strongroom-test-").tempdir().expect("a private folder can be made");
        let private = |path: &Path| {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).expect("a folder can be made");
        };
        private(&root.path().join("run"));
        private(&root.path().join("config/strongroom"));
        let token = TestToken::make_a(setup.token.unwrap_or_else(Kind::wanted), root.path(), setup.pin.unwrap_or(PIN));
        tools::write_private(&root.path().join("pin"), &format!("{}\n", token.pin));

        let data_dir = setup.data_dir.clone().unwrap_or_else(|| root.path().join("data"));
        private(&data_dir);
        let socket = root.path().join("run/agent.sock");
        let config = root.path().join("agent.toml");
        let mut text = String::new();
        let _ = write!(
            text,
            "data_dir = \"{}\"\nsocket = \"{}\"\npin = {{ file = \"{}\" }}\ndefault_scheme = \"{}\"\n\n[token]\nmodule = \"{}\"\nlabel = \"{}\"\n",
            data_dir.display(),
            socket.display(),
            root.path().join("pin").display(),
            if token.unwraps() && setup.profile != Some("yubihsm2") { scheme() } else { Scheme::Derived },
            setup.module.as_ref().unwrap_or(&token.module).display(),
            token.label,
        );
        let profile = setup.module.as_ref().map_or_else(
            || token.kind.profile(),
            |module| {
                let base = setup.profile.map_or_else(|| token.kind.profile(), str::to_owned);
                profile_for(module, &base, root.path()).display().to_string()
            },
        );
        let _ = writeln!(text, "profile = \"{profile}\"");
        if let Some(workers) = setup.workers {
            let _ = writeln!(text, "workers = {workers}");
        }
        if let Some(storage) = &token.storage {
            let _ = writeln!(text, "storage = \"{}\"", storage.display());
        }
        tools::write_private(&config, &text);
        let launch = Launch {
            config,
            socket: socket.clone(),
            log: root.path().join("agent.log"),
            token_environment: token.environment.clone(),
            environment: setup.environment.clone(),
        };
        let admin = Person::new("admin", root.path(), &socket);
        Self { agent: None, launch, admin, data_dir, token, root }
    }

    /// Starts the agent.
    pub fn start(&mut self) {
        self.agent = Some(self.launch.start());
    }

    /// Adds sections to the configuration and starts the agent anew.
    ///
    /// # Panics
    /// If the configuration cannot be written, or the agent does not start with it.
    pub fn configure(&mut self, sections: &str) {
        let text = std::fs::read_to_string(&self.launch.config).expect("it was written");
        tools::write_private(&self.launch.config, &format!("{text}\n{sections}"));
        self.restart();
    }

    /// Stops the agent and starts it: what it keeps in memory only, such as the brake on failed logins, is gone.
    pub fn restart(&mut self) {
        self.running().stop();
        self.start();
    }

    /// The running agent.
    ///
    /// # Panics
    /// If it has been stopped.
    pub fn running(&mut self) -> &mut AgentProcess {
        self.agent.as_mut().expect("the agent was started")
    }

    /// The private folder of the test.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The folder of the token's files.
    #[must_use]
    pub fn tokens(&self) -> PathBuf {
        self.root.path().join("tokens")
    }

    /// The agent's key as clients pin it: `keytype base64`.
    ///
    /// # Panics
    /// If the organisation was not founded.
    #[must_use]
    pub fn agent_key(&self) -> String {
        let pins = std::fs::read_to_string(self.root.path().join(KNOWN_AGENTS)).expect("init was run");
        pins.trim().split_once(' ').expect("a pin has a name").1.to_owned()
    }

    /// The store's file.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.data_dir.join("store.sqlite")
    }

    /// Enrols somebody with a new key.
    ///
    /// # Panics
    /// If the agent refuses.
    pub async fn enrol(&self, admin: &mut Client, slug: &str, roles: &[OrgRole]) -> Person {
        let person = Person::new(slug, self.root.path(), &self.launch.socket);
        self.enrol_person(admin, &person, roles).await;
        person
    }

    /// Enrols somebody who has a key, and gives the id that records name.
    ///
    /// # Panics
    /// If the agent refuses.
    pub async fn enrol_person(&self, admin: &mut Client, person: &Person, roles: &[OrgRole]) -> IdentityId {
        let enrol = identity::Enrol {
            identity: slug(&person.slug),
            name: format!("Test {}", person.slug),
            kind: IdentityKind::Technician,
            roles: roles.to_vec(),
            public_key: person.public_key(),
            attestation: None,
            until: None,
            service: None,
        };
        admin.call(&enrol).await.unwrap_or_else(|error| panic!("enrol {}: {error}", person.slug)).id
    }
}

/// Whatever a test did: at its end the rows say what the logs say. A test that broke store or token has nothing to compare.
impl Drop for Organisation {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let Ok(output) = self.launch.command(&["audit", "check-state"]).stdin(std::process::Stdio::null()).output()
        else {
            return;
        };
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(!said.contains("DIFFERS") && !said.contains("UNREAD"), "{said}");
    }
}

/// A profile that lets a worker write beside a module of the test's own, where that one keeps its log.
fn profile_for(module: &Path, base: &str, root: &Path) -> PathBuf {
    let (_, text) = *BUILT_IN.iter().find(|(name, _)| *name == base).expect("a built-in profile");
    let folder = module.parent().expect("a module lies in a folder").display();
    let path = root.join("profile.toml");
    let text = text
        .replace("\nwrite = [", &format!("\nwrite = [\"{folder}\", "))
        // The real module behind it is SoftHSM, whatever the profile says.
        .replace("\nenvironment = [", "\nenvironment = [\"SOFTHSM2_CONF\", ");
    tools::write_private(&path, &text);
    path
}

/// A slug that is known to be one.
///
/// # Panics
/// If it is none.
#[must_use]
pub fn slug(text: &str) -> Slug {
    Slug::new(text).expect("the test writes slugs")
}

/// Makes a vault.
///
/// # Panics
/// If the agent refuses.
pub async fn create_vault(admin: &mut Client, name: &str, scheme: Scheme) {
    let create =
        vault::Create { vault: slug(name), name: format!("{name} Ltd"), scheme: Some(scheme), min_assurance: None };
    admin.call(&create).await.unwrap_or_else(|error| panic!("create {name}: {error}"));
}

/// Gives a standing grant on a whole vault.
///
/// # Panics
/// If the agent refuses.
pub async fn give(by: &mut Client, vault: &str, identity: &str, role: VaultRole) -> strongroom_proto::ids::GrantId {
    let give = grant::Give {
        vault: slug(vault),
        identity: Some(slug(identity)),
        group: None,
        role,
        accounts: None,
        from: None,
        until: None,
        hours: None,
        reason: None,
        ticket: None,
    };
    by.call(&give).await.unwrap_or_else(|error| panic!("give {role} in {vault} to {identity}: {error}")).grant
}

/// Imports rows in one commit.
///
/// # Errors
/// The agent's refusal.
pub async fn try_import(
    manager: &mut Client,
    vault: &str,
    rows: Vec<Row>,
) -> Result<Vec<String>, strongroom_proto::client::CallError> {
    import_as(manager, vault, rows, false).await
}

/// As [`try_import`]; with `replace`, accounts that exist get a new seed.
///
/// # Errors
/// The agent's refusal.
pub async fn import_as(
    manager: &mut Client,
    vault: &str,
    rows: Vec<Row>,
    replace: bool,
) -> Result<Vec<String>, strongroom_proto::client::CallError> {
    let begin = ImportBegin { vault: slug(vault), source: "test".to_owned(), replace };
    let import = manager.call(&begin).await?.import;
    for chunk in rows.chunks(100) {
        manager.call(&ImportRows { import, rows: chunk.to_vec() }).await?;
    }
    let imported = manager.call(&ImportCommit { import }).await?;
    Ok(imported.accounts.iter().map(ToString::to_string).collect())
}

/// Imports rows, which must be taken.
///
/// # Panics
/// If the agent refuses.
pub async fn import(manager: &mut Client, vault: &str, rows: Vec<Row>) -> Vec<String> {
    try_import(manager, vault, rows).await.unwrap_or_else(|error| panic!("import into {vault}: {error}"))
}

/// A row with a seed.
#[must_use]
pub fn row(
    account: &str,
    kind: strongroom_proto::words::OtpKind,
    algorithm: strongroom_proto::words::Algorithm,
    digits: u8,
    seed: &[u8],
) -> Row {
    let period_s = if kind == strongroom_proto::words::OtpKind::Hotp { 0 } else { 30 };
    Row {
        account: slug(account),
        issuer: "Test".to_owned(),
        label: format!("{account}@example"),
        kind,
        algorithm,
        digits,
        period_s,
        counter: 0,
        seed: BASE64.encode(seed).into(),
    }
}
