//! `strongroom audit` over a real log: exported, verified by a stranger without agent or token, and each way of tampering
//! with it named by its place.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use strongroom_tests::clients::Clients;
use strongroom_tests::tools;

/// `strongroom audit verify` as a stranger runs it, with nothing but the folder. Gives exit code, output and errors.
fn verify(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(tools::program("strongroom"));
    command.args(["audit", "verify"]).arg(folder).args(arguments).env_clear().env("HOME", "/nonexistent");
    let output = tools::output(&mut command);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A copy of the export with the lines of its log changed.
fn tampered(export: &Path, name: &str, change: impl FnOnce(&mut Vec<String>)) -> PathBuf {
    let copy = export.with_extension(name);
    tools::run("cp", &["-r", &export.display().to_string(), &copy.display().to_string()]);
    let log = copy.join("log.ndjson");
    let mut lines: Vec<String> =
        std::fs::read_to_string(&log).unwrap().lines().map(|line| format!("{line}\n")).collect();
    change(&mut lines);
    std::fs::write(&log, lines.concat()).unwrap();
    copy
}

#[tokio::test]
async fn an_export_verifies_without_anybody_and_tampering_is_named() {
    let mut clients = Clients::found().await;
    for _ in 0..5 {
        clients.tech.succeed(&["code", "acme/slow"]);
    }
    let export = clients.organisation.root().join("acme-export");
    let out = export.display().to_string();
    let object: Value =
        serde_json::from_str(&clients.manager.succeed(&["audit", "export", "acme", "--out", &out, "--json"])).unwrap();
    let (size, key) = (object["size"].as_u64().unwrap(), object["key"].as_str().unwrap().to_owned());
    assert!(size >= 12, "{object}");
    clients.organisation.running().stop();
    if clients.organisation.token.storage.is_some() {
        std::fs::rename(clients.organisation.tokens(), clients.organisation.root().join("gone")).unwrap();
    }

    let (code, said, warned) = verify(&export, &[]);
    assert_eq!(code, 0, "{warned}");
    assert!(said.starts_with(&format!("Verified: {size} records, complete and unaltered.\n")), "{said}");
    assert!(said.contains("UNPINNED") && warned.contains("unpinned"), "{said}{warned}");
    let (code, said, warned) = verify(&export, &["--key", &key]);
    assert_eq!((code, warned.as_str()), (0, ""));
    assert!(said.contains(&format!("{key} (pinned)")), "{said}");
    let other_key =
        tools::run("ssh-keygen", &["-lf", &clients.manager.key.with_extension("pub").display().to_string()]);
    let other_key = other_key.split_whitespace().nth(1).unwrap();
    let (code, said, warned) = verify(&export, &["--key", other_key]);
    assert_eq!((code, said.as_str()), (1, ""), "{warned}");
    assert!(warned.contains("NOT VERIFIED") && warned.contains("pinned"), "{warned}");

    let last = usize::try_from(size).unwrap() - 1;
    let cases: [(&str, PathBuf, String); 4] = [
        (
            "flipped",
            tampered(&export, "flipped", |lines| {
                // One digit of a time: still a record, and dated as before to the millisecond.
                let line = &mut lines[5];
                let at = line.find("Z\"").unwrap() - 1;
                let digit = if line.as_bytes()[at] == b'1' { "2" } else { "1" };
                line.replace_range(at..=at, digit);
            }),
            "record 5".to_owned(),
        ),
        ("last", tampered(&export, "last", |lines| drop(lines.pop())), format!("ends after {last} records")),
        ("middle", tampered(&export, "middle", |lines| drop(lines.remove(5))), "record 5 is missing".to_owned()),
        ("swapped", tampered(&export, "swapped", |lines| lines.swap(5, 6)), "record 5".to_owned()),
    ];
    for (name, folder, place) in cases {
        for pin in [vec![], vec!["--key", key.as_str()]] {
            let (code, said, warned) = verify(&folder, &pin);
            assert_eq!((code, said.as_str()), (1, ""), "{name}: {warned}");
            assert!(warned.starts_with("error: NOT VERIFIED: ") && warned.contains(&place), "{name}: {warned}");
        }
    }
}

#[tokio::test]
async fn the_trail_is_shown_to_those_who_may_read_it() {
    let clients = Clients::found().await;
    clients.tech.succeed(&["code", "acme/slow", "--reason", "m365 locked out", "--ticket", "INC-1"]);
    let newest = clients.manager.succeed(&["audit", "show", "acme"]);
    assert!(newest.lines().any(|line| line.contains("code.release") && line.contains("tech")), "{newest}");
    let own = clients.tech.succeed(&["audit", "show", "acme"]);
    assert!(own.contains("code.release") && !own.contains("grant.give"), "{own}");
    let org = clients.organisation.admin.succeed(&["audit", "show", "--org"]);
    assert!(org.contains("identity.enrol"), "{org}");
    assert_eq!(clients.tech.call(&["audit", "show", "--org"]).status.code(), Some(4));
    let taken = clients.organisation.root().join("taken").display().to_string();
    std::fs::create_dir(&taken).unwrap();
    std::fs::write(Path::new(&taken).join("mine"), "x").unwrap();
    assert_eq!(clients.manager.call(&["audit", "export", "acme", "--out", &taken]).status.code(), Some(1));
    let refused = clients.tech.call(&["audit", "export", "acme", "--out", &format!("{taken}-2")]);
    assert_eq!(refused.status.code(), Some(4), "a technician reads some records, not the whole log");
}
