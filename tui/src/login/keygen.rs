//! Signing by `ssh-keygen`: for security keys and for key files that only OpenSSH reads.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use ssh_key::PublicKey;
use strongroom_proto::client::{SignError, Signer};
use strongroom_proto::sshsig;

use super::{Person, child, envelope};

/// Signs by `ssh-keygen -Y sign -f FILE`. A passphrase or the PIN of a security key is asked for by ssh-keygen itself,
/// on the terminal.
pub struct KeygenSigner {
    path: PathBuf,
    public_key: PublicKey,
    person: Arc<dyn Person>,
}

impl KeygenSigner {
    /// Signs with the private key in a file.
    #[must_use]
    pub fn new(path: &Path, public_key: PublicKey, person: Arc<dyn Person>) -> Self {
        Self { path: path.to_owned(), public_key, person }
    }
}

/// True for keys that wait for a touch.
pub(super) fn needs_touch(key: &PublicKey) -> bool {
    key.key_data().is_sk_ed25519() || key.key_data().is_sk_ecdsa_p256()
}

impl Signer for KeygenSigner {
    fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    fn sign(&self, namespace: &str, text: &[u8]) -> Result<String, SignError> {
        if needs_touch(&self.public_key) {
            self.person.touch(&sshsig::fingerprint(&self.public_key));
        }
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-Y", "sign", "-n", namespace, "-f"]).arg(&self.path);
        let output = child::run(&mut command, "ssh-keygen", text, child::SIGN_TIMEOUT)?;
        envelope::check(output, namespace, &self.public_key, "ssh-keygen")
    }
}
