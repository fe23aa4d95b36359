//! Folders of logs that were pruned: what is left still verifies, by both verifiers, and nothing passes for pruned that the log does
//! not say was.

#![allow(clippy::unwrap_used, reason = "in a test program a failure is the message")]

use std::fs;
use std::process::Command;

use strongroom_proto::audit::export::{pruned_state, verify_folder, verify_signatures};
use strongroom_proto::audit::replay::LogState;

mod support;
use support::{Folder, SampleLog};

/// What both say: whether it is verified, and the sentence.
fn judged(folder: &Folder, kept: Option<&str>) -> (bool, String) {
    let verified = verify_folder(&folder.path, Some(&folder.log.pin()), kept);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/verify.py");
    let mut python = Command::new("python3");
    python.arg(script).arg(&folder.path).args(["--key", &folder.log.key().fingerprint()]);
    if let Some(kept) = kept {
        let path = folder.outer().join("kept");
        fs::write(&path, kept).unwrap();
        python.arg("--against").arg(path);
    }
    let output = python.output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(verified.is_ok(), output.status.success(), "{verified:?} {text}");
    assert!(!text.contains("Traceback"), "{text}");
    let sentence = verified.as_ref().err().map(|error| {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{error}{cause}")
    });
    (verified.is_ok(), sentence.unwrap_or(text))
}

#[test]
fn a_pruned_log_verifies_to_its_newest_checkpoint_and_against_ones_from_before() {
    let folder = Folder::pruned();
    for size in [0, 1, 3, 5, 9, 14, 16] {
        let (verified, text) = judged(&folder, Some(&folder.log.checkpoint(size)));
        assert!(verified, "{size}: {text}");
        assert!(text.contains("records 0 to 4 were pruned at 2026-11-21T19:06:00.123456Z (record 13)"), "{text}");
    }
    let verified = verify_folder(&folder.path, None, None).unwrap();
    let pruned = verified.pruned.clone().unwrap();
    assert_eq!((pruned.until, pruned.record, verified.size), (5, 13, 16));
    assert_eq!(verified.first_at.unwrap().to_string(), "2026-11-21T19:02:00.123456Z");
    let state = pruned_state(&folder.path, &verified).unwrap().unwrap();
    assert_eq!((state.size, state.genesis.as_str()), (5, folder.log.records[0].as_str()));
    let signatures = verify_signatures(&folder.path, &verified, &[], None).unwrap();
    assert_eq!(signatures.unsigned_releases, 9, "those of pruned records are not counted");
}

#[test]
fn a_checkpoint_of_another_past_is_refused_below_the_bound_too() {
    let folder = Folder::pruned();
    let mut other = folder.log.checkpoint(3);
    other = other
        .lines()
        .enumerate()
        .map(|(at, line)| if at == 1 { "2\n".to_owned() } else { format!("{line}\n") })
        .collect();
    assert!(!judged(&folder, Some(&other)).0, "its signature is over three records");
    let root = strongroom_proto::audit::merkle::leaf_hash(b"another");
    let forged = strongroom_proto::audit::checkpoint::Checkpoint { origin: folder.log.origin.clone(), size: 3, root };
    let (verified, text) = judged(&folder, Some(&folder.log.sign(&forged)));
    assert!(!verified && text.contains("the checkpoint that you kept"), "{text}");
}

#[test]
fn nothing_passes_for_pruned_that_the_log_does_not_say_was() {
    type Tamper = Box<dyn Fn(&mut Folder)>;
    let hash = |folder: &Folder, seq: usize| {
        let mut other = SampleLog::new();
        other.records.clone_from(&folder.log.records);
        let path = folder.outer().join("hashes");
        other.export_from(&path, seq + 1, "{}", &[]);
        let line = fs::read_to_string(path.join("log.ndjson")).unwrap().lines().nth(seq).unwrap().to_owned();
        fs::remove_dir_all(path).unwrap();
        line
    };
    let cases: Vec<(&str, Tamper)> = vec![
        (
            "one more at the end",
            Box::new(move |f| {
                let line = hash(f, 5);
                f.edit_lines("log.ndjson", |lines| lines[5] = line);
            }),
        ),
        (
            "one in the middle",
            Box::new(move |f| {
                let line = hash(f, 9);
                f.edit_lines("log.ndjson", |lines| lines[9] = line);
            }),
        ),
        ("a hash that is another", Box::new(|f| f.edit_lines("log.ndjson", |lines| lines.swap(1, 2)))),
        ("a hash that is missing", Box::new(|f| f.edit_lines("log.ndjson", |lines| drop(lines.remove(2))))),
        ("no state", Box::new(|f| fs::remove_file(f.path.join("state.json")).unwrap())),
        (
            "another state",
            Box::new(|f| {
                let state = f.read("state.json").replace("\"frozen\":false", "\"frozen\":true");
                assert_ne!(state, f.read("state.json"));
                f.write("state.json", state);
            }),
        ),
        ("a state with a space more", Box::new(|f| f.write("state.json", f.read("state.json") + " "))),
        (
            "a log that ends before it says so",
            Box::new(|f| {
                f.edit_lines("log.ndjson", |lines| lines.truncate(13));
                f.write("checkpoint", f.log.checkpoint(13));
            }),
        ),
        (
            "a log that is hashes alone",
            Box::new(|f| {
                f.edit_lines("log.ndjson", |lines| lines.truncate(5));
                f.write("checkpoint", f.log.checkpoint(5));
                fs::remove_dir_all(f.path.join("checkpoints")).unwrap();
            }),
        ),
        (
            "hashes of records whose pruning was refused",
            Box::new(|f| {
                let (state, refused) = (f.read("state.json"), "\"outcome\":\"denied\"");
                f.log.records[13] = f.log.records[13].replace("\"outcome\":\"ok\"", refused);
                assert!(f.log.records[13].contains(refused));
                fs::remove_dir_all(&f.path).unwrap();
                f.log.export_from(&f.path, 5, &state, &[]);
            }),
        ),
        (
            "a snapshot that no record names",
            Box::new(|f| {
                let state = f.read("state.json");
                f.log.records[12] = f.log.records[12].replace("\"size\":5", "\"size\":4");
                fs::remove_dir_all(&f.path).unwrap();
                f.log.export_from(&f.path, 5, &state, &[]);
            }),
        ),
    ];
    for (case, tamper) in cases {
        let mut folder = Folder::pruned();
        tamper(&mut folder);
        let (verified, text) = judged(&folder, None);
        assert!(!verified, "{case}: {text}");
    }
}

#[test]
fn a_whole_log_that_was_pruned_elsewhere_is_whole() {
    let folder = Folder::pruned();
    let whole = folder.outer().join("whole");
    folder.log.export(&whole, &[4]);
    let verified = verify_folder(&whole, Some(&folder.log.pin()), None).unwrap();
    assert_eq!(verified.pruned, None);
    assert!(pruned_state(&whole, &verified).unwrap().is_none());
}

#[test]
fn a_state_of_a_newer_version_is_said_to_be_one() {
    let folder = Folder::pruned();
    let text = folder.read("state.json").replace("\"v\":1}", "\"v\":2}");
    assert_eq!(
        LogState::from_text(&text).unwrap_err().to_string(),
        "a state snapshot has version 2, which this program does not read"
    );
    folder.write("state.json", text);
    assert!(judged(&folder, None).1.contains("version 2"));
}
