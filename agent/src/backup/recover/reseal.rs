//! Every seed from its recovery copy into the new token, verified one by one.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use strongroom_proto::ids::{AccountId, VaultId};
use strongroom_proto::words::{Algorithm, Scheme};

use crate::commands::recovery;
use crate::keystore::{Keystore, KeystoreError, OtpMac, Seed, VaultKey};
use crate::recovery::{RecoveryIdentity, open_copy};
use crate::state::State;
use crate::state::rows::{Account, SealedSeedRow, VaultKeyRow};
use crate::store::Refused;
use crate::store::sqlite::Store;

/// Accounts of one commit: what a crash has to do again.
const BATCH_LEN: usize = 50;
/// Moving factors at which the token's MAC is compared with the copy's.
const PROBES: [u64; 2] = [0, 59_012_345];

/// What came of it.
#[derive(Default)]
pub(super) struct Resealed {
    pub(super) accounts: u64,
    /// Names of those without a usable copy, with the reason.
    pub(super) lost: Vec<String>,
}

/// Works through all vaults. What an earlier run finished is left as it is.
pub(super) async fn reseal_all(
    store: &Store,
    keystore: &dyn Keystore,
    identity: &RecoveryIdentity,
) -> anyhow::Result<Resealed> {
    let mut done = Resealed::default();
    let vaults: Vec<VaultId> = store.view().vaults.keys().copied().collect();
    for vault in vaults {
        reseal_vault(store, keystore, identity, vault, &mut done).await?;
    }
    Ok(done)
}

async fn reseal_vault(
    store: &Store,
    keystore: &dyn Keystore,
    identity: &RecoveryIdentity,
    vault: VaultId,
    done: &mut Resealed,
) -> anyhow::Result<()> {
    let key = vault_key(store, keystore, vault).await?;
    let view = store.view();
    let accounts: Vec<Account> = view.accounts_of(vault).cloned().collect();
    let mut lost: BTreeMap<AccountId, String> = BTreeMap::new();
    for batch in accounts.chunks(BATCH_LEN) {
        let mut seeds = Vec::with_capacity(batch.len());
        for account in batch {
            if view.seeds.get(&account.id).is_some_and(|row| row.sealed.token == *keystore.token()) {
                done.accounts += 1;
                continue;
            }
            match seed_of(&view, identity, account) {
                Ok(seed) => seeds.push(sealed(&view, keystore, &key, account, &seed)?),
                Err(reason) => {
                    lost.insert(account.id, reason);
                }
            }
        }
        if !seeds.is_empty() {
            done.accounts += seeds.len() as u64;
            committed(store.submit(move |tx| recovery::resealed(tx, vault, &seeds)).await)?;
        }
    }
    if !lost.is_empty() {
        let slug = view.vaults.get(&vault).map(|vault| vault.names.slug.to_string()).unwrap_or_default();
        for (id, reason) in &lost {
            let name = view.accounts.get(id).map(|account| account.names.slug.to_string()).unwrap_or_default();
            done.lost.push(format!("{slug}/{name}: {reason}"));
        }
        let ids: Vec<AccountId> = lost.into_keys().collect();
        committed(store.submit(move |tx| recovery::lost(tx, vault, &ids)).await)?;
    }
    Ok(())
}

/// The vault's key in the new token: the one an earlier run made, or a new one.
async fn vault_key(store: &Store, keystore: &dyn Keystore, vault: VaultId) -> anyhow::Result<VaultKey> {
    let view = store.view();
    let newest = view.newest_vault_key(vault).map(|row| row.key.clone());
    if let Some(key) = &newest {
        match keystore.check_vault_key(key) {
            Ok(()) => return Ok(key.clone()),
            Err(KeystoreError::KeyMissing { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let scheme = newest.as_ref().map_or(Scheme::Resident, |key| key.scheme);
    let first = newest.map_or(1, |key| key.number + 1);
    for number in first..first.saturating_add(100) {
        match keystore.create_vault_key(vault, number, scheme) {
            Ok(key) => {
                let row = VaultKeyRow { key: key.clone(), created_at: Timestamp::UNIX_EPOCH };
                committed(store.submit(move |tx| recovery::vault_key(tx, &row)).await)?;
                return Ok(key);
            }
            // Made by a run that was killed before it could record it: it sealed nothing.
            Err(KeystoreError::Exists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bail!("the new token has a hundred unknown keys for one vault")
}

/// Opens the recovery copy of an account, and checks that it is this account's. The error is for people.
fn seed_of(view: &State, identity: &RecoveryIdentity, account: &Account) -> Result<Seed, String> {
    let row = view.recovery.get(&account.id).ok_or("no recovery copy")?;
    let copy = BASE64_STANDARD.decode(&row.copy).map_err(|_| "its recovery copy is malformed")?;
    let (context, seed) = open_copy(identity, &copy).map_err(|error| error.to_string())?;
    if context != account.seed_context(view.org_id()) {
        return Err("its recovery copy belongs to another account or an earlier seed".to_owned());
    }
    Ok(seed)
}

/// Seals a seed in the new token, and has the token prove that it makes the same of it as the copy does.
fn sealed(
    view: &State,
    keystore: &dyn Keystore,
    key: &VaultKey,
    account: &Account,
    seed: &Seed,
) -> anyhow::Result<SealedSeedRow> {
    let context = account.seed_context(view.org_id());
    let sealed = keystore.seal(key, &context, seed)?;
    for counter in PROBES {
        let expected = mac(seed, account.algorithm, counter).context("a MAC in software")?;
        if keystore.otp_mac(key, &context, &sealed, counter)?.expose() != expected.expose() {
            bail!("the new token makes other codes of {} than its recovery copy does", account.names.slug);
        }
    }
    Ok(SealedSeedRow { account: account.id, vault: account.vault, sealed })
}

/// RFC 4226 §5.3 step 1 in software.
pub(in crate::backup) fn mac(seed: &Seed, algorithm: Algorithm, counter: u64) -> Option<OtpMac> {
    macro_rules! with {
        ($hash:ty) => {{
            let mut mac = Hmac::<$hash>::new_from_slice(seed.expose()).ok()?;
            mac.update(&counter.to_be_bytes());
            OtpMac::new(algorithm, &mac.finalize().into_bytes())
        }};
    }
    match algorithm {
        Algorithm::Sha1 => with!(sha1::Sha1),
        Algorithm::Sha256 => with!(sha2::Sha256),
        Algorithm::Sha512 => with!(sha2::Sha512),
    }
}

pub(crate) fn committed<T>(outcome: Result<T, Refused>) -> anyhow::Result<T> {
    outcome.map_err(|refused| match refused {
        Refused::Denied(failure) => anyhow::anyhow!("{failure}"),
        Refused::Store(error) => error.into(),
    })
}
