//! Checks an export folder: complete, unaltered, by the pinned key, of one log only. One pass, a few thousand records in memory.

use std::path::Path;

use jiff::Timestamp;

use super::ahead::{Ahead, Glance, Seen};
use super::milestone::{self, Milestones};
use super::openings::Openings;
use super::read::{self, Lines};
use super::{CHECKPOINT_FILE, KEY_FILE, LOG_FILE, Pin, Records, VerifyError};
use crate::agent_key::AgentKey;
use crate::audit::checkpoint::{Checkpoint, NOTE_LEN_MAX, ORIGIN_LEN_MAX, Origin};
use crate::audit::merkle::{Frontier, Hash};
use crate::audit::record::{RECORD_LEN_MAX, RECORD_VERSION};

/// Longest `log.pub`, in bytes.
const KEY_LEN_MAX: usize = 4096;

/// What a folder has been shown to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Which log.
    pub origin: Origin,
    /// How many records, all there.
    pub size: u64,
    /// The root of its tree.
    pub root: Hash,
    /// The key that signed.
    pub key: AgentKey,
    /// True if the reader pinned that key. If false, the folder is consistent and anybody could have made it.
    pub pinned: bool,
    /// When the first record was written; absent for an empty log.
    pub first_at: Option<Timestamp>,
    /// When the last record was written; absent for an empty log.
    pub last_at: Option<Timestamp>,
    /// How many older checkpoints of the folder agree.
    pub older_checkpoints: usize,
    /// How many commitments came with their value, and fit it.
    pub opened: u64,
    /// How many commitments came without their value.
    pub withheld: u64,
}

/// Checks a folder that [`super::ExportWriter`] or anybody else wrote. `kept` is the text of a checkpoint that the reader
/// kept from before: the log must have grown from it.
///
/// # Errors
/// [`VerifyError`] naming the first place where the folder is not what it must be.
pub fn verify_folder(folder: &Path, pin: Option<&Pin>, kept: Option<&str>) -> Result<Verified, VerifyError> {
    let key = signing_key(folder, pin)?;
    let text = read::short_text(folder, CHECKPOINT_FILE, NOTE_LEN_MAX)?;
    let newest = milestone::vouched(&text, CHECKPOINT_FILE, &key)?;
    let mut milestones = Milestones::collect(folder, &key, &newest, kept)?;
    let older_checkpoints = milestones.older_count();
    let mut openings = Openings::open(folder)?;
    let lines = Lines::open(folder, LOG_FILE, RECORD_LEN_MAX)?;
    let mut log = Log::new(&newest);
    // Where log and openings disagree, the log is judged first: only a log that is intact can convict an opening.
    let mut opening_fault = None;

    milestones.reach(&log.frontier);
    let too_long = std::thread::scope(|scope| {
        let mut ahead = Ahead::begin(scope, lines);
        while let Some(seen) = ahead.next()? {
            if log.frontier.size() == newest.size {
                return Ok(true);
            }
            let record = log.append(seen)?;
            if opening_fault.is_none() {
                opening_fault = openings.check(&record).err();
            }
            milestones.reach(&log.frontier);
        }
        Ok(false)
    })?;
    milestones.judge()?;
    if too_long {
        return Err(VerifyError::TooLong { covered: newest.size });
    }
    log.complete()?;
    let (opened, withheld) = opening_fault.map_or_else(|| openings.finish(), Err)?;
    let Checkpoint { origin, size, root } = newest.clone();
    let (pinned, first_at, last_at) = (pin.is_some(), log.first_at, log.last_at);
    Ok(Verified { origin, size, root, key, pinned, first_at, last_at, older_checkpoints, opened, withheld })
}

/// The folder's key, if it is the pinned one.
fn signing_key(folder: &Path, pin: Option<&Pin>) -> Result<AgentKey, VerifyError> {
    let text = read::short_text(folder, KEY_FILE, KEY_LEN_MAX)?;
    let key = AgentKey::from_spki_pem(&text).map_err(VerifyError::Key)?;
    match pin {
        Some(pin) if pin.fingerprint() != key.fingerprint() => {
            Err(VerifyError::OtherKey { found: key.fingerprint(), pinned: pin.fingerprint().to_owned() })
        }
        _ => Ok(key),
    }
}

/// The log as far as it has been read.
struct Log<'checkpoint> {
    newest: &'checkpoint Checkpoint,
    frontier: Frontier,
    first_at: Option<Timestamp>,
    last_at: Option<Timestamp>,
}

impl<'checkpoint> Log<'checkpoint> {
    fn new(newest: &'checkpoint Checkpoint) -> Self {
        Self { newest, frontier: Frontier::new(), first_at: None, last_at: None }
    }

    /// Checks one line as the next record and appends it to the tree.
    fn append(&mut self, seen: Seen) -> Result<Glance, VerifyError> {
        let seq = self.frontier.size();
        let record = seen.map_err(|reason| VerifyError::NoRecord { seq, reason })?;
        if record.v != RECORD_VERSION {
            return Err(VerifyError::Version { seq, found: record.v });
        }
        if record.log != self.newest.origin.as_str() {
            let found = record.log.chars().take(ORIGIN_LEN_MAX).collect();
            return Err(VerifyError::ForeignRecord { seq, found, expected: self.newest.origin.clone() });
        }
        if record.seq != seq {
            return Err(VerifyError::Missing { expected: seq, found: record.seq });
        }
        if self.last_at.is_some_and(|before| record.ts < before) {
            return Err(VerifyError::TimeBack { seq });
        }
        self.first_at = self.first_at.or(Some(record.ts));
        self.last_at = Some(record.ts);
        self.frontier.push(record.leaf);
        Ok(record)
    }

    /// Refuses a log that ends too early.
    fn complete(&self) -> Result<(), VerifyError> {
        let (size, covered) = (self.frontier.size(), self.newest.size);
        if size < covered {
            let missing = Records { first: size, last: covered - 1 };
            return Err(VerifyError::TooShort { size, covered, missing });
        }
        Ok(())
    }
}
