//! The catalogue of events in AUDIT-FORMAT.md is complete and holds nothing else: every event that the source can write has
//! its row there, and every row an event that the source can write.

#![allow(clippy::unwrap_used, reason = "a test that cannot read the source must fail")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Families of events.
const FAMILIES: [&str; 26] = [
    "log.",
    "witness.",
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
    "alert.",
    "incident.",
];

/// What looks like an event and is none: names of commitments, of files and of OCSF's members.
const NO_EVENTS: [&str; 15] = [
    "group.uid",
    "account.name",
    "account.address",
    "vault.name",
    "vault.new_name",
    "actor.name",
    "group.name",
    "agent.sock",
    "agent.toml",
    "token.object",
    "store.sqlite",
    "backup.work",
    "backup.lock",
    "drill.work",
    "policy.set_org",
];
/// The same, files that exist while a store is being moved.
const WORK_FILES: [&str; 3] = ["store.unfinished", "store.recovering", "store.copying"];

/// Adds every `"family.event"` literal of a folder of the source; tests in it do not count.
fn events_in(folder: &Path, events: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            events_in(&path, events);
            continue;
        }
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        let source = source.split("#[cfg(test)]\nmod tests").next().unwrap();
        for literal in source.split('"').skip(1).step_by(2).chain(source.split('"').step_by(2)) {
            let word = literal.chars().all(|character| character.is_ascii_lowercase() || "._".contains(character));
            let event = FAMILIES.iter().any(|family| literal.starts_with(family) && literal.len() > family.len());
            if word
                && event
                && literal.matches('.').count() == 1
                && !NO_EVENTS.contains(&literal)
                && !WORK_FILES.contains(&literal)
            {
                events.insert(literal.to_owned());
            }
        }
    }
}

/// The events of the catalogue's rows.
fn catalogue() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/AUDIT-FORMAT.md");
    let document = fs::read_to_string(path).unwrap();
    let rows = document.split_once("## Events").unwrap().1.lines().filter(|line| line.starts_with("| `"));
    let event = |line: &str| line.split('|').nth(1).unwrap().split('`').skip(1).step_by(2).map(str::to_owned).collect();
    rows.flat_map(|line| -> Vec<String> { event(line) }).collect()
}

#[test]
fn the_catalogue_has_every_event_of_the_source_and_no_other() {
    let mut events = BTreeSet::new();
    events_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut events);
    assert!(events.contains("code.release") && events.len() > 80, "the search finds events: {events:?}");
    let catalogue = catalogue();
    let missing: Vec<_> = events.difference(&catalogue).collect();
    assert!(missing.is_empty(), "not in the catalogue: {missing:?}");
    let unwritten: Vec<_> = catalogue.difference(&events).collect();
    assert!(unwritten.is_empty(), "in the catalogue, and nothing writes them: {unwritten:?}");
}

/// Adds the name of every fact and commitment that a folder of the source gives to a record.
fn fields_in(folder: &Path, fields: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            fields_in(&path, fields);
            continue;
        }
        let source = fs::read_to_string(&path).unwrap_or_default();
        for call in [".detail(", ".detail.insert(", ".text(", ".maybe_text("] {
            for rest in source.split(call).skip(1) {
                let name = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
                fields.extend(name.map(str::to_owned));
            }
        }
    }
}

#[test]
fn every_field_of_a_record_is_named_in_the_catalogue() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut fields = BTreeSet::new();
    fields_in(&source.join("commands"), &mut fields);
    fields_in(&source.join("handler"), &mut fields);
    assert!(fields.contains("clock_behind_s") && fields.len() > 80, "the search finds fields: {fields:?}");
    let document = fs::read_to_string(source.join("../../proto/AUDIT-FORMAT.md")).unwrap();
    let catalogue = document.split_once("## Events").unwrap().1;
    let named = |field: &str| {
        let word = |end: &str| catalogue.contains(&format!("`{field}{end}"));
        // The text above the table says `detail.kind` and `h.asked` of all events.
        word("`") || catalogue.contains(&format!("`detail.{field}`")) || catalogue.contains(&format!("`h.{field}`"))
    };
    let missing: Vec<_> = fields.iter().filter(|field| !named(field)).collect();
    assert!(missing.is_empty(), "not in the catalogue: {missing:?}");
}
