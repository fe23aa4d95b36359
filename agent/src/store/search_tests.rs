//! The search over a real store, against reading everything and comparing: whatever part of the log is in the index.

use jiff::{SignedDuration, Timestamp};
use strongroom_proto::audit::record::{Actor, Record, RecordOutcome};
use strongroom_proto::ids::{AccountId, IdentityId, SessionId};
use strongroom_proto::words::Assurance;

use super::sqlite::{Indexer, Page, Query, Store};
use super::tests::Bench;
use super::tx::Draft;
use crate::state::LogId;

const LOG: LogId = LogId::Org;
const RECORDS: u64 = 400;

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn one_of<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.throw(of.len() as u64)).unwrap()]
    }
}

struct World {
    people: Vec<IdentityId>,
    sessions: Vec<SessionId>,
    accounts: Vec<AccountId>,
}

const EVENTS: [&str; 3] = ["code.release", "account.show", "grant.give"];
const OUTCOMES: [RecordOutcome; 4] =
    [RecordOutcome::Ok, RecordOutcome::Ok, RecordOutcome::Denied, RecordOutcome::Failed];

impl World {
    fn draft(&self, dice: &mut Dice) -> Draft {
        let mut draft = Draft::new(dice.one_of::<&str>(&EVENTS));
        draft.outcome = *dice.one_of(&OUTCOMES);
        draft.actor = (dice.throw(5) > 0).then(|| Actor {
            assurance: Assurance::SoftwareKey,
            identity: *dice.one_of(&self.people),
            key: "SHA256:x".to_owned(),
            session: *dice.one_of(&self.sessions),
        });
        draft.target.account = (dice.throw(3) > 0).then(|| *dice.one_of(&self.accounts));
        draft.target.identity = (dice.throw(3) == 0).then(|| *dice.one_of(&self.people));
        if dice.throw(2) == 0 {
            let ticket = format!("{}-{}", dice.one_of(&["INC", "inc", "Req"]), dice.throw(4));
            draft = draft.text("ticket", ticket);
        }
        draft
    }

    fn query(&self, dice: &mut Dice, begun: Timestamp) -> Query {
        let mut some = |of: u64| dice.throw(of) == 0;
        let (who, what, whether, in_session, about, ticket, since, until) =
            (some(3), some(3), some(3), some(6), some(3), some(4), some(3), some(3));
        let mut at = || begun + SignedDuration::from_secs(i64::try_from(dice.throw(RECORDS)).unwrap());
        let (first, second) = (at(), at());
        Query {
            identity: who.then(|| *dice.one_of(&self.people)),
            account: about.then(|| *dice.one_of(&self.accounts)),
            event: what.then(|| (*dice.one_of(&EVENTS)).to_owned()),
            outcome: whether.then(|| *dice.one_of(&OUTCOMES)),
            session: in_session.then(|| *dice.one_of(&self.sessions)),
            ticket: ticket.then(|| format!("iNc-{}", dice.throw(4))),
            since: since.then_some(first),
            until: until.then_some(second),
        }
    }
}

/// Everything that fits, newest first, by reading all of it.
fn by_reading(store: &Store, query: &Query, hidden: &AccountId) -> Vec<u64> {
    let all = store.readers().records(LOG, Page::From(0), u32::MAX).unwrap();
    let fits = all.iter().rev().filter(|stored| {
        let record: Record = serde_json::from_str(&stored.record).unwrap();
        query.fits(&record, &stored.openings) && record.target.account != Some(*hidden)
    });
    fits.map(|stored| stored.seq).collect()
}

/// The same by pages of a few.
fn by_search(store: &Store, query: &Query, hidden: &AccountId, limit: usize) -> Vec<u64> {
    let (mut all, mut before) = (Vec::new(), u64::MAX);
    loop {
        let visible = |record: &Record| record.target.account != Some(*hidden);
        let found = store.readers().search(LOG, query, before, limit, visible).unwrap();
        assert!(found.records.len() <= limit);
        all.extend(found.records.iter().map(|stored| stored.seq));
        match found.next {
            Some(next) => {
                assert!(next < before, "the search does not go on");
                before = next;
            }
            None => return all,
        }
    }
}

#[tokio::test]
async fn a_search_finds_what_reading_everything_finds_whatever_is_in_the_index() {
    let bench = Bench::new();
    let store = bench.founded().await;
    let begun = bench.time();
    let mut dice = Dice(0x5eed);
    let world = World {
        people: (0..4).map(|_| IdentityId::random()).collect(),
        sessions: (0..9).map(|_| SessionId::random()).collect(),
        accounts: (0..4).map(|_| AccountId::random()).collect(),
    };
    let mut indexer = Indexer::default();
    let mut found = 0;
    for turn in 0..RECORDS {
        bench.pass(SignedDuration::from_secs(1));
        let draft = world.draft(&mut dice);
        store.submit(move |tx| Ok(((), tx.append(LOG, draft.clone())?))).await.unwrap();
        // Nothing, a part and all of the log is in the index; then some records come behind it.
        if [150, 300].contains(&turn) {
            while indexer.step(&store).await.unwrap() {}
        }
        if turn % 50 == 49 {
            for limit in [1, 7, 500] {
                let query = world.query(&mut dice, begun);
                let expected = by_reading(&store, &query, &world.accounts[3]);
                assert_eq!(by_search(&store, &query, &world.accounts[3], limit), expected, "{turn} {limit} {query:?}");
                found += expected.len();
            }
        }
    }
    assert!(found > 150, "the questions fit too little: {found}");
}

#[tokio::test]
async fn a_record_that_was_altered_is_found_by_nobody_and_a_wrong_index_invents_nothing() {
    let bench = Bench::new();
    let store = bench.founded().await;
    let account = AccountId::random();
    for name in ["one", "two"] {
        let mut draft = Draft::new("account.create").text("account.name", name);
        draft.target.account = Some(account);
        store.submit(move |tx| Ok(((), tx.append(LOG, draft.clone())?))).await.unwrap();
    }
    let mut indexer = Indexer::default();
    while indexer.step(&store).await.unwrap() {}
    assert_eq!(store.readers().account_once_named(LOG, "two").unwrap(), Some(account));
    assert_eq!(store.readers().account_once_named(LOG, "three").unwrap(), None);
    let query = Query { account: Some(account), ..Query::default() };
    let search = || store.readers().search(LOG, &query, u64::MAX, 10, |_| true);
    assert_eq!(search().unwrap().records.len(), 2);
    let beside = rusqlite::Connection::open(bench.path()).unwrap();
    // Every record is said to be about the account.
    let term = bench.sealer().term(LOG, "account", account.as_bytes());
    for seq in 0..100 {
        beside.execute("INSERT OR IGNORE INTO audit_term VALUES (?1, ?2)", rusqlite::params![term, seq]).unwrap();
    }
    assert_eq!(search().unwrap().records.len(), 2);
    beside.execute("UPDATE audit SET record = replace(record, 'account.create', 'account.remove')", []).unwrap();
    assert!(search().is_err());
}
