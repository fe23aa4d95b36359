//! `--sign-cmd`: a command of the user's own that signs, for keys that nothing else here reaches.

use std::process::Command;

use ssh_key::PublicKey;
use strongroom_proto::client::{SignError, Signer};

use super::{child, envelope};

/// Signs by a shell command.
///
/// The command is run by `sh -c` exactly as the user gave it: nothing is put into it. The text comes on its standard
/// input, the namespace in `STRONGROOM_NAMESPACE`; the armoured SSHSIG with hash sha512 is expected on its standard
/// output, for example from `ssh-keygen -q -Y sign -n "$STRONGROOM_NAMESPACE" -f KEY`.
#[derive(Debug)]
pub struct SignCommand {
    command: String,
    public_key: PublicKey,
}

impl SignCommand {
    /// Signs by `command` for this key.
    #[must_use]
    pub fn new(command: &str, public_key: PublicKey) -> Self {
        Self { command: command.to_owned(), public_key }
    }
}

impl Signer for SignCommand {
    fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    fn sign(&self, namespace: &str, text: &[u8]) -> Result<String, SignError> {
        let mut command = Command::new("sh");
        command.arg("-c").arg(&self.command).env("STRONGROOM_NAMESPACE", namespace);
        let name = "the signing command";
        let output = child::run(&mut command, name, text, child::SIGN_TIMEOUT)?;
        envelope::check(output, namespace, &self.public_key, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::login::test_keys::{KeyFolder, ssh_keygen_accepts};

    #[test]
    fn a_command_signs_and_its_faults_are_told() {
        let folder = KeyFolder::new();
        let (key, other) = (folder.make("ed25519", "", ""), folder.make("ed25519", "", ""));
        let sign = |script: String| SignCommand::new(&script, key.public()).sign("strongroom-login@v1", b"text\n");
        let path = key.path.display();
        let signature =
            sign(format!("ssh-keygen -q -Y sign -n \"$STRONGROOM_NAMESPACE\" -f {path} # a comment")).unwrap();
        assert!(ssh_keygen_accepts(&key.public_line(), "strongroom-login@v1", b"text\n", &signature));
        let refused = |script: String| sign(script).unwrap_err().0;
        assert!(refused(format!("ssh-keygen -q -Y sign -n file -f {path}")).contains("another purpose"));
        let other = other.path.display();
        assert!(refused(format!("ssh-keygen -q -Y sign -n strongroom-login@v1 -f {other}")).contains("another key"));
        assert!(refused("echo hello".to_owned()).contains("no usable signature"));
        assert!(refused("echo no card >&2; exit 1".to_owned()).ends_with("no card"));
    }
}
