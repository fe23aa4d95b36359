//! `strongroom grant`: who may do what in which vault.

use std::time::Duration;

use clap::Subcommand;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use strongroom_proto::ids::{GrantId, PendingId, Slug};
use strongroom_proto::method::grant::{self, End, Give as GiveCall};
use strongroom_proto::policy::Hours;
use strongroom_proto::words::VaultRole;

use super::context::Context;
use super::error::CliError;
use super::output::table;
use super::pending::waits;
use super::vault::words;
use super::{hours, when};

/// `strongroom grant`
#[derive(Debug, Subcommand)]
pub(super) enum Grant {
    /// Give a role in a vault (admins; managers viewer and eligible; nobody to themselves)
    Give(Give),
    /// List grants that have not ended
    #[command(name = "list", visible_alias = "ls")]
    List {
        /// Only this client
        #[arg(value_name = "VAULT")]
        vault: Option<Slug>,
        /// Only this identity
        #[arg(long, value_name = "IDENTITY")]
        of: Option<Slug>,
    },
    /// End a grant now
    End {
        /// Which, as strongroom grant list shows it
        #[arg(value_name = "ID")]
        id: GrantId,
        /// Why, for the record
        #[arg(short, long)]
        reason: Option<String>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// `strongroom grant give`
#[derive(Debug, clap::Args)]
pub(super) struct Give {
    /// Where
    #[arg(value_name = "VAULT")]
    vault: Slug,
    /// To whom; with --group, to everybody in this group
    #[arg(value_name = "IDENTITY")]
    to: Slug,
    /// viewer, eligible, manager or auditor
    #[arg(value_name = "ROLE")]
    role: VaultRole,
    /// IDENTITY is a group
    #[arg(long)]
    group: bool,
    /// Only this account of the vault; may be repeated
    #[arg(long = "account", value_name = "SLUG")]
    accounts: Vec<Slug>,
    /// From when, for example 2026-11-30T08:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = when::timestamp)]
    from: Option<Timestamp>,
    /// Until when [default: standing]
    #[arg(long, value_name = "TIME", value_parser = when::timestamp, conflicts_with = "length")]
    until: Option<Timestamp>,
    /// For how long, for example 8h
    #[arg(long = "for", id = "length", value_name = "TIME", value_parser = when::duration)]
    length: Option<Duration>,
    /// Only on these days and hours, for example "mon-fri 08:00-18:00 Europe/Berlin"
    #[arg(long, value_name = "HOURS", value_parser = hours::hours)]
    hours: Option<Hours>,
    /// Why, for the record
    #[arg(short, long)]
    reason: Option<String>,
    /// Ticket number, for the record
    #[arg(short, long)]
    ticket: Option<String>,
}

#[derive(Serialize)]
struct Touched {
    grant: GrantId,
}

#[derive(Serialize)]
struct NewGrant {
    grant: GrantId,
    in_force: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<PendingId>,
}

/// Whose a grant is, for people.
fn holder(identity: Option<&Slug>, group: Option<&Slug>) -> String {
    match (identity, group) {
        (Some(identity), _) => identity.to_string(),
        (None, Some(group)) => format!("group {group}"),
        (None, None) => "?".to_owned(),
    }
}

pub(super) async fn grant(context: &Context, command: Grant) -> Result<(), CliError> {
    match command {
        Grant::Give(arguments) => {
            let call = give(arguments, Timestamp::now())?;
            let given = context.log_in().await?.call(&call).await?;
            let until = call.until.map_or_else(|| "standing".to_owned(), |until| format!("until {}", when::utc(until)));
            let holder = holder(call.identity.as_ref(), call.group.as_ref());
            let grant = given.grant;
            let what = format!("{holder} is {} in {}, {until}; grant {grant}", call.role, call.vault);
            let sentence = waits(&what, given.in_force, given.pending);
            let body = NewGrant { grant, in_force: given.in_force, pending: given.pending };
            context.out.changed("strongroom.grant_given/1", body, &given.receipt, &sentence)
        }
        Grant::List { vault, of } => {
            let list = context.log_in().await?.call(&grant::List { vault, identity: of }).await?;
            context.out.answer("strongroom.grants/1", &list, &text(&list.items, context.out.terminal))
        }
        Grant::End { id, reason, yes } => {
            context.confirm(yes, &format!("Grant {id} will end now."))?;
            let changed = context.log_in().await?.call(&End { grant: id, reason }).await?;
            let sentence = format!("Ended grant {id}");
            context.out.changed("strongroom.grant_ended/1", Touched { grant: id }, &changed.receipt, &sentence)
        }
    }
}

fn give(arguments: Give, now: Timestamp) -> Result<GiveCall, CliError> {
    let starts = arguments.from.unwrap_or(now);
    let ends = match arguments.length {
        Some(length) => {
            let length = SignedDuration::try_from(length).ok().and_then(|length| starts.checked_add(length).ok());
            Some(length.ok_or_else(|| CliError::usage("--for reaches beyond the calendar."))?)
        }
        None => arguments.until,
    };
    if ends.is_some_and(|ends| ends <= starts) {
        return Err(CliError::usage("The grant would end before it begins."));
    }
    Ok(GiveCall {
        vault: arguments.vault,
        identity: (!arguments.group).then(|| arguments.to.clone()),
        group: arguments.group.then_some(arguments.to),
        role: arguments.role,
        accounts: (!arguments.accounts.is_empty()).then_some(arguments.accounts),
        from: arguments.from,
        until: ends,
        hours: arguments.hours,
        reason: arguments.reason,
        ticket: arguments.ticket,
    })
}

fn text(items: &[grant::Item], terminal: bool) -> String {
    let row = |item: &grant::Item| {
        vec![
            item.vault.to_string(),
            holder(item.identity.as_ref(), item.group.as_ref()),
            item.role.to_string(),
            item.accounts.as_deref().map_or_else(|| "all".to_owned(), words),
            when::utc(item.from),
            item.until.map_or_else(|| "standing".to_owned(), when::utc),
            item.hours.as_ref().map_or_else(|| "-".to_owned(), hours::words),
            if item.pending { "waits" } else { "ok" }.to_owned(),
            item.given_by.to_string(),
            item.grant.to_string(),
        ]
    };
    let heading = ["VAULT", "IDENTITY", "ROLE", "ACCOUNTS", "FROM", "UNTIL", "HOURS", "STATE", "GIVEN BY", "ID"];
    table(&heading, &items.iter().map(row).collect::<Vec<_>>(), terminal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        give: Give,
    }

    fn give_at(flags: &str) -> Result<GiveCall, CliError> {
        let words = ["give", "acme", "jana", "viewer"].into_iter().chain(flags.split_whitespace());
        let arguments = <Line as clap::Parser>::try_parse_from(words).unwrap().give;
        give(arguments, "2026-11-21T19:00:00Z".parse().unwrap())
    }

    #[test]
    fn a_length_counts_from_the_beginning() {
        let until = |flags: &str| give_at(flags).unwrap().until.map(when::utc);
        assert_eq!(until(""), None);
        assert_eq!(until("--for 8h").as_deref(), Some("2026-11-22 03:00:00Z"));
        assert_eq!(until("--for 8h --from 2026-12-01T08:00Z").as_deref(), Some("2026-12-01 16:00:00Z"));
        assert_eq!(until("--until 2026-12-01T08:00Z").as_deref(), Some("2026-12-01 08:00:00Z"));
        assert_eq!(give_at("--until 2020-01-01T00:00Z").unwrap_err().code, 2);
    }

    #[test]
    fn accounts_are_listed_only_when_named() {
        assert_eq!(give_at("").unwrap().accounts, None);
        assert_eq!(give_at("--account a --account b").unwrap().accounts.map(|accounts| accounts.len()), Some(2));
    }
}
