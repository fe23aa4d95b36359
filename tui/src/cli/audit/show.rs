//! `strongroom audit show`: records with the values behind their commitments, each value checked against the record.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use strongroom_proto::audit::merkle::leaf_hash;
use strongroom_proto::audit::opening::Opening;
use strongroom_proto::audit::pruned::Pruned;
use strongroom_proto::audit::record::{Record, RecordOutcome};
use strongroom_proto::client::Client;
use strongroom_proto::ids::{AccountAddress, Slug};
use strongroom_proto::method::audit::Item;

use super::super::context::Context;
use super::super::error::CliError;
use super::super::output::clean;
use super::super::when;
use super::pruned::sentence;
use super::search::{Filter, Trail, newest, readable};

/// The openings that name who acted, in the order of preference.
const ACTOR_FIELDS: [&str; 2] = ["actor.name", "actor"];
/// What stands in the place of a client for the organisation's log. No slug has brackets.
const ORG: &str = "(org)";

/// `strongroom audit show`
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("log").args(["vault", "org", "all"])))]
pub(in super::super) struct Show {
    /// The log of this client
    #[arg(value_name = "VAULT", required_unless_present_any = ["org", "all", "account"])]
    vault: Option<Slug>,
    /// The log of the organisation
    #[arg(long)]
    org: bool,
    /// Every log that you may read, in one
    #[arg(long)]
    all: bool,
    /// Only records of this account
    #[arg(long, value_name = "CLIENT/ACCOUNT", conflicts_with_all = ["org", "all"])]
    account: Option<String>,
    #[command(flatten)]
    filter: Filter,
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
    /// What the reading ended at, if it came so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pruned: Option<&'a Pruned>,
}

#[derive(Serialize)]
pub(super) struct BodyItem<'a> {
    seq: u64,
    leaf: String,
    record: &'a RawValue,
    openings: BTreeMap<&'a str, &'a str>,
}

/// `strongroom.audit_all/1`: members are only ever added.
#[derive(Serialize)]
struct BodyAll<'a> {
    logs: Vec<BodyLog<'a>>,
    items: Vec<Placed<BodyItem<'a>>>,
}

#[derive(Serialize)]
struct BodyLog<'a> {
    vault: Option<&'a Slug>,
    log: &'a str,
    size: u64,
}

/// Something of one of several logs.
#[derive(Serialize)]
struct Placed<T> {
    /// The client; none for the organisation's log.
    vault: Option<Slug>,
    #[serde(flatten)]
    what: T,
}

pub(super) async fn show(context: &Context, arguments: Show) -> Result<(), CliError> {
    let mut vault = arguments.vault;
    let mut filter = arguments.filter;
    if let Some(text) = arguments.account {
        let AccountAddress { vault: of, account } = account(&text, vault.as_ref())?;
        (vault, filter.account) = (Some(of), Some(account));
    }
    let mut client = context.log_in().await?;
    if arguments.all {
        return all(context, &mut client, &filter, arguments.limit).await;
    }
    let trail = newest(&mut client, vault, &filter, arguments.limit).await?;
    if context.out.json {
        context.out.write_json("strongroom.audit/1", body(&trail)?)
    } else {
        context.out.write(&text(&trail))
    }
}

async fn all(context: &Context, client: &mut Client, filter: &Filter, limit: u32) -> Result<(), CliError> {
    let mut trails = Vec::new();
    for log in readable(client).await? {
        trails.push((log.clone(), newest(client, log, filter, limit).await?));
    }
    let items = merged(&trails, limit);
    if context.out.json {
        let logs =
            trails.iter().map(|(vault, trail)| BodyLog { vault: vault.as_ref(), log: &trail.log, size: trail.size });
        let items = items
            .into_iter()
            .map(|(vault, item)| Ok(Placed { vault: vault.clone(), what: body_item(item)? }))
            .collect::<Result<_, CliError>>()?;
        return context.out.write_json("strongroom.audit_all/1", BodyAll { logs: logs.collect(), items });
    }
    let width = items.iter().filter_map(|(vault, _)| vault.as_ref()).map(|slug| slug.as_str().len()).max().unwrap_or(0);
    let width = width.max(ORG.len());
    let lines: String = items
        .iter()
        .map(|(vault, item)| format!("{:<width$}  {}", vault.as_ref().map_or(ORG, Slug::as_str), line(item)))
        .collect();
    let pruned = trails.iter().filter_map(|(vault, trail)| Some((vault, trail.pruned.as_ref()?)));
    let name = |vault: &Option<Slug>| vault.as_ref().map_or(ORG, Slug::as_str).to_owned();
    let pruned: String = pruned.map(|(vault, pruned)| format!("{}: {}\n", name(vault), sentence(pruned))).collect();
    context.out.write(&format!("{lines}{} records of {} logs\n{pruned}", items.len(), trails.len()))
}

/// The newest records of several logs, the newest last. Records of one log stay in its order.
fn merged(trails: &[(Option<Slug>, Trail)], limit: u32) -> Vec<(&Option<Slug>, &Item)> {
    let time = |item: &Item| serde_json::from_str::<Record>(&item.record).map(|record| record.ts).ok();
    let mut items: Vec<_> =
        trails.iter().flat_map(|(vault, trail)| trail.items.iter().map(move |item| (vault, item))).collect();
    items.sort_by_cached_key(|(_, item)| time(item));
    let surplus = items.len().saturating_sub(limit as usize);
    items.split_off(surplus)
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

fn body(trail: &Trail) -> Result<Body<'_>, CliError> {
    let items = trail.items.iter().map(body_item).collect::<Result<_, CliError>>()?;
    Ok(Body { log: &trail.log, size: trail.size, items, pruned: trail.pruned.as_ref() })
}

pub(super) fn body_item(item: &Item) -> Result<BodyItem<'_>, CliError> {
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
    let pruned = trail.pruned.as_ref().map(|pruned| sentence(pruned) + "\n").unwrap_or_default();
    format!("{lines}{count} of {} records of {}\n{pruned}", trail.size, clean(&trail.log))
}

/// One record on one line: when, which, what, whether, who, and the rest by name.
pub(super) fn line(item: &Item) -> String {
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
    use super::*;
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
        Trail { log: "strongroom/o/v".into(), size: 42, items, pruned: None }
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

    #[test]
    fn several_logs_become_one_by_time() {
        let at = |second: u32, seq: u64| Item {
            seq,
            record: format!(
                r#"{{"agent":"00000000-0000-4000-8000-000000000001","event":"e","log":"l","outcome":"ok","seq":{seq},"ts":"2026-11-21T19:00:{second:02}.000000Z","v":1}}"#
            ),
            openings: Vec::new(),
        };
        let acme = Some(Slug::new("acme").unwrap());
        let trails =
            [(None, trail(vec![at(1, 7), at(3, 8)])), (acme.clone(), trail(vec![at(2, 0), at(2, 1), at(4, 2)]))];
        let seqs = |limit| merged(&trails, limit).iter().map(|(_, item)| item.seq).collect::<Vec<_>>();
        assert_eq!(seqs(50), [7, 0, 1, 8, 2]);
        assert_eq!(seqs(2), [8, 2]);
        assert_eq!(merged(&trails, 1)[0].0, &acme);
    }
}
