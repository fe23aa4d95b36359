//! What can go wrong with the token, sorted by what somebody does next.

use std::fmt;

use serde::{Deserialize, Serialize};
use strongroom_proto::words::Scheme;

use super::TokenId;

/// What the keystore was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Loading the module, finding the token, logging in.
    Open,
    /// Making the token's own two keys.
    Provision,
    /// [`super::Keystore::create_vault_key`].
    CreateVaultKey,
    /// [`super::Keystore::destroy_vault_key`].
    DestroyVaultKey,
    /// [`super::Keystore::check_vault_key`].
    CheckVaultKey,
    /// [`super::Keystore::seal`].
    Seal,
    /// [`super::Keystore::discard_vault_key`].
    DiscardVaultKey,
    /// [`super::Keystore::check_sealed`].
    CheckSealed,
    /// [`super::Keystore::check_recoverable`].
    CheckRecoverable,
    /// [`super::Keystore::reseal`].
    Reseal,
    /// [`super::Keystore::hand_over`].
    HandOver,
    /// [`super::Keystore::copy_to`].
    CopySeeds,
    /// [`super::Keystore::make_import_identity`], and opening what it made.
    ImportIdentity,
    /// [`super::Keystore::seal_copies`].
    SealCopies,
    /// [`super::Keystore::otp_mac`].
    OtpMac,
    /// [`super::Keystore::sign`].
    Sign,
    /// [`super::Keystore::seal_store_keys`].
    SealStoreKeys,
    /// [`super::Keystore::open_store_keys`].
    OpenStoreKeys,
    /// [`super::Keystore::health`].
    Health,
    /// Starting a fresh worker in the place of one that failed.
    Reopen,
    /// [`super::Keystore::probe`].
    Probe,
    /// Waiting for a worker.
    Wait,
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Open => "open the token",
            Self::Provision => "provision the token",
            Self::CreateVaultKey => "create a vault key",
            Self::DestroyVaultKey => "destroy a vault key",
            Self::CheckVaultKey => "check a vault key",
            Self::Seal => "seal a seed",
            Self::DiscardVaultKey => "discard an unused vault key",
            Self::CheckSealed => "check sealed seeds",
            Self::CheckRecoverable => "check recovery copies",
            Self::Reseal => "seal a seed anew",
            Self::HandOver => "hand seeds over",
            Self::CopySeeds => "copy seeds for another token",
            Self::ImportIdentity => "use the import identity",
            Self::SealCopies => "seal seeds from their copies",
            Self::OtpMac => "compute a code",
            Self::Sign => "sign with the agent identity",
            Self::SealStoreKeys => "seal the store keys",
            Self::OpenStoreKeys => "open the store keys",
            Self::Health => "check the token",
            Self::Reopen => "open the token again",
            Self::Probe => "probe the token",
            Self::Wait => "wait for the token",
        })
    }
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// The session ended. The keystore has tried a new one already; try again later.
    Session,
    /// The login was lost and could not be renewed.
    Login,
    /// A key's handle went stale and could not be renewed.
    Handle,
    /// The token is away or broken: stop asking, reopen with growing pauses.
    Device,
    /// Stored data was altered or moved: alarm, never retry.
    Data,
    /// The PIN was refused: stop, alarm, wait for a person.
    Pin,
    /// A key that should be there is not: restore the token; never make a new key in its place.
    KeyMissing,
    /// Another key stands under the label: stop, alarm.
    KeyMismatch,
    /// The caller or the configuration asks for what cannot be: fix it.
    Usage,
    /// No room for another key.
    Budget,
    /// Too many calls are waiting: try again.
    Busy,
    /// The call came too late: nothing was done, or its result was thrown away.
    Deadline,
    /// A call has not come back from the module: restart the worker.
    Hung,
}

/// A failure of the token or of what it was given. No variant carries a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each variant says what happened; its fields are the operation and its subject")]
pub enum KeystoreError {
    /// The session is no longer valid.
    #[error("cannot {operation}: the token ended the session ({code})")]
    Session { operation: Operation, code: String },
    /// The token says that nobody is logged in.
    #[error("cannot {operation}: the login to the token was lost ({code})")]
    Login { operation: Operation, code: String },
    /// A handle no longer names an object, or belongs to an earlier generation.
    #[error("cannot {operation}: the handle of a key is no longer valid ({code})")]
    Handle { operation: Operation, code: String },
    /// The token is away or broken.
    #[error("cannot {operation}: the token does not work ({code})")]
    Device { operation: Operation, code: String },
    /// The recovery copy of an account is missing, does not open with the key that was given, or holds another seed.
    #[error(
        "cannot {operation}: the recovery copy of account {account} does not open with this key or is not its seed"
    )]
    NotRecovered { operation: Operation, account: String },
    /// Sealed data was altered, or belongs to another account, vault, key, store or token. Outside data can cause this.
    #[error("cannot {operation}: the sealed data was altered or belongs elsewhere")]
    Corrupt { operation: Operation },
    /// The token refused the PIN, now or at an earlier attempt that will not be repeated.
    #[error("cannot {operation}: the token refused the PIN ({code}); it will not be tried again by itself")]
    Pin { operation: Operation, code: String },
    /// There is no PIN to present.
    #[error("cannot {operation}: {reason}; {remedy}")]
    NoPin { operation: Operation, reason: String, remedy: String },
    /// The token works and does not hold this key.
    #[error("cannot {operation}: the token holds no key {label}")]
    KeyMissing { operation: Operation, label: String },
    /// The key under this label is not the one that was recorded, or there are two.
    #[error("cannot {operation}: the key {label} in the token is not the recorded one")]
    KeyMismatch { operation: Operation, label: String },
    /// The key to be made is there already.
    #[error("cannot {operation}: the token already holds a key {label}")]
    Exists { operation: Operation, label: String },
    /// The token made a key that gives up what it should protect. The key was destroyed.
    #[error("cannot {operation}: the token does not protect the key {label} as asked; use another scheme or token")]
    NotHardened { operation: Operation, label: String },
    /// The profile's number of vault keys is reached.
    #[error("cannot {operation}: the token's budget of {budget} vault keys is used up")]
    Budget { operation: Operation, budget: u32 },
    /// The token holds as many objects as it may.
    #[error(
        "cannot {operation}: the token holds {held} of {max} objects, and {reserve} are kept free: add a token, or destroy \
         what is no longer needed"
    )]
    ObjectBudget { operation: Operation, held: u32, max: u32, reserve: u32 },
    /// The token makes no keys, and no spare one is left.
    #[error(
        "cannot {operation}: the token makes no keys by itself and holds no spare one: add an HMAC-SHA-256 key labelled \
         {label}1 with the token's own tool"
    )]
    NoSpareKey { operation: Operation, label: String },
    /// The profile does not allow this scheme.
    #[error("cannot {operation}: the profile {profile} does not allow the scheme {scheme}")]
    SchemeNotAllowed { operation: Operation, profile: String, scheme: Scheme },
    /// The PIN cannot be one of this token. It was not presented.
    #[error(
        "cannot {operation}: the PIN does not have the form that the profile {profile} asks for: {form}; it was not tried"
    )]
    PinForm { operation: Operation, profile: String, form: String },
    /// The token does not do what its profile claims.
    #[error(
        "cannot {operation}: the token does not keep what the profile {profile} claims: {check} ({code}); \
         strongroom-agent probe shows everything"
    )]
    Unproven { operation: Operation, profile: String, check: String, code: String },
    /// The module or the token lacks what is needed or refuses the request as such.
    #[error("cannot {operation}: the token refused the request ({code})")]
    Refused { operation: Operation, code: String },
    /// The module cannot be loaded, or this process uses it already.
    #[error("cannot {operation}: the module {module} cannot be used ({reason})")]
    Module { operation: Operation, module: String, reason: String },
    /// No slot, or more than one, holds a token that fits.
    #[error("cannot {operation}: {found} tokens fit ({label}), one is needed")]
    NoToken { operation: Operation, label: String, found: usize },
    /// The token that answers isn't the one that was opened before.
    #[error("cannot {operation}: this is the token {found}, not {expected}")]
    OtherToken { operation: Operation, expected: TokenId, found: TokenId },
    /// The operating system gave no randomness, or the key could not be made durable.
    #[error("cannot {operation}: {reason}")]
    System { operation: Operation, reason: String },
    /// The queue before the token is full.
    #[error("cannot {operation}: too many calls are waiting")]
    Busy { operation: Operation },
    /// The deadline passed before the token answered.
    #[error("cannot {operation}: the deadline passed")]
    DeadlinePassed { operation: Operation },
    /// A call to the module does not come back.
    #[error("cannot {operation}: the token has stopped answering")]
    Hung { operation: Operation },
}

impl KeystoreError {
    /// The class: what to do next.
    #[must_use]
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::Session { .. } => ErrorClass::Session,
            Self::Login { .. } => ErrorClass::Login,
            Self::Handle { .. } => ErrorClass::Handle,
            Self::Device { .. } | Self::System { .. } => ErrorClass::Device,
            Self::Corrupt { .. } | Self::NotRecovered { .. } => ErrorClass::Data,
            Self::Pin { .. } | Self::PinForm { .. } => ErrorClass::Pin,
            Self::KeyMissing { .. } => ErrorClass::KeyMissing,
            Self::KeyMismatch { .. } | Self::OtherToken { .. } => ErrorClass::KeyMismatch,
            Self::Exists { .. }
            | Self::NotHardened { .. }
            | Self::NoPin { .. }
            | Self::Refused { .. }
            | Self::Module { .. }
            | Self::NoToken { .. }
            | Self::SchemeNotAllowed { .. }
            | Self::Unproven { .. } => ErrorClass::Usage,
            Self::Budget { .. } | Self::ObjectBudget { .. } | Self::NoSpareKey { .. } => ErrorClass::Budget,
            Self::Busy { .. } => ErrorClass::Busy,
            Self::DeadlinePassed { .. } => ErrorClass::Deadline,
            Self::Hung { .. } => ErrorClass::Hung,
        }
    }
}
