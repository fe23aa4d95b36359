//! Another clock for agent and command, by libfaketime.

use std::ffi::OsString;
use std::path::PathBuf;

use jiff::Timestamp;

/// An environment in which the clock is off by so much, in libfaketime's words: `+25h`.
///
/// # Panics
/// If libfaketime is not installed: tests/run.sh installs it.
#[must_use]
pub fn shifted(offset: &str) -> Vec<(OsString, OsString)> {
    let library = std::fs::read_dir("/usr/lib")
        .expect("there are libraries")
        .filter_map(|entry| Some(entry.ok()?.path().join("faketime/libfaketimeMT.so.1")))
        .find(|path: &PathBuf| path.exists())
        .expect("libfaketime is not installed: tests/run.sh installs it");
    vec![
        ("LD_PRELOAD".into(), library.into()),
        ("FAKETIME".into(), offset.into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC".into(), "1".into()),
        ("DONT_FAKE_MONOTONIC".into(), "1".into()),
        ("TZ".into(), "UTC".into()),
    ]
}

/// An environment in which the clock stands still; the monotonic one, which timers use, goes on.
///
/// # Panics
/// As [`shifted`], and for a time that is none.
#[must_use]
pub fn frozen_at(unix_s: u64) -> Vec<(OsString, OsString)> {
    let second = i64::try_from(unix_s).ok().and_then(|second| Timestamp::from_second(second).ok());
    let at = second.expect("a time").to_string();
    shifted(&at.trim_end_matches('Z').replace('T', " "))
}
