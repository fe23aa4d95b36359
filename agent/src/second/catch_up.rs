//! What is on its way to the second token reaches it: at once while it is there, and when it comes back otherwise.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use jiff::Timestamp;
use strongroom_proto::ids::VaultId;
use tokio_util::sync::CancellationToken;

use super::{SecondWorkers, agree, first_seal};
use crate::backup::recover::committed;
use crate::commands::ceremony::is_being_destroyed;
use crate::commands::second as command;
use crate::handler::Agent;
use crate::keystore::batch::{BATCH_MAX, CopiedSeed, CopyKey};
use crate::keystore::worker::Workers;
use crate::keystore::{KeystoreError, VaultKey};
use crate::state::second::{ImportCopy, SecondKey, SecondSeed};
use crate::state::{LogId, State};
use crate::store::sqlite::Store;

/// How often it is looked without being told.
const TICK: Duration = Duration::from_secs(5);
/// Numbers of keys that are tried: those of an earlier life of the store may be taken.
const NUMBERS_MAX: u32 = 100;

/// Works until told to stop.
pub(crate) async fn run(agent: Arc<Agent>, stop: CancellationToken) {
    let Some(second) = &agent.second else { return };
    loop {
        if second.workers.serves()
            && let Err(error) = pass(&agent, second).await
        {
            tracing::warn!(error = %format!("{error:#}"), "the second token was not brought up to date");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = second.wake.notified() => {}
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

/// Vaults that are served: neither destroyed, nor about to be, nor sealed.
fn living(view: &State) -> Vec<VaultId> {
    let vaults = view.vaults.values().filter(|vault| {
        vault.destroyed_at.is_none()
            && !view.sealed.contains_key(&LogId::Vault(vault.id))
            && !view.sealed.contains_key(&LogId::Org)
            && !is_being_destroyed(view, vault.id)
    });
    vaults.map(|vault| vault.id).collect()
}

async fn pass(agent: &Agent, second: &SecondWorkers) -> anyhow::Result<()> {
    let _alone = second.alone.lock().await;
    let view = agent.store.view();
    let mut waiting: BTreeMap<VaultId, Vec<ImportCopy>> = BTreeMap::new();
    for copy in view.import_copies.values() {
        waiting.entry(copy.vault).or_default().push(copy.clone());
    }
    for vault in living(&view) {
        let copies = waiting.remove(&vault).unwrap_or_default();
        // What is wrong with one vault holds up no other one.
        if let Err(error) = bring_up(agent, second, vault, copies).await {
            if !second.workers.serves() {
                return Err(error);
            }
            tracing::error!(%vault, error = %format!("{error:#}"), "the second token lacks something of this vault");
        }
    }
    Ok(())
}

async fn bring_up(
    agent: &Agent,
    second: &SecondWorkers,
    vault: VaultId,
    copies: Vec<ImportCopy>,
) -> anyhow::Result<()> {
    if agent.store.view().second_key(vault).is_none() || !copies.is_empty() {
        let key = vault_key(&agent.store, &second.workers, vault).await?;
        for batch in copies.chunks(BATCH_MAX) {
            if take(agent, second, vault, &key, batch).await.is_ok() {
                continue;
            }
            // One by one: a copy that does not open keeps no other seed away.
            let mut lost = None;
            for one in batch.chunks(1).filter(|_| second.workers.serves()) {
                if let (Err(error), Some(copy)) = (take(agent, second, vault, &key, one).await, one.first()) {
                    lost = Some(error.context(format!("the seed of account {}", copy.account)));
                }
            }
            lost.map_or(Ok(()), Err)?;
        }
    }
    drop_unused(agent, second, vault).await
}

/// The vault's key in the second token: the one that the store knows, or a new one.
pub(super) async fn vault_key(store: &Store, second: &Workers, vault: VaultId) -> anyhow::Result<VaultKey> {
    let view = store.view();
    if let Some(row) = view.second_key(vault) {
        return Ok(row.key.clone());
    }
    let wanted = view.policies.get(&vault).context("a vault has no policy")?.scheme;
    let scheme = second.scheme_like(wanted);
    let first = view.second_keys_of(vault).last().map_or(1, |row| row.key.number + 1);
    for number in first..first.saturating_add(NUMBERS_MAX) {
        match second.create_vault_key(vault, number, scheme).await {
            Ok(key) => {
                let row = SecondKey { key: key.clone(), retiring: false, created_at: Timestamp::UNIX_EPOCH };
                let token = second.token().clone();
                committed(store.submit(move |tx| command::key_made(tx, &token, &row)).await)?;
                return Ok(key);
            }
            // Of a run that was killed before it could say so, or of another life of this store: never destroyed unasked.
            Err(KeystoreError::Exists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bail!("the second token has {NUMBERS_MAX} unknown keys for one vault")
}

/// Seals a batch from its import copies.
async fn take(
    agent: &Agent,
    second: &SecondWorkers,
    vault: VaultId,
    key: &VaultKey,
    batch: &[ImportCopy],
) -> anyhow::Result<()> {
    let view = agent.store.view();
    let row = view.joined().context("the second token has left")?;
    let identity = BASE64_STANDARD.decode(&row.sealed_identity).context("the import identity is malformed")?;
    let mut copies = Vec::with_capacity(batch.len());
    let mut taken = Vec::with_capacity(batch.len());
    for copy in batch {
        // Removed meanwhile: its copy went with it.
        let Some(account) = view.accounts.get(&copy.account) else { continue };
        let bytes = BASE64_STANDARD.decode(&copy.copy).context("an import copy is malformed")?;
        copies.push(CopiedSeed { context: account.seed_context(view.org_id()), copy: bytes });
        taken.push(copy.clone());
    }
    let contexts: Vec<_> = copies.iter().map(|copy| copy.context.clone()).collect();
    let opens = CopyKey::Import { store: view.org_id(), sealed: &identity };
    let sealed = second.workers.seal_copies(copies, key.clone(), &opens).await?;
    let mut rows = Vec::with_capacity(taken.len());
    for ((copy, context), sealed) in taken.into_iter().zip(contexts).zip(sealed) {
        // While the first token is away the worker's own proof has to do: the seal opens to the seed of this account's copy.
        if agent.workers.serves()
            && let Some(own) = first_seal(&view, &context)
        {
            let other = (key.clone(), sealed.clone());
            agent.ledger.other(vault, 2);
            let same = match agree((&agent.workers, own), (&second.workers, other), &context).await {
                Err(_) if !agent.workers.serves() => true,
                same => same?,
            };
            if !same {
                tracing::error!(account = %context.account, "ALERT: the two tokens make different codes: this seed is not taken");
                continue;
            }
        }
        let seed = SecondSeed { account: copy.account, vault, revision: copy.revision, sealed };
        rows.push((seed, Some(copy)));
    }
    if rows.is_empty() {
        return Ok(());
    }
    let token = second.workers.token().clone();
    committed(agent.store.submit(move |tx| command::sealed(tx, vault, &token, &rows)).await)
        .map(|_| tracing::info!(%vault, "seeds reached the second token"))
}

/// Destroys keys that a rotation has replaced, once nothing is sealed under them.
async fn drop_unused(agent: &Agent, second: &SecondWorkers, vault: VaultId) -> anyhow::Result<()> {
    let view = agent.store.view();
    let unused: Vec<SecondKey> =
        view.second_keys_of(vault).filter(|row| command::is_unused(&view, row)).cloned().collect();
    if unused.is_empty() {
        return Ok(());
    }
    // A code that is on its way under one of them ends first.
    drop(agent.keys_in_use.write().await);
    for row in unused {
        match second.workers.destroy_vault_key(row.key.clone()).await {
            Ok(()) | Err(KeystoreError::KeyMissing { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let token = second.workers.token().clone();
        committed(agent.store.submit(move |tx| command::key_gone(tx, &token, &row)).await)?;
    }
    Ok(())
}
