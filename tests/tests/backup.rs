//! Backups and the ways back from them, on real tokens: under load, wiped, restored, onto a new token, forged, cut, opened
//! with Debian's own tools.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::client::Client;
use strongroom_proto::method::code::Release;
use strongroom_proto::method::identity::Revoke;
use strongroom_proto::words::{Algorithm, OrgRole, OtpKind, Scheme, VaultRole};
use strongroom_tests::organisation::{Organisation, PIN, Setup, create_vault, give, import, row, slug};
use strongroom_tests::people::Person;
use strongroom_tests::recovery::{RecoveryPair, ssh_keygen_verifies};
use strongroom_tests::seeds::{RFC_SHA1, RFC_SHA256, RFC_SHA512, base32};
use strongroom_tests::tools;
use strongroom_tests::trail::read_log;

/// An organisation with people, two vaults of both schemes, and accounts of every hash.
struct Office {
    organisation: Organisation,
    pair: RecoveryPair,
    viewer: Person,
    leaver: Person,
    auditor: Person,
}

const VAULTS: [(&str, Scheme); 2] = [("acme", Scheme::Resident), ("bluewater", Scheme::Derived)];

impl Office {
    async fn open() -> Self {
        let pair = RecoveryPair::new();
        let setup = Setup { recovery_recipients: vec![pair.recipient.clone()], ..Setup::default() };
        let organisation = Organisation::found_with(&setup);
        let mut admin = organisation.admin.connect().await;
        let manager = organisation.enrol(&mut admin, "manager", &[]).await;
        let viewer = organisation.enrol(&mut admin, "viewer", &[]).await;
        let leaver = organisation.enrol(&mut admin, "leaver", &[]).await;
        let auditor = organisation.enrol(&mut admin, "auditor", &[OrgRole::Auditor]).await;
        for (vault, scheme) in VAULTS {
            create_vault(&mut admin, vault, scheme).await;
            give(&mut admin, vault, "manager", VaultRole::Manager).await;
            give(&mut admin, vault, "viewer", VaultRole::Viewer).await;
            give(&mut admin, vault, "leaver", VaultRole::Viewer).await;
            let rows = vec![
                row("one", OtpKind::Totp, Algorithm::Sha1, 8, RFC_SHA1),
                row("two", OtpKind::Totp, Algorithm::Sha256, 8, RFC_SHA256),
                row("three", OtpKind::Totp, Algorithm::Sha512, 8, RFC_SHA512),
                row("counted", OtpKind::Hotp, Algorithm::Sha1, 6, RFC_SHA1),
            ];
            import(&mut manager.connect().await, vault, rows).await;
        }
        let revoke = Revoke { identity: slug("leaver"), reason: "left".to_owned() };
        leaver.connect().await;
        admin.call(&revoke).await.unwrap();
        Self { organisation, pair, viewer, leaver, auditor }
    }

    fn backups(&self) -> PathBuf {
        let folder = self.organisation.root().join("backups");
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn back_up(&self, more: &[&str]) -> PathBuf {
        let folder = self.backups().display().to_string();
        let output =
            tools::output(&mut self.organisation.launch.command(&[&["backup", "--to", &folder], more].concat()));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        PathBuf::from(String::from_utf8(output.stdout).unwrap().lines().next().unwrap())
    }

    /// Every code that this seed and counter must give is given.
    async fn codes_are_right(&self, counter: u64) {
        let mut client = self.viewer.connect().await;
        for (vault, _) in VAULTS {
            for (account, algorithm, seed) in
                [("one", "sha1", RFC_SHA1), ("two", "sha256", RFC_SHA256), ("three", "sha512", RFC_SHA512)]
            {
                let (code, from) = release(&mut client, &format!("{vault}/{account}")).await;
                assert_eq!(code, tools::oathtool(&base32(seed), algorithm, 8, from), "{vault}/{account}");
            }
            let (code, _) = release(&mut client, &format!("{vault}/counted")).await;
            let counter = counter.to_string();
            let expected = tools::run("oathtool", &["--base32", "--counter", &counter, &base32(RFC_SHA1)]);
            assert_eq!(code, expected.trim(), "{vault}/counted at {counter}");
        }
    }

    async fn leaver_stays_out(&self) {
        assert!(self.leaver.try_connect().await.is_err(), "a revoked person logged in");
    }

    /// Takes away all but the configuration, the PIN and people's own keys: what a lost machine leaves.
    fn wipe(&mut self, also_config: bool) {
        self.organisation.running().stop();
        self.organisation.agent = None;
        fs::remove_dir_all(&self.organisation.data_dir).unwrap();
        fs::remove_dir_all(self.organisation.tokens()).unwrap();
        fs::create_dir(self.organisation.tokens()).unwrap();
        if also_config {
            fs::remove_file(&self.organisation.launch.config).unwrap();
        }
    }

    fn restore(&self, archive: &Path, more: &[&str]) -> std::process::Output {
        let archive = archive.display().to_string();
        let arguments = [&["restore", &archive, "--recovery-key", "-"], more].concat();
        self.pair.run(&mut self.organisation.launch.command(&arguments))
    }
}

async fn release(client: &mut Client, account: &str) -> (String, i64) {
    let release = Release { account: account.parse().unwrap(), reason: None, ticket: None, min_remaining_s: None };
    let released = client.call(&release).await.unwrap_or_else(|error| panic!("{account}: {error}"));
    (released.code.to_string(), released.valid_from.map_or(0, |from| from.as_second()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_made_under_load_brings_everything_back_onto_an_empty_machine() {
    let mut office = Office::open().await;
    office.codes_are_right(0).await;
    let stop = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (viewer, stop) = (office.viewer.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut client = viewer.connect().await;
                let mut codes = 0_u32;
                while !stop.load(Ordering::Relaxed) {
                    release(&mut client, "acme/one").await;
                    codes += 1;
                }
                codes
            })
        })
        .collect();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let archives: Vec<PathBuf> = tokio::task::block_in_place(|| (0..3).map(|_| office.back_up(&[])).collect());
    stop.store(true, Ordering::Relaxed);
    let mut codes = 0;
    for client in load {
        codes += client.await.unwrap();
    }
    println!("{codes} codes while three backups were made");
    assert!(codes > 20, "there was no load: {codes}");
    let archive = archives.last().unwrap();
    assert_eq!(fs::metadata(archive).unwrap().permissions().mode() & 0o777, 0o600);
    let agent_key = office.organisation.agent_key();

    office.wipe(true);
    let output = office.restore(archive, &["--agent-key", &agent_key]);
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{report}{}", String::from_utf8_lossy(&output.stderr));
    for said in ["the pinned key", "every row its tag", "the PIN of the token", "stays revoked", "agent.toml"] {
        assert!(report.contains(said), "{said} is not in: {report}");
    }
    assert!(!report.contains("UNPINNED"));
    office.organisation.start();
    // Counters of HOTP went on where the backup was made: nothing was counted after the first one.
    office.codes_are_right(1).await;
    office.leaver_stays_out().await;
    let mut auditor = office.auditor.connect().await;
    let org = read_log(&mut auditor, None).await;
    let restored: Vec<_> = org.iter().filter(|entry| entry.is("store.restored", RecordOutcome::Ok)).collect();
    assert_eq!(restored.len(), 1);
    assert_eq!(restored[0].record.detail["records_lost"], 0);
    assert!(restored[0].record.detail["signer"].as_str().unwrap().starts_with("SHA256:"));
    for (vault, _) in VAULTS {
        read_log(&mut auditor, Some(vault)).await;
    }
    let exported = office.organisation.root().join("exported").display().to_string();
    office.auditor.succeed(&["audit", "export", "acme", "--out", &exported]);
    office.auditor.succeed(&["audit", "verify", &exported, "--key", &agent_key]);
    // It is recorded once.
    office.organisation.running().stop();
    office.organisation.start();
    let org = read_log(&mut office.auditor.connect().await, None).await;
    assert_eq!(org.iter().filter(|entry| entry.is("store.restored", RecordOutcome::Ok)).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn debians_tools_open_a_backup_and_the_copies_in_it_and_there_is_no_pin() {
    let office = Office::open().await;
    let archive = office.back_up(&[]);
    let folder = tempfile::tempdir().unwrap();
    office.pair.unpack(&archive, folder.path());
    let path = |name: &str| folder.path().join(name);
    let key = office.organisation.agent_key();
    assert!(ssh_keygen_verifies(&key, "strongroom-backup@v1", &path("manifest.json"), &path("manifest.json.sig")));
    assert!(!ssh_keygen_verifies(&key, "strongroom-drill@v1", &path("manifest.json"), &path("manifest.json.sig")));
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(path("manifest.json")).unwrap()).unwrap();
    assert_eq!((manifest["accounts"].as_u64(), manifest["recovery_copies"].as_u64()), (Some(8), Some(8)));
    for file in manifest["files"].as_array().unwrap() {
        let name = file["name"].as_str().unwrap();
        let sum = tools::run("sha256sum", &[&path(name).display().to_string()]);
        assert!(sum.starts_with(file["sha256"].as_str().unwrap()), "{name}");
        let bytes = fs::read(path(name)).unwrap();
        assert!(!bytes.windows(PIN.len()).any(|window| window == PIN.as_bytes()), "{name} holds the PIN");
    }
    // The copies in the store, each an age file: the store keys', and every account's.
    let store = rusqlite::Connection::open(path("store.sqlite")).unwrap();
    let copy: Vec<u8> = store.query_row("SELECT copy FROM store_keys_copy", [], |row| row.get(0)).unwrap();
    let opened = age_opens(&office.pair, &copy);
    assert!(opened.contains("strongroom.store-keys/1"), "{opened}");
    let mut statement = store.prepare("SELECT body FROM entity WHERE kind = 'recovery'").unwrap();
    let bodies: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(bodies.len(), 8);
    for body in bodies {
        use base64::Engine as _;
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let copy = base64::engine::general_purpose::STANDARD.decode(body["copy"].as_str().unwrap()).unwrap();
        assert!(age_opens(&office.pair, &copy).contains("strongroom.recovery/1"));
    }
}

fn age_opens(pair: &RecoveryPair, copy: &[u8]) -> String {
    let file = pair.key_file().with_extension("copy");
    fs::write(&file, copy).unwrap();
    let key = pair.key_file().display().to_string();
    tools::run("age", &["-d", "-i", &key, &file.display().to_string()])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_altered_and_cut_backups_are_refused_and_leave_nothing_behind() {
    let mut office = Office::open().await;
    let archive = office.back_up(&[]);
    let stranger = Organisation::found_with(&Setup {
        recovery_recipients: vec![office.pair.recipient.clone()],
        ..Setup::default()
    });
    let key = office.organisation.agent_key();
    let bytes = fs::read(&archive).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let made = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let mut altered = bytes.clone();
    altered[bytes.len() / 2] ^= 1;
    let mut cases = vec![
        ("cut", made("cut", &bytes[..bytes.len() - 70_000]), "altered or cut short"),
        ("last byte", made("last", &bytes[..bytes.len() - 1]), "altered or cut short"),
        ("altered", made("altered", &altered), "altered or cut short"),
        ("no age file", made("text", b"hello"), "not a well-formed age"),
    ];
    // What somebody can make who knows the recipient and not the agent key.
    let unpacked = folder.path().join("unpacked");
    fs::create_dir(&unpacked).unwrap();
    office.pair.unpack(&archive, &unpacked);
    let rest = ["manifest.json", "manifest.json.sig", "agent.toml", "known_agents", "anchors", "token", "store.sqlite"];
    let mut forge = |name: &'static str, names: &[&str], change: &dyn Fn(&Path), why: &'static str| {
        let copy = folder.path().join(format!("copy-{name}"));
        tools::run("cp", &["-r", unpacked.to_str().unwrap(), copy.to_str().unwrap()]);
        change(&copy);
        let path = folder.path().join(name);
        office.pair.pack(&copy, names, &path);
        cases.push((name, path, why));
    };
    let replace = |path: PathBuf, from: &str, to: &str| {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from));
        fs::write(path, text.replace(from, to)).unwrap();
    };
    forge(
        "manifest",
        &rest,
        &|copy| replace(copy.join("manifest.json"), "\"accounts\": 8", "\"accounts\": 9"),
        "wrong",
    );
    forge("config", &rest, &|copy| replace(copy.join("agent.toml"), "run/agent.sock", "run/other.sock"), "not the one");
    forge("without store", &rest[..6], &|_| {}, "lacks");
    forge("without manifest", &rest[1..], &|_| {}, "manifest is missing");
    forge(
        "added",
        &[&rest[..], &["extra"]].concat(),
        &|copy| fs::write(copy.join("extra"), "x").unwrap(),
        "not the one",
    );
    forge(
        "link",
        &rest,
        &|copy| {
            fs::remove_file(copy.join("anchors")).unwrap();
            std::os::unix::fs::symlink("/etc/passwd", copy.join("anchors")).unwrap();
        },
        "no backup holds",
    );
    let others = stranger.root().join("others");
    fs::create_dir(&others).unwrap();
    let foreign = tools::output(&mut stranger.launch.command(&["backup", "--to", others.to_str().unwrap()]));
    assert!(foreign.status.success(), "{}", String::from_utf8_lossy(&foreign.stderr));
    let foreign = PathBuf::from(String::from_utf8(foreign.stdout).unwrap().lines().next().unwrap());
    cases.push(("another agent's", foreign, "not by the pinned"));

    office.wipe(true);
    for (name, path, why) in &cases {
        let output = office.restore(path, &["--agent-key", &key]);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && errors.contains(why), "{name}: {errors}");
        assert!(!office.organisation.launch.config.exists(), "{name} left a configuration");
        let left: Vec<_> = fs::read_dir(&office.organisation.data_dir).into_iter().flatten().collect();
        assert!(left.is_empty(), "{name} left {left:?}");
        assert_eq!(fs::read_dir(office.organisation.tokens()).unwrap().count(), 0, "{name}");
    }
    let outsider = RecoveryPair::new();
    let path = archive.display().to_string();
    let refused = outsider.run(&mut office.organisation.launch.command(&["restore", &path, "--recovery-key", "-"]));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("not sealed to this recovery key"));
    // The good one still goes, without a pin, and says so; a second time nothing is overwritten.
    let output = office.restore(&archive, &[]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("UNPINNED"), "{output:?}");
    let again = office.restore(&archive, &[]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("exists already"), "{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_backup_is_only_taken_by_one_who_says_so_and_the_log_shows_the_gap() {
    let mut office = Office::open().await;
    let archive = office.back_up(&[]);
    let mut admin = office.organisation.admin.connect().await;
    for name in ["later", "last"] {
        office.organisation.enrol(&mut admin, name, &[]).await;
    }
    drop(admin);
    office.organisation.running().stop();
    // The store is lost; the anchors, on another disk, are not.
    let anchors = fs::read(office.organisation.data_dir.join("anchors")).unwrap();
    office.wipe(false);
    fs::create_dir(&office.organisation.data_dir).unwrap();
    fs::set_permissions(&office.organisation.data_dir, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(office.organisation.data_dir.join("anchors"), anchors).unwrap();
    let refused = office.restore(&archive, &[]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--accept-lost-records"), "{refused:?}");
    assert!(!office.organisation.store().exists());
    let output = office.restore(&archive, &["--accept-lost-records"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("records were vouched for"));
    office.organisation.start();
    let org = read_log(&mut office.auditor.connect().await, None).await;
    let restored = org.iter().find(|entry| entry.is("store.restored", RecordOutcome::Ok)).unwrap();
    assert!(restored.record.detail["records_lost"].as_u64().unwrap() >= 2);
    let kept = fs::read_dir(&office.organisation.data_dir).unwrap().flatten();
    assert_eq!(kept.filter(|entry| entry.file_name().to_string_lossy().contains("before-restore")).count(), 1);
}

#[test]
fn without_recovery_recipients_there_is_no_backup_and_a_failing_command_is_reported() {
    let organisation = Organisation::found();
    let folder = organisation.root().display().to_string();
    let refused = tools::output(&mut organisation.launch.command(&["backup", "--to", &folder]));
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no recovery recipients"));

    let pair = RecoveryPair::new();
    let setup = Setup { recovery_recipients: vec![pair.recipient.clone()], ..Setup::default() };
    let organisation = Organisation::found_with(&setup);
    let folder = organisation.root().join("with space");
    fs::create_dir(&folder).unwrap();
    let to = folder.display().to_string();
    let copied = organisation.root().join("copied");
    let command = format!("cp \"$1\" {}", copied.display());
    let output = tools::output(&mut organisation.launch.command(&["backup", "--to", &to, "--command", &command]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let path = String::from_utf8(output.stdout).unwrap().lines().next().unwrap().to_owned();
    assert_eq!(fs::read(path).unwrap(), fs::read(copied).unwrap());
    let failed = tools::output(&mut organisation.launch.command(&["backup", "--to", &to, "--command", "exit 7"]));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("exit status: 7"));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "the backup itself was made");
}
