//! Token faults and real damage under a running agent: no code or the right one, lists go on, no key is made, and service
//! resumes by itself once the fault is over.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::client::{CallError, Client};
use strongroom_proto::error::ErrorKind;
use strongroom_proto::method::account::List;
use strongroom_proto::method::code::Release;
use strongroom_proto::words::{Algorithm, OtpKind, Scheme, VaultRole};
use strongroom_tests::clients::codes_between;
use strongroom_tests::fault_report::{Row, publish};
use strongroom_tests::faulty_module::FaultyModule;
use strongroom_tests::organisation::{Organisation, Setup, create_vault, give, import, row};
use strongroom_tests::people::Person;
use strongroom_tests::seeds::RFC_SHA1;
use strongroom_tests::token::{Kind, softhsm_module};
use strongroom_tests::trail::read_log;

/// So long that a test hardly ever meets the end of a window.
const PERIOD_S: u32 = 3600;
/// The vaults, one of each scheme.
const VAULTS: [(&str, Scheme); 2] = [("acme", Scheme::Resident), ("bluewater", Scheme::Derived)];
/// How long an outage lasts in these tests: the agent has paused for longer and longer by its end.
const OUTAGE: Duration = Duration::from_millis(1200);
/// The agent's longest pause after such an outage, and then some for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

struct House {
    module: FaultyModule,
    organisation: Organisation,
    tech: Person,
    client: Client,
    manager: Client,
}

impl House {
    async fn found() -> Self {
        Self::found_with(None).await
    }

    async fn found_with(workers: Option<u8>) -> Self {
        let module = FaultyModule::before(&softhsm_module());
        // The shim forwards to a SoftHSM, on whatever token the suite runs.
        let token = Some(Kind::SoftHsm);
        let setup = Setup { module: Some(module.path().to_owned()), token, workers, ..Setup::default() };
        let organisation = Organisation::found_with(&setup);
        let mut admin = organisation.admin.connect().await;
        let tech = organisation.enrol(&mut admin, "tech", &[]).await;
        let manager = organisation.enrol(&mut admin, "manager", &[]).await;
        let mut manager_client = manager.connect().await;
        for (vault, scheme) in VAULTS {
            create_vault(&mut admin, vault, scheme).await;
            give(&mut admin, vault, "tech", VaultRole::Viewer).await;
            give(&mut admin, vault, "manager", VaultRole::Manager).await;
            let mut account = row("slow", OtpKind::Totp, Algorithm::Sha1, 6, RFC_SHA1);
            account.period_s = PERIOD_S;
            import(&mut manager_client, vault, vec![account]).await;
            // The first read of an hour is itself a record.
            read_log(&mut manager_client, Some(vault)).await;
        }
        let mut house = Self { module, organisation, client: tech.connect().await, tech, manager: manager_client };
        for (vault, _) in VAULTS {
            assert_eq!(house.release(vault).await, Ok(()));
        }
        house
    }

    /// The right code, or the kind of the refusal.
    async fn release(&mut self, vault: &str) -> Result<(), ErrorKind> {
        let account = format!("{vault}/slow").parse().unwrap();
        let from = Timestamp::now();
        let answer = self
            .client
            .call(&Release { account, reason: None, ticket: None, min_remaining_s: None, step_up: None })
            .await;
        match answer {
            Ok(released) => {
                let right = codes_between(PERIOD_S, from, Timestamp::now());
                assert!(right.contains(&released.code), "a wrong code came out of {vault}");
                Ok(())
            }
            Err(CallError::Failure(failure)) => Err(failure.kind),
            Err(other) => panic!("{vault}: {other}"),
        }
    }

    async fn lists_work(&mut self) {
        let begun = Instant::now();
        let listed = self.client.call(&List { vault: None, cursor: None }).await.unwrap();
        assert_eq!(listed.items.len(), 2);
        assert!(begun.elapsed() < Duration::from_secs(1), "a list took {:?}", begun.elapsed());
    }

    /// Successful releases on record.
    async fn released(&mut self) -> usize {
        let mut count = 0;
        for (vault, _) in VAULTS {
            let entries = read_log(&mut self.manager, Some(vault)).await;
            count += entries.iter().filter(|entry| entry.is("code.release", RecordOutcome::Ok)).count();
        }
        count
    }

    /// Lives through an outage: every release says that the token is away, and nothing else suffers.
    async fn outage(&mut self, fault: &str) -> usize {
        let before = self.released().await;
        let begun = Instant::now();
        let mut refused = 0;
        while begun.elapsed() < OUTAGE {
            for (vault, _) in VAULTS {
                assert_eq!(self.release(vault).await, Err(ErrorKind::HsmUnavailable), "{fault} {vault}");
                refused += 1;
            }
            self.lists_work().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(self.released().await, before, "{fault}: a release without a code is on record as one with");
        refused
    }

    /// Asks until both vaults serve again, without help.
    async fn resumes(&mut self, fault: &str) -> Duration {
        let begun = Instant::now();
        for (vault, _) in VAULTS {
            while let Err(kind) = self.release(vault).await {
                assert_eq!(kind, ErrorKind::HsmUnavailable, "{fault} {vault}");
                assert!(begun.elapsed() < PATIENCE, "{fault}: {}", self.organisation.running().log());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        begun.elapsed()
    }

    /// An injected fault from its beginning to the next codes, as a row of the report.
    async fn suffer(&mut self, class: &'static str, name: &str, rules: &[&str]) -> Row {
        let (keys, pins) = (self.module.calls().keys_asked_for(), self.module.calls().count("C_Login"));
        self.module.fault(rules);
        let refused = self.outage(name).await;
        let calls = self.module.calls();
        assert_eq!(calls.keys_asked_for(), keys, "{name}: a key was asked for");
        self.module.lift();
        let recovered = self.resumes(name).await;
        Row {
            class,
            injected: name.to_owned(),
            asked: format!("{refused} releases"),
            seen: "hsm_unavailable".into(),
            retries: None,
            pins: calls.count("C_Login") - pins,
            keys: 0,
            recovered,
            by: "itself",
        }
    }
}

#[tokio::test]
async fn every_class_is_hsm_unavailable_to_callers_and_service_resumes_by_itself() {
    let mut house = House::found().await;
    let mut rows = Vec::new();
    let faults: [(&str, &str, &[&str]); 9] = [
        ("session", "SESSION_HANDLE_INVALID", &["C_SignInit 0xb3"]),
        ("login", "USER_NOT_LOGGED_IN", &["C_SignInit 0x101"]),
        ("handle", "KEY_HANDLE_INVALID", &["C_SignInit 0x60"]),
        ("handle", "stale handles, 0 objects", &["C_SignInit 0x82", "C_FindObjects empty"]),
        ("odd", "KEY_FUNCTION_NOT_PERMITTED", &["C_SignInit 0x68"]),
        ("device", "DEVICE_REMOVED everywhere", &["* 0x32"]),
        ("device", "GENERAL_ERROR", &["C_SignInit 0x5"]),
        ("device", "VENDOR_DEFINED", &["C_SignInit 0x80000066"]),
        ("device", "wrong MACs", &["C_Sign flip"]),
    ];
    for (class, name, rules) in faults {
        rows.push(house.suffer(class, name, rules).await);
    }
    publish("Agent: faults of the module", &rows);
}

#[tokio::test]
async fn a_single_fault_of_a_session_a_login_or_a_handle_is_not_noticed_by_callers() {
    // One worker: the module counts a rule's times for each process.
    let mut house = House::found_with(Some(1)).await;
    for rule in ["C_SignInit 0xb3 times=1", "C_SignInit 0x101 times=1", "C_SignInit 0x82 times=1"] {
        for (vault, _) in VAULTS {
            house.module.fault(&[rule]);
            assert_eq!(house.release(vault).await, Ok(()), "{rule} {vault}");
        }
    }
}

#[tokio::test]
async fn a_refused_pin_is_presented_once_and_waits_for_a_person() {
    let mut house = House::found().await;
    let before = house.module.calls().count("C_Login");
    house.module.fault(&["C_SignInit 0x101", "C_Login 0xa0"]);
    house.outage("PIN_INCORRECT").await;
    let pins = house.module.calls().count("C_Login") - before;
    assert_eq!(pins, 1);
    // The token works again, but whoever changed the PIN has to say so.
    house.module.fault(&["C_SignInit 0x101"]);
    house.outage("after PIN_INCORRECT").await;
    assert_eq!(house.module.calls().count("C_Login") - before, 1);
    house.module.lift();
    house.organisation.running().stop();
    let begun = Instant::now();
    house.organisation.start();
    house.client = house.tech.connect().await;
    for (vault, _) in VAULTS {
        assert_eq!(house.release(vault).await, Ok(()));
    }
    publish(
        "Agent: refused PIN",
        &[Row {
            class: "PIN",
            injected: "PIN_INCORRECT".into(),
            asked: "releases for 2.4 s".into(),
            seen: "hsm_unavailable".into(),
            retries: None,
            pins,
            keys: 0,
            recovered: begun.elapsed(),
            by: "a restart",
        }],
    );
}

/// Files of keys below the token folder, without the token's own file and locks.
fn key_files(tokens: &Path) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(tokens).unwrap().map(|entry| entry.unwrap().path());
    let files = folders.filter(|path| path.is_dir()).flat_map(|path| std::fs::read_dir(path).unwrap());
    let is_key = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.ends_with(".object") && name != "token.object"
    };
    files.map(|entry| entry.unwrap().path()).filter(is_key).collect()
}

#[tokio::test]
async fn real_damage_to_the_token_is_an_outage_and_its_repair_ends_it() {
    let mut house = House::found().await;
    let tokens = house.organisation.tokens();
    let whole: BTreeMap<PathBuf, Vec<u8>> =
        key_files(&tokens).into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    assert!(whole.len() >= 5, "two vault keys, a store key, a key pair: {whole:?}");
    let away = tokens.with_extension("away");
    let write = |path: &Path, bytes: &[u8]| std::fs::write(path, bytes).unwrap();
    let mut rows = Vec::new();
    for name in ["folder moved away", "key files deleted", "key files overwritten with garbage", "key files emptied"] {
        let keys = house.module.calls().keys_asked_for();
        let pins = house.module.calls().count("C_Login");
        match name {
            "folder moved away" => std::fs::rename(&tokens, &away).unwrap(),
            "key files deleted" => whole.keys().for_each(|path| std::fs::remove_file(path).unwrap()),
            "key files emptied" => whole.keys().for_each(|path| write(path, b"")),
            _ => whole.keys().for_each(|path| write(path, &[0xa5; 300])),
        }
        let refused = house.outage(name).await;
        let calls = house.module.calls();
        assert_eq!(calls.keys_asked_for(), keys, "{name}: a key was asked for");
        if name == "folder moved away" {
            std::fs::rename(&away, &tokens).unwrap();
        } else {
            whole.iter().for_each(|(path, bytes)| write(path, bytes));
        }
        let recovered = house.resumes(name).await;
        assert_eq!(key_files(&tokens).len(), whole.len(), "{name}: a key was made");
        rows.push(Row {
            class: "device",
            injected: name.to_owned(),
            asked: format!("{refused} releases"),
            seen: "hsm_unavailable".into(),
            retries: None,
            pins: calls.count("C_Login") - pins,
            keys: 0,
            recovered,
            by: "itself",
        });
    }
    publish("Agent: real damage to the token", &rows);
}

#[tokio::test]
async fn a_module_that_hangs_or_crashes_costs_its_worker_and_not_the_agent() {
    let mut house = House::found().await;
    let pid = house.organisation.running().pid();
    let mut rows = Vec::new();
    for (name, rule) in [("hangs for ever", "C_SignInit hang"), ("crashes (SIGSEGV)", "C_SignInit crash")] {
        let row = house.suffer("device", name, &[rule]).await;
        assert!(house.organisation.running().is_running() && house.organisation.running().pid() == pid, "{name}");
        rows.push(row);
    }
    publish("Agent: a module that hangs or crashes", &rows);
}

#[tokio::test]
async fn a_module_that_leaks_is_replaced_before_memory_runs_out() {
    let mut house = House::found().await;
    // 8 MiB a call: a gibibyte over the test, which no worker may keep.
    house.module.fault(&["C_Sign leak=8388608"]);
    let logins = house.module.calls().count("C_Login");
    for _ in 0..64 {
        for (vault, _) in VAULTS {
            match house.release(vault).await {
                Ok(()) | Err(ErrorKind::HsmUnavailable) => {}
                Err(other) => panic!("{vault}: {other:?}"),
            }
        }
    }
    let begun = Instant::now();
    while house.module.calls().count("C_Login") == logins {
        assert!(begun.elapsed() < PATIENCE, "the worker was never replaced");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    house.module.lift();
    house.resumes("leak").await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", house.organisation.running().pid())).unwrap();
    let resident_kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap();
    assert!(resident_kib < 256 * 1024, "the agent has grown to {resident_kib} KiB");
}
