//! Recovery copies: seeds sealed to offline recipients when they are imported, because a resident seed never comes back
//! out of the token.
//!
//! The format is age v1 (C2SP age.md) with X25519 recipients, so that the standard `age` tool opens the copies in any
//! year. Only writing is implemented here: the private halves never touch this machine. Other recipient types, armor and
//! grease are deliberately absent.

mod age;
mod copy;
mod recipient;

pub use age::seal_to;
pub use copy::recovery_copy;
pub use recipient::Recipient;

/// Why no recovery copy could be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    /// The text is no age X25519 recipient.
    #[error("not an age recipient: one starts with age1 and has 62 characters (make a pair with age-keygen)")]
    Recipient,
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
