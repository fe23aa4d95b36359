//! Looking for records through the command: by whom, what, account, outcome, ticket, session and day, in one log and in all.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;
use strongroom_proto::audit::record::Record;
use strongroom_proto::method::account::Remove;
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
    let remove = Remove { account: "acme/quick".parse().unwrap(), reason: "not needed".to_owned() };
    clients.manager.connect().await.call(&remove).await.unwrap();
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

fn as_stranger(arguments: &[&str]) -> (i32, String) {
    let mut command = std::process::Command::new(strongroom_tests::tools::program("strongroom"));
    command.args(arguments).env_clear().env("HOME", "/nonexistent");
    let output = strongroom_tests::tools::output(&mut command);
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code().unwrap(), text)
}

#[tokio::test]
async fn one_record_is_proved_to_a_stranger_who_sees_no_other() {
    let clients = Clients::found().await;
    clients.tech.succeed(&["code", "acme/slow", "--reason", "printer"]);
    let key = clients.organisation.agent_key();
    let folder = clients.organisation.root().join("proof");
    let (out, pin) = (folder.display().to_string(), clients.organisation.root().join("pin"));
    std::fs::write(&pin, key).unwrap();
    let pin = pin.display().to_string();
    let found = items(&clients.tech, &["acme", "--event", "code.release"]);
    let seq = found[0]["seq"].to_string();
    // Who may see a part of the log can prove what they see.
    let said = clients.tech.succeed(&["audit", "prove", "acme", "--record", &seq, "--out", &out]);
    assert!(said.contains("printer") && said.contains("(pinned)"), "{said}");
    let (code, said) = as_stranger(&["audit", "verify", &out, "--key", &pin]);
    assert!(code == 0 && said.contains(&format!("this is record {seq} of the ")) && said.contains("printer"), "{said}");
    assert!(as_stranger(&["audit", "verify", &out]).1.contains("UNPINNED"));

    let change = |name: &str, from: &str, to: &str| {
        let path = folder.join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{name} has no {from}");
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let (code, said) = as_stranger(&["audit", "verify", &out, "--key", &pin]);
        std::fs::write(&path, text).unwrap();
        assert_eq!(code, 1, "{name} {from}: {said}");
        said
    };
    assert!(change("record.json", "\"ok\"", "\"denied\"").contains("not in the log at this place"));
    assert!(change("openings.json", "printer", "painter").contains("not the one that was recorded"));
    assert!(change("record.tlog-proof", &format!("index {seq}"), "index 0").contains("not in the log at this place"));
    assert!(change("record.tlog-proof", "strongroom/", "stringroom/").contains("NOT VERIFIED"));
    // A forged log beside an honest proof must not pass for verified; nor is a link followed.
    std::fs::write(folder.join("log.ndjson"), "{}\n").unwrap();
    let (code, said) = as_stranger(&["audit", "verify", &out, "--key", &pin]);
    assert!(code == 1 && said.contains("a whole log and the proof of one record"), "{said}");
    std::fs::remove_file(folder.join("log.ndjson")).unwrap();
    std::fs::rename(folder.join("record.json"), folder.join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", folder.join("record.json")).unwrap();
    assert!(as_stranger(&["audit", "verify", &out, "--key", &pin]).1.contains("record.json is no plain file"));
    std::fs::remove_file(folder.join("record.json")).unwrap();
    assert!(as_stranger(&["audit", "verify", &out, "--key", &pin]).1.contains("the record is missing"));
    std::fs::rename(folder.join("elsewhere"), folder.join("record.json")).unwrap();
    let other = clients.tech.key.with_extension("pub");
    let (code, said) = as_stranger(&["audit", "verify", &out, "--key", &other.display().to_string()]);
    assert_ne!(code, 0, "{said}");
}

#[tokio::test]
async fn exports_tell_who_could_have_taken_a_code_and_who_did() {
    let mut clients = Clients::found().await;
    let root = clients.organisation.root().to_owned();
    clients.organisation.enrol(&mut clients.admin, "outsider", &[]).await;
    let before = jiff::Timestamp::now();
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    clients.tech.succeed(&["code", "acme/slow"]);
    let then = jiff::Timestamp::now();
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    clients.organisation.admin.succeed(&["identity", "revoke", "tech", "--reason", "left", "--yes"]);
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let after = jiff::Timestamp::now();
    clients.organisation.admin.succeed(&["vault", "list"]);
    let (org, acme) = (root.join("org").display().to_string(), root.join("acme").display().to_string());
    clients.organisation.admin.succeed(&["audit", "export", "--org", "--out", &org]);
    clients.manager.succeed(&["audit", "export", "acme", "--out", &acme]);
    let ask = |at: jiff::Timestamp, account: &str| {
        let at = at.to_string();
        let arguments = ["--org", &org, "--account", account, "--at", &at, "--within", "1s", "--json"];
        as_stranger(&[&["audit", "who-could", &acme][..], &arguments].concat())
    };
    let names = |said: &str, list: &str| -> Vec<String> {
        let json: Value = serde_json::from_str(said.lines().find(|line| line.starts_with('{')).unwrap()).unwrap();
        json[list].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    let (code, said) = ask(then, "slow");
    assert_eq!(
        (code, names(&said, "could"), names(&said, "did")),
        (0, vec!["tech".into()], vec!["tech".into()]),
        "{said}"
    );
    let (_, said) = ask(before, "slow");
    assert_eq!((names(&said, "could"), names(&said, "did")), (vec!["tech".to_owned()], vec![]));
    let (_, said) = ask(after, "slow");
    assert_eq!((names(&said, "could"), names(&said, "did")), (vec![], vec![]));
    let (code, said) = ask(then, "nothing");
    assert!(code == 1 && said.contains("no account nothing"), "{said}");
    let (code, said) =
        as_stranger(&["audit", "who-could", &org, "--org", &acme, "--account", "slow", "--at", &then.to_string()]);
    assert!(code == 2 && said.contains("not a client's log"), "{said}");
}
