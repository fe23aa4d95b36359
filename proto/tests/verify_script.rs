//! `verify.py` agrees with the verifier in Rust: another program, written from AUDIT-FORMAT.md, judges the same folders.

#![allow(clippy::unwrap_used, reason = "in a test program a failure is the message")]

use std::fs;
use std::process::Command;

use strongroom_proto::audit::export::{Pin, verify_folder};

mod support;
use support::{Folder, SIZE, SampleLog};

/// Runs the script; what it printed, and whether it was content.
fn run(folder: &Folder, arguments: &[&str]) -> (bool, String) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/verify.py");
    let output = Command::new("python3").arg(script).arg(&folder.path).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn the_script_verifies_a_good_folder_under_every_form_of_pin() {
    let folder = Folder::new();
    let at = |name: &str, text: String| {
        let path = folder.outer().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let kept = at("kept", folder.log.checkpoint(7));
    let key = folder.log.key();
    for pin in [key.fingerprint(), at("pem", key.spki_pem()), at("line", format!("{} agent\n", key.openssh()))] {
        let (verified, text) = run(&folder, &["--key", &pin, "--against", &kept]);
        assert!(verified, "{text}");
        assert!(text.contains("12 records, 0 values withheld") && !text.contains("unpinned"), "{text}");
    }
    let (verified, text) = run(&folder, &[]);
    assert!(verified && text.contains("unpinned"), "{text}");
    fs::remove_file(folder.path.join("openings.ndjson")).unwrap();
    let (verified, text) = run(&folder, &["--key", &key.fingerprint()]);
    assert!(verified && text.contains("6 values withheld"), "{text}");
}

#[test]
fn the_script_follows_the_way_from_one_key_to_the_next() {
    let (folder, [first, second]) = Folder::after_two_changes();
    let kept = folder.outer().join("kept");
    fs::write(&kept, first.checkpoint(6)).unwrap();
    for log in [&first, &second, &folder.log] {
        let (verified, text) = run(&folder, &["--key", log.pin().fingerprint(), "--against", kept.to_str().unwrap()]);
        assert!(verified, "{text}");
    }
    let good = folder.read("log.keys");
    folder.write("log.keys", good.replace(":00Z", ":01Z"));
    let (verified, text) = run(&folder, &["--key", first.pin().fingerprint()]);
    assert!(!verified && text.contains("log.keys is false"), "{text}");
    folder.write("log.keys", good.lines().nth(1).unwrap().to_owned() + "\n");
    folder.write("checkpoints/4", folder.log.checkpoint(4));
    let (verified, text) = run(&folder, &["--key", first.pin().fingerprint()]);
    assert!(!verified && text.contains("is pinned"), "{text}");
}

#[test]
fn the_script_refuses_what_the_verifier_refuses_and_names_the_place() {
    let other = SampleLog::new();
    type Tamper<'other> = Box<dyn Fn(&mut Folder) + 'other>;
    let cases: Vec<(&str, Tamper)> = vec![
        ("records 4 to 7", Box::new(|f| f.edit_lines("log.ndjson", |l| l[5] = l[5].replace("\"ok\"", "\"denied\"")))),
        ("ends after 11 records", Box::new(|f| f.edit_lines("log.ndjson", |l| l.truncate(SIZE - 1)))),
        ("record 6 is missing", Box::new(|f| f.edit_lines("log.ndjson", |l| drop(l.remove(6))))),
        ("record 4 is missing", Box::new(|f| f.edit_lines("log.ndjson", |l| l.swap(4, 9)))),
        ("record 7 (line 8)", Box::new(|f| f.edit_lines("log.ndjson", |l| l[7].clone_from(&other.records[7])))),
        ("record 3 (line 4)", Box::new(|f| f.edit_lines("log.ndjson", |l| l[3] = "{}".into()))),
        ("record 9 (line 10)", Box::new(|f| f.edit_lines("log.ndjson", |l| l[9] = l[9].replace("19:04", "18:04")))),
        ("record 12 (line 13)", Box::new(|f| f.edit_lines("log.ndjson", |l| l.push(l[11].replace(":11,", ":12,"))))),
        ("record 6 (line 7)", Box::new(|f| f.edit_lines("openings.ndjson", |l| l[4] = l[4].replace("T-6", "T-9")))),
        ("[99]", Box::new(|f| f.edit_lines("openings.ndjson", |l| l[5] = l[5].replace(":9,", ":99,")))),
        ("checkpoint is false", Box::new(|f| f.write("checkpoint", f.read("checkpoint").replace("\n12\n", "\n11\n")))),
        ("rolled back", Box::new(|f| f.write("checkpoint", f.log.checkpoint(5)))),
        ("checkpoints/4 is not signed", Box::new(|f| f.write("checkpoints/4", other.checkpoint(4)))),
        ("is pinned", Box::new(|f| f.write("log.pub", other.key().spki_pem()))),
        ("broken", Box::new(|f| fs::remove_file(f.path.join("log.ndjson")).unwrap())),
    ];
    for (place, tamper) in cases {
        let mut folder = Folder::new();
        let pin = folder.log.key().fingerprint();
        tamper(&mut folder);
        let (verified, text) = run(&folder, &["--key", &pin]);
        assert!(!verified && text.starts_with("NOT VERIFIED: ") && text.contains(place), "{place}: {text}");
        assert!(verify_folder(&folder.path, Some(&Pin::parse(&pin).unwrap()), None).is_err(), "{place}");
    }
}
