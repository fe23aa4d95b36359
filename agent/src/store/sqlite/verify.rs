//! Recomputes logs from their records. Logs are independent of each other and of the rows, and verifying a million records is
//! most of a start: where nobody else writes, every processor takes one log after the other.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Builder, Scope, ScopedJoinHandle, available_parallelism};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, params};
use strongroom_proto::audit::merkle::{Frontier, Hash, leaf_hash};
use strongroom_proto::audit::pruned::Pruned;
use strongroom_proto::audit::record::Record;
use strongroom_proto::ids::OrgId;

use super::file::connect_reader;
use super::load::read;
use crate::audit::anchor::Anchors;
use crate::state::{Head, LogId};
use crate::store::StoreError;

/// Connections beside the first one: a start should not take all of a large machine.
const HELPERS_MAX: usize = 7;

/// Why a log does not verify.
pub(super) enum LogFlaw {
    /// It is not what was recorded.
    Broken(String),
    /// It cannot be read.
    Read(StoreError),
}

/// What a log that verifies says of its own pruning. Whether it may lack what it lacks, its rows say too.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// So many of its first records have no body.
    pub(super) gone: u64,
    /// Its newest `log.prune`.
    pub(super) pruned: Option<Pruned>,
}

type Verified = Result<Kept, LogFlaw>;

/// Logs to be verified by whoever has time.
pub(super) struct Verifying<'a> {
    org: OrgId,
    heads: &'a [(LogId, Head)],
    anchors: &'a Anchors,
    next: AtomicUsize,
}

impl<'a> Verifying<'a> {
    pub(super) fn new(org: OrgId, heads: &'a [(LogId, Head)], anchors: &'a Anchors) -> Self {
        Self { org, heads, anchors, next: AtomicUsize::new(0) }
    }

    /// Starts threads with connections of their own to this store file. Fewer than there are processors, or none, is slower
    /// and no fault.
    pub(super) fn help<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        path: &Path,
    ) -> Vec<ScopedJoinHandle<'scope, Vec<(usize, Verified)>>> {
        let processors = available_parallelism().map_or(1, usize::from);
        let helpers = (processors - 1).min(HELPERS_MAX).min(self.heads.len());
        (0..helpers)
            .filter_map(|_| {
                let connection = connect_reader(path).ok()?;
                let builder = Builder::new().name("store-verify".to_owned());
                builder.spawn_scoped(scope, move || self.work(&connection)).ok()
            })
            .collect()
    }

    /// Verifies what nobody has taken yet, and waits for the helpers. The results are in the order of the logs.
    ///
    /// # Errors
    /// [`StoreError::Read`] if a helper died.
    pub(super) fn finish(
        &self,
        connection: &Connection,
        helpers: Vec<ScopedJoinHandle<'_, Vec<(usize, Verified)>>>,
    ) -> Result<Vec<Verified>, StoreError> {
        let mut verified = self.work(connection);
        for helper in helpers {
            let died = |_| StoreError::Read("a thread that verified logs died".to_owned());
            verified.extend(helper.join().map_err(died)?);
        }
        verified.sort_by_key(|(place, _)| *place);
        Ok(verified.into_iter().map(|(_, verified)| verified).collect())
    }

    fn work(&self, connection: &Connection) -> Vec<(usize, Verified)> {
        std::iter::from_fn(|| {
            let place = self.next.fetch_add(1, Ordering::Relaxed);
            let (log, head) = self.heads.get(place)?;
            Some((place, self.verify(connection, *log, head)))
        })
        .collect()
    }

    /// Recomputes the root from the records, passing by every anchored size.
    fn verify(&self, connection: &Connection, log: LogId, head: &Head) -> Verified {
        let sql = |error| LogFlaw::Read(read(error));
        let anchor = self.anchors.of(log.origin(self.org).as_str());
        let mut frontier = Frontier::new();
        let mut stated = String::new();
        let mut kept = Kept::default();
        let mut statement = connection
            .prepare_cached("SELECT seq, leaf, record FROM audit WHERE log = ?1 ORDER BY seq")
            .map_err(sql)?;
        let mut rows = statement.query(params![log.to_bytes()]).map_err(sql)?;
        while let Some(row) = rows.next().map_err(sql)? {
            let seq: i64 = row.get(0).map_err(sql)?;
            if u64::try_from(seq) != Ok(frontier.size()) {
                return Err(LogFlaw::Broken(format!("record {} is missing", frontier.size())));
            }
            let leaf: Hash = row.get(1).map_err(sql)?;
            let record = row.get_ref(2).map_err(sql)?;
            let is_gone = record == ValueRef::Null && kept.gone == frontier.size();
            let record = record.as_str().ok();
            // The tree is made of the leaves; a record that was edited beside its leaf must not be shown to anybody.
            if !is_gone && record.is_none_or(|record| leaf_hash(record.as_bytes()) != leaf) {
                return Err(LogFlaw::Broken(format!("record {} is not what was recorded", frontier.size())));
            }
            if let Some(record) = record.filter(|record| record.contains(r#""state":""#)) {
                stated.replace_range(.., record);
                // A pruning changes a row of its log, so its record is one of these.
                kept.pruned = Pruned::read_text(record).or(kept.pruned);
            }
            kept.gone += u64::from(is_gone);
            frontier.push(leaf);
            if anchor.is_some_and(|anchor| anchor.size == frontier.size() && anchor.root != frontier.root()) {
                return Err(LogFlaw::Broken(format!("it differs from the anchor at {} records", frontier.size())));
            }
        }
        if let Some(anchor) = anchor
            && anchor.size > frontier.size()
        {
            return Err(LogFlaw::Broken(format!(
                "it has {} records, but {} were anchored: an older store was put back",
                frontier.size(),
                anchor.size
            )));
        }
        if frontier != head.frontier {
            return Err(LogFlaw::Broken("its records do not match the end of its log".to_owned()));
        }
        // The head's own tag would fall with the store's keys; the record stands under checkpoints that others keep.
        let recorded = serde_json::from_str::<Record>(&stated).ok().and_then(|record| record.state);
        if recorded.is_none_or(|recorded| recorded != hex::encode(head.state)) {
            return Err(LogFlaw::Broken("its state digest is not the one in its last change's record".to_owned()));
        }
        Ok(kept)
    }
}
