//! How far one stream has come, shared between the task that sends, the one that watches, and `agent.status`.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::section::{Begin, ORG, StreamConfig};
use crate::state::{LogId, State};
use crate::store::sqlite::{self, StreamRow};

/// How far a stream has come in one log, in records from the start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    /// At the receiver for good: a new connection begins here.
    pub(super) safe: u64,
    /// Taken by the receiver's side, as far as the kernel knows.
    pub(super) taken: u64,
    /// Written to the connection.
    pub(super) next: u64,
    /// What lies before may have been sent before.
    pub(super) sent: u64,
}

/// What is known of a stream.
#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) places: BTreeMap<LogId, Place>,
    pub(super) connected: bool,
    /// What went wrong last; `None` since records were taken again.
    pub(super) error: Option<String>,
    /// Records that were not taken.
    pub(super) records: u64,
    /// When the oldest of them was made.
    pub(super) oldest: Option<Timestamp>,
    /// Since when it is behind, if that is on record.
    pub(super) behind_since: Option<Timestamp>,
    /// Something is to be kept.
    pub(super) changed: bool,
}

/// One stream.
pub(super) struct Progress {
    pub(super) config: StreamConfig,
    inner: Mutex<Inner>,
}

impl Progress {
    /// Takes up what is kept of a stream. A stream that is new, or a log that is new to it, begins as the configuration says.
    pub(super) fn new(config: StreamConfig, kept: Option<&StreamRow>, view: &State) -> Self {
        let mut inner = Inner { changed: true, ..Inner::default() };
        for (log, head) in &view.heads {
            let size = head.frontier.size();
            // What was pruned before a stream was there is sent by none.
            let begin = view.kept_from(*log);
            let place = match kept {
                Some(row) => {
                    let place = row.places.get(log).copied().unwrap_or_default();
                    if place.safe > size {
                        tracing::error!(stream = %config.name, ?log, "more was sent of a log than there is: all of it is sent again");
                    }
                    let safe = if place.safe > size { 0 } else { place.safe }.max(begin);
                    // After a kill nobody knows how much was sent since the places were kept.
                    let sent = if row.clean { place.sent.max(safe) } else { size };
                    Place { safe, taken: safe, next: safe, sent }
                }
                None if config.from == Begin::Now => Place { safe: size, taken: size, next: size, sent: size },
                None => Place { safe: begin, taken: begin, next: begin, sent: begin },
            };
            inner.places.insert(*log, place);
        }
        inner.behind_since = kept.and_then(|row| row.behind_since);
        Self { config, inner: Mutex::new(inner) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The logs of this stream with their sizes, as far as they match their anchors, and the vaults that there are not.
    pub(super) fn logs(&self, view: &State) -> (Vec<(LogId, u64)>, Vec<String>) {
        let mut missing = Vec::new();
        let logs: Vec<LogId> = match &self.config.logs {
            None => view.heads.keys().copied().collect(),
            Some(named) => {
                let find = |slug: &strongroom_proto::ids::Slug| {
                    if slug.as_str() == ORG {
                        return Some(LogId::Org);
                    }
                    let found = view.vault(slug).map(|vault| LogId::Vault(vault.id));
                    if found.is_none() {
                        missing.push(slug.to_string());
                    }
                    found
                };
                named.iter().filter_map(find).collect()
            }
        };
        // A log that does not match is vouched for by nobody: its copy at the receiver is the evidence.
        let sized = logs.into_iter().filter(|log| !view.sealed.contains_key(log));
        (sized.filter_map(|log| Some((log, view.heads.get(&log)?.frontier.size()))).collect(), missing)
    }

    /// The first record of a log that is not at the receiver for good; nothing if this stream does not send the log.
    pub(super) fn unsent_from(&self, view: &State, log: LogId) -> Option<u64> {
        let (logs, _) = self.logs(view);
        logs.iter().any(|(own, _)| *own == log).then(|| self.lock().places.get(&log).map_or(0, |place| place.safe))
    }

    /// What is to be kept, if anything changed.
    pub(super) fn to_keep(&self, clean: bool) -> Option<(String, StreamRow)> {
        let mut inner = self.lock();
        if !inner.changed && !clean {
            return None;
        }
        inner.changed = false;
        let place = |place: &Place| sqlite::Place { safe: place.safe, sent: place.sent.max(place.safe) };
        let places = inner.places.iter().map(|(log, at)| (*log, place(at))).collect();
        Some((self.config.name.to_string(), StreamRow { clean, behind_since: inner.behind_since, places }))
    }
}
