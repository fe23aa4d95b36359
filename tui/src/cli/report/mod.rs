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
#[cfg(test)]
mod tests;
mod unused;

use std::path::PathBuf;

use clap::Subcommand;
use jiff::{SignedDuration, Timestamp};
use strongroom_proto::ids::Slug;

use self::document::{Control, Document, Section};
use self::evidence::{Evidence, Period};
use self::gather::{Org, gather};
use self::output_file::write_new;
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
    /// From when on [default: 90 days before the end]
    #[arg(long, value_name = "TIME", value_parser = when::timestamp)]
    from: Option<Timestamp>,
    /// Until when, exclusive [default: now]
    #[arg(long, value_name = "TIME", value_parser = when::timestamp)]
    to: Option<Timestamp>,
    /// Only this client; may be repeated
    #[arg(long, value_name = "VAULT")]
    vault: Vec<Slug>,
    /// Write a new file that only you can read
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// `strongroom report`
#[derive(Debug, Subcommand)]
pub(super) enum Report {
    /// Who may do what where, since when, until when and through which group
    Access {
        #[command(flatten)]
        common: Common,
        /// Instead: what was given and ended over the period, by whom and why
        #[arg(long)]
        changes: bool,
    },
    /// Standing grants that nobody uses, and people who no longer log in
    Unused {
        #[command(flatten)]
        common: Common,
        /// Not used within so many days
        #[arg(long, value_name = "NUMBER", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3660))]
        days: u32,
    },
    /// Codes taken, by client, person and account
    Releases {
        #[command(flatten)]
        common: Common,
    },
    /// What went past the rule: done alone, break-glass, weaker policies, holds, each use of a shared login
    Exceptions {
        #[command(flatten)]
        common: Common,
    },
    /// Who was revoked, how fast everything ended, and the seeds they knew (admins, org auditors)
    Offboarding {
        #[command(flatten)]
        common: Common,
    },
    /// Seeds that are old, weak, never used or known to somebody who has left
    Hygiene {
        #[command(flatten)]
        common: Common,
        /// A seed is old after so many days
        #[arg(long, value_name = "NUMBER", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36_600))]
        days: u32,
    },
    /// Recertifications and each decision in them
    Recertification {
        #[command(flatten)]
        common: Common,
    },
    /// Backups, drills and restores (admins, org auditors)
    Backups {
        #[command(flatten)]
        common: Common,
    },
    /// Codes computed while the clock stood behind the log, starts and stops
    Clock {
        #[command(flatten)]
        common: Common,
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
    /// A client's monthly folder: its log, its checkpoints and a summary, to be verified by the client
    Pack(pack::Pack),
}

pub(super) async fn report(context: &Context, command: Report) -> Result<(), CliError> {
    match command {
        Report::Access { common, changes } => {
            let make = move |evidence: &Evidence, period| {
                if changes { access::changes(evidence, period) } else { access::now(evidence) }
            };
            give(context, common, Org::IfReadable, "access", "Access", access::CONTROLS, make).await
        }
        Report::Unused { common, days } => {
            let make = move |evidence: &Evidence, _| unused::sections(evidence, days);
            give(context, common, Org::No, "unused", "Unused rights", unused::CONTROLS, make).await
        }
        Report::Releases { common } => {
            give(context, common, Org::IfReadable, "releases", "Codes taken", releases::CONTROLS, releases::sections)
                .await
        }
        Report::Exceptions { common } => {
            let (controls, make) = (exceptions::CONTROLS, exceptions::sections);
            give(context, common, Org::IfReadable, "exceptions", "Exceptions", controls, make).await
        }
        Report::Offboarding { common } => {
            let (controls, make) = (offboarding::CONTROLS, offboarding::sections);
            give(context, common, Org::Needed, "offboarding", "Offboarding", controls, make).await
        }
        Report::Hygiene { common, days } => {
            let make = move |evidence: &Evidence, _| hygiene::sections(evidence, days);
            give(context, common, Org::No, "hygiene", "Hygiene of seeds", hygiene::CONTROLS, make).await
        }
        Report::Recertification { common } => {
            let (controls, make) = (recertification::CONTROLS, recertification::sections);
            give(context, common, Org::IfReadable, "recertification", "Recertification", controls, make).await
        }
        Report::Backups { common } => {
            let (controls, make) = (operations::BACKUP_CONTROLS, operations::backups);
            give(context, common, Org::Needed, "backups", "Backups and drills", controls, make).await
        }
        Report::Clock { common } => {
            let (controls, make) = (operations::CLOCK_CONTROLS, operations::clock);
            give(context, common, Org::IfReadable, "clock", "Clock", controls, make).await
        }
        Report::Identity { slug, days } => identity::report(context, slug, days).await,
        Report::Pack(arguments) => pack::pack(context, arguments).await,
    }
}

/// Gathers, computes, writes.
async fn give(
    context: &Context,
    common: Common,
    org: Org,
    name: &'static str,
    title: &str,
    controls: &'static [Control],
    make: impl FnOnce(&Evidence, Period) -> Vec<Section>,
) -> Result<(), CliError> {
    let period = period(&common, Timestamp::now())?;
    let mut client = context.log_in().await?;
    let evidence = gather(&mut client, &common.vault, org).await?;
    let sections = make(&evidence, period);
    let document = Document::new(name, title, controls, &evidence, period, sections);
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
fn period(common: &Common, now: Timestamp) -> Result<Period, CliError> {
    // Up to and with what happened this instant.
    let to = common.to.unwrap_or_else(|| now.checked_add(SignedDuration::from_secs(1)).unwrap_or(now));
    let before = to.checked_sub(SignedDuration::from_hours(24 * DAYS)).unwrap_or(Timestamp::MIN);
    let from = common.from.unwrap_or(before);
    if from < to { Ok(Period { from, to }) } else { Err(CliError::usage("--from is before --to.")) }
}
