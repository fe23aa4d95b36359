//! A worker for commands that work in blocking steps: the same trait that a worker serves, asked through its socket.

use strongroom_proto::ids::{AccountId, OrgId, VaultId};
use strongroom_proto::words::Scheme;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use super::{Launcher, PinForWorkers, Workers};
use crate::keystore::batch::{CopiedSeed, CopyKey, HandOver, ImportIdentity, StoredSeed};
use crate::keystore::pkcs11::TokenConfig;
use crate::keystore::{
    Keystore, KeystoreError, Operation, OtpMac, ProbeReport, SealedSeed, Seed, SeedContext, StoreKeys, TokenId,
    VaultKey,
};
use crate::pin::PinSource;
use crate::recovery::RecoveryIdentity;

/// One worker, asked in blocking calls from within a multi-threaded runtime. Ends its worker when dropped.
pub struct BlockingWorker {
    workers: Workers,
    runtime: Handle,
}

impl BlockingWorker {
    /// Starts a worker; with `provision` on a token that may have none of its own keys yet.
    ///
    /// # Errors
    /// The token's, or that there is no PIN.
    pub fn start(token: &TokenConfig, pin: &PinSource, provision: bool) -> Result<Self, KeystoreError> {
        let operation = Operation::Open;
        let pin = PinForWorkers::for_command(pin).map_err(|error| KeystoreError::NoPin {
            operation,
            reason: error.to_string(),
            remedy: error.remedy(),
        })?;
        let runtime =
            Handle::try_current().map_err(|error| KeystoreError::System { operation, reason: error.to_string() })?;
        let starting = Workers::start_one(Launcher::for_token(pin, token), token, provision);
        let workers = block_in_place(|| runtime.block_on(starting))?;
        Ok(Self { workers, runtime })
    }

    fn wait<T>(&self, call: impl Future<Output = T>) -> T {
        block_in_place(|| self.runtime.block_on(call))
    }
}

impl Drop for BlockingWorker {
    fn drop(&mut self) {
        block_in_place(|| self.runtime.block_on(self.workers.close()));
    }
}

impl Keystore for BlockingWorker {
    fn token(&self) -> &TokenId {
        self.workers.token()
    }

    fn create_vault_key(&self, vault: VaultId, number: u32, scheme: Scheme) -> Result<VaultKey, KeystoreError> {
        self.wait(self.workers.create_vault_key(vault, number, scheme))
    }

    fn destroy_vault_key(&self, key: &VaultKey) -> Result<(), KeystoreError> {
        self.wait(self.workers.destroy_vault_key(key.clone()))
    }

    fn check_vault_key(&self, key: &VaultKey) -> Result<(), KeystoreError> {
        self.wait(self.workers.check_vault_key(key.clone()))
    }

    fn discard_vault_key(&self, vault: VaultId, number: u32) -> Result<bool, KeystoreError> {
        self.wait(self.workers.discard_vault_key(vault, number))
    }

    fn check_sealed(&self, seeds: &[StoredSeed]) -> Result<(), KeystoreError> {
        self.wait(self.workers.check_sealed(seeds.to_vec()))
    }

    fn check_recoverable(
        &self,
        seeds: &[StoredSeed],
        identity: &RecoveryIdentity,
    ) -> Result<Vec<AccountId>, KeystoreError> {
        self.wait(self.workers.check_recoverable(seeds.to_vec(), identity))
    }

    fn reseal(
        &self,
        seeds: &[StoredSeed],
        to: &VaultKey,
        identity: Option<&RecoveryIdentity>,
    ) -> Result<Vec<SealedSeed>, KeystoreError> {
        self.wait(self.workers.reseal(seeds.to_vec(), to.clone(), identity))
    }

    fn hand_over(&self, order: &HandOver, identity: &RecoveryIdentity) -> Result<Vec<u8>, KeystoreError> {
        self.wait(self.workers.hand_over(order.clone(), identity))
    }

    fn copy_to(
        &self,
        seeds: &[StoredSeed],
        recipient: &str,
        identity: &RecoveryIdentity,
    ) -> Result<Vec<Vec<u8>>, KeystoreError> {
        self.wait(self.workers.copy_to(seeds.to_vec(), recipient.to_owned(), identity))
    }

    fn make_import_identity(&self, store: OrgId) -> Result<ImportIdentity, KeystoreError> {
        self.wait(self.workers.make_import_identity(store))
    }

    fn seal_copies(
        &self,
        seeds: &[CopiedSeed],
        to: &VaultKey,
        key: &CopyKey<'_>,
    ) -> Result<Vec<SealedSeed>, KeystoreError> {
        self.wait(self.workers.seal_copies(seeds.to_vec(), to.clone(), key))
    }

    fn seal(&self, key: &VaultKey, context: &SeedContext, seed: &Seed) -> Result<SealedSeed, KeystoreError> {
        self.wait(self.workers.seal(key.clone(), context.clone(), seed))
    }

    fn otp_mac(
        &self,
        key: &VaultKey,
        context: &SeedContext,
        sealed: &SealedSeed,
        counter: u64,
    ) -> Result<OtpMac, KeystoreError> {
        self.wait(self.workers.otp_mac(key.clone(), context.clone(), sealed.clone(), counter))
    }

    fn identity_key(&self) -> &[u8] {
        self.workers.identity_key()
    }

    fn sign(&self, digest: &[u8; 32]) -> Result<[u8; 64], KeystoreError> {
        self.wait(self.workers.sign(*digest))
    }

    fn seal_store_keys(&self, store: OrgId, keys: &StoreKeys) -> Result<Vec<u8>, KeystoreError> {
        self.wait(self.workers.seal_store_keys(store, keys))
    }

    fn open_store_keys(&self, store: OrgId, sealed: &[u8]) -> Result<StoreKeys, KeystoreError> {
        self.wait(self.workers.open_store_keys(store, sealed.to_vec()))
    }

    fn health(&self) -> Result<(), KeystoreError> {
        self.wait(self.workers.health())
    }

    fn renounce_pin(&self) -> Result<(), KeystoreError> {
        self.workers.renounce_pin();
        Ok(())
    }

    fn probe(&self) -> Result<ProbeReport, KeystoreError> {
        self.wait(self.workers.probe())
    }
}
