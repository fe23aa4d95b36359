//! One command's view of the state: it reads, changes rows and appends records; the engine makes all of it durable, or
//! none. Pure: no clock, no I/O (randomness for salts and nonces aside).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};
use strongroom_proto::audit::checkpoint::Origin;
use strongroom_proto::audit::merkle::{Frontier, Hash, leaf_hash};
use strongroom_proto::audit::opening::{Opening, SALT_LEN};
use strongroom_proto::audit::record::{Actor, From, GrantRef, RECORD_VERSION, Record, RecordOutcome, Target};
use strongroom_proto::error::Failure;
use strongroom_proto::ids::Instance;
use strongroom_proto::method::Receipt;

use super::StoreError;
use super::sealer::{Sealer, StoredRow};
use crate::state::alert::{Alert, AlertNames};
use crate::state::rows::Row;
use crate::state::{Head, LogId, Mark, State};

/// A record before it has its place.
#[derive(Clone, Debug)]
pub struct Draft {
    /// `family.event`.
    pub event: &'static str,
    /// Whether it happened.
    pub outcome: RecordOutcome,
    /// Who acted.
    pub actor: Option<Actor>,
    /// Where the call came from.
    pub from: Option<From>,
    /// The grant that allowed it.
    pub grant: Option<GrantRef>,
    /// What it was about.
    pub target: Target,
    /// Facts of this event.
    pub detail: BTreeMap<String, Value>,
    /// Personal and free text: becomes commitments, kept beside.
    pub texts: Vec<(&'static str, String)>,
}

impl Draft {
    /// A draft of something that happened.
    #[must_use]
    pub fn new(event: &'static str) -> Self {
        Self {
            event,
            outcome: RecordOutcome::Ok,
            actor: None,
            from: None,
            grant: None,
            target: Target::default(),
            detail: BTreeMap::new(),
            texts: Vec::new(),
        }
    }

    /// Adds a fact: a text or an integer below 2^53.
    #[must_use]
    pub fn detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.detail.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a text to be committed to.
    #[must_use]
    pub fn text(mut self, field: &'static str, value: impl Into<String>) -> Self {
        self.texts.push((field, value.into()));
        self
    }

    /// Adds a text if there is one.
    #[must_use]
    pub fn maybe_text(self, field: &'static str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(field, value),
            None => self,
        }
    }
}

/// A record with its place, ready for the engine.
#[derive(Clone, Debug)]
pub struct Placed {
    /// In which log.
    pub log: LogId,
    /// At which place.
    pub seq: u64,
    /// Its bytes.
    pub record: String,
    /// Its leaf hash.
    pub leaf: Hash,
    /// Its openings, encrypted together; `None` if it has none.
    pub openings: Option<Vec<u8>>,
}

/// A change of a row.
#[derive(Clone, Debug)]
pub enum Change {
    /// Insert or replace.
    Put(StoredRow),
    /// Remove.
    Delete {
        /// The kind.
        kind: &'static str,
        /// The key.
        key: Vec<u8>,
    },
    /// Keep what the first records of a log say. No row: its SHA-256 in a record and in the log's retention vouches for it.
    Snapshot {
        /// Of which log.
        log: LogId,
        /// Of how many records.
        size: u64,
        /// What they say.
        text: String,
        /// Texts of fewer records than this go: the one before stays, for whoever reads by it just now.
        oldest: u64,
    },
}

/// A refusal, with the denial to be recorded in its place.
pub struct Refusal {
    /// What the caller is told.
    pub failure: Failure,
    /// What the log is told, and which log.
    pub record: Option<(LogId, Box<Draft>)>,
    /// What happens because of it, in the same commit as the denial: a tripwire holds who tripped it.
    pub also: Option<Consequence>,
}

/// What a refusal brings about.
pub type Consequence = Box<dyn FnOnce(&mut Tx<'_>) -> Result<(), StoreError> + Send>;

impl Refusal {
    /// A refusal whose denial stands in a log.
    #[must_use]
    pub fn recorded(failure: Failure, log: LogId, draft: Draft) -> Self {
        Self { failure, record: Some((log, Box::new(draft))), also: None }
    }
}

impl std::fmt::Debug for Refusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Refusal")
            .field("failure", &self.failure)
            .field("record", &self.record)
            .finish_non_exhaustive()
    }
}

impl std::convert::From<Failure> for Refusal {
    /// A refusal that deserves no record: the caller's own slip.
    fn from(failure: Failure) -> Self {
        Self { failure, record: None, also: None }
    }
}

impl std::convert::From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self { failure: error.into(), record: None, also: None }
    }
}

/// One command at work.
pub struct Tx<'a> {
    /// What is decided on; changes show here at once.
    pub state: State,
    /// The time of this commit: never before the newest record, so a clock that was set back revives nothing.
    pub now: Timestamp,
    /// The wall clock.
    wall: Timestamp,
    sealer: &'a Sealer,
    instance: Instance,
    changes: Vec<Change>,
    records: Vec<Placed>,
    stale: Vec<LogId>,
}

impl<'a> Tx<'a> {
    /// Begins on a snapshot, at the later of the wall clock and the newest record.
    #[must_use]
    pub fn new(state: State, sealer: &'a Sealer, instance: Instance, wall: Timestamp) -> Self {
        let now = wall.max(state.latest);
        Self { state, now, wall, sealer, instance, changes: Vec::new(), records: Vec::new(), stale: Vec::new() }
    }

    /// Seconds by which the wall clock stands behind the newest record; 0 if it does not.
    #[must_use]
    pub fn clock_behind_s(&self) -> u64 {
        u64::try_from(self.now.duration_since(self.wall).as_secs()).unwrap_or(0)
    }

    /// Inserts or replaces a row.
    ///
    /// # Errors
    /// [`StoreError::Encoding`] if it cannot be written down.
    pub fn put<R: Row>(&mut self, row: R) -> Result<(), StoreError> {
        let (log, key) = (row.log(), row.key());
        let place = (log, R::KIND, key);
        // A row that is not marked has no known version; 0 + 1 is right for the first and harmless for the others.
        let version = self.state.marks.get(&place).map_or(0, |mark| mark.version) + 1;
        let stored = self.sealer.seal(&row, version)?;
        if R::DECIDES {
            self.state.marks.insert(place, Mark { version, tag: stored.tag });
            self.touch(log);
        }
        self.changes.push(Change::Put(stored));
        row.place(&mut self.state);
        Ok(())
    }

    /// Removes a row for good.
    pub fn delete<R: Row>(&mut self, row: &R) {
        let (log, key) = (row.log(), row.key());
        self.state.marks.remove(&(log, R::KIND, key.clone()));
        self.touch(log);
        self.changes.push(Change::Delete { kind: R::KIND, key });
        row.displace(&mut self.state);
    }

    /// Keeps a state snapshot of a log; a record and the log's retention have to name it in the same commit. The one before stays too,
    /// older ones go.
    pub fn keep_snapshot(&mut self, log: LogId, size: u64, text: String) {
        let oldest = self.state.kept_from(log);
        self.changes.push(Change::Snapshot { log, size, text, oldest });
    }

    /// Refuses if a log, or the organisation's, did not match when the store was opened.
    ///
    /// # Errors
    /// [`StoreError::Sealed`].
    pub fn check_whole(&self, log: LogId) -> Result<(), StoreError> {
        match self.state.sealed.get(&LogId::Org).or_else(|| self.state.sealed.get(&log)) {
            Some(flaw) => Err(StoreError::Sealed(flaw.clone())),
            None => Ok(()),
        }
    }

    /// Appends a record. If the command changed rows of this log, the record carries the new state digest. A record that raises
    /// an alarm opens an alert: there is no other way to one, so none is forgotten. What belongs to an open incident names it.
    ///
    /// # Errors
    /// [`StoreError::Encoding`] if the record breaks the format.
    pub fn append(&mut self, log: LogId, draft: Draft) -> Result<Receipt, StoreError> {
        self.check_whole(log)?;
        let now = self.now;
        let origin = self.origin(log);
        let before = self.state.heads.get(&log).cloned();
        let mut frontier = before.as_ref().map_or_else(Frontier::new, |head| head.frontier.clone());
        let seq = frontier.size();
        let mut draft = draft;
        let incidents = self.state.incidents_of(log, draft.actor.as_ref(), &draft.target);
        if let Some(incidents) = incidents {
            draft.detail.entry("incident".to_owned()).or_insert_with(|| incidents.into());
        }
        if let Some(alert) = alert_of(log, seq, now, &draft) {
            // What tells a record that opened an alert from those of agents that kept none.
            draft.detail.insert("alert_level".to_owned(), alert.level.into());
            self.put(alert)?;
        }
        let changed = self.stale.iter().position(|stale| *stale == log).map(|place| self.stale.swap_remove(place));
        let state = if changed.is_some() || before.is_none() {
            digest(&self.state, log)
        } else {
            before.map_or_else(|| digest(&self.state, log), |head| head.state)
        };

        let mut h = BTreeMap::new();
        let mut openings = Vec::with_capacity(draft.texts.len());
        for (field, value) in draft.texts {
            let mut salt = [0; SALT_LEN];
            getrandom::fill(&mut salt).map_err(|_| StoreError::Encoding("opening"))?;
            let opening = Opening::new(field, salt, &value);
            h.insert(field.to_owned(), opening.commitment().ok_or(StoreError::Encoding("opening"))?);
            openings.push(opening);
        }
        let openings = self.sealer.seal_openings(log, seq, &openings)?;
        let record = Record {
            actor: draft.actor,
            agent: self.instance,
            detail: draft.detail,
            event: draft.event.to_owned(),
            from: draft.from,
            grant: draft.grant,
            h,
            log: origin.clone(),
            outcome: draft.outcome,
            seq,
            state: changed.map(|_| hex::encode(state)),
            target: draft.target,
            ts: now,
            v: RECORD_VERSION,
        };
        let record = record.to_bytes().map_err(|_| StoreError::Encoding("record"))?;
        let leaf = leaf_hash(record.as_bytes());
        frontier.push(leaf);
        self.state.heads.insert(log, Head { frontier, state, last_ts: now });
        self.state.latest = now;
        self.records.push(Placed { log, seq, record, leaf, openings });
        Ok(Receipt { log: origin, seq, leaf: hex::encode(leaf) })
    }

    /// The origin of a log.
    #[must_use]
    pub fn origin(&self, log: LogId) -> String {
        origin(&self.state, log).to_string()
    }

    /// What the engine has to make durable.
    ///
    /// # Errors
    /// [`StoreError::Encoding`] if rows of a log were changed and no record says so: an unrecorded change is a bug that
    /// must not become durable.
    pub fn finish(self) -> Result<(State, Vec<Change>, Vec<Placed>), StoreError> {
        if self.stale.is_empty() {
            Ok((self.state, self.changes, self.records))
        } else {
            Err(StoreError::Encoding("change without a record"))
        }
    }

    fn touch(&mut self, log: LogId) {
        if !self.stale.contains(&log) {
            self.stale.push(log);
        }
    }
}

/// The alert that a record opens, if it raises an alarm.
fn alert_of(log: LogId, seq: u64, at: Timestamp, draft: &Draft) -> Option<Alert> {
    let says = draft.detail.get("alert")?.as_str()?.to_owned();
    Some(Alert {
        vault: match log {
            LogId::Org => None,
            LogId::Vault(vault) => Some(vault),
        },
        seq,
        event: draft.event.to_owned(),
        says,
        at,
        actor: draft.actor.as_ref().map(|actor| actor.identity),
        about: draft.target.identity,
        key: draft.target.key.clone(),
        level: 0,
        escalated_at: None,
        seen: Vec::new(),
        acked: None,
        names: AlertNames::default(),
    })
}

/// The origin of a log: what its checkpoints and records name.
#[must_use]
pub fn origin(state: &State, log: LogId) -> Origin {
    log.origin(state.org_id())
}

/// The state digest of a log: SHA-256 over kind, key, version and tag of its rows, in order, length-prefixed. It goes
/// into the record of each change, so an old row put back with its old tag no longer fits the log.
#[must_use]
pub fn digest(state: &State, log: LogId) -> Hash {
    let mut hash = Sha256::new();
    hash.update(b"strongroom/state/v1");
    for ((_, kind, key), mark) in state.marks.range((log, "", Vec::new())..).take_while(|((of, _, _), _)| *of == log) {
        hash.update((kind.len() as u64).to_be_bytes());
        hash.update(kind.as_bytes());
        hash.update((key.len() as u64).to_be_bytes());
        hash.update(key);
        hash.update(mark.version.to_be_bytes());
        hash.update(mark.tag);
    }
    hash.finalize().into()
}
