//! What ceremonies ask of the token: seals renewed, checked and handed over, many at a time. All of it is plain data.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strongroom_proto::ids::{OrgId, Slug};

use super::{SealedSeed, SeedContext, VaultKey};
use crate::recovery::RecoveryIdentity;

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

/// A copy of a seed that an age identity opens, and what it is to be bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CopiedSeed {
    /// What the seed inside must say of itself, and is sealed for.
    pub context: SeedContext,
    /// An age file.
    pub copy: Vec<u8>,
}

/// What opens copies of seeds. No Debug: one form is a private key.
pub enum CopyKey<'a> {
    /// The offline recovery key, for the length of a ceremony.
    Recovery(&'a RecoveryIdentity),
    /// An import identity that this token has sealed for a store, and alone opens.
    Import {
        /// The store.
        store: OrgId,
        /// As [`super::Keystore::make_import_identity`] gave it.
        sealed: &'a [u8],
    },
}

/// An age pair whose private half only one token opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportIdentity {
    /// Whom seeds are encrypted to (`age1…`).
    pub recipient: String,
    /// The private half, sealed.
    pub sealed: Vec<u8>,
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
