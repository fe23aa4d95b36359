//! Export folders: what is written verifies, and whatever is done to a folder fails with a sentence that names the place.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test program a failure is the message")]

use std::fs;

use strongroom_proto::audit::checkpoint::Checkpoint;
use strongroom_proto::audit::export::{ExportError, ExportWriter, Pin, VerifyError, verify_folder};
use strongroom_proto::audit::opening::Opening;

mod support;
use support::{Folder, SIZE, SampleLog};

/// Verifies with the log's own key pinned and returns what a person would read: the sentence and its causes.
fn refusal(folder: &Folder) -> String {
    refusal_against(folder, None)
}

fn refusal_against(folder: &Folder, kept: Option<&str>) -> String {
    sentence(&verify_folder(&folder.path, Some(&folder.log.pin()), kept).expect_err("accepted"))
}

fn sentence(error: &VerifyError) -> String {
    let mut text = error.to_string();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[track_caller]
fn assert_names(text: &str, places: &[&str]) {
    for place in places {
        assert!(text.contains(place), "\"{text}\" does not say \"{place}\"");
    }
}

#[test]
fn a_folder_comes_back_as_it_was_written() {
    let folder = Folder::new();
    let verified = verify_folder(&folder.path, Some(&folder.log.pin()), None).unwrap();
    assert_eq!((verified.size, verified.older_checkpoints, verified.pinned), (12, 2, true));
    assert_eq!((verified.opened, verified.withheld), (6, 0));
    assert_eq!((verified.origin, verified.key), (folder.log.origin.clone(), folder.log.key()));
    assert_eq!(verified.first_at.unwrap().to_string(), "2026-11-21T19:00:00.123456Z");
    assert_eq!(verified.last_at.unwrap().to_string(), "2026-11-21T19:05:00.123456Z");
    assert_eq!(
        folder.read("log.ndjson"),
        folder.log.records.iter().map(|line| format!("{line}\n")).collect::<String>()
    );
    assert!(folder.read("README.txt").contains("strongroom audit verify"));
    assert_eq!(fs::read_dir(folder.outer()).unwrap().count(), 1, "nothing is left beside the folder");
}

#[test]
fn an_empty_log_is_a_log() {
    let outer = tempfile::tempdir().unwrap();
    let path = outer.path().join("empty");
    let mut log = SampleLog::new();
    log.records.clear();
    log.export(&path, &[0]);
    let verified = verify_folder(&path, Some(&log.pin()), None).unwrap();
    assert_eq!((verified.size, verified.first_at, verified.older_checkpoints), (0, None, 1));
}

#[test]
fn without_a_pin_the_folder_is_only_said_to_agree_with_itself() {
    let folder = Folder::new();
    let verified = verify_folder(&folder.path, None, None).unwrap();
    assert!(!verified.pinned);
}

#[test]
fn a_pin_leads_from_one_key_to_the_next_and_never_back() {
    let (folder, [first, second]) = Folder::after_two_changes();
    let kept = first.checkpoint(6);
    for (log, len) in [(&first, 3), (&second, 2), (&folder.log, 0)] {
        let verified = verify_folder(&folder.path, Some(&log.pin()), Some(&kept)).unwrap();
        assert_eq!((verified.way.len(), verified.key, verified.older_checkpoints), (len, folder.log.key(), 1));
        assert!(verified.pinned && verified.keys.len() == 3);
    }
    assert_names(
        &sentence(&verify_folder(&folder.path, Some(&SampleLog::new().pin()), None).unwrap_err()),
        &["pinned"],
    );
    // A checkpoint that is not what the records were then, by whichever key.
    let mut other = first.taken_over();
    other.records.swap(1, 2);
    folder.write("checkpoints/4", other.checkpoint(4));
    assert_names(&refusal(&folder), &["checkpoints/4", "not vouched for"]);
    folder.write("checkpoints/4", first.checkpoint(4));

    let good = folder.read("log.keys");
    let line = |which: usize| good.lines().nth(which).unwrap().to_owned() + "\n";
    folder.write("log.keys", line(1));
    assert_names(&sentence(&verify_folder(&folder.path, Some(&first.pin()), None).unwrap_err()), &["did not vouch"]);
    folder.write("log.keys", line(0) + &line(1).replace(":00Z", ":01Z"));
    assert_names(&refusal(&folder), &["line 2 of log.keys", "not signed by the key"]);
    folder.write("log.keys", "{}\n");
    assert_names(&refusal(&folder), &["log.keys"]);
    let stranger = SampleLog::new();
    folder.write(
        "log.keys",
        format!("{}\n", serde_json::to_string(&stranger.vouch_for(&stranger.taken_over())).unwrap()),
    );
    assert_names(&refusal(&folder), &["line 1 of log.keys", "another organisation"]);

    // The first key signs a log of its own: whoever pinned the third does not take it.
    let (outer, back) = (tempfile::tempdir().unwrap(), folder.log.pin());
    let path = outer.path().join("export");
    first.export_after(&path, &first, &[first.vouch_for(&second)]);
    assert_names(&sentence(&verify_folder(&path, Some(&back), None).unwrap_err()), &["is pinned"]);
}

#[test]
fn openings_may_be_withheld_and_are_counted() {
    let folder = Folder::new();
    folder.edit_lines("openings.ndjson", |lines| lines.truncate(2));
    let verified = verify_folder(&folder.path, Some(&folder.log.pin()), None).unwrap();
    assert_eq!((verified.opened, verified.withheld), (2, 4));
    fs::remove_file(folder.path.join("openings.ndjson")).unwrap();
    let verified = verify_folder(&folder.path, Some(&folder.log.pin()), None).unwrap();
    assert_eq!((verified.opened, verified.withheld), (0, 6));
}

#[test]
fn one_changed_byte_in_any_record_is_found_and_placed() {
    let folder = Folder::new();
    let good = folder.read("log.ndjson").into_bytes();
    // Every byte of the record in the middle, and some of each other record.
    let mut line = 0;
    for place in 0..good.len() {
        if line == 5 || place % 37 == 0 {
            let mut bad = good.clone();
            bad[place] ^= 0x01;
            folder.write("log.ndjson", &bad);
            let text = refusal(&folder);
            // Structure shows the record itself; content shows the run between two checkpoints.
            let run = ["0 to 3", "4 to 7", "8 to 11"][line / 4];
            let named = [format!("record {line} "), format!("record {} ", line + 1), format!("records {run}")]
                .iter()
                .any(|name| text.contains(name));
            assert!(named, "byte {place} in record {line}: {text}");
        }
        line += usize::from(good[place] == b'\n');
    }
}

#[test]
fn a_changed_value_is_placed_between_two_checkpoints() {
    let folder = Folder::new();
    folder.edit_lines("log.ndjson", |lines| lines[5] = lines[5].replace("\"ok\"", "\"denied\""));
    assert_names(&refusal(&folder), &["records 4 to 7 (lines 5 to 8)", "checkpoints/8"]);

    let alone = Folder::with_older(&[]);
    alone.edit_lines("log.ndjson", |lines| lines[5] = lines[5].replace("\"ok\"", "\"denied\""));
    assert_names(&refusal(&alone), &["records 0 to 11 (lines 1 to 12)"]);

    let dense = Folder::with_older(&[5, 6]);
    dense.edit_lines("log.ndjson", |lines| lines[5] = lines[5].replace("\"ok\"", "\"denied\""));
    assert_names(&refusal(&dense), &["record 5 (line 6)", "checkpoints/6"]);
}

#[test]
fn a_record_dropped_at_the_end_is_missed() {
    let folder = Folder::new();
    folder.edit_lines("log.ndjson", |lines| lines.truncate(SIZE - 1));
    assert_names(&refusal(&folder), &["ends after 11 records", "covers 12", "record 11 (line 12)"]);
    folder.edit_lines("log.ndjson", |lines| lines.truncate(SIZE - 3));
    assert_names(&refusal(&folder), &["ends after 9 records", "records 9 to 11 (lines 10 to 12)"]);
}

#[test]
fn a_record_dropped_in_the_middle_is_missed() {
    let folder = Folder::new();
    folder.edit_lines("log.ndjson", |lines| drop(lines.remove(6)));
    assert_names(&refusal(&folder), &["record 6 is missing", "line 7 holds record 7"]);
}

#[test]
fn a_dropped_record_is_missed_even_if_the_others_are_renumbered() {
    let folder = Folder::new();
    fs::remove_file(folder.path.join("openings.ndjson")).unwrap();
    folder.edit_lines("log.ndjson", |lines| {
        lines.remove(6);
        for (seq, line) in lines.iter_mut().enumerate().skip(6) {
            *line = line.replace(&format!("\"seq\":{}", seq + 1), &format!("\"seq\":{seq}"));
        }
    });
    assert_names(&refusal(&folder), &["records 4 to 7"]);
}

#[test]
fn two_exchanged_records_are_found() {
    let folder = Folder::new();
    folder.edit_lines("log.ndjson", |lines| lines.swap(4, 9));
    assert_names(&refusal(&folder), &["record 4 is missing", "line 5 holds record 9"]);
}

#[test]
fn a_record_of_another_log_is_found() {
    let (folder, other) = (Folder::new(), SampleLog::new());
    folder.edit_lines("log.ndjson", |lines| lines[7].clone_from(&other.records[7]));
    assert_names(&refusal(&folder), &["record 7 (line 8)", "belongs to the log", other.origin.as_str()]);
}

#[test]
fn a_record_put_in_at_the_end_is_found() {
    let mut folder = Folder::new();
    folder.log.append();
    let more = folder.log.records[SIZE].clone();
    folder.edit_lines("log.ndjson", |lines| lines.push(more));
    assert_names(&refusal(&folder), &["covers 12 records", "record 12 (line 13)"]);
}

#[test]
fn a_record_dated_back_is_found() {
    let folder = Folder::new();
    folder.edit_lines("log.ndjson", |lines| lines[9] = lines[9].replace("19:04", "18:04"));
    assert_names(&refusal(&folder), &["record 9 (line 10)", "dated before record 8"]);
}

#[test]
fn what_is_no_record_is_named_and_shown_harmlessly() {
    let folder = Folder::new();
    let good = folder.read("log.ndjson");
    let with_line_3 = |line: &[u8]| {
        let mut lines: Vec<_> = good.lines().map(str::as_bytes).collect();
        lines[3] = line;
        [lines.join(&b'\n'), b"\n".to_vec()].concat()
    };
    let long = vec![b'x'; 9000];
    let escape = folder.log.records[3].replace("\"ok\"", "\"\u{1b}]0;owned\u{7}\"").replace("\u{1b}", "\\u001b");
    let version = folder.log.records[3].replace("\"v\":1", "\"v\":2");
    let twice = folder.log.records[3].replace("\"v\":1", "\"v\":1,\"v\":1");
    for (line, places) in [
        (&b"{}"[..], &["record 3 (line 4)", "missing field `agent`, at byte 2"][..]),
        (b"", &["record 3 (line 4)"]),
        (b"\xff", &["record 3 (line 4)", "UTF-8"]),
        (escape.as_bytes(), &["record 3 (line 4)"]),
        (version.as_bytes(), &["record 3 (line 4)", "format version 2"]),
        (twice.as_bytes(), &["record 3 (line 4)", "duplicate field"]),
        (&long, &["line 4 of log.ndjson", "longer than 8192"]),
    ] {
        folder.write("log.ndjson", with_line_3(line));
        let text = refusal(&folder);
        assert_names(&text, places);
        assert!(!text.contains(char::is_control), "{text:?}");
    }
    folder.write("log.ndjson", good.trim_end());
    assert_names(&refusal(&folder), &["log.ndjson", "cut off within line 12"]);
}

#[test]
fn another_key_than_the_pinned_one_is_refused_however_well_it_signed() {
    let (folder, other) = (Folder::new(), SampleLog::new());
    let text = sentence(&verify_folder(&folder.path, Some(&other.pin()), None).unwrap_err());
    assert_names(&text, &["log.pub", &folder.log.key().fingerprint(), &other.key().fingerprint()]);

    folder.write("log.pub", other.key().spki_pem());
    let pin = Pin::parse(&other.key().openssh()).unwrap();
    let text = sentence(&verify_folder(&folder.path, Some(&pin), None).unwrap_err());
    assert_names(&text, &["checkpoint is not vouched for"]);
}

#[test]
fn an_older_checkpoint_does_not_pass_for_a_newer_log_nor_the_other_way_round() {
    let folder = Folder::with_older(&[]);
    folder.write("checkpoint", folder.log.checkpoint(10));
    assert_names(&refusal(&folder), &["covers 10 records", "record 10 (line 11)"]);

    let mut folder = Folder::new();
    folder.write("checkpoint", folder.log.checkpoint(5));
    assert_names(&refusal(&folder), &["checkpoints/8", "covers 8 records", "only 5"]);

    folder.log.append();
    folder.log.append();
    folder.write("checkpoint", folder.log.checkpoint(14));
    assert_names(&refusal(&folder), &["ends after 12 records", "covers 14", "records 12 to 13"]);
}

#[test]
fn a_checkpoint_that_the_key_did_not_sign_is_refused() {
    let folder = Folder::new();
    let good = folder.read("checkpoint");
    folder.write("checkpoint", good.replacen("\n12\n", "\n11\n", 1));
    assert_names(&refusal(&folder), &["checkpoint", "forged"]);
    folder.write("checkpoint", good.replacen("\n12\n", "\n012\n", 1));
    assert_names(&refusal(&folder), &["checkpoint is no checkpoint", "size"]);
    fs::remove_file(folder.path.join("checkpoint")).unwrap();
    assert_names(&refusal(&folder), &["checkpoint cannot be read"]);
}

#[test]
fn older_checkpoints_must_be_of_this_log_by_this_key_and_named_by_size() {
    let other = SampleLog::new();
    let folder = Folder::new();
    let good = folder.read("checkpoints/4");
    folder.write("checkpoints/4", other.checkpoint(4));
    assert_names(&refusal(&folder), &["checkpoints/4 is not vouched for"]);
    let foreign = Checkpoint { origin: other.origin.clone(), size: 4, root: [0; 32] };
    folder.write("checkpoints/4", folder.log.sign(&foreign));
    assert_names(&refusal(&folder), &["checkpoints/4 belongs to the log"]);
    folder.write("checkpoints/4", &good);
    folder.write("checkpoints/04", &good);
    assert_names(&refusal(&folder), &["checkpoints/04", "covers 4 records"]);
}

#[test]
fn a_log_rewritten_under_its_own_key_contradicts_an_older_checkpoint() {
    let folder = Folder::new();
    let other_history = Checkpoint { origin: folder.log.origin.clone(), size: 8, root: [7; 32] };
    let kept = folder.log.sign(&other_history);
    assert_names(&refusal_against(&folder, Some(&kept)), &["the checkpoint that you kept", "rewritten"]);
    folder.write("checkpoints/8", &kept);
    assert_names(&refusal(&folder), &["checkpoints/8", "first 8", "rewritten"]);
    fs::remove_dir_all(folder.path.join("checkpoints")).unwrap();
    let newest = Checkpoint { size: 12, ..other_history };
    assert_names(&refusal_against(&folder, Some(&folder.log.sign(&newest))), &["that you kept", "rewritten"]);
}

#[test]
fn a_kept_checkpoint_shows_growth_and_roll_back() {
    let mut folder = Folder::new();
    let kept = folder.log.checkpoint(7);
    assert!(verify_folder(&folder.path, Some(&folder.log.pin()), Some(&kept)).is_ok());
    folder.log.append();
    let later = folder.log.checkpoint(13);
    assert_names(&refusal_against(&folder, Some(&later)), &["that you kept covers 13", "only 12", "rolled back"]);
}

#[test]
fn a_false_opening_is_named_without_its_value() {
    let folder = Folder::new();
    let good = folder.read("openings.ndjson");
    for (edit, places) in [
        (("T-6", "T-9"), &["line 5 of openings.ndjson", "record 6", "\"ticket\""][..]),
        (("\"field\":\"ticket\"", "\"field\":\"Ticket\""), &["line 2 of openings.ndjson", "record 0", "\"Ticket\""]),
        (("\"seq\":9", "\"seq\":10"), &["line 6 of openings.ndjson", "record 10"]),
        (("\"seq\":9", "\"seq\":99"), &["line 6 of openings.ndjson", "record 99", "beyond the end"]),
        (("\"seq\":6", "\"seq\":2"), &["line 4 of openings.ndjson", "record 2", "out of order"]),
        (("\"seq\":9", "\"seq\":\"9\""), &["line 6 of openings.ndjson is no opening"]),
        (("\"ticket\"", "\"reason\""), &["line 2 of openings.ndjson", "record 0", "twice"]),
    ] {
        folder.write("openings.ndjson", good.replacen(edit.0, edit.1, 1));
        let text = refusal(&folder);
        assert_names(&text, places);
        assert!(!text.contains("T-9") && !text.contains("dringend"), "{text}");
    }
    // Neither a commitment nor an opening that gives one: nothing must not equal nothing.
    folder.write("openings.ndjson", "{\"seq\":1,\"field\":\"reason\",\"salt\":\"\",\"value\":\"\"}\n");
    assert_names(&refusal(&folder), &["line 1 of openings.ndjson", "record 1", "\"reason\""]);
}

#[cfg(unix)]
#[test]
fn links_and_pipes_in_a_folder_are_refused() {
    let folder = Folder::new();
    for file in ["log.ndjson", "checkpoint", "log.pub", "openings.ndjson", "checkpoints/4"] {
        let (path, aside) = (folder.path.join(file), folder.outer().join("aside"));
        fs::rename(&path, &aside).unwrap();
        std::os::unix::fs::symlink(&aside, &path).unwrap();
        assert_names(&refusal(&folder), &[file, "not a plain file"]);
        fs::remove_file(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
    }
    assert!(verify_folder(&folder.path, Some(&folder.log.pin()), None).is_ok());
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_an_export() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    let mode = |file: &str| fs::metadata(folder.path.join(file)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("."), mode("checkpoints")), (0o700, 0o700));
    for file in ["log.ndjson", "openings.ndjson", "checkpoint", "log.pub", "README.txt", "checkpoints/4"] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
}

#[test]
fn an_export_never_replaces_anything_and_leaves_nothing_unfinished() {
    let (outer, log) = (tempfile::tempdir().unwrap(), SampleLog::new());
    let at = |name: &str| outer.path().join(name);
    fs::create_dir(at("taken")).unwrap();
    fs::write(at("taken/file"), "mine").unwrap();
    fs::write(at("file"), "mine").unwrap();
    for name in ["taken", "file"] {
        assert!(matches!(ExportWriter::create(&at(name)), Err(ExportError::Exists { .. })), "{name}");
    }
    assert!(matches!(ExportWriter::create(&at("..")), Err(ExportError::NoName { .. })));
    assert!(matches!(ExportWriter::create(&at("no/parent")), Err(ExportError::Write { .. })));

    fs::create_dir(at("empty")).unwrap();
    log.export(&at("empty"), &[]);
    assert!(verify_folder(&at("empty"), Some(&log.pin()), None).is_ok());

    let mut raced = ExportWriter::create(&at("raced")).unwrap();
    raced.append(&log.records[0], &[]).unwrap();
    fs::create_dir(at("raced")).unwrap();
    fs::write(at("raced/file"), "mine").unwrap();
    let finished = raced.finish(&log.checkpoint(1), &[], &log.key().spki_pem());
    assert!(matches!(finished, Err(ExportError::Exists { .. })));

    let mut dropped = ExportWriter::create(&at("dropped")).unwrap();
    dropped.append(&log.records[0], &[Opening::new("reason", [0; 16], "x")]).unwrap();
    drop(dropped);
    let mut left: Vec<_> = fs::read_dir(outer.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["empty", "file", "raced", "taken"]);
}

#[test]
fn what_an_agent_must_not_send_is_not_written() {
    let (outer, log) = (tempfile::tempdir().unwrap(), SampleLog::new());
    let begin = || ExportWriter::create(&outer.path().join("export")).unwrap();
    for record in ["", "{}\n{}", &"x".repeat(8193)] {
        assert!(matches!(begin().append(record, &[]), Err(ExportError::Record { seq: 0 })));
    }
    let pem = log.key().spki_pem();
    assert!(matches!(begin().finish("no note", &[], &pem), Err(ExportError::Checkpoint(_))));
    let two = Checkpoint { origin: log.origin.clone(), size: 4, root: [9; 32] };
    let older = [log.checkpoint(4), log.sign(&two)];
    let finished = begin().finish(&log.checkpoint(12), &older, &pem);
    assert!(matches!(finished, Err(ExportError::TwoHistories { size: 4 })));
    assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 0);
}
