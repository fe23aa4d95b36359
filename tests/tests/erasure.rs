//! Names of people who have left go from the trail by two people's word; records, roots and what clients hold stay as they were.

use std::time::{Duration, Instant};

use serde_json::Value;
use strongroom_proto::audit::record::Record;
use strongroom_proto::error::ErrorKind;
use strongroom_proto::method::audit::{Erase, Read};
use strongroom_proto::method::identity::Revoke;
use strongroom_proto::words::{OrgRole, VaultRole};
use strongroom_tests::clients::Clients;
use strongroom_tests::organisation::{give, slug};
use strongroom_tests::pending::confirm;
use strongroom_tests::people::Person;
use strongroom_tests::tools;

const NAME: &str = "zebedee";

/// All openings of a log that hold the name.
async fn named(reader: &Person, vault: Option<&str>) -> Vec<String> {
    let mut client = reader.connect().await;
    let (mut found, mut from) = (Vec::new(), Some(0));
    while let Some(place) = from {
        let read = Read { vault: vault.map(slug), from: Some(place), before: None, limit: Some(500) };
        let page = client.call(&read).await.unwrap();
        for item in page.items {
            let record: Record = serde_json::from_str(&item.record).unwrap();
            let holds = item.openings.iter().filter(|opening| opening.value.contains(NAME));
            found.extend(holds.map(|opening| format!("{} {} {}", record.seq, record.event, opening.field)));
        }
        from = page.next;
    }
    found
}

fn verify(arguments: &[&str]) -> Value {
    let mut command = std::process::Command::new(tools::program("strongroom"));
    command.args(["audit", "verify", "--json"]).args(arguments).env_clear().env("HOME", "/nonexistent");
    let output = tools::output(&mut command);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn a_leavers_names_go_by_two_peoples_word_and_every_root_stays() {
    let mut clients = Clients::found().await;
    let root = clients.organisation.root().to_owned();
    let leaver = clients.organisation.enrol(&mut clients.admin, NAME, &[]).await;
    give(&mut clients.admin, "acme", NAME, VaultRole::Viewer).await;
    let second = clients.organisation.enrol(&mut clients.admin, "second", &[OrgRole::Admin]).await;
    second.succeed(&["whoami"]);
    for _ in 0..3 {
        leaver.succeed(&["code", "acme/slow", "--reason", "printer"]);
    }
    let erase = Erase { identity: slug(NAME), reason: "asked for it".to_owned() };
    let kind = |error: strongroom_proto::client::CallError| match error {
        strongroom_proto::client::CallError::Failure(failure) => failure.kind,
        other => panic!("{other}"),
    };
    // Not while they are there, and not by others.
    assert_eq!(kind(clients.admin.call(&erase).await.unwrap_err()), ErrorKind::Conflict);
    assert_eq!(kind(clients.manager.connect().await.call(&erase).await.unwrap_err()), ErrorKind::Denied);
    clients.admin.call(&Revoke { identity: slug(NAME), reason: "left".to_owned() }).await.unwrap();
    let (before, out) = (root.join("before").display().to_string(), root.join("after").display().to_string());
    // Whoever tries that name with another key leaves it in the organisation's log, by no identity.
    let other = tools::output(leaver.strongroom(&["whoami"]).env("STRONGROOM_KEY", &clients.tech.key));
    assert_eq!(other.status.code(), Some(4));
    assert!(named(&second, None).await.iter().any(|one| one.ends_with("session.login asked")));
    clients.manager.succeed(&["audit", "export", "acme", "--out", &before]);
    assert!(named(&clients.manager, Some("acme")).await.len() >= 5);
    let old = verify(&[&before]);

    let said = clients.organisation.admin.succeed(&["audit", "erase", NAME, "--reason", "asked for it"]);
    assert!(said.contains("Nothing is erased yet"), "{said}");
    let pending = strongroom_tests::pending::waiting(&mut clients.admin).await;
    let pending = pending.iter().find(|item| item.summary.contains("names of zebedee")).unwrap().pending;
    assert!(confirm(&clients.organisation.admin, pending).await.is_err(), "by the one who asked");
    assert!(!named(&clients.manager, Some("acme")).await.is_empty());
    confirm(&second, pending).await.unwrap();
    let begun = Instant::now();
    loop {
        let (vault, org) = (named(&clients.manager, Some("acme")).await, named(&second, None).await);
        if vault.is_empty() && org.is_empty() {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{vault:?} {org:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // The record says how many went; what a client holds from before still proves the log.
    clients.manager.succeed(&["audit", "export", "acme", "--out", &out]);
    let kept = root.join("before/checkpoint").display().to_string();
    let new = verify(&[&out, "--against", &kept]);
    assert!(new["withheld"].as_u64().unwrap() >= old["withheld"].as_u64().unwrap() + 5, "{old} {new}");
    let log = std::fs::read_to_string(root.join("after/log.ndjson")).unwrap();
    assert!(log.starts_with(&std::fs::read_to_string(root.join("before/log.ndjson")).unwrap()), "records were changed");
    let erased: Vec<&str> = log.lines().filter(|line| line.contains("\"event\":\"audit.erased\"")).collect();
    assert_eq!(erased.len(), 1, "{erased:?}");
    // Nor is the name in the lists, and a restart finds nothing wrong.
    assert!(!second.succeed(&["identity", "ls", "--json"]).contains(NAME));
    assert!(!second.succeed(&["pending", "ls", "--all", "--json"]).contains(NAME));
    clients.organisation.restart();
    assert!(second.succeed(&["identity", "ls", "--json"]).contains("erased-"));
    clients.tech.succeed(&["code", "acme/slow"]);
    assert_eq!(kind(second.connect().await.call(&erase).await.unwrap_err()), ErrorKind::NotFound);
}
