//! `strongroom audit show`: records with the values behind their commitments, each value checked against the record.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use strongroom_proto::audit::merkle::leaf_hash;
use strongroom_proto::audit::opening::Opening;
use strongroom_proto::audit::record::{Record, RecordOutcome};
use strongroom_proto::client::Client;
use strongroom_proto::ids::{AccountAddress, AccountId, Slug};
use strongroom_proto::method::account;
use strongroom_proto::method::audit::{Item, PAGE_LEN_MAX, Read};

use super::super::context::Context;
use super::super::error::CliError;
use super::super::output::clean;
use super::super::when;

/// The openings that name who acted, in the order of preference.
const ACTOR_FIELDS: [&str; 2] = ["actor.name", "actor"];

/// `strongroom audit show`
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("log").args(["vault", "org"])))]
pub(in super::super) struct Show {
    /// The log of this client
    #[arg(value_name = "VAULT", required_unless_present_any = ["org", "account"])]
    vault: Option<Slug>,
    /// The log of the organisation
    #[arg(long)]
    org: bool,
    /// Only records of this account
    #[arg(long, value_name = "CLIENT/ACCOUNT", conflicts_with = "org")]
    account: Option<String>,
    /// At most this many records
    #[arg(long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
}

/// `strongroom.audit/1`: members are only ever added.
#[derive(Serialize)]
struct Body<'a> {
    log: &'a str,
    size: u64,
    items: Vec<BodyItem<'a>>,
}

#[derive(Serialize)]
struct BodyItem<'a> {
    seq: u64,
    leaf: String,
    record: &'a RawValue,
    openings: BTreeMap<&'a str, &'a str>,
}

/// What was read of a log.
struct Trail {
    log: String,
    size: u64,
    items: Vec<Item>,
}

pub(super) async fn show(context: &Context, arguments: Show) -> Result<(), CliError> {
    let account = arguments.account.map(|text| account(&text, arguments.vault.as_ref())).transpose()?;
    let mut client = context.log_in().await?;
    let mut vault = arguments.vault;
    let mut only = None;
    if let Some(account) = account {
        vault = Some(account.vault.clone());
        only = Some(client.call(&account::Show { account }).await?.item.id);
    }
    let trail = newest(&mut client, vault, only, arguments.limit).await?;
    if context.out.json {
        context.out.write_json("strongroom.audit/1", body(&trail)?)
    } else {
        context.out.write(&text(&trail))
    }
}

/// Takes `acme/m365-admin`, or `m365-admin` where the vault is named beside it.
fn account(text: &str, vault: Option<&Slug>) -> Result<AccountAddress, CliError> {
    let address = match vault {
        Some(vault) if !text.contains('/') => {
            Slug::new(text).map(|account| AccountAddress { vault: vault.clone(), account })
        }
        _ => text.parse(),
    };
    let address: AccountAddress = address.map_err(|error| CliError::usage(format!("--account {text}: {error}")))?;
    match vault {
        Some(vault) if *vault != address.vault => {
            Err(CliError::usage(format!("{address} is not an account of {vault}.")))
        }
        _ => Ok(address),
    }
}

/// Reads backward from the end until there are enough records, and turns them round: the newest last, as in any log.
async fn newest(
    client: &mut Client,
    vault: Option<Slug>,
    only: Option<AccountId>,
    limit: u32,
) -> Result<Trail, CliError> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut trail = Trail { log: String::new(), size: 0, items: Vec::new() };
    let mut before = None;
    loop {
        let missing = u32::try_from(limit - trail.items.len()).unwrap_or(PAGE_LEN_MAX);
        let page_limit = if only.is_some() { PAGE_LEN_MAX } else { missing.min(PAGE_LEN_MAX) };
        let page = client.call(&Read { vault: vault.clone(), from: None, before, limit: Some(page_limit) }).await?;
        (trail.log, trail.size) = (page.log, page.size);
        let wanted = page.items.into_iter().filter(|item| only.is_none_or(|account| is_about(item, account)));
        trail.items.extend(wanted.take(limit - trail.items.len()));
        match page.next {
            // The agent must go towards the beginning, or this would never end.
            Some(next) if trail.items.len() < limit && before.is_none_or(|before| next < before) => before = Some(next),
            _ => break,
        }
    }
    trail.items.reverse();
    Ok(trail)
}

fn is_about(item: &Item, account: AccountId) -> bool {
    serde_json::from_str::<Record>(&item.record).is_ok_and(|record| record.target.account == Some(account))
}

fn body(trail: &Trail) -> Result<Body<'_>, CliError> {
    let items = trail.items.iter().map(body_item).collect::<Result<_, CliError>>()?;
    Ok(Body { log: &trail.log, size: trail.size, items })
}

fn body_item(item: &Item) -> Result<BodyItem<'_>, CliError> {
    let Item { seq, record, openings } = item;
    let raw = serde_json::from_str(record)
        .map_err(|_| CliError::failure(format!("Record {seq} is not JSON: the agent or its store is broken.")))?;
    let committed = serde_json::from_str::<Record>(record).map(|record| record.h).unwrap_or_default();
    // A value that does not fit its commitment is nobody's word: a script must not take it for the log's.
    let fits = |opening: &&Opening| committed.get(&opening.field) == opening.commitment().as_ref();
    let openings =
        openings.iter().filter(fits).map(|opening| (opening.field.as_str(), opening.value.as_str())).collect();
    Ok(BodyItem { seq: *seq, leaf: hex::encode(leaf_hash(record.as_bytes())), record: raw, openings })
}

fn text(trail: &Trail) -> String {
    let lines: String = trail.items.iter().map(line).collect();
    let count = trail.items.len();
    format!("{lines}{count} of {} records of {}\n", trail.size, clean(&trail.log))
}

/// One record on one line: when, which, what, whether, who, and the rest by name.
fn line(item: &Item) -> String {
    let Ok(record) = serde_json::from_str::<Record>(&item.record) else {
        return format!("#{} UNREADABLE RECORD\n", item.seq);
    };
    let mut values = opened(&record, item);
    let named = ACTOR_FIELDS.iter().find_map(|field| values.remove(*field));
    let who = named.or_else(|| record.actor.as_ref().map(|actor| actor.identity.to_string()));
    let outcome = match record.outcome {
        RecordOutcome::Ok => "ok",
        RecordOutcome::Denied => "DENIED",
        RecordOutcome::Failed => "FAILED",
    };
    let who = who.unwrap_or_else(|| "agent".to_owned());
    let mut line = format!("{}  #{:<6} {:<20} {outcome:<7} {who:<10}", when::utc(record.ts), item.seq, record.event);
    for (name, value) in &record.detail {
        let value = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        values.entry(name.clone()).or_insert(value);
    }
    for (name, value) in values {
        let quoted = if value.contains(' ') { format!("\"{value}\"") } else { value };
        line.push_str(&format!("  {name}={quoted}"));
    }
    format!("{}\n", clean(line.trim_end()))
}

/// The values behind the commitments. A value that does not fit its commitment is not shown: somebody changed it.
fn opened(record: &Record, item: &Item) -> BTreeMap<String, String> {
    let value = |opening: &strongroom_proto::audit::opening::Opening| {
        let fits = opening.commitment().is_some() && opening.commitment().as_ref() == record.h.get(&opening.field);
        let value = if fits { opening.value.clone() } else { "(DOES NOT FIT ITS COMMITMENT)".to_owned() };
        (opening.field.clone(), value)
    };
    item.openings.iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::scripted::agent;
    use super::*;
    use serde_json::json;
    use strongroom_proto::audit::opening::Opening;

    fn item() -> Item {
        let name = Opening::new("actor.name", [1; 16], "jana");
        let reason = Opening::new("reason", [2; 16], "printer is down");
        let record = format!(
            r#"{{"agent":"00000000-0000-4000-8000-000000000001","detail":{{"kind":"denied"}},"event":"code.release","h":{{"actor.name":"{}","reason":"{}"}},"log":"strongroom/o/v","outcome":"denied","seq":41,"ts":"2026-11-21T19:00:00.100000Z","v":1}}"#,
            name.commitment().unwrap(),
            reason.commitment().unwrap()
        );
        Item { seq: 41, record, openings: vec![name, reason] }
    }

    fn trail(items: Vec<Item>) -> Trail {
        Trail { log: "strongroom/o/v".into(), size: 42, items }
    }

    #[test]
    fn a_record_is_one_line() {
        assert_eq!(
            text(&trail(vec![item()])),
            "2026-11-21 19:00:00Z  #41     code.release         DENIED  jana        kind=denied  reason=\"printer is down\"\n\
             1 of 42 records of strongroom/o/v\n"
        );
    }

    #[test]
    fn a_value_that_was_changed_is_not_shown() {
        let mut forged = item();
        forged.openings[0].value = "marcus".into();
        let text = line(&forged);
        assert!(text.contains("(DOES NOT FIT ITS COMMITMENT)") && !text.contains("marcus"), "{text}");
    }

    #[test]
    fn a_record_that_cannot_be_read_is_said_to_be_so() {
        let broken = Item { seq: 7, record: "{".into(), openings: vec![] };
        assert_eq!(line(&broken), "#7 UNREADABLE RECORD\n");
        assert_eq!(body(&trail(vec![broken])).err().unwrap().code, 1);
    }

    #[test]
    fn json_keeps_the_bytes_of_the_record() {
        let trail = trail(vec![item()]);
        let text = serde_json::to_string(&body(&trail).unwrap()).unwrap();
        assert!(text.contains(&format!(r#""record":{},"openings":{{"actor.name":"jana""#, item().record)), "{text}");
        let leaf = hex::encode(leaf_hash(item().record.as_bytes()));
        assert!(text.contains(&format!(r#""seq":41,"leaf":"{leaf}""#)), "{text}");
    }

    #[test]
    fn an_account_is_named_with_its_vault_or_beside_it() {
        let acme = Slug::new("acme").unwrap();
        let named = |text: &str, vault: Option<&Slug>| account(text, vault).map(|address| address.to_string());
        assert_eq!(named("acme/x", None).as_deref(), Ok("acme/x"));
        assert_eq!(named("acme/x", Some(&acme)).as_deref(), Ok("acme/x"));
        assert_eq!(named("x", Some(&acme)).as_deref(), Ok("acme/x"));
        for (text, vault) in [("x", None), ("birch/x", Some(&acme)), ("X", Some(&acme)), ("a/b/c", None)] {
            assert_eq!(named(text, vault).unwrap_err().code, 2, "{text}");
        }
    }

    fn page(seqs: &[u64], next: Option<u64>) -> Value {
        let item = |&seq: &u64| {
            let account = format!("00000000-0000-4000-8000-00000000000{}", seq % 2);
            let target = format!(
                r#"{{"agent":"{account}","event":"e","log":"l","outcome":"ok","seq":{seq},"target":{{"account":"{account}"}},"ts":"2026-11-21T19:00:00.000000Z","v":1}}"#
            );
            json!({ "seq": seq, "record": target, "openings": [] })
        };
        json!({ "log": "l", "size": 10, "items": seqs.iter().map(item).collect::<Vec<_>>(), "next": next })
    }

    async fn read(pages: Vec<Value>, only: Option<&str>, limit: u32) -> (Vec<u64>, Vec<Value>) {
        let (mut client, asked) = agent(pages);
        let only = only.map(|id| id.parse().unwrap());
        let trail = newest(&mut client, Some(Slug::new("acme").unwrap()), only, limit).await.unwrap();
        drop(client);
        (trail.items.iter().map(|item| item.seq).collect(), asked.await.unwrap())
    }

    #[tokio::test]
    async fn the_newest_records_come_last_and_reading_stops_when_there_are_enough() {
        let (seqs, asked) = read(vec![page(&[9, 8, 7], Some(7)), page(&[6, 5, 4], Some(4))], None, 5).await;
        assert_eq!(seqs, [5, 6, 7, 8, 9]);
        assert_eq!(asked[0][1], json!({ "vault": "acme", "limit": 5 }));
        assert_eq!(asked[1][1], json!({ "vault": "acme", "before": 7, "limit": 2 }));
    }

    #[tokio::test]
    async fn other_accounts_are_left_out_and_older_pages_searched() {
        let only = Some("00000000-0000-4000-8000-000000000001");
        let pages = vec![page(&[9, 8, 7], Some(7)), page(&[6, 5], Some(5)), page(&[4, 3], None)];
        assert_eq!(read(pages, only, 50).await.0, [3, 5, 7, 9]);
    }

    #[tokio::test]
    async fn a_log_that_does_not_go_back_ends_the_search() {
        let pages = vec![page(&[9], Some(9)), page(&[9], Some(9)), page(&[9], Some(9))];
        assert_eq!(read(pages, None, 50).await.1.len(), 2);
    }
}
