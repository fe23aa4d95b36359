//! A finished report: sections of rows, with what they were made from. What it looks like is decided elsewhere.

use super::super::audit::pruned::sentence;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use strongroom_proto::audit::pruned::Pruned;

use super::super::when;
use super::evidence::{Evidence, Period};

/// One value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Empty,
    Text(String),
    Count(u64),
    Time(Timestamp),
}

impl Cell {
    /// As people read it.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Empty => String::new(),
            Self::Text(text) => text.clone(),
            Self::Count(count) => count.to_string(),
            Self::Time(at) => when::utc(*at),
        }
    }

    /// How long a bar is.
    pub(super) fn count(&self) -> u64 {
        if let Self::Count(count) = self { *count } else { 0 }
    }
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Empty => serializer.serialize_none(),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Count(count) => serializer.serialize_u64(*count),
            Self::Time(at) => serializer.collect_str(at),
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Cell {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<usize> for Cell {
    fn from(count: usize) -> Self {
        Self::Count(count as u64)
    }
}

impl From<Timestamp> for Cell {
    fn from(at: Timestamp) -> Self {
        Self::Time(at)
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Empty, Into::into)
    }
}

/// A row of cells.
macro_rules! row {
    ($($value:expr),+ $(,)?) => { vec![$($crate::cli::report::document::Cell::from($value)),+] };
}
pub(super) use row;

/// A column: its name for programs and its heading for people.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) key: String,
    pub(super) heading: String,
}

/// A table with a title.
#[derive(Clone, Debug)]
pub(super) struct Section {
    /// Its name for programs.
    pub(super) key: &'static str,
    pub(super) title: &'static str,
    /// What a reader has to know about it; may be empty.
    pub(super) note: &'static str,
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<Cell>>,
    /// The columns of the bars' labels and lengths, if it is drawn too.
    pub(super) chart: Option<(usize, usize)>,
}

impl Section {
    /// A section with columns in words: `given_by` is headed "Given by".
    pub(super) fn new(key: &'static str, title: &'static str, columns: &[&str], rows: Vec<Vec<Cell>>) -> Self {
        let columns = columns.iter().map(|key| Column { key: (*key).to_owned(), heading: heading(key) }).collect();
        Self { key, title, note: "", columns, rows, chart: None }
    }

    pub(super) fn note(self, note: &'static str) -> Self {
        Self { note, ..self }
    }

    /// Draws the rows as bars.
    pub(super) fn chart(self, label: usize, length: usize) -> Self {
        Self { chart: Some((label, length)), ..self }
    }
}

fn heading(key: &str) -> String {
    let words = key.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// What a report can help to show: the ids of a standard's clauses, and in our words what they are about.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Control {
    pub(super) standard: &'static str,
    pub(super) ids: &'static str,
    pub(super) about: &'static str,
}

/// A log that a report was made from.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Source {
    pub(super) log: String,
    pub(super) origin: String,
    pub(super) size: u64,
    pub(super) root: String,
    /// False if the caller may read only some of its records.
    pub(super) complete: bool,
    /// What was pruned: the report does not tell of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pruned: Option<Pruned>,
}

/// A finished report.
#[derive(Clone, Debug)]
pub(super) struct Document {
    /// Its name for programs.
    pub(super) report: &'static str,
    pub(super) title: String,
    pub(super) made_at: Timestamp,
    /// `None` for a report on what is now.
    pub(super) period: Option<Period>,
    pub(super) controls: &'static [Control],
    pub(super) sources: Vec<Source>,
    pub(super) notes: Vec<String>,
    pub(super) sections: Vec<Section>,
}

impl Document {
    /// Puts sections together with what they were made from.
    pub(super) fn new(
        report: &'static str,
        title: impl Into<String>,
        controls: &'static [Control],
        evidence: &Evidence,
        period: Option<Period>,
        sections: Vec<Section>,
    ) -> Self {
        let sources: Vec<Source> = evidence
            .logs
            .iter()
            .map(|log| Source {
                log: log.name(),
                origin: log.origin.clone(),
                size: log.size,
                root: log.root.clone(),
                complete: log.complete,
                pruned: log.pruned.clone(),
            })
            .collect();
        let mut notes = Vec::new();
        if sources.iter().any(|source| !source.complete) {
            notes.push(
                "Only some records of a log may be read by whoever made this report: its counts are at least \
                what happened."
                    .to_owned(),
            );
        }
        notes.extend(sources.iter().filter_map(|source| {
            let pruned = sentence(source.pruned.as_ref()?);
            Some(format!("{}: {pruned} This report does not tell of them.", source.log))
        }));
        Self { report, title: title.into(), made_at: evidence.now, period, controls, sources, notes, sections }
    }

    /// The section that lists what the report was made from.
    pub(super) fn sources_section(&self) -> Section {
        let rows = self.sources.iter().map(|source| {
            let read = match (source.complete, &source.pruned) {
                (true, None) => "all records, root checked",
                (true, Some(_)) => "all records that were not pruned, root checked",
                (false, _) => "some records",
            };
            row![source.log.clone(), source.origin.clone(), source.size, source.root.clone(), read]
        });
        Section::new("sources", "Made from", &["log", "origin", "size", "root", "read"], rows.collect()).note(
            "The checkpoints of the logs at that moment. The same numbers in a checkpoint that was kept \
                elsewhere show that nothing was changed since.",
        )
    }
}
