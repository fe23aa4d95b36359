//! Compares state and logs while the agent runs: soon after a start, and every day. What does not agree is sealed at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::state_check::{Checked, Difference, check};
use crate::commands::organisation;
use crate::state::LogId;
use crate::store::StoreError;
use crate::store::sqlite::Store;

/// How often it is compared.
const INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// Compares until told to stop.
pub async fn run(store: Store, stop: CancellationToken) {
    loop {
        let begun = Instant::now();
        match compare(&store).await {
            Ok(Checked { records, differences, unreadable, .. }) => {
                let seconds = begun.elapsed().as_secs_f64();
                for (log, unsaid) in &unreadable {
                    let log = log.origin(store.view().org_id());
                    tracing::error!(%log, %unsaid, "a log cannot be replayed: its rows were not compared with it");
                }
                if differences.is_empty() && unreadable.is_empty() {
                    tracing::info!(records, seconds, "the state is what the logs say");
                }
                seal(&store, differences).await;
            }
            Err(error) => tracing::error!(%error, "the state could not be compared with the logs"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

async fn compare(store: &Store) -> Result<Checked, StoreError> {
    let store = store.clone();
    let work = move || {
        let view: Arc<_> = store.view();
        check(&view, store.readers())
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::Read("the comparison ended".to_owned()))?
}

/// Seals each log that something does not agree with; the organisation's last, because then nothing is recorded any more.
async fn seal(store: &Store, differences: Vec<Difference>) {
    let mut by_log: BTreeMap<LogId, Vec<Difference>> = BTreeMap::new();
    for difference in differences {
        tracing::error!(log = %difference.log.origin(store.view().org_id()), %difference, "the state is not what the log says");
        by_log.entry(difference.log).or_default().push(difference);
    }
    let (org, vaults): (Vec<_>, Vec<_>) = by_log.into_iter().partition(|(log, _)| *log == LogId::Org);
    for (log, differences) in vaults.into_iter().chain(org) {
        let (count, first) = (differences.len(), differences[0].to_string());
        let sealed = store.submit(move |tx| organisation::state_differs(tx, log, count, &first)).await;
        if let Err(refused) = sealed {
            tracing::error!(?refused, "what does not agree could not be sealed");
        }
    }
}
