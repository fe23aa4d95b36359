//! The benchmark runs: what it measures is for people to judge.

use std::process::Command;

use strongroom_tests::tools;

fn bench(arguments: &[&str]) -> String {
    let output = tools::output(Command::new(tools::program("bench")).args(arguments));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_table_has_both_floors_both_schemes_and_both_disks() {
    let table = bench(&["--quick"]);
    for line in ["one resident operation", "one derived operation", "one durable append", "64 clients", "agent's CPU"] {
        assert_eq!(table.matches(line).count(), 2, "{line}: {table}");
    }
    assert!(!table.contains("NaN"), "{table}");
}

#[test]
fn a_large_organisation_is_measured_too() {
    assert!(bench(&["--quick", "--scale"]).contains("releases from each vault"));
}

#[test]
fn decisions_starts_and_refusals_among_thousands_are_measured_too() {
    let table = bench(&["--quick", "--people"]);
    for line in
        ["verifying and loading it", "a decision that allows", "a decision that refuses", "of what is not one's own"]
    {
        assert_eq!(table.matches(line).count(), 1, "{line}: {table}");
    }
    assert!(!table.contains("NaN"), "{table}");
}

#[test]
fn workers_are_measured_against_the_module_in_process() {
    let table = bench(&["--quick", "--workers"]);
    for line in ["resident, in-process", "derived, in-process", "resident, 2 workers", "derived, 4 workers"] {
        assert_eq!(table.matches(line).count(), 1, "{line}: {table}");
    }
    assert!(!table.contains("NaN"), "{table}");
}

#[test]
fn a_long_trail_is_measured_too() {
    let table = bench(&["--quick", "--trail", "3_000"]);
    for line in [
        "appending",
        "indexing behind it",
        "by a person, of an account",
        "replaying every log",
        "strongroom audit verify",
        "proto/verify.py",
    ] {
        assert_eq!(table.matches(line).count(), 1, "{line}: {table}");
    }
    assert!(!table.contains("NaN"), "{table}");
}
