//! `alert.*`.

use jiff::Timestamp;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::method::Changed;
use strongroom_proto::method::agent::OpenAlerts;
use strongroom_proto::method::alert as wire;

use super::{Agent, Answer, Connection, only};
use crate::access::Operation;
use crate::commands::request::slug;
use crate::commands::{Caller, REASON_LEN_MAX, alert as command, check_some_text};
use crate::state::alert::{Alert, AlertPlace};
use crate::state::{LogId, State};

pub(super) async fn list(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::List,
) -> Result<Answer<wire::ListResult>, Failure> {
    let caller = connection.caller(agent)?;
    let view = agent.store.view();
    let now = agent.now();
    let only = only(&view, &caller, params.vault.as_ref(), Operation::AlertSee, now)?.map(LogId::Vault);
    let listed = |view: &State| {
        let logs = visible(view, &caller, now).into_iter().filter(|log| only.is_none_or(|only| only == *log));
        let of = |log: LogId| -> Vec<&Alert> {
            if params.all { view.alerts_of(log).collect() } else { view.open_alerts_of(log).collect() }
        };
        let mut found: Vec<(Timestamp, AlertPlace)> =
            logs.flat_map(of).map(|alert| (alert.at, alert.known_by())).collect();
        found.sort_unstable_by(|one, other| other.cmp(one));
        found
    };
    let mut found: Vec<AlertPlace> = listed(&view).into_iter().map(|(_, place)| place).collect();
    let total = found.len() as u64;
    found.truncate(wire::LIST_LEN_MAX as usize);
    // Before it is told: what somebody has been told stands in the log, whatever becomes of the answer.
    let news = |place: &&AlertPlace| {
        let alert = view.alerts.get(*place);
        alert.is_some_and(|alert| alert.acked.is_none() && !alert.was_seen_by(caller.identity()))
    };
    let news: Vec<AlertPlace> = found.iter().filter(news).copied().collect();
    if !news.is_empty() {
        let caller = caller.clone();
        let noted = agent.store.submit(move |tx| command::seen(tx, &caller, &news)).await;
        // Another connection of the same person may have come first: then it is no news any more.
        noted.map_err(Failure::from).map_or_else(
            |failure| if failure.kind == ErrorKind::Conflict { Ok(()) } else { Err(failure) },
            |_| Ok(()),
        )?;
    }
    let view = agent.store.view();
    let items = found.iter().filter_map(|place| item(&view, &caller, view.alerts.get(place)?, now)).collect();
    Ok(wire::ListResult { items, total }.into())
}

/// The logs whose alerts somebody may see.
fn visible(view: &State, caller: &Caller, now: Timestamp) -> Vec<LogId> {
    let vaults = view.vaults.keys().copied().map(LogId::Vault);
    let sees = |log: &LogId| command::may(view, caller, *log, Operation::AlertSee, now).is_ok();
    std::iter::once(LogId::Org).chain(vaults).filter(sees).collect()
}

fn item(view: &State, caller: &Caller, alert: &Alert, now: Timestamp) -> Option<wire::Item> {
    let vault = match alert.vault {
        Some(vault) => Some(view.vaults.get(&vault)?.names.slug.clone()),
        None => None,
    };
    let seen = alert.seen.iter();
    Some(wire::Item {
        vault,
        seq: alert.seq,
        event: alert.event.clone(),
        alert: alert.says.clone(),
        at: alert.at,
        identity: alert.person(view).and_then(|identity| slug(view, identity)),
        level: alert.level.into(),
        escalated_at: alert.escalated_at,
        seen: seen.filter_map(|seen| Some(wire::Seen { identity: slug(view, seen.identity)?, at: seen.at })).collect(),
        acked_by: alert.acked.and_then(|answer| slug(view, answer.identity)),
        acked_at: alert.acked.map(|answer| answer.at),
        note: alert.names.note.clone(),
        yours: alert.acked.is_none() && command::may_ack(view, caller, alert, now).is_ok(),
    })
}

/// How many alerts wait for an answer that somebody may see; nothing for whoever may see none.
pub(super) fn open(view: &State, caller: &Caller, now: Timestamp) -> Option<OpenAlerts> {
    let logs = visible(view, caller, now);
    if logs.is_empty() {
        return None;
    }
    let mut alerts = OpenAlerts { open: 0, unseen: 0, level: 0 };
    for alert in logs.into_iter().flat_map(|log| view.open_alerts_of(log)) {
        alerts.open += 1;
        alerts.unseen += u64::from(!alert.was_seen_by(caller.identity()));
        alerts.level = alerts.level.max(alert.level.into());
    }
    Some(alerts)
}

pub(super) async fn ack(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::Ack,
) -> Result<Answer<Changed>, Failure> {
    let caller = connection.caller(agent)?;
    check_some_text("note", &params.note, REASON_LEN_MAX)?;
    let wire::Ack { vault, seq, note } = params;
    let durable = agent.store.submit(move |tx| command::ack(tx, &caller, vault.as_ref(), seq, &note)).await?;
    Ok(Changed { receipt: durable.into_parts().1 }.into())
}
