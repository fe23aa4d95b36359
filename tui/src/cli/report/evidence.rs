//! What reports are computed from: records of logs, each log with the checkpoint that vouches for it, and the lists that the
//! caller may read. Plain data, so that a report is a pure function of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use strongroom_proto::audit::pruned::Pruned;
use strongroom_proto::audit::record::{Record, RecordOutcome};
use strongroom_proto::ids::{AccountId, IdentityId, Slug};
use strongroom_proto::method::audit::Item;
use strongroom_proto::method::{account, canary, grant, group, identity, rotation, vault};

/// How the organisation's log is called where vaults have their slug.
pub(super) const ORG: &str = "(organisation)";

/// From when to when: the end is not part of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Period {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

impl Period {
    pub(super) fn has(&self, at: Timestamp) -> bool {
        (self.from..self.to).contains(&at)
    }
}

/// One record with the values behind its commitments.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) record: Record,
    /// Only values that fit their commitments: others are nobody's word.
    texts: BTreeMap<String, String>,
}

impl Entry {
    /// Reads an item; `None` if its record is none.
    pub(super) fn read(item: &Item) -> Option<Self> {
        let record: Record = serde_json::from_str(&item.record).ok()?;
        let fits = |opening: &&strongroom_proto::audit::opening::Opening| {
            record.h.get(&opening.field).is_some_and(|committed| opening.commitment().as_ref() == Some(committed))
        };
        let texts = item.openings.iter().filter(fits).map(|opening| (opening.field.clone(), opening.value.clone()));
        Some(Self { texts: texts.collect(), record })
    }

    pub(super) fn is(&self, event: &str, outcome: RecordOutcome) -> bool {
        self.record.event == event && self.record.outcome == outcome
    }

    pub(super) fn happened(&self, event: &str) -> bool {
        self.is(event, RecordOutcome::Ok)
    }

    /// A fact as text.
    pub(super) fn fact(&self, name: &str) -> Option<String> {
        self.record.detail.get(name).map(|value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }

    /// A fact as a number.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.record.detail.get(name).and_then(Value::as_u64)
    }

    /// The value behind a commitment, if it came along.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    pub(super) fn actor(&self) -> Option<IdentityId> {
        self.record.actor.as_ref().map(|actor| actor.identity)
    }

    pub(super) fn at(&self) -> Timestamp {
        self.record.ts
    }
}

/// A log as far as the caller may read it, up to its checkpoint.
#[derive(Debug)]
pub(super) struct Log {
    /// Whose; `None` is the organisation's.
    pub(super) vault: Option<Slug>,
    pub(super) origin: String,
    pub(super) size: u64,
    /// 64 hex digits.
    pub(super) root: String,
    /// True if every record up to the size was read, and together they have this root.
    pub(super) complete: bool,
    /// What was pruned: of those records only the hashes were read.
    pub(super) pruned: Option<Pruned>,
    pub(super) entries: Vec<Entry>,
}

impl Log {
    pub(super) fn name(&self) -> String {
        self.vault.as_ref().map_or_else(|| ORG.to_owned(), ToString::to_string)
    }
}

/// The lists, each as far as the caller may see it.
#[derive(Debug, Default)]
pub(super) struct Lists {
    pub(super) vaults: Vec<vault::Item>,
    pub(super) accounts: Vec<account::Item>,
    pub(super) grants: Vec<grant::Item>,
    pub(super) groups: Vec<group::Item>,
    pub(super) identities: Vec<identity::Item>,
    pub(super) rotations: Vec<rotation::Item>,
    pub(super) canaries: Vec<canary::Item>,
}

/// Everything that a report may look at.
#[derive(Debug)]
pub(super) struct Evidence {
    pub(super) now: Timestamp,
    pub(super) logs: Vec<Log>,
    pub(super) lists: Lists,
    names: Names,
}

impl Evidence {
    pub(super) fn new(now: Timestamp, logs: Vec<Log>, lists: Lists) -> Self {
        let names = Names::collect(&logs, &lists);
        Self { now, logs, lists, names }
    }

    /// Every record with its log, log by log.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Log, &Entry)> {
        self.logs.iter().flat_map(|log| log.entries.iter().map(move |entry| (log, entry)))
    }

    /// What happened under this name, in all logs.
    pub(super) fn happened<'a>(&'a self, event: &'a str) -> impl Iterator<Item = (&'a Log, &'a Entry)> {
        self.all().filter(move |(_, entry)| entry.happened(event))
    }

    /// Every record of the period in the order of time, whatever its log.
    pub(super) fn within(&self, period: Period) -> impl Iterator<Item = (&Log, &Entry)> {
        let mut records: Vec<(&Log, &Entry)> = self.all().filter(|(_, entry)| period.has(entry.at())).collect();
        // Stable: within a log, records of one moment stay in their order.
        records.sort_by_key(|(_, entry)| entry.at());
        records.into_iter()
    }

    /// True if the organisation's log is there.
    pub(super) fn has_org(&self) -> bool {
        self.logs.iter().any(|log| log.vault.is_none())
    }

    /// The logs of vaults.
    pub(super) fn vault_logs(&self) -> impl Iterator<Item = &Log> {
        self.logs.iter().filter(|log| log.vault.is_some())
    }

    /// Who that is, by the newest name known; the id if their name is withheld or was erased.
    pub(super) fn person(&self, id: IdentityId) -> String {
        self.names.people.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }

    /// Who acted; the agent itself where nobody did.
    pub(super) fn actor(&self, entry: &Entry) -> String {
        let named = entry.actor().map(|id| self.person(id));
        named.or_else(|| entry.text("actor.name").map(str::to_owned)).unwrap_or_else(|| "(agent)".to_owned())
    }

    /// Whom a record is about.
    pub(super) fn target(&self, entry: &Entry) -> Option<String> {
        let group = || entry.text("group.name").map(|group| format!("group {group}"));
        entry.record.target.identity.map(|id| self.person(id)).or_else(group)
    }

    /// Which account that is, by its newest name.
    pub(super) fn account(&self, id: AccountId) -> String {
        self.names.accounts.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }

    /// Several accounts as records list them: ids with spaces between.
    pub(super) fn accounts(&self, ids: &str) -> String {
        let name = |id: &str| id.parse().map_or_else(|_| id.to_owned(), |id| self.account(id));
        ids.split(' ').filter(|id| !id.is_empty()).map(name).collect::<Vec<_>>().join(", ")
    }
}

/// Names by id: what lists say now, else what the newest record said.
#[derive(Debug, Default)]
struct Names {
    people: BTreeMap<IdentityId, String>,
    accounts: BTreeMap<AccountId, String>,
}

impl Names {
    fn collect(logs: &[Log], lists: &Lists) -> Self {
        let mut names = Self::default();
        for entry in logs.iter().flat_map(|log| &log.entries) {
            if let (Some(id), Some(name)) = (entry.actor(), entry.text("actor.name")) {
                names.people.insert(id, name.to_owned());
            }
            if let (Some(id), Some(name)) = (entry.record.target.identity, entry.text("target.name")) {
                names.people.insert(id, name.to_owned());
            }
            if let (Some(id), Some(name)) = (entry.record.target.account, entry.text("account.name")) {
                names.accounts.insert(id, name.to_owned());
            }
        }
        names.people.extend(lists.identities.iter().map(|item| (item.id, item.identity.to_string())));
        names.accounts.extend(lists.accounts.iter().map(|item| (item.id, item.account.account.to_string())));
        names
    }
}
