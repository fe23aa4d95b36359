//! What the agent asks of the token: the methods of [`crate::keystore::Keystore`], answered by a worker.

use strongroom_proto::ids::{AccountId, OrgId, VaultId};
use strongroom_proto::words::Scheme;
use zeroize::Zeroizing;

use super::config::OPEN_DEADLINE;
use super::wire::{Answer, Call, WireCopyKey};
use super::workers::Workers;
use crate::keystore::batch::{CopiedSeed, CopyKey, HandOver, ImportIdentity, StoredSeed};
use crate::keystore::{
    KeystoreError, Operation, OtpMac, ProbeReport, SealedSeed, Seed, SeedContext, StoreKeys, VaultKey,
};
use crate::recovery::RecoveryIdentity;

impl Workers {
    /// Makes a vault key: [`crate::keystore::Keystore::create_vault_key`].
    ///
    /// # Errors
    /// The token's.
    pub async fn create_vault_key(
        &self,
        vault: VaultId,
        number: u32,
        scheme: Scheme,
    ) -> Result<VaultKey, KeystoreError> {
        match self.ask_for_key(Call::CreateVaultKey { vault, number, scheme }).await? {
            Answer::VaultKey(key) => Ok(key),
            _ => Err(unexpected(Operation::CreateVaultKey)),
        }
    }

    /// Destroys a vault key for ever: [`crate::keystore::Keystore::destroy_vault_key`].
    ///
    /// # Errors
    /// The token's.
    pub async fn destroy_vault_key(&self, key: VaultKey) -> Result<(), KeystoreError> {
        self.ask_for_key(Call::DestroyVaultKey { key }).await.map(drop)
    }

    /// Proves that the token holds the recorded vault key: [`crate::keystore::Keystore::check_vault_key`].
    ///
    /// # Errors
    /// The token's.
    pub async fn check_vault_key(&self, key: VaultKey) -> Result<(), KeystoreError> {
        self.ask(Call::CheckVaultKey { key }).await.map(drop)
    }

    /// Seals a seed: [`crate::keystore::Keystore::seal`].
    ///
    /// # Errors
    /// The token's.
    pub async fn seal(&self, key: VaultKey, context: SeedContext, seed: &Seed) -> Result<SealedSeed, KeystoreError> {
        let seed = Zeroizing::new(seed.expose().to_vec());
        match self.ask(Call::Seal { key, context, seed }).await? {
            Answer::Sealed(sealed) => Ok(sealed),
            _ => Err(unexpected(Operation::Seal)),
        }
    }

    /// Computes the HMAC of a moving factor under a sealed seed: [`crate::keystore::Keystore::otp_mac`].
    ///
    /// # Errors
    /// The token's.
    pub async fn otp_mac(
        &self,
        key: VaultKey,
        context: SeedContext,
        sealed: SealedSeed,
        counter: u64,
    ) -> Result<OtpMac, KeystoreError> {
        let call = Call::OtpMac { key, context, sealed, counter };
        let Answer::Mac { algorithm, mac } = self.ask(call).await? else {
            return Err(unexpected(Operation::OtpMac));
        };
        OtpMac::new(algorithm, &mac).ok_or_else(|| unexpected(Operation::OtpMac))
    }

    /// Destroys a vault key that was never used: [`crate::keystore::Keystore::discard_vault_key`].
    ///
    /// # Errors
    /// The token's.
    pub async fn discard_vault_key(&self, vault: VaultId, number: u32) -> Result<bool, KeystoreError> {
        match self.ask_for_key(Call::DiscardVaultKey { vault, number }).await? {
            Answer::Flag(found) => Ok(found),
            _ => Err(unexpected(Operation::DiscardVaultKey)),
        }
    }

    /// Proves that seeds open: [`crate::keystore::Keystore::check_sealed`].
    ///
    /// # Errors
    /// The token's.
    pub async fn check_sealed(&self, seeds: Vec<StoredSeed>) -> Result<(), KeystoreError> {
        self.ask_for_key(Call::CheckSealed { seeds }).await.map(drop)
    }

    /// Says which seeds cannot be recovered: [`crate::keystore::Keystore::check_recoverable`].
    ///
    /// # Errors
    /// The token's.
    pub async fn check_recoverable(
        &self,
        seeds: Vec<StoredSeed>,
        identity: &RecoveryIdentity,
    ) -> Result<Vec<AccountId>, KeystoreError> {
        match self.ask_for_key(Call::CheckRecoverable { seeds, identity: identity.scalar() }).await? {
            Answer::Accounts(lost) => Ok(lost),
            _ => Err(unexpected(Operation::CheckRecoverable)),
        }
    }

    /// Seals seeds anew: [`crate::keystore::Keystore::reseal`].
    ///
    /// # Errors
    /// The token's.
    pub async fn reseal(
        &self,
        seeds: Vec<StoredSeed>,
        to: VaultKey,
        identity: Option<&RecoveryIdentity>,
    ) -> Result<Vec<SealedSeed>, KeystoreError> {
        let identity = identity.map(RecoveryIdentity::scalar);
        match self.ask_for_key(Call::Reseal { seeds, to, identity }).await? {
            Answer::SealedSeeds(sealed) => Ok(sealed),
            _ => Err(unexpected(Operation::Reseal)),
        }
    }

    /// Makes the file for a client: [`crate::keystore::Keystore::hand_over`].
    ///
    /// # Errors
    /// The token's.
    pub async fn hand_over(&self, order: HandOver, identity: &RecoveryIdentity) -> Result<Vec<u8>, KeystoreError> {
        match self.ask_for_key(Call::HandOver { order, identity: identity.scalar() }).await? {
            Answer::Blob(file) => Ok(file),
            _ => Err(unexpected(Operation::HandOver)),
        }
    }

    /// Encrypts seeds to another token's import recipient: [`crate::keystore::Keystore::copy_to`].
    ///
    /// # Errors
    /// The token's.
    pub async fn copy_to(
        &self,
        seeds: Vec<StoredSeed>,
        recipient: String,
        identity: &RecoveryIdentity,
    ) -> Result<Vec<Vec<u8>>, KeystoreError> {
        match self.ask_for_key(Call::CopyTo { seeds, recipient, identity: identity.scalar() }).await? {
            Answer::Blobs(copies) => Ok(copies),
            _ => Err(unexpected(Operation::CopySeeds)),
        }
    }

    /// Makes an import identity: [`crate::keystore::Keystore::make_import_identity`].
    ///
    /// # Errors
    /// The token's.
    pub async fn make_import_identity(&self, store: OrgId) -> Result<ImportIdentity, KeystoreError> {
        match self.ask(Call::MakeImportIdentity { store }).await? {
            Answer::ImportIdentity(identity) => Ok(identity),
            _ => Err(unexpected(Operation::ImportIdentity)),
        }
    }

    /// Seals seeds from copies: [`crate::keystore::Keystore::seal_copies`].
    ///
    /// # Errors
    /// The token's.
    pub async fn seal_copies(
        &self,
        seeds: Vec<CopiedSeed>,
        to: VaultKey,
        key: &CopyKey<'_>,
    ) -> Result<Vec<SealedSeed>, KeystoreError> {
        let key = match *key {
            CopyKey::Recovery(identity) => WireCopyKey::Recovery(identity.scalar()),
            CopyKey::Import { store, sealed } => WireCopyKey::Import { store, sealed: sealed.to_vec() },
        };
        match self.ask_for_key(Call::SealCopies { seeds, to, key }).await? {
            Answer::SealedSeeds(sealed) => Ok(sealed),
            _ => Err(unexpected(Operation::SealCopies)),
        }
    }

    /// Signs a SHA-256 digest with the agent identity key: ECDSA P-256, raw `r || s`.
    ///
    /// # Errors
    /// The token's.
    pub async fn sign(&self, digest: [u8; 32]) -> Result<[u8; 64], KeystoreError> {
        match self.ask(Call::Sign { digest }).await? {
            Answer::Signature(signature) => signature.try_into().map_err(|_| unexpected(Operation::Sign)),
            _ => Err(unexpected(Operation::Sign)),
        }
    }

    /// Seals the store keys: [`crate::keystore::Keystore::seal_store_keys`].
    ///
    /// # Errors
    /// The token's.
    pub async fn seal_store_keys(&self, store: OrgId, keys: &StoreKeys) -> Result<Vec<u8>, KeystoreError> {
        match self.ask(Call::SealStoreKeys { store, keys: keys.to_wire() }).await? {
            Answer::Blob(sealed) => Ok(sealed),
            _ => Err(unexpected(Operation::SealStoreKeys)),
        }
    }

    /// Opens the store keys: [`crate::keystore::Keystore::open_store_keys`].
    ///
    /// # Errors
    /// The token's.
    pub async fn open_store_keys(&self, store: OrgId, sealed: Vec<u8>) -> Result<StoreKeys, KeystoreError> {
        let Answer::StoreKeys(keys) = self.ask(Call::OpenStoreKeys { store, sealed }).await? else {
            return Err(unexpected(Operation::OpenStoreKeys));
        };
        StoreKeys::from_wire(&keys).ok_or_else(|| unexpected(Operation::OpenStoreKeys))
    }

    /// Has a worker compute a known value with its token.
    ///
    /// # Errors
    /// The token's.
    pub async fn health(&self) -> Result<(), KeystoreError> {
        self.ask(Call::Health).await.map(drop)
    }

    /// Probes the token that serves: [`crate::keystore::Keystore::probe`].
    ///
    /// # Errors
    /// The token's.
    pub async fn probe(&self) -> Result<ProbeReport, KeystoreError> {
        match self.ask_within(OPEN_DEADLINE, &Call::Probe).await? {
            Answer::Probed(report) => Ok(report),
            _ => Err(unexpected(Operation::Probe)),
        }
    }
}

fn unexpected(operation: Operation) -> KeystoreError {
    KeystoreError::Device { operation, code: "the worker answered something else".into() }
}
