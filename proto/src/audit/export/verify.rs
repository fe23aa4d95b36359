//! Checks an export folder: complete, unaltered, by the pinned key, of one log only. One pass, a few thousand records in memory.

use std::path::Path;

use jiff::Timestamp;

use super::ahead::{Ahead, Glance, Placed, Seen};
use super::gone::Gone;
use super::milestone::{self, Milestones};
use super::openings::Openings;
use super::read::{self, Lines};
use super::{CHECKPOINT_FILE, KEY_FILE, LOG_FILE, LOG_KEYS_FILE, Pin, Records, VerifyError};
use crate::agent_key::AgentKey;
use crate::audit::checkpoint::{Checkpoint, NOTE_LEN_MAX, ORIGIN_LEN_MAX, Origin, SignedCheckpoint};
use crate::audit::log_key::{self, LogKeyError, Ways};
use crate::audit::merkle::{Frontier, Hash};
use crate::audit::pruned::Pruned;
use crate::audit::record::{RECORD_LEN_MAX, RECORD_VERSION};
use crate::audit::witness::{Forged, WitnessKey};

/// Longest `log.pub`, in bytes.
const KEY_LEN_MAX: usize = 4096;

/// What a folder has been shown to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Which log.
    pub origin: Origin,
    /// How many records, all there but those that [`Verified::pruned`] names.
    pub size: u64,
    /// The root of its tree.
    pub root: Hash,
    /// The key that signed.
    pub key: AgentKey,
    /// The keys that may have signed older checkpoints and calls: this one, and those that vouched for it.
    pub keys: Vec<AgentKey>,
    /// The fingerprints from the pinned key to the one that signed, if another token took over in between; else empty.
    pub way: Vec<String>,
    /// True if the reader pinned that key, or one that vouched for it. If false, the folder is consistent and anybody could have made it.
    pub pinned: bool,
    /// The pruning of records that are not there, only their hashes; absent if all are there.
    pub pruned: Option<Pruned>,
    /// When the first record that is there was written; absent for an empty log.
    pub first_at: Option<Timestamp>,
    /// When the last record was written; absent for an empty log.
    pub last_at: Option<Timestamp>,
    /// Every checkpoint of the folder, the newest last: the log agrees with each, and its key or one before it signed it.
    pub notes: Vec<SignedCheckpoint>,
    /// How many older checkpoints of the folder agree.
    pub older_checkpoints: usize,
    /// How many commitments came with their value, and fit it.
    pub opened: u64,
    /// How many commitments came without their value.
    pub withheld: u64,
}

impl Verified {
    /// Up to which size a witness has signed this log, and when it signed that; `None` if it signed none of the folder's
    /// checkpoints.
    ///
    /// # Errors
    /// [`Forged`] if a line claims this witness and is not by it.
    pub fn witnessed_by(&self, key: &WitnessKey) -> Result<Option<(u64, Timestamp)>, Forged> {
        let mut best = None;
        for note in &self.notes {
            if let Some(at) = key.signed_at(note)? {
                best = best.max(Some((note.unverified().size, at)));
            }
        }
        Ok(best)
    }
}

/// Checks a folder that [`super::ExportWriter`] or anybody else wrote. `kept` is the text of a checkpoint that the reader
/// kept from before: the log must have grown from it.
///
/// # Errors
/// [`VerifyError`] naming the first place where the folder is not what it must be.
pub fn verify_folder(folder: &Path, pin: Option<&Pin>, kept: Option<&str>) -> Result<Verified, VerifyError> {
    let key = signing_key(folder)?;
    let text = read::short_text(folder, CHECKPOINT_FILE, NOTE_LEN_MAX)?;
    // Whose log it says it is; the signature is judged after the pin, whose sentence tells a reader more.
    let note = SignedCheckpoint::parse(&text)
        .map_err(|source| VerifyError::Note { file: CHECKPOINT_FILE.to_owned(), source })?;
    let ways = ways(folder, &note.unverified().origin)?;
    let way = check_pin(&ways, pin, &key)?;
    let vouched = milestone::vouched(&text, CHECKPOINT_FILE, &key, &[])?;
    let newest = vouched.unverified().clone();
    let keys = ways.before(&key);
    let mut milestones = Milestones::collect(folder, &key, &keys, &newest, kept)?;
    let notes: Vec<SignedCheckpoint> = milestones.notes().iter().chain([&vouched]).cloned().collect();
    let older_checkpoints = notes.len() - 1;
    let mut openings = Openings::open(folder)?;
    let lines = Lines::open(folder, LOG_FILE, RECORD_LEN_MAX)?;
    let mut log = Log::new(folder, &newest);
    // Where log and openings disagree, the log is judged first: only a log that is intact can convict an opening.
    let mut opening_fault = None;

    milestones.reach(&log.frontier);
    let too_long = std::thread::scope(|scope| {
        let mut ahead = Ahead::begin(scope, lines);
        while let Some(seen) = ahead.next()? {
            if log.frontier.size() == newest.size {
                return Ok(true);
            }
            if let Some(record) = log.append(seen)?
                && opening_fault.is_none()
            {
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
    let pruned = log.gone.map(Gone::finish).transpose()?;
    Ok(Verified {
        origin,
        size,
        root,
        key,
        keys,
        way,
        notes,
        pinned,
        pruned,
        first_at,
        last_at,
        older_checkpoints,
        opened,
        withheld,
    })
}

/// The folder's key.
fn signing_key(folder: &Path) -> Result<AgentKey, VerifyError> {
    let text = read::short_text(folder, KEY_FILE, KEY_LEN_MAX)?;
    AgentKey::from_spki_pem(&text).map_err(VerifyError::Key)
}

/// What the folder says of keys that vouched for others. Every statement has to hold: a false one was put there by somebody.
fn ways(folder: &Path, origin: &Origin) -> Result<Ways, VerifyError> {
    let statements = log_key::read(&folder.join(LOG_KEYS_FILE)).map_err(VerifyError::LogKeys)?;
    let Some(organisation) = log_key::organisation_of(origin) else {
        return if statements.is_empty() {
            Ok(Ways::default())
        } else {
            Err(VerifyError::LogKey { line: 1, source: LogKeyError::Organisation })
        };
    };
    Ways::collect(&statements, organisation).map_err(|(place, source)| VerifyError::LogKey { line: place + 1, source })
}

/// The way from the pinned key to the folder's; empty if they are the same, or nothing is pinned.
fn check_pin(ways: &Ways, pin: Option<&Pin>, key: &AgentKey) -> Result<Vec<String>, VerifyError> {
    let Some(pin) = pin.filter(|pin| pin.fingerprint() != key.fingerprint()) else { return Ok(Vec::new()) };
    let other = || VerifyError::OtherKey { found: key.fingerprint(), pinned: pin.fingerprint().to_owned() };
    ways.between(pin.fingerprint(), key).ok_or_else(other)
}

/// The log as far as it has been read.
struct Log<'checkpoint> {
    folder: &'checkpoint Path,
    newest: &'checkpoint Checkpoint,
    /// The hash of the first record, while only hashes of pruned ones have come.
    first_leaf: Option<Hash>,
    /// What stands for the pruned records, once the first record behind them has come.
    gone: Option<Gone>,
    frontier: Frontier,
    first_at: Option<Timestamp>,
    last_at: Option<Timestamp>,
}

impl<'checkpoint> Log<'checkpoint> {
    fn new(folder: &'checkpoint Path, newest: &'checkpoint Checkpoint) -> Self {
        Self { folder, newest, first_leaf: None, gone: None, frontier: Frontier::new(), first_at: None, last_at: None }
    }

    /// Checks one line as the next record and appends it to the tree; gives the record, unless it was pruned.
    fn append(&mut self, seen: Seen) -> Result<Option<Box<Glance>>, VerifyError> {
        let seq = self.frontier.size();
        let mut record = match seen.map_err(|reason| VerifyError::NoRecord { seq, reason })? {
            Placed::Record(record) => record,
            Placed::Pruned(leaf) => {
                // Only the beginning of a log is ever pruned.
                if seq > 0 && self.first_leaf.is_none() {
                    return Err(VerifyError::NotPruned { records: Records { first: seq, last: seq } });
                }
                self.first_leaf = self.first_leaf.or(Some(leaf));
                self.frontier.push(leaf);
                return Ok(None);
            }
        };
        if let Some(first) = self.first_leaf.take() {
            let gone = Gone::open(self.folder, seq, &first, &self.newest.origin)?;
            self.last_at = Some(gone.state().last_at);
            self.gone = Some(gone);
        }
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
        if let (Some(gone), Some(said)) = (&mut self.gone, record.pruning.take()) {
            gone.take(said);
        }
        Ok(Some(record))
    }

    /// Refuses a log that ends too early.
    fn complete(&self) -> Result<(), VerifyError> {
        let (size, covered) = (self.frontier.size(), self.newest.size);
        if size < covered {
            let missing = Records { first: size, last: covered - 1 };
            return Err(VerifyError::TooShort { size, covered, missing });
        }
        if self.first_leaf.is_some() {
            return Err(VerifyError::NotPruned { records: Records { first: 0, last: size - 1 } });
        }
        Ok(())
    }
}
