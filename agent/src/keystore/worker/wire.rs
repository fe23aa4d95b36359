//! What agent and worker say to each other. Everything is plain data; what is secret is wiped on both sides.

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use strongroom_proto::ids::{AccountId, OrgId, VaultId};
use strongroom_proto::words::{Algorithm, Scheme};
use zeroize::Zeroizing;

use super::sandbox::Sandbox;
use crate::keystore::batch::{CopiedSeed, HandOver, ImportIdentity, StoredSeed};
use crate::keystore::pkcs11::TokenConfig;
use crate::keystore::{KeystoreError, ProbeReport, SealedSeed, SeedContext, TokenId, VaultKey};
use crate::pin::PinSource;

/// Bytes that are wiped when they are dropped. No Debug.
pub(super) type Secret = Zeroizing<Vec<u8>>;

/// The first message to a worker, as JSON: it is read once, and its shape follows the configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hello {
    /// Which token.
    pub(super) token: TokenConfig,

    /// Where the worker gets the PIN.
    pub(super) pin: PinFrom,
    /// What the worker is for.
    pub(super) purpose: Purpose,
}

/// What a worker is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Purpose {
    /// To serve the token.
    Serve,
    /// To probe the token, make its own keys if it has none, and then to serve it.
    Provision,
    /// To probe the token, which may have no keys yet, and to end.
    Probe,
}

/// Where the worker gets the PIN.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PinFrom {
    /// It reads it itself.
    Source(PinSource),
    /// Whoever started it wrote it into the pipe at its standard output.
    Pipe,
}

/// The worker's answer to [`Hello`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Greeting {
    /// The token serves.
    Ready(Ready),
    /// What the probe found.
    Probed(ProbeReport),
    /// It does not.
    Failed(KeystoreError),
    /// There is no PIN.
    NoPin {
        /// Why.
        reason: String,
        /// What to do.
        remedy: String,
    },
}

/// A worker whose token serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ready {
    pub(super) token: TokenId,
    /// The agent identity's point, 65 bytes.
    pub(super) identity: Vec<u8>,
    /// SHA-256 of the token's canary: a fresh worker must find the token that the first one found.
    pub(super) canary: [u8; 32],
    /// Whether [`Purpose::Provision`] found the token's own keys there already.
    pub(super) keys_existed: bool,
    pub(super) sandbox: Sandbox,
}

/// A call and until when its caller waits, in ns of this machine's monotonic clock ([`now_ns`]).
#[derive(Serialize, Deserialize)]
pub(super) struct Asked<C> {
    pub(super) id: u64,
    pub(super) until_ns: u64,
    pub(super) call: C,
}

/// The monotonic clock, in ns. It is the same for all processes of a machine. Asked of the kernel: the standard library's
/// instants do not leave their process.
pub(super) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let [seconds, nanoseconds] = [now.tv_sec, now.tv_nsec].map(|part| u64::try_from(part).unwrap_or(0));
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

/// What comes through the pipe at a worker's standard output from whoever keeps the PIN. Which module is loaded with the PIN
/// in memory is the keeper's word, not the agent's.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FromKeeper {
    pub(super) pin: String,
    pub(super) token: TokenConfig,
}

/// What a worker can be asked: the methods of [`crate::keystore::Keystore`].
#[derive(Serialize, Deserialize)]
pub(super) enum Call {
    CreateVaultKey { vault: VaultId, number: u32, scheme: Scheme },
    DestroyVaultKey { key: VaultKey },
    CheckVaultKey { key: VaultKey },
    Seal { key: VaultKey, context: SeedContext, seed: Secret },
    OtpMac { key: VaultKey, context: SeedContext, sealed: SealedSeed, counter: u64 },
    Sign { digest: [u8; 32] },
    SealStoreKeys { store: OrgId, keys: Secret },
    OpenStoreKeys { store: OrgId, sealed: Vec<u8> },
    DiscardVaultKey { vault: VaultId, number: u32 },
    CheckSealed { seeds: Vec<StoredSeed> },
    CheckRecoverable { seeds: Vec<StoredSeed>, identity: Secret },
    Reseal { seeds: Vec<StoredSeed>, to: VaultKey, identity: Option<Secret> },
    HandOver { order: HandOver, identity: Secret },
    CopyTo { seeds: Vec<StoredSeed>, recipient: String, identity: Secret },
    MakeImportIdentity { store: OrgId },
    SealCopies { seeds: Vec<CopiedSeed>, to: VaultKey, key: WireCopyKey },
    RenouncePin,
    Health,
    Uses,
    Probe,
}

/// What opens copies of seeds, on its way to a worker.
#[derive(Serialize, Deserialize)]
pub(super) enum WireCopyKey {
    Recovery(Secret),
    Import { store: OrgId, sealed: Vec<u8> },
}

/// The answer to a call.
#[derive(Serialize, Deserialize)]
pub(super) struct Answered {
    pub(super) id: u64,
    pub(super) result: Result<Answer, KeystoreError>,
}

/// What a call gave.
#[derive(Serialize, Deserialize)]
pub(super) enum Answer {
    Done,
    Flag(bool),
    Accounts(Vec<AccountId>),
    SealedSeeds(Vec<SealedSeed>),
    VaultKey(VaultKey),
    Sealed(SealedSeed),
    Mac {
        algorithm: Algorithm,
        mac: Secret,
    },
    Signature(Vec<u8>),
    Blob(Vec<u8>),
    Blobs(Vec<Vec<u8>>),
    ImportIdentity(ImportIdentity),
    StoreKeys(Secret),
    /// Resident memory of the worker, in KiB.
    Healthy {
        resident_kib: u64,
    },
    Probed(ProbeReport),
    /// Codes that each vault's keys made since this worker began.
    Uses(Vec<(VaultId, u64)>),
}
