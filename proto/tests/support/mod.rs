//! A log as the agent would write it, signed by a key in software.

#![allow(dead_code, reason = "each test program uses its part")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::Value;
use strongroom_proto::agent_key::AgentKey;
use strongroom_proto::audit::checkpoint::{Checkpoint, Origin};
use strongroom_proto::audit::export::{ExportWriter, Pin};
use strongroom_proto::audit::log_key::{LogKey, organisation_of};
use strongroom_proto::audit::merkle::{leaf_hash, root_of};
use strongroom_proto::audit::opening::Opening;
use strongroom_proto::audit::record::{RECORD_VERSION, Record, RecordOutcome, Target};
use strongroom_proto::audit::replay::{Begun, LogState, Says};
use strongroom_proto::ids::{Instance, OrgId, VaultId};
use strongroom_proto::policy::OrgPolicy;

/// How many records a sample log has.
pub(crate) const SIZE: usize = 12;

pub(crate) struct SampleLog {
    pair: EcdsaKeyPair,
    pub(crate) origin: Origin,
    pub(crate) records: Vec<String>,
    pub(crate) openings: Vec<Vec<Opening>>,
}

impl SampleLog {
    /// Twelve records of a new log with a new key. Every third has a reason, every sixth also a ticket.
    pub(crate) fn new() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).unwrap();
        let origin = Origin::vault(OrgId::random(), VaultId::random());
        let mut log = Self { pair, origin, records: Vec::new(), openings: Vec::new() };
        for _ in 0..SIZE {
            log.append();
        }
        log
    }

    /// Appends one more record.
    pub(crate) fn append(&mut self) {
        if self.records.is_empty() {
            return self
                .append_as("log.open", [("scheme", "derived".into()), ("min_assurance", "software-key".into())]);
        }
        self.append_as("code.release", []);
    }

    /// Appends one more record of an event, with these facts.
    pub(crate) fn append_as<const N: usize>(&mut self, event: &str, detail: [(&str, Value); N]) {
        let seq = self.records.len() as u64;
        let mut openings = Vec::new();
        if seq.is_multiple_of(3) {
            openings.push(Opening::new("reason", [u8::try_from(seq).unwrap(); 16], "Mailbox weg – \"dringend\""));
        }
        if seq.is_multiple_of(6) {
            openings.push(Opening::new("ticket", [0xee; 16], &format!("T-{seq}")));
        }
        let commitments: BTreeMap<_, _> =
            openings.iter().map(|opening| (opening.field.clone(), opening.commitment().unwrap())).collect();
        let record = Record {
            actor: None,
            agent: Instance::random(),
            detail: detail.map(|(name, value)| (name.to_owned(), value)).into(),
            event: event.to_owned(),
            from: None,
            grant: None,
            h: commitments,
            log: self.origin.to_string(),
            outcome: RecordOutcome::Ok,
            seq,
            state: None,
            target: Target::default(),
            ts: format!("2026-11-21T19:{:02}:00.123456Z", seq / 2).parse().unwrap(),
            v: RECORD_VERSION,
        };
        self.records.push(record.to_bytes().unwrap());
        self.openings.push(openings);
    }

    /// The same log, signed by another key from here on.
    pub(crate) fn taken_over(&self) -> Self {
        let Self { origin, records, openings, .. } = self;
        Self { origin: origin.clone(), records: records.clone(), openings: openings.clone(), ..Self::new() }
    }

    /// What both keys sign when another one takes over.
    pub(crate) fn vouch_for(&self, next: &Self) -> LogKey {
        let (old, new, at) = (self.key(), next.key(), "2026-11-21T20:00:00Z".parse().unwrap());
        let organisation = organisation_of(&self.origin).unwrap();
        let text = LogKey::text(organisation, &old, &new, at);
        let [by_old, by_new] = [self, next].map(|log| log.pair.sign(&SystemRandom::new(), text.as_bytes()).unwrap());
        LogKey::new(organisation, [&old, &new], at, [by_old.as_ref(), by_new.as_ref()])
    }

    /// Records that the records before `until` are pruned; gives the state snapshot that stands for them.
    pub(crate) fn prune(&mut self, until: usize) -> String {
        let begun = Begun { policy: OrgPolicy::default().vault, destroyed: false };
        let mut state = LogState::begin(Says::of_vault(&begun), &self.records[0]).unwrap();
        self.records[1..until].iter().for_each(|record| state.take(record).unwrap());
        let text = state.to_text().unwrap();
        let sha256: Value = LogState::sha256(&text).into();
        self.append_as(
            "log.snapshot",
            [("size", until.into()), ("sha256", sha256.clone()), ("bytes", text.len().into())],
        );
        let records = ("records", until.into());
        self.append_as("log.prune", [("from", 0.into()), ("until", until.into()), records, ("snapshot", sha256)]);
        text
    }

    pub(crate) fn key(&self) -> AgentKey {
        AgentKey::from_point(self.pair.public_key().as_ref()).unwrap()
    }

    pub(crate) fn pin(&self) -> Pin {
        Pin::from(self.key())
    }

    /// A checkpoint over the first records, signed.
    pub(crate) fn checkpoint(&self, size: usize) -> String {
        let root = root_of(self.records[..size].iter().map(|record| leaf_hash(record.as_bytes())));
        self.sign(&Checkpoint { origin: self.origin.clone(), size: size as u64, root })
    }

    pub(crate) fn sign(&self, checkpoint: &Checkpoint) -> String {
        let signature = self.pair.sign(&SystemRandom::new(), checkpoint.body().as_bytes()).unwrap();
        checkpoint.to_note(&self.key(), signature.as_ref())
    }

    /// Exports the log, with what older keys said and an older checkpoint at 4 by the first of them.
    pub(crate) fn export_after(&self, folder: &Path, older: &Self, statements: &[LogKey]) {
        let mut writer = ExportWriter::create(folder).unwrap();
        for (record, openings) in self.records.iter().zip(&self.openings) {
            writer.append(record, openings).unwrap();
        }
        writer.log_keys(statements).unwrap();
        writer.finish(&self.checkpoint(self.records.len()), &[older.checkpoint(4)], &self.key().spki_pem()).unwrap();
    }

    /// Exports the log with older checkpoints at these sizes.
    pub(crate) fn export(&self, folder: &Path, older: &[usize]) {
        self.export_from(folder, 0, "", older);
    }

    /// Exports what is left behind the records before `until`.
    pub(crate) fn export_from(&self, folder: &Path, until: usize, state: &str, older: &[usize]) {
        let mut writer = ExportWriter::create(folder).unwrap();
        if until > 0 {
            let leaves: Vec<_> = self.records[..until].iter().map(|record| leaf_hash(record.as_bytes())).collect();
            writer.begin_pruned(&leaves, state).unwrap();
        }
        for (record, openings) in self.records.iter().zip(&self.openings).skip(until) {
            writer.append(record, openings).unwrap();
        }
        let older: Vec<_> = older.iter().map(|size| self.checkpoint(*size)).collect();
        writer.finish(&self.checkpoint(self.records.len()), &older, &self.key().spki_pem()).unwrap();
    }
}

/// An exported sample log in a folder that goes away with it.
pub(crate) struct Folder {
    outer: tempfile::TempDir,
    pub(crate) path: PathBuf,
    pub(crate) log: SampleLog,
}

impl Folder {
    /// Exports a sample log with older checkpoints at 4 and 8.
    pub(crate) fn new() -> Self {
        Self::with_older(&[4, 8])
    }

    pub(crate) fn with_older(older: &[usize]) -> Self {
        let (outer, log) = (tempfile::tempdir().unwrap(), SampleLog::new());
        let path = outer.path().join("export");
        log.export(&path, older);
        Self { outer, path, log }
    }

    /// A folder by a third key: the first vouched for the second, and the second for the third. With the logs of all three.
    pub(crate) fn after_two_changes() -> (Self, [SampleLog; 2]) {
        let (outer, first) = (tempfile::tempdir().unwrap(), SampleLog::new());
        let (second, third) = (first.taken_over(), first.taken_over());
        let path = outer.path().join("export");
        third.export_after(&path, &first, &[first.vouch_for(&second), second.vouch_for(&third)]);
        (Self { outer, path, log: third }, [first, second])
    }

    /// Exports a sample log of which the records before 5 were pruned, and two more were made since.
    pub(crate) fn pruned() -> Self {
        let (outer, mut log) = (tempfile::tempdir().unwrap(), SampleLog::new());
        let path = outer.path().join("export");
        let state = log.prune(5);
        log.append();
        log.append();
        log.export_from(&path, 5, &state, &[4, 8]);
        Self { outer, path, log }
    }

    pub(crate) fn outer(&self) -> &Path {
        self.outer.path()
    }

    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path.join(file)).unwrap()
    }

    pub(crate) fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path.join(file), content).unwrap();
    }

    /// Replaces the lines of a file by what is made of them.
    pub(crate) fn edit_lines(&self, file: &str, edit: impl FnOnce(&mut Vec<String>)) {
        let mut lines: Vec<String> = self.read(file).lines().map(str::to_owned).collect();
        edit(&mut lines);
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.write(file, text);
    }
}
