//! Does the state say what the logs say? Every log is replayed, from its first record or, if that was pruned, from the state snapshot
//! that stands for what is gone, and compared with the rows. The digests in the records bind the rows to
//! the log; this finds a row that is bound and that no record speaks of: a fault of ours, or somebody who had the store's keys.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use strongroom_proto::audit::record::Record;
use strongroom_proto::audit::replay::{
    Affair, Alarm, Alarms, ClientVault, Given, Kept, LogState, Office, Person, PersonKey, Says, Unsaid,
};
use strongroom_proto::ids::VaultId;

use super::anchor::Anchors;
use crate::backup::beside::open_token;
use crate::config::Config;
use crate::keystore::Keystore as _;
use crate::state::alert::Alert;
use crate::state::incident::Incident;
use crate::state::rows::{Account, Grant, Holder, Identity, Key};
use crate::state::{LogId, State};
use crate::store::StoreError;
use crate::store::sealer::Sealer;
use crate::store::sqlite::{Readers, Snapshot};

/// Something that the state and a log say differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which log.
    pub log: LogId,
    /// What it is about: `grant 6f1c…`.
    pub about: String,
    /// What the log says; nothing if it knows of no such thing.
    pub logged: Option<String>,
    /// What the state says; nothing if there is no such row.
    pub held: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = |what: &Option<String>| what.clone().unwrap_or_else(|| "nothing".to_owned());
        write!(formatter, "{}: its log says {}, its row says {}", self.about, said(&self.logged), said(&self.held))
    }
}

/// What a check came to.
#[derive(Debug, Default)]
pub struct Checked {
    /// Records that were read.
    pub records: u64,
    /// Records that were replayed: the others change nothing.
    pub replayed: u64,
    /// What does not agree.
    pub differences: Vec<Difference>,
    /// Logs that could not be replayed to their end, and why: they were not compared. An agent of another version may have
    /// written what this one does not read, so that is no reason to stop.
    pub unreadable: Vec<(LogId, Unsaid)>,
}

/// A log's records from a place on, as many as come at once: empty at its end.
pub trait Records {
    /// Reads them.
    ///
    /// # Errors
    /// [`StoreError`].
    fn from(&self, log: LogId, place: u64) -> Result<Vec<String>, StoreError>;

    /// The text of the state snapshot over the first `size` records of a log, unverified; none if there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    fn state_text(&self, log: LogId, size: u64) -> Result<Option<String>, StoreError>;
}

/// What became of a store that was looked at beside its agent.
#[derive(Debug)]
pub struct CheckedStore {
    /// What the comparison came to.
    pub checked: Checked,
    /// What did not match at all, in sentences: it was not compared.
    pub sealed: Vec<String>,
}

/// Opens the token, verifies the store as an agent does at its start, and compares; beside a running agent too.
///
/// # Errors
/// If token or store cannot be opened.
pub fn check_store(config: &Config) -> anyhow::Result<CheckedStore> {
    let snapshot = Snapshot::open(&config.store_path())?;
    let meta = snapshot.meta()?;
    let keystore = open_token(config)?;
    let keys = keystore.open_store_keys(meta.org, &meta.sealed_store_keys)?;
    let state = snapshot.load(&Sealer::new(meta.org, keys), &Anchors::read(&config.anchor_path())?)?;
    let flaw = |(log, flaw): (&LogId, &String)| format!("{}: {flaw}", log.origin(meta.org));
    let sealed = state.sealed.iter().map(flaw).collect();
    let checked = if state.sealed.contains_key(&LogId::Org) { Checked::default() } else { check(&state, &snapshot)? };
    Ok(CheckedStore { checked, sealed })
}

impl Records for Readers {
    fn from(&self, log: LogId, place: u64) -> Result<Vec<String>, StoreError> {
        self.texts(log, place)
    }

    fn state_text(&self, log: LogId, size: u64) -> Result<Option<String>, StoreError> {
        self.state_text(log, size)
    }
}

impl Records for Snapshot {
    fn from(&self, log: LogId, place: u64) -> Result<Vec<String>, StoreError> {
        self.texts(log, place)
    }

    fn state_text(&self, log: LogId, size: u64) -> Result<Option<String>, StoreError> {
        self.state_text(log, size)
    }
}

/// Replays every log up to where the state stands, and compares. Logs that are sealed already are passed over.
///
/// # Errors
/// [`StoreError`] if a log cannot be read.
pub fn check(state: &State, records: &impl Records) -> Result<Checked, StoreError> {
    let mut checked = Checked::default();
    let Some((place, says)) = begin(state, records, LogId::Org, Says::Org(Office::default()), &mut checked)? else {
        return Ok(checked);
    };
    let Some(mut office) = says.into_office() else { return Ok(checked) };
    let broken = replay(state, records, LogId::Org, place, &mut checked, |record| office.take(record))?;
    if let Some(unsaid) = broken {
        checked.unreadable.push((LogId::Org, unsaid));
        return Ok(checked);
    }
    compare_office(state, &office, &mut checked.differences);
    for (vault, begun) in &office.vaults {
        let log = LogId::Vault(*vault);
        if state.sealed.contains_key(&log) {
            continue;
        }
        let Some((place, says)) = begin(state, records, log, Says::of_vault(begun), &mut checked)? else { continue };
        let Some(mut told) = says.into_vault() else { continue };
        match replay(state, records, log, place, &mut checked, |record| told.take(record))? {
            Some(unsaid) => checked.unreadable.push((log, unsaid)),
            None => compare_vault(state, *vault, &told, &mut checked.differences),
        }
    }
    Ok(checked)
}

/// Where a replay begins, and what was said before: of a whole log at its first record, of a pruned one at the first that is left. A
/// snapshot that is not the recorded one is a difference, and nothing is told from it.
fn begin(
    state: &State,
    records: &impl Records,
    log: LogId,
    whole: Says,
    checked: &mut Checked,
) -> Result<Option<(u64, Says)>, StoreError> {
    let Some(pruned) = state.pruned.get(&log) else { return Ok(Some((0, whole))) };
    let text = records.state_text(log, pruned.until)?;
    let found = text.as_deref().map(LogState::sha256);
    if found.as_ref() != Some(&pruned.snapshot) {
        checked.differences.push(Difference {
            log,
            about: format!("what its first {} records said", pruned.until),
            logged: Some(pruned.snapshot.clone()),
            held: found,
        });
        return Ok(None);
    }
    let told = LogState::from_text(&text.unwrap_or_default()).map_err(|error| StoreError::Read(error.to_string()))?;
    let (size, origin) = (told.size, log.origin(state.org_id()));
    let fits = std::mem::discriminant(&told.says) == std::mem::discriminant(&whole);
    if size != pruned.until || told.log != origin.as_str() || !fits {
        return Err(StoreError::Read(format!("the state snapshot of {origin} is of another log or size")));
    }
    Ok(Some((size, told.says)))
}

fn replay(
    state: &State,
    records: &impl Records,
    log: LogId,
    mut place: u64,
    checked: &mut Checked,
    mut take: impl FnMut(&Record) -> Result<(), Unsaid>,
) -> Result<Option<Unsaid>, StoreError> {
    let size = state.heads.get(&log).map_or(0, |head| head.frontier.size());
    while place < size {
        let page = records.from(log, place)?;
        if page.is_empty() {
            return Err(StoreError::Read(format!("record {place} is missing")));
        }
        for text in page {
            if place == size {
                break;
            }
            place += 1;
            checked.records += 1;
            if changes_nothing(&text) {
                continue;
            }
            checked.replayed += 1;
            let record: Record = serde_json::from_str(&text)
                .map_err(|_| StoreError::Read(format!("record {} is no record", place - 1)))?;
            if let Err(unsaid) = take(&record) {
                return Ok(Some(unsaid));
            }
        }
    }
    Ok(None)
}

/// True for most of what there is: releases of codes by time. Told by the bytes, because reading a record takes much longer; a text
/// in a record that looks like an event has its quotes escaped.
fn changes_nothing(text: &str) -> bool {
    text.contains(r#""event":"code.release""#) && !text.contains(r#""counter":"#)
}

/// Compares two maps of the same things.
struct Comparing<'a> {
    log: LogId,
    differences: &'a mut Vec<Difference>,
}

impl Comparing<'_> {
    fn maps<K: Ord + fmt::Display, V: PartialEq + fmt::Debug>(
        &mut self,
        what: &str,
        logged: &BTreeMap<K, V>,
        held: &BTreeMap<K, V>,
    ) {
        let keys: BTreeSet<&K> = logged.keys().chain(held.keys()).collect();
        for key in keys {
            self.one(format!("{what} {key}"), logged.get(key), held.get(key));
        }
    }

    fn one<V: PartialEq + fmt::Debug>(&mut self, about: String, logged: Option<&V>, held: Option<&V>) {
        if logged != held {
            let said = |value: Option<&V>| value.map(|value| format!("{value:?}"));
            self.differences.push(Difference { log: self.log, about, logged: said(logged), held: said(held) });
        }
    }
}

fn compare_office(state: &State, office: &Office, differences: &mut Vec<Difference>) {
    let mut comparing = Comparing { log: LogId::Org, differences };
    let person = |row: &Identity| Person {
        kind: row.kind,
        status: row.status,
        roles: row.roles.iter().copied().collect(),
        until: row.until,
        certificates: row.certificates,
    };
    let people = state.identities.iter().map(|(id, row)| (*id, person(row))).collect();
    comparing.maps("identity", &office.people, &people);
    let key = |row: &Key| PersonKey {
        identity: row.identity,
        active: row.active,
        confirmed: row.confirmed,
        certified: row.certified,
    };
    let keys = state.keys.iter().map(|(fingerprint, row)| (fingerprint.clone(), key(row))).collect();
    comparing.maps("key", &office.keys, &keys);
    let groups = state.groups.iter().map(|(id, row)| (*id, row.removed_at.is_some())).collect();
    comparing.maps("group", &office.groups, &groups);
    let named = |(group, member): &(_, _), waits: bool| (format!("of {member} in {group}"), waits);
    let members = state.members.iter().map(|(place, row)| named(place, row.pending)).collect();
    let logged = office.members.iter().map(|(place, waits)| named(place, *waits)).collect();
    comparing.maps("membership", &logged, &members);
    let vaults = state.vaults.iter().map(|(id, row)| (*id, row.destroyed_at.is_some())).collect();
    let logged = office.vaults.iter().map(|(id, begun)| (*id, begun.destroyed)).collect();
    comparing.maps("vault", &logged, &vaults);
    comparing.one("the organisation's policy".to_owned(), Some(&office.policy), Some(&state.org_policy));
    comparing.maps("alert", &office.alerts.0, &alarms(state, LogId::Org).0);
    let affair = |row: &Incident| Affair {
        vaults: row.vaults.iter().copied().collect(),
        people: row.people.iter().copied().collect(),
        closed: row.closed.is_some(),
    };
    let incidents = state.incidents.iter().map(|(id, row)| (*id, affair(row))).collect();
    comparing.maps("incident", &office.incidents.0, &incidents);
    let ended = (Some(&office.sole_admin_ended), Some(&state.org.sole_admin_ended));
    comparing.one("the end of the only admin's exception".to_owned(), ended.0, ended.1);
}

/// The alerts of a log as the rows have them.
fn alarms(state: &State, log: LogId) -> Alarms {
    let alarm = |alert: &Alert| Alarm {
        event: alert.event.clone(),
        level: alert.level.into(),
        seen: alert.seen.iter().map(|seen| seen.identity).collect(),
        acked: alert.acked.map(|answer| answer.identity),
    };
    Alarms(state.alerts_of(log).map(|alert| (alert.seq, alarm(alert))).collect())
}

fn compare_vault(state: &State, vault: VaultId, told: &ClientVault, differences: &mut Vec<Difference>) {
    let mut comparing = Comparing { log: LogId::Vault(vault), differences };
    let given = |row: &Grant| {
        let (identity, group) = match row.holder {
            Holder::Identity(identity) => (Some(identity), None),
            Holder::Group(group) => (None, Some(group)),
        };
        Given {
            identity,
            group,
            role: row.role,
            accounts: row.accounts.clone(),
            from: row.from,
            until: row.until,
            hours: row.hours.clone(),
            waits: row.pending,
            ended: row.ended_at.is_some(),
        }
    };
    let own = state.grants.values().filter(|grant| grant.vault == vault);
    comparing.maps("grant", &told.grants, &own.map(|row| (row.id, given(row))).collect());
    let kept = |row: &Account| Kept {
        revision: row.revision.into(),
        // What an import began with stands in no record; from the first code on the log counts along.
        next_counter: told.accounts.get(&row.id).and_then(|kept| kept.next_counter).map(|_| row.next_counter),
    };
    let accounts = state.accounts_of(vault).map(|row| (row.id, kept(row))).collect();
    comparing.maps("account", &told.accounts, &accounts);
    comparing.maps("alert", &told.alerts.0, &alarms(state, LogId::Vault(vault)).0);
    let destroyed = state.vaults.get(&vault).is_some_and(|row| row.destroyed_at.is_some());
    comparing.one("its end".to_owned(), Some(&told.destroyed), Some(&destroyed));
    let Some(policy) = state.policies.get(&vault) else {
        comparing.one("its policy".to_owned(), Some(&told.policy), None);
        return;
    };
    comparing.one("its policy".to_owned(), Some(&told.policy), Some(&policy.rules));
    comparing.one("whether it is frozen".to_owned(), Some(&told.frozen), Some(&policy.frozen));
    if let Some(scheme) = told.scheme {
        comparing.one("how its seeds are sealed".to_owned(), Some(&scheme), Some(&policy.scheme));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::alert::Answer;
    use crate::state::incident::IncidentNames;
    use crate::state::rows::Row as _;
    use crate::store::sqlite::Store;
    use crate::store::tests::Bench;
    use crate::store::tx::{Draft, Tx};
    use jiff::Timestamp;
    use strongroom_proto::ids::IncidentId;
    use strongroom_proto::words::{IdentityStatus, OrgRole};

    /// Does what somebody could do who has the store's keys: rows, digest and head all fit, and the record speaks of something else.
    async fn forge(store: &Store, mut change: impl FnMut(&mut Tx<'_>) + Send + 'static) {
        let forged = store.submit(move |tx| {
            change(tx);
            Ok(((), tx.append(LogId::Org, Draft::new("audit.read"))?))
        });
        forged.await.unwrap();
    }

    #[tokio::test]
    async fn a_row_that_no_record_speaks_of_is_found_although_every_digest_fits() {
        let bench = Bench::new();
        let store = bench.founded().await;
        let differences = |store: &Store| check(&store.view(), store.readers()).unwrap().differences;
        assert_eq!(differences(&store), []);
        forge(&store, |tx| {
            let admin = tx.state.identities.values().next().unwrap().clone();
            tx.put(Identity { roles: vec![OrgRole::Auditor], ..admin }).unwrap();
            let key = tx.state.keys.values().next().unwrap().clone();
            tx.put(Key { fingerprint: "SHA256:other".to_owned(), ..key }).unwrap();
        })
        .await;
        // A start believes it: it is bound to the log by every digest.
        store.close().await;
        let store = bench.open(&bench.anchors());
        assert!(store.view().sealed.is_empty());
        let found: Vec<String> = differences(&store).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].starts_with("identity ") && found[0].contains("Admin") && found[0].contains("Auditor"),
            "{found:?}"
        );
        assert!(found[1].starts_with("key SHA256:other: its log says nothing, its row says"), "{found:?}");
    }

    #[tokio::test]
    async fn a_log_that_cannot_be_replayed_is_told_from_one_that_differs() {
        let bench = Bench::new();
        let store = bench.founded().await;
        let newer = store.submit(|tx| Ok(((), tx.append(LogId::Org, Draft::new("identity.suspend"))?)));
        newer.await.unwrap();
        let checked = check(&store.view(), store.readers()).unwrap();
        assert_eq!(checked.differences, []);
        assert_eq!(checked.unreadable[0].1.to_string(), "record 2 (identity.suspend) does not say whom");
    }

    #[tokio::test]
    async fn an_alert_that_was_answered_without_a_record_is_found() {
        let bench = Bench::new();
        let store = bench.founded().await;
        let raise = |what: &'static str| {
            store.submit(move |tx| Ok(((), tx.append(LogId::Org, Draft::new("stream.behind").detail("alert", what))?)))
        };
        raise("one").await.unwrap();
        raise("two").await.unwrap();
        let differences = |store: &Store| check(&store.view(), store.readers()).unwrap().differences;
        assert_eq!((differences(&store), store.view().open_alerts.len()), (Vec::new(), 2));
        forge(&store, |tx| {
            let mut alert = tx.state.alerts_of(LogId::Org).next().unwrap().clone();
            let identity = *tx.state.identities.keys().next().unwrap();
            alert.acked = Some(Answer { identity, at: tx.now });
            tx.put(alert).unwrap();
            let gone = tx.state.alerts_of(LogId::Org).nth(1).unwrap().clone();
            tx.delete(&gone);
        })
        .await;
        let found = differences(&store);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].about == "alert 2" && found[0].to_string().contains("acked: None"), "{}", found[0]);
        assert!(found[1].about == "alert 3" && found[1].held.is_none(), "{}", found[1]);
    }

    #[tokio::test]
    async fn an_incident_that_no_record_opened_or_closed_is_found() {
        let bench = Bench::new();
        let store = bench.founded().await;
        let opened_by = *store.view().identities.keys().next().unwrap();
        let incident = move |id| Incident {
            id,
            opened_at: Timestamp::UNIX_EPOCH,
            opened_by,
            vaults: Vec::new(),
            people: vec![opened_by],
            froze: Vec::new(),
            suspended: Vec::new(),
            closed: None,
            names: IncidentNames::default(),
        };
        let (known, other) = (IncidentId::random(), IncidentId::random());
        let opened = store.submit(move |tx| {
            tx.put(incident(known))?;
            let draft = Draft::new("incident.open").detail("incident", known.to_string());
            Ok(((), tx.append(LogId::Org, draft.detail("people", opened_by.to_string()))?))
        });
        opened.await.unwrap();
        assert_eq!(check(&store.view(), store.readers()).unwrap().differences, []);
        forge(&store, move |tx| {
            let closed = Some(Answer { identity: opened_by, at: tx.now });
            tx.put(Incident { closed, ..incident(known) }).unwrap();
            tx.put(incident(other)).unwrap();
        })
        .await;
        let found = check(&store.view(), store.readers()).unwrap().differences;
        let about: BTreeSet<String> = found.iter().map(|one| one.about.clone()).collect();
        assert_eq!(about, BTreeSet::from([format!("incident {known}"), format!("incident {other}")]));
    }

    #[tokio::test]
    async fn a_row_that_was_taken_away_or_put_back_is_found_too() {
        let bench = Bench::new();
        let store = bench.founded().await;
        forge(&store, |tx| {
            let key = tx.state.keys.values().next().unwrap().clone();
            let place = (key.log(), Key::KIND, key.key());
            tx.state.marks.remove(&place);
            tx.state.keys.remove(&key.fingerprint);
            let admin = tx.state.identities.values().next().unwrap().clone();
            tx.put(Identity { status: IdentityStatus::Suspended, ..admin }).unwrap();
        })
        .await;
        let found = check(&store.view(), store.readers()).unwrap().differences;
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.iter().any(|one| one.about == "key SHA256:jana" && one.held.is_none()), "{found:?}");
    }
}
