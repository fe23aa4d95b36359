//! The keystore: what the agent asks of the token, and nothing more.
//!
//! [`Keystore`] is the boundary. It speaks of vault keys, sealed seeds and MACs, never of PKCS#11 handles or sessions, and
//! everything that crosses it is plain data: it runs in a process of its own, the worker, and the agent asks through
//! [`worker::Workers`]. **No function returns a seed.** The room knows nothing of identities, grants, rows or clocks.

pub mod batch;
mod context;
mod error;
#[cfg(test)]
pub(crate) mod fixture;
pub(crate) mod os;
pub mod pkcs11;
mod report;
mod sealed;
mod secret;
pub mod worker;

pub use context::SeedContext;
pub use error::{ErrorClass, KeystoreError, Operation};
pub use report::{Outcome, ProbeReport, ProbeRow};
pub use sealed::{SealedSeed, TokenId, VaultKey};
pub use secret::{OtpMac, SEED_LEN_MAX, Seed, SeedError, StoreKeys};
use strongroom_proto::ids::{AccountId, OrgId, VaultId};
use strongroom_proto::words::Scheme;

use self::batch::{CopiedSeed, CopyKey, HandOver, ImportIdentity, StoredSeed};
use crate::recovery::RecoveryIdentity;

/// A moving factor that no verifier ever meets: HOTP counters end at 2^53, time steps long before. What a token makes of it
/// shows which seed it holds, and is nobody's code.
pub const PROBE_FACTOR: u64 = u64::MAX;

/// The token as a worker serves it. Every call blocks for a device operation.
///
/// Errors name the operation and carry a class ([`KeystoreError::class`]) that says what to do next. An implementation
/// retries at most once, never presents a refused PIN again, and never creates a key because it found none.
pub trait Keystore: Send + Sync {
    /// The token that serves. Stored in every sealed seed.
    fn token(&self) -> &TokenId;

    /// Generates the vault key `number` of a vault, reads it back and makes it durable before it may seal anything.
    ///
    /// # Errors
    /// `Exists` if the token has this key, `Budget` if the profile allows no more keys, `NotHardened` if the token made a
    /// key weaker than asked (it is destroyed again).
    fn create_vault_key(&self, vault: VaultId, number: u32, scheme: Scheme) -> Result<VaultKey, KeystoreError>;

    /// Destroys a vault key for ever, after its key-check value was verified. Every seed sealed under it is lost.
    ///
    /// # Errors
    /// `KeyMissing` or `KeyMismatch` if the token holds no such key or another one under its label.
    fn destroy_vault_key(&self, key: &VaultKey) -> Result<(), KeystoreError>;

    /// Proves that the token holds a vault key and that it is the recorded one, asking the token anew.
    ///
    /// # Errors
    /// `KeyMissing` or `KeyMismatch`.
    fn check_vault_key(&self, key: &VaultKey) -> Result<(), KeystoreError>;

    /// Destroys whatever stands under the label of a vault key, for ever and without a look at its key-check value. True if
    /// there was something. Only for a key that was made and never used: the caller has proved that nothing is sealed
    /// under this number.
    ///
    /// # Errors
    /// `Device` if the token's searches find nothing at all; otherwise the classes of the token.
    fn discard_vault_key(&self, vault: VaultId, number: u32) -> Result<bool, KeystoreError>;

    /// Proves that every seed opens under its key, at most [`batch::BATCH_MAX`] of them.
    ///
    /// # Errors
    /// As [`Keystore::otp_mac`], for the first that does not.
    fn check_sealed(&self, seeds: &[StoredSeed]) -> Result<(), KeystoreError>;

    /// Says of which seeds, by account, no recovery copy opens with this key and holds what is sealed; at most
    /// [`batch::BATCH_MAX`] of them.
    ///
    /// # Errors
    /// The classes of the token only.
    fn check_recoverable(
        &self,
        seeds: &[StoredSeed],
        identity: &RecoveryIdentity,
    ) -> Result<Vec<AccountId>, KeystoreError>;

    /// Seals seeds anew under another key of their vault, at most [`batch::BATCH_MAX`] of them: those of `derived` from
    /// their own seals, those of `resident` from their recovery copies. Every new seal was proved to hold the same seed.
    ///
    /// # Errors
    /// `NotRecovered` naming the account if a copy is missing, does not open or holds another seed; otherwise as
    /// [`Keystore::seal`] and [`Keystore::otp_mac`].
    fn reseal(
        &self,
        seeds: &[StoredSeed],
        to: &VaultKey,
        identity: Option<&RecoveryIdentity>,
    ) -> Result<Vec<SealedSeed>, KeystoreError>;

    /// Makes the file for a client: an age file that only the client's key opens, with every account and its seed. Always
    /// from the recovery copies: without the recovery key, whoever holds the agent could ask for any seed here.
    ///
    /// # Errors
    /// `NotRecovered` naming the account; `Refused` if the recipient is none.
    fn hand_over(&self, order: &HandOver, identity: &RecoveryIdentity) -> Result<Vec<u8>, KeystoreError>;

    /// Encrypts seeds to the import recipient of another token of the same store, at most [`batch::BATCH_MAX`] of them. Always
    /// from the recovery copies, for the reason of [`Keystore::hand_over`]: whoever holds the agent could name any recipient.
    ///
    /// # Errors
    /// `NotRecovered` naming the account; `Refused` if the recipient is none.
    fn copy_to(
        &self,
        seeds: &[StoredSeed],
        recipient: &str,
        identity: &RecoveryIdentity,
    ) -> Result<Vec<Vec<u8>>, KeystoreError>;

    /// Makes an age pair for seeds that come while this token is away, and seals its private half for the store: it is never
    /// seen outside the worker.
    ///
    /// # Errors
    /// The classes of the token.
    fn make_import_identity(&self, store: OrgId) -> Result<ImportIdentity, KeystoreError>;

    /// Seals seeds from copies of them, at most [`batch::BATCH_MAX`], in their order.
    ///
    /// # Errors
    /// `NotRecovered` naming the account if its copy does not open or is of another account or an earlier seed; `Corrupt` if
    /// the import identity was altered; otherwise as [`Keystore::seal`].
    fn seal_copies(
        &self,
        seeds: &[CopiedSeed],
        to: &VaultKey,
        key: &CopyKey<'_>,
    ) -> Result<Vec<SealedSeed>, KeystoreError>;

    /// Seals a seed under a vault key, bound to its context, the token and the key.
    ///
    /// # Errors
    /// `KeyMissing` or `KeyMismatch`; `Corrupt` if the context belongs to another vault than the key.
    fn seal(&self, key: &VaultKey, context: &SeedContext, seed: &Seed) -> Result<SealedSeed, KeystoreError>;

    /// Computes the HMAC of a moving factor under a sealed seed (RFC 4226 §5.3 step 1). Truncation is the caller's.
    ///
    /// # Errors
    /// `Corrupt` if the sealed seed was altered or belongs to another context, token or key: nothing was unwrapped then.
    fn otp_mac(
        &self,
        key: &VaultKey,
        context: &SeedContext,
        sealed: &SealedSeed,
        counter: u64,
    ) -> Result<OtpMac, KeystoreError>;

    /// The agent identity's public key: an uncompressed P-256 point, 65 bytes (SEC 1 §2.3.3).
    fn identity_key(&self) -> &[u8];

    /// Signs a SHA-256 digest with the agent identity key: ECDSA P-256, raw `r || s`.
    ///
    /// # Errors
    /// The classes of the token only.
    fn sign(&self, digest: &[u8; 32]) -> Result<[u8; 64], KeystoreError>;

    /// Seals the store keys under the token's store-key HMAC key, bound to the store and the token.
    ///
    /// # Errors
    /// The classes of the token only.
    fn seal_store_keys(&self, store: OrgId, keys: &StoreKeys) -> Result<Vec<u8>, KeystoreError>;

    /// Opens sealed store keys into locked memory.
    ///
    /// # Errors
    /// `Corrupt` if they were altered or sealed for another store or token.
    fn open_store_keys(&self, store: OrgId, sealed: &[u8]) -> Result<StoreKeys, KeystoreError>;

    /// Proves that the token works by computing a known value with it. (Asking the token for its state proves nothing:
    /// tokens that are gone have been seen to answer that they are fine.)
    ///
    /// # Errors
    /// `Device` and the other classes of the token.
    fn health(&self) -> Result<(), KeystoreError>;

    /// Presents the PIN no more, because the token refused it to another worker. What is logged in serves on.
    ///
    /// # Errors
    /// `Device` after a panic of an earlier call.
    fn renounce_pin(&self) -> Result<(), KeystoreError>;

    /// Proves on the token what its profile claims: own templates, the codes of the RFCs in every allowed scheme, and that
    /// every attack on a sealed seed fails. Makes temporary keys and destroys them again.
    ///
    /// # Errors
    /// The classes of the token, if it could not be probed at all. What failed stands in the report.
    fn probe(&self) -> Result<ProbeReport, KeystoreError>;
}
