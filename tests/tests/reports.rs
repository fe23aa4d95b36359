//! `strongroom report` over a real organisation: what it counts is what was done, and a client's pack is about that client.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use strongroom_proto::audit::merkle::{leaf_hash, root_of};
use strongroom_proto::method::account::List as Accounts;
use strongroom_proto::method::audit::Read;
use strongroom_proto::method::policy::{Set, Show};
use strongroom_proto::method::vault::List as Vaults;
use strongroom_proto::policy::BreakGlass;
use strongroom_proto::words::{OrgRole, VaultRole};
use strongroom_tests::clients::Clients;
use strongroom_tests::organisation::{give, slug};
use strongroom_tests::people::Person;
use strongroom_tests::tools;
use strongroom_tests::trail::read_log;

/// A report as JSON.
fn report(person: &Person, arguments: &[&str]) -> Value {
    let text = person.succeed(&[&["report"], arguments, &["--format", "json"]].concat());
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["schema"], "strongroom.report/1");
    value
}

/// The rows of a section.
fn rows<'a>(report: &'a Value, section: &str) -> &'a Vec<Value> {
    report["sections"][section]["rows"].as_array().unwrap_or_else(|| panic!("{section}: {report}"))
}

/// The row in which a column has this value.
fn row<'a>(report: &'a Value, section: &str, column: &str, value: &str) -> &'a Value {
    let found = rows(report, section).iter().find(|row| row[column] == value);
    found.unwrap_or_else(|| panic!("no {column} {value} in {section}: {report}"))
}

/// Two clients, a manager and a technician of both, and an auditor of the organisation.
async fn house() -> (Clients, Person) {
    let mut clients = Clients::found().await;
    let auditor = clients.organisation.enrol(&mut clients.admin, "auditor", &[OrgRole::Auditor]).await;
    (clients, auditor)
}

#[tokio::test]
async fn releases_and_rights_are_reported_as_they_were() {
    let (clients, auditor) = house().await;
    clients.tech.succeed(&["code", "acme/slow", "--reason", "locked out", "--ticket", "T-1"]);
    clients.tech.succeed(&["code", "acme/counter"]);
    clients.tech.succeed(&["code", "acme/counter"]);
    clients.tech.succeed(&["code", "bluewater/vpn", "--reason", "printer"]);
    assert_eq!(clients.manager.call(&["code", "acme/slow"]).status.code(), Some(4), "managers take no codes");
    assert_eq!(clients.tech.call(&["code", "nowhere/x"]).status.code(), Some(3));

    let releases = report(&auditor, &["releases"]);
    let acme = row(&releases, "clients", "vault", "acme");
    assert_eq!((&acme["released"], &acme["denied"]), (&json!(3), &json!(1)));
    assert_eq!((&acme["with_reason"], &acme["with_ticket"]), (&json!(1), &json!(1)));
    assert_eq!(row(&releases, "clients", "vault", "bluewater")["released"], 1);
    assert_eq!(row(&releases, "people", "who", "tech")["released"], 4);
    assert_eq!(row(&releases, "people", "who", "manager")["denied"], 1);
    assert_eq!(row(&releases, "accounts", "account", "acme/counter")["released"], 2);
    assert_eq!(rows(&releases, "unknown").len(), 1);
    assert_eq!(row(&releases, "unknown", "who", "tech")["asked"], "nowhere/x");

    // One of those sessions, told from its login to its end.
    let log = read_log(&mut auditor.connect().await, Some("acme")).await;
    let taken = log.iter().find(|entry| entry.record.event == "code.release").unwrap();
    let session = taken.record.actor.as_ref().unwrap().session.to_string();
    let told = report(&auditor, &["session", &session]);
    let events: Vec<&Value> = rows(&told, "timeline").iter().map(|row| &row["event"]).collect();
    assert_eq!(events, ["session.login", "code.release", "session.end"], "{told}");
    let code = row(&told, "timeline", "event", "code.release");
    assert_eq!(
        (&code["reason"], &code["ticket"], &code["code"]),
        (&json!("locked out"), &json!("T-1"), &json!("given"))
    );
    let summary = &rows(&told, "session")[0];
    assert_eq!(
        (&summary["who"], &summary["codes"], &summary["ended"]),
        (&json!("tech"), &json!(1), &json!("disconnected"))
    );

    // The sources are the logs, as anybody else finds them.
    let log = read_log(&mut auditor.connect().await, Some("acme")).await;
    let source = releases["sources"].as_array().unwrap().iter().find(|source| source["log"] == "acme").unwrap();
    let size = usize::try_from(source["size"].as_u64().unwrap()).unwrap();
    let leaves = log[..size].iter().map(|entry| <[u8; 32]>::try_from(hex::decode(&entry.leaf).unwrap()).unwrap());
    assert_eq!(source["root"], hex::encode(root_of(leaves)));
    assert_eq!((&source["complete"], releases["notes"].as_array().unwrap().len()), (&json!(true), 0));

    // Only one client; nothing before or after; and what a technician may read of it.
    let one = report(&auditor, &["releases", "--vault", "bluewater"]);
    assert_eq!((rows(&one, "clients").len(), &rows(&one, "clients")[0]["released"]), (1, &json!(1)));
    assert_eq!(one["sources"].as_array().unwrap().len(), 1);
    for name in ["access", "unused", "releases", "exceptions", "hygiene", "recertification", "clock"] {
        let text = report(&auditor, &[name, "--vault", "bluewater"]).to_string();
        assert!(text.contains("bluewater") && !text.contains("acme") && !text.contains("nowhere"), "{text}");
    }
    let past = report(&auditor, &["releases", "--from", "2020-01-01T00:00Z", "--to", "2020-02-01T00:00Z"]);
    assert!(rows(&past, "clients").is_empty());
    let own = report(&clients.tech, &["releases"]);
    assert_eq!(row(&own, "people", "who", "tech")["released"], 4);
    assert!(own["sources"].as_array().unwrap().iter().all(|source| source["complete"] == false));
    assert!(!own["notes"].as_array().unwrap().is_empty(), "it is said that some records are missing");
    assert_eq!(clients.tech.call(&["report", "releases", "--vault", "nowhere"]).status.code(), Some(3));
    assert_eq!(clients.tech.call(&["report", "backups"]).status.code(), Some(4));
    let denied = read_log(&mut auditor.connect().await, None).await;
    assert!(!denied.iter().any(|entry| entry.record.event == "audit.read" && entry.record.detail.contains_key("kind")));

    // Rights: the matrix, and each change with its reason.
    let access = report(&auditor, &["access"]);
    let tech = row(&access, "matrix", "who", "tech");
    assert_eq!((&tech["vault:acme"], &tech["vault:bluewater"]), (&json!("viewer"), &json!("viewer")));
    assert_eq!(row(&access, "offices", "who", "admin")["roles"], "admin");
    assert_eq!(rows(&access, "grants").len(), 4);
    let grant = row(&access, "grants", "who", "tech")["grant"].as_str().unwrap().to_owned();
    clients.organisation.admin.succeed(&["grant", "end", &grant, "--reason", "moved on", "--yes"]);
    let changes = report(&auditor, &["access", "--changes"]);
    let of = |change: &str| rows(&changes, "changes").iter().filter(|row| row["change"] == change).count();
    assert_eq!((of("given"), of("ended")), (4, 1));
    let ended = row(&changes, "changes", "change", "ended");
    assert_eq!((&ended["who"], &ended["by"], &ended["why"]), (&json!("tech"), &json!("admin"), &json!("moved on")));
    assert_eq!(rows(&report(&auditor, &["access"]), "grants").len(), 3);

    // A leaver: nothing after it.
    let open = clients.tech.connect().await;
    clients.organisation.admin.succeed(&["identity", "revoke", "tech", "--reason", "left", "--yes"]);
    let left = report(&auditor, &["offboarding"]);
    let tech = row(&left, "revoked", "who", "tech");
    assert_eq!((&tech["codes_after"], &tech["logins_after"], &tech["by"]), (&json!(0), &json!(0), &json!("admin")));
    let seconds: f64 = tech["to_last_session_end"].as_str().unwrap().trim_end_matches(" s").parse().unwrap();
    assert!(seconds < 2.0, "{seconds}");
    drop(open);
    for name in ["unused", "hygiene", "recertification", "backups", "clock"] {
        assert_eq!(report(&auditor, &[name])["report"], name);
    }
    let hygiene = report(&auditor, &["hygiene"]);
    let flags = |account| row(&hygiene, "accounts", "account", account)["flags"].as_str().unwrap().to_owned();
    assert_eq!(flags("acme/quick"), "never released; no recovery copy");
    assert!(flags("acme/slow").contains("window of more than 120 s") && flags("acme/counter").contains("time limit"));
}

#[tokio::test]
async fn exceptions_are_reported_until_somebody_has_looked() {
    let (mut clients, auditor) = house().await;
    let replaces = clients.admin.call(&Show { vault: slug("acme") }).await.unwrap().policy;
    let mut policy = replaces.clone();
    policy.break_glass = Some(BreakGlass { longest_min: 30 });
    clients.admin.call(&Set { vault: slug("acme"), replaces, policy, dry_run: false }).await.unwrap();
    let jana = clients.organisation.enrol(&mut clients.admin, "jana", &[]).await;
    give(&mut clients.admin, "acme", "jana", VaultRole::Eligible).await;
    let reason = "the <b>firewall</b> & \"mail\" are down";
    let glass = ["request", "make", "acme", "--account", "slow", "--for", "10m", "--break-glass"];
    let made = jana.succeed(&[&glass[..], &["--reason", reason, "--ticket", "INC-7", "--json"]].concat());
    let made: Value = serde_json::from_str(&made).unwrap();
    jana.succeed(&["code", "acme/slow"]);
    clients.tech.succeed(&["code", "acme/quick", "--reason", "a look"]);

    let open = report(&auditor, &["exceptions"]);
    let taken = row(&open, "break_glass", "who", "jana");
    assert_eq!((&taken["review"], &taken["accounts"]), (&json!("NOT REVIEWED"), &json!("slow")));
    assert_eq!(
        (&taken["reason"], &taken["ticket"], &taken["duration"]),
        (&json!(reason), &json!("INC-7"), &json!("10 min"))
    );
    assert_eq!(rows(&open, "weaker").len(), 1);
    assert_eq!(row(&open, "weaker", "policy_of", "acme")["weaker"], "break_glass.longest_min");
    assert_eq!(rows(&open, "shared_use").len(), 2);
    let use_of = |who: &str| row(&open, "shared_use", "who", who).clone();
    assert_eq!((&use_of("jana")["access"], &use_of("jana")["justification"]), (&json!("break-glass"), &json!(reason)));
    assert_eq!((&use_of("tech")["approved_by"], &use_of("tech")["justification"]), (&json!("admin"), &json!("a look")));
    let mut reader = auditor.connect().await;
    let mut alone = 0;
    for vault in [None, Some("acme"), Some("bluewater")] {
        let log = read_log(&mut reader, vault).await;
        alone += log.iter().filter(|entry| entry.record.detail.contains_key("sole_admin")).count();
    }
    assert_eq!(rows(&open, "alone").len(), alone);
    assert!(alone > 5, "everything that the only admin did");

    // Who may not read the organisation's log gets no empty sections about it.
    let part = report(&clients.manager, &["exceptions"]);
    assert_eq!((rows(&part, "shared_use").len(), part["sections"].get("throttled")), (2, None));
    assert!(part["notes"].to_string().contains("organisation's log"), "{part}");

    let request = made["request"].as_str().unwrap();
    clients.manager.succeed(&["request", "review", request, "--justified", "--note", "it was a fire"]);
    let closed = report(&auditor, &["exceptions"]);
    let taken = row(&closed, "break_glass", "who", "jana");
    assert_eq!((&taken["review"], &taken["reviewed_by"]), (&json!("justified"), &json!("manager")));
    assert_eq!(taken["note"], "it was a fire");

    // One page: private, never over another file, XML, and the reason is text in it.
    let path = clients.organisation.root().join("exceptions.html");
    let name = path.display().to_string();
    auditor.succeed(&["report", "exceptions", "--format", "html", "--out", &name]);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(auditor.call(&["report", "exceptions", "--format", "html", "--out", &name]).status.code(), Some(1));
    let page = std::fs::read_to_string(&path).unwrap();
    assert!(page.contains("the &lt;b&gt;firewall&lt;/b&gt; &amp; &quot;mail&quot; are down"), "{page}");
    assert!(!page.contains("<script") && !page.contains("http-equiv=\"refresh\""));
    tools::run("python3", &["-c", "import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])", &name]);
    for format in ["table", "csv", "markdown"] {
        let text = auditor.succeed(&["report", "exceptions", "--format", format]);
        assert!(text.contains("jana") && text.contains("INC"), "{format}: {text}");
    }
}

/// Every byte of a folder's files, each with its name in front.
fn bytes_of(folder: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        bytes.extend(path.file_name().unwrap().as_encoded_bytes());
        bytes.extend(if path.is_dir() { bytes_of(&path) } else { std::fs::read(&path).unwrap() });
    }
    bytes
}

fn holds(bytes: &[u8], needle: &str) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
}

#[tokio::test]
async fn a_pack_verifies_against_the_one_before_and_holds_nothing_of_anybody_else() {
    let (mut clients, auditor) = house().await;
    let bob = clients.organisation.enrol(&mut clients.admin, "bobineau", &[]).await;
    give(&mut clients.admin, "bluewater", "bobineau", VaultRole::Viewer).await;
    bob.succeed(&["code", "bluewater/vpn", "--reason", "bluewater-only-reason"]);
    clients.tech.succeed(&["code", "acme/slow", "--reason", "october"]);
    let root = clients.organisation.root().to_owned();
    let dir = |name: &str| root.join(name).display().to_string();
    clients.manager.succeed(&["report", "pack", "acme", &dir("october")]);
    clients.tech.succeed(&["code", "acme/counter", "--reason", "november"]);
    clients.tech.succeed(&["code", "bluewater/vpn"]);
    let packed =
        clients.manager.succeed(&["report", "pack", "acme", &dir("november"), "--previous", &dir("october"), "--json"]);
    let packed: Value = serde_json::from_str(&packed).unwrap();
    let key = packed["key"].as_str().unwrap();

    // The summary is about what is new.
    let summary = std::fs::read_to_string(root.join("november/summary.md")).unwrap();
    assert!(summary.contains("november") && !summary.contains("october"), "{summary}");
    assert!(summary.contains("acme/counter") && summary.contains(packed["root"].as_str().unwrap()), "{summary}");

    // One command of the client's, with a checkpoint that they kept; and the other verifier.
    let kept = dir("october/checkpoint");
    let verify = ["audit", "verify", &dir("november"), "--key", key, "--against", &kept];
    let mut client = std::process::Command::new(tools::program("strongroom"));
    let output = tools::output(client.args(verify).env_clear().env("HOME", "/nonexistent"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/verify.py").display().to_string();
    tools::run(
        "python3",
        &[&script, &dir("november"), "--key", key, "--against", &dir("november/previous-checkpoint")],
    );

    // Not of another log, not over another folder, not by who reads only a part; and nothing is left of such attempts.
    clients.manager.succeed(&["report", "pack", "bluewater", &dir("other")]);
    let before = std::fs::read_dir(&root).unwrap().count();
    for (person, arguments) in [
        (&clients.manager, vec!["report", "pack", "acme", "X", "--previous", "OTHER"]),
        (&clients.manager, vec!["report", "pack", "acme", "OTHER"]),
        (&clients.tech, vec!["report", "pack", "acme", "X"]),
    ] {
        let place = |word: &&str| match *word {
            "X" => dir("december"),
            "OTHER" => dir("other"),
            word => word.to_owned(),
        };
        let arguments: Vec<String> = arguments.iter().map(place).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        assert!(!person.call(&arguments).status.success(), "{arguments:?}");
    }
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), before);

    // Byte by byte: names, ids, reasons, leaves and roots of the other client and of the organisation.
    let mut reader = auditor.connect().await;
    let mut foreign: Vec<String> =
        ["bluewater", "bobineau", "vpn", "bluewater-only-reason"].map(str::to_owned).to_vec();
    for vault in reader.call(&Vaults {}).await.unwrap().items.iter().filter(|item| item.vault == slug("bluewater")) {
        foreign.extend([vault.id.to_string(), vault.name.clone()]);
    }
    let accounts = reader.call(&Accounts { vault: Some(slug("bluewater")), cursor: None }).await.unwrap().items;
    foreign.extend(accounts.iter().map(|item| item.id.to_string()));
    for vault in [Some("bluewater"), None] {
        let read = Read { vault: vault.map(slug), from: Some(0), before: None, limit: Some(500) };
        let page = reader.call(&read).await.unwrap();
        for item in page.items {
            let leaf = leaf_hash(item.record.as_bytes());
            foreign.extend([hex::encode(leaf), BASE64.encode(leaf), item.record]);
        }
        foreign.push(page.log);
    }
    let pack = bytes_of(&root.join("november"));
    assert!(holds(&pack, "acme") && holds(&pack, "tech") && foreign.len() > 30);
    for needle in &foreign {
        assert!(!holds(&pack, needle), "the pack of acme holds {needle}");
    }
    // The search finds what is there: the other pack holds most of it.
    let other = bytes_of(&root.join("other"));
    assert!(["bluewater", "bobineau", "vpn"].iter().all(|needle| holds(&other, needle)));
}
