//! What can be wrong with an export. Each sentence names the place, because a client reads it, and quotes outside text
//! only in escaped form, because a terminal shows it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::agent_key::AgentKeyError;
use crate::audit::checkpoint::{CheckpointRefused, NoteError, Origin};
use crate::audit::log_key::LogKeyError;
use crate::audit::replay::SnapshotError;
use crate::audit::signed_call::SignedCallError;

/// A run of records, first to last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Records {
    /// The first.
    pub first: u64,
    /// The last, included.
    pub last: u64,
}

impl fmt::Display for Records {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last } = self;
        if first == last {
            write!(formatter, "record {first} (line {})", first + 1)
        } else {
            write!(formatter, "records {first} to {last} (lines {} to {})", first + 1, last + 1)
        }
    }
}

/// Why a folder is not a complete, unaltered log under the key. Whoever touched the folder can cause every one of these.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A file is missing or unreadable.
    #[error("{file} cannot be read")]
    Read {
        /// Its name within the folder.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// A name leads to a link, a device or a folder.
    #[error("{file} is not a plain file")]
    NotPlain {
        /// Its name within the folder.
        file: String,
    },
    /// A file that is always short is long, or is no UTF-8.
    #[error("{file} is no text of at most {len_max} bytes")]
    NoShortText {
        /// Its name within the folder.
        file: String,
        /// The limit, in bytes.
        len_max: usize,
    },
    /// `log.pub` holds no key.
    #[error("log.pub holds no key that signs checkpoints")]
    Key(#[source] AgentKeyError),
    /// The folder's key is not the one that the reader pinned.
    #[error(
        "log.pub is the key {found}, but {pinned} is pinned: this log was signed by somebody else, or the agent's key was replaced and the old one did not vouch for the new one"
    )]
    OtherKey {
        /// The fingerprint of the folder's key.
        found: String,
        /// The pinned fingerprint.
        pinned: String,
    },
    /// `log.keys` holds no statements.
    #[error("log.keys cannot be read, or holds what is no statement of one key about the next")]
    LogKeys(#[source] io::Error),
    /// A statement in `log.keys` does not hold.
    #[error("line {line} of log.keys is no statement of one key about the next")]
    LogKey {
        /// The line, from 1.
        line: usize,
        /// Why.
        source: LogKeyError,
    },
    /// A checkpoint is broken.
    #[error("{file} is no checkpoint")]
    Note {
        /// Its name within the folder, or what the reader calls it.
        file: String,
        /// The flaw.
        source: NoteError,
    },
    /// A checkpoint is not by the key.
    #[error("{file} is not vouched for by the key of this log")]
    Unsigned {
        /// Its name within the folder, or what the reader calls it.
        file: String,
        /// Why.
        source: CheckpointRefused,
    },
    /// An older checkpoint is of another log.
    #[error("{file} belongs to the log {found}, not to {expected}")]
    ForeignCheckpoint {
        /// Its name within the folder, or what the reader calls it.
        file: String,
        /// The log it belongs to.
        found: Origin,
        /// The log of the folder.
        expected: Origin,
    },
    /// A file in `checkpoints/` is not named by the size it covers.
    #[error("{file} covers {size} records: its name must be that number")]
    Misnamed {
        /// Its name within the folder.
        file: String,
        /// The size that it covers.
        size: u64,
    },
    /// There are more than [`super::OLDER_LEN_MAX`] older checkpoints.
    #[error("checkpoints holds more than {} files", super::OLDER_LEN_MAX)]
    TooManyOlder,
    /// An older checkpoint covers more than the newest: the newest was replaced, or the log rolled back.
    #[error(
        "{file} covers {size} records, but the folder's checkpoint only {newest}: the log was rolled back, or the checkpoint is not the newest"
    )]
    RolledBack {
        /// Its name within the folder, or what the reader calls it.
        file: String,
        /// The size that it covers.
        size: u64,
        /// The size of the folder's checkpoint.
        newest: u64,
    },
    /// A line is longer than any that the format allows.
    #[error("line {line} of {file} is longer than {len_max} bytes")]
    LineTooLong {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u64,
        /// The limit, in bytes.
        len_max: usize,
    },
    /// The file ends within a line.
    #[error("{file} is cut off within line {line}: its line feed is missing")]
    Cut {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u64,
    },
    /// A line of the log is no record.
    #[error("record {seq} (line {}) is no audit record: {reason}", seq + 1)]
    NoRecord {
        /// The place at which a record was expected.
        seq: u64,
        /// The flaw.
        reason: String,
    },
    /// A record is of a later format.
    #[error("record {seq} (line {}) has the format version {found}; this program knows 1", seq + 1)]
    Version {
        /// Its place.
        seq: u64,
        /// The version found.
        found: u32,
    },
    /// A record is of another log.
    #[error("record {seq} (line {}) belongs to the log {found:?}, not to {expected}", seq + 1)]
    ForeignRecord {
        /// Its place.
        seq: u64,
        /// The log it belongs to.
        found: String,
        /// The log of the folder.
        expected: Origin,
    },
    /// A record stands where another belongs.
    #[error("record {expected} is missing: line {} holds record {found} instead", expected + 1)]
    Missing {
        /// The place at which it belongs.
        expected: u64,
        /// The number found there.
        found: u64,
    },
    /// A record is older than the one before.
    #[error("record {seq} (line {}) is dated before record {}", seq + 1, seq.saturating_sub(1))]
    TimeBack {
        /// Its place.
        seq: u64,
    },
    /// The log is shorter than its checkpoint.
    #[error("the log ends after {size} records but the checkpoint covers {covered}: {missing} missing at the end")]
    TooShort {
        /// How many records there are.
        size: u64,
        /// How many there must be.
        covered: u64,
        /// The missing ones.
        missing: Records,
    },
    /// The log is longer than its checkpoint.
    #[error("the checkpoint covers {covered} records but the log goes on: nobody vouches for record {covered} (line {}) and what follows", covered + 1)]
    TooLong {
        /// How many records the checkpoint covers.
        covered: u64,
    },
    /// The records do not give the signed root.
    #[error("{records}: something was changed, exchanged, removed or put in there after {file} was signed")]
    Changed {
        /// Where the change is.
        records: Records,
        /// The first checkpoint that disagrees.
        file: String,
    },
    /// The newest checkpoint agrees with the records and an older one does not: the key signed two histories.
    #[error(
        "{file} was signed over other records than the first {size} of this log, while the newest checkpoint agrees with them: the log has been rewritten under its own key"
    )]
    TwoHistories {
        /// The older checkpoint.
        file: String,
        /// How many records it covers.
        size: u64,
    },
    /// A line of openings is no opening.
    #[error("line {line} of openings.ndjson is no opening")]
    NoOpening {
        /// The line, from 1.
        line: u64,
    },
    /// Openings do not follow the log.
    #[error("line {line} of openings.ndjson opens record {seq} out of order, twice or beyond the end of the log")]
    OpeningOrder {
        /// The line, from 1.
        line: u64,
        /// The record that it names.
        seq: u64,
    },
    /// An opening does not fit its commitment.
    #[error(
        "line {line} of openings.ndjson does not fit record {seq}: the value of {field:?} is not what the record committed to"
    )]
    FalseOpening {
        /// The line, from 1.
        line: u64,
        /// The record that it names.
        seq: u64,
        /// The field that it names.
        field: String,
    },
    /// A record's signature does not prove its call.
    #[error("record {seq} (line {}) keeps a signature that does not prove its call", seq + 1)]
    Signature {
        /// Its place.
        seq: u64,
        /// Why.
        source: SignedCallError,
    },
    /// A call was signed by a key that the reader does not know.
    #[error("record {seq} (line {}) was signed by the key {key}, which is none of the signers that you gave", seq + 1)]
    UnknownSigner {
        /// Its place.
        seq: u64,
        /// The key's fingerprint.
        key: String,
    },
    /// A code was released without a signature where the policy demanded one.
    #[error(
        "record {seq} (line {}) released a code without a signature, which the policy has demanded since record {since}", seq + 1
    )]
    UnsignedRelease {
        /// Its place.
        seq: u64,
        /// The record that set the policy.
        since: u64,
    },
    /// Records are not there, and the log does not say that they were pruned.
    #[error(
        "only the hash of {records} is there, and no log.prune of this log says that it was pruned with this state.json"
    )]
    NotPruned {
        /// Which.
        records: Records,
    },
    /// The state snapshot is no text that this program reads.
    #[error("state.json is no state snapshot")]
    State(#[source] SnapshotError),
    /// The state snapshot is of other records than those that were pruned.
    #[error("state.json tells of {size} records of some log, and not of the {pruned} that were pruned from this one")]
    OtherState {
        /// How many it tells of.
        size: u64,
        /// How many are not there.
        pruned: u64,
    },
    /// The folder changed between two readings.
    #[error("the folder was changed while it was being checked")]
    Unsteady,
}

/// A text that names no signers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignersError {
    /// A line holds no public key.
    #[error("line {line} holds no public key")]
    Line {
        /// The line, from 1.
        line: usize,
    },
    /// There is no key at all.
    #[error("there is no public key")]
    Empty,
}

/// A text that pins no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// A fingerprint is not 32 bytes of base64.
    #[error("a fingerprint is SHA256: and 43 characters, as ssh-keygen -l prints it")]
    Fingerprint,
    /// The text is no key either.
    #[error("neither a fingerprint nor a public key")]
    Key(#[source] AgentKeyError),
}

/// Why an export was not written. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The path has no last name, for example `/` or `..`.
    #[error("{} does not name a folder to be made", path.display())]
    NoName {
        /// The path.
        path: PathBuf,
    },
    /// There is something at the path.
    #[error("{} exists and is not an empty folder", path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The agent handed over a record that would not be one line, or is too long.
    #[error("record {seq} is no line of at most 8 KiB")]
    Record {
        /// Its place.
        seq: u64,
    },
    /// Hashes of pruned records came behind records.
    #[error("hashes of pruned records came behind records")]
    Begun,
    /// The agent handed over a broken checkpoint.
    #[error("the agent sent a broken checkpoint")]
    Checkpoint(#[source] NoteError),
    /// The agent handed over two checkpoints of one size that disagree: it signed two histories.
    #[error("the agent sent two checkpoints over {size} records that disagree: it has signed two histories")]
    TwoHistories {
        /// The size of both.
        size: u64,
    },
}
