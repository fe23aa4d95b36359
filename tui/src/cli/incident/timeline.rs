//! The timeline of an incident: the records that name it, in the order in which they were made, for programs and for people.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use strongroom_proto::audit::merkle::leaf_hash;
use strongroom_proto::audit::opening::Opening;
use strongroom_proto::audit::record::{Record, RecordOutcome};
use strongroom_proto::ids::{IncidentId, Slug};
use strongroom_proto::method::audit::Item as Stored;
use strongroom_proto::method::incident::Item;

use super::super::error::CliError;
use super::super::report::markdown_text;
use super::super::when;
use super::export::Exported;
use super::{person_text, vault_text};

/// One record of the timeline.
#[derive(Clone, Debug)]
pub(super) struct Line {
    vault: Option<Slug>,
    record: Record,
    bytes: String,
    openings: Vec<Opening>,
}

/// The same for programs. The record stands in it byte for byte.
#[derive(Serialize)]
struct NdLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    vault: Option<&'a Slug>,
    log: &'a str,
    seq: u64,
    leaf: String,
    record: &'a RawValue,
    #[serde(skip_serializing_if = "<[Opening]>::is_empty")]
    openings: &'a [Opening],
}

impl Line {
    /// Takes a record if it belongs to the incident.
    pub(super) fn of(item: &Stored, vault: Option<&Slug>, incident: IncidentId) -> Option<Self> {
        let record: Record = serde_json::from_str(&item.record).ok()?;
        let id = incident.to_string();
        let named = record.detail.get("incident").and_then(|named| named.as_str());
        let belongs = named.is_some_and(|named| named.split(' ').any(|named| named == id));
        belongs.then(|| Self {
            vault: vault.cloned(),
            record,
            bytes: item.record.clone(),
            openings: item.openings.clone(),
        })
    }

    /// By time. What was done in one commit has one time: first what the organisation's log says of it.
    pub(super) fn order(&self) -> (Timestamp, Option<&Slug>, u64) {
        (self.record.ts, self.vault.as_ref(), self.record.seq)
    }

    fn opened(&self, field: &str) -> Option<&str> {
        self.openings.iter().find(|opening| opening.field == field).map(|opening| opening.value.as_str())
    }

    fn who(&self) -> String {
        match (self.opened("actor.name"), &self.record.actor) {
            (Some(name), _) => name.to_owned(),
            (None, Some(actor)) => actor.identity.to_string(),
            (None, None) => "the agent".to_owned(),
        }
    }

    fn what(&self) -> String {
        let fields = ["target.name", "account.name", "account.address", "vault.name", "group.name"];
        let about = fields.iter().find_map(|field| self.opened(field));
        let target = &self.record.target;
        let about = about.map(str::to_owned).or_else(|| target.account.map(|id| id.to_string()));
        about.or_else(|| target.identity.map(|id| id.to_string())).unwrap_or_default()
    }

    fn said(&self) -> String {
        let texts = ["reason", "note", "ticket"].into_iter().filter_map(|field| self.opened(field));
        let facts = ["alert", "kind", "cause"].into_iter().filter_map(|name| self.record.detail.get(name)?.as_str());
        texts.chain(facts).collect::<Vec<_>>().join("; ")
    }
}

const fn outcome(outcome: RecordOutcome) -> &'static str {
    match outcome {
        RecordOutcome::Ok => "ok",
        RecordOutcome::Denied => "denied",
        RecordOutcome::Failed => "failed",
    }
}

/// One object a line.
///
/// # Errors
/// If a record is no JSON after all.
pub(super) fn ndjson(lines: &[Line]) -> Result<String, CliError> {
    let mut text = String::new();
    for line in lines {
        let broken = |error| CliError::caused("A record cannot be written down", &error);
        let raw = RawValue::from_string(line.bytes.clone()).map_err(broken)?;
        let object = NdLine {
            vault: line.vault.as_ref(),
            log: &line.record.log,
            seq: line.record.seq,
            leaf: hex::encode(leaf_hash(line.bytes.as_bytes())),
            record: &raw,
            openings: &line.openings,
        };
        text.push_str(&serde_json::to_string(&object).map_err(broken)?);
        text.push('\n');
    }
    Ok(text)
}

/// A page for people.
pub(super) fn markdown(item: &Item, logs: &[Exported], left_out: &[String], lines: &[Line]) -> String {
    let mut text = format!("# Incident {}\n\n", item.incident);
    let mut say = |sentence: String| {
        let _ = writeln!(text, "- {}", markdown_text(&sentence));
    };
    say(format!("Opened {} by {}", when::utc(item.opened_at), item.opened_by));
    if let Some(reason) = &item.reason {
        say(format!("Reason: {reason}"));
    }
    let by = item.closed_by.as_ref().map_or_else(String::new, |by| format!(" by {by}"));
    say(item.closed_at.map_or_else(|| "Open".to_owned(), |at| format!("Closed {}{by}", when::utc(at))));
    item.vaults.iter().for_each(|state| say(format!("Client {}", vault_text(state))));
    item.people.iter().for_each(|state| say(format!("Person {}", person_text(state))));
    text.push_str("\n## Timeline\n\n| time | log | # | event | outcome | who | about | said |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for line in lines {
        let log = line.vault.as_ref().map_or_else(|| "organisation".to_owned(), ToString::to_string);
        let cells = [
            when::utc(line.record.ts),
            log,
            line.record.seq.to_string(),
            line.record.event.clone(),
            outcome(line.record.outcome).to_owned(),
            line.who(),
            line.what(),
            line.said(),
        ];
        let cells: Vec<String> = cells.iter().map(|cell| markdown_text(cell)).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text.push_str(
        "\n## Made from\n\nEach folder is a complete log; `strongroom audit verify` checks it without the agent.\n\n",
    );
    text.push_str("| folder | records | root | key |\n| --- | --- | --- | --- |\n");
    for log in logs {
        let folder = markdown_text(&log.folder.display().to_string());
        let _ = writeln!(text, "| {folder} | {} | {} | {} |", log.size, log.root, markdown_text(&log.key));
    }
    for name in left_out {
        let _ = writeln!(text, "\nLeft out, because whoever exported this may not export it: {}", markdown_text(name));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ID: &str = "00000000-0000-4000-8000-000000000001";

    fn stored(seq: u64, ts: &str, incidents: Option<&str>) -> Stored {
        let mut record = json!({
            "agent": ID, "event": "vault.freeze", "log": "strongroom/o/v", "outcome": "ok", "seq": seq, "ts": ts, "v": 1,
        });
        if let Some(incidents) = incidents {
            record["detail"] = json!({ "incident": incidents });
        }
        let reason = Opening::new("reason", [0; 16], "a | laptop\n# was lost");
        Stored { seq, record: record.to_string(), openings: vec![reason] }
    }

    #[test]
    fn what_names_the_incident_is_in_it_byte_for_byte_and_forges_no_table() {
        let id: IncidentId = ID.parse().unwrap();
        let other = "00000000-0000-4000-8000-000000000002";
        let acme = Slug::new("acme").unwrap();
        let both = format!("{other} {ID}");
        let all = [
            stored(9, "2026-11-21T19:00:01.000000Z", Some(ID)),
            stored(7, "2026-11-21T19:00:00.000000Z", Some(&both)),
            stored(8, "2026-11-21T19:00:00.500000Z", Some(other)),
            stored(6, "2026-11-21T18:00:00.000000Z", None),
        ];
        let mut lines: Vec<Line> = all.iter().filter_map(|item| Line::of(item, Some(&acme), id)).collect();
        lines.sort_by(|one, other| one.order().cmp(&other.order()));
        assert_eq!(lines.iter().map(|line| line.record.seq).collect::<Vec<_>>(), [7, 9]);
        let text = ndjson(&lines).unwrap();
        let first = text.lines().next().unwrap();
        assert!(first.contains(&format!("\"record\":{}", all[1].record)), "{first}");
        assert!(first.contains(&hex::encode(leaf_hash(all[1].record.as_bytes()))), "{first}");
        let item: Item = serde_json::from_value(json!({
            "incident": ID, "opened_at": "2026-11-21T19:00:00Z", "opened_by": "ada", "vaults": [], "exports_org": false,
        }))
        .unwrap();
        let page = markdown(&item, &[], &["the organisation's log".to_owned()], &lines);
        let rows: Vec<&str> = page.lines().filter(|line| line.contains("vault.freeze")).collect();
        assert!(rows.len() == 2 && rows[0].contains("| acme | 7 | vault.freeze | ok | the agent |"), "{page}");
        assert!(!page.contains("\n# was") && page.contains("a \\| laptop"), "{page}");
        assert!(page.contains("Left out") && page.contains("organisation"), "{page}");
    }
}
