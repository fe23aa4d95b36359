//! Old records go, by default after thirteen months: what they had said, their hashes and everything that was ever exported still
//! prove the log. And whoever can write to the store makes nothing pass for pruned that was not.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::Value;
use strongroom_proto::client::CallError;
use strongroom_proto::error::ErrorKind;
use strongroom_proto::ids::VaultId;
use strongroom_proto::method::audit::{Read, Search};
use strongroom_tests::agent::repository;
use strongroom_tests::clock::shifted;
use strongroom_tests::organisation::{Organisation, Setup, slug};
use strongroom_tests::people::Person;
use strongroom_tests::recovery::RecoveryPair;
use strongroom_tests::seeds::{RFC_SHA1, base32};
use strongroom_tests::tools;

/// When everything begins, more than fourteen months ago, and when it goes on: long enough ago that a day was worked with that time.
/// What the agent looks at then is the clock on the wall.
const THEN: &str = "-432d";
const LATELY: &str = "-2d";
/// How long the agent may take to look: its first look comes 20 s after its start.
const PATIENCE: Duration = Duration::from_secs(90);
/// So long that it has looked.
const LOOKED: Duration = Duration::from_secs(26);

const ORG: [u8; 16] = [0; 16];

/// The vault whose log a folder holds.
fn origin_of(folder: &Path) -> VaultId {
    let checkpoint = std::fs::read_to_string(folder.join("checkpoint")).unwrap();
    checkpoint.lines().next().unwrap().rsplit_once('/').unwrap().1.parse().unwrap()
}

/// A bound in the store: the first record that was not pruned.
fn bound(store: &Path, log: [u8; 16]) -> Option<u64> {
    let store = Connection::open(store).unwrap();
    store.busy_timeout(Duration::from_secs(5)).unwrap();
    let body: Option<String> = store
        .query_row("SELECT body FROM entity WHERE kind = 'retention' AND id = ?1", params![log], |row| row.get(0))
        .optional()
        .unwrap();
    body.and_then(|body| serde_json::from_str::<Value>(&body).unwrap()["until"].as_u64())
}

/// How many records of a log have no body, and whether exactly the first ones have none.
fn gone(store: &Path, log: [u8; 16]) -> (u64, bool) {
    let store = Connection::open(store).unwrap();
    store.busy_timeout(Duration::from_secs(5)).unwrap();
    let sql = "SELECT count(*), coalesce(max(seq) + 1, 0), coalesce(sum(openings IS NOT NULL), 0) FROM audit
               WHERE log = ?1 AND record IS NULL";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
    let (count, end, openings) = store.query_row(sql, params![log], read).unwrap();
    (u64::try_from(count).unwrap(), count == end && openings == 0)
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "{what} takes too long");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Starts the agent by another clock, or by the one on the wall.
fn at(organisation: &mut Organisation, offset: Option<&str>) {
    organisation.launch.environment = offset.map(shifted).unwrap_or_default();
    organisation.start();
}

/// Runs `strongroom` by another clock, with something on its standard input.
fn run_at(offset: &str, who: &Person, arguments: &[&str], input: &str) {
    let mut command = who.strongroom(arguments);
    command.envs(shifted(offset)).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An organisation in which fourteen months have passed, its agent stopped.
struct Scene {
    organisation: Organisation,
    tech: Person,
    auditor: Person,
    acme: [u8; 16],
    /// Exports of both logs from before.
    before: [PathBuf; 2],
}

impl Scene {
    fn set() -> Self {
        Self::set_with(Setup::default())
    }

    fn set_with(setup: Setup) -> Self {
        let mut organisation = Organisation::found_with(&Setup { environment: shifted(THEN), ..setup });
        let (root, socket) = (organisation.root().to_owned(), organisation.launch.socket.clone());
        let admin = organisation.admin.clone();
        let then = |who: &Person, arguments: &[&str]| run_at(THEN, who, arguments, "");
        let [manager, tech, auditor] = ["manager", "tech", "auditor"].map(|name| {
            let person = Person::new(name, &root, &socket);
            let key = person.key.with_extension("pub").display().to_string();
            let role: &[&str] = if name == "auditor" { &["--role", "auditor"] } else { &[] };
            let called = format!("Test {name}");
            then(&admin, &[&["identity", "enrol", name, "--name", &called, "--key", &key], role].concat());
            person
        });
        for vault in ["acme", "bluewater"] {
            then(&admin, &["vault", "create", vault, "--name", &format!("{vault} Ltd")]);
            then(&admin, &["grant", "give", vault, "manager", "manager"]);
            then(&admin, &["grant", "give", vault, "tech", "viewer"]);
            let secret = base32(RFC_SHA1);
            let uris = format!(
                "otpauth://totp/slow?secret={secret}&period=3600\notpauth://hotp/counter?secret={secret}&counter=0\n"
            );
            run_at(THEN, &manager, &["account", "import", vault, "--from", "-"], &uris);
        }
        then(&tech, &["code", "acme/slow", "--ticket", "OLD-1", "--reason", "printer"]);
        then(&tech, &["code", "acme/counter"]);
        let export = |who: &Person, log: &str, name: &str| {
            let folder = root.join(name);
            then(who, &["audit", "export", log, "--out", &folder.display().to_string()]);
            folder
        };
        let before = [export(&manager, "acme", "before"), export(&admin, "--org", "before-org")];
        let acme = *origin_of(&before[0]).as_bytes();
        organisation.running().stop();
        at(&mut organisation, Some(LATELY));
        run_at(LATELY, &tech, &["code", "acme/slow", "--ticket", "NEW-1"], "");
        run_at(LATELY, &tech, &["code", "bluewater/slow"], "");
        organisation.running().stop();
        Self { organisation, tech, auditor, acme, before }
    }

    fn store(&self) -> PathBuf {
        self.organisation.store()
    }

    fn bounds(&self) -> [Option<u64>; 2] {
        [ORG, self.acme].map(|log| bound(&self.store(), log))
    }

    /// Starts the agent when it is due, and waits until all bodies are gone.
    async fn pruned(&mut self) -> [u64; 2] {
        at(&mut self.organisation, None);
        self.all_gone().await
    }

    async fn all_gone(&mut self) -> [u64; 2] {
        let (store, acme) = (self.store(), self.acme);
        until("pruning", || {
            [ORG, acme].iter().all(|log| bound(&store, *log).is_some_and(|bound| gone(&store, *log) == (bound, true)))
        })
        .await;
        self.bounds().map(Option::unwrap)
    }

    fn check_state(&self) -> String {
        let output = tools::output(&mut self.organisation.launch.command(&["audit", "check-state"]));
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{text}");
        text
    }

    fn doctor(&self) -> (bool, String) {
        let output = tools::output(&mut self.organisation.launch.command(&["doctor"]));
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    }
}

fn verify(folder: &Path, arguments: &[&str]) -> Value {
    let mut command = Command::new(tools::program("strongroom"));
    command.args(["audit", "verify", "--json"]).arg(folder).args(arguments).env_clear().env("HOME", "/nonexistent");
    let output = tools::output(&mut command);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn verify_py(folder: &Path, against: &Path) -> String {
    let mut command = Command::new("python3");
    command.arg(repository("proto/verify.py")).arg(folder).arg("--against").arg(against);
    let output = tools::output(&mut command);
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{text}");
    text
}

fn kind(error: CallError) -> ErrorKind {
    match error {
        CallError::Failure(failure) => failure.kind,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn old_records_go_and_everything_still_proves_the_log() {
    let mut scene = Scene::set();
    let root = scene.organisation.root().to_owned();
    let [org_from, acme_from] = scene.pruned().await;
    let lines = |folder: &Path| -> Vec<String> {
        std::fs::read_to_string(folder.join("log.ndjson")).unwrap().lines().map(str::to_owned).collect()
    };
    let old: Vec<Vec<String>> = scene.before.iter().map(|folder| lines(folder)).collect();
    assert_eq!([acme_from, org_from].map(|from| from as usize >= old[0].len().min(old[1].len())), [true, true]);
    scene.check_state();

    // Reading: what is gone is said to be, and never passed over.
    let mut auditor = scene.auditor.connect().await;
    let read = |from, before| Read { vault: Some(slug("acme")), from, before, limit: Some(500) };
    assert_eq!(kind(auditor.call(&read(Some(0), None)).await.unwrap_err()), ErrorKind::Pruned);
    assert_eq!(kind(auditor.call(&read(Some(acme_from - 1), None)).await.unwrap_err()), ErrorKind::Pruned);
    let page = auditor.call(&read(Some(acme_from), None)).await.unwrap();
    assert_eq!(page.items[0].seq, acme_from);
    assert_eq!(page.pruned.as_ref().map(|pruned| pruned.until), Some(acme_from));
    let back = auditor.call(&read(None, None)).await.unwrap();
    assert_eq!((back.items.last().unwrap().seq, back.next, back.pruned), (acme_from, None, page.pruned));
    let none = auditor.call(&read(None, Some(3))).await.unwrap();
    assert_eq!((none.items.len(), none.next), (0, None));
    for (ticket, count) in [("OLD-1", 0), ("NEW-1", 1)] {
        let search = Search { vault: Some(slug("acme")), ticket: Some(ticket.to_owned()), ..Search::default() };
        assert_eq!(auditor.call(&search).await.unwrap().items.len(), count, "{ticket}");
    }
    let shown = scene.auditor.succeed(&["audit", "show", "acme", "--limit", "1000"]);
    assert!(shown.contains(&format!("Records 0 to {} were pruned on ", acme_from - 1)), "{shown}");
    assert!(!scene.auditor.succeed(&["audit", "show", "acme", "--limit", "1"]).contains("were pruned"));
    let proof = |number: u64, name: &str| {
        let out = root.join(name).display().to_string();
        scene.auditor.call(&["audit", "prove", "acme", "--record", &number.to_string(), "--out", &out])
    };
    let refused = proof(2, "proof-old");
    assert_eq!(refused.status.code(), Some(3), "{}", String::from_utf8_lossy(&refused.stderr));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("were pruned on"));
    assert!(proof(acme_from + 1, "proof-new").status.success());

    // Exports: of what is left, with hashes of the rest; against what was kept from before.
    let out = [root.join("after"), root.join("after-org")];
    let said = scene.auditor.succeed(&["audit", "export", "acme", "--out", &out[0].display().to_string()]);
    assert!(said.contains("were pruned on"), "{said}");
    scene.auditor.succeed(&["audit", "export", "--org", "--out", &out[1].display().to_string()]);
    for ((folder, before), (old, from)) in out.iter().zip(&scene.before).zip(old.iter().zip([acme_from, org_from])) {
        let kept = before.join("checkpoint");
        let told = verify(folder, &["--against", kept.to_str().unwrap(), "--signatures"]);
        assert_eq!(told["pruned"]["until"].as_u64(), Some(from), "{told}");
        let text = verify_py(folder, &kept);
        assert!(text.contains(&format!("records 0 to {} were pruned at", from - 1)), "{text}");
        // The old export is whole, and its records are those of the hashes.
        let told = verify(before, &[]);
        assert!(told.get("pruned").is_none(), "{told}");
        for (line, record) in lines(folder).iter().zip(old) {
            let leaf = strongroom_proto::audit::merkle::leaf_hash(record.as_bytes());
            use base64::Engine as _;
            let leaf = base64::engine::general_purpose::STANDARD.encode(leaf);
            assert_eq!(*line, format!("{{\"leaf\":\"{leaf}\"}}"));
        }
        let state = std::fs::read_to_string(folder.join("state.json")).unwrap();
        assert!(!state.contains("Ada Admin") && !state.contains("printer"), "{state}");
    }
    // What is told from the logs, from there on.
    let made = old[0].iter().find(|line| line.contains("\"event\":\"code.release\"")).unwrap();
    let account = serde_json::from_str::<Value>(made).unwrap()["target"]["account"].as_str().unwrap().to_owned();
    let who = |when: &str| {
        let (vault, org) = (out[0].display().to_string(), out[1].display().to_string());
        let arguments = ["audit", "who-could", &vault, "--org", &org, "--account", &account, "--at", when, "--json"];
        scene.auditor.call(&arguments)
    };
    let newest = back.items[0].record.rsplit_once("\"ts\":\"").unwrap().1.split('"').next().unwrap().to_owned();
    let told = who(&newest);
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(told["could"].as_array().unwrap().len(), 1, "the technician: {told}");
    let old_time = old[0][5].rsplit_once("\"ts\":\"").unwrap().1.split('"').next().unwrap();
    let refused = who(old_time);
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("were pruned"));
    let report = scene.auditor.succeed(&["report", "access"]);
    assert!(report.contains("were pruned on"), "{report}");
    let pack = root.join("pack").display().to_string();
    scene.auditor.succeed(&["report", "pack", "acme", &pack]);
    verify(Path::new(&pack), &["--against", scene.before[0].join("checkpoint").to_str().unwrap()]);

    // A restart finds all of it right, and codes go on with their counters.
    drop(auditor);
    scene.organisation.restart();
    scene.tech.succeed(&["code", "acme/counter"]);
    scene.check_state();
    scene.organisation.running().stop();
    let (content, said) = scene.doctor();
    assert!(content && said.contains("records stay for 13 months; 3 of 3 logs are pruned"), "{said}");
    // Nothing of them is left in the file, neither in the log nor in its index.
    let store = Connection::open(scene.store()).unwrap();
    let bounds = [org_from, acme_from, bound(&scene.store(), bluewater(&store, scene.acme)).unwrap()];
    let below = i64::try_from(*bounds.iter().min().unwrap()).unwrap();
    let terms: i64 =
        store.query_row("SELECT count(*) FROM audit_term WHERE seq < ?1", params![below], |row| row.get(0)).unwrap();
    assert_eq!(terms, 0);
    drop(store);
    let bytes = std::fs::read(scene.store()).unwrap();
    for record in &old[0] {
        let found = bytes.windows(record.len()).any(|window| window == record.as_bytes());
        assert!(!found, "still in the file: {record}");
    }
}

/// The other vault's log.
fn bluewater(store: &Connection, acme: [u8; 16]) -> [u8; 16] {
    store.query_row("SELECT log FROM log_head WHERE log NOT IN (?1, ?2)", params![ORG, acme], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn whoever_writes_to_the_store_makes_nothing_pass_for_pruned() {
    let mut scene = Scene::set();
    let whole = scene.organisation.root().join("whole.sqlite");
    tools::run("sqlite3", &[scene.store().to_str().unwrap(), &format!("VACUUM INTO '{}'", whole.display())]);
    at(&mut scene.organisation, None);
    let [org_from, from] = scene.all_gone().await;
    scene.organisation.running().stop();
    let good = scene.organisation.root().join("good.sqlite");
    tools::run("sqlite3", &[scene.store().to_str().unwrap(), &format!("VACUUM INTO '{}'", good.display())]);
    assert!(scene.doctor().0);

    type Attack = Box<dyn Fn(&Connection)>;
    let acme = scene.acme;
    let change = move |sql: &'static str, log: [u8; 16], place: u64| -> Attack {
        Box::new(move |store| {
            let place = i64::try_from(place).unwrap();
            assert!(store.execute(sql, params![log, place]).unwrap() > 0, "{sql} changed nothing");
        })
    };
    let take = "UPDATE audit SET record = NULL, openings = NULL WHERE log = ?1 AND seq = ?2";
    let until = |text: &str| {
        format!(
            "UPDATE entity SET body = replace(body, '\"until\":{from}', '{text}') WHERE kind = 'retention' AND id = ?1"
        )
    };
    let moved = until(&format!("\"until\":{}", from + 1));
    let whole_path = whole.display().to_string();
    let attacks: Vec<(&str, Attack)> = vec![
        ("a body at the bound is taken", change(take, acme, from)),
        ("a body behind the bound is taken", change(take, acme, from + 1)),
        ("a body of the organisation's log is taken", change(take, ORG, org_from)),
        ("a pruned record's row is taken", change("DELETE FROM audit WHERE log = ?1 AND seq = ?2", acme, 1)),
        (
            "a pruned record's hash is changed",
            change("UPDATE audit SET leaf = zeroblob(32) WHERE log = ?1 AND seq = ?2", acme, 1),
        ),
        ("a pruned record is made up", change("UPDATE audit SET record = '{}' WHERE log = ?1 AND seq = ?2", acme, 1)),
        ("the bound is moved, and the body behind it taken", {
            let moved = moved.clone();
            Box::new(move |store| {
                assert_eq!(store.execute(&moved, params![acme]).unwrap(), 1);
                store.execute(take, params![acme, i64::try_from(from).unwrap()]).unwrap();
            })
        }),
        (
            "the bound is taken away",
            Box::new(move |store| {
                let sql = "DELETE FROM entity WHERE kind = 'retention' AND id = ?1";
                assert_eq!(store.execute(sql, params![acme]).unwrap(), 1);
            }),
        ),
        (
            "the state snapshot is changed",
            change(
                "UPDATE state_snapshot SET text = replace(text, '\"frozen\":false', '\"frozen\":true') WHERE log = ?1 AND size = ?2",
                acme,
                from,
            ),
        ),
        (
            "the state snapshot is that of another log",
            change(
                "UPDATE state_snapshot SET text = (SELECT text FROM state_snapshot WHERE log = zeroblob(16)) WHERE log = ?1 AND size = ?2",
                acme,
                from,
            ),
        ),
        ("the state snapshot is taken", change("DELETE FROM state_snapshot WHERE log = ?1 AND size = ?2", acme, from)),
        (
            "rows and head from before the pruning are put back",
            Box::new(move |store| {
                store.execute("ATTACH DATABASE ?1 AS older", params![whole_path]).unwrap();
                store.execute("DELETE FROM entity WHERE kind = 'retention' AND id = ?1", params![acme]).unwrap();
                store
                    .execute(
                        "INSERT OR REPLACE INTO log_head SELECT * FROM older.log_head WHERE log = ?1",
                        params![acme],
                    )
                    .unwrap();
                let behind =
                    "DELETE FROM audit WHERE log = ?1 AND seq >= (SELECT count(*) FROM older.audit WHERE log = ?1)";
                store.execute(behind, params![acme]).unwrap();
            }),
        ),
    ];
    for (name, attack) in attacks {
        for extension in ["sqlite-wal", "sqlite-shm"] {
            let _ = std::fs::remove_file(scene.store().with_extension(extension));
        }
        std::fs::copy(&good, scene.store()).unwrap();
        let store = Connection::open(scene.store()).unwrap();
        attack(&store);
        store.close().unwrap();
        let (content, said) = scene.doctor();
        assert!(!content, "{name}: {said}");
        let named =
            said.lines().any(|line| line.starts_with("FAILED") && line.contains("/org") | line.contains("strongroom/"));
        assert!(named, "{name}: {said}");
    }
    // A backup is refused too, and an agent starts sealed; the last one is on disk.
    scene.organisation.start();
    let refused = scene.tech.call(&["code", "acme/slow"]);
    assert!(!refused.status.success());
    assert!(scene.organisation.running().log().contains("SEALED"));
}

#[tokio::test]
async fn a_killed_pruning_is_gone_on_with() {
    let mut scene = Scene::set();
    let whole = scene.organisation.root().join("whole.sqlite");
    tools::run("sqlite3", &[scene.store().to_str().unwrap(), &format!("VACUUM INTO '{}'", whole.display())]);
    at(&mut scene.organisation, None);
    // Killed as soon as the first bound is in the store, wherever that finds it.
    let store = scene.store();
    let begun = Instant::now();
    while bound(&store, ORG).is_none() {
        assert!(begun.elapsed() < PATIENCE, "pruning takes too long");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    scene.organisation.running().kill();
    scene.check_state();
    scene.organisation.start();
    let bounds = scene.all_gone().await;
    scene.organisation.running().stop();

    // Killed half way through a log: the bodies of its last pruned records are still there.
    let connection = Connection::open(&store).unwrap();
    connection.execute("ATTACH DATABASE ?1 AS older", params![whole.to_str().unwrap()]).unwrap();
    let half = i64::try_from(bounds[1] / 2).unwrap();
    let put_back = "UPDATE audit SET (record, openings) =
                        (SELECT record, openings FROM older.audit AS old WHERE old.log = audit.log AND old.seq = audit.seq)
                    WHERE log = ?1 AND seq >= ?2 AND seq < ?3";
    let until = i64::try_from(bounds[1]).unwrap();
    assert!(connection.execute(put_back, params![scene.acme, half, until]).unwrap() > 3);
    drop(connection);
    assert_eq!(gone(&store, scene.acme).0, bounds[1] / 2);
    scene.check_state();
    scene.organisation.start();
    // Nobody is shown what is on its way out.
    let mut auditor = scene.auditor.connect().await;
    let read = Read { vault: Some(slug("acme")), from: Some(bounds[1] - 1), before: None, limit: None };
    assert_eq!(kind(auditor.call(&read).await.unwrap_err()), ErrorKind::Pruned);
    assert_eq!(scene.all_gone().await, bounds);
    // And nothing is pruned twice.
    let again = scene.auditor.succeed(&["audit", "show", "acme", "--event", "log.prune", "--json"]);
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(again["items"].as_array().unwrap().len(), 1, "{again}");
}

#[tokio::test]
async fn what_a_stream_has_not_sent_and_what_nobody_wants_pruned_stays() {
    let mut scene = Scene::set();
    let config = scene.organisation.launch.config.clone();
    let text = std::fs::read_to_string(&config).unwrap();
    let nowhere = scene.organisation.root().join("nowhere");
    let stream = format!("[[stream]]\nname = \"siem\"\nformat = \"json\"\nto = \"unix:{}\"\n", nowhere.display());
    // The last one: old by the agent's clock alone is not old. Nobody has logged in by a time that has leapt ahead.
    let kept = [
        (stream.as_str(), None),
        ("[retention]\nonline_months = 0\n", None),
        ("[retention]\nonline_months = 15\n", None),
    ];
    let leapt = ("[retention]\nonline_months = 15\n", Some("+60d"));
    for (section, clock) in kept.into_iter().chain([leapt]) {
        tools::write_private(&config, &format!("{text}\n{section}"));
        at(&mut scene.organisation, clock);
        tokio::time::sleep(LOOKED).await;
        scene.organisation.running().stop();
        assert_eq!(scene.bounds(), [None, None], "{section} {clock:?}");
    }
    // Once it was sent it goes; what is sent then begins behind it.
    let file = scene.organisation.root().join("siem.ndjson");
    let stream = stream.replace(&format!("unix:{}", nowhere.display()), &format!("file:{}", file.display()));
    tools::write_private(&config, &format!("{text}\n{stream}"));
    at(&mut scene.organisation, None);
    let [org_from, _] = scene.all_gone().await;
    let sent = std::fs::read_to_string(&file).unwrap();
    assert!(sent.contains("\"event\":\"log.open\"") || sent.contains("log.open"), "the first record was sent");
    let later = scene.organisation.root().join("later.ndjson");
    let stream = stream.replace("siem.ndjson", "later.ndjson").replace("\"siem\"", "\"later\"");
    scene.organisation.running().stop();
    tools::write_private(&config, &format!("{text}\n{stream}"));
    at(&mut scene.organisation, None);
    until("a new stream of a pruned log", || {
        std::fs::read_to_string(&later).is_ok_and(|sent| sent.contains("agent.start") && !sent.contains("log.open"))
    })
    .await;
    assert!(org_from > 0);
}

#[tokio::test]
async fn a_backup_of_a_pruned_store_comes_back_as_it_was() {
    let pair = RecoveryPair::new();
    let mut scene = Scene::set_with(Setup { recovery_recipients: vec![pair.recipient.clone()], ..Setup::default() });
    let bounds = scene.pruned().await;
    let folder = scene.organisation.root().join("backups");
    std::fs::create_dir(&folder).unwrap();
    let back_up = ["backup", "--to", folder.to_str().unwrap()];
    let output = tools::output(&mut scene.organisation.launch.command(&back_up));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let archive = String::from_utf8(output.stdout).unwrap().lines().next().unwrap().to_owned();
    scene.organisation.running().stop();
    std::fs::remove_dir_all(&scene.organisation.data_dir).unwrap();
    let restore = ["restore", &archive, "--recovery-key", "-"];
    let output = pair.run(&mut scene.organisation.launch.command(&restore));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    scene.organisation.start();
    scene.tech.succeed(&["code", "acme/counter"]);
    assert_eq!(scene.bounds().map(Option::unwrap), bounds);
    let out = scene.organisation.root().join("restored");
    scene.auditor.succeed(&["audit", "export", "acme", "--out", out.to_str().unwrap()]);
    let told = verify(&out, &["--against", scene.before[0].join("checkpoint").to_str().unwrap()]);
    assert_eq!(told["pruned"]["until"].as_u64(), Some(bounds[1]), "{told}");
    scene.check_state();
}
