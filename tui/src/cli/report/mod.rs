//! `strongroom report`: answers for auditors, clients and those who have to put things right. The client computes them from
//! logs and lists that the caller may read anyway, checks each log against its checkpoint and names it in the report. Logs and
//! lists come in, rows go out: what a report says is decided by pure functions, and its look by others.

mod access;
mod approvals;
mod document;
mod evidence;
mod exceptions;
mod gather;
mod html;
mod hygiene;
mod identity;
mod offboarding;
mod operations;
mod output_file;
mod pack;
mod recertification;
mod releases;
mod render;
mod session;
#[cfg(test)]
mod tests;
mod unused;

use std::path::PathBuf;

use clap::Subcommand;
use jiff::{SignedDuration, Timestamp};
use strongroom_proto::ids::{SessionId, Slug};

use self::document::{Control, Document, Section};
use self::evidence::{Evidence, Period};
use self::gather::{Org, gather};
pub(super) use self::output_file::write_new;
pub(super) use self::render::markdown_text;
use self::render::{Format, render};
use super::context::Context;
use super::error::CliError;
use super::when;

pub(super) use self::identity::report as identity_report;

/// How far back a report looks when nobody says, in days.
const DAYS: i64 = 90;

/// What every report takes.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Common {
    /// How it is written: table, json, csv, markdown, or html for one page to print
    #[arg(long, value_enum, default_value = "table", hide_possible_values = true)]
    format: Format,
    /// Write a new file that only you can read
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// The clients of a report that can be limited to some.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Only {
    /// Only this client, and nothing of others or of the organisation; may be repeated
    #[arg(long, value_name = "VAULT")]
    vault: Vec<Slug>,
}

/// The period of a report on what happened. One on what is now has none.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Span {
    /// From when on [default: 90 days before the end]
    #[arg(long, value_name = "TIME", value_parser = when::timestamp)]
    from: Option<Timestamp>,
    /// Until when, exclusive [default: now]
    #[arg(long, value_name = "TIME", value_parser = when::timestamp)]
    to: Option<Timestamp>,
}

/// `strongroom report`
#[derive(Debug, Subcommand)]
pub(super) enum Report {
    /// Who may do what where, since when, until when and through which group
    Access {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        only: Only,
        /// Instead: what was given and ended over a period, by whom and why
        #[arg(long)]
        changes: bool,
        /// From when on [default: 90 days before the end]
        #[arg(long, value_name = "TIME", value_parser = when::timestamp, requires = "changes")]
        from: Option<Timestamp>,
        /// Until when, exclusive [default: now]
        #[arg(long, value_name = "TIME", value_parser = when::timestamp, requires = "changes")]
        to: Option<Timestamp>,
    },
    /// Standing grants that nobody uses, and people who no longer log in
    Unused {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        only: Only,
        /// Not used within so many days
        #[arg(long, value_name = "NUMBER", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3660))]
        days: u32,
    },
    /// Codes taken, by client, person and account
    Releases {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        only: Only,
        #[command(flatten)]
        span: Span,
    },
    /// What went past the rule: done alone, break-glass, weaker policies, holds, each use of a shared login
    Exceptions {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        only: Only,
        #[command(flatten)]
        span: Span,
    },
    /// Who was revoked, how fast everything ended, and the seeds they knew (admins, org auditors)
    Offboarding {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        span: Span,
    },
    /// Seeds that are old, weak, never used or known to somebody who has left
    Hygiene {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        only: Only,
        /// A seed is old after so many days
        #[arg(long, value_name = "NUMBER", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36_600))]
        days: u32,
    },
    /// Recertifications and each decision in them
    Recertification {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        only: Only,
        #[command(flatten)]
        span: Span,
    },
    /// Backups, drills and restores (admins, org auditors)
    Backups {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        span: Span,
    },
    /// Codes computed while the clock stood behind the log, starts and stops
    Clock {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        only: Only,
        #[command(flatten)]
        span: Span,
    },
    /// Tell what somebody has, took, brought in and vouched for; it is recorded (admins, org auditors)
    Identity {
        /// Whom
        #[arg(value_name = "SLUG")]
        slug: Slug,
        /// How far back codes and logins are looked for [default: 90]
        #[arg(long)]
        days: Option<u32>,
    },
    /// One session from login to end: everything it did, in every log that you may read
    Session {
        /// Which, as strongroom session list and records name it
        #[arg(value_name = "ID")]
        id: SessionId,
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        only: Only,
    },
    /// A client's monthly folder: its log, its checkpoints and a summary, to be verified by the client
    Pack(pack::Pack),
}

pub(super) async fn report(context: &Context, command: Report) -> Result<(), CliError> {
    match command {
        Report::Access { common, only, changes: false, .. } => {
            let kind = Kind { name: "access", title: "Access", controls: access::CONTROLS, org: Org::IfReadable };
            give(context, common, &only.vault, None, kind, |evidence, _| access::now(evidence)).await
        }
        Report::Access { common, only, from, to, .. } => {
            let kind =
                Kind { name: "access", title: "Changes of access", controls: access::CONTROLS, org: Org::IfReadable };
            give(context, common, &only.vault, Some(Span { from, to }), kind, access::changes).await
        }
        Report::Unused { common, only, days } => {
            let kind = Kind { name: "unused", title: "Unused rights", controls: unused::CONTROLS, org: Org::No };
            give(context, common, &only.vault, None, kind, move |evidence, _| unused::sections(evidence, days)).await
        }
        Report::Releases { common, only, span } => {
            let kind =
                Kind { name: "releases", title: "Codes taken", controls: releases::CONTROLS, org: Org::IfReadable };
            give(context, common, &only.vault, Some(span), kind, releases::sections).await
        }
        Report::Exceptions { common, only, span } => {
            let kind =
                Kind { name: "exceptions", title: "Exceptions", controls: exceptions::CONTROLS, org: Org::IfReadable };
            give(context, common, &only.vault, Some(span), kind, exceptions::sections).await
        }
        Report::Offboarding { common, span } => {
            let kind =
                Kind { name: "offboarding", title: "Offboarding", controls: offboarding::CONTROLS, org: Org::Needed };
            give(context, common, &[], Some(span), kind, offboarding::sections).await
        }
        Report::Hygiene { common, only, days } => {
            let kind = Kind { name: "hygiene", title: "Hygiene of seeds", controls: hygiene::CONTROLS, org: Org::No };
            give(context, common, &only.vault, None, kind, move |evidence, _| hygiene::sections(evidence, days)).await
        }
        Report::Recertification { common, only, span } => {
            let controls = recertification::CONTROLS;
            let kind = Kind { name: "recertification", title: "Recertification", controls, org: Org::IfReadable };
            give(context, common, &only.vault, Some(span), kind, recertification::sections).await
        }
        Report::Backups { common, span } => {
            let controls = operations::BACKUP_CONTROLS;
            let kind = Kind { name: "backups", title: "Backups and drills", controls, org: Org::Alone };
            give(context, common, &[], Some(span), kind, operations::backups).await
        }
        Report::Clock { common, only, span } => {
            let kind =
                Kind { name: "clock", title: "Clock", controls: operations::CLOCK_CONTROLS, org: Org::IfReadable };
            give(context, common, &only.vault, Some(span), kind, operations::clock).await
        }
        Report::Identity { slug, days } => identity::report(context, slug, days).await,
        Report::Session { id, common, only } => {
            let kind = Kind { name: "session", title: "Session", controls: session::CONTROLS, org: Org::IfReadable };
            give(context, common, &only.vault, None, kind, move |evidence, _| session::sections(evidence, id)).await
        }
        Report::Pack(arguments) => pack::pack(context, arguments).await,
    }
}

/// What is the same in every report of a kind.
struct Kind {
    name: &'static str,
    title: &'static str,
    controls: &'static [Control],
    org: Org,
}

/// Gathers, computes, writes. Without a span it is about now.
async fn give(
    context: &Context,
    common: Common,
    only: &[Slug],
    span: Option<Span>,
    kind: Kind,
    make: impl FnOnce(&Evidence, Period) -> Vec<Section>,
) -> Result<(), CliError> {
    let period = span.map(|span| period(span, Timestamp::now())).transpose()?;
    let mut client = context.log_in().await?;
    let evidence = gather(&mut client, only, kind.org).await?;
    let sections = make(&evidence, period.unwrap_or(Period { from: Timestamp::MIN, to: Timestamp::MAX }));
    let mut document = Document::new(kind.name, kind.title, kind.controls, &evidence, period, sections);
    if kind.org != Org::No && !evidence.has_org() {
        document.notes.push("What stands in the organisation's log only is not part of this report.".to_owned());
    }
    let format = if context.out.json { Format::Json } else { common.format };
    let text = render(&document, format)?;
    match common.out {
        Some(path) => {
            write_new(&path, &text)?;
            context.out.say(&format!("Wrote {}.", path.display()));
            Ok(())
        }
        None => context.out.write(&text),
    }
}

/// The period that was asked for, else the last 90 days.
fn period(span: Span, now: Timestamp) -> Result<Period, CliError> {
    // Up to and with what happened this instant.
    let to = span.to.unwrap_or_else(|| now.checked_add(SignedDuration::from_secs(1)).unwrap_or(now));
    let before = to.checked_sub(SignedDuration::from_hours(24 * DAYS)).unwrap_or(Timestamp::MIN);
    let from = span.from.unwrap_or(before);
    if from < to { Ok(Period { from, to }) } else { Err(CliError::usage("--from is before --to.")) }
}
