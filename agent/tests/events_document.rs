//! The catalogue of events in AUDIT-FORMAT.md is complete: every event that the source can write has its row there.

#![allow(clippy::unwrap_used, reason = "a test that cannot read the source must fail")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Every `"family.event"` literal of the folders in which records are made.
fn events_in(folder: &Path, events: &mut BTreeSet<String>) {
    const FAMILIES: [&str; 23] = [
        "log.",
        "agent.",
        "token.",
        "session.",
        "identity.",
        "vault.",
        "account.",
        "code.",
        "grant.",
        "ceremony.",
        "audit.",
        "store.",
        "stream.",
        "backup.",
        "drill.",
        "emergency.",
        "group.",
        "pending.",
        "policy.",
        "request.",
        "review.",
        "canary.",
        "rotation.",
    ];
    // Names of commitments look like events and are none.
    const COMMITMENTS: [&str; 6] =
        ["account.name", "account.address", "vault.name", "vault.new_name", "actor.name", "group.name"];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            events_in(&path, events);
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        for literal in source.split('"').skip(1).step_by(2) {
            let word = literal.chars().all(|character| character.is_ascii_lowercase() || "._".contains(character));
            if word && FAMILIES.iter().any(|family| literal.starts_with(family)) && !COMMITMENTS.contains(&literal) {
                events.insert(literal.to_owned());
            }
        }
    }
}

#[test]
fn every_event_has_its_row_in_the_catalogue() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut events = BTreeSet::new();
    events_in(&root.join("src/commands"), &mut events);
    events_in(&root.join("src/handler"), &mut events);
    assert!(events.contains("code.release") && events.len() > 20, "the search finds events: {events:?}");
    let document = fs::read_to_string(root.join("../proto/AUDIT-FORMAT.md")).unwrap();
    let catalogue = document.split_once("## Events").unwrap().1;
    let missing: Vec<_> = events.iter().filter(|event| !catalogue.contains(&format!("`{event}`"))).collect();
    assert!(missing.is_empty(), "not in the catalogue: {missing:?}");
}
