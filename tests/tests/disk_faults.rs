//! What a failing disk does: no code without its record, whatever the disk answers.

use std::time::{Duration, Instant};

use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::client::{CallError, Client};
use strongroom_proto::error::ErrorKind;
use strongroom_proto::method::account::List;
use strongroom_proto::method::agent::{Health, State, Status};
use strongroom_proto::method::code::{Release, Released};
use strongroom_proto::method::identity::Revoke;
use strongroom_proto::words::{Algorithm, OtpKind, VaultRole};
use strongroom_tests::disk::{Disk, Fault, SmallDisk};
use strongroom_tests::organisation::{Organisation, Setup, create_vault, give, import, row, slug};
use strongroom_tests::people::Person;
use strongroom_tests::schemes::scheme;
use strongroom_tests::seeds::{RFC_4226, RFC_SHA1};
use strongroom_tests::trail::{Entry, read_log};

struct House {
    organisation: Organisation,
    admin: Client,
    tech: Person,
    client: Client,
    auditor: Client,
}

impl House {
    async fn on(setup: &Setup) -> Self {
        let organisation = Organisation::found_with(setup);
        let mut admin = organisation.admin.connect().await;
        let tech = organisation.enrol(&mut admin, "tech", &[]).await;
        let manager = organisation.enrol(&mut admin, "manager", &[]).await;
        create_vault(&mut admin, "acme", scheme()).await;
        give(&mut admin, "acme", "tech", VaultRole::Viewer).await;
        give(&mut admin, "acme", "manager", VaultRole::Manager).await;
        let mut auditor = manager.connect().await;
        let rows = vec![
            row("totp", OtpKind::Totp, Algorithm::Sha1, 6, RFC_SHA1),
            row("hotp", OtpKind::Hotp, Algorithm::Sha1, 6, RFC_SHA1),
        ];
        import(&mut auditor, "acme", rows).await;
        let mut client = tech.connect().await;
        release(&mut client, "totp").await.unwrap();
        // The first read of an hour is itself a record: done now, the later ones work on a disk that takes nothing.
        read_log(&mut auditor, Some("acme")).await;
        Self { organisation, admin, tech, client, auditor }
    }

    async fn disk(disk: &Disk) -> Self {
        let setup =
            Setup { data_dir: Some(disk.folder().to_owned()), environment: disk.environment(), ..Setup::default() };
        Self::on(&setup).await
    }

    async fn restart(&mut self) {
        self.organisation.running().stop();
        self.organisation.start();
        self.client = self.tech.connect().await;
        self.admin = self.organisation.admin.connect().await;
    }

    /// Records of releases that happened.
    async fn released(&mut self) -> Vec<Entry> {
        let mut entries = read_log(&mut self.auditor, Some("acme")).await;
        entries.retain(|entry| entry.record.event == "code.release");
        assert!(entries.iter().all(|entry| entry.record.outcome == RecordOutcome::Ok), "a refusal was recorded");
        entries
    }
}

async fn release(client: &mut Client, account: &str) -> Result<Released, CallError> {
    let account = format!("acme/{account}").parse().unwrap();
    client.call(&Release { account, reason: None, ticket: None, min_remaining_s: None, step_up: None }).await
}

fn kind<T>(answer: Result<T, CallError>) -> ErrorKind {
    match answer {
        Err(CallError::Failure(failure)) => failure.kind,
        Err(other) => panic!("no refusal: {other}"),
        Ok(_) => panic!("it was not refused"),
    }
}

async fn state(client: &mut Client) -> (State, Health) {
    let status = client.call(&Status {}).await.unwrap();
    (status.state, status.store)
}

#[tokio::test]
async fn a_full_or_read_only_disk_gives_no_code_and_one_failure_heals() {
    for fault in [Fault::Full, Fault::ReadOnly] {
        let disk = Disk::new();
        let mut house = House::disk(&disk).await;
        for (round, account) in ["totp", "hotp", "no-such", "totp"].into_iter().enumerate() {
            disk.fault(fault);
            assert_eq!(
                kind(release(&mut house.client, account).await),
                ErrorKind::StoreUnavailable,
                "{fault:?} {account}"
            );
            let listed = house.client.call(&List { vault: None, cursor: None }).await.unwrap();
            assert_eq!(listed.items.len(), 2, "reads go on");
            assert_eq!(house.released().await.len(), 1 + round, "{fault:?}: nothing of it is in the log");
            disk.fault(Fault::None);
            release(&mut house.client, "totp").await.unwrap();
        }
        assert_eq!(state(&mut house.client).await, (State::Ready, Health::Ok));
        let hotp = release(&mut house.client, "hotp").await.unwrap();
        assert_eq!((hotp.counter, hotp.code.as_str()), (Some(0), RFC_4226[0]), "a refused HOTP used up no counter");
        house.restart().await;
        assert_eq!(state(&mut house.client).await, (State::Ready, Health::Ok));
        assert_eq!(release(&mut house.client, "hotp").await.unwrap().code.as_str(), RFC_4226[1]);
    }
}

#[tokio::test]
async fn two_failures_in_a_row_seal_until_a_restart() {
    for fault in [Fault::Full, Fault::SyncFails] {
        let disk = Disk::new();
        let mut house = House::disk(&disk).await;
        disk.fault(fault);
        assert_eq!(kind(release(&mut house.client, "totp").await), ErrorKind::StoreUnavailable);
        assert_eq!(kind(release(&mut house.client, "hotp").await), ErrorKind::StoreUnavailable);
        disk.fault(Fault::None);
        assert_eq!(kind(release(&mut house.client, "totp").await), ErrorKind::AuditUnavailable, "{fault:?}");
        assert_eq!(state(&mut house.client).await, (State::Sealed, Health::Failing));
        assert!(house.organisation.running().log().contains("could not commit"));
        house.restart().await;
        assert_eq!(state(&mut house.client).await, (State::Ready, Health::Ok));
        release(&mut house.client, "totp").await.unwrap();
    }
}

#[tokio::test]
async fn a_revocation_that_cannot_be_written_is_no_success_and_nobody_gets_codes() {
    let disk = Disk::new();
    let mut house = House::disk(&disk).await;
    // The shim's disk stays full whatever is freed: also the second attempt, into the reserve, fails.
    disk.fault(Fault::Full);
    let revoke = Revoke { identity: slug("tech"), reason: "left".to_owned() };
    assert_eq!(kind(house.admin.call(&revoke).await), ErrorKind::StoreUnavailable);
    disk.fault(Fault::None);
    assert_eq!(kind(release(&mut house.client, "totp").await), ErrorKind::AuditUnavailable);
    // What ends access is still taken when the store is sealed.
    assert_eq!(house.admin.call(&revoke).await.unwrap().grants, 1);
    assert!(release(&mut house.client, "totp").await.is_err());
}

#[tokio::test]
async fn a_failing_sync_refuses_the_batch_and_the_agent_goes_on() {
    let disk = Disk::new();
    let mut house = House::disk(&disk).await;
    for (round, code) in RFC_4226.iter().enumerate().take(3) {
        disk.fault(Fault::SyncFails);
        assert_eq!(kind(release(&mut house.client, "hotp").await), ErrorKind::StoreUnavailable);
        disk.fault(Fault::None);
        assert_eq!(release(&mut house.client, "hotp").await.unwrap().code.as_str(), *code);
        assert_eq!(house.released().await.len(), 2 + round);
    }
    assert_eq!(state(&mut house.client).await, (State::Ready, Health::Ok));
    house.restart().await;
    assert_eq!(state(&mut house.client).await, (State::Ready, Health::Ok), "the refused batches are not in the file");
    assert_eq!(release(&mut house.client, "hotp").await.unwrap().code.as_str(), RFC_4226[3]);
}

#[tokio::test]
async fn a_sync_of_more_than_two_seconds_withholds_the_code_and_says_so() {
    let disk = Disk::new();
    let mut house = House::disk(&disk).await;
    disk.fault(Fault::SyncSlow(Duration::from_millis(2_300)));
    let begun = Instant::now();
    assert_eq!(kind(release(&mut house.client, "totp").await), ErrorKind::StoreUnavailable);
    assert!(begun.elapsed() > Duration::from_millis(2_300));
    disk.fault(Fault::None);
    let entries = read_log(&mut house.auditor, Some("acme")).await;
    let [.., released, withheld] = entries.as_slice() else { panic!("records are missing") };
    assert!(released.is("code.release", RecordOutcome::Ok));
    assert!(withheld.is("code.withheld", RecordOutcome::Failed));
    assert_eq!(withheld.record.detail["release"], released.record.seq);
    // A slow disk is no broken one.
    release(&mut house.client, "totp").await.unwrap();
}

#[tokio::test]
async fn on_a_full_small_disk_a_revocation_still_succeeds_from_the_reserve() {
    let Some(disk) = SmallDisk::mount("16m") else {
        println!("skipped: this user may not mount a file system");
        return;
    };
    let mut house = House::on(&Setup { data_dir: Some(disk.folder().join("data")), ..Setup::default() }).await;
    let reserve = house.organisation.store().with_extension("reserve");
    assert!(reserve.exists());
    disk.fill();
    // What is left of the last block of the write-ahead log may take a record or two.
    let mut taken = 1;
    let refused = loop {
        match release(&mut house.client, "totp").await {
            Ok(_) => taken += 1,
            Err(CallError::Failure(failure)) => break failure.kind,
            Err(other) => panic!("{other}"),
        }
        assert!(taken < 100, "the disk is not full");
    };
    assert_eq!(refused, ErrorKind::StoreUnavailable);
    assert_eq!(house.released().await.len(), taken);

    let revoke = Revoke { identity: slug("tech"), reason: "left".to_owned() };
    let revoked = house.admin.call(&revoke).await.unwrap();
    assert_eq!((revoked.sessions, revoked.grants), (1, 1));
    assert!(!reserve.exists(), "it took the reserve");
    assert!(release(&mut house.client, "totp").await.is_err());
    assert!(house.tech.try_connect().await.is_err());

    disk.free();
    house.organisation.running().stop();
    house.organisation.start();
    assert!(house.tech.try_connect().await.is_err(), "the revocation survived");
    assert!(reserve.exists(), "the reserve is back");
    let status = house.organisation.admin.connect().await.call(&Status {}).await.unwrap();
    assert_eq!(status.state, State::Ready);
}
