//! What the token did against what the log says: every use is explained while the agent is honest, through killed workers,
//! refusals and restarts; and somebody who makes a worker compute codes behind the agent's back is found out.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, SendFlags, recv, send, sockopt};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use strongroom_proto::audit::record::{Record, RecordOutcome};
use strongroom_proto::client::Client;
use strongroom_proto::method::code::Release;
use strongroom_proto::method::vault::Freeze;
use strongroom_proto::words::{Algorithm, OtpKind, Scheme, VaultRole};
use strongroom_tests::organisation::{Organisation, create_vault, give, import, row, slug};
use strongroom_tests::people::Person;
use strongroom_tests::seeds::RFC_SHA1;
use strongroom_tests::trail::read_log;
use strongroom_tests::workers::{WorkerProcess, await_workers};

/// The profile of the suite's token has this many.
const WORKERS: usize = 2;

struct House {
    organisation: Organisation,
    manager: Person,
    tech: Person,
}

impl House {
    async fn found() -> Self {
        let mut organisation = Organisation::found();
        organisation.configure("[reconcile]\nevery_s = 1\n");
        let mut admin = organisation.admin.connect().await;
        let manager = organisation.enrol(&mut admin, "manager", &[]).await;
        let tech = organisation.enrol(&mut admin, "tech", &[]).await;
        create_vault(&mut admin, "acme", Scheme::Derived).await;
        give(&mut admin, "acme", "manager", VaultRole::Manager).await;
        give(&mut admin, "acme", "tech", VaultRole::Viewer).await;
        let rows = vec![
            row("totp", OtpKind::Totp, Algorithm::Sha1, 6, RFC_SHA1),
            row("hotp", OtpKind::Hotp, Algorithm::Sha1, 6, RFC_SHA1),
        ];
        import(&mut manager.connect().await, "acme", rows).await;
        Self { organisation, manager, tech }
    }

    /// Comparisons in the client's log, oldest first.
    async fn comparisons(&self) -> Vec<Record> {
        let log = read_log(&mut self.manager.connect().await, Some("acme")).await;
        log.into_iter().map(|entry| entry.record).filter(|record| record.event == "token.reconcile").collect()
    }

    /// The first comparison of this many uses.
    async fn comparison_of(&self, uses: u64) -> Record {
        let begun = Instant::now();
        loop {
            let found = self.comparisons().await.into_iter().find(|record| number(record, "uses") >= uses);
            if let Some(record) = found {
                return record;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "no comparison of {uses} uses came");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn number(record: &Record, name: &str) -> u64 {
    record.detail[name].as_u64().unwrap_or_else(|| panic!("{name}: {:?}", record.detail))
}

async fn take(client: &mut Client, account: &str) -> bool {
    let account = format!("acme/{account}").parse().unwrap();
    client.call(&Release { account, reason: None, ticket: None, min_remaining_s: None, step_up: None }).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_use_has_its_record_through_crashes_refusals_and_restarts() {
    let mut house = House::found().await;
    let mut client = house.tech.connect().await;
    for account in ["totp", "hotp", "totp", "hotp", "totp"] {
        assert!(take(&mut client, account).await);
    }
    let first = house.comparison_of(5).await;
    assert_eq!(["records", "other", "by_ended", "unexplained"].map(|name| number(&first, name)), [5, 0, 0, 0]);
    assert_eq!(first.outcome, RecordOutcome::Ok);
    let quiet = house.comparisons().await.len();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(house.comparisons().await.len(), quiet, "nothing new is nothing to be said");

    // A worker is killed while codes are taken by several; a frozen vault refuses.
    let mut crowd = Vec::new();
    for _ in 0..4 {
        let mut client = house.tech.connect().await;
        crowd.push(tokio::spawn(async move {
            for turn in 0..20 {
                let _ = take(&mut client, if turn % 2 == 0 { "totp" } else { "hotp" }).await;
            }
        }));
    }
    await_workers(house.organisation.running().pid(), WORKERS)[0].signal("KILL");
    for person in crowd {
        person.await.unwrap();
    }
    let freeze = Freeze { vault: slug("acme"), reason: "a look".to_owned() };
    house.manager.connect().await.call(&freeze).await.unwrap();
    assert!(!take(&mut client, "totp").await);
    drop(client);
    house.organisation.restart();
    let all = house.comparisons().await;
    let log = read_log(&mut house.manager.connect().await, Some("acme")).await;
    // A counter's code has its record before it is computed; a worker that dies in between leaves a second one, a failure.
    let count = |event, outcome| log.iter().filter(|entry| entry.is(event, outcome)).count() as u64;
    let computed = count("code.release", RecordOutcome::Ok) - count("code.failed", RecordOutcome::Failed);
    let last = all.last().unwrap();
    assert_eq!(number(last, "records"), computed, "{:?}", last.detail);
    assert_eq!((number(last, "unexplained"), number(last, "open")), (0, 0), "{:?}", last.detail);
    assert!(number(last, "by_ended") > 0, "the killed worker's uses are among them: {:?}", last.detail);
    assert!(all.iter().all(|record| number(record, "unexplained") == 0));
}

/// What waits unread for a process in its standard input, as somebody with the rights of a debugger sees it.
fn waiting_for(worker: WorkerProcess) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 64 * 1024];
    let (len, _) = recv(&descriptor(worker.0, 0)?, &mut bytes[..], RecvFlags::PEEK | RecvFlags::DONTWAIT).ok()?;
    bytes.truncate(len);
    Some(bytes)
}

/// Another process's descriptor.
fn descriptor(pid: u32, number: i32) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    pidfd_getfd(process, number, PidfdGetfdFlags::empty()).ok()
}

/// The agent's ends of its socket pairs: those whose other end it made itself.
fn own_pairs(agent: u32) -> Vec<OwnedFd> {
    let numbers = std::fs::read_dir(format!("/proc/{agent}/fd")).unwrap().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let sockets = numbers.filter_map(|number| descriptor(agent, number));
    sockets
        .filter(|socket| {
            sockopt::socket_peercred(socket).is_ok_and(|peer| peer.pid.as_raw_nonzero().get().cast_unsigned() == agent)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codes_that_a_worker_computed_behind_the_agents_back_are_found_out() {
    const TIMES: u64 = 3;
    let mut house = House::found().await;
    let mut client = house.tech.connect().await;
    assert!(take(&mut client, "totp").await);
    let agent = house.organisation.running().pid();
    let workers = await_workers(agent, WORKERS);
    if descriptor(agent, 0).is_none() {
        println!("SKIPPED: this system lets nobody take another process's descriptors");
        return;
    }
    // Somebody who owns the machine waits for a call for a code, lets it pass, and makes it again, unseen by the agent.
    workers.iter().for_each(|worker| worker.signal("STOP"));
    let asking = tokio::spawn(async move { take(&mut client, "totp").await });
    let begun = Instant::now();
    let call = loop {
        // A health check is short; a call for a code has a sealed seed in it.
        if let Some(call) = workers.iter().filter_map(|worker| waiting_for(*worker)).find(|call| call.len() > 150) {
            break call;
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "no call came");
        std::thread::sleep(Duration::from_millis(5));
    };
    workers.iter().for_each(|worker| worker.signal("CONT"));
    assert!(asking.await.unwrap(), "the release itself is not disturbed");
    for socket in own_pairs(agent).into_iter().take(64) {
        for _ in 0..TIMES {
            let _ = send(&socket, &call, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
    }
    let begun = Instant::now();
    let found = loop {
        let found = house.comparisons().await.into_iter().find(|record| number(record, "unexplained") > 0);
        if let Some(record) = found {
            break record;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody noticed: {}", house.organisation.running().log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(found.outcome, RecordOutcome::Failed);
    assert!(found.detail.contains_key("alert"));
    assert_eq!(number(&found, "records"), 2, "{:?}", found.detail);
    assert!(
        house.organisation.running().log().contains("ALERT: a vault's keys made codes"),
        "the operator is told too"
    );
}
