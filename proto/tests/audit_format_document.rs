//! AUDIT-FORMAT.md is what the code does: its examples are computed here, and every member of a record stands in it.

#![allow(clippy::unwrap_used, reason = "in a test program a failure is the message")]

use std::collections::BTreeMap;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use strongroom_proto::audit::export;
use strongroom_proto::audit::merkle::{leaf_hash, root_of};
use strongroom_proto::audit::opening::Opening;
use strongroom_proto::audit::record::{Actor, From, GrantRef, RECORD_VERSION, Record, RecordOutcome, Target};
use strongroom_proto::words::Assurance;

mod support;

const DOCUMENT: &str = include_str!("../AUDIT-FORMAT.md");

#[track_caller]
fn assert_written(text: &str) {
    assert!(DOCUMENT.contains(text), "AUDIT-FORMAT.md does not have {text}");
}

#[test]
fn the_examples_are_what_the_code_computes() {
    let salt = std::array::from_fn(|place| u8::try_from(place).unwrap());
    let opening = Opening::new("reason", salt, "Mailbox weg");
    assert_written(&opening.salt);
    assert_written(&opening.commitment().unwrap());
    let leaves = [b"a", b"b", b"c"].map(|record| leaf_hash(record));
    leaves.iter().for_each(|leaf| assert_written(&hex::encode(leaf)));
    assert_written(&hex::encode(root_of([])));
    assert_written(&hex::encode(root_of(leaves[..2].iter().copied())));
    assert_written(&hex::encode(root_of(leaves)));
    assert_written(&BASE64.encode(root_of(leaves)));
}

#[test]
fn the_example_record_reads_and_is_written_back_byte_for_byte() {
    let line = DOCUMENT.lines().find(|line| line.starts_with("{\"actor\"")).unwrap();
    let record: Record = serde_json::from_str(line).unwrap();
    assert_eq!(record.to_bytes().unwrap(), line);
}

#[test]
fn every_member_of_a_record_has_its_row() {
    let id = "00000000-0000-4000-8000-000000000001";
    let record = Record {
        actor: Some(Actor {
            assurance: Assurance::SoftwareKey,
            identity: id.parse().unwrap(),
            key: String::new(),
            session: id.parse().unwrap(),
        }),
        agent: id.parse().unwrap(),
        detail: BTreeMap::from([("x".into(), 1.into())]),
        event: String::new(),
        from: Some(From { client: "x".into(), pid: Some(1), uid: Some(1) }),
        grant: Some(GrantRef { id: id.parse().unwrap(), version: 1 }),
        h: BTreeMap::from([("x".into(), "x".into())]),
        log: String::new(),
        outcome: RecordOutcome::Ok,
        seq: 0,
        state: Some(String::new()),
        target: Target {
            account: Some(id.parse().unwrap()),
            grant: Some(id.parse().unwrap()),
            identity: Some(id.parse().unwrap()),
            key: Some(String::new()),
            vault: Some(id.parse().unwrap()),
        },
        ts: "2026-11-21T19:00:00Z".parse().unwrap(),
        v: RECORD_VERSION,
    };
    let value: serde_json::Value = serde_json::from_str(&record.to_bytes().unwrap()).unwrap();
    for (member, inner) in value.as_object().unwrap() {
        assert_written(&format!("\n| `{member}` | "));
        // What stands under `detail` and `h` belongs to events.
        for name in inner.as_object().into_iter().flatten().map(|(name, _)| name).filter(|name| *name != "x") {
            assert_written(&format!("\n| `{member}.{name}` | "));
        }
    }
}

#[test]
fn every_file_of_a_folder_has_its_row() {
    let files = [
        export::LOG_FILE,
        export::CHECKPOINT_FILE,
        export::KEY_FILE,
        export::OPENINGS_FILE,
        export::STATE_FILE,
        export::README_FILE,
    ];
    files.iter().for_each(|file| assert_written(&format!("\n| `{file}` | ")));
    assert_written(&format!("\n| `{}/<size>` | ", export::OLDER_FOLDER));
}

#[test]
fn the_commands_for_checking_by_hand_work() {
    let folder = support::Folder::new();
    let (_, block) = DOCUMENT.split_once("```sh\n").unwrap();
    let (recipe, _) = block.split_once("```").unwrap();
    let fingerprint = DOCUMENT.split('`').find(|code| code.starts_with("ssh-keygen -i")).unwrap();
    let output =
        Command::new("sh").args(["-ec", &format!("{recipe}{fingerprint}")]).current_dir(&folder.path).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success() && text.contains("Verified OK"), "{text}");
    assert!(text.contains(&folder.log.key().fingerprint()), "{text}");
}
