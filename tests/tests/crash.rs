//! `kill -9` of the agent at random moments under load, 100 times on the same stores: what a client received has its
//! record, counters never repeat, the logs verify, and the agent comes back by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use strongroom_proto::audit::export::{Pin, verify_folder};
use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::client::Client;
use strongroom_proto::method::Receipt;
use strongroom_proto::method::code::Release;
use strongroom_proto::method::grant::{End, Give};
use strongroom_proto::words::{Algorithm, OtpKind, VaultRole};
use strongroom_tests::organisation::{Organisation, create_vault, give, import, row, slug, try_import};
use strongroom_tests::people::Person;
use strongroom_tests::schemes::vaults;
use strongroom_tests::seeds::RFC_SHA1;
use strongroom_tests::trail::read_log;

const ACCOUNTS: [&str; 4] = ["acme/totp", "acme/hotp", "bluewater/hotp", "bluewater/totp"];

/// What clients were told, and so must be true for ever.
#[derive(Default)]
struct Told {
    /// Receipts with the event that they stand for, and the counter of an HOTP code.
    receipts: Vec<(Receipt, &'static str, Option<u64>)>,
    /// HOTP counters of received codes.
    counters: BTreeSet<(String, u64)>,
    /// Accounts of acknowledged imports.
    imported: Vec<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_25_times_under_load_first() {
    killed(25, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_25_times_under_load_second() {
    killed(25, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_25_times_under_load_third() {
    killed(25, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_25_times_under_load_fourth() {
    killed(25, 4).await;
}

async fn killed(times: u32, part: u32) {
    let mut organisation = Organisation::found();
    let mut admin = organisation.admin.connect().await;
    let manager = organisation.enrol(&mut admin, "manager", &[]).await;
    let guest = organisation.enrol(&mut admin, "guest", &[]).await;
    let mut people = Vec::new();
    for name in ["tech-1", "tech-2", "tech-3", "tech-4"] {
        people.push(organisation.enrol(&mut admin, name, &[]).await);
    }
    for (vault, scheme) in vaults() {
        create_vault(&mut admin, vault, scheme).await;
        give(&mut admin, vault, "manager", VaultRole::Manager).await;
        for person in &people {
            give(&mut admin, vault, &person.slug, VaultRole::Viewer).await;
        }
        let rows = vec![
            row("totp", OtpKind::Totp, Algorithm::Sha1, 6, RFC_SHA1),
            row("hotp", OtpKind::Hotp, Algorithm::Sha1, 6, RFC_SHA1),
        ];
        import(&mut manager.connect().await, vault, rows).await;
    }

    let told = Arc::new(Mutex::new(Told::default()));
    for round in 0..times {
        let mut load = tokio::task::JoinSet::new();
        for (place, person) in people.iter().enumerate() {
            load.spawn(take_codes(person.clone(), ACCOUNTS[place], Arc::clone(&told)));
        }
        load.spawn(manage(manager.clone(), part * 1_000 + round, Arc::clone(&told)));
        let mut random = [0; 2];
        getrandom::fill(&mut random).unwrap();
        tokio::time::sleep(Duration::from_millis(u64::from(u16::from_le_bytes(random)) % 250)).await;
        organisation.running().kill();
        while let Some(ended) = load.join_next().await {
            ended.unwrap();
        }
        // Without help: the same command, the same files.
        organisation.start();
    }
    drop(guest);

    let told = Arc::try_unwrap(told).ok().unwrap().into_inner().unwrap();
    let codes = told.receipts.iter().filter(|(_, event, _)| *event == "code.release").count();
    println!("{times} kills: {codes} codes received, {} receipts in all", told.receipts.len());
    assert!(codes > times as usize, "only {codes} codes were received: nothing was shown");
    let reader = manager.try_connect().await;
    let mut reader = reader.unwrap_or_else(|error| panic!("{error:#}: {}", organisation.running().log()));
    let mut logs = BTreeMap::new();
    for vault in ["acme", "bluewater"] {
        let log = read_log(&mut reader, Some(vault)).await;
        let used: Vec<u64> = log
            .iter()
            .filter(|entry| entry.is("code.release", RecordOutcome::Ok))
            .filter_map(|entry| entry.record.detail.get("counter")?.as_u64())
            .collect();
        assert_eq!(used, (0..used.len() as u64).collect::<Vec<_>>(), "{vault}: counters skip or repeat in the log");
        logs.insert(log[0].record.log.clone(), log);
    }
    for (receipt, event, counter) in &told.receipts {
        let entry = &logs[&receipt.log].get(usize::try_from(receipt.seq).unwrap());
        let entry = entry.unwrap_or_else(|| panic!("{event}: the record {} of {} is lost", receipt.seq, receipt.log));
        assert_eq!(entry.leaf, receipt.leaf, "{event}: another record stands at {}", receipt.seq);
        assert!(entry.is(event, RecordOutcome::Ok));
        assert_eq!(entry.record.detail.get("counter").and_then(serde_json::Value::as_u64), *counter);
    }
    for account in &told.imported {
        let listed = manager.succeed(&["show", account]);
        assert!(listed.contains("hotp") || listed.contains("HOTP"), "{account} is lost: {listed}");
    }

    let pin = Pin::parse(&organisation.agent_key()).unwrap();
    for vault in ["acme", "bluewater"] {
        let folder = organisation.root().join(format!("export-{vault}"));
        manager.succeed(&["audit", "export", vault, "--out", folder.to_str().unwrap()]);
        let verified = verify_folder(&folder, Some(&pin), None).unwrap();
        assert!(verified.pinned && verified.size > 0);
    }
    assert!(!organisation.running().log().contains("SEALED"));
    people[0].succeed(&["code", "acme/totp"]);
}

/// Takes codes until the agent is gone.
async fn take_codes(person: Person, account: &'static str, told: Arc<Mutex<Told>>) {
    let Ok(mut client) = person.try_connect().await else { return };
    loop {
        let wanted = Release {
            account: account.parse().unwrap(),
            reason: None,
            ticket: None,
            min_remaining_s: None,
            step_up: None,
        };
        let Ok(released) = client.call(&wanted).await else { return };
        let mut told = told.lock().unwrap();
        if let Some(counter) = released.counter {
            assert!(told.counters.insert((account.to_owned(), counter)), "{account}: counter {counter} came twice");
        }
        told.receipts.push((released.receipt, "code.release", released.counter));
    }
}

/// Imports an account, gives and ends a grant, until the agent is gone.
async fn manage(manager: Person, turn: u32, told: Arc<Mutex<Told>>) {
    let Ok(mut client) = manager.try_connect().await else { return };
    for step in 0.. {
        let name = format!("extra-{turn}-{step}");
        let rows = vec![row(&name, OtpKind::Hotp, Algorithm::Sha256, 8, RFC_SHA1)];
        let Ok(imported) = try_import(&mut client, "bluewater", rows).await else { return };
        told.lock().unwrap().imported.extend(imported);
        let Some(receipts) = give_and_end(&mut client).await else { return };
        told.lock().unwrap().receipts.extend(receipts);
    }
}

async fn give_and_end(client: &mut Client) -> Option<Vec<(Receipt, &'static str, Option<u64>)>> {
    let wanted = Give {
        vault: slug("acme"),
        identity: Some(slug("guest")),
        group: None,
        role: VaultRole::Viewer,
        accounts: None,
        from: None,
        until: None,
        hours: None,
        reason: None,
        ticket: None,
    };
    let given = client.call(&wanted).await.ok()?;
    let ended = client.call(&End { grant: given.grant, reason: None }).await.ok()?;
    Some(vec![(given.receipt, "grant.give", None), (ended.receipt, "grant.end", None)])
}
