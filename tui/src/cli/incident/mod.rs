//! `strongroom incident`: stopping what somebody may be misusing, collecting what happened, and saying what has to be replaced.

mod export;
mod timeline;

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use serde::Serialize;
use strongroom_proto::ids::{IncidentId, Slug};
use strongroom_proto::method::incident::{Close, Closed, Item, List, Open, PersonState, Rotate, Show, VaultState};
use strongroom_proto::words::IncidentCause;

use super::context::Context;
use super::error::CliError;
use super::output::{clean, table};
use super::vault::words;
use super::when;

/// `strongroom incident`
#[derive(Debug, Subcommand)]
pub(super) enum Incident {
    /// Freeze clients and suspend people at once; records that follow name the incident (admins)
    #[command(group(clap::ArgGroup::new("involved").required(true).multiple(true).args(["vaults", "people"])))]
    Open {
        /// Freeze this client; may be repeated
        #[arg(long = "vault", value_name = "VAULT")]
        vaults: Vec<Slug>,
        /// Suspend this person or script; may be repeated
        #[arg(long = "person", value_name = "NAME")]
        people: Vec<Slug>,
        /// Why, for the record of each client: name no other client in it
        #[arg(short, long)]
        reason: String,
    },
    /// List incidents
    #[command(name = "ls", visible_alias = "list")]
    List {
        /// Those that are over too
        #[arg(long)]
        all: bool,
    },
    /// Show one incident
    Show {
        /// Which
        #[arg(value_name = "ID")]
        incident: IncidentId,
    },
    /// Collect a timeline and the verifiable logs that it is made from, as far as you may export them
    Export {
        /// Which
        #[arg(value_name = "ID")]
        incident: IncidentId,
        /// The new folder
        #[arg(value_name = "DIR")]
        out: PathBuf,
        /// Look into the log of this client as well; may be repeated
        #[arg(long, value_name = "VAULT")]
        also: Vec<Slug>,
    },
    /// Close an incident and list the accounts that need a new seed (admins)
    Close {
        /// Which
        #[arg(value_name = "ID")]
        incident: IncidentId,
        /// What came of it, for the record
        #[arg(short, long)]
        note: String,
        /// How long before the incident codes count that were taken, in whole hours
        #[arg(long, value_name = "TIME", value_parser = when::duration, default_value = "7d")]
        window: Duration,
        /// Thaw the clients that it froze
        #[arg(long)]
        thaw: bool,
        /// Resume the people whom it suspended
        #[arg(long)]
        resume: bool,
    },
}

#[derive(Serialize)]
struct OpenedBody<'a> {
    incident: IncidentId,
    froze: &'a [Slug],
    suspended: &'a [Slug],
    sessions: u64,
    drained: bool,
}

pub(super) async fn incident(context: &Context, command: Incident) -> Result<(), CliError> {
    match command {
        Incident::Open { vaults, people, reason } => open(context, Open { reason, vaults, people }).await,
        Incident::List { all } => {
            let list = context.log_in().await?.call(&List { all }).await?;
            context.out.answer("strongroom.incidents/1", &list, &list_text(&list.items, context.out.terminal))
        }
        Incident::Show { incident } => {
            let item = context.log_in().await?.call(&Show { incident }).await?;
            context.out.answer("strongroom.incident/1", &item, &show_text(&item))
        }
        Incident::Export { incident, out, also } => export::export(context, incident, &out, also).await,
        Incident::Close { incident, note, window, thaw, resume } => {
            let hours = u32::try_from(window.as_secs().div_ceil(3600));
            let window_h = hours.map_err(|_| CliError::usage("--window is too long."))?;
            let close = Close { incident, note, window_h: Some(window_h), thaw, resume };
            let closed = context.log_in().await?.call(&close).await?;
            context.out.answer("strongroom.incident_closed/1", &closed, &closed_text(&closed))
        }
    }
}

async fn open(context: &Context, open: Open) -> Result<(), CliError> {
    let opened = context.log_in().await?.call(&open).await?;
    if !opened.drained {
        context.out.say("A reply that was on its way was not read in time: a code in it can still be read.");
    }
    let list = |slugs: &[Slug]| if slugs.is_empty() { "nobody".to_owned() } else { words(slugs) };
    let froze = if opened.froze.is_empty() { "no client".to_owned() } else { words(&opened.froze) };
    let sentence = format!("Incident {}: froze {froze}, suspended {}", opened.incident, list(&opened.suspended));
    let body = OpenedBody {
        incident: opened.incident,
        froze: &opened.froze,
        suspended: &opened.suspended,
        sessions: opened.sessions,
        drained: opened.drained,
    };
    context.out.changed("strongroom.incident_opened/1", body, &opened.receipt, &sentence)
}

fn list_text(items: &[Item], terminal: bool) -> String {
    let row = |item: &Item| {
        let vaults: Vec<Slug> = item.vaults.iter().map(|state| state.vault.clone()).collect();
        let people: Vec<Slug> = item.people.iter().map(|state| state.identity.clone()).collect();
        vec![
            item.incident.to_string(),
            when::utc(item.opened_at),
            item.opened_by.to_string(),
            item.closed_at.map_or_else(|| "open".to_owned(), when::utc),
            words(&vaults),
            words(&people),
            item.reason.clone().unwrap_or_default(),
        ]
    };
    let heading = ["ID", "OPENED", "BY", "CLOSED", "CLIENTS", "PEOPLE", "REASON"];
    table(&heading, &items.iter().map(row).collect::<Vec<_>>(), terminal)
}

fn show_text(item: &Item) -> String {
    let mut lines = vec![
        ("incident", item.incident.to_string()),
        ("opened", format!("{} by {}", when::utc(item.opened_at), item.opened_by)),
    ];
    lines.extend(item.reason.clone().map(|reason| ("reason", reason)));
    let by = item.closed_by.as_ref().map_or_else(String::new, |by| format!(" by {by}"));
    lines.extend(item.closed_at.map(|at| ("closed", format!("{}{by}", when::utc(at)))));
    lines.extend(item.vaults.iter().map(|state| ("client", vault_text(state))));
    lines.extend(item.people.iter().map(|state| ("person", person_text(state))));
    lines.iter().map(|(name, value)| format!("{name:<10}{}\n", clean(value))).collect()
}

fn vault_text(state: &VaultState) -> String {
    let VaultState { vault, froze, frozen, .. } = state;
    match (frozen, froze) {
        (true, true) => format!("{vault}: frozen by the incident"),
        (true, false) => format!("{vault}: frozen"),
        (false, _) => format!("{vault}: not frozen"),
    }
}

fn person_text(state: &PersonState) -> String {
    let by = if state.suspended { ", suspended by the incident" } else { "" };
    format!("{}: {}{by}", state.identity, state.status)
}

fn closed_text(closed: &Closed) -> String {
    let mut text = format!("The incident is closed (record {}).\n", closed.receipt.seq);
    let mut say = |what: &str, who: &[Slug]| {
        if !who.is_empty() {
            text.push_str(&format!("{what}: {}\n", words(who)));
        }
    };
    say("Thawed", &closed.thawed);
    say("Resumed", &closed.resumed);
    say("Still FROZEN", &closed.frozen);
    say("Still SUSPENDED", &closed.suspended);
    if closed.total == 0 {
        text.push_str(&format!("No seed has to be replaced for what happened since {}.\n", when::utc(closed.since)));
        return text;
    }
    text.push_str(&format!("{} seeds have to be replaced (codes since {}):\n", closed.total, when::utc(closed.since)));
    for one in &closed.rotate {
        text.push_str(&format!("  {}  {}\n", one.account, causes_text(one)));
    }
    let more = closed.total.saturating_sub(closed.rotate.len() as u64);
    if more > 0 {
        text.push_str(&format!("  and {more} more\n"));
    }
    text
}

fn causes_text(one: &Rotate) -> String {
    let cause = |cause: &IncidentCause| match cause {
        IncidentCause::Taken => "codes taken by somebody of the incident",
        IncidentCause::Exposed => "codes given in a client of the incident",
        IncidentCause::Listed => "on the rotation list",
    };
    let causes: Vec<&str> = one.causes.iter().map(cause).collect();
    let last =
        one.last.map_or_else(String::new, |last| format!("; {} codes, the last {}", one.releases, when::utc(last)));
    format!("{}{last}", causes.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_closed_incident_says_what_is_left_to_do() {
        let receipt = json!({ "log": "l", "seq": 7, "leaf": "ab" });
        let mut closed = json!({
            "since": "2026-11-14T19:00:00Z", "rotate": [], "total": 0, "thawed": [], "resumed": [], "frozen": ["acme"],
            "suspended": ["jana"], "receipt": receipt,
        });
        let text = |closed: &serde_json::Value| closed_text(&serde_json::from_value(closed.clone()).unwrap());
        assert_eq!(
            text(&closed),
            "The incident is closed (record 7).\nStill FROZEN: acme\nStill SUSPENDED: jana\nNo seed has to be replaced for what happened since 2026-11-14 19:00:00Z.\n"
        );
        closed["total"] = json!(2);
        closed["rotate"] = json!([{
            "account": "acme/m365", "account_id": "00000000-0000-4000-8000-000000000001", "causes": ["taken", "listed"],
            "releases": 3, "last": "2026-11-21T19:00:00Z",
        }]);
        let text = text(&closed);
        let line = "  acme/m365  codes taken by somebody of the incident, on the rotation list; 3 codes, the last 2026-11-21 19:00:00Z\n";
        assert!(text.contains(line) && text.ends_with("  and 1 more\n"), "{text}");
    }
}
