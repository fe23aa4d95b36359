//! `strongroom account import`: a list of otpauth URIs is parsed here, reported line by line, and handed over in one
//! commit. A row that cannot be read stops everything, unless it is told to be left out.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;
use strongroom_proto::ids::{AccountAddress, Slug};
use strongroom_proto::method::Receipt;
use strongroom_proto::words::OtpKind;
use zeroize::Zeroizing;

use super::context::Context;
use super::error::CliError;
use super::output::clean;
use super::rows;
use crate::import::{Candidate, FILE_LEN_MAX, Parsed, RowProblem, derive_slugs, parse_otpauth};

/// `strongroom account import`
#[derive(Debug, clap::Args)]
pub(super) struct Import {
    /// Into which client's vault
    #[arg(value_name = "VAULT")]
    vault: Slug,
    /// The list, one otpauth:// URI a line; - reads standard input
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Show what would be imported; needs no agent
    #[arg(long)]
    dry_run: bool,
    /// Give accounts that exist the new seed: they keep grants and history
    #[arg(long)]
    replace: bool,
    /// Leave out rows that cannot be read and import the others (exit code 9)
    #[arg(long)]
    skip_bad: bool,
}

/// `strongroom.import/1`: members are only ever added.
#[derive(Serialize)]
struct Body<'a> {
    vault: &'a Slug,
    dry_run: bool,
    imported: usize,
    skipped: usize,
    rows: &'a [ReportRow],
    receipt: Option<&'a Receipt>,
}

/// One row of the report.
#[derive(Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum ReportRow {
    /// It can be imported.
    Good { line: usize, account: AccountAddress, issuer: String, label: String, kind: OtpKind, notes: Vec<String> },
    /// It cannot.
    Bad { line: usize, problem: String },
}

impl ReportRow {
    const fn is_bad(&self) -> bool {
        matches!(self, Self::Bad { .. })
    }
}

pub(super) async fn import(context: &Context, arguments: Import) -> Result<(), CliError> {
    let parsed =
        parse_otpauth(&read(&arguments.from)?).map_err(|problem| CliError::caused("nothing was imported", &problem))?;
    let candidates: Vec<&Candidate> = parsed.candidates().collect();
    let slugs = derive_slugs(candidates.iter().map(|row| (row.issuer.as_str(), row.label.as_str())));
    let report = report(&arguments.vault, &parsed, &slugs);
    let skipped = report.len() - candidates.len();
    if let Err(error) = refuse_bad_rows(&arguments, &report) {
        context.out.report(&report_text(report.iter().filter(|row| row.is_bad())));
        return Err(error);
    }

    let receipt = if arguments.dry_run {
        None
    } else {
        let rows = candidates.iter().zip(slugs).map(|(candidate, slug)| rows::row(candidate, slug)).collect();
        let mut client = context.log_in().await?;
        Some(rows::import(&mut client, &arguments.vault, "otpauth", arguments.replace, rows).await?.receipt)
    };
    let body = Body {
        vault: &arguments.vault,
        dry_run: arguments.dry_run,
        imported: if arguments.dry_run { 0 } else { candidates.len() },
        skipped,
        rows: &report,
        receipt: receipt.as_ref(),
    };
    let done = summary(&arguments.vault, candidates.len(), receipt.as_ref());
    let lines = if context.out.quiet { String::new() } else { format!("{}{done}\n", report_text(&report)) };
    context.out.answer("strongroom.import/1", body, &lines)?;
    if skipped > 0 {
        return Err(CliError::partly_done(format!("{skipped} of {} rows were left out.", report.len())));
    }
    Ok(())
}

/// Reads at most one byte more than a file may have: the parser says what is too long.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let failed = |error: std::io::Error| CliError::caused(&format!("cannot read {}", path.display()), &error);
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(std::fs::File::open(path).map_err(failed)?)
    };
    // Room from the start: growing would leave unwiped copies of the secrets behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_LEN_MAX + 64));
    source.take(FILE_LEN_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn report(vault: &Slug, parsed: &Parsed, slugs: &[Slug]) -> Vec<ReportRow> {
    let mut slugs = slugs.iter();
    let row = |row: &Result<Candidate, RowProblem>| match row {
        Ok(candidate) => slugs.next().map(|slug| ReportRow::Good {
            line: candidate.line,
            account: AccountAddress { vault: vault.clone(), account: slug.clone() },
            issuer: candidate.issuer.clone(),
            label: candidate.label.clone(),
            kind: candidate.kind,
            notes: candidate.notes.iter().map(ToString::to_string).collect(),
        }),
        Err(row) => Some(ReportRow::Bad { line: row.line, problem: row.problem.to_string() }),
    };
    parsed.rows.iter().filter_map(row).collect()
}

fn refuse_bad_rows(arguments: &Import, report: &[ReportRow]) -> Result<(), CliError> {
    let problems: Vec<_> = report.iter().filter(|row| row.is_bad()).collect();
    let (bad, good) = (problems.len(), report.len() - problems.len());
    let sentence = match (good, bad) {
        (0, 0) => "There is no row to import.".to_owned(),
        (0, _) => "Nothing was imported: no row can be read.".to_owned(),
        (_, 0) => return Ok(()),
        _ if arguments.skip_bad => return Ok(()),
        _ => format!("Nothing was imported: {bad} of {} rows cannot be read.", report.len()),
    };
    let error = CliError::failure(sentence).detail(serde_json::json!({ "rows": problems }));
    Err(if good > 0 { error.hint("correct these lines, or leave them out with --skip-bad") } else { error })
}

fn report_text<'a>(report: impl IntoIterator<Item = &'a ReportRow>) -> String {
    let line = |row: &ReportRow| match row {
        ReportRow::Good { line, account, notes, .. } if notes.is_empty() => format!("line {line}: {account}\n"),
        ReportRow::Good { line, account, notes, .. } => {
            format!("line {line}: {account} ({})\n", clean(&notes.join("; ")))
        }
        ReportRow::Bad { line, problem } => format!("line {line}: LEFT OUT: {}\n", clean(problem)),
    };
    report.into_iter().map(line).collect()
}

fn summary(vault: &Slug, count: usize, receipt: Option<&Receipt>) -> String {
    let accounts = if count == 1 { "1 account".to_owned() } else { format!("{count} accounts") };
    match receipt {
        Some(receipt) => format!("Imported {accounts} into {vault} (record {}).", receipt.seq),
        None => format!("Would import {accounts} into {vault}; nothing was changed."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    fn reported(text: &str) -> Vec<ReportRow> {
        let parsed = parse_otpauth(text.as_bytes()).unwrap();
        let slugs = derive_slugs(parsed.candidates().map(|row| (row.issuer.as_str(), row.label.as_str())));
        report(&Slug::new("acme").unwrap(), &parsed, &slugs)
    }

    fn arguments(skip_bad: bool) -> Import {
        Import { vault: Slug::new("acme").unwrap(), from: "-".into(), dry_run: true, replace: false, skip_bad }
    }

    #[test]
    fn the_report_says_slug_repairs_and_problems_line_by_line() {
        let text = format!(
            "otpauth://totp/Microsoft:admin@acme.example?secret={SECRET}&algorithm=SHA1&digits=6&period=30\n\n\
             nonsense\notpauth://totp/GitHub:bot?secret={SECRET}====&algorithm=sha1&digits=8&period=30\n"
        );
        assert_eq!(
            report_text(&reported(&text)),
            "line 1: acme/microsoft-admin\n\
             line 3: LEFT OUT: this is no otpauth:// URI\n\
             line 4: acme/github-bot (padding removed from the secret; unusual spelling of the algorithm)\n"
        );
    }

    #[test]
    fn one_bad_row_stops_everything_unless_told_otherwise() {
        let report = reported(&format!("nonsense\notpauth://totp/x?secret={SECRET}\n"));
        assert!(refuse_bad_rows(&arguments(true), &report).is_ok());
        let error = refuse_bad_rows(&arguments(false), &report).unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (1, "Nothing was imported: 1 of 2 rows cannot be read."));
        assert!(error.to_json().contains(r#""rows":[{"line":1,"problem":"this is no otpauth:// URI"}]"#));
        assert_eq!(refuse_bad_rows(&arguments(true), &reported("x")).unwrap_err().code, 1, "none is left");
        assert_eq!(refuse_bad_rows(&arguments(true), &[]).unwrap_err().message, "There is no row to import.");
    }

    #[test]
    fn the_json_rows_are_fixed() {
        let report = reported(&format!("otpauth://hotp/A:b?secret={SECRET}&counter=1&digits=6&algorithm=SHA1\nx\n"));
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            r#"[{"line":1,"account":"acme/a-b","issuer":"A","label":"b","kind":"hotp","notes":[]},{"line":2,"problem":"this is no otpauth:// URI"}]"#
        );
    }
}
