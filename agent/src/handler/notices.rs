//! What somebody should know when they log in: what waits for them, and what nobody has looked at yet.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use strongroom_proto::ids::VaultId;
use strongroom_proto::words::{IdentityStatus, PendingStatus, RequestStatus, VaultRole};

use crate::access::Operation;
use crate::commands::request::slug;
use crate::commands::{Caller, alert, pending, request};
use crate::identity::{Alarm, HeldBack};
use crate::state::State;
use crate::state::request::Request;
use crate::state::rows::Grant;

/// Sentences of one kind; more are counted.
const EACH_MAX: usize = 3;
/// How long somebody is told that logins were held back.
const RECENT: SignedDuration = SignedDuration::from_hours(24);
/// How long before it somebody is told that their access ends.
const ENDS_SOON: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The notices for a caller, most urgent first.
pub(super) fn notices(
    view: &State,
    caller: &Caller,
    now: Timestamp,
    held_back: &[(Timestamp, Alarm)],
    streams: &[String],
) -> Vec<String> {
    let mut notices = Vec::new();
    if let Some(identity) = view.identities.get(&caller.identity()) {
        if identity.status == IdentityStatus::Held {
            notices.push(
                "You are on hold and take no codes until an admin has looked: what you took raised an alarm.".into(),
            );
        }
        if let Some(until) = identity.until.filter(|until| until.duration_since(now) < ENDS_SOON) {
            notices.push(format!("Your access ends on {}.", until.strftime("%Y-%m-%d %H:%MZ")));
        }
    }
    on_hold(view, caller, now, &mut notices);
    glass(view, caller, now, &mut notices);
    if caller.may(view, Operation::OrgTrailRead, now).is_ok() {
        held(held_back, now, &mut notices);
        notices.extend(streams.iter().take(EACH_MAX).map(|behind| format!("Look at {behind}.")));
    }
    unanswered(view, caller, now, &mut notices);
    let incidents = view.open_incidents.len();
    if incidents > 0 && caller.may(view, Operation::IncidentManage, now).is_ok() {
        notices.push(format!("{} to be closed: strongroom incident ls", waits(incidents, "incident")));
    }
    let requests =
        open(view).filter(|request| request.status(now) == RequestStatus::Waiting && !request.awaits_review());
    let decides = |request: &&Request| {
        let approved = request.approvals.iter().any(|approval| approval.identity == caller.identity());
        !approved && request::may_decide(view, caller, request, now).is_ok()
    };
    let count = requests.filter(decides).count();
    if count > 0 {
        notices.push(format!("{} for your decision: strongroom request ls", waits(count, "request")));
    }
    let changes = view.open_pendings.keys().filter_map(|id| view.pendings.get(id)).filter(|pending| {
        // What took effect already can be looked at any time: pending ls has it.
        !pending.in_force
            && pending.status(now) == PendingStatus::Waiting
            && pending::may_decide(view, caller, pending, now).is_ok()
    });
    let count = changes.count();
    if count > 0 {
        notices.push(format!("{} for a second person: strongroom pending ls", waits(count, "change")));
    }
    vaults(view, caller, now, &mut notices);
    notices
}

/// Somebody on hold waits for whoever may resume them.
fn on_hold(view: &State, caller: &Caller, now: Timestamp, notices: &mut Vec<String>) {
    if caller.may(view, Operation::IdentityResume { own: false }, now).is_err() {
        return;
    }
    let waiting = view.identities.values().filter(|identity| {
        identity.status == IdentityStatus::Held && identity.is_active(now) && identity.id != caller.identity()
    });
    let slugs: Vec<String> = waiting.map(|identity| identity.names.slug.to_string()).collect();
    for who in slugs.iter().take(EACH_MAX) {
        notices.push(format!("{who} is on hold: strongroom audit show tells why, strongroom identity resume ends it."));
    }
    if slugs.len() > EACH_MAX {
        notices.push(format!("{} more people are on hold.", slugs.len() - EACH_MAX));
    }
}

/// What a manager has to do in their vaults: rights to confirm, seeds to replace.
fn vaults(view: &State, caller: &Caller, now: Timestamp, notices: &mut Vec<String>) {
    let managed = view.grants_for(caller.identity()).filter(|grant| grant.role == VaultRole::Manager);
    let managed: BTreeSet<VaultId> = managed.filter(|grant| grant.in_force(now)).map(|grant| grant.vault).collect();
    for campaign in view.open_campaigns.keys().filter_map(|id| view.campaigns.get(id)) {
        let own = |grant: &&Grant| !view.serves(grant.holder, caller.identity());
        let theirs = campaign.vaults.iter().filter(|vault| managed.contains(vault));
        let count: usize = theirs.map(|vault| view.undecided(campaign, *vault, now).filter(own).count()).sum();
        let starter = campaign.started_by == caller.identity();
        let (title, due) = (&campaign.names.title, campaign.due_at.strftime("%Y-%m-%d %H:%MZ"));
        if campaign.is_open(now) && count > 0 {
            notices.push(format!(
                "Recertification “{title}”: say of {count} grants whether they are needed, or they end on {due}: strongroom review ls"
            ));
        } else if campaign.is_open(now) && starter {
            notices.push(format!("Your recertification “{title}” ends on {due}: strongroom review ls"));
        }
    }
    let count: usize = managed.iter().map(|vault| view.rotations_of(*vault).count()).sum();
    if count > 0 {
        let seeds = if count == 1 { "1 seed is".to_owned() } else { format!("{count} seeds are") };
        notices.push(format!("{seeds} known to somebody who left and should be replaced: strongroom rotation ls"));
    }
}

fn open(view: &State) -> impl Iterator<Item = &Request> {
    view.open_requests.keys().filter_map(|(_, id)| view.requests.get(id))
}

/// What raised an alarm has a notice of its own kind above; here is what nobody has answered in time.
fn unanswered(view: &State, caller: &Caller, now: Timestamp, notices: &mut Vec<String>) {
    let escalated = view.open_alerts.keys().filter_map(|place| view.alerts.get(place)).filter(|alert| alert.level > 0);
    let count = escalated.filter(|alert| alert::may_ack(view, caller, alert, now).is_ok()).count();
    if count > 0 {
        notices.push(format!("{} for an answer for too long: strongroom alert ls", waits(count, "alert")));
    }
}

/// A break-glass nags everybody concerned until somebody else has looked at it.
fn glass(view: &State, caller: &Caller, now: Timestamp, notices: &mut Vec<String>) {
    let concerned = |request: &&Request| {
        let own = request.requester == caller.identity();
        request.awaits_review() && (own || request::may_decide(view, caller, request, now).is_ok())
    };
    let unreviewed: Vec<&Request> = open(view).filter(concerned).collect();
    for request in unreviewed.iter().take(EACH_MAX) {
        let vault = view.vaults.get(&request.vault).map_or_else(String::new, |vault| vault.names.slug.to_string());
        let at = request.created_at.strftime("%Y-%m-%d %H:%MZ");
        notices.push(if request.requester == caller.identity() {
            format!("Your break-glass in {vault} of {at} has not been reviewed yet.")
        } else {
            let who = slug(view, request.requester).map_or_else(String::new, String::from);
            format!(
                "{who} used break-glass in {vault} on {at} and nobody has reviewed it: strongroom request review {}",
                request.id
            )
        });
    }
    if unreviewed.len() > EACH_MAX {
        notices.push(format!("{} more break-glass uses wait for a review.", unreviewed.len() - EACH_MAX));
    }
}

/// Who tries keys again and again is news to those who read the log.
fn held(held_back: &[(Timestamp, Alarm)], now: Timestamp, notices: &mut Vec<String>) {
    let recent: Vec<_> = held_back.iter().filter(|(at, _)| now.duration_since(*at) < RECENT).collect();
    for (at, alarm) in recent.iter().take(EACH_MAX) {
        let who = match &alarm.who {
            HeldBack::Uid(uid) => format!("the user {uid} of the agent's machine"),
            HeldBack::Key(key) => format!("the key {key}"),
        };
        let (attempts, at) = (alarm.attempts, at.strftime("%Y-%m-%d %H:%MZ"));
        notices.push(format!(
            "Logins by {who} are held back since {at}, after {attempts} attempts: strongroom audit show"
        ));
    }
    if recent.len() > EACH_MAX {
        notices.push(format!("{} more times in the last day logins were held back.", recent.len() - EACH_MAX));
    }
}

fn waits(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what} waits") } else { format!("{count} {what}s wait") }
}
