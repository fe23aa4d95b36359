//! Keeps each log as long as the configuration says, and no longer: what is older is told in a state snapshot, then its bodies and
//! the values behind its commitments go. Leaf hashes stay, so every checkpoint and every older export can still be compared.
//!
//! Nothing goes that a stream has not sent. The age of a record is not measured from the clock alone, but from the newest login that is
//! at least a day old: a clock that has leapt ahead by a year makes nothing old before somebody has logged in by it, whose own clock
//! had to agree (the agent's endorsement is valid for a day), and a day has passed since.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};
use strongroom_proto::audit::record::{Record, RecordOutcome};
use strongroom_proto::audit::replay::{LogState, Office, Says};
use tokio_util::sync::CancellationToken;

use crate::audit::state_check::Records as _;
use crate::commands::retention::{Plan, prune};
use crate::handler::Agent;
use crate::state::{LogId, State};
use crate::store::StoreError;
use crate::store::sqlite::Store;
use crate::streams::Streams;

/// When it is first looked whether anything is to be pruned, and how often.
const FIRST: Duration = Duration::from_secs(20);
const INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
/// A log is pruned once in so long, a month of its records at a time: each pruning is two more records.
const BETWEEN: SignedDuration = SignedDuration::from_hours(28 * 24);
/// How long ago somebody must have logged in by a time before anything is old by it.
const SETTLED: SignedDuration = SignedDuration::from_hours(24);

/// Looks until told to stop: in a task of its own, because the first pruning of a large store takes minutes.
pub(crate) async fn run(agent: Arc<Agent>, stop: CancellationToken) {
    let mut pause = FIRST;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = INTERVAL;
        // What is on its way to the writer happens; the rest goes after the next start.
        tokio::select! {
            () = stop.cancelled() => return,
            () = prune_old(&agent) => {}
        }
    }
}

/// Prunes what is older than the configuration says, and goes on with what a run that was killed has left.
async fn prune_old(agent: &Agent) {
    for log in agent.store.view().pruned.keys() {
        take_bodies(&agent.store, *log).await;
    }
    let months = agent.retention.online_months;
    if months == 0 {
        return;
    }
    let (store, streams, now) = (agent.store.clone(), agent.streams.clone(), agent.wall());
    let planned = tokio::task::spawn_blocking(move || Planning::new(&store, &streams, now, months)?.plans());
    let plans = match planned.await {
        Ok(Ok(plans)) => plans,
        Ok(Err(error)) => return tracing::error!(%error, "it could not be looked what is to be pruned"),
        Err(error) => return tracing::error!(%error, "looking for what is to be pruned ended abnormally"),
    };
    for plan in plans {
        let origin = plan.log.origin(agent.store.view().org_id());
        let (log, from, until) = (plan.log, plan.from, plan.until);
        match agent.store.submit(move |tx| prune(tx, &plan)).await {
            Ok(_) => tracing::info!(log = %origin, from, until, "a log was pruned"),
            Err(refused) => {
                tracing::warn!(log = %origin, ?refused, "a log could not be pruned: it will be tried again");
                continue;
            }
        }
        take_bodies(&agent.store, log).await;
    }
}

async fn take_bodies(store: &Store, log: LogId) {
    // What does not match its log is evidence.
    if store.view().sealed.contains_key(&log) {
        return;
    }
    if let Err(error) = store.take_bodies(log).await {
        tracing::warn!(%error, "the bodies of pruned records could not be overwritten: it will be tried again");
    }
}

/// One look at all logs.
struct Planning<'a> {
    store: &'a Store,
    streams: &'a Streams,
    view: Arc<State>,
    now: Timestamp,
    /// What was recorded before this is old; nothing is, if no time has settled yet.
    limit: Option<Timestamp>,
    /// The organisation as its log says, once it was asked for.
    office: Option<Office>,
}

impl<'a> Planning<'a> {
    fn new(store: &'a Store, streams: &'a Streams, now: Timestamp, months: u32) -> Result<Self, StoreError> {
        let view = store.view();
        let mut planning = Self { store, streams, view, now, limit: None, office: None };
        planning.limit = planning.settled()?.and_then(|settled| months_before(settled, months));
        Ok(planning)
    }

    /// The time of the newest login that is at least a day old.
    fn settled(&self) -> Result<Option<Timestamp>, StoreError> {
        let Ok(day_ago) = self.now.checked_sub(SETTLED) else { return Ok(None) };
        let mut settled = None;
        self.store.readers().newest(LogId::Org, Timestamp::MIN, r#""event":"session.login""#, |stored| {
            let record = serde_json::from_str::<Record>(&stored.record).ok();
            let login = |record: &Record| record.event == "session.login" && record.outcome == RecordOutcome::Ok;
            settled = record.filter(|record| login(record) && record.ts <= day_ago).map(|record| record.ts);
            settled.is_none()
        })?;
        Ok(settled)
    }

    fn plans(mut self) -> Result<Vec<Plan>, StoreError> {
        let mut plans = Vec::new();
        for log in self.view.heads.keys().copied().collect::<Vec<_>>() {
            if let Some(until) = self.due(log)? {
                plans.extend(self.plan(log, until)?);
            }
        }
        Ok(plans)
    }

    /// Up to where a log is to be pruned, if it is.
    fn due(&self, log: LogId) -> Result<Option<u64>, StoreError> {
        let Some(limit) = self.limit else { return Ok(None) };
        let sealed = [LogId::Org, log].iter().any(|log| self.view.sealed.contains_key(log));
        let lately = self.view.pruned_at(log).is_some_and(|at| self.now.duration_since(at) < BETWEEN);
        if sealed || lately {
            return Ok(None);
        }
        let readers = self.store.readers();
        let until = readers.first_since(log, limit)?;
        let until = self.streams.unsent_from(&self.view, log).map_or(until, |unsent| until.min(unsent));
        let due = until > self.view.kept_from(log) && readers.is_indexed(log, until)?;
        Ok(due.then_some(until))
    }

    /// Tells what the records that go had said. Nothing is planned if all of them speak of earlier prunings.
    fn plan(&mut self, log: LogId, until: u64) -> Result<Option<Plan>, StoreError> {
        let from = self.view.kept_from(log);
        let whole = match log {
            LogId::Org => Says::Org(Office::default()),
            LogId::Vault(vault) => {
                let begun = self.office()?.vaults.get(&vault);
                Says::of_vault(begun.ok_or_else(|| unreadable("the organisation's log knows no such vault"))?)
            }
        };
        let mut speaks = false;
        let told = self.told(log, whole, until, |text| {
            speaks |= ![r#""event":"log.snapshot""#, r#""event":"log.prune""#].iter().any(|own| text.contains(own));
        })?;
        let text = told.to_text().map_err(unreadable)?;
        Ok(speaks.then_some(Plan { log, from, until, text }))
    }

    fn office(&mut self) -> Result<&Office, StoreError> {
        if self.office.is_none() {
            let size = self.view.heads.get(&LogId::Org).map_or(0, |head| head.frontier.size());
            let told = self.told(LogId::Org, Says::Org(Office::default()), size, |_| {})?;
            self.office = told.says.into_office();
        }
        self.office.as_ref().ok_or_else(|| unreadable("the organisation's log is another one"))
    }

    /// What the records of a log before a place say.
    fn told(&self, log: LogId, whole: Says, until: u64, mut see: impl FnMut(&str)) -> Result<LogState, StoreError> {
        let mut told = match self.view.pruned.get(&log) {
            None => None,
            Some(pruned) => {
                let text = self.store.readers().state_text(log, pruned.until)?.unwrap_or_default();
                if LogState::sha256(&text) != pruned.snapshot {
                    return Err(StoreError::Sealed("a state snapshot is not the one that was recorded".to_owned()));
                }
                Some(LogState::from_text(&text).map_err(unreadable)?)
            }
        };
        let mut whole = Some(whole);
        loop {
            let place = told.as_ref().map_or(0, |told| told.size);
            if let Some(told) = told.take_if(|told| told.size >= until) {
                return Ok(told);
            }
            let page = self.store.readers().from(log, place)?;
            if page.is_empty() {
                return Err(unreadable(format!("record {place} is missing")));
            }
            let left = usize::try_from(until - place).unwrap_or(usize::MAX);
            for text in page.into_iter().take(left) {
                see(&text);
                match (&mut told, whole.take()) {
                    (Some(told), _) => told.take(&text).map_err(unreadable)?,
                    (none, Some(whole)) => *none = Some(LogState::begin(whole, &text).map_err(unreadable)?),
                    (None, None) => return Err(unreadable("a log has no first record")),
                }
            }
        }
    }
}

fn unreadable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Read(error.to_string())
}

/// So many months earlier, at the same time of day (UTC).
fn months_before(at: Timestamp, months: u32) -> Option<Timestamp> {
    let span = Span::new().try_months(months).ok()?;
    let earlier = at.to_zoned(TimeZone::UTC).checked_sub(span).ok()?;
    Some(earlier.timestamp())
}

#[cfg(test)]
mod tests {
    use strongroom_proto::audit::record::Actor;
    use strongroom_proto::ids::SessionId;
    use strongroom_proto::words::Assurance;

    use super::*;
    use crate::audit::state_check::check;
    use crate::store::sqlite::{Indexer, Page, Query};
    use crate::store::tests::Bench;
    use crate::store::tx::Draft;

    const MONTH: SignedDuration = SignedDuration::from_hours(31 * 24);
    const DAY: SignedDuration = SignedDuration::from_hours(24);

    /// Somebody logs in.
    async fn note(store: &Store) -> u64 {
        append(store, "session.login").await
    }

    async fn append(store: &Store, event: &'static str) -> u64 {
        let actor = Actor {
            assurance: Assurance::SoftwareKey,
            identity: *store.view().identities.keys().next().unwrap(),
            key: "SHA256:jana".to_owned(),
            session: SessionId::random(),
        };
        let noted = store.submit(move |tx| {
            let draft = Draft { actor: Some(actor.clone()), ..Draft::new(event).text("ticket", "T-1") };
            Ok(((), tx.append(LogId::Org, draft)?))
        });
        let receipt = noted.await.unwrap().into_parts().1;
        let mut indexer = Indexer::default();
        while indexer.step(store).await.unwrap() {}
        receipt.seq
    }

    fn plans(store: &Store, bench: &Bench) -> Vec<Plan> {
        let streams = Streams::begin(store, &[]).unwrap();
        Planning::new(store, &streams, bench.time(), 13).unwrap().plans().unwrap()
    }

    /// Prunes what is due; gives the bound.
    async fn pruned(store: &Store, bench: &Bench) -> u64 {
        let [plan] = <[Plan; 1]>::try_from(plans(store, bench)).unwrap();
        let done = store.submit(move |tx| prune(tx, &plan)).await.unwrap();
        let until = done.value().until;
        store.take_bodies(LogId::Org).await.unwrap();
        until
    }

    fn assert_right(store: &Store, until: u64) {
        let view = store.view();
        assert!(view.sealed.is_empty(), "{:?}", view.sealed);
        let checked = check(&view, store.readers()).unwrap();
        assert!(checked.differences.is_empty() && checked.unreadable.is_empty(), "{checked:?}");
        let size = view.heads[&LogId::Org].frontier.size();
        assert_eq!((view.kept_from(LogId::Org), checked.records), (until, size - until));
        let readers = store.readers();
        assert!(matches!(readers.records(LogId::Org, Page::From(until - 1), 10), Err(StoreError::Pruned(_))));
        let back = readers.records(LogId::Org, Page::Before(u64::MAX), 1000).unwrap();
        assert_eq!(back.last().map(|record| record.seq), Some(until));
        let query = Query { ticket: Some("t-1".to_owned()), ..Query::default() };
        let found = readers.search(LogId::Org, &query, u64::MAX, 1000, |_| true).unwrap().records;
        let fitting: Vec<u64> = back.iter().filter(|record| !record.openings.is_empty()).map(|one| one.seq).collect();
        assert_eq!(found.iter().map(|one| one.seq).collect::<Vec<_>>(), fitting);
        assert_eq!(readers.leaves(LogId::Org, 0, 1000).unwrap().len() as u64, size);
    }

    #[tokio::test]
    async fn old_records_go_a_month_at_a_time_and_what_they_said_stays() {
        let bench = Bench::new();
        let store = bench.founded().await;
        note(&store).await;
        assert!(plans(&store, &bench).is_empty(), "nothing is old");
        bench.pass(MONTH * 14);
        append(&store, "agent.start").await;
        bench.pass(DAY * 2);
        assert!(plans(&store, &bench).is_empty(), "old by the agent's clock alone");
        let first = note(&store).await;
        assert!(plans(&store, &bench).is_empty(), "nobody has had a day to notice");
        bench.pass(DAY * 2);
        // What the agent wrote two days before is not old, and neither is what came after.
        let first = first - 1;
        assert_eq!(pruned(&store, &bench).await, first);
        assert_right(&store, first);
        assert!(plans(&store, &bench).is_empty(), "once a month");
        store.close().await;
        let store = bench.open(&bench.anchors());
        assert_right(&store, first);

        // The next ones begin at the snapshot before; of snapshots the newest two stay.
        let mut until = first;
        for _ in 0..3 {
            note(&store).await;
            bench.pass(MONTH * 14);
            let last = note(&store).await;
            bench.pass(DAY * 2);
            let before = until;
            until = pruned(&store, &bench).await;
            assert_eq!(until, last);
            assert_right(&store, until);
            assert!(store.readers().state_text(LogId::Org, before).unwrap().is_some());
        }
        assert!(store.readers().state_text(LogId::Org, first).unwrap().is_none());
        store.close().await;
        let store = bench.open(&bench.anchors());
        assert_right(&store, until);
    }

    #[tokio::test]
    async fn a_quiet_log_is_not_pruned_for_the_sake_of_its_prunings() {
        let bench = Bench::new();
        let store = bench.founded().await;
        // To a day that every month has.
        bench.pass(MONTH * 14 + DAY * 10);
        let (noted, begun) = (note(&store).await, bench.time());
        bench.pass(DAY * 2);
        assert_eq!(pruned(&store, &bench).await, noted);
        // Thirteen months later the note is old, and the pruning of two days after it is not yet.
        let later = begun.to_zoned(TimeZone::UTC).checked_add(Span::new().months(13)).unwrap().timestamp();
        bench.pass(later.duration_since(bench.time()) + DAY);
        note(&store).await;
        bench.pass(DAY * 2);
        assert_eq!(pruned(&store, &bench).await, noted + 1);
        // Then it is: and nothing else.
        bench.pass(DAY * 40);
        note(&store).await;
        bench.pass(DAY * 2);
        assert!(plans(&store, &bench).is_empty());
    }

    #[tokio::test]
    async fn a_plan_that_came_too_late_prunes_nothing() {
        let bench = Bench::new();
        let store = bench.founded().await;
        bench.pass(MONTH * 14);
        note(&store).await;
        bench.pass(DAY * 2);
        let [plan] = <[Plan; 1]>::try_from(plans(&store, &bench)).unwrap();
        pruned(&store, &bench).await;
        let size = store.view().heads[&LogId::Org].frontier.size();
        for plan in [
            plan.clone(),
            Plan { from: plan.until, until: size + 1, ..plan.clone() },
            Plan { from: 0, until: 0, ..plan },
        ] {
            assert!(store.submit(move |tx| prune(tx, &plan)).await.is_err());
        }
        assert_eq!(store.view().heads[&LogId::Org].frontier.size(), size);
    }

    #[test]
    fn months_end_where_the_calendar_says() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(months_before(at("2028-03-31T10:00:00Z"), 13), Some(at("2027-02-28T10:00:00Z")));
        assert_eq!(months_before(at("2028-01-15T10:00:00Z"), 1), Some(at("2027-12-15T10:00:00Z")));
        assert_eq!(months_before(Timestamp::MIN, 1), None);
        assert_eq!(months_before(at("2028-01-15T10:00:00Z"), u32::MAX), None);
    }
}
