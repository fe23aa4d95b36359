//! Reports as text: for a terminal, as JSON, CSV and Markdown.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::super::error::CliError;
use super::super::output::{clean, table};
use super::super::when;
use super::document::{Control, Document, Section};

/// How a report is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Columns for people.
    Table,
    /// One object, strongroom.report/1.
    Json,
    /// One table after the other, with the section's name in front.
    Csv,
    /// For tickets and wikis.
    Markdown,
    /// One page to print, without scripts and without anything from elsewhere.
    Html,
}

/// Writes a report down.
///
/// # Errors
/// If it cannot be written as JSON.
pub(super) fn render(document: &Document, format: Format) -> Result<String, CliError> {
    Ok(match format {
        Format::Table => terminal(document),
        Format::Json => json_text(document)?,
        Format::Csv => csv(document),
        Format::Markdown => markdown(document),
        Format::Html => super::html::html(document),
    })
}

/// The period in words.
pub(super) fn period(document: &Document) -> String {
    match document.period {
        Some(period) => format!("{} to {}", when::utc(period.from), when::utc(period.to)),
        None => format!("As of {}", when::utc(document.made_at)),
    }
}

/// What a control reference says, always with the same modesty.
pub(super) fn control(control: &Control) -> String {
    format!("aligned with {} {}: {}", control.standard, control.ids, control.about)
}

/// Rows as people read them.
pub(super) fn texts(section: &Section) -> Vec<Vec<String>> {
    section.rows.iter().map(|row| row.iter().map(super::document::Cell::text).collect()).collect()
}

fn terminal(document: &Document) -> String {
    let mut text = format!("{}\n{}\n", clean(&document.title), period(document));
    for note in &document.notes {
        let _ = writeln!(text, "note: {}", clean(note));
    }
    for section in document.sections.iter().chain([&document.sources_section()]) {
        let _ = write!(text, "\n{}\n", section.title);
        if section.rows.is_empty() {
            text.push_str("  none\n");
        } else {
            let heading: Vec<String> =
                section.columns.iter().map(|column| clean(&column.heading).to_uppercase()).collect();
            let heading: Vec<&str> = heading.iter().map(String::as_str).collect();
            text.push_str(&table(&heading, &texts(section), true));
        }
    }
    text
}

#[derive(Serialize)]
struct Body<'a> {
    schema: &'static str,
    report: &'a str,
    title: &'a str,
    made_at: jiff::Timestamp,
    from: Option<jiff::Timestamp>,
    to: Option<jiff::Timestamp>,
    aligned_with: &'a [Control],
    sources: &'a [super::document::Source],
    notes: &'a [String],
    sections: Map<String, Value>,
}

fn json_text(document: &Document) -> Result<String, CliError> {
    let sections = document.sections.iter().map(|section| {
        let rows: Vec<Value> = section
            .rows
            .iter()
            .map(|row| {
                let members = section.columns.iter().zip(row);
                Value::Object(members.map(|(column, cell)| (column.key.clone(), json!(cell))).collect())
            })
            .collect();
        (section.key.to_owned(), json!({ "title": section.title, "rows": rows }))
    });
    let body = Body {
        schema: "strongroom.report/1",
        report: document.report,
        title: &document.title,
        made_at: document.made_at,
        from: document.period.map(|period| period.from),
        to: document.period.map(|period| period.to),
        aligned_with: document.controls,
        sources: &document.sources,
        notes: &document.notes,
        sections: sections.collect(),
    };
    let text = serde_json::to_string(&body);
    text.map(|text| text + "\n").map_err(|error| CliError::caused("cannot write the report as JSON", &error))
}

/// RFC 4180, one table a section with an empty line between.
fn csv(document: &Document) -> String {
    let mut text = String::new();
    for section in document.sections.iter().chain([&document.sources_section()]) {
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        let heading = section.columns.iter().map(|column| column.key.as_str());
        text.push_str(&csv_line(std::iter::once("section").chain(heading)));
        for row in texts(section) {
            text.push_str(&csv_line(std::iter::once(section.key).chain(row.iter().map(String::as_str))));
        }
    }
    text
}

fn csv_line<'a>(fields: impl Iterator<Item = &'a str>) -> String {
    let fields: Vec<String> = fields.map(csv_field).collect();
    format!("{}\r\n", fields.join(","))
}

/// A field that no spreadsheet takes for a formula: names and reasons are other people's words (CWE-1236).
fn csv_field(field: &str) -> String {
    let field = clean(field);
    let guarded = if field.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{field}") } else { field };
    format!("\"{}\"", guarded.replace('"', "\"\""))
}

fn markdown(document: &Document) -> String {
    let mut text = format!("# {}\n\n{}\n", markdown_text(&document.title), period(document));
    for note in &document.notes {
        let _ = write!(text, "\n> {}\n", markdown_text(note));
    }
    for section in document.sections.iter().chain([&document.sources_section()]) {
        let _ = write!(text, "\n## {}\n\n", section.title);
        if !section.note.is_empty() {
            let _ = write!(text, "{}\n\n", markdown_text(section.note));
        }
        if section.rows.is_empty() {
            text.push_str("None.\n");
            continue;
        }
        let heading: Vec<String> = section.columns.iter().map(|column| markdown_text(&column.heading)).collect();
        let _ = writeln!(text, "| {} |", heading.join(" | "));
        let _ = writeln!(text, "|{}", " --- |".repeat(heading.len()));
        for row in texts(section) {
            let cells: Vec<String> = row.iter().map(|cell| markdown_text(cell)).collect();
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        }
    }
    if !document.controls.is_empty() {
        text.push_str("\n## References\n\n");
        for reference in document.controls {
            let _ = writeln!(text, "- {}", markdown_text(&control(reference)));
        }
    }
    text
}

/// Text that stays text: whoever wrote a reason makes no link, no markup and no new column of it.
pub(in super::super) fn markdown_text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in clean(text).chars() {
        match character {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' => {
                escaped.push('\\');
                escaped.push(character);
            }
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::document::row;
    use super::super::evidence::{Evidence, Lists, Log, Period};
    use super::*;

    /// A report whose texts try to be something else.
    pub(in super::super) fn hostile() -> Document {
        let log = Log {
            vault: None,
            origin: "strongroom/o/org".to_owned(),
            size: 3,
            root: "ab".repeat(32),
            complete: false,
            pruned: None,
            entries: vec![],
        };
        let evidence = Evidence::new("2026-12-01T00:00Z".parse().unwrap(), vec![log], Lists::default());
        let period = Period { from: "2026-11-01T00:00Z".parse().unwrap(), to: "2026-12-01T00:00Z".parse().unwrap() };
        let rows = vec![
            row!["=1+1|<script>alert(1)</script>", 3_u64, "2026-11-02T03:04:05Z".parse::<jiff::Timestamp>().unwrap()],
            row!["a \"b\", & 'c' \u{1b}[2J\u{202e}", 12_u64, Option::<u64>::None],
        ];
        let section = Section::new("taken", "Codes taken", &["who", "taken", "last_at"], rows).chart(0, 1);
        const CONTROLS: &[Control] = &[Control { standard: "SOC 2", ids: "CC6.1", about: "who gets in" }];
        let empty = Section::new("none", "Nothing", &["what"], vec![]);
        Document::new("releases", "A <report>", CONTROLS, &evidence, Some(period), vec![section, empty])
    }

    #[test]
    fn json_has_the_sections_by_name_with_typed_values() {
        let value: Value = serde_json::from_str(&json_text(&hostile()).unwrap()).unwrap();
        assert_eq!((&value["schema"], &value["report"]), (&json!("strongroom.report/1"), &json!("releases")));
        let rows = &value["sections"]["taken"]["rows"];
        assert_eq!((&rows[0]["taken"], &rows[0]["last_at"]), (&json!(3), &json!("2026-11-02T03:04:05Z")));
        assert_eq!(rows[1]["last_at"], Value::Null);
        assert_eq!(value["sources"][0]["root"], json!("ab".repeat(32)));
        assert_eq!(value["notes"].as_array().unwrap().len(), 1, "an incomplete log is said to be one");
    }

    #[test]
    fn a_spreadsheet_gets_no_formula() {
        let text = csv(&hostile());
        assert!(text.starts_with("\"section\",\"who\",\"taken\",\"last_at\"\r\n"), "{text}");
        assert!(text.contains("\r\n\"taken\",\"'=1+1|<script>"), "{text}");
        assert!(text.contains("\"a \"\"b\"\", & 'c' \u{fffd}[2J\u{fffd}\",\"12\",\"\""), "{text}");
        assert!(text.contains("\"sources\",\"(organisation)\",\"strongroom/o/org\",\"3\""), "{text}");
    }

    #[test]
    fn markdown_stays_text() {
        let text = markdown(&hostile());
        assert!(text.contains("# A &lt;report&gt;"), "{text}");
        assert!(text.contains("| =1+1\\|&lt;script&gt;alert(1)&lt;/script&gt; | 3 |"), "{text}");
        assert!(text.contains("- aligned with SOC 2 CC6.1: who gets in"), "{text}");
        assert!(!text.contains('\u{1b}') && text.contains("## Nothing\n\nNone."), "{text}");
    }

    #[test]
    fn a_terminal_gets_columns() {
        let text = terminal(&hostile());
        assert!(text.contains("\nCodes taken\nWHO") && text.contains("\nNothing\n  none\n"), "{text}");
        assert!(text.contains("note: Only some records") && !text.contains('\u{1b}'), "{text}");
    }
}
