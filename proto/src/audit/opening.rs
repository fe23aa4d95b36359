//! Salted commitments to personal and free text. The record holds the commitment; value and salt (the *opening*) live
//! beside it and can be erased without touching the log. Salted, because an unsalted hash of a name is guessable.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Length of a salt, in bytes.
pub const SALT_LEN: usize = 16;
/// Domain separation from Merkle leaves (0x00): RFC 6962 uses 0x01 for inner nodes of another length, and a commitment is
/// never a tree input.
const PREFIX: u8 = 0x01;

/// The value behind a commitment.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// Which commitment of the record: `actor.name`, `reason`, …
    pub field: String,
    /// 16 random bytes in base64.
    pub salt: String,
    /// The value.
    pub value: String,
}

impl Opening {
    /// Makes an opening with the given salt.
    #[must_use]
    pub fn new(field: &str, salt: [u8; SALT_LEN], value: &str) -> Self {
        Self { field: field.to_owned(), salt: BASE64.encode(salt), value: value.to_owned() }
    }

    /// The commitment in base64: SHA-256(0x01 ‖ u32 length of field ‖ field ‖ salt ‖ value), big-endian length.
    ///
    /// `None` if the salt is not 16 bytes of base64.
    #[must_use]
    pub fn commitment(&self) -> Option<String> {
        let salt = BASE64.decode(&self.salt).ok().filter(|salt| salt.len() == SALT_LEN)?;
        let field_len = u32::try_from(self.field.len()).ok()?;
        let mut hash = Sha256::new();
        hash.update([PREFIX]);
        hash.update(field_len.to_be_bytes());
        hash.update(self.field.as_bytes());
        hash.update(&salt);
        hash.update(self.value.as_bytes());
        Some(BASE64.encode(hash.finalize()))
    }
}

impl fmt::Debug for Opening {
    /// Keeps personal text out of logs.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Opening({})", self.field)
    }
}
