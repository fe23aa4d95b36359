//! Compares what vault keys did with what the logs say. The worker counts each code that a vault's keys made; the log has a record
//! of each that was released. A use that neither a record nor the agent's own account of refused ones explains is an alarm:
//! somebody made the token compute a code and left no trace.
//!
//! Order is everything: first the workers' counts, then what is under way, then the records. A use that was counted has by then its
//! record, or is known to be under way or to have ended without one, so releases need not be held up for the comparison.

pub mod ledger;
mod recorded;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use strongroom_proto::ids::VaultId;
use tokio_util::sync::CancellationToken;

use self::ledger::Unrecorded;
use self::recorded::Recorded;
use crate::commands::reconcile::{self as command, Comparison};
use crate::handler::Agent;
use crate::keystore::KeystoreError;
use crate::keystore::worker::Counted;

/// Vaults whose comparisons stand in one commit at most, so that releases interleave.
const BATCH_LEN: usize = 100;

/// Compares every so often until told to stop, and then once more.
pub async fn run(agent: Arc<Agent>, every: Duration, stop: CancellationToken) {
    let mut recorded = Recorded::from_now(&agent.store.view());
    let mut told = BTreeMap::new();
    loop {
        let stopped = tokio::select! {
            () = stop.cancelled() => true,
            () = tokio::time::sleep(every) => false,
        };
        match compare(&agent, &mut recorded).await {
            Ok(found) => record(&agent, found, &mut told).await,
            Err(error) => {
                tracing::warn!(error = %format!("{error:#}"), "uses of the token could not be compared with the logs")
            }
        }
        if stopped {
            return;
        }
    }
}

/// What every token's workers counted.
async fn counted(agent: &Agent) -> Result<Counted, KeystoreError> {
    let mut all = agent.workers.uses().await?;
    if let Some(second) = &agent.second {
        let Counted { uses, by_ended } = second.workers.uses().await?;
        uses.into_iter().for_each(|(vault, count)| *all.uses.entry(vault).or_default() += count);
        by_ended.into_iter().for_each(|(vault, count)| *all.by_ended.entry(vault).or_default() += count);
    }
    Ok(all)
}

async fn compare(agent: &Agent, recorded: &mut Recorded) -> anyhow::Result<BTreeMap<VaultId, Comparison>> {
    let Counted { uses, by_ended } = counted(agent).await?;
    let unrecorded = agent.ledger.unrecorded();
    let (store, instance) = (agent.store.clone(), agent.instance);
    let vaults: Vec<VaultId> = uses.keys().copied().collect();
    let mut reading = std::mem::take(recorded);
    let read = tokio::task::spawn_blocking(move || {
        let read = reading.read_on(store.readers(), instance, &vaults);
        (reading, read)
    });
    let (reading, read) = read.await?;
    *recorded = reading;
    read?;
    let comparison = |(vault, uses): (VaultId, u64)| {
        let Unrecorded { open, other } = unrecorded.get(&vault).copied().unwrap_or_default();
        let (records, by_ended) = (recorded.releases(vault), by_ended.get(&vault).copied().unwrap_or(0));
        (vault, Comparison { uses, records, other, open, by_ended, since: agent.started_at })
    };
    Ok(uses.into_iter().map(comparison).collect())
}

/// Puts on record what is new since the last time.
async fn record(agent: &Agent, found: BTreeMap<VaultId, Comparison>, told: &mut BTreeMap<VaultId, (u64, u64)>) {
    let news = |(vault, comparison): &(VaultId, Comparison)| {
        told.get(vault) != Some(&(comparison.uses, comparison.unexplained()))
    };
    let new: Vec<(VaultId, Comparison)> = found.into_iter().filter(news).collect();
    for batch in new.chunks(BATCH_LEN) {
        for (vault, comparison) in batch.iter().filter(|(_, comparison)| comparison.unexplained() > 0) {
            tracing::error!(%vault, ?comparison, "ALERT: a vault's keys made codes that no record speaks of");
        }
        let (submitted, vaults) =
            (batch.to_vec(), batch.iter().map(|(vault, it)| (*vault, (it.uses, it.unexplained()))));
        match agent.store.submit(move |tx| command::compared(tx, &submitted)).await {
            Ok(_) => told.extend(vaults),
            Err(refused) => tracing::error!(?refused, "a comparison of uses and records could not be recorded"),
        }
    }
}
