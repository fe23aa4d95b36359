//! Replays logs: what identities, keys, grants, accounts and policies there are, told from the records alone. An agent whose rows say
//! anything else gave somebody a right that no record speaks of; and anybody who has the logs can tell who held which right when.
//!
//! A record changes what its own log is about and nothing else, so each log is replayed by itself. Records that were refused or
//! failed change nothing, except that they may raise an alarm.

mod alert;
mod incident;
mod org;
mod snapshot;
mod vault;

use std::collections::BTreeMap;
use std::str::FromStr;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::record::{Record, RecordOutcome, Target};
use crate::ids::{GroupId, PendingId};

pub use self::alert::{Alarm, Alarms};
pub use self::incident::{Affair, Affairs};
pub use self::org::{Begun, Office, Person, PersonKey};
pub(crate) use self::snapshot::named_agent_key;
pub use self::snapshot::{LogState, SNAPSHOT_VERSION, Says, SnapshotError};
pub use self::vault::{ClientVault, Given, Kept};

/// A record that does not say what its event must.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {seq} ({event}) does not say {what}")]
pub struct Unsaid {
    /// Its place.
    pub seq: u64,
    /// Its event.
    pub event: String,
    /// What is missing or unreadable.
    pub what: &'static str,
}

/// Reads facts of one record.
struct Said<'a>(&'a Record);

impl Said<'_> {
    fn unsaid(&self, what: &'static str) -> Unsaid {
        Unsaid { seq: self.0.seq, event: self.0.event.clone(), what }
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.detail.get(name).and_then(Value::as_str)
    }

    /// A fact that is there, or unreadable.
    fn maybe<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, Unsaid> {
        self.text(name).map(str::parse).transpose().map_err(|_| self.unsaid(name))
    }

    /// A fact that must be there.
    fn must<T: FromStr>(&self, name: &'static str) -> Result<T, Unsaid> {
        self.maybe(name)?.ok_or_else(|| self.unsaid(name))
    }

    /// Several, separated by spaces; none if there is no such fact.
    fn list<T: FromStr>(&self, name: &'static str) -> Result<Vec<T>, Unsaid> {
        let words = self.text(name).unwrap_or_default().split(' ').filter(|word| !word.is_empty());
        words.map(str::parse).collect::<Result<_, _>>().map_err(|_| self.unsaid(name))
    }

    /// A fact that is JSON itself.
    fn json<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>, Unsaid> {
        self.text(name).map(serde_json::from_str).transpose().map_err(|_| self.unsaid(name))
    }

    fn flag(&self, name: &str) -> bool {
        self.0.detail.get(name).and_then(Value::as_u64) == Some(1)
    }

    /// True if what it tells gives nothing before a second person has confirmed it.
    fn waits(&self) -> bool {
        self.0.detail.contains_key("pending") && !self.flag("in_force")
    }
}

/// What waits for a second person, as far as its confirmation or end does not say it once more.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Waiting {
    target: Target,
    group: Option<GroupId>,
    after: Option<String>,
    in_force: bool,
}

impl Waiting {
    /// The policy that it was to bring.
    fn policy<P: DeserializeOwned>(&self, said: &Said<'_>) -> Result<P, Unsaid> {
        let after = self.after.as_deref().and_then(|after| serde_json::from_str(after).ok());
        after.ok_or_else(|| said.unsaid("which policy"))
    }
}

/// Everything that waits, or waited, in one log.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Pendings(BTreeMap<PendingId, Waiting>);

impl Pendings {
    /// Notes what a record begins, if it begins anything.
    fn note(&mut self, said: &Said<'_>) -> Result<(), Unsaid> {
        if said.0.event.starts_with("pending.") {
            return Ok(());
        }
        if let Some(id) = said.maybe("pending")? {
            let waiting = Waiting {
                target: said.0.target.clone(),
                group: said.maybe("group")?,
                after: said.text("after").map(str::to_owned),
                in_force: said.flag("in_force"),
            };
            self.0.insert(id, waiting);
        }
        Ok(())
    }

    /// What a decision is about; nothing if that was in force already, and a decision changes nothing.
    fn decided(&self, said: &Said<'_>) -> Result<Option<&Waiting>, Unsaid> {
        let waiting = self.0.get(&said.must("pending")?).ok_or_else(|| said.unsaid("what waited"))?;
        Ok((!waiting.in_force).then_some(waiting))
    }
}

/// True if a record tells that something happened.
fn happened(record: &Record) -> bool {
    record.outcome == RecordOutcome::Ok
}

/// True if a time lies within a span whose end is no part of it.
fn within(at: Timestamp, from: Timestamp, until: Option<Timestamp>) -> bool {
    from <= at && until.is_none_or(|until| at < until)
}
