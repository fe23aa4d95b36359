//! What ceremonies ask of the token: seals renewed, checked and handed over, many at a time. All of it is plain data.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strongroom_proto::ids::Slug;

use super::{SealedSeed, SeedContext, VaultKey};

/// Seeds of one call at most: about 20 ms of the token, so that releases interleave.
pub const BATCH_MAX: usize = 64;
/// Accounts of one hand-over at most: its file has to fit one answer.
pub const HAND_OVER_MAX: usize = 1000;

/// A seed as the store has it, with all that opens it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredSeed {
    /// What it is bound to.
    pub context: SeedContext,
    /// The key that sealed it.
    pub key: VaultKey,
    /// The seed, sealed.
    pub sealed: SealedSeed,
    /// Its recovery copy, an age file; empty if it has none.
    pub copy: Vec<u8>,
}

/// What a client gets: seeds with what people call them, for one key of the client's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HandOver {
    /// The vault.
    pub vault: Slug,
    /// The client's name.
    pub name: String,
    /// When.
    pub made_at: Timestamp,
    /// `age1…` or `ssh-ed25519 base64`.
    pub recipient: String,
    /// At most [`HAND_OVER_MAX`].
    pub accounts: Vec<HandOverAccount>,
}

/// One account of a hand-over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HandOverAccount {
    /// Its slug.
    pub account: Slug,
    /// Who asks for the code.
    pub issuer: String,
    /// The login it belongs to.
    pub label: String,
    /// The next counter of HOTP; 0 otherwise.
    pub next_counter: u64,
    /// The seed.
    pub seed: StoredSeed,
}
