//! Where text goes: results to standard output, everything else to standard error, so that a pipe gets the result alone.

use std::io::{IsTerminal as _, Write as _};

use serde::Serialize;
use strongroom_proto::method::Receipt;
use unicode_width::UnicodeWidthStr as _;
use zeroize::Zeroizing;

use super::error::CliError;
use crate::import::forges_display;

/// Room for most answers, so that growing leaves no unwiped copies of a code behind.
const JSON_CAPACITY: usize = 4096;

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Color {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How answers are given.
#[derive(Clone, Copy)]
pub(super) struct Output {
    /// One JSON object instead of text.
    pub(super) json: bool,
    /// Nothing but results.
    pub(super) quiet: bool,
    /// Standard output is a terminal: for people.
    pub(super) terminal: bool,
    /// Colour on standard error.
    pub(super) color: bool,
}

/// A JSON answer: its schema, then its members.
#[derive(Serialize)]
struct Document<T> {
    schema: &'static str,
    #[serde(flatten)]
    body: T,
}

/// The answer of a command that changed something.
#[derive(Serialize)]
struct Changed<'a, T> {
    #[serde(flatten)]
    body: T,
    receipt: &'a Receipt,
}

impl Output {
    /// Looks at the streams and the environment.
    pub(super) fn new(json: bool, quiet: bool, color: Color) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let color = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => std::io::stderr().is_terminal() && !set("NO_COLOR") && !dumb,
        };
        Self { json, quiet, terminal: std::io::stdout().is_terminal(), color }
    }

    /// Writes a result.
    pub(super) fn write(&self, text: &str) -> Result<(), CliError> {
        let mut stdout = std::io::stdout().lock();
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
            .map_err(|error| CliError::caused("cannot write to standard output", &error))
    }

    /// Writes a result as one JSON object.
    pub(super) fn write_json<T: Serialize>(&self, schema: &'static str, body: T) -> Result<(), CliError> {
        self.write(&document(schema, body)?)
    }

    /// Writes text for people or the JSON object, as asked for.
    pub(super) fn answer<T: Serialize>(&self, schema: &'static str, body: T, text: &str) -> Result<(), CliError> {
        if self.json { self.write_json(schema, body) } else { self.write(text) }
    }

    /// Reports a change: a sentence for people, else `strongroom.<what>/1` with the receipt.
    pub(super) fn changed<T: Serialize>(
        &self,
        schema: &'static str,
        body: T,
        receipt: &Receipt,
        sentence: &str,
    ) -> Result<(), CliError> {
        if self.json {
            self.write_json(schema, Changed { body, receipt })
        } else if self.quiet {
            Ok(())
        } else {
            self.write(&format!("{} (record {})\n", clean(sentence), receipt.seq))
        }
    }

    /// Says something beside the result.
    pub(super) fn say(&self, text: &str) {
        if !self.quiet && !self.json {
            complain(&format!("{}\n", clean(text)));
        }
    }

    /// Says several lines beside the result.
    pub(super) fn say_lines(&self, lines: &str) {
        if !self.quiet && !self.json {
            complain(lines);
        }
    }

    /// Says what belongs to an error but is longer than a sentence; under `--json` the error object holds it.
    pub(super) fn report(&self, lines: &str) {
        if !self.json {
            complain(lines);
        }
    }

    /// Says how a command failed.
    pub(super) fn fail(&self, error: &CliError) {
        if self.json {
            complain(&format!("{}\n", error.to_json()));
        } else {
            complain(&failure_text(error, self.color));
        }
    }
}

fn failure_text(error: &CliError, color: bool) -> String {
    let (red, bold, plain) = if color { ("\x1b[1;31m", "\x1b[1m", "\x1b[0m") } else { ("", "", "") };
    let mut text = format!("{red}error:{plain} {}\n", clean(&error.message));
    if let Some(hint) = &error.hint {
        text.push_str(&format!("{bold}hint:{plain} {}\n", clean(hint)));
    }
    text
}

/// Writes to standard error; there is nobody left to tell if that fails.
fn complain(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

fn document<T: Serialize>(schema: &'static str, body: T) -> Result<Zeroizing<String>, CliError> {
    let mut text = Zeroizing::new(Vec::with_capacity(JSON_CAPACITY));
    serde_json::to_writer(&mut *text, &Document { schema, body })
        .map_err(|error| CliError::caused("cannot write the answer as JSON", &error))?;
    text.push(b'\n');
    String::from_utf8(std::mem::take(&mut *text))
        .map(Zeroizing::new)
        .map_err(|_| CliError::failure("the answer is not UTF-8"))
}

/// Takes out of names and sentences what could forge the look of a terminal: the agent and its users chose them.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|character| if forges_display(character) { '\u{fffd}' } else { character }).collect()
}

/// Sets rows for people in columns under a heading; for programs as lines of tab-separated fields.
pub(super) fn table(heading: &[&str], rows: &[Vec<String>], terminal: bool) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| clean(cell)).collect()).collect();
    if !terminal {
        return rows.iter().map(|row| format!("{}\n", row.join("\t"))).collect();
    }
    let heading: Vec<String> = heading.iter().map(|&cell| cell.to_owned()).collect();
    let width = |column: usize| {
        let cells = std::iter::once(&heading).chain(&rows);
        cells.filter_map(|row| row.get(column)).map(|cell| cell.width()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width.saturating_sub(cell.width()) + 2));
        }
        format!("{}\n", line.trim_end())
    };
    std::iter::once(&heading).chain(&rows).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_sentence_and_a_hint() {
        let error = CliError::usage("Two\nlines\u{1b}[2J.").hint("Try this.");
        assert_eq!(failure_text(&error, false), "error: Two\u{fffd}lines\u{fffd}[2J.\nhint: Try this.\n");
        let colored = failure_text(&error, true);
        assert!(colored.starts_with("\u{1b}[1;31merror:\u{1b}[0m "), "{colored}");
    }

    #[test]
    fn tables_are_aligned_by_width_for_people_and_tabbed_for_programs() {
        let rows = vec![vec!["東京".into(), "x".into()], vec!["a\tb".into(), String::new()]];
        assert_eq!(table(&["NAME", "ROLE"], &rows, true), "NAME  ROLE\n東京  x\na\u{fffd}b\n");
        assert_eq!(table(&["NAME", "ROLE"], &rows, false), "東京\tx\na\u{fffd}b\t\n");
    }

    #[test]
    fn a_document_begins_with_its_schema() {
        #[derive(Serialize)]
        struct Body {
            z: u8,
            a: u8,
        }
        assert_eq!(
            document("strongroom.x/1", Body { z: 1, a: 2 }).unwrap().as_str(),
            "{\"schema\":\"strongroom.x/1\",\"z\":1,\"a\":2}\n"
        );
    }
}
