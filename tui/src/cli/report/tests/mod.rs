//! Reports over small logs that are written by hand: records in, rows out.

mod codes;
mod people;
mod rights;
mod sessions;

use jiff::Timestamp;
use serde_json::{Value, json};
use strongroom_proto::audit::opening::Opening;
use strongroom_proto::audit::record::Record;
use strongroom_proto::ids::Slug;
use strongroom_proto::method::audit::Item;

use super::document::{Cell, Section};
use super::evidence::{Entry, Evidence, Lists, Log, Period};

/// The id of person, account, grant or vault number so-and-so.
fn id(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

const ADMIN: u32 = 1;
pub(super) const JANA: u32 = 2;
pub(super) const M365: u32 = 10;
const NAS: u32 = 11;
const GRANT: u32 = 20;

/// A record: its second on a day, event, outcome, actor, and whatever else it has. `texts` become commitments.
pub(super) fn record(
    seq: u64,
    second: u64,
    event: &str,
    actor: Option<u32>,
    more: Value,
    texts: &[(&str, &str)],
) -> Entry {
    let names = [(ADMIN, "admin"), (JANA, "jana")];
    let mut texts = texts.to_vec();
    if let Some((_, name)) = names.iter().find(|(number, _)| Some(*number) == actor) {
        texts.push(("actor.name", name));
    }
    let openings: Vec<Opening> = texts.iter().map(|(field, value)| Opening::new(field, [7; 16], value)).collect();
    let h: serde_json::Map<String, Value> =
        openings.iter().map(|opening| (opening.field.clone(), json!(opening.commitment().unwrap()))).collect();
    let at: Timestamp = "2026-11-20T08:00:00Z".parse().unwrap();
    let mut value = json!({
        "agent": id(90), "event": event, "log": "strongroom/o/v", "outcome": "ok", "seq": seq, "h": h, "v": 1,
        "ts": (at + jiff::SignedDuration::from_secs(i64::try_from(second).unwrap())).to_string(),
    });
    if let Some(actor) = actor {
        value["actor"] = json!({
            "assurance": "software-key", "identity": id(actor), "key": "SHA256:abc", "session": id(91),
        });
    }
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let record: Record = serde_json::from_value(value).unwrap();
    Entry::read(&Item { seq, record: serde_json::to_string(&record).unwrap(), openings }).unwrap()
}

fn log(vault: Option<&str>, entries: Vec<Entry>) -> Log {
    let vault = vault.map(|vault| Slug::new(vault).unwrap());
    let size = entries.len() as u64;
    Log {
        vault,
        origin: "strongroom/o/v".to_owned(),
        size,
        root: "00".repeat(32),
        complete: true,
        pruned: None,
        entries,
    }
}

fn evidence(logs: Vec<Log>) -> Evidence {
    Evidence::new("2026-12-01T00:00Z".parse().unwrap(), logs, Lists::default())
}

fn all() -> Period {
    Period { from: "2026-11-01T00:00Z".parse().unwrap(), to: "2026-12-01T00:00Z".parse().unwrap() }
}

fn rows(sections: &[Section], key: &str) -> Vec<Vec<String>> {
    let section = sections.iter().find(|section| section.key == key).unwrap();
    section.rows.iter().map(|row| row.iter().map(Cell::text).collect()).collect()
}

/// One column of a section.
fn column(sections: &[Section], key: &str, name: &str) -> Vec<String> {
    let section = sections.iter().find(|section| section.key == key).unwrap();
    let place = section.columns.iter().position(|column| column.key == name).unwrap();
    rows(sections, key).into_iter().map(|row| row[place].clone()).collect()
}

pub(super) fn release(seq: u64, second: u64, account: u32, more: Value, texts: &[(&str, &str)]) -> Entry {
    let mut all = json!({ "target": { "account": id(account) }, "grant": { "id": id(GRANT), "version": 1 } });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let name = if account == M365 { "m365" } else { "nas" };
    record(seq, second, "code.release", Some(JANA), all, &[texts, &[("account.name", name)]].concat())
}

fn given(seq: u64, more: Value, texts: &[(&str, &str)]) -> Entry {
    let mut detail = json!({ "role": "viewer" });
    detail.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let about = json!({ "target": { "grant": id(GRANT), "identity": id(JANA) }, "detail": detail });
    record(seq, seq, "grant.give", Some(ADMIN), about, &[texts, &[("target.name", "jana")]].concat())
}
