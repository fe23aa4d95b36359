//! The table of faults: what was injected, how it was seen, what it cost. Each test writes its part; together they are
//! `target/fault-report.txt`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::tools;

/// One fault.
#[derive(Clone, Debug)]
pub struct Row {
    /// The class of the error table.
    pub class: &'static str,
    /// Where and what was injected.
    pub injected: String,
    /// What was asked of the token.
    pub asked: String,
    /// What came of it.
    pub seen: String,
    /// How often the token was asked again after it had failed; `None` where nothing failed visibly, or many asked.
    pub retries: Option<usize>,
    /// How often a PIN was presented.
    pub pins: usize,
    /// How many keys were asked for.
    pub keys: usize,
    /// From the end of the fault to the next right code.
    pub recovered: Duration,
    /// By what it recovered.
    pub by: &'static str,
}

const HEADS: [&str; 9] = ["class", "injected", "asked", "seen", "retries", "PINs", "keys", "back after", "by"];

/// Prints a part of the report and writes it, with the parts of other tests, into `target/fault-report.txt`.
///
/// # Panics
/// If it cannot be written.
pub fn publish(part: &str, rows: &[Row]) {
    let cells = rows.iter().map(|row| {
        let ms = format!("{:.1} ms", row.recovered.as_secs_f64() * 1000.0);
        let retries = row.retries.map_or_else(|| "-".to_owned(), |count| count.to_string());
        let [pins, keys] = [row.pins, row.keys].map(|count| count.to_string());
        [
            row.class.into(),
            row.injected.clone(),
            row.asked.clone(),
            row.seen.clone(),
            retries,
            pins,
            keys,
            ms,
            row.by.into(),
        ]
    });
    let lines: Vec<[String; 9]> = std::iter::once(HEADS.map(str::to_owned)).chain(cells).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADS.len()).map(width).collect();
    let mut text = format!("{part}\n\n");
    for line in &lines {
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(text, "{cell:width$}  ");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    println!("{text}");
    let target = target();
    let parts = target.join("fault-report");
    std::fs::create_dir_all(&parts).expect("a folder can be made");
    std::fs::write(parts.join(format!("{part}.txt")), text).expect("the report can be written");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&parts).expect("the folder is there").flatten().map(|entry| entry.path()).collect();
    files.sort();
    let whole: Vec<String> = files.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect();
    // Renamed into place: several tests may write at once.
    let new = parts.with_extension(format!("{}.new", std::process::id()));
    std::fs::write(&new, whole.join("\n")).expect("the report can be written");
    std::fs::rename(&new, target.join("fault-report.txt")).expect("the report can be replaced");
}

/// Cargo's target folder: the parent of the profile's.
fn target() -> PathBuf {
    let profile = tools::target_dir();
    profile.parent().map_or_else(|| profile.clone(), PathBuf::from)
}
