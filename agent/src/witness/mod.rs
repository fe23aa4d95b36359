//! Witnesses: others who sign our checkpoints, if they were shown that each log only grew. One task for each; nothing waits for
//! them, and what they sign is kept beside the checkpoints and goes along in exports.

mod post;
pub mod section;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;
use strongroom_proto::audit::merkle::{Frontier, Hash, consistency_ranges};
use strongroom_proto::audit::witness::{Answer, cosigned, request};
use tokio::task::{JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;

use self::post::post;
use self::section::WitnessConfig;
use crate::audit::checkpointer::Checkpointer;
use crate::commands::witness as command;
use crate::state::{LogId, State};
use crate::store::sqlite::Store;
use crate::streams::section::ORG;

/// Logs that fail in a round before it is given up: then it is the witness, not one log.
const FAILURES_MAX: usize = 3;
/// Leaf hashes that are read together.
const PAGE_LEN: u32 = 16_384;

/// Shows logs to all witnesses until told to stop.
pub async fn run(store: Store, checkpointer: Arc<Checkpointer>, configs: Vec<WitnessConfig>, stop: CancellationToken) {
    let mut tasks = JoinSet::new();
    for config in configs {
        let watched = Watched { config, known: BTreeMap::new(), refused: BTreeMap::new() };
        tasks.spawn(watched.run(store.clone(), Arc::clone(&checkpointer), stop.clone()));
    }
    while tasks.join_next().await.is_some() {}
}

/// One witness, as far as this run knows it.
struct Watched {
    config: WitnessConfig,
    /// The size of each log that it has signed. Nothing at a start: then it says so itself.
    known: BTreeMap<LogId, u64>,
    /// Logs that it does not sign, since it was put on record.
    refused: BTreeMap<LogId, Timestamp>,
}

/// Why a log got no signature.
enum Failure {
    /// It cannot be reached, refuses, or answers nonsense.
    Refused(String),
    /// It has signed more records of this log than there are: the log here is an older one, or another.
    Ahead { signed: u64, here: u64 },
}

impl Failure {
    fn sentence(&self) -> String {
        match self {
            Self::Refused(why) => why.clone(),
            Self::Ahead { signed, here } => {
                format!("it has signed {signed} records of this log, and there are {here}: this log was rolled back")
            }
        }
    }
}

impl Watched {
    async fn run(mut self, store: Store, checkpointer: Arc<Checkpointer>, stop: CancellationToken) {
        loop {
            self.round(&store, &checkpointer).await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.config.every) => {}
            }
        }
    }

    /// Shows each log that has grown.
    async fn round(&mut self, store: &Store, checkpointer: &Checkpointer) {
        let view = store.view();
        let mut failures = 0;
        // What failed last comes last: a few logs that a witness does not know must not keep it from the others.
        let mut logs = self.logs(&view);
        logs.sort_by_key(|log| self.refused.contains_key(log));
        for log in logs {
            let size = view.heads.get(&log).map_or(0, |head| head.frontier.size());
            let is_new = self.known.get(&log).is_none_or(|known| *known < size);
            if size == 0 || !is_new || view.sealed.contains_key(&log) || failures >= FAILURES_MAX {
                continue;
            }
            match self.show(store, checkpointer, log).await {
                Ok(()) => self.came_back(store, log).await,
                Err(failure) => {
                    failures += 1;
                    self.note_refusal(store, log, failure).await;
                }
            }
        }
    }

    /// The logs that this witness is shown.
    fn logs(&self, view: &State) -> Vec<LogId> {
        let wanted = |log: &LogId| match (&self.config.logs, log) {
            (None, _) => true,
            (Some(logs), LogId::Org) => logs.iter().any(|slug| slug.as_str() == ORG),
            (Some(logs), LogId::Vault(vault)) => {
                view.vaults.get(vault).is_some_and(|vault| logs.contains(&vault.names.slug))
            }
        };
        view.heads.keys().filter(|log| wanted(log)).copied().collect()
    }

    async fn show(&mut self, store: &Store, checkpointer: &Checkpointer, log: LogId) -> Result<(), Failure> {
        let refused = |why: String| Failure::Refused(why);
        let signed = checkpointer.sign(log).await.map_err(|error| refused(error.to_string()))?;
        let mut known = self.known.get(&log).copied().unwrap_or(0);
        // Asked once more if it knows another size than we thought: after a start, or where somebody else showed it more.
        for _ in 0..2 {
            if known > signed.size {
                return Err(Failure::Ahead { signed: known, here: signed.size });
            }
            let proof = proof(store, log, known, signed.size).await.map_err(refused)?;
            let asked = post(&self.config.to, &request(known, &proof, &signed.note)).await;
            match asked.map_err(|error| refused(error.to_string()))? {
                Answer::Signed(lines) => {
                    let (note, at) = cosigned(&signed.note, &lines, &self.config.key)
                        .ok_or_else(|| refused("its signature does not hold".to_owned()))?;
                    let name = self.config.name.to_string();
                    let kept = store.keep_cosigned(log, name, signed.size, note).await;
                    kept.map_err(|error| refused(error.to_string()))?;
                    tracing::debug!(witness = %self.config.name, size = signed.size, %at, "a checkpoint was witnessed");
                    self.known.insert(log, signed.size);
                    return Ok(());
                }
                Answer::Knows(size) if size == known => {
                    // The standard's answer to another root of the same size, too: a fork.
                    return Err(refused(format!("it has signed another log of {size} records under this name")));
                }
                Answer::Knows(size) => known = size,
                Answer::Refused(refusal) => return Err(refused(refusal.to_string())),
            }
        }
        Err(refused("it names another size each time".to_owned()))
    }

    /// Puts a refusal on record, once until it is over.
    async fn note_refusal(&mut self, store: &Store, log: LogId, failure: Failure) {
        let reason = failure.sentence();
        tracing::warn!(witness = %self.config.name, log = %log.origin(store.view().org_id()), %reason, "no signature");
        if self.refused.contains_key(&log) || store.sealed().is_some() {
            return;
        }
        let refusal = command::Refusal { witness: self.config.name.to_string(), log, reason };
        match store.submit(move |tx| command::refused(tx, &refusal)).await {
            Ok(_) => drop(self.refused.insert(log, Timestamp::now())),
            Err(refused) => tracing::error!(?refused, "a witness's refusal could not be recorded"),
        }
    }

    async fn came_back(&mut self, store: &Store, log: LogId) {
        let Some(since) = self.refused.get(&log).copied() else { return };
        let name = self.config.name.to_string();
        match store.submit(move |tx| command::back(tx, &name, log, since)).await {
            Ok(_) => drop(self.refused.remove(&log)),
            Err(refused) => tracing::error!(?refused, "a witness's return could not be recorded"),
        }
    }
}

/// That a log grew from one size to the other (RFC 6962 §2.1.2), computed page by page: a log of years does not fit into memory.
async fn proof(store: &Store, log: LogId, from: u64, to: u64) -> Result<Vec<Hash>, String> {
    let store = store.clone();
    let read = spawn_blocking(move || {
        let ranges = consistency_ranges(from, to).ok_or_else(|| "the log has shrunk".to_owned())?;
        ranges.into_iter().map(|range| root(&store, log, range)).collect()
    });
    read.await.unwrap_or_else(|_| Err("the log could not be read".to_owned()))
}

/// The root over a run of leaves. Blocks.
fn root(store: &Store, log: LogId, range: Range<u64>) -> Result<Hash, String> {
    let mut frontier = Frontier::new();
    while range.start + frontier.size() < range.end {
        let next = range.start + frontier.size();
        let limit = u32::try_from(range.end - next).unwrap_or(PAGE_LEN).min(PAGE_LEN);
        let page = store.readers().leaves(log, next, limit).map_err(|error| error.to_string())?;
        if page.is_empty() {
            return Err("the log is shorter than its checkpoint".to_owned());
        }
        page.into_iter().for_each(|leaf| frontier.push(leaf));
    }
    Ok(frontier.root())
}
