//! The worker process at its limits: killed, stopped, without its token, with a changed PIN, after its agent's death. Each
//! time callers hear of it at once, reading goes on, the service resumes without help, and no code is wrong.

use std::time::{Duration, Instant};

use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::client::{CallError, Client};
use strongroom_proto::error::ErrorKind;
use strongroom_proto::method::agent::{Health, State, Status, TokenTrouble};
use strongroom_proto::method::code::Release;
use strongroom_proto::method::vault::List;
use strongroom_proto::words::{Algorithm, OtpKind, VaultRole};
use strongroom_tests::organisation::{Organisation, create_vault, give, import, row};
use strongroom_tests::people::Person;
use strongroom_tests::pty::Terminal;
use strongroom_tests::schemes::vaults;
use strongroom_tests::seeds::RFC_SHA1;
use strongroom_tests::tools;
use strongroom_tests::trail::read_log;
use strongroom_tests::workers::{WorkerProcess, agents_of, await_workers, workers_of};

/// The profile of the suite's token has this many.
const WORKERS: usize = 2;
const ACCOUNTS: [&str; 2] = ["acme/totp", "bluewater/totp"];

async fn furnish(organisation: &Organisation) -> Person {
    let mut admin = organisation.admin.connect().await;
    let manager = organisation.enrol(&mut admin, "manager", &[]).await;
    let tech = organisation.enrol(&mut admin, "tech", &[]).await;
    for (vault, scheme) in vaults() {
        create_vault(&mut admin, vault, scheme).await;
        give(&mut admin, vault, "manager", VaultRole::Manager).await;
        give(&mut admin, vault, "tech", VaultRole::Viewer).await;
        let rows = vec![row("totp", OtpKind::Totp, Algorithm::Sha1, 6, RFC_SHA1)];
        import(&mut manager.connect().await, vault, rows).await;
    }
    tech
}

/// Takes a code and insists that it is oathtool's.
async fn take(client: &mut Client, account: &str) -> Result<(), ErrorKind> {
    let release =
        Release { account: account.parse().unwrap(), reason: None, ticket: None, min_remaining_s: None, step_up: None };
    match client.call(&release).await {
        Ok(released) => {
            let at = released.valid_from.unwrap().to_string();
            let expected = tools::run("oathtool", &["--totp", "--now", &at, &hex::encode(RFC_SHA1)]);
            assert_eq!(*released.code, expected.trim(), "{account}");
            Ok(())
        }
        Err(CallError::Failure(failure)) => Err(failure.kind),
        Err(other) => panic!("{account}: {other}"),
    }
}

async fn lists_work(client: &mut Client) {
    assert_eq!(client.call(&List::default()).await.unwrap().items.len(), 2);
}

/// Takes codes until every account gives one; meanwhile only "the token does not answer" is right. Gives how long.
async fn until_served(client: &mut Client) -> Duration {
    let begun = Instant::now();
    for account in ACCOUNTS {
        loop {
            match take(client, account).await {
                Ok(()) => break,
                Err(kind) => assert_eq!(kind, ErrorKind::HsmUnavailable),
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "no code came");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    begun.elapsed()
}

async fn until_all_serve(client: &mut Client) {
    let begun = Instant::now();
    while !client.call(&Status {}).await.unwrap().workers.iter().all(|worker| worker.health == Health::Ok) {
        assert!(begun.elapsed() < Duration::from_secs(60), "a worker does not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn events(organisation: &Organisation, event: &str) -> Vec<strongroom_proto::audit::record::Record> {
    let log = read_log(&mut organisation.admin.connect().await, None).await;
    log.into_iter().map(|entry| entry.record).filter(|record| record.event == event).collect()
}

#[tokio::test]
async fn only_workers_load_the_module_and_the_kernel_holds_them() {
    let mut organisation = Organisation::found();
    // It listens before its token is open; whoever has logged in knows that it serves.
    drop(organisation.admin.connect().await);
    let agent = organisation.running().pid();
    let module = organisation.token.module.file_name().unwrap().to_str().unwrap().to_owned();
    let workers = await_workers(agent, WORKERS);
    assert!(!WorkerProcess(agent).read("maps").contains(&module), "the agent loaded the module");
    for worker in workers {
        assert!(worker.read("maps").contains(&module));
        let status = worker.read("status");
        for line in ["NoNewPrivs:\t1", "Seccomp:\t2"] {
            assert!(status.contains(line), "{line} is not in {status}");
        }
        let environment = worker.read("environ");
        assert!(!environment.contains("PATH="), "a worker gets only what it needs: {environment}");
    }
    organisation.running().stop();
    let doctor = tools::output(&mut organisation.launch.command(&["doctor"]));
    let text = String::from_utf8_lossy(&doctor.stdout);
    if organisation.token.storage.is_some() {
        assert!(text.contains("ok      worker         files restricted, system calls restricted"), "{text}");
    }
}

#[tokio::test]
async fn killed_workers_are_replaced_and_nobody_waits_for_them() {
    let mut organisation = Organisation::found();
    let tech = furnish(&organisation).await;
    let agent = organisation.running().pid();
    let mut client = tech.connect().await;
    until_served(&mut client).await;
    for _ in 0..3 {
        let workers = await_workers(agent, WORKERS);
        workers.iter().for_each(|worker| worker.signal("KILL"));
        let begun = Instant::now();
        let first = take(&mut client, ACCOUNTS[0]).await;
        assert!(begun.elapsed() < Duration::from_secs(2), "told after {:?}", begun.elapsed());
        assert!(first.is_ok() || first == Err(ErrorKind::HsmUnavailable), "{first:?}");
        lists_work(&mut client).await;
        until_served(&mut client).await;
        // One serves already while the other still starts: killed then, it comes back once for two deaths.
        until_all_serve(&mut client).await;
        assert!(await_workers(agent, WORKERS).iter().all(|worker| !workers.contains(worker)));
    }
    let back = events(&organisation, "token.back").await;
    assert!(back.len() >= 3 * WORKERS, "{} records", back.len());
    let status = client.call(&Status {}).await.unwrap();
    assert_eq!((status.state, status.token, status.workers.len()), (State::Ready, Health::Ok, WORKERS));
    assert_eq!(status.workers.iter().map(|worker| worker.restarts).sum::<u64>(), 3 * WORKERS as u64);
}

#[tokio::test]
async fn a_worker_that_hangs_is_ended_and_replaced() {
    let mut organisation = Organisation::found();
    let tech = furnish(&organisation).await;
    let agent = organisation.running().pid();
    let mut client = tech.connect().await;
    until_served(&mut client).await;
    let workers = await_workers(agent, WORKERS);
    workers.iter().for_each(|worker| worker.signal("STOP"));
    let begun = Instant::now();
    assert_eq!(take(&mut client, ACCOUNTS[0]).await, Err(ErrorKind::HsmUnavailable));
    assert!(begun.elapsed() < Duration::from_secs(4), "told after {:?}", begun.elapsed());
    lists_work(&mut client).await;
    let recovered = until_served(&mut client).await;
    assert!(recovered < Duration::from_secs(15), "{recovered:?}");
    // The second is replaced as soon as it owes an answer for too long.
    let begun = Instant::now();
    while workers.iter().any(|worker| worker.is_running()) {
        assert!(begun.elapsed() < Duration::from_secs(30), "a worker that hangs is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(await_workers(agent, WORKERS).len(), WORKERS);
}

#[tokio::test]
async fn one_worker_of_two_is_enough() {
    let mut organisation = Organisation::found();
    let tech = furnish(&organisation).await;
    let agent = organisation.running().pid();
    let mut client = tech.connect().await;
    let [stopped, _] = await_workers(agent, WORKERS)[..] else { panic!("two workers") };
    stopped.signal("STOP");
    // At most the calls that the stopped one was given fail.
    until_served(&mut client).await;
    let begun = Instant::now();
    for _ in 0..20 {
        take(&mut client, ACCOUNTS[1]).await.unwrap();
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_token_that_is_away_comes_back_without_help() {
    let mut organisation = Organisation::found();
    if !organisation.token.breaks("whose files can be moved away") {
        return;
    }
    let storage = organisation.token.storage.clone().unwrap();
    let tech = furnish(&organisation).await;
    let agent = organisation.running().pid();
    let mut client = tech.connect().await;
    until_served(&mut client).await;
    let away = storage.with_extension("away");
    std::fs::rename(&storage, &away).unwrap();
    while take(&mut client, ACCOUNTS[0]).await.is_ok() {}
    for _ in 0..5 {
        let begun = Instant::now();
        assert_eq!(take(&mut client, ACCOUNTS[1]).await, Err(ErrorKind::HsmUnavailable));
        assert!(begun.elapsed() < Duration::from_secs(3));
        lists_work(&mut client).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let status = client.call(&Status {}).await.unwrap();
    assert_eq!((status.state, status.token_trouble), (State::HsmUnavailable, Some(TokenTrouble::Recovering)));
    std::fs::rename(&away, &storage).unwrap();
    until_served(&mut client).await;
    assert_eq!(await_workers(agent, WORKERS).len(), WORKERS);
    let lost = events(&organisation, "token.lost").await;
    assert!(!lost.is_empty() && lost.iter().all(|record| record.outcome == RecordOutcome::Failed));
    assert!(!events(&organisation, "token.back").await.is_empty());
}

#[tokio::test]
async fn another_token_of_the_same_name_is_not_taken() {
    let mut organisation = Organisation::found();
    if !organisation.token.breaks("whose files can be exchanged") {
        return;
    }
    let storage = organisation.token.storage.clone().unwrap();
    let tech = furnish(&organisation).await;
    let agent = organisation.running().pid();
    let mut client = tech.connect().await;
    until_served(&mut client).await;
    let away = storage.with_extension("away");
    std::fs::rename(&storage, &away).unwrap();
    std::fs::create_dir(&storage).unwrap();
    let mut make = std::process::Command::new("softhsm2-util");
    make.args(["--init-token", "--free", "--label", &organisation.token.label, "--so-pin", "so-pin-77120", "--pin"])
        .arg(&organisation.token.pin)
        .envs(organisation.token.environment.iter().map(|(name, value)| (name, value)));
    assert!(tools::output(&mut make).status.success());
    workers_of(agent).iter().for_each(|worker| worker.signal("KILL"));
    for _ in 0..10 {
        assert_eq!(take(&mut client, ACCOUNTS[0]).await, Err(ErrorKind::HsmUnavailable));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    std::fs::remove_dir_all(&storage).unwrap();
    std::fs::rename(&away, &storage).unwrap();
    until_served(&mut client).await;
}

#[tokio::test]
async fn a_refused_pin_ends_all_attempts_until_an_operator_acts() {
    let mut organisation = Organisation::found();
    if !organisation.token.breaks("which refuses a wrong PIN as often as it is shown one") {
        return;
    }
    let tech = furnish(&organisation).await;
    let agent = organisation.running().pid();
    let mut client = tech.connect().await;
    until_served(&mut client).await;
    // The right PIN stands in the token no longer: the file has an old one.
    let pin = organisation.root().join("pin");
    tools::write_private(&pin, "9-wrong-9\n");
    let workers = await_workers(agent, WORKERS);
    workers[0].signal("KILL");
    while client.call(&Status {}).await.unwrap().workers.iter().all(|worker| worker.health == Health::Ok) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The other one is logged in and serves on; once it ends too, nothing more is tried.
    until_served(&mut client).await;
    workers[1].signal("KILL");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(take(&mut client, ACCOUNTS[0]).await, Err(ErrorKind::HsmUnavailable));
    lists_work(&mut client).await;
    let status = client.call(&Status {}).await.unwrap();
    assert_eq!(status.token_trouble, Some(TokenTrouble::PinRefused));
    assert!(workers_of(agent).is_empty());
    let refused = events(&organisation, "token.pin_refused").await;
    assert_eq!(refused.len(), WORKERS, "each place says so once");
    // Not even with the right PIN back in place: an operator has to restart the agent.
    tools::write_private(&pin, &format!("{}\n", organisation.token.pin));
    assert_eq!(take(&mut client, ACCOUNTS[0]).await, Err(ErrorKind::HsmUnavailable));
    organisation.running().stop();
    organisation.start();
    until_served(&mut tech.connect().await).await;
}

#[tokio::test]
async fn workers_end_with_their_agent_however_it_ends() {
    let mut organisation = Organisation::found();
    for gently in [true, false] {
        let agent = organisation.running().pid();
        let workers = await_workers(agent, WORKERS);
        if gently {
            assert!(organisation.running().stop().success());
        } else {
            // One of them is stuck over its agent's end and goes on later: nobody is left to end it but itself.
            workers[0].signal("STOP");
            organisation.running().kill();
            workers[0].signal("CONT");
        }
        let begun = Instant::now();
        while workers.iter().any(|worker| worker.is_running()) {
            assert!(begun.elapsed() < Duration::from_secs(10), "a worker outlived its agent");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        organisation.start();
    }
}

#[tokio::test]
async fn with_a_typed_pin_a_keeper_starts_the_workers_and_the_agent_never_has_it() {
    let mut organisation = Organisation::found();
    let tech = furnish(&organisation).await;
    organisation.running().stop();
    organisation.agent = None;
    let text = std::fs::read_to_string(&organisation.launch.config).unwrap();
    let prompted: Vec<&str> =
        text.lines().map(|line| if line.starts_with("pin = ") { "pin = \"prompt\"" } else { line }).collect();
    tools::write_private(&organisation.launch.config, &(prompted.join("\n") + "\n"));
    std::fs::remove_file(organisation.root().join("pin")).unwrap();

    let mut terminal = Terminal::start(&organisation.launch.command(&["run"]), 100, 30);
    terminal.wait_for("PIN of the token:");
    terminal.send(&format!("{}\r", organisation.token.pin));
    terminal.wait_for("ready");
    let keeper = terminal.pid();
    let [agent] = agents_of(keeper)[..] else { panic!("the keeper has one agent") };
    let mut client = tech.connect().await;
    until_served(&mut client).await;
    assert!(workers_of(agent).is_empty(), "the keeper starts the workers, not the agent");
    let workers = await_workers(keeper, WORKERS);
    assert!(holds(keeper, &organisation.token.pin), "the search finds the PIN where it is");
    assert!(!holds(agent, &organisation.token.pin), "the PIN is in the agent's memory");
    // At night, with nobody at the terminal.
    workers.iter().for_each(|worker| worker.signal("KILL"));
    until_served(&mut client).await;
    await_workers(keeper, WORKERS)[0].signal("STOP");
    until_served(&mut client).await;

    terminal.send("\u{3}");
    assert!(terminal.wait_for_end().success());
    assert!(!WorkerProcess(agent).is_running());
}

/// Whether a text stands anywhere in the writable memory of a process.
fn holds(pid: u32, text: &str) -> bool {
    use std::os::unix::fs::FileExt as _;
    let memory = std::fs::File::open(format!("/proc/{pid}/mem")).expect("this test runs as root");
    let regions = WorkerProcess(pid).read("maps");
    regions.lines().filter(|line| line.contains(" rw")).any(|line| {
        let (from, to) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let [from, to] = [from, to].map(|address| u64::from_str_radix(address, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(to - from).unwrap().min(64 << 20)];
        let read = memory.read_at(&mut bytes, from).unwrap_or(0);
        bytes[..read].windows(text.len()).any(|window| window == text.as_bytes())
    })
}
