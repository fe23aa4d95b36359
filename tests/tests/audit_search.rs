//! Looking for records through the command: by whom, what, account, outcome, ticket, session and day, in one log and in all.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;
use strongroom_proto::audit::record::Record;
use strongroom_proto::method::grant::Give;
use strongroom_proto::words::VaultRole;
use strongroom_tests::clients::Clients;
use strongroom_tests::organisation::slug;
use strongroom_tests::people::Person;

fn items(person: &Person, arguments: &[&str]) -> Vec<Value> {
    let output = person.succeed(&[&["audit", "show", "--json"], arguments].concat());
    serde_json::from_str::<Value>(&output).unwrap()["items"].as_array().unwrap().clone()
}

fn records(person: &Person, arguments: &[&str]) -> Vec<Record> {
    items(person, arguments).iter().map(|item| serde_json::from_value(item["record"].clone()).unwrap()).collect()
}

#[tokio::test]
async fn records_are_found_by_everything_that_people_ask_for() {
    let mut clients = Clients::found().await;
    let Clients { manager, tech, .. } = &clients;
    tech.succeed(&["code", "acme/slow", "--ticket", "T-1"]);
    tech.succeed(&["code", "acme/quick", "--ticket", "t-1", "--reason", "router"]);
    tech.succeed(&["code", "bluewater/vpn", "--ticket", "T-2"]);
    assert_ne!(tech.call(&["vault", "freeze", "acme", "--reason", "no right"]).status.code(), Some(0));

    let by_ticket = records(manager, &["acme", "--ticket", "T-1"]);
    assert_eq!(by_ticket.len(), 2, "{by_ticket:?}");
    assert_eq!(records(manager, &["acme", "--ticket", "T-2"]).len(), 0, "another client's ticket");
    let denied = records(manager, &["acme", "--outcome", "denied"]);
    assert_eq!(denied.iter().map(|record| record.event.as_str()).collect::<Vec<_>>(), ["vault.freeze"]);
    let releases = records(manager, &["--account", "acme/quick", "--event", "code.release"]);
    assert_eq!(releases.len(), 1);
    assert_eq!(records(manager, &["acme", "--who", "tech", "--event", "code.release"]).len(), 2);
    assert_eq!(records(manager, &["acme", "--who", "nobody-there"]).len(), 0);
    assert_eq!(records(manager, &["acme", "--day", "2001-01-01"]).len(), 0);
    let today = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let yesterday = (jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24)).strftime("%Y-%m-%d").to_string();
    let days = [today, yesterday].map(|day| records(manager, &["acme", "--day", &day]).len());
    assert!(days.iter().sum::<usize>() >= 10, "{days:?}");

    // A session from its login to its end, over all logs; the admin may read the organisation's log, and no vault's.
    let session = releases[0].actor.as_ref().unwrap().session.to_string();
    let of_session = records(manager, &["--all", "--session", &session]);
    assert_eq!(of_session.iter().map(|record| record.event.as_str()).collect::<Vec<_>>(), ["code.release"]);
    let at_the_office = records(&clients.organisation.admin, &["--all", "--session", &session]);
    let events: Vec<&str> = at_the_office.iter().map(|record| record.event.as_str()).collect();
    assert_eq!(events, ["session.login", "session.end"]);
    // Everybody's day, as far as one may read it.
    let all = items(manager, &["--all", "--who", "tech"]);
    let of = |vault: &str| all.iter().filter(|item| item["vault"] == vault).count();
    assert!(of("acme") >= 4 && of("bluewater") >= 2 && of("acme") + of("bluewater") == all.len(), "{all:?}");
    let text = manager.succeed(&["audit", "show", "--all", "--who", "tech", "--event", "code.release"]);
    assert!(text.contains("acme       ") && text.contains("bluewater  ") && text.ends_with("of 2 logs\n"), "{text}");

    // Who may use one account finds what is about that one.
    let narrow = clients.organisation.enrol(&mut clients.admin, "narrow", &[]).await;
    let give = Give {
        vault: slug("acme"),
        identity: Some(slug("narrow")),
        group: None,
        role: VaultRole::Viewer,
        accounts: Some(vec![slug("slow")]),
        from: None,
        until: None,
        hours: None,
        reason: None,
        ticket: None,
    };
    clients.manager.connect().await.call(&give).await.unwrap();
    assert_eq!(records(&narrow, &["acme", "--ticket", "t-1"]).len(), 1);
    assert_eq!(records(&narrow, &["acme", "--account", "acme/quick"]).len(), 0);

    // What is gone is found by the name that it had, once the index has it.
    clients.manager.succeed(&["account", "remove", "acme/quick", "--reason", "not needed", "--yes"]);
    let found = || records(&clients.manager, &["--account", "acme/quick"]).len();
    let begun = std::time::Instant::now();
    while found() < 3 {
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{}", found());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

#[tokio::test]
async fn a_log_is_followed_as_it_grows() {
    let clients = Clients::found().await;
    let mut child = clients
        .manager
        .strongroom(&["audit", "tail", "acme", "--lines", "1", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap()["record"].clone();
    let first = next();
    clients.tech.succeed(&["code", "acme/slow"]);
    // Reading the log is the one thing that happened in between.
    let mut before = first["seq"].as_u64().unwrap();
    loop {
        let record = next();
        assert_eq!(record["seq"], before + 1);
        before += 1;
        if record["event"] == "code.release" {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
