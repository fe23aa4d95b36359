//! Keys by the real `ssh-keygen`, held by a real `ssh-agent`, for the tests of this folder.

use std::cell::Cell;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use ssh_key::{PrivateKey, PublicKey};
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::Person;

pub(super) struct KeyFolder {
    folder: TempDir,
    made: Cell<u32>,
}

pub(super) struct Key {
    pub(super) path: PathBuf,
}

impl KeyFolder {
    pub(super) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), made: Cell::new(0) }
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn make(&self, kind: &str, bits: &str, passphrase: &str) -> Key {
        self.made.set(self.made.get() + 1);
        let key = Key { path: self.folder.path().join(format!("key{}", self.made.get())) };
        // ssh-key cannot read the one P-256 key in 256 whose scalar begins with a zero byte: such a key is made again.
        loop {
            let mut command = keygen();
            command.args(["-q", "-t", kind, "-N", "", "-f"]).arg(&key.path);
            if !bits.is_empty() {
                command.args(["-b", bits]);
            }
            run(command);
            if kind != "ecdsa" || PrivateKey::read_openssh_file(&key.path).is_ok() {
                break;
            }
            std::fs::remove_file(&key.path).unwrap();
        }
        if !passphrase.is_empty() {
            let mut command = keygen();
            // One round of the passphrase hash: the tests are about asking, not about its cost.
            command.args(["-q", "-p", "-a", "1", "-P", "", "-N", passphrase, "-f"]).arg(&key.path);
            run(command);
        }
        key
    }
}

impl Key {
    pub(super) fn public_path(&self) -> PathBuf {
        self.path.with_extension("pub")
    }

    pub(super) fn public_line(&self) -> String {
        std::fs::read_to_string(self.public_path()).unwrap()
    }

    pub(super) fn public(&self) -> PublicKey {
        PublicKey::from_openssh(&self.public_line()).unwrap()
    }

    /// Rewrites the file in the old format that only OpenSSL's readers know.
    pub(super) fn convert_to_pem(&self) {
        let mut command = keygen();
        command.args(["-q", "-p", "-P", "", "-N", "", "-m", "PEM", "-f"]).arg(&self.path);
        run(command);
    }

    pub(super) fn certificate(&self, authority: &Key) {
        let mut command = keygen();
        command.args(["-q", "-I", "jana", "-n", "jana", "-s"]).arg(&authority.path).arg(self.public_path());
        run(command);
    }
}

/// An ssh-agent of the test's own; ended with it.
pub(super) struct Agent {
    child: Child,
    pub(super) socket: PathBuf,
}

impl Agent {
    pub(super) fn start(folder: &KeyFolder) -> Self {
        let socket = folder.path().join("ssh-agent.sock");
        let provider = fido_provider().canonicalize().unwrap();
        let mut child = Command::new("ssh-agent")
            .arg("-D")
            .arg("-P")
            .arg(provider)
            .arg("-a")
            .arg(&socket)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It says where it listens once it does.
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, socket }
    }

    pub(super) fn add(&self, key: &Key, more: &[&str]) {
        let mut command = self.ssh_add();
        command.args(["-q"]).args(more).arg(&key.path);
        run(command);
    }

    pub(super) fn ssh_add(&self) -> Command {
        let mut command = Command::new("ssh-add");
        command.env("SSH_AUTH_SOCK", &self.socket);
        command.env("SSH_SK_PROVIDER", fido_provider().canonicalize().unwrap());
        command
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Somebody who knows one passphrase and counts what was asked.
#[derive(Default)]
pub(super) struct TestPerson {
    pub(super) passphrase: &'static str,
    pub(super) touches: AtomicUsize,
    pub(super) questions: AtomicUsize,
}

impl Person for TestPerson {
    fn touch(&self, _: &str) {
        self.touches.fetch_add(1, Ordering::SeqCst);
    }

    fn passphrase(&self, _: &str) -> io::Result<Zeroizing<String>> {
        self.questions.fetch_add(1, Ordering::SeqCst);
        Ok(Zeroizing::new(self.passphrase.to_owned()))
    }
}

pub(super) fn ssh_keygen_accepts(public_line: &str, namespace: &str, text: &[u8], armoured: &str) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let (signers, signature) = (folder.path().join("signers"), folder.path().join("sig"));
    std::fs::write(&signers, format!("jana {public_line}\n")).unwrap();
    std::fs::write(&signature, armoured).unwrap();
    let mut command = Command::new("ssh-keygen");
    command.args(["-Y", "verify", "-I", "jana", "-n", namespace, "-f"]).arg(&signers).arg("-s").arg(&signature);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text).unwrap();
    child.wait().unwrap().success()
}

/// OpenSSH's own software security key.
pub(super) fn fido_provider() -> PathBuf {
    let cached = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/sk-dummy/sk-dummy.so");
    let path = std::env::var_os("STRONGROOM_SK_PROVIDER").map_or(cached, PathBuf::from);
    assert!(path.is_file(), "{} is missing: run tests/fetch-sk-dummy.sh first", path.display());
    path
}

pub(super) fn make_private(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn keygen() -> Command {
    let mut command = Command::new("ssh-keygen");
    command.env_remove("SSH_AUTH_SOCK").env("SSH_SK_PROVIDER", fido_provider());
    command
}

fn run(mut command: Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
