//! The keystore over a PKCS#11 module (v2.40).
//!
//! One keystore per process, one lock around the module: SoftHSM gains nothing from threads, and making a key must not
//! overlap a search. More throughput comes from more processes.

mod connection;
mod copies;
mod derived;
mod fault;
mod keys;
mod label;
mod probe;
pub mod profile;
mod provision;
mod renewal;
mod resident;
mod sealing;
mod selector;
mod store_keys;
mod template;
#[cfg(test)]
mod tests;
mod token_file;
pub mod uri;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use cryptoki::mechanism::Mechanism;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use strongroom_proto::ids::{AccountId, OrgId, VaultId};
use strongroom_proto::words::Scheme;
use zeroize::Zeroizing;

use self::connection::{Connection, Module};
pub use self::profile::{BUILT_IN, TokenProfile};
use self::resident::Binder;
pub use self::selector::TokenSelector;
use super::batch::{CopiedSeed, CopyKey, HandOver, ImportIdentity, StoredSeed};
use super::secret::Scratch;
use super::{
    ErrorClass, Keystore, KeystoreError, Operation, OtpMac, ProbeReport, SealedSeed, Seed, SeedContext, StoreKeys,
    TokenId, VaultKey,
};
use crate::recovery::RecoveryIdentity;

/// Which token to use, and what is known about it: the profile with the configuration's own values put over it. Plain data,
/// without a PIN: it can be sent to the process that loads the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// The PKCS#11 module.
    pub module: PathBuf,
    /// Which of the module's tokens.
    pub selector: TokenSelector,
    /// Where a software token keeps its files: to make new keys durable, since SoftHSM issues no fsync, and to survive a
    /// login that was killed.
    #[serde(default)]
    pub storage: Option<PathBuf>,
    /// How many vault keys the token may hold.
    #[serde(default)]
    pub key_budget: Option<u32>,
    /// What kind of token it is.
    pub profile: TokenProfile,
}

impl TokenConfig {
    /// The token of this label, as its profile says.
    #[must_use]
    pub fn new(profile: TokenProfile, label: impl Into<String>) -> Self {
        Self {
            module: profile.module(),
            selector: TokenSelector::labelled(label),
            storage: None,
            key_budget: None,
            profile,
        }
    }
}

/// A token behind a PKCS#11 module, logged in.
pub struct Pkcs11Keystore {
    config: TokenConfig,
    token: TokenId,
    identity: [u8; 65],
    state: Mutex<State>,
}

/// All that changes, under the one lock.
struct State {
    live: Live,
    /// `None` once it was forgotten: then a lost login is not renewed.
    pin: Option<SecretString>,
    /// Set for ever once the token refused the PIN: presenting it again could lock the token.
    pin_refused: bool,
    scratch: Scratch,
    /// What the store key made of a fixed text when the keystore was opened. A token that makes something else of it is
    /// another token, or a broken one.
    canary: Zeroizing<Vec<u8>>,
}

/// A working connection and what was computed with it.
struct Live {
    binder: Binder,
    connection: Connection,
}

impl Pkcs11Keystore {
    /// Loads the module, logs in with the PIN (presented once) and checks the token's own two keys by using them.
    ///
    /// # Errors
    /// `Module`, `NoToken`, `Pin`, `Device`; `KeyMissing` if the token was never provisioned.
    pub fn open(config: &TokenConfig, pin: &SecretString) -> Result<Self, KeystoreError> {
        let operation = Operation::Open;
        let module = Module::initialise(config, operation)?;
        let (slot, token) = module.slot(config, operation)?;
        let mut connection = Connection::open(module, slot, config, pin, operation)?;
        // Before any key of ours is used: would the token keep a seed?
        probe::at_start(&mut connection, &config.profile, operation)?;
        let identity = keys::identity_point(&connection, operation)?;
        let canary = keys::canary(&mut connection, operation)?;
        // Everything is measured against it from now on.
        keys::check_canary(&mut connection, &canary, operation)?;
        let binder = keys::binder(&mut connection, operation)?;
        // Last, because only a signature shows a token that computes wrong from some call on.
        keys::check_identity(&mut connection, &identity, operation)?;
        Ok(Self {
            config: config.clone(),
            token,
            identity,
            state: Mutex::new(State {
                live: Live { binder, connection },
                pin: Some(pin.clone()),
                pin_refused: false,
                scratch: Scratch::new(),
                canary,
            }),
        })
    }

    /// Makes the agent identity key pair and the store key on a token that has neither. The module is released again.
    ///
    /// # Errors
    /// `Exists` if either is there already; otherwise as [`Self::open`].
    pub fn provision(config: &TokenConfig, pin: &SecretString) -> Result<(), KeystoreError> {
        provision::provision(config, pin)
    }

    /// Forgets the PIN: from now on a lost login is an error of its class.
    pub(super) fn forget_pin(&self) -> Result<(), KeystoreError> {
        self.lock(Operation::Open)?.pin = None;
        Ok(())
    }

    /// What the token's store key made of a fixed text when the keystore was opened.
    pub(super) fn canary(&self) -> Result<Zeroizing<Vec<u8>>, KeystoreError> {
        self.lock(Operation::Open).map(|state| state.canary.clone())
    }

    /// Probes a token that need not be provisioned yet. The PIN is presented once, and the module released again.
    ///
    /// # Errors
    /// As [`Self::open`], if the token cannot be probed at all.
    pub fn probe_token(config: &TokenConfig, pin: &SecretString) -> Result<ProbeReport, KeystoreError> {
        let operation = Operation::Probe;
        let module = Module::initialise(config, operation)?;
        let (slot, token) = module.slot(config, operation)?;
        let mut connection = Connection::open(module, slot, config, pin, operation)?;
        probe::probe(&mut connection, config, &token, operation)
    }

    fn lock(&self, operation: Operation) -> Result<MutexGuard<'_, State>, KeystoreError> {
        self.state.lock().map_err(|_| KeystoreError::Device { operation, code: "an earlier call panicked".into() })
    }

    /// Runs `work` on the connection. A lost session, login or handle is renewed and the work done once more: no error
    /// leads to a third try, and none to a new key.
    fn with<T>(
        &self,
        operation: Operation,
        work: impl Fn(&mut Live, &mut Scratch) -> Result<T, KeystoreError>,
    ) -> Result<T, KeystoreError> {
        let mut guard = self.lock(operation)?;
        let State { live, pin, pin_refused, scratch, canary } = &mut *guard;
        let error = match work(live, scratch) {
            Err(error) => error,
            done => return done,
        };
        let class = match error.class() {
            // After a logout SoftHSM says that handles are wrong or finds nothing, kryoptic that it failed; neither says
            // that nobody is logged in.
            ErrorClass::Handle | ErrorClass::KeyMissing | ErrorClass::Device if live.connection.is_logged_out() => {
                ErrorClass::Login
            }
            class => class,
        };
        let renewed = match class {
            ErrorClass::Session => live.connection.renew_session(operation),
            ErrorClass::Handle => live.connection.enumerate(operation),
            ErrorClass::Login if *pin_refused => return Err(refused_before(operation)),
            ErrorClass::Login => match pin {
                Some(pin) => live.connection.renew_login(pin, operation),
                None => return Err(KeystoreError::Login { operation, code: "its PIN was forgotten".into() }),
            },
            // "No objects" is also what a token says whose files are gone; with one that computes wrong, records seem corrupt
            // and keys seem to be others.
            ErrorClass::KeyMissing | ErrorClass::KeyMismatch | ErrorClass::Data => {
                keys::settle_by_canary(&mut live.connection, canary, operation)?;
                return Err(error);
            }
            _ => return Err(error),
        };
        if let Err(error) = renewed {
            *pin_refused |= error.class() == ErrorClass::Pin;
            return Err(error);
        }
        // Before anything is done with keys found anew: is it the same token, and does it work?
        keys::settle_by_canary(&mut live.connection, canary, operation)?;
        work(live, scratch)
    }
}

impl Keystore for Pkcs11Keystore {
    fn token(&self) -> &TokenId {
        &self.token
    }

    fn create_vault_key(&self, vault: VaultId, number: u32, scheme: Scheme) -> Result<VaultKey, KeystoreError> {
        let operation = Operation::CreateVaultKey;
        let canary = self.lock(operation)?.canary.clone();
        self.with(operation, |live, _| {
            provision::create_vault_key(&mut live.connection, &self.config, &canary, vault, number, scheme)
        })
    }

    fn destroy_vault_key(&self, key: &VaultKey) -> Result<(), KeystoreError> {
        self.with(Operation::DestroyVaultKey, |live, _| provision::destroy_vault_key(&mut live.connection, key))
    }

    fn check_vault_key(&self, key: &VaultKey) -> Result<(), KeystoreError> {
        let operation = Operation::CheckVaultKey;
        self.with(operation, |live, _| keys::verified_anew(&mut live.connection, key, operation).map(|_| ()))
    }

    fn discard_vault_key(&self, vault: VaultId, number: u32) -> Result<bool, KeystoreError> {
        self.with(Operation::DiscardVaultKey, |live, _| {
            provision::discard_vault_key(&mut live.connection, vault, number)
        })
    }

    fn check_sealed(&self, seeds: &[StoredSeed]) -> Result<(), KeystoreError> {
        for seed in seeds {
            self.with(Operation::CheckSealed, |live, scratch| renewal::probe(live, scratch, &self.token, seed))?;
        }
        Ok(())
    }

    fn check_recoverable(
        &self,
        seeds: &[StoredSeed],
        identity: &RecoveryIdentity,
    ) -> Result<Vec<AccountId>, KeystoreError> {
        let mut lost = Vec::new();
        for seed in seeds {
            let recoverable = self.with(Operation::CheckRecoverable, |live, scratch| {
                renewal::is_recoverable(live, scratch, &self.token, seed, identity)
            })?;
            if !recoverable {
                lost.push(seed.context.account);
            }
        }
        Ok(lost)
    }

    fn reseal(
        &self,
        seeds: &[StoredSeed],
        to: &VaultKey,
        identity: Option<&RecoveryIdentity>,
    ) -> Result<Vec<SealedSeed>, KeystoreError> {
        let one = |seed: &StoredSeed| {
            self.with(Operation::Reseal, |live, scratch| {
                renewal::reseal(live, scratch, &self.token, seed, to, identity)
            })
        };
        seeds.iter().map(one).collect()
    }

    fn hand_over(&self, order: &HandOver, identity: &RecoveryIdentity) -> Result<Vec<u8>, KeystoreError> {
        self.with(Operation::HandOver, |live, scratch| {
            renewal::hand_over_file(live, scratch, &self.token, order, identity)
        })
    }

    fn copy_to(
        &self,
        seeds: &[StoredSeed],
        recipient: &str,
        identity: &RecoveryIdentity,
    ) -> Result<Vec<Vec<u8>>, KeystoreError> {
        let one = |seed: &StoredSeed| {
            self.with(Operation::CopySeeds, |live, scratch| {
                copies::copy_to(live, scratch, &self.token, seed, recipient, identity)
            })
        };
        seeds.iter().map(one).collect()
    }

    fn make_import_identity(&self, store: OrgId) -> Result<ImportIdentity, KeystoreError> {
        self.with(Operation::ImportIdentity, |live, _| copies::make_identity(&mut live.connection, store, &self.token))
    }

    fn seal_copies(
        &self,
        seeds: &[CopiedSeed],
        to: &VaultKey,
        key: &CopyKey<'_>,
    ) -> Result<Vec<SealedSeed>, KeystoreError> {
        let opened;
        let identity = match *key {
            CopyKey::Recovery(identity) => identity,
            CopyKey::Import { store, sealed } => {
                opened = self.with(Operation::ImportIdentity, |live, scratch| {
                    copies::open_identity(&mut live.connection, scratch, store, &self.token, sealed)
                })?;
                &opened
            }
        };
        let one = |seed: &CopiedSeed| {
            self.with(Operation::SealCopies, |live, scratch| {
                copies::seal(live, scratch, &self.token, seed, to, identity)
            })
        };
        seeds.iter().map(one).collect()
    }

    fn seal(&self, key: &VaultKey, context: &SeedContext, seed: &Seed) -> Result<SealedSeed, KeystoreError> {
        let block = seed.block(context.algorithm);
        self.with(Operation::Seal, |live, scratch| sealing::seal(live, scratch, &self.token, key, context, &block))
    }

    fn otp_mac(
        &self,
        key: &VaultKey,
        context: &SeedContext,
        sealed: &SealedSeed,
        counter: u64,
    ) -> Result<OtpMac, KeystoreError> {
        self.with(Operation::OtpMac, |live, scratch| {
            sealing::otp_mac(live, scratch, &self.token, key, context, sealed, counter)
        })
    }

    fn identity_key(&self) -> &[u8] {
        &self.identity
    }

    fn sign(&self, digest: &[u8; 32]) -> Result<[u8; 64], KeystoreError> {
        let operation = Operation::Sign;
        self.with(operation, |live, _| keys::sign_checked(&mut live.connection, &self.identity, digest, operation))
    }

    fn seal_store_keys(&self, store: OrgId, keys: &StoreKeys) -> Result<Vec<u8>, KeystoreError> {
        self.with(Operation::SealStoreKeys, |live, _| store_keys::seal(&mut live.connection, store, &self.token, keys))
    }

    fn open_store_keys(&self, store: OrgId, sealed: &[u8]) -> Result<StoreKeys, KeystoreError> {
        self.with(Operation::OpenStoreKeys, |live, scratch| {
            store_keys::open(&mut live.connection, scratch, store, &self.token, sealed)
        })
    }

    fn health(&self) -> Result<(), KeystoreError> {
        let operation = Operation::Health;
        let canary = self.lock(operation)?.canary.clone();
        self.with(operation, |live, _| keys::check_canary(&mut live.connection, &canary, operation))
    }

    fn renounce_pin(&self) -> Result<(), KeystoreError> {
        self.lock(Operation::Open)?.pin_refused = true;
        Ok(())
    }

    fn probe(&self) -> Result<ProbeReport, KeystoreError> {
        let operation = Operation::Probe;
        self.with(operation, |live, _| probe::probe(&mut live.connection, &self.config, &self.token, operation))
    }
}

fn refused_before(operation: Operation) -> KeystoreError {
    KeystoreError::Pin { operation, code: "at an earlier attempt".into() }
}

/// The mechanism of the agent identity: a digest goes in, because SoftHSM before 2.7 lacks the hashing form.
const IDENTITY_MECHANISM: Mechanism<'static> = Mechanism::Ecdsa;
