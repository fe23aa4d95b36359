//! What a log says of its own pruning: bodies of old records go, their hashes stay, and two records say so. `log.snapshot` names
//! what the records that go had said, `log.prune` says which they are.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::record::{Record, RecordOutcome};

/// A pruning, as its `log.prune` tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    /// When.
    pub at: Timestamp,
    /// The place of its record.
    pub record: u64,
    /// SHA-256 of the state snapshot over the records that went, lower-case hex.
    pub snapshot: String,
    /// The first record that is still there: all before it are pruned.
    pub until: u64,
}

impl Pruned {
    /// Reads a `log.prune`; `None` if the record is none.
    #[must_use]
    pub fn read(record: &Record) -> Option<Self> {
        if record.event != "log.prune" || record.outcome != RecordOutcome::Ok {
            return None;
        }
        let until = record.detail.get("until").and_then(Value::as_u64)?;
        let snapshot = record.detail.get("snapshot").and_then(Value::as_str)?.to_owned();
        Some(Self { at: record.ts, record: record.seq, snapshot, until })
    }

    /// Reads it from a record's bytes. Told by them first, because reading a record takes much longer: a text in a record that
    /// looks like an event has its quotes escaped.
    #[must_use]
    pub fn read_text(text: &str) -> Option<Self> {
        if !text.contains(r#""event":"log.prune""#) {
            return None;
        }
        Self::read(&serde_json::from_str(text).ok()?)
    }
}

/// The size and the SHA-256 of the text that a `log.snapshot` names; `None` if the record is none.
#[must_use]
pub fn snapshot_named(record: &Record) -> Option<(u64, String)> {
    if record.event != "log.snapshot" || record.outcome != RecordOutcome::Ok {
        return None;
    }
    let size = record.detail.get("size").and_then(Value::as_u64)?;
    Some((size, record.detail.get("sha256").and_then(Value::as_str)?.to_owned()))
}
