//! The store on a real file: what is durable, what is refused, what is noticed.

use std::path::Path;
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{IdentityId, Instance, OrgId, Slug};
use strongroom_proto::words::{IdentityKind, OrgRole};
use tempfile::TempDir;

use super::sealer::Sealer;
use super::sqlite::{Clock, Meta, Page, Store, StoreFile};
use super::tx::{Draft, Refusal, Tx};
use super::{Refused, StoreError};
use crate::audit::anchor::{Anchor, Anchors};
use crate::commands::identity::NewIdentity;
use crate::commands::organisation;
use crate::keystore::StoreKeys;
use crate::state::LogId;
use crate::state::rows::{Identity, IdentityNames, Key, KeyNames, Org};

fn org() -> Org {
    Org {
        id: OrgId::random(),
        created_at: Timestamp::UNIX_EPOCH,
        sole_admin_ended: false,
        recovery_recipients: Vec::new(),
        agent_key: "key".to_owned(),
    }
}

fn admin() -> NewIdentity {
    NewIdentity {
        id: IdentityId::random(),
        names: IdentityNames { slug: Slug::new("jana").unwrap(), name: "Jana".to_owned(), principals: Vec::new() },
        kind: IdentityKind::Technician,
        roles: vec![OrgRole::Admin],
        until: None,
        service: None,
        key: Key {
            fingerprint: "SHA256:jana".to_owned(),
            identity: IdentityId::random(),
            public_key: "ssh-ed25519 AAAA".to_owned(),
            algorithm: "ssh-ed25519".to_owned(),
            active: true,
            confirmed: true,
            added_by: None,
            attested: false,
            attestation: None,
            certified: false,
            added_at: Timestamp::UNIX_EPOCH,
            names: KeyNames { comment: "jana@laptop".to_owned() },
        },
    }
}

/// A store file with the keys that open it, so that it can be opened again.
pub(crate) struct Bench {
    folder: TempDir,
    org: Org,
    keys: [u8; 64],
    now: Arc<Mutex<Timestamp>>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let keys = StoreKeys::random().unwrap();
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(keys.tags());
        bytes[32..].copy_from_slice(keys.names());
        let bench = Self {
            folder: tempfile::tempdir().unwrap(),
            org: org(),
            keys: bytes,
            now: Arc::new(Mutex::new("2026-11-21T12:00:00Z".parse().unwrap())),
        };
        let meta = Meta { org: bench.org.id, token: "token".to_owned(), sealed_store_keys: vec![1], second: None };
        StoreFile::create(&bench.path(), &meta).unwrap();
        bench
    }

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("store.sqlite")
    }

    pub(crate) fn sealer(&self) -> Sealer {
        Sealer::new(self.org.id, StoreKeys::for_tests(&self.keys))
    }

    pub(crate) fn open(&self, anchors: &Anchors) -> Store {
        let now = Arc::clone(&self.now);
        let clock: Clock = Arc::new(move || *now.lock().unwrap());
        Store::start(StoreFile::open(&self.path()).unwrap(), self.sealer(), Instance::random(), clock, anchors).unwrap()
    }

    pub(crate) fn anchors(&self) -> Anchors {
        Anchors::read(&self.folder.path().join("anchors")).unwrap()
    }

    pub(crate) fn time(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }

    pub(crate) fn pass(&self, time: SignedDuration) {
        *self.now.lock().unwrap() += time;
    }

    pub(crate) async fn founded(&self) -> Store {
        let store = self.open(&self.anchors());
        let (org, admin) = (self.org.clone(), admin());
        store.submit(move |tx| organisation::found(tx, &org, &admin)).await.unwrap();
        store
    }
}

fn note(tx: &mut Tx<'_>) -> Result<((), strongroom_proto::method::Receipt), Refusal> {
    Ok(((), tx.append(LogId::Org, Draft::new("agent.start").text("reason", "a text"))?))
}

#[tokio::test]
async fn what_was_answered_is_there_after_opening_again() {
    let bench = Bench::new();
    let store = bench.founded().await;
    let receipt = store.submit(note).await.unwrap().into_parts().1;
    store.close().await;
    let store = bench.open(&bench.anchors());
    let view = store.view();
    assert!(view.sealed.is_empty(), "{:?}", view.sealed);
    assert_eq!(view.identity(&Slug::new("jana").unwrap()).unwrap().names.name, "Jana");
    let records = store.readers().records(LogId::Org, Page::From(0), 10).unwrap();
    assert_eq!(records.len(), 3);
    let last = &records[usize::try_from(receipt.seq).unwrap()];
    assert_eq!(hex::encode(strongroom_proto::audit::merkle::leaf_hash(last.record.as_bytes())), receipt.leaf);
    assert_eq!(last.openings[0].value, "a text");
    assert!(!last.record.contains("a text"), "the record holds the commitment only");
    store.close().await;
}

#[tokio::test]
async fn a_refused_command_leaves_its_denial_and_nothing_else() {
    let bench = Bench::new();
    let store = bench.founded().await;
    let before = store.view();
    let refused = store
        .submit(|tx| {
            let org = Org { sole_admin_ended: true, ..tx.state.org.clone() };
            tx.put(org)?;
            let failure = Failure::new(ErrorKind::Denied, "no");
            Err::<((), _), _>(Refusal::recorded(failure, LogId::Org, Draft::new("agent.start")))
        })
        .await;
    assert!(matches!(refused, Err(Refused::Denied(failure)) if failure.kind == ErrorKind::Denied));
    let after = store.view();
    assert!(!after.org.sole_admin_ended);
    let size = |view: &crate::state::State| view.heads[&LogId::Org].frontier.size();
    assert_eq!(size(&after), size(&before) + 1);
    assert_eq!(after.heads[&LogId::Org].state, before.heads[&LogId::Org].state);
    store.close().await;
}

#[tokio::test]
async fn a_change_that_no_record_tells_of_is_refused() {
    let bench = Bench::new();
    let store = bench.founded().await;
    let refused = store
        .submit(|tx| {
            let receipt = tx.append(LogId::Org, Draft::new("agent.start"))?;
            tx.put(Org { sole_admin_ended: true, ..tx.state.org.clone() })?;
            Ok(((), receipt))
        })
        .await;
    assert!(matches!(refused, Err(Refused::Denied(failure)) if failure.kind == ErrorKind::Internal));
    assert!(!store.view().org.sole_admin_ended);
    store.close().await;
}

#[tokio::test]
async fn the_time_of_a_log_never_goes_back() {
    let bench = Bench::new();
    let store = bench.founded().await;
    *bench.now.lock().unwrap() -= SignedDuration::from_hours(5);
    store.submit(note).await.unwrap();
    let records = store.readers().records(LogId::Org, Page::From(0), 10).unwrap();
    let times: Vec<Timestamp> = records
        .iter()
        .map(|record| serde_json::from_str::<strongroom_proto::audit::record::Record>(&record.record).unwrap().ts)
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    store.close().await;
}

#[tokio::test]
async fn a_signature_counter_that_falls_back_is_an_alarm_and_the_highest_is_remembered() {
    use crate::commands::{Caller, session};
    use strongroom_proto::audit::record::{Actor, From, Record};
    let bench = Bench::new();
    let store = bench.founded().await;
    let identity = store.view().identity(&Slug::new("jana").unwrap()).unwrap().id;
    let login = |counter| {
        let (assurance, key) = (strongroom_proto::words::Assurance::SoftwareKey, "SHA256:jana".to_owned());
        let session = strongroom_proto::ids::SessionId::random();
        let from = From { client: "test".to_owned(), pid: None, uid: None };
        let caller = Caller { actor: Actor { assurance, identity, key, session }, from };
        store.submit(move |tx| session::begin(tx, &caller, Some(counter), None))
    };
    let mut alarms = Vec::new();
    for counter in [7, 7, 9, 8, 9, 10] {
        alarms.push(*login(counter).await.unwrap().value());
        assert_eq!(
            store.view().logins[&identity].counters["SHA256:jana"],
            counter.max(if counter == 8 { 9 } else { 0 })
        );
    }
    assert_eq!(alarms, [false, false, false, true, false, false]);
    let records = store.readers().records(LogId::Org, Page::From(0), 20).unwrap();
    let records = records.iter().map(|record| serde_json::from_str::<Record>(&record.record).unwrap());
    let alarmed: Vec<Record> = records.filter(|record| record.detail.contains_key("alert")).collect();
    assert_eq!(alarmed.len(), 1);
    assert_eq!(alarmed[0].detail["counter"], 8);
    store.close().await;
}

#[tokio::test]
async fn a_second_agent_is_kept_from_the_file() {
    let bench = Bench::new();
    let store = bench.founded().await;
    assert!(matches!(StoreFile::open(&bench.path()), Err(StoreError::InUse)));
    store.close().await;
    assert!(StoreFile::open(&bench.path()).is_ok());
}

#[tokio::test]
async fn an_older_store_falls_short_of_its_anchor() {
    let bench = Bench::new();
    let store = bench.founded().await;
    store.close().await;
    let old = std::fs::read(bench.path()).unwrap();
    let store = bench.open(&bench.anchors());
    store.submit(note).await.unwrap();
    let view = store.view();
    let head = &view.heads[&LogId::Org];
    let anchor = Anchor { size: head.frontier.size(), root: head.frontier.root() };
    bench.anchors().advance([(super::tx::origin(&view, LogId::Org).to_string(), anchor)]).unwrap();
    store.close().await;
    std::fs::write(bench.path(), old).unwrap();
    let store = bench.open(&bench.anchors());
    assert!(store.view().sealed[&LogId::Org].contains("older store"));
    assert!(
        matches!(store.submit(note).await, Err(Refused::Denied(failure)) if failure.kind == ErrorKind::AuditUnavailable)
    );
    store.close().await;
}

#[test]
fn a_sealed_row_opens_only_as_it_was_sealed() {
    let bench = Bench::new();
    let sealer = bench.sealer();
    let identity = Identity {
        id: IdentityId::random(),
        kind: IdentityKind::Technician,
        status: strongroom_proto::words::IdentityStatus::Active,
        roles: Vec::new(),
        created_at: Timestamp::UNIX_EPOCH,
        until: None,
        enrolled_by: None,
        vetted: true,
        service: None,
        certificates: false,
        names: IdentityNames {
            slug: Slug::new("jana").unwrap(),
            name: "Jana Novak".to_owned(),
            principals: Vec::new(),
        },
    };
    let stored = sealer.seal(&identity, 3).unwrap();
    assert_eq!(sealer.open::<Identity>(&stored).unwrap(), identity);
    assert!(!format!("{stored:?}").contains("Novak") && !stored.body.contains("jana"));
    let mut bad = Vec::new();
    for place in 0..stored.names.len() {
        let mut row = stored.clone();
        row.names[place] ^= 1;
        bad.push(row);
    }
    bad.push(super::sealer::StoredRow { version: 2, ..stored.clone() });
    bad.push(super::sealer::StoredRow { log: [7; 16], ..stored.clone() });
    bad.push(super::sealer::StoredRow { key: IdentityId::random().as_bytes().to_vec(), ..stored.clone() });
    bad.push(super::sealer::StoredRow { kind: "vault".to_owned(), ..stored.clone() });
    bad.push(super::sealer::StoredRow { body: stored.body.replace("active", "revoked"), ..stored.clone() });
    bad.push(super::sealer::StoredRow { tag: [0; 32], ..stored });
    for row in bad {
        assert!(sealer.open::<Identity>(&row).is_err());
    }
}

#[test]
fn a_damaged_anchor_file_does_not_pass_for_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("anchors");
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        Anchors::read(Path::new(&path))
    };
    let root = "00".repeat(32);
    assert_eq!(read(&format!("a/b 7 {root}\n")).unwrap().of("a/b").unwrap().size, 7);
    for text in ["a/b 7\n", "a/b x 00\n", &format!("a/b 7 {root} more\n"), "\n", &format!(" 7 {root}\n")] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains("line 1"), "{text}: {error}");
    }
}
