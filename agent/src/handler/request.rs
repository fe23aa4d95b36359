//! `request.*`: access for a while.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::method::Changed;
use strongroom_proto::method::request as wire;
use strongroom_proto::words::RequestStatus;

use super::step_up::signed;
use super::{Agent, Answer, Connection, only};
use crate::access::Operation;
use crate::commands::request::{self as command, may_decide, people, slug};
use crate::commands::{Caller, REASON_LEN_MAX, TICKET_LEN_MAX, check_some_text, check_text};
use crate::state::request::Request;
use crate::state::{LogId, State};

/// Requests of one list.
const LIST_MAX: usize = 200;
/// Accounts that one request may name.
const ACCOUNTS_MAX: usize = 100;
/// How far back those that are over are listed.
const LOOK_BACK: SignedDuration = SignedDuration::from_hours(90 * 24);
/// How often it is looked for news while somebody waits.
const LOOK_EVERY: Duration = Duration::from_millis(250);

pub(super) async fn make(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::Make,
) -> Result<Answer<wire::Made>, Failure> {
    let caller = connection.caller(agent)?;
    check_some_text("reason", &params.reason, REASON_LEN_MAX)?;
    check_text("ticket", params.ticket.as_deref().unwrap_or_default(), TICKET_LEN_MAX)?;
    if params.accounts.as_ref().is_some_and(|accounts| accounts.is_empty() || accounts.len() > ACCOUNTS_MAX) {
        let message = format!("A request names 1 to {ACCOUNTS_MAX} accounts, or none for the whole vault.");
        return Err(Failure::new(ErrorKind::InvalidParams, message));
    }
    let durable = agent.store.submit(move |tx| command::make(tx, &caller, &params)).await?;
    let (request, receipt) = durable.into_parts();
    let view = agent.store.view();
    let now = agent.now();
    let until = request.grant.and_then(|grant| view.grants.get(&grant)).and_then(|grant| grant.until);
    let may_decide = people(&view, &request, now).into_iter().filter_map(|identity| slug(&view, identity)).collect();
    if request.grant.is_some() {
        tracing::warn!(request = %request.id, "ALERT: access was taken by break-glass");
    }
    let made = wire::Made {
        request: request.id,
        status: request.status(now),
        expires_at: request.expires_at,
        needed: request.needed,
        may_decide,
        grant: request.grant,
        until,
        receipt,
    };
    Ok(made.into())
}

pub(super) async fn list(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::List,
) -> Result<Answer<wire::ListResult>, Failure> {
    let caller = connection.caller(agent)?;
    let view = agent.store.view();
    let now = agent.now();
    let only = only(&view, &caller, params.vault.as_ref(), Operation::VaultSee, now)?;
    let wanted =
        |request: &&Request| only.is_none_or(|only| request.vault == only) && sees(&view, &caller, request, now);
    let since = now.checked_sub(LOOK_BACK).unwrap_or(Timestamp::MIN);
    let mut found: Vec<&Request> = if params.all {
        view.requests.values().filter(|request| request.created_at >= since).filter(wanted).collect()
    } else {
        let open = view.open_requests.keys().filter_map(|(_, id)| view.requests.get(id));
        open.filter(|request| request.awaits_review() || request.status(now) == RequestStatus::Waiting)
            .filter(wanted)
            .collect()
    };
    found.sort_by_key(|request| std::cmp::Reverse((request.created_at, request.id)));
    found.truncate(LIST_MAX);
    let items = found.into_iter().filter_map(|request| item(&view, &caller, request, now)).collect();
    Ok(wire::ListResult { items }.into())
}

/// Who oversees the vault sees its requests, and everybody their own while the vault shows to them or the request waits.
fn sees(view: &State, caller: &Caller, request: &Request, now: Timestamp) -> bool {
    let own = request.requester == caller.identity();
    let knows = || {
        request.status(now) == RequestStatus::Waiting
            || caller.may_in(view, request.vault, Operation::VaultSee, now).is_ok()
            || command::has_lapsed(view, caller.identity(), request.vault, now)
    };
    (own && knows()) || caller.may_in(view, request.vault, Operation::RequestSee, now).is_ok()
}

fn item(view: &State, caller: &Caller, request: &Request, now: Timestamp) -> Option<wire::Item> {
    let open = request.awaits_review() || request.status(now) == RequestStatus::Waiting;
    let approved = request.approvals.iter().any(|approval| approval.identity == caller.identity());
    let accounts = request.accounts.as_ref().map(|accounts| {
        accounts.iter().filter_map(|id| view.accounts.get(id)).map(|account| account.names.slug.clone()).collect()
    });
    let approval = |approval: &crate::state::request::Approval| {
        Some(wire::Approval { identity: slug(view, approval.identity)?, at: approval.at })
    };
    let review = request.review.as_ref().and_then(|review| {
        let identity = slug(view, review.identity)?;
        Some(wire::Reviewed { identity, at: review.at, justified: review.justified })
    });
    Some(wire::Item {
        request: request.id,
        vault: view.vaults.get(&request.vault)?.names.slug.clone(),
        vault_id: request.vault,
        kind: request.kind,
        requester: slug(view, request.requester)?,
        requester_id: request.requester,
        accounts,
        account_ids: request.accounts.clone(),
        duration_s: request.duration_s,
        exclusive: request.exclusive,
        reason: request.names.reason.clone(),
        ticket: request.names.ticket.clone(),
        created_at: request.created_at,
        expires_at: request.expires_at,
        escalates_at: request.escalates_at,
        needed: request.needed,
        approvals: request.approvals.iter().filter_map(approval).collect(),
        status: request.status(now),
        grant: request.grant,
        until: request.grant.and_then(|grant| view.grants.get(&grant)).and_then(|grant| grant.ended_at.or(grant.until)),
        decided_by: request.decided_by.and_then(|identity| slug(view, identity)),
        answer: request.names.answer.clone(),
        review,
        digest: request.digest.clone(),
        yours: open && !approved && may_decide(view, caller, request, now).is_ok(),
        own: request.requester == caller.identity(),
    })
}

pub(super) async fn show(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::Show,
) -> Result<Answer<wire::Shown>, Failure> {
    let caller = connection.caller(agent)?;
    let wait_s = params.wait_s.unwrap_or(0);
    if wait_s > wire::WAIT_S_MAX {
        return Err(Failure::new(ErrorKind::InvalidParams, format!("wait_s is at most {}.", wire::WAIT_S_MAX)));
    }
    let until = Instant::now() + Duration::from_secs(wait_s.into());
    let mut before: Option<(RequestStatus, usize)> = None;
    loop {
        let view = agent.store.view();
        let now = agent.now();
        let found = view.requests.get(&params.request).filter(|request| sees(&view, &caller, request, now));
        let Some(request) = found else {
            return Err(agent.nothing_there(&caller, params.request.to_string(), "request.show").await);
        };
        let state = (request.status(now), request.approvals.len());
        let news = before.replace(state).is_some_and(|before| before != state);
        if news || state.0 != RequestStatus::Waiting || Instant::now() >= until {
            let item = item(&view, &caller, request, now).ok_or_else(Failure::not_found)?;
            let people = people(&view, request, now).into_iter().filter_map(|identity| slug(&view, identity));
            return Ok(wire::Shown { item, may_decide: people.collect() }.into());
        }
        drop(view);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

pub(super) async fn approve(
    agent: &Agent,
    connection: &mut Connection,
    mut params: wire::Approve,
) -> Result<Answer<wire::Approved>, Failure> {
    let caller = connection.caller(agent)?;
    let signature = signed(agent, connection, &caller, &mut params).await?;
    let durable =
        agent.store.submit(move |tx| command::approve(tx, &caller, params.request, &params.digest, &signature)).await?;
    let (outcome, receipt) = durable.into_parts();
    let approved = wire::Approved {
        status: outcome.request.state,
        missing: outcome.missing,
        grant: outcome.request.grant,
        until: outcome.until,
        receipt,
    };
    Ok(approved.into())
}

pub(super) async fn deny(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::Deny,
) -> Result<Answer<Changed>, Failure> {
    let caller = connection.caller(agent)?;
    check_some_text("reason", &params.reason, REASON_LEN_MAX)?;
    let durable = agent.store.submit(move |tx| command::deny(tx, &caller, params.request, &params.reason)).await?;
    Ok(Changed { receipt: durable.into_parts().1 }.into())
}

pub(super) async fn cancel(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::Cancel,
) -> Result<Answer<Changed>, Failure> {
    let caller = connection.caller(agent)?;
    let view = agent.store.view();
    let urgent = view.requests.get(&params.request).is_some_and(|request| request.requester == caller.identity());
    let durable = agent.store.submit_as(urgent, move |tx| command::cancel(tx, &caller, params.request)).await?;
    let (vault, receipt) = durable.into_parts();
    agent.anchor(vec![LogId::Vault(vault)]).await;
    Ok(Changed { receipt }.into())
}

pub(super) async fn review(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::Review,
) -> Result<Answer<Changed>, Failure> {
    let caller = connection.caller(agent)?;
    check_some_text("note", &params.note, REASON_LEN_MAX)?;
    let durable = agent
        .store
        .submit(move |tx| command::review(tx, &caller, params.request, params.justified, &params.note))
        .await?;
    Ok(Changed { receipt: durable.into_parts().1 }.into())
}
