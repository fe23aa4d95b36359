//! Searching a log by who, what, account, outcome, session, ticket and time. An index behind the log says where to look; what is
//! found there is read, checked against its leaf and compared with the question, so a wrong index can hide and never invent.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};
use strongroom_proto::audit::opening::Opening;
use strongroom_proto::audit::record::{Record, RecordOutcome};
use strongroom_proto::ids::{AccountId, IdentityId, SessionId};

use super::read::{Page, Readers, StoredRecord, recorded_at};
use crate::state::LogId;
use crate::store::StoreError;
use crate::store::sealer::Sealer;

/// Most places that one search looks at; then it says where to go on.
const LOOK_MAX: u32 = 20_000;
/// Records that are read at once where there is no index.
const BATCH_LEN: u32 = 256;

/// What is searched for: everything given must fit.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Who acted, or whom it was about.
    pub identity: Option<IdentityId>,
    /// Which account.
    pub account: Option<AccountId>,
    /// Which event.
    pub event: Option<String>,
    /// Whether it happened.
    pub outcome: Option<RecordOutcome>,
    /// Which session.
    pub session: Option<SessionId>,
    /// Which ticket, in any case.
    pub ticket: Option<String>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
}

/// What a search found.
#[derive(Debug, Default)]
pub struct Found {
    /// Newest first.
    pub records: Vec<StoredRecord>,
    /// Where to go on: before this place. `None` if the log's beginning, or that of the time asked for, was reached.
    pub next: Option<u64>,
}

impl Query {
    /// True if a record fits.
    #[must_use]
    pub fn fits(&self, record: &Record, openings: &[Opening]) -> bool {
        let actor = record.actor.as_ref();
        let concerns =
            |who: &IdentityId| actor.is_some_and(|a| a.identity == *who) || record.target.identity == Some(*who);
        let session = |asked: &SessionId| {
            actor.is_some_and(|a| a.session == *asked)
                || record.detail.get("session").and_then(|value| value.as_str()) == Some(asked.to_string().as_str())
        };
        let ticket = |asked: &String| opened(openings, "ticket").is_some_and(|found| folded(found) == folded(asked));
        self.identity.as_ref().is_none_or(concerns)
            && self.account.is_none_or(|account| record.target.account == Some(account))
            && self.event.as_ref().is_none_or(|event| record.event == *event)
            && self.outcome.is_none_or(|outcome| record.outcome == outcome)
            && self.session.as_ref().is_none_or(session)
            && self.ticket.as_ref().is_none_or(ticket)
            && self.since.is_none_or(|since| record.ts >= since)
            && self.until.is_none_or(|until| record.ts < until)
    }

    /// The terms that every record that fits stands under. That most things happened is no term.
    fn terms(&self, sealer: &Sealer, log: LogId) -> Vec<i64> {
        let outcome = self.outcome.filter(|outcome| *outcome != RecordOutcome::Ok);
        let term = |field: &str, value: Option<Vec<u8>>| value.map(|value| sealer.term(log, field, &value));
        [
            term("identity", self.identity.map(|id| id.as_bytes().to_vec())),
            term("account", self.account.map(|id| id.as_bytes().to_vec())),
            term("event", self.event.clone().map(String::into_bytes)),
            term("outcome", outcome.map(word)),
            term("session", self.session.map(|id| id.to_string().into_bytes())),
            term("ticket", self.ticket.as_deref().map(folded)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// The terms that a record stands under.
pub(super) fn terms_of(sealer: &Sealer, log: LogId, record: &Record, openings: &[Opening]) -> Vec<i64> {
    let mut terms = vec![sealer.term(log, "event", record.event.as_bytes())];
    let mut add = |field: &str, value: &[u8]| terms.push(sealer.term(log, field, value));
    let actor = record.actor.as_ref();
    for identity in actor.map(|actor| actor.identity).iter().chain(&record.target.identity) {
        add("identity", identity.as_bytes());
    }
    if let Some(account) = record.target.account {
        add("account", account.as_bytes());
    }
    if record.outcome != RecordOutcome::Ok {
        add("outcome", &word(record.outcome));
    }
    let named = record.detail.get("session").and_then(|value| value.as_str()).map(str::to_owned);
    for session in actor.map(|actor| actor.session.to_string()).into_iter().chain(named) {
        add("session", session.as_bytes());
    }
    if let Some(ticket) = opened(openings, "ticket") {
        add("ticket", &folded(ticket));
    }
    // By the name of a removed account its id is found, and by that all else.
    if makes_account(record)
        && let Some(name) = opened(openings, "account.name")
    {
        add("account.name", name.as_bytes());
    }
    terms.sort_unstable();
    terms.dedup();
    terms
}

fn makes_account(record: &Record) -> bool {
    record.event == "account.create" && record.outcome == RecordOutcome::Ok
}

/// A value that fits its commitment; a ticket that somebody put beside a record is no way to find it.
fn opened<'a>(openings: &'a [Opening], field: &str) -> Option<&'a str> {
    openings.iter().find(|opening| opening.field == field).map(|opening| opening.value.as_str())
}

fn folded(ticket: &str) -> Vec<u8> {
    ticket.trim().to_lowercase().into_bytes()
}

fn word(outcome: RecordOutcome) -> Vec<u8> {
    match outcome {
        RecordOutcome::Ok => b"ok".to_vec(),
        RecordOutcome::Denied => b"denied".to_vec(),
        RecordOutcome::Failed => b"failed".to_vec(),
    }
}

impl Readers {
    /// Finds at most `limit` records before a place that fit and that `visible` lets through, newest first. Blocks.
    ///
    /// # Errors
    /// As [`Readers::records`].
    pub fn search(
        &self,
        log: LogId,
        query: &Query,
        before: u64,
        limit: usize,
        mut visible: impl FnMut(&Record) -> bool,
    ) -> Result<Found, StoreError> {
        let terms = query.terms(self.sealer(), log);
        let kept = self.kept_from(log);
        let (mut place, indexed, first) = self.at_once(|connection| {
            let indexed = indexed(connection, log)?;
            let end = query.until.map_or(Ok(u64::MAX), |until| first_since(connection, log, until))?;
            let first = query.since.map_or(Ok(0), |since| first_since(connection, log, since))?;
            // What was pruned is found by nobody, also while its bodies are still going.
            Ok((before.min(end), indexed, first.max(kept)))
        })?;
        let mut found = Found::default();
        let mut looked = 0;
        while place > first && looked < LOOK_MAX && found.records.len() < limit {
            let batch = if terms.is_empty() || place > indexed {
                // Behind the index, or with nothing to look up: one after the other.
                let batch = self.records(log, Page::Before(place), BATCH_LEN)?;
                place = batch.last().map_or(first, |record| record.seq);
                looked += u32::try_from(batch.len()).unwrap_or(LOOK_MAX);
                batch
            } else {
                let wanted = limit - found.records.len();
                let (places, steps, next) =
                    self.at_once(|connection| common(connection, &terms, place, wanted, LOOK_MAX - looked))?;
                (place, looked) = (next, looked + steps);
                self.records_at(log, &places)?
            };
            for stored in batch {
                let Ok(record) = serde_json::from_str::<Record>(&stored.record) else { continue };
                if stored.seq < first || !query.fits(&record, &stored.openings) || !visible(&record) {
                    continue;
                }
                if found.records.len() == limit {
                    break;
                }
                found.records.push(stored);
            }
        }
        // A batch may have held more than was wanted: go on from the last one that was taken.
        if found.records.len() == limit {
            place = found.records.last().map_or(place, |last| last.seq);
        }
        found.next = (place > first).then_some(place);
        Ok(found)
    }

    /// The account that had this name in a log when it was made; of several the newest. Blocks.
    ///
    /// # Errors
    /// As [`Readers::records`].
    pub fn account_once_named(&self, log: LogId, name: &str) -> Result<Option<AccountId>, StoreError> {
        let term = self.sealer().term(log, "account.name", name.as_bytes());
        let (places, ..) = self.with(|connection| common(connection, &[term], u64::MAX, 1, LOOK_MAX))?;
        let Some(seq) = places.first() else { return Ok(None) };
        let record = self.records_at(log, &[*seq])?.pop();
        let record = record.and_then(|stored| serde_json::from_str::<Record>(&stored.record).ok());
        Ok(record.and_then(|record| record.target.account))
    }
}

/// How many records of a log are in the index.
pub(super) fn indexed(connection: &Connection, log: LogId) -> rusqlite::Result<u64> {
    let size: Option<i64> = connection
        .prepare_cached("SELECT size FROM audit_indexed WHERE log = ?1")?
        .query_row(params![log.to_bytes()], |row| row.get(0))
        .optional()?;
    Ok(size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0))
}

/// The places that stand under every term, newest first: at most `wanted`, all before `before`. Gives the steps it took, and
/// where to go on. Each term jumps to where the others are, so that the rarest one sets the pace.
fn common(
    connection: &Connection,
    terms: &[i64],
    before: u64,
    wanted: usize,
    steps_max: u32,
) -> rusqlite::Result<(Vec<u64>, u32, u64)> {
    let mut seek = connection.prepare_cached("SELECT max(seq) FROM audit_term WHERE term = ?1 AND seq <= ?2")?;
    let mut found = Vec::new();
    let mut steps = 0;
    let Some(mut place) = i64::try_from(before).unwrap_or(i64::MAX).checked_sub(1) else { return Ok((found, 0, 0)) };
    let mut agreed = 0;
    for term in terms.iter().cycle() {
        if found.len() == wanted || steps >= steps_max {
            return Ok((found, steps, u64::try_from(place + 1).unwrap_or(0)));
        }
        steps += 1;
        let Some(at) = seek.query_row(params![term, place], |row| row.get::<_, Option<i64>>(0))? else { break };
        agreed = if at == place { agreed + 1 } else { 1 };
        place = at;
        if agreed == terms.len() {
            found.push(u64::try_from(place).unwrap_or(0));
            place -= 1;
            agreed = 0;
            if place < 0 {
                break;
            }
        }
    }
    Ok((found, steps, 0))
}

/// The first place whose record is not from before a time. Times never fall within a log, so halving finds it.
pub(super) fn first_since(connection: &Connection, log: LogId, since: Timestamp) -> rusqlite::Result<u64> {
    let mut read = connection.prepare_cached("SELECT record FROM audit WHERE log = ?1 AND seq = ?2")?;
    let size: Option<i64> = connection
        .prepare_cached("SELECT max(seq) + 1 FROM audit WHERE log = ?1")?
        .query_row(params![log.to_bytes()], |row| row.get(0))?;
    let (mut low, mut high) = (0, size.unwrap_or(0));
    while low < high {
        let middle = low + (high - low) / 2;
        let record: Option<String> =
            read.query_row(params![log.to_bytes(), middle], |row| row.get(0)).optional()?.flatten();
        // What was pruned is from before everything that was not.
        let is_before = record.as_deref().and_then(recorded_at).is_none_or(|at| at < since);
        (low, high) = if is_before { (middle + 1, high) } else { (low, middle) };
    }
    Ok(u64::try_from(low).unwrap_or(0))
}
