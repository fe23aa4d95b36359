//! The key that a client gives to receive a hand-over: of age, or an SSH key they have already.

use std::fmt;

use curve25519_dalek::edwards::CompressedEdwardsY;
use sha2::{Digest, Sha256};
use ssh_key::PublicKey;

use super::{Recipient, RecoveryError};

/// A client's own key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientRecipient {
    /// `age1…`.
    Age(Recipient),
    /// `ssh-ed25519 …`.
    Ssh(SshRecipient),
}

/// An SSH key of type ssh-ed25519 as age encrypts to it.
#[derive(Clone, PartialEq, Eq)]
pub struct SshRecipient {
    blob: Vec<u8>,
    point: [u8; 32],
    text: String,
}

impl ClientRecipient {
    /// Reads `age1…`, or a line of a `.pub` file of type ssh-ed25519, whose comment is dropped.
    ///
    /// # Errors
    /// [`RecoveryError::Client`] if it is neither.
    pub fn parse(text: &str) -> Result<Self, RecoveryError> {
        if text.starts_with("age1") {
            return Recipient::parse(text).map(Self::Age).map_err(|_| RecoveryError::Client);
        }
        SshRecipient::parse(text).map(Self::Ssh).ok_or(RecoveryError::Client)
    }

    /// How records name the key: an SSH key by its usual fingerprint, an age recipient by the digest of its text.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        match self {
            Self::Age(recipient) => format!("age-sha256:{}", hex::encode(Sha256::digest(recipient.to_string()))),
            Self::Ssh(recipient) => {
                use base64::prelude::{BASE64_STANDARD_NO_PAD, Engine as _};
                format!("SHA256:{}", BASE64_STANDARD_NO_PAD.encode(Sha256::digest(&recipient.blob)))
            }
        }
    }
}

impl fmt::Display for ClientRecipient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Age(recipient) => fmt::Display::fmt(recipient, formatter),
            Self::Ssh(recipient) => formatter.pad(&recipient.text),
        }
    }
}

impl SshRecipient {
    fn parse(text: &str) -> Option<Self> {
        if text.trim().contains('\n') {
            return None;
        }
        let key = PublicKey::from_openssh(text.trim()).ok()?;
        let edwards = key.key_data().ed25519()?.0;
        // The same point in the form that X25519 uses (RFC 7748 §4.1).
        let point = CompressedEdwardsY(edwards).decompress().filter(|point| !point.is_small_order())?;
        let bare = PublicKey::new(key.key_data().clone(), "");
        let text = bare.to_openssh().ok()?.trim_end().to_owned();
        Some(Self { blob: bare.to_bytes().ok()?, point: point.to_montgomery().to_bytes(), text })
    }

    /// The key as the SSH protocol writes it.
    pub(super) fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// Its point on Curve25519.
    pub(super) const fn point(&self) -> &[u8; 32] {
        &self.point
    }
}

impl fmt::Debug for SshRecipient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::recovery::seal_to_client;
    use crate::recovery::test_pairs::Pair;

    #[test]
    fn age_opens_what_is_sealed_to_an_ssh_key_and_nobody_else_does() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["client", "other"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", "a comment", "-f", name])
                .current_dir(folder.path())
                .status();
            assert!(made.unwrap().success());
        }
        let line = std::fs::read_to_string(folder.path().join("client.pub")).unwrap();
        let recipient = ClientRecipient::parse(&line).unwrap();
        assert!(line.starts_with(&recipient.to_string()) && !recipient.to_string().contains("comment"));
        for len in [0, 1, 100_000] {
            let plain = vec![7; len];
            std::fs::write(folder.path().join("file"), seal_to_client(&recipient, &plain).unwrap()).unwrap();
            let open = |key: &str| {
                Command::new("age").args(["-d", "-i", key, "file"]).current_dir(folder.path()).output().unwrap()
            };
            let opened = open("client");
            assert!(opened.status.success(), "{len}: {}", String::from_utf8_lossy(&opened.stderr));
            assert!(opened.stdout == plain);
            assert!(!open("other").status.success());
        }
    }

    #[test]
    fn age_opens_what_is_sealed_to_its_own_recipient() {
        let pair = Pair::new();
        let recipient = ClientRecipient::parse(&pair.recipient().to_string()).unwrap();
        let opened = pair.age_opens(&seal_to_client(&recipient, b"accounts").unwrap());
        assert_eq!(opened.stdout, b"accounts");
    }

    #[test]
    fn other_keys_are_refused() {
        for text in ["", "age1", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-rsa AAAA", "hello"] {
            assert_eq!(ClientRecipient::parse(text), Err(RecoveryError::Client), "{text}");
        }
    }
}
