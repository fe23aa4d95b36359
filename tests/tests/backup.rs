//! Backups and the ways back from them, on real tokens: under load, wiped, restored, onto a new token, forged, cut, opened
//! with Debian's own tools.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::client::Client;
use strongroom_proto::method::agent::Status;
use strongroom_proto::method::code::Release;
use strongroom_proto::method::identity::Revoke;
use strongroom_proto::words::{Algorithm, OrgRole, OtpKind, Scheme, VaultRole};
use strongroom_tests::organisation::{Organisation, PIN, Setup, create_vault, give, import, row, slug};
use strongroom_tests::people::Person;
use strongroom_tests::recovery::{RecoveryPair, ssh_keygen_verifies};
use strongroom_tests::seeds::{RFC_SHA1, RFC_SHA256, RFC_SHA512, base32};
use strongroom_tests::token::TestToken;
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

/// Of which token a backup brings everything back.
const IN_BACKUPS: &str = "whose files a backup takes along";
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

    /// Verifies an exported log against the pinned agent key.
    fn verify(&self, exported: &str) {
        let pin = self.organisation.root().join("pinned.pub");
        fs::write(&pin, self.organisation.agent_key()).unwrap();
        self.auditor.succeed(&["audit", "verify", exported, "--key", pin.to_str().unwrap()]);
    }

    async fn leaver_stays_out(&self) {
        assert!(self.leaver.try_connect().await.is_err(), "a revoked person logged in");
    }

    /// Takes away all but the configuration, the PIN and people's own keys: what a lost machine leaves.
    fn wipe(&mut self, also_config: bool) {
        if let Some(mut agent) = self.organisation.agent.take() {
            agent.stop();
        }
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
    let release =
        Release { account: account.parse().unwrap(), reason: None, ticket: None, min_remaining_s: None, step_up: None };
    let released = client.call(&release).await.unwrap_or_else(|error| panic!("{account}: {error}"));
    (released.code.to_string(), released.valid_from.map_or(0, |from| from.as_second()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_made_under_load_brings_everything_back_onto_an_empty_machine() {
    let mut office = Office::open().await;
    if !office.organisation.token.breaks(IN_BACKUPS) {
        return;
    }
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
    office.verify(&exported);
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
    assert!(store_keys_copy_is_signed(&store, &key, &manifest));
    store.execute("UPDATE store_keys_copy SET recipients = 'age1other'", []).unwrap();
    assert!(!store_keys_copy_is_signed(&store, &key, &manifest));
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

/// Checks the signature over a store's copy of its own keys with `ssh-keygen`.
fn store_keys_copy_is_signed(store: &rusqlite::Connection, key: &str, manifest: &serde_json::Value) -> bool {
    let (recipients, copy): (String, Vec<u8>) = store
        .query_row("SELECT recipients, copy FROM store_keys_copy", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    let signature: Vec<u8> =
        store.query_row("SELECT value FROM meta WHERE key = 'store-keys-signature'", [], |row| row.get(0)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("copy"), copy).unwrap();
    let sum = tools::run("sha256sum", &[&path("copy").display().to_string()]);
    let (sum, organisation) = (sum.split(' ').next().unwrap(), manifest["organisation"].as_str().unwrap());
    let text =
        format!("strongroom-store-keys-v1\norganisation {organisation}\nsha256 {sum}\nrecipients {recipients}\n");
    fs::write(path("text"), text).unwrap();
    fs::write(path("text.sig"), signature).unwrap();
    ssh_keygen_verifies(key, "strongroom-store-keys@v1", &path("text"), &path("text.sig"))
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

    let config = fs::read(&office.organisation.launch.config).unwrap();
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
    let arguments = ["restore", &path, "--recovery-key", "-", "--agent-key", &key];
    let refused = outsider.run(&mut office.organisation.launch.command(&arguments));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("not sealed to this recovery key"));
    // A configuration comes from a backup only if somebody says who signed it: it names what is loaded and run. Nothing at
    // the path that the archive names is touched.
    let precious = office.organisation.data_dir.join("restore.work");
    fs::create_dir_all(&precious).unwrap();
    fs::set_permissions(&office.organisation.data_dir, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(precious.join("theirs"), "x").unwrap();
    let output = office.restore(&archive, &[]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && errors.contains("only taken if --agent-key"), "{errors}");
    assert!(precious.join("theirs").exists() && !office.organisation.launch.config.exists());
    fs::write(&office.organisation.launch.config, config).unwrap();
    // Beside its own configuration it goes without a pin, and says so; a second time nothing is overwritten.
    let output = office.restore(&archive, &[]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("UNPINNED"), "{output:?}");
    let again = office.restore(&archive, &[]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("exists already"), "{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_backup_is_only_taken_by_one_who_says_so_and_the_log_shows_the_gap() {
    let mut office = Office::open().await;
    if !office.organisation.token.breaks(IN_BACKUPS) {
        return;
    }
    let archive = office.back_up(&[]);
    let mut admin = office.organisation.admin.connect().await;
    for name in ["later", "last"] {
        office.organisation.enrol(&mut admin, name, &[]).await;
    }
    drop(admin);
    office.organisation.running().stop();
    office.organisation.agent = None;
    // The store is lost; the anchors, on another disk, are not.
    let anchors = fs::read(office.organisation.data_dir.join("anchors")).unwrap();
    office.wipe(false);
    fs::create_dir(&office.organisation.data_dir).unwrap();
    fs::set_permissions(&office.organisation.data_dir, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(office.organisation.data_dir.join("anchors"), anchors).unwrap();
    let refused = office.restore(&archive, &[]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--accept-lost-records"), "{refused:?}");
    assert!(!office.organisation.store().exists());
    // A run that dies between token and store neither stands in the way of the next nor makes it forget what is lost.
    let obstacle = office.organisation.data_dir.join("anchors.new");
    fs::create_dir(&obstacle).unwrap();
    let died = office.restore(&archive, &["--accept-lost-records"]);
    assert!(String::from_utf8_lossy(&died.stderr).contains("anchor file"), "{died:?}");
    assert!(!office.organisation.store().exists());
    assert_eq!(fs::read_dir(office.organisation.tokens()).unwrap().count(), 1);
    fs::remove_dir(&obstacle).unwrap();
    let refused = office.restore(&archive, &[]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--accept-lost-records"), "{refused:?}");
    // Nor does one of which the token's folder holds something else.
    let token = fs::read_dir(office.organisation.tokens()).unwrap().next().unwrap().unwrap().path();
    fs::write(token.join("other.object"), "x").unwrap();
    let refused = office.restore(&archive, &["--accept-lost-records"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("exists already"), "{refused:?}");
    fs::remove_file(token.join("other.object")).unwrap();
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
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no recovery recipients"), "{refused:?}");

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

/// A second token for the same machine: what is bought when the first one is dead.
fn new_token(organisation: &Organisation) {
    fs::remove_dir_all(organisation.tokens()).unwrap();
    drop(TestToken::make_a(organisation.token.kind, organisation.root(), PIN));
}

/// Signs a plan as somebody would, offline.
fn sign(person: &Person, plan: &Path, folder: &Path) -> String {
    let copy = folder.join(format!("plan-{}", person.slug));
    fs::copy(plan, &copy).unwrap();
    let (key, copy) = (person.key.display().to_string(), copy.display().to_string());
    tools::run("ssh-keygen", &["-q", "-Y", "sign", "-n", "strongroom-ceremony@v1", "-f", &key, &copy]);
    format!("{}={copy}.sig", person.slug)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_bring_a_backup_onto_a_new_token_and_every_code_is_right() {
    let mut office = Office::open().await;
    let mut admin = office.organisation.admin.connect().await;
    let second = office.organisation.enrol(&mut admin, "second", &[OrgRole::Admin]).await;
    drop(second.connect().await);
    drop(admin);
    office.codes_are_right(0).await;
    let archive = office.back_up(&[]).display().to_string();
    office.wipe(false);
    new_token(&office.organisation);

    let folder = office.organisation.root().to_owned();
    let plan = folder.join("plan");
    let run = |arguments: &[&str]| {
        let plan = ["recover", &archive, "--recovery-key", "-", "--plan", plan.to_str().unwrap()];
        office.pair.run(&mut office.organisation.launch.command(&[&plan[..], arguments].concat()))
    };
    let old_key = office.organisation.agent_key();
    // Nobody is believed unpinned, nor under another pin.
    let other_key = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for (pin, why) in [(&[][..], "known_agents"), (&["--agent-key", other_key][..], "not by the pinned")] {
        let refused = run(pin);
        let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && errors.contains(why), "{errors}");
        assert!(!plan.exists());
    }
    let run = |arguments: &[&str]| run(&[&["--agent-key", &old_key], arguments].concat());
    let planned = run(&[]);
    assert!(planned.status.success(), "{}", String::from_utf8_lossy(&planned.stderr));
    let text = fs::read_to_string(&plan).unwrap();
    for line in [
        "strongroom-recovery-plan-v1",
        "planned-at ",
        "source archive ",
        "state-of ",
        "state-age-h 0",
        "signed-by SHA256:",
        "old-token ",
        "accounts 8",
        "recovery-copies 8",
    ] {
        assert!(text.lines().any(|found| found.starts_with(line)), "{line}: {text}");
    }
    let admin = sign(&office.organisation.admin, &plan, &folder);
    let second = sign(&second, &plan, &folder);
    let viewer = sign(&office.viewer, &plan, &folder);
    let leaver = sign(&office.leaver, &plan, &folder);
    fs::write(folder.join("other-plan"), text.replace("accounts 8", "accounts 9")).unwrap();
    let other = sign(&office.organisation.admin, &folder.join("other-plan"), &office.backups());
    let refused = [
        (vec![&admin], "2 approvals are needed"),
        (vec![&admin, &admin], "approved twice"),
        (vec![&admin, &viewer], "no active admin or manager"),
        (vec![&admin, &leaver], "no active admin or manager"),
        (vec![&other, &second], "not by a key of theirs over this plan"),
    ];
    for (approvals, why) in refused {
        let arguments: Vec<&str> = approvals.iter().flat_map(|approval| ["--approval", approval.as_str()]).collect();
        let output = run(&arguments);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && errors.contains(why), "{why}: {errors}");
        assert!(!office.organisation.store().exists());
    }
    // A plan is good for a week.
    let planned_at = text.lines().find_map(|line| line.strip_prefix("planned-at ")).unwrap();
    let long_ago = planned_at.parse::<jiff::Timestamp>().unwrap() - jiff::SignedDuration::from_hours(8 * 24);
    fs::write(&plan, text.replace(planned_at, &long_ago.to_string())).unwrap();
    let late = sign(&office.organisation.admin, &plan, &office.backups());
    let refused = run(&["--approval", &late, "--approval", &late]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("older than 7 days"), "{refused:?}");
    fs::write(&plan, &text).unwrap();
    let output = run(&["--approval", &admin, "--approval", &second]);
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{report}{}", String::from_utf8_lossy(&output.stderr));
    assert!(report.contains("8 accounts are served by the new token"), "{report}");

    // Clients refuse the new key until they pin it.
    office.organisation.start();
    assert!(office.viewer.try_connect().await.is_err(), "a client believed a new agent key unasked");
    let pin = report.lines().last().unwrap();
    fs::write(folder.join(strongroom_tests::people::KNOWN_AGENTS), format!("{pin}\n")).unwrap();
    assert_ne!(office.organisation.agent_key(), old_key);
    office.codes_are_right(1).await;
    office.leaver_stays_out().await;
    let org = read_log(&mut office.auditor.connect().await, None).await;
    let begun = org.iter().find(|entry| entry.is("store.recover", RecordOutcome::Ok)).unwrap();
    assert_eq!(begun.record.detail["approvals"], 2);
    assert_eq!(begun.record.detail["old_agent_key"], old_key);
    assert_eq!(begun.record.detail["new_agent_key"], office.organisation.agent_key());
    assert!(org.iter().any(|entry| entry.is("store.recovered", RecordOutcome::Ok)));
    for (vault, _) in VAULTS {
        let exported = folder.join(format!("exported-{vault}")).display().to_string();
        office.auditor.succeed(&["audit", "export", vault, "--out", &exported]);
        office.verify(&exported);
    }
    // The new token's backup is as good as the old one's.
    office.back_up(&[]);
    drill(&office, &["--all"], true);
}

/// True once a recovery in place has come to its end: the old store stands beside, once, and no work is left over.
fn is_in_place(data_dir: &Path) -> bool {
    let names: Vec<String> = fs::read_dir(data_dir)
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let beside = names.iter().filter(|name| name.contains("before-recovery")).count();
    assert!(beside <= 1, "{names:?}");
    beside == 1 && !names.iter().any(|name| name == "store.recovering")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_in_its_place_is_recovered_by_a_sole_admin_after_being_killed_and_lost_accounts_are_named() {
    let mut office = Office::open().await;
    office.organisation.running().stop();
    office.organisation.agent = None;
    new_token(&office.organisation);
    let folder = office.organisation.root().to_owned();
    let plan = folder.join("plan").display().to_string();
    let key = office.organisation.agent_key();
    let recover = ["recover", "--store", "--recovery-key", "-", "--agent-key", &key, "--plan", &plan];
    let run = |arguments: &[&str]| {
        office.pair.run(&mut office.organisation.launch.command(&[&recover[..], arguments].concat()))
    };
    let planned = run(&[]);
    assert!(planned.status.success(), "{}", String::from_utf8_lossy(&planned.stderr));
    let approval = sign(&office.organisation.admin, Path::new(&plan), &folder);
    // Killed at some moment, again and again, until one run gets through.
    let mut killed = 0;
    for round in 0..40_u64 {
        let mut child = office
            .organisation
            .launch
            .command(&[&recover[..], &["--approval", &approval]].concat())
            .stdin(fs::File::open(office.pair.key_file()).unwrap())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20 + round * 15));
        // A run that began while the worker of the killed one before was still at the token may fail; the next does not.
        let _ended = child.kill();
        let ended = child.wait().unwrap();
        // Its last step is a rename: a run that was killed behind it is over as well.
        if ended.success() || is_in_place(&office.organisation.data_dir) {
            break;
        }
        killed += 1;
    }
    println!("killed {killed} times");
    if !is_in_place(&office.organisation.data_dir) {
        let output = run(&["--approval", &approval]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(is_in_place(&office.organisation.data_dir));
    let again = run(&["--approval", &approval]);
    let errors = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(errors.contains("nothing to recover"), "{errors}");
    let again = office.back_up(&[]);
    let unpacked = tempfile::tempdir().unwrap();
    office.pair.unpack(&again, unpacked.path());
    let pin = fs::read_to_string(unpacked.path().join("known_agents")).unwrap();
    fs::write(folder.join(strongroom_tests::people::KNOWN_AGENTS), pin).unwrap();
    office.organisation.start();
    office.codes_are_right(0).await;
    let org = read_log(&mut office.auditor.connect().await, None).await;
    let begun: Vec<_> = org.iter().filter(|entry| entry.is("store.recover", RecordOutcome::Ok)).collect();
    assert_eq!((begun.len(), &begun[0].record.detail["sole_admin"]), (1, &serde_json::json!(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_the_store_keys_that_the_agent_did_not_sign_is_refused_found_by_a_drill_and_replaced_at_the_start() {
    let mut office = Office::open().await;
    let key = office.organisation.agent_key();
    let path = office.organisation.store();
    let store = || rusqlite::Connection::open(&path).unwrap();
    let copy_of =
        || -> Vec<u8> { store().query_row("SELECT copy FROM store_keys_copy", [], |row| row.get(0)).unwrap() };
    let good = copy_of();
    // What anybody can make who can write to the store: keys of their own, sealed to the public recipient.
    let forged = {
        let text = age_opens(&office.pair, &good);
        let begins = text.find("\"keys\":\"").unwrap() + 8;
        let text = format!("{}{}{}", &text[..begins], "A".repeat(86), &text[begins + 86..]);
        let (plain, sealed) = (office.backups().join("plain"), office.backups().join("sealed"));
        fs::write(&plain, text).unwrap();
        let (from, to) = (plain.display().to_string(), sealed.display().to_string());
        tools::run("age", &["-r", &office.pair.recipient, "-o", &to, &from]);
        fs::read(sealed).unwrap()
    };
    for (change, flaw) in [(Some(&forged), "is not signed"), (None, "is missing")] {
        match change {
            Some(copy) => store().execute("UPDATE store_keys_copy SET copy = ?1", [copy]),
            None => store().execute("DELETE FROM store_keys_copy", []),
        }
        .unwrap();
        office.back_up(&[]);
        let (text, evidence) = drill(&office, &["--sample", "1"], false);
        assert!(text.contains(flaw), "{text}");
        let json: serde_json::Value = serde_json::from_slice(&fs::read(&evidence).unwrap()).unwrap();
        assert!(json["failures"][0].as_str().unwrap().contains(flaw), "{json}");
        std::thread::sleep(std::time::Duration::from_millis(1_100));
    }
    // The next start makes one, and signs it: before it is ready, but after it listens.
    office.organisation.running().stop();
    office.organisation.start();
    drill(&office, &["--sample", "1"], false);
    wait_for("a new copy", || {
        store().query_row("SELECT count(*) FROM store_keys_copy", [], |row| row.get::<_, i64>(0)).unwrap() == 1
    });
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    office.back_up(&[]);
    drill(&office, &["--sample", "1"], true);
    // With the old token gone an unsigned copy is believed by nobody, whatever it holds.
    office.organisation.running().stop();
    office.organisation.agent = None;
    store().execute("DELETE FROM meta WHERE key = 'store-keys-signature'", []).unwrap();
    new_token(&office.organisation);
    let plan = office.organisation.root().join("plan").display().to_string();
    let arguments = ["recover", "--store", "--recovery-key", "-", "--agent-key", &key, "--plan", &plan];
    let refused = office.pair.run(&mut office.organisation.launch.command(&arguments));
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && errors.contains("Start the agent once with the old token"), "{errors}");
}

#[test]
fn a_backup_that_was_copied_nowhere_takes_the_place_of_nothing() {
    let pair = RecoveryPair::new();
    let setup = Setup { recovery_recipients: vec![pair.recipient.clone()], ..Setup::default() };
    let mut organisation = Organisation::found_with(&setup);
    organisation.running().stop();
    let folder = organisation.root().join("backups");
    fs::create_dir(&folder).unwrap();
    let old = folder.join("strongroom-backup-20200101T000000Z.tar.age");
    fs::write(&old, "an old one").unwrap();
    let failed = organisation.root().join("failed");
    let mut config = fs::read_to_string(&organisation.launch.config).unwrap();
    config.push_str(&format!(
        "\n[backup]\nfolder = \"{}\"\nkeep = 1\ncommand = 'touch {}; exit 7'\n",
        folder.display(),
        failed.display()
    ));
    fs::write(&organisation.launch.config, config).unwrap();
    organisation.start();
    wait_for("the command", || failed.exists());
    organisation.running().stop();
    assert!(old.exists());
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
}

fn drill(office: &Office, more: &[&str], passes: bool) -> (String, PathBuf) {
    let folder = office.backups().display().to_string();
    let arguments = [&["drill", "--folder", &folder, "--recovery-key", "-"], more].concat();
    let output = office.pair.run(&mut office.organisation.launch.command(&arguments));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.success(), passes, "{text}{}", String::from_utf8_lossy(&output.stderr));
    let path = text.lines().find_map(|line| line.strip_prefix("evidence ")).unwrap_or_default().to_owned();
    (text, path.into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drill_compares_every_account_beside_the_running_agent_and_its_evidence_verifies_offline() {
    let office = Office::open().await;
    if !office.organisation.token.breaks(IN_BACKUPS) {
        return;
    }
    office.back_up(&[]);
    let (text, evidence) = drill(&office, &["--all"], true);
    assert!(
        text.contains("PASSED: 8 of 8 accounts compared; 8 right by the restored token, 8 of 8 by recovery copy"),
        "{text}"
    );
    let signature = evidence.with_extension("json.sig");
    let key = office.organisation.agent_key();
    assert!(ssh_keygen_verifies(&key, "strongroom-drill@v1", &evidence, &signature));
    let json: serde_json::Value = serde_json::from_slice(&fs::read(&evidence).unwrap()).unwrap();
    assert_eq!((json["passed"].as_bool(), json["logs"].as_array().unwrap().len()), (Some(true), 3));
    let altered = evidence.with_extension("altered");
    fs::write(&altered, fs::read_to_string(&evidence).unwrap().replace("\"compared\": 8", "\"compared\": 9")).unwrap();
    assert!(!ssh_keygen_verifies(&key, "strongroom-drill@v1", &altered, &signature));
    let left: Vec<_> = fs::read_dir(&office.organisation.data_dir).unwrap().flatten().collect();
    assert!(left.iter().all(|entry| !entry.file_name().to_string_lossy().ends_with(".work")), "{left:?}");
    // The agent went on meanwhile.
    office.codes_are_right(0).await;
    // A sample is a sample.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let (text, _) = drill(&office, &["--sample", "3"], true);
    assert!(text.contains("3 of 8 accounts compared"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_emergency_admin_needs_the_recovery_key_and_a_stopped_agent_and_is_loud() {
    let mut office = Office::open().await;
    let newcomer = Person::new("rescuer", office.organisation.root(), &office.organisation.launch.socket);
    let key = newcomer.key.with_extension("pub").display().to_string();
    let arguments = ["emergency-admin", "--admin", "rescuer", "--admin-key", &key, "--recovery-key", "-"];
    let run = |pair: &RecoveryPair| pair.run(&mut office.organisation.launch.command(&arguments));
    let busy = run(&office.pair);
    assert!(String::from_utf8_lossy(&busy.stderr).contains("another agent"), "{busy:?}");
    let _ = run;
    office.organisation.running().stop();
    let run = |pair: &RecoveryPair| pair.run(&mut office.organisation.launch.command(&arguments));
    let stranger = run(&RecoveryPair::new());
    assert!(String::from_utf8_lossy(&stranger.stderr).contains("not among"), "{stranger:?}");
    let output = run(&office.pair);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!run(&office.pair).status.success(), "a key was enrolled twice");
    let _ = run;
    office.organisation.start();
    let mut rescuer = newcomer.connect().await;
    office.organisation.enrol(&mut rescuer, "helped", &[]).await;
    let org = read_log(&mut office.auditor.connect().await, None).await;
    let made = org.iter().find(|entry| entry.is("emergency.admin", RecordOutcome::Ok)).unwrap();
    assert_eq!(made.record.detail["recovery_recipient"], office.pair.recipient);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_makes_backups_by_itself_keeps_the_newest_and_records_them_and_drills() {
    let mut office = Office::open().await;
    office.organisation.running().stop();
    let folder = office.backups();
    let name = |hour: u32| folder.join(format!("strongroom-backup-20200101T{hour:02}0000Z.tar.age"));
    for hour in 0..3 {
        fs::write(name(hour), "an old one").unwrap();
    }
    // Made by a clock that was wrong, or by somebody: never the newest, neither for thinning nor for a drill.
    let future = folder.join("strongroom-backup-20990101T000000Z.tar.age");
    fs::write(&future, "no backup").unwrap();
    let other = folder.join("strongroom-backup-20200101T000000Z.tar.age.keep");
    fs::write(&other, "not ours").unwrap();
    let copies = office.organisation.root().join("copies");
    fs::create_dir(&copies).unwrap();
    let mut config = fs::read_to_string(&office.organisation.launch.config).unwrap();
    config.push_str(&format!(
        "\n[backup]\nfolder = \"{}\"\nkeep = 2\ncommand = 'cp \"$1\" {}'\n",
        folder.display(),
        copies.display()
    ));
    fs::write(&office.organisation.launch.config, config).unwrap();
    office.organisation.start();
    wait_for("a copy by the command", || fs::read_dir(&copies).unwrap().count() == 1);
    wait_for("thinning", || !name(0).exists() && !name(1).exists());
    assert!(name(2).exists() && other.exists() && future.exists());
    let overdue = office.viewer.connect().await.call(&Status {}).await.unwrap().overdue;
    assert!(overdue.iter().any(|sentence| sentence.contains("no drill")), "{overdue:?}");
    let (text, evidence) = drill(&office, &["--all"], true);
    assert!(text.contains("PASSED: 8 of 8"), "{text}");
    assert!(evidence.starts_with(&folder));
    // Picked up at the next start at the latest.
    office.organisation.running().stop();
    office.organisation.start();
    let recorded = office.organisation.data_dir.join("drills.recorded");
    wait_for("the drill's record", || recorded.exists());
    let org = read_log(&mut office.auditor.connect().await, None).await;
    let count = |event: &str| org.iter().filter(|entry| entry.is(event, RecordOutcome::Ok)).count();
    assert_eq!((count("backup.made"), count("drill.passed")), (1, 1));
    let overdue = office.viewer.connect().await.call(&Status {}).await.unwrap().overdue;
    assert!(overdue.is_empty(), "{overdue:?}");
}

fn wait_for(what: &str, mut there: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !there() {
        assert!(begun.elapsed().as_secs() < 30, "{what} did not come");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
