//! Recovery copies: seeds sealed to offline recipients when they are imported, because a resident seed never comes back
//! out of the token.
//!
//! The format is age v1 (C2SP age.md) with X25519 recipients, so that the standard `age` tool opens the copies in any
//! year. The private halves never rest on this machine: a ceremony reads one from standard input and wipes it after.
//! Other recipient types, armor and grease are deliberately absent; stanzas of other types are passed over.

mod age;
mod client;
mod copy;
pub(crate) mod hand_over;
mod identity;
mod recipient;
mod store_keys;
#[cfg(test)]
pub(crate) mod test_pairs;

pub use age::{OpeningReader, SealingWriter, open, seal_to, seal_to_client};
pub use client::{ClientRecipient, SshRecipient};
pub use copy::{open_copy, recovery_copy};
pub use identity::RecoveryIdentity;
pub use recipient::Recipient;
pub use store_keys::{
    STORE_KEYS_NAMESPACE, open_store_keys_copy, sign_store_keys_copy, store_keys_copy, store_keys_signer,
};

/// Why no recovery copy could be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    /// The text is no age X25519 recipient.
    #[error("not an age recipient: one starts with age1 and has 62 characters (make a pair with age-keygen)")]
    Recipient,
    /// The text is no key that a client can open a file with.
    #[error("not a client's key: give an age recipient (age1…) or an SSH key of type ssh-ed25519")]
    Client,
    /// There is nobody to seal to.
    #[error("no recovery recipient is set")]
    NoRecipients,
    /// The recipient's point gives every sender the same secret: somebody made it so on purpose.
    #[error("the recovery recipient is a weak point")]
    WeakRecipient,
    /// The operating system gave no randomness.
    #[error("no randomness")]
    Randomness,
    /// A primitive refused its input. Cannot happen: every length here is fixed or bounded.
    #[error("the recovery copy could not be sealed")]
    Sealing,
}

/// Why an age file was not opened. No variant repeats what was read.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The text is no age X25519 identity.
    #[error("not a recovery key: one starts with AGE-SECRET-KEY-1 and has 74 characters")]
    Identity,
    /// No stanza of the file opens with this identity.
    #[error("the file was not sealed to this recovery key")]
    NotForThisIdentity,
    /// The file is not as it was sealed: something was changed, moved or cut off.
    #[error("the sealed file was altered or cut short")]
    Altered,
    /// The file is no age v1 file, or not a well-formed one.
    #[error("not a well-formed age v1 file: {0} does not fit")]
    Malformed(&'static str),
    /// The file is longer than a small file may be.
    #[error("the sealed file is too long")]
    TooLong,
    /// The file could not be read.
    #[error("the sealed file could not be read: {0}")]
    File(std::io::Error),
}

impl From<OpenError> for std::io::Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::File(error) => error,
            other => Self::new(std::io::ErrorKind::InvalidData, other),
        }
    }
}

impl From<std::io::Error> for OpenError {
    /// Takes back what an [`OpeningReader`] put into an error of the reading.
    fn from(error: std::io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(own) => own,
            Err(error) => Self::File(error),
        }
    }
}
