//! `strongroom audit verify` on a folder as an agent would export it, signed by a key in software.

#![allow(clippy::unwrap_used, reason = "in a test program a failure is the message")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use strongroom_proto::agent_key::AgentKey;
use strongroom_proto::audit::checkpoint::{Checkpoint, Origin};
use strongroom_proto::audit::export::ExportWriter;
use strongroom_proto::audit::merkle::{leaf_hash, root_of};
use strongroom_proto::audit::record::{RECORD_VERSION, Record, RecordOutcome, Target};
use strongroom_proto::ids::{Instance, OrgId, VaultId};

const SIZE: u64 = 5;

struct Exported {
    folder: tempfile::TempDir,
    key: AgentKey,
}

impl Exported {
    fn new() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).unwrap();
        let key = AgentKey::from_point(pair.public_key().as_ref()).unwrap();
        let origin = Origin::vault(OrgId::random(), VaultId::random());
        let records: Vec<String> = (0..SIZE).map(|seq| record(&origin, seq)).collect();

        let leaves: Vec<_> = records.iter().map(|record| leaf_hash(record.as_bytes())).collect();
        let checkpoint = Checkpoint { origin, size: SIZE, root: root_of(leaves) };
        let signature = pair.sign(&random, checkpoint.body().as_bytes()).unwrap();
        let note = checkpoint.to_note(&key, signature.as_ref());

        let folder = tempfile::tempdir().unwrap();
        let mut writer = ExportWriter::create(&folder.path().join("acme")).unwrap();
        for record in &records {
            writer.append(record, &[]).unwrap();
        }
        writer.finish(&note, &[], &key.spki_pem()).unwrap();
        Self { folder, key }
    }

    fn verify(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_strongroom"))
            .env_clear()
            .env("HOME", self.folder.path())
            // A key for logging in is no pin.
            .env("STRONGROOM_KEY", "/nonexistent")
            .args(["audit", "verify"])
            .arg(self.path("acme"))
            .args(arguments)
            .output()
            .unwrap()
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn change_log(&self, change: impl Fn(&mut Vec<u8>)) {
        let path = self.path("acme/log.ndjson");
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
    }
}

fn record(origin: &Origin, seq: u64) -> String {
    let record = Record {
        actor: None,
        agent: Instance::random(),
        detail: BTreeMap::new(),
        event: if seq == 0 { "log.open".into() } else { "code.release".into() },
        from: None,
        grant: None,
        h: BTreeMap::new(),
        log: origin.to_string(),
        outcome: RecordOutcome::Ok,
        seq,
        state: None,
        target: Target::default(),
        ts: format!("2026-11-21T19:0{seq}:00Z").parse().unwrap(),
        v: RECORD_VERSION,
    };
    record.to_bytes().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_pin_may_be_a_fingerprint_or_a_file() {
    let exported = Exported::new();
    let file = exported.path("pinned.pem");
    std::fs::write(&file, exported.key.spki_pem()).unwrap();
    for pin in [exported.key.fingerprint(), file.to_str().unwrap().to_owned()] {
        let output = exported.verify(&["--key", &pin]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(text(&output.stdout).starts_with("Verified: 5 records, complete and unaltered.\n"));
        assert!(text(&output.stdout).contains("(pinned)"));
        assert_eq!(text(&output.stderr), "");
    }
}

#[test]
fn without_a_pin_it_says_so() {
    let exported = Exported::new();
    let plain = exported.verify(&[]);
    assert_eq!(plain.status.code(), Some(0));
    assert!(text(&plain.stdout).contains("(UNPINNED)"));
    assert!(text(&plain.stderr).starts_with("warning: unpinned"));
    let json: serde_json::Value = serde_json::from_slice(&exported.verify(&["--json"]).stdout).unwrap();
    assert_eq!(json["schema"], "strongroom.verified/1");
    assert_eq!((json["size"].as_u64(), json["pinned"].as_bool()), (Some(SIZE), Some(false)));
}

#[test]
fn another_key_a_changed_byte_and_a_missing_record_fail() {
    let exported = Exported::new();
    let other = Exported::new().key.fingerprint();
    let output = exported.verify(&["--key", &other]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("is pinned"), "{}", text(&output.stderr));

    exported.change_log(|bytes| {
        let place = text(bytes).find("code.release").unwrap();
        bytes[place] = b'C';
    });
    refused(&exported, "NOT VERIFIED");

    let exported = Exported::new();
    exported.change_log(|bytes| {
        let end = text(bytes).trim_end().rfind('\n').unwrap();
        bytes.truncate(end + 1);
    });
    refused(&exported, "NOT VERIFIED");
}

fn refused(exported: &Exported, words: &str) {
    let output = exported.verify(&["--key", &exported.key.fingerprint()]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""));
    assert!(text(&output.stderr).contains(words), "{}", text(&output.stderr));
}

#[test]
fn a_kept_checkpoint_must_be_one_that_the_log_grew_from() {
    let exported = Exported::new();
    let kept = exported.path("acme/checkpoint");
    let output = exported.verify(&["--against", kept.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let foreign = Exported::new();
    let output = exported.verify(&["--against", foreign.path("acme/checkpoint").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_folder_that_is_none_is_refused() {
    let exported = Exported::new();
    std::fs::remove_file(exported.path("acme/checkpoint")).unwrap();
    refused(&exported, "checkpoint cannot be read");
    assert!(Path::new(&exported.path("acme")).exists());
}
