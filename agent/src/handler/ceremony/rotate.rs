//! Running `rotate-key`: each part looks at store and token anew, so that it does not matter where the last call ended.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::method::ceremony::Ran;
use strongroom_proto::words::CeremonyStatus;

use super::run::{Work, stored};
use crate::commands::ceremony::rotate as command;
use crate::keystore::batch::{BATCH_MAX, StoredSeed};
use crate::keystore::{KeystoreError, SeedContext, VaultKey};
use crate::state::rows::SealedSeedRow;
use crate::state::second::ImportCopy;

/// Numbers that one call tries.
const ATTEMPTS: u32 = 3;

pub(super) async fn rotate(work: &mut Work<'_>) -> Result<Ran, Failure> {
    let to = new_key(work).await?;
    loop {
        let view = work.agent.store.view();
        let batch: Vec<SealedSeedRow> = command::left(&view, &work.ceremony).take(BATCH_MAX).cloned().collect();
        if batch.is_empty() {
            break;
        }
        if work.is_over() {
            return Ok(progress(work, CeremonyStatus::Running));
        }
        reseal(work, batch, &to).await?;
    }
    if !work.ceremony.retiring {
        check_all(work).await?;
        work.ceremony = work.commit(command::retire).await?;
    }
    destroy_old(work).await?;
    work.commit(command::finish).await?;
    work.agent.wake_second();
    Ok(progress(work, CeremonyStatus::Done))
}

fn progress(work: &Work<'_>, status: CeremonyStatus) -> Ran {
    let view = work.agent.store.view();
    let accounts = view.accounts_of(work.ceremony.vault).count() as u64;
    let left = command::left(&view, &work.ceremony).count() as u64;
    let receipt = work.receipt.clone();
    Ran { status, done: accounts.saturating_sub(left), accounts, certificate: None, file: None, receipt }
}

/// The new key: the one that the store knows, else one that is made now. Each attempt has a number of its own, noted before
/// the token is asked: an earlier attempt may still be under way in another worker, whatever became of its caller, and must
/// neither meet this one's key nor destroy it.
async fn new_key(work: &mut Work<'_>) -> Result<VaultKey, Failure> {
    let (vault, view) = (work.ceremony.vault, work.agent.store.view());
    if let Some(row) = work.ceremony.new_key.and_then(|number| view.vault_keys.get(&(vault, number))) {
        return Ok(row.key.clone());
    }
    let lost = || Failure::new(ErrorKind::Internal, "This ceremony does not say which key is new.");
    let scheme = work.ceremony.scheme.ok_or_else(lost)?;
    for _ in 0..ATTEMPTS {
        work.ceremony = work.commit(command::next_number).await?;
        let number = work.ceremony.new_key.ok_or_else(lost)?;
        // Before the new key is made: what earlier attempts left may fill the token's budget.
        discard_unused(work).await?;
        let made = match work.agent.workers.create_vault_key(vault, number, scheme).await {
            // From another life of this store, before it was restored.
            Err(KeystoreError::Exists { .. }) => continue,
            other => work.agent.token(async { other }).await?,
        };
        let key = made.clone();
        work.commit(move |tx, caller, ceremony| command::key_made(tx, caller, ceremony, &made)).await?;
        return Ok(key);
    }
    Err(Failure::new(ErrorKind::Conflict, "The token holds keys under the next numbers already: run it again."))
}

/// Discards what attempts left that gave no key: their numbers are no key's, and never will be.
async fn discard_unused(work: &Work<'_>) -> Result<(), Failure> {
    let numbers = command::unused_numbers(&work.agent.store.view(), &work.ceremony);
    for number in numbers {
        work.agent.token(work.agent.workers.discard_vault_key(work.ceremony.vault, number)).await?;
    }
    Ok(())
}

async fn reseal(work: &mut Work<'_>, batch: Vec<SealedSeedRow>, to: &VaultKey) -> Result<(), Failure> {
    let seeds = stored(&work.agent.store.view(), batch.iter().map(|row| row.account));
    // What was removed since is no longer stored; a seed without its key would be a fault of the store.
    let batch: Vec<SealedSeedRow> =
        batch.into_iter().filter(|row| seeds.iter().any(|seed| seed.context.account == row.account)).collect();
    if batch.is_empty() {
        return Err(Failure::new(ErrorKind::Conflict, "The accounts were changed just now; run it again."));
    }
    let imports = import_copies(work, &seeds).await?;
    let sealed = work.agent.token(work.agent.workers.reseal(seeds, to.clone(), work.recovery.as_deref())).await?;
    let batch: Vec<_> =
        batch.into_iter().zip(sealed).zip(imports).map(|((row, sealed), import)| (row, sealed, import)).collect();
    work.commit(move |tx, caller, ceremony| command::resealed(tx, caller, ceremony, &batch)).await
}

/// Copies of seeds on their way to the second token, whose key is renewed as well: it may be away just now.
async fn import_copies(work: &Work<'_>, seeds: &[StoredSeed]) -> Result<Vec<Option<ImportCopy>>, Failure> {
    let view = work.agent.store.view();
    let Some(second) = view.joined() else { return Ok(vec![None; seeds.len()]) };
    let needed = || Failure::new(ErrorKind::InvalidParams, "This ceremony needs the recovery key.");
    let recovery = work.recovery.as_ref().ok_or_else(needed)?;
    let copies = work.agent.workers.copy_to(seeds.to_vec(), second.recipient.clone(), recovery);
    let copies = work.agent.token(copies).await?;
    let row = |(seed, copy): (&StoredSeed, Vec<u8>)| {
        let SeedContext { account, vault, revision, .. } = seed.context;
        Some(ImportCopy { account, vault, revision, copy: BASE64_STANDARD.encode(copy) })
    };
    Ok(seeds.iter().zip(copies).map(row).collect())
}

/// Every seed as the store has it now opens under the new key. After this the old one may go.
async fn check_all(work: &Work<'_>) -> Result<(), Failure> {
    let view = work.agent.store.view();
    let accounts: Vec<_> = view.accounts_of(work.ceremony.vault).map(|account| account.id).collect();
    let seeds = stored(&view, accounts.iter().copied());
    if seeds.len() != accounts.len() {
        return Err(Failure::new(ErrorKind::Internal, "An account has no seed for this token: an operator must look."));
    }
    for batch in seeds.chunks(BATCH_MAX) {
        work.agent.token(work.agent.workers.check_sealed(batch.to_vec())).await?;
    }
    Ok(())
}

/// Destroys the old keys in the token. They were given up in the store, so one that is gone already is what was wanted.
async fn destroy_old(work: &Work<'_>) -> Result<(), Failure> {
    // Releases that began with an old seal end first; later ones find the new seals.
    drop(work.agent.keys_in_use.write().await);
    let view = work.agent.store.view();
    let keys: Vec<VaultKey> = command::old_keys(&view, &work.ceremony).map(|row| row.key.clone()).collect();
    destroy_keys(work, keys).await?;
    // An attempt that came late left its key after the new one was made.
    discard_unused(work).await
}

/// Destroys vault keys; one that is gone already is what was wanted.
pub(super) async fn destroy_keys(work: &Work<'_>, keys: Vec<VaultKey>) -> Result<(), Failure> {
    for key in keys {
        let destroyed = async {
            match work.agent.workers.destroy_vault_key(key).await {
                Err(KeystoreError::KeyMissing { .. }) => Ok(()),
                other => other,
            }
        };
        work.agent.token(destroyed).await?;
    }
    Ok(())
}
