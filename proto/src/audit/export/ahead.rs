//! Reads records ahead of the one pass that judges them: one thread reads lines, others parse and hash them, and the records come
//! out in their order. A million records are the same work as before, on every processor, with a few thousand in memory.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Scope, available_parallelism};

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::VerifyError;
use super::gone::{Says, leaf};
use super::read::Lines;
use crate::audit::merkle::{Hash, leaf_hash};
use crate::audit::pruned::{Pruned, snapshot_named};
use crate::audit::record::{Record, RecordOutcome};

/// Lines of one batch.
const BATCH_LEN: usize = 512;
/// Batches that wait for each thread, and behind it.
const WAITING: usize = 2;
/// More threads than this wait for the pass that judges.
const THREADS_MAX: usize = 8;

/// A record as far as a log's integrity needs it. What else it says is under its leaf.
#[derive(Debug)]
pub(super) struct Glance {
    pub(super) log: String,
    pub(super) seq: u64,
    pub(super) ts: Timestamp,
    pub(super) v: u32,
    /// The commitments.
    pub(super) h: BTreeMap<String, String>,
    pub(super) leaf: Hash,
    /// What it says of pruning, if that is what it is about.
    pub(super) pruning: Option<Says>,
}

/// What stands in a line.
#[derive(Debug)]
pub(super) enum Placed {
    /// A record.
    Record(Box<Glance>),
    /// The hash of one that was pruned.
    Pruned(Hash),
}

/// The members that every record has, and the commitments.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(rename = "agent")]
    _agent: IgnoredAny,
    #[serde(borrow)]
    event: std::borrow::Cow<'a, str>,
    #[serde(default)]
    h: BTreeMap<String, String>,
    log: String,
    #[serde(rename = "outcome")]
    _outcome: RecordOutcome,
    seq: u64,
    ts: Timestamp,
    v: u32,
}

/// What a line turned out to be: a record, or why it is none.
pub(super) type Seen = Result<Placed, String>;

/// Lines in one piece, each ended by its place.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Why the lines end here, if not because the file does.
    fault: Option<VerifyError>,
}

/// The records of a file, in their order.
pub(super) struct Ahead {
    from: Vec<Receiver<(Vec<Seen>, Option<VerifyError>)>>,
    /// Whose batch comes next.
    turn: usize,
    batch: std::vec::IntoIter<Seen>,
    fault: Option<VerifyError>,
}

impl Ahead {
    /// Begins to read. The threads end when the file does or this is dropped.
    pub(super) fn begin<'scope>(scope: &'scope Scope<'scope, '_>, lines: Lines) -> Self {
        let threads = available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        let (mut to, mut from) = (Vec::new(), Vec::new());
        for _ in 0..threads {
            let (batches, waiting) = sync_channel(WAITING);
            let (records, seen) = sync_channel(WAITING);
            scope.spawn(move || glance(&waiting, &records));
            to.push(batches);
            from.push(seen);
        }
        scope.spawn(move || read(lines, &to));
        Self { from, turn: 0, batch: Vec::new().into_iter(), fault: None }
    }

    /// The next line; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Seen>, VerifyError> {
        loop {
            if let Some(seen) = self.batch.next() {
                return Ok(Some(seen));
            }
            if let Some(fault) = self.fault.take() {
                return Err(fault);
            }
            // A thread that is gone has nothing left: the file has ended.
            let Ok((batch, fault)) = self.from[self.turn].recv() else { return Ok(None) };
            self.turn = (self.turn + 1) % self.from.len();
            (self.batch, self.fault) = (batch.into_iter(), fault);
        }
    }
}

/// Hands out batches in turns, until the file ends, has a fault, or nobody wants more.
fn read(mut lines: Lines, to: &[SyncSender<Batch>]) {
    for batches in to.iter().cycle() {
        let mut batch = Batch::default();
        while batch.ends.len() < BATCH_LEN && batch.fault.is_none() {
            match lines.next() {
                Ok(Some(line)) => {
                    batch.bytes.extend_from_slice(line);
                    batch.ends.push(batch.bytes.len());
                }
                Ok(None) => {
                    let _ = batches.send(batch);
                    return;
                }
                Err(fault) => batch.fault = Some(fault),
            }
        }
        let ends = batch.fault.is_some();
        if batches.send(batch).is_err() || ends {
            return;
        }
    }
}

fn glance(waiting: &Receiver<Batch>, records: &SyncSender<(Vec<Seen>, Option<VerifyError>)>) {
    while let Ok(Batch { bytes, ends, fault }) = waiting.recv() {
        let mut begin = 0;
        let mut seen = Vec::with_capacity(ends.len());
        for end in ends {
            seen.push(parse(&bytes[begin..end]));
            begin = end;
        }
        if records.send((seen, fault)).is_err() {
            return;
        }
    }
}

/// Reads a record; says why not, without characters that a terminal would obey.
fn parse(line: &[u8]) -> Seen {
    if let Some(leaf) = leaf(line) {
        return Ok(Placed::Pruned(leaf));
    }
    let text = std::str::from_utf8(line).map_err(|_| "it is no UTF-8".to_owned())?;
    let members: Members<'_> = serde_json::from_str(text).map_err(|error| {
        let reason = error.to_string();
        // The parser counts lines within the record, which would be taken for lines of the file.
        let reason = reason.split(" at line ").next().unwrap_or_default();
        let escaped: String = reason.escape_debug().take(160).collect();
        format!("{escaped}, at byte {}", error.column())
    })?;
    let Members { event, h, log, seq, ts, v, .. } = members;
    let pruning = matches!(event.as_ref(), "log.snapshot" | "log.prune").then(|| pruning(text)).flatten();
    Ok(Placed::Record(Box::new(Glance { log, seq, ts, v, h, leaf: leaf_hash(line), pruning })))
}

fn pruning(text: &str) -> Option<Says> {
    let record: Record = serde_json::from_str(text).ok()?;
    let snapshot = snapshot_named(&record).map(|(size, sha256)| Says::Snapshot(size, sha256));
    snapshot.or_else(|| Pruned::read(&record).map(Says::Pruned))
}
