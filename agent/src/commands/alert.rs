//! Commands on alerts: who has been told, who answered, and that nobody did in time. All of it stands in the log of the
//! record that raised the alarm.

use std::collections::BTreeMap;

use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{IdentityId, Slug};
use strongroom_proto::method::Receipt;

use super::{Caller, find_vault};
use crate::access::{Denial, Operation, Terms};
use crate::state::alert::{Alert, AlertPlace, Answer, Escalation};
use crate::state::{LogId, State};
use crate::store::tx::{Draft, Refusal, Tx};

/// Decides on the alerts of a log.
///
/// # Errors
/// The denial.
pub fn may(
    state: &State,
    caller: &Caller,
    log: LogId,
    operation: Operation,
    now: jiff::Timestamp,
) -> Result<Terms, Denial> {
    match log {
        LogId::Org => caller.may(state, operation, now),
        LogId::Vault(vault) => caller.may_in(state, vault, operation, now),
    }
}

/// Decides whether somebody may answer an alert. What they did themselves others look at, as long as there are others.
///
/// # Errors
/// The denial.
pub fn may_ack(state: &State, caller: &Caller, alert: &Alert, now: jiff::Timestamp) -> Result<Terms, Denial> {
    let own = alert.concerns(state, caller.identity()) && !state.sole_admin(caller.identity());
    may(state, caller, alert.log_id(), Operation::AlertAck { own }, now)
}

/// Notes that somebody has been told of open alerts, once for each; one record a log. Gives how many were news to them.
///
/// # Errors
/// Only if it cannot be written down; `conflict` if none was.
pub fn seen(tx: &mut Tx<'_>, caller: &Caller, places: &[AlertPlace]) -> Result<(usize, Receipt), Refusal> {
    let (who, now) = (caller.identity(), tx.now);
    let mut news: BTreeMap<LogId, Vec<Alert>> = BTreeMap::new();
    for place in places {
        let alert = tx.state.alerts.get(place).filter(|alert| alert.acked.is_none() && !alert.was_seen_by(who));
        let alert = alert.filter(|_| may(&tx.state, caller, place.0, Operation::AlertSee, now).is_ok());
        if let Some(alert) = alert.filter(|_| tx.check_whole(place.0).is_ok()) {
            news.entry(place.0).or_default().push(alert.clone());
        }
    }
    let (mut count, mut receipt) = (0, None);
    for (log, alerts) in news {
        let seqs: Vec<String> = alerts.iter().map(|alert| alert.seq.to_string()).collect();
        count += alerts.len();
        for mut alert in alerts {
            alert.seen.push(Answer { identity: who, at: now });
            tx.put(alert)?;
        }
        let draft = caller.draft(&tx.state, "alert.seen").detail("alert_seqs", seqs.join(" "));
        receipt = Some(tx.append(log, draft)?);
    }
    let nothing = || Refusal::from(Failure::new(ErrorKind::Conflict, "None of these alerts is news."));
    receipt.map(|receipt| (count, receipt)).ok_or_else(nothing)
}

/// Answers an alert.
///
/// # Errors
/// The refusal; `not_found` if there is no such alert, `conflict` if somebody has answered it.
pub fn ack(
    tx: &mut Tx<'_>,
    caller: &Caller,
    vault: Option<&Slug>,
    seq: u64,
    note: &str,
) -> Result<((), Receipt), Refusal> {
    const EVENT: &str = "alert.ack";
    let vault = vault.map(|slug| find_vault(tx, caller, EVENT, slug)).transpose()?.map(|vault| vault.id);
    let log = vault.map_or(LogId::Org, LogId::Vault);
    let now = tx.now;
    let draft = caller.draft(&tx.state, EVENT).detail("alert_seq", seq);
    let found = tx.state.alerts.get(&(log, seq)).cloned();
    // Whether there is such an alert is told to nobody who may not see it.
    let decision = match &found {
        Some(alert) => may_ack(&tx.state, caller, alert, now),
        None => may(&tx.state, caller, log, Operation::AlertAck { own: false }, now),
    };
    let terms = decision.map_err(|denial| caller.refused(&tx.state, denial, vault, draft.clone()))?;
    let alert = found.ok_or_else(|| Failure::new(ErrorKind::NotFound, "No record there raised an alarm."))?;
    if let Some(answer) = alert.acked {
        let at = answer.at.strftime("%Y-%m-%d %H:%MZ");
        let who = name(&tx.state, answer.identity);
        return Err(Failure::new(ErrorKind::Conflict, format!("{who} has answered that on {at}.")).into());
    }
    let mut draft = draft.detail("alert_event", alert.event.clone()).text("note", note);
    draft.grant = terms.grant;
    let mut alert = alert;
    alert.acked = Some(Answer { identity: caller.identity(), at: now });
    alert.names.note = Some(note.to_owned());
    tx.put(alert)?;
    let receipt = tx.append(log, draft)?;
    Ok(((), receipt))
}

fn name(state: &State, identity: IdentityId) -> String {
    state.identities.get(&identity).map_or_else(|| "Somebody".to_owned(), |found| found.names.slug.to_string())
}

/// The open alerts that have waited too long for an answer, and the level that each has come to.
pub fn overdue(state: &State, escalation: Escalation, now: jiff::Timestamp) -> impl Iterator<Item = (&Alert, u32)> {
    let open = state.open_alerts.keys().filter_map(|place| state.alerts.get(place));
    open.map(move |alert| (alert, escalation.level(alert.at, now))).filter(|(alert, level)| alert.level < *level)
}

/// Records that nobody has answered alerts in time, at most so many. Gives how many.
///
/// # Errors
/// Only if it cannot be written down; `conflict` if there is none.
pub fn escalate(tx: &mut Tx<'_>, escalation: Escalation, most: usize) -> Result<(usize, Receipt), Refusal> {
    let now = tx.now;
    let due: Vec<(Alert, u32)> = overdue(&tx.state, escalation, now)
        .filter(|(alert, _)| tx.check_whole(alert.log_id()).is_ok())
        .take(most)
        .map(|(alert, level)| (alert.clone(), level))
        .collect();
    let (count, mut receipt) = (due.len(), None);
    for (mut alert, level) in due {
        let draft = Draft::new("alert.escalate")
            .detail("alert_seq", alert.seq)
            .detail("alert_event", alert.event.clone())
            .detail("level", level);
        alert.level = level;
        alert.escalated_at = Some(now);
        let log = alert.log_id();
        tx.put(alert)?;
        receipt = Some(tx.append(log, draft)?);
    }
    let nothing = || Refusal::from(Failure::new(ErrorKind::Conflict, "No alert waits for too long."));
    receipt.map(|receipt| (count, receipt)).ok_or_else(nothing)
}
