//! Logins step by step, so that a test can send what no client of ours would: other texts, other signatures.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use strongroom_proto::ids::{Instance, Slug};
use strongroom_proto::login::login_text;
use strongroom_proto::sshsig;

use crate::organisation::slug;
use crate::tools;

/// A connection on which calls are made by hand.
pub struct Wire {
    stream: UnixStream,
    reader: BufReader<UnixStream>,
}

impl Wire {
    /// Connects.
    ///
    /// # Panics
    /// If nobody listens.
    #[must_use]
    pub fn connect(socket: &Path) -> Self {
        Self::over(UnixStream::connect(socket).expect("the agent listens"))
    }

    /// Takes a connection.
    ///
    /// # Panics
    /// If it cannot be doubled.
    #[must_use]
    pub fn over(stream: UnixStream) -> Self {
        let reader = BufReader::new(stream.try_clone().expect("a descriptor can be doubled"));
        Self { stream, reader }
    }

    /// Calls a method: its result, or the kind of the refusal.
    ///
    /// # Errors
    /// The kind; `closed` if the connection has ended.
    ///
    /// # Panics
    /// If the answer is none.
    pub fn call(&mut self, method: &str, params: &Value) -> Result<Value, String> {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let mut line = String::new();
        let written = self.stream.write_all(format!("{request}\n").as_bytes());
        if written.and_then(|()| self.reader.read_line(&mut line)).unwrap_or(0) == 0 {
            return Err("closed".to_owned());
        }
        let mut answer: Value = serde_json::from_str(&line).expect("an answer is JSON");
        match answer["error"]["data"]["kind"].as_str() {
            Some(kind) => Err(kind.to_owned()),
            None => Ok(answer["result"].take()),
        }
    }

    /// Begins a login.
    ///
    /// # Errors
    /// The kind of the refusal.
    ///
    /// # Panics
    /// If the answer lacks something.
    pub fn open(&mut self, identity: &str, key: &str, certificate: Option<&str>) -> Result<Opened, String> {
        let mut params = json!({
            "protocol": 1, "client": "tests/1", "identity": identity, "public_key": key, "client_nonce": "5a".repeat(32),
        });
        if let Some(certificate) = certificate {
            params["certificate"] = certificate.into();
        }
        let opened = self.call("session.open", &params)?;
        let agent = opened["agent_key"].as_str().expect("the agent says its key");
        Ok(Opened {
            agent: sshsig::fingerprint(&agent.parse().expect("it is a key")),
            instance: opened["instance"].as_str().expect("it says its run").parse().expect("that is an id"),
            nonce: opened["nonce"].as_str().expect("it draws a nonce").to_owned(),
            identity: slug(identity),
            key: fingerprint(key),
        })
    }

    /// Ends a login with a signature.
    ///
    /// # Errors
    /// The kind of the refusal.
    pub fn prove(&mut self, signature: &str) -> Result<Value, String> {
        self.call("session.prove", &json!({"signature": signature}))
    }
}

/// What a login text is made of.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The agent's fingerprint.
    pub agent: String,
    /// Its run.
    pub instance: Instance,
    /// Its nonce.
    pub nonce: String,
    /// Who logs in.
    pub identity: Slug,
    /// The key's fingerprint.
    pub key: String,
}

impl Opened {
    /// The text that is to be signed.
    #[must_use]
    pub fn text(&self) -> String {
        login_text(&self.agent, self.instance, &self.nonce, &self.key, &self.identity)
    }
}

/// The fingerprint of a `.pub` line.
///
/// # Panics
/// If it is none.
#[must_use]
pub fn fingerprint(line: &str) -> String {
    sshsig::fingerprint(&line.parse().expect("a public key"))
}

/// Signs with `ssh-keygen -Y sign`.
///
/// # Panics
/// If it fails.
#[must_use]
pub fn sign(key: &Path, namespace: &str, text: &str, more: &[&str]) -> String {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-Y", "sign", "-n", namespace]).args(more).arg("-f").arg(key).env_remove("SSH_AUTH_SOCK");
    command.env("SSH_SK_PROVIDER", fido_provider());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("ssh-keygen is there");
    child.stdin.take().expect("it reads").write_all(text.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{command:?}");
    String::from_utf8(output.stdout).expect("an armoured signature is text")
}

/// Has `ssh-keygen -s` certify a key for an hour, unless `more` says something else; gives the certificate's line.
///
/// # Panics
/// If it fails.
pub fn certify(authority: &Path, key: &Path, more: &[&str]) -> String {
    let mut command = Command::new("ssh-keygen");
    command.arg("-q").arg("-s").arg(authority).args(["-I", "test key", "-V", "+1h"]).args(more);
    let output = tools::output(command.arg(key.with_extension("pub")));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read_to_string(certificate_file(key)).expect("ssh-keygen wrote it").trim().to_owned()
}

/// Where ssh looks for a key's certificate.
#[must_use]
pub fn certificate_file(key: &Path) -> PathBuf {
    let mut name = key.as_os_str().to_owned();
    name.push("-cert.pub");
    name.into()
}

/// Takes the armour off a signature, changes its bytes and puts it on again.
///
/// # Panics
/// If it is none.
#[must_use]
pub fn altered(armoured: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
    let body: String = armoured.lines().filter(|line| !line.starts_with("-----")).collect();
    let mut bytes = BASE64.decode(body).expect("it is armoured");
    change(&mut bytes);
    format!("-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n", BASE64.encode(bytes))
}

/// OpenSSH's software security key.
///
/// # Panics
/// If it cannot be fetched.
#[must_use]
pub fn fido_provider() -> PathBuf {
    match std::env::var_os("STRONGROOM_SK_PROVIDER") {
        Some(provider) => PathBuf::from(provider),
        None => {
            let script = crate::agent::repository("tests/fetch-sk-dummy.sh").display().to_string();
            PathBuf::from(tools::run(&script, &[]).trim())
        }
    }
}
