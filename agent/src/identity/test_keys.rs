//! Keys made and used by the real `ssh-keygen`, for the tests of this folder. Security keys are played by OpenSSH's own
//! software provider (tests/fetch-sk-dummy.sh).

use std::cell::Cell;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

pub(super) struct KeyFolder {
    folder: TempDir,
    made: Cell<u32>,
}

pub(super) struct Key {
    pub(super) path: PathBuf,
    askpass: PathBuf,
}

impl KeyFolder {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let askpass = folder.path().join("askpass");
        std::fs::write(&askpass, "#!/bin/sh\necho 0000\n").unwrap();
        std::fs::set_permissions(&askpass, std::fs::Permissions::from_mode(0o700)).unwrap();
        Self { folder, made: Cell::new(0) }
    }

    pub(super) fn make(&self, kind: &str, bits: &str, more: &[&str]) -> Key {
        self.made.set(self.made.get() + 1);
        let key = Key {
            path: self.folder.path().join(format!("key{}", self.made.get())),
            askpass: self.folder.path().join("askpass"),
        };
        let mut command = key.keygen(kind.ends_with("-sk"));
        command.args(["-q", "-t", kind, "-N", "", "-f"]).arg(&key.path).args(more);
        if !bits.is_empty() {
            command.args(["-b", bits]);
        }
        run(command, b"");
        key
    }
}

impl Key {
    pub(super) fn public_line(&self) -> String {
        std::fs::read_to_string(self.path.with_extension("pub")).unwrap().trim().to_owned()
    }

    pub(super) fn private_text(&self) -> String {
        std::fs::read_to_string(&self.path).unwrap()
    }

    pub(super) fn fingerprint(&self) -> String {
        let mut command = self.keygen(false);
        command.args(["-l", "-E", "sha256", "-f"]).arg(&self.path);
        run(command, b"").split(' ').nth(1).unwrap().to_owned()
    }

    /// This key's certificate, signed by another.
    pub(super) fn certificate_line(&self, authority: &Key) -> String {
        self.certify(authority, &["-n", "jana"])
    }

    /// The same, with what `ssh-keygen -s` is told besides.
    pub(super) fn certify(&self, authority: &Key, more: &[&str]) -> String {
        let mut command = self.keygen(authority.public_line().starts_with("sk-"));
        command.arg("-q");
        if !more.contains(&"-I") {
            command.args(["-I", "jana"]);
        }
        command.arg("-s").arg(&authority.path).args(more).arg(self.path.with_extension("pub"));
        run(command, b"");
        let mut path = self.path.clone().into_os_string();
        path.push("-cert.pub");
        std::fs::read_to_string(path).unwrap()
    }

    pub(super) fn sign(&self, namespace: &str, text: &[u8], more: &[&str]) -> String {
        let mut command = self.keygen(self.public_line().starts_with("sk-"));
        command.args(["-q", "-Y", "sign", "-n", namespace, "-f"]).arg(&self.path).args(more);
        run(command, text)
    }

    /// Signs so that the certificate, not the plain key, stands in the signature.
    pub(super) fn sign_with_certificate(&self, namespace: &str, text: &[u8]) -> String {
        let mut certificate = self.path.clone().into_os_string();
        certificate.push("-cert.pub");
        let mut command = self.keygen(false);
        command.args(["-q", "-Y", "sign", "-n", namespace, "-f"]).arg(certificate);
        run(command, text)
    }

    fn keygen(&self, fido: bool) -> Command {
        let mut command = Command::new("ssh-keygen");
        command.env_remove("SSH_AUTH_SOCK").env_remove("SSH_SK_PROVIDER");
        command.env("SSH_ASKPASS", &self.askpass).env("SSH_ASKPASS_REQUIRE", "force");
        if fido {
            command.env("SSH_SK_PROVIDER", fido_provider());
        }
        command
    }
}

/// Verifies with the other implementation.
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

fn fido_provider() -> PathBuf {
    let cached = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/sk-dummy/sk-dummy.so");
    let path = std::env::var_os("STRONGROOM_SK_PROVIDER").map_or(cached, PathBuf::from);
    assert!(path.is_file(), "{} is missing: run tests/fetch-sk-dummy.sh first", path.display());
    path
}

fn run(mut command: Command, input: &[u8]) -> String {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ssh-keygen");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
