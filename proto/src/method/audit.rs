//! `audit.*`: the trail. Records travel as their bytes; names that were committed to travel beside them as openings.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Receipt, method};
use crate::audit::log_key::LogKey;
use crate::audit::opening::Opening;
use crate::audit::pruned::Pruned;
use crate::audit::record::RecordOutcome;
use crate::ids::{PendingId, SessionId, Slug};

/// Most records of one page.
pub const PAGE_LEN_MAX: u32 = 500;
/// Most leaf hashes of one page.
pub const LEAVES_LEN_MAX: u32 = 16_384;

/// Reads records, newest first unless `from` is given. Reading is itself recorded, once per log and session and hour. Records that
/// were pruned are not there: backward the page before them is the last, `from` one of them is refused with `pruned`.
/// Callers who may use only some accounts get the records of those; the others are left out.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// Which vault's log; absent means the org log (admins and org auditors).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<Slug>,
    /// Go forward from this record on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// Go backward from just before this record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// At most this many, 1 to [`PAGE_LEN_MAX`]; 100 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}
method!(Read => "audit.read" -> Page);

/// A page of records.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Page {
    /// The origin of the log.
    pub log: String,
    /// How many records the log has now.
    pub size: u64,
    /// The records, in the direction that was asked for.
    pub items: Vec<Item>,
    /// Where to go on in the same direction; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    /// The newest pruning of this log; absent if all its records are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pruned: Option<Pruned>,
}

/// One record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Item {
    /// Its place.
    pub seq: u64,
    /// Its bytes: the text of [`crate::audit::record::Record`], to be hashed as it stands.
    pub record: String,
    /// The values behind its commitments.
    pub openings: Vec<Opening>,
}

/// Searches a log: the newest records that match everything given, newest first. As [`Read`], it is recorded, and who may use only
/// some accounts finds the records of those. What it finds is checked against the leaves; that it finds everything rests on an
/// index that is no part of the log: for proofs read or export the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// Which vault's log; absent means the org log (admins and org auditors).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<Slug>,
    /// Who acted, or whom it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Slug>,
    /// Which account of the vault, by its name now or when it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Slug>,
    /// Which event, for example `code.release`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Whether it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<RecordOutcome>,
    /// Which session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// Which ticket; upper and lower case are the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// Not before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Only records before this place: where to go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// At most this many, 1 to [`PAGE_LEN_MAX`]; 100 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}
method!(Search => "audit.search" -> Page);

/// Erases the names of somebody who was revoked: from their rows, and from every log the values behind the commitments that name
/// them. Records, leaves and roots stay. Waits for a second person (`pending.confirm`). Admins only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erase {
    /// Who.
    pub identity: Slug,
    /// Why, 1 to 500 bytes.
    pub reason: String,
}
method!(Erase => "audit.erase" -> Erasing);

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasing {
    /// True if it goes on now; false while it waits.
    pub in_force: bool,
    /// What a second person confirms, or may look at later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingId>,
    /// The record.
    pub receipt: Receipt,
}

/// Reads leaf hashes, so that anybody who may read part of a log can check the whole tree.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaves {
    /// Which vault's log; absent means the org log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<Slug>,
    /// The first.
    pub from: u64,
    /// At most this many, 1 to [`LEAVES_LEN_MAX`].
    pub limit: u32,
}
method!(Leaves => "audit.leaves" -> LeavesPage);

/// A page of leaf hashes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LeavesPage {
    /// How many records the log has now.
    pub size: u64,
    /// 32 bytes each, one after the other, in base64.
    pub leaves: String,
}

/// Gets a checkpoint of the log as it is now; signs one if the newest is older.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Which vault's log; absent means the org log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<Slug>,
}
method!(Checkpoint => "audit.checkpoint" -> CheckpointResult);

/// A checkpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckpointResult {
    /// A signed note (C2SP tlog-checkpoint).
    pub checkpoint: String,
    /// The public key that signed it, SubjectPublicKeyInfo in PEM.
    pub public_key: String,
    /// The newest pruning of this log; absent if all its records are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pruned: Option<Pruned>,
}

/// Reads the state snapshot that stands for the pruned records of a log, piece by piece; empty if all records are there. Its SHA-256
/// is in the log. Recorded as `audit.read`. Callers must be allowed to read the whole log.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// Which vault's log; absent means the org log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<Slug>,
    /// Where the piece begins, in bytes.
    pub from: u64,
}
method!(Snapshot => "audit.snapshot" -> SnapshotPiece);

/// A piece of a state snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SnapshotPiece {
    /// The piece.
    pub text: String,
    /// Where the next one begins, in bytes; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// Begins an export: records it, signs a checkpoint that covers the record, and hands over what the folder holds besides
/// the records. The client fetches those with `audit.read` from 0 up to the checkpoint's size; of a pruned log their hashes with
/// `audit.leaves`, what they had said with `audit.snapshot`, and the rest from `pruned.until` on. Callers must be allowed to read
/// the whole log.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// Which vault's log; absent means the org log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<Slug>,
}
method!(Export => "audit.export" -> Exported);

/// The frame of an export.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Exported {
    /// The origin of the log.
    pub log: String,
    /// How many records to fetch.
    pub size: u64,
    /// The checkpoint over exactly these.
    pub checkpoint: String,
    /// Older checkpoints, oldest first, at most 100, evenly thinned.
    pub checkpoints: Vec<String>,
    /// The public key that signed the newest, SubjectPublicKeyInfo in PEM.
    pub public_key: String,
    /// What keys of these logs said of each other: by which way a pinned key leads to this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log_keys: Vec<LogKey>,
    /// The newest pruning of this log; absent if all its records are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pruned: Option<Pruned>,
}
