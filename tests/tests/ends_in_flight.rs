//! Rights that end in the middle of work: timed grants run out, requests are given up and grants ended while their holders take
//! codes without pause, and the logs' order and times say that nothing was given after its end. And clocks that jump, forward,
//! back and across restarts, neither prolong a right nor revive one.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::client::Client;
use strongroom_proto::ids::GrantId;
use strongroom_proto::method::grant::{End, Give};
use strongroom_proto::method::request::{Approve, Cancel, Make, Show};
use strongroom_proto::words::{Algorithm, OtpKind, VaultRole};
use strongroom_tests::clock::shifted;
use strongroom_tests::organisation::{Organisation, create_vault, give, import, row, slug};
use strongroom_tests::people::Person;
use strongroom_tests::refused::code;
use strongroom_tests::schemes::vaults;
use strongroom_tests::seeds::RFC_SHA1;
use strongroom_tests::tools::output;
use strongroom_tests::trail::{Entry, read_log};

const ROUNDS: u32 = 30;
/// The command's exit code for what does not exist, or may not be known to.
const NOT_THERE: i32 = 3;

/// Somebody who takes codes of both vaults without pause, whether they may or not.
struct Taker {
    person: Person,
    given: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Taker {
    async fn begin(person: Person, stop: Arc<AtomicBool>) -> Self {
        let (given, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let mut client = person.connect().await;
        let counts = (Arc::clone(&given), Arc::clone(&refused));
        let task = tokio::spawn(async move {
            let mut turn = 0_usize;
            while !stop.load(Ordering::SeqCst) {
                turn += 1;
                let account = ["acme/totp", "bluewater/hotp", "acme/hotp", "bluewater/totp"][turn % 4];
                let count = if code(&mut client, account).await.is_none() { &counts.0 } else { &counts.1 };
                count.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        Self { person, given, refused, task }
    }
}

fn timed(vault: &str, who: &str, from: Timestamp, until: Timestamp) -> Give {
    Give {
        vault: slug(vault),
        identity: Some(slug(who)),
        group: None,
        role: VaultRole::Viewer,
        accounts: None,
        from: Some(from),
        until: Some(until),
        hours: None,
        reason: None,
        ticket: None,
    }
}

/// Asks for both vaults, has it approved, and gives it up or has it ended at some moment of the work.
async fn by_request(admin: &mut Client, manager: &Person, taker: &Person, round: u32) {
    let mut client = taker.connect().await;
    let mut approver = manager.connect().await;
    for (vault, _) in vaults() {
        let make = Make {
            vault: slug(vault),
            accounts: None,
            duration_s: 60,
            reason: "work".to_owned(),
            ticket: None,
            break_glass: false,
        };
        let request = client.call(&make).await.unwrap().request;
        let digest = approver.call(&Show { request, wait_s: None }).await.unwrap().item.digest;
        let approve = Approve { request, digest, step_up: None };
        let approved = approver.call_signed(approve, &manager.signer()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(u64::from(round * 7 % 40))).await;
        if round.is_multiple_of(2) {
            client.call(&Cancel { request }).await.unwrap();
        } else {
            admin.call(&End { grant: approved.grant.unwrap(), reason: None }).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_given_after_its_end() {
    let organisation = Organisation::found();
    let mut admin = organisation.admin.connect().await;
    let manager = organisation.enrol(&mut admin, "manager", &[]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut takers = Vec::new();
    for (vault, scheme) in vaults() {
        create_vault(&mut admin, vault, scheme).await;
        give(&mut admin, vault, "manager", VaultRole::Manager).await;
        let rows = [("totp", OtpKind::Totp), ("hotp", OtpKind::Hotp)];
        let rows = rows.map(|(name, kind)| row(name, kind, Algorithm::Sha1, 6, RFC_SHA1));
        import(&mut manager.connect().await, vault, rows.to_vec()).await;
    }
    for place in 0..4 {
        let person = organisation.enrol(&mut admin, &format!("taker-{place}"), &[]).await;
        for (vault, _) in vaults() {
            give(&mut admin, vault, &person.slug, VaultRole::Eligible).await;
        }
        takers.push(Taker::begin(person, Arc::clone(&stop)).await);
    }
    for round in 0..ROUNDS {
        let taker = &takers[round as usize % takers.len()];
        if round % 3 == 0 {
            by_request(&mut admin, &manager, &taker.person, round).await;
        } else {
            let from = Timestamp::now() + SignedDuration::from_millis(i64::from(round % 5) * 10);
            let until = from + SignedDuration::from_millis(40 + i64::from(round * 13 % 90));
            for (vault, _) in vaults() {
                admin.call(&timed(vault, &taker.person.slug, from, until)).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(u64::from(round * 11 % 80))).await;
        }
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::SeqCst);
    for taker in takers {
        taker.task.await.unwrap();
        let (given, refused) = (taker.given.load(Ordering::SeqCst), taker.refused.load(Ordering::SeqCst));
        assert!(given > 0 && refused > given, "{}: {given} codes, {refused} refusals", taker.person.slug);
    }
    for (vault, _) in vaults() {
        let log = read_log(&mut manager.connect().await, Some(vault)).await;
        assert!(check_releases(&log) > 20, "{vault}: few releases in {} records", log.len());
    }
}

/// Every release within the time of the grant that it names, and before that grant's end in the order of the log. Gives how many.
fn check_releases(log: &[Entry]) -> usize {
    let time = |entry: &Entry, name: &str| {
        entry.record.detail.get(name).and_then(|value| value.as_str()).map(|text| text.parse::<Timestamp>().unwrap())
    };
    let mut rights: HashMap<GrantId, (Timestamp, Option<Timestamp>)> = HashMap::new();
    let mut ended = Vec::new();
    let mut releases = 0;
    for entry in log {
        let record = &entry.record;
        if entry.is("grant.give", RecordOutcome::Ok) {
            rights.insert(record.target.grant.unwrap(), (time(entry, "from").unwrap(), time(entry, "until")));
        } else if entry.is("grant.end", RecordOutcome::Ok) {
            ended.push(record.target.grant.unwrap());
        } else if entry.is("code.release", RecordOutcome::Ok) {
            let grant = record.grant.as_ref().unwrap().id;
            let (from, until) = rights[&grant];
            assert!(from <= record.ts, "record {} before its grant begins", record.seq);
            assert!(until.is_none_or(|until| record.ts < until), "record {} after its grant ran out", record.seq);
            assert!(!ended.contains(&grant), "record {} after its grant was ended", record.seq);
            releases += 1;
        }
    }
    releases
}

#[tokio::test]
async fn a_clock_that_jumps_neither_prolongs_a_right_nor_revives_one() {
    let mut organisation = Organisation::found();
    let mut admin = organisation.admin.connect().await;
    let manager = organisation.enrol(&mut admin, "manager", &[]).await;
    let tech = organisation.enrol(&mut admin, "tech", &[]).await;
    create_vault(&mut admin, "acme", vaults()[0].1).await;
    give(&mut admin, "acme", "manager", VaultRole::Manager).await;
    import(&mut manager.connect().await, "acme", vec![row("totp", OtpKind::Totp, Algorithm::Sha1, 6, RFC_SHA1)]).await;
    let now = Timestamp::now();
    let minutes = SignedDuration::from_mins;
    admin.call(&timed("acme", "tech", now + minutes(30), now + minutes(90))).await.unwrap();
    drop(admin);
    let mut expect = |offset: Option<&str>, exit: i32| {
        organisation.running().stop();
        let clock = offset.map(shifted).unwrap_or_default();
        organisation.launch.environment.clone_from(&clock);
        organisation.start();
        let taken = output(tech.strongroom(&["code", "acme/totp"]).envs(clock));
        let said = String::from_utf8_lossy(&taken.stderr).into_owned();
        assert_eq!(taken.status.code(), Some(exit), "at {offset:?}: {said}");
    };
    expect(None, NOT_THERE);
    expect(Some("+60m"), 0);
    // Set back, the clock of decisions stands where it was: the grant is still in force, and later over for good.
    expect(None, 0);
    expect(Some("+89m"), 0);
    expect(Some("+91m"), NOT_THERE);
    expect(Some("+60m"), NOT_THERE);
    expect(None, NOT_THERE);
    expect(Some("-24h"), NOT_THERE);
}
