//! `strongroom alert`: what raised an alarm, who has been told, and who answered.

use std::fmt;
use std::str::FromStr;

use clap::Subcommand;
use serde::Serialize;
use strongroom_proto::client::{CallError, Client};
use strongroom_proto::error::ErrorKind;
use strongroom_proto::ids::Slug;
use strongroom_proto::method::Receipt;
use strongroom_proto::method::alert::{Ack, Item, List, ListResult, Seen};

use super::context::Context;
use super::error::CliError;
use super::output::table;
use super::when;

/// `strongroom alert`
#[derive(Debug, Subcommand)]
pub(super) enum Alert {
    /// List alerts that nobody has answered; it is on record that you have seen them
    #[command(name = "ls", visible_alias = "list")]
    List {
        /// Only those in the log of this client
        #[arg(value_name = "VAULT")]
        vault: Option<Slug>,
        /// Those that were answered too
        #[arg(long)]
        all: bool,
    },
    /// Answer alerts, except about what you did yourself
    Ack {
        /// Which, as the list shows them: the record's place, after the client's name if it is in a client's log
        #[arg(value_name = "[VAULT/]SEQ", required = true)]
        alerts: Vec<Place>,
        /// What you found or did, for the record
        #[arg(short, long)]
        note: String,
    },
}

/// What people call an alert: `41` in the organisation's log, `acme/41` in a client's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    vault: Option<Slug>,
    seq: u64,
}

impl Place {
    fn of(item: &Item) -> Self {
        Self { vault: item.vault.clone(), seq: item.seq }
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "an alert is called SEQ or VAULT/SEQ, for example 41 or acme/41".to_owned();
        let (vault, seq) = match text.split_once('/') {
            Some((vault, seq)) => (Some(Slug::new(vault).map_err(|_| wrong())?), seq),
            None => (None, text),
        };
        Ok(Self { vault, seq: seq.parse().map_err(|_| wrong())? })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.vault {
            Some(vault) => write!(formatter, "{vault}/{}", self.seq),
            None => write!(formatter, "{}", self.seq),
        }
    }
}

/// `strongroom.alerts_answered/1`: members are only ever added.
#[derive(Debug, Default, Serialize)]
struct Acked {
    answered: Vec<Answered>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed: Vec<Failed>,
}

#[derive(Debug, Serialize)]
struct Answered {
    alert: String,
    receipt: Receipt,
}

#[derive(Debug, Serialize)]
struct Failed {
    alert: String,
    kind: ErrorKind,
    message: String,
}

pub(super) async fn alert(context: &Context, command: Alert) -> Result<(), CliError> {
    match command {
        Alert::List { vault, all } => {
            let list = context.log_in().await?.call(&List { vault, all }).await?;
            context.out.answer("strongroom.alerts/1", &list, &text(&list, context.out.terminal))
        }
        Alert::Ack { alerts, note } => {
            let mut client = context.log_in().await?;
            let acked = ack(&mut client, &alerts, &note).await?;
            let Acked { answered, failed } = &acked;
            let done = |one: &Answered| format!("Alert {} is answered (record {})\n", one.alert, one.receipt.seq);
            let lines: String = answered.iter().map(done).collect();
            let lines = if context.out.quiet { "" } else { &lines };
            context.out.answer("strongroom.alerts_answered/1", &acked, lines)?;
            if failed.is_empty() {
                return Ok(());
            }
            let why: Vec<String> = failed.iter().map(|one| format!("{}: {}", one.alert, one.message)).collect();
            let (count, all) = (failed.len(), alerts.len());
            Err(CliError::partly_done(format!("{count} of {all} alerts were not answered. {}", why.join(" "))))
        }
    }
}

/// Answers alerts one by one.
///
/// # Errors
/// The refusal of the first, if none could be answered, and any failure of the connection.
async fn ack(client: &mut Client, alerts: &[Place], note: &str) -> Result<Acked, CliError> {
    let (mut acked, mut first) = (Acked::default(), None);
    for place in alerts {
        let ack = Ack { vault: place.vault.clone(), seq: place.seq, note: note.to_owned() };
        let alert = place.to_string();
        match client.call(&ack).await {
            Ok(changed) => acked.answered.push(Answered { alert, receipt: changed.receipt }),
            Err(CallError::Failure(failure)) => {
                acked.failed.push(Failed { alert, kind: failure.kind, message: failure.message.clone() });
                first.get_or_insert(CallError::Failure(failure));
            }
            Err(error) => return Err(error.into()),
        }
    }
    match first.filter(|_| acked.answered.is_empty()) {
        Some(error) => Err(error.into()),
        None => Ok(acked),
    }
}

fn text(list: &ListResult, terminal: bool) -> String {
    let row = |item: &Item| {
        let told = |seen: &Seen| format!("{} {}", seen.identity, when::utc(seen.at));
        let seen: Vec<String> = item.seen.iter().map(told).collect();
        let state = match (&item.acked_by, item.acked_at) {
            (Some(who), Some(at)) => {
                let note = item.note.as_ref().map_or_else(String::new, |note| format!(": {note}"));
                format!("answered by {who} {}{note}", when::utc(at))
            }
            _ if item.yours => "open".to_owned(),
            _ => "open, for somebody else".to_owned(),
        };
        vec![
            Place::of(item).to_string(),
            when::utc(item.at),
            item.event.clone(),
            item.identity.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            item.alert.clone(),
            item.level.to_string(),
            if seen.is_empty() { "-".to_owned() } else { seen.join(", ") },
            state,
        ]
    };
    let heading = ["ALERT", "SINCE", "EVENT", "WHO", "WHAT", "LEVEL", "SEEN BY", "STATE"];
    let rows: Vec<Vec<String>> = list.items.iter().map(row).collect();
    let more = list.total.saturating_sub(list.items.len() as u64);
    let rest = if more == 0 { String::new() } else { format!("and {more} older\n") };
    table(&heading, &rows, terminal) + &rest
}

#[cfg(test)]
mod tests {
    use super::super::scripted::{agent, refusal};
    use super::*;
    use serde_json::json;

    #[test]
    fn an_alert_is_called_by_its_place() {
        let place = |text: &str| text.parse::<Place>().map(|place| place.to_string());
        assert_eq!(place("41").as_deref(), Ok("41"));
        assert_eq!(place("acme/41").as_deref(), Ok("acme/41"));
        for text in ["", "acme", "acme/", "/41", "acme/x", "Acme/4", "-1", "acme/4/1"] {
            assert!(place(text).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn what_could_be_answered_is_although_something_could_not() {
        let changed = json!({ "receipt": { "log": "l", "seq": 7, "leaf": "ab" } });
        let places: Vec<Place> = ["3", "acme/5"].iter().map(|text| text.parse().unwrap()).collect();
        let (mut client, asked) = agent(vec![refusal("conflict"), changed]);
        let acked = ack(&mut client, &places, "looked").await.unwrap();
        assert_eq!((acked.answered[0].alert.as_str(), acked.failed[0].alert.as_str()), ("acme/5", "3"));
        drop(client);
        let asked = asked.await.unwrap();
        assert_eq!(asked[1], json!(["alert.ack", { "vault": "acme", "seq": 5, "note": "looked" }]));
        let (mut client, _) = agent(vec![refusal("conflict"), refusal("denied")]);
        let error = ack(&mut client, &places, "looked").await.unwrap_err();
        assert_eq!(error.kind, "conflict", "if nothing was, the first refusal is the answer");
    }

    #[test]
    fn a_list_says_who_was_told_and_who_answered() {
        let at = "2026-11-21T19:00:00Z".parse().unwrap();
        let item = Item {
            vault: Some("acme".parse().unwrap()),
            seq: 41,
            event: "request.break_glass".into(),
            alert: "access was taken without approval".into(),
            at,
            identity: Some("jana".parse().unwrap()),
            level: 1,
            escalated_at: Some(at),
            seen: vec![Seen { identity: "mara".parse().unwrap(), at }],
            acked_by: None,
            acked_at: None,
            note: None,
            yours: true,
        };
        let answered = Item {
            vault: None,
            acked_by: Some("mara".parse().unwrap()),
            acked_at: Some(at),
            note: Some("a \u{1b}drill".into()),
            ..item.clone()
        };
        let text = text(&ListResult { items: vec![item, answered], total: 3 }, false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "acme/41\t2026-11-21 19:00:00Z\trequest.break_glass\tjana\taccess was taken without approval\t1\tmara 2026-11-21 19:00:00Z\topen"
        );
        assert!(lines[1].starts_with("41\t"), "{text}");
        assert!(lines[1].ends_with("answered by mara 2026-11-21 19:00:00Z: a \u{fffd}drill"), "{text}");
        assert_eq!(lines[2], "and 1 older");
    }
}
