//! Commands on requests: access for a while, which others approve first or, in an emergency, look at afterwards. Each decision
//! checks once more, at the place of its commit, that everybody who stands behind it still may.

use jiff::{SignedDuration, Timestamp};
use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{AccountId, GrantId, IdentityId, RequestId, Slug, VaultId};
use strongroom_proto::method::Receipt;
use strongroom_proto::method::request::{DURATION_S_MIN, Make};
use strongroom_proto::policy::VaultPolicy;
use strongroom_proto::words::{Assurance, RequestKind, RequestStatus, VaultRole};

use super::grant::{account_ids, dated, end_now, no_account};
use super::policy::deciders;
use super::step_up::Signed;
use super::{Caller, about_identity, find_vault};
use crate::access::{Denial, Operation, Terms, decide, exclusive_holders, facts, ticket_fits};
use crate::state::request::{Approval, Request, RequestNames, Review};
use crate::state::rows::{Grant, Holder, Key};
use crate::state::{LogId, State};
use crate::store::tx::{Draft, Refusal, Tx};

/// For so long after it ran out, a grant lets its holder ask again.
pub const LAPSED_FOR: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Requests that one identity may have open.
const OPEN_MAX: usize = 20;

/// Asks for access; or takes it at once, to be reviewed.
///
/// # Errors
/// The refusal; `invalid_params` for a length or ticket that the policy does not allow, `conflict` if the caller has this access
/// or somebody else has checked it out, `rate_limited` with too many open requests.
pub fn make(tx: &mut Tx<'_>, caller: &Caller, wanted: &Make) -> Result<(Request, Receipt), Refusal> {
    let kind = if wanted.break_glass { RequestKind::BreakGlass } else { RequestKind::Access };
    let event = if wanted.break_glass { "request.break_glass" } else { "request.make" };
    let vault = find_vault(tx, caller, event, &wanted.vault)?;
    let log = LogId::Vault(vault.id);
    let now = tx.now;
    let draft = caller.draft(&tx.state, event);
    let operation = match kind {
        RequestKind::BreakGlass => Operation::BreakGlass,
        RequestKind::Access => {
            Operation::RequestMake { lapsed: has_lapsed(&tx.state, caller.identity(), vault.id, now) }
        }
    };
    let terms = caller
        .may_in(&tx.state, vault.id, operation, now)
        .map_err(|denial| caller.refused(&tx.state, denial, Some(vault.id), draft.clone()))?;
    let rules = tx.state.policies.get(&vault.id).map(|policy| policy.rules.clone()).ok_or_else(Failure::not_found)?;
    let accounts = account_ids(tx, vault.id, &wanted.vault, wanted.accounts.as_deref())?;
    check_visible(&tx.state, caller, vault.id, accounts.as_deref(), wanted, now)?;
    check_wanted(&tx.state, caller.identity(), &rules, wanted, kind)?;
    let exclusive = rules.requests.exclusive;
    if !exclusive && holds(&tx.state, caller, vault.id, accounts.as_deref(), now) {
        return Err(Failure::new(ErrorKind::Conflict, "You have this access already.").into());
    }
    let hours = SignedDuration::from_hours(rules.requests.expire_after_h.into());
    let after = |span: SignedDuration| now.checked_add(span).unwrap_or(Timestamp::MAX);
    let mut request = Request {
        id: RequestId::random(),
        vault: vault.id,
        kind,
        requester: caller.identity(),
        accounts,
        duration_s: wanted.duration_s,
        exclusive,
        created_at: now,
        expires_at: after(hours),
        escalates_at: rules
            .requests
            .escalates()
            .then(|| after(SignedDuration::from_mins(rules.requests.escalate_after_min.into()))),
        needed: rules.requests.approvals,
        approvals: Vec::new(),
        digest: String::new(),
        state: RequestStatus::Waiting,
        grant: None,
        decided_by: None,
        review: None,
        names: RequestNames {
            reason: wanted.reason.clone(),
            ticket: wanted.ticket.clone().filter(|ticket| !ticket.is_empty()),
            answer: None,
        },
    };
    request.digest = request
        .content()
        .digest()
        .ok_or_else(|| Failure::new(ErrorKind::Internal, "The request cannot be written down."))?;
    let mut draft = described(draft, &request)
        .detail("expires_at", request.expires_at.to_string())
        .detail("needed", request.needed)
        .text("reason", request.names.reason.as_str())
        .maybe_text("ticket", request.names.ticket.as_deref());
    draft.grant.clone_from(&terms.grant);
    if kind == RequestKind::BreakGlass {
        draft = draft.detail("alert", "access was taken without approval");
        give(tx, caller, &mut request)?;
    }
    tx.put(request.clone())?;
    let receipt = tx.append(log, draft)?;
    Ok((request, receipt))
}

/// Whether somebody held a grant here that ran out by itself not long ago.
#[must_use]
pub fn has_lapsed(state: &State, identity: IdentityId, vault: VaultId, now: Timestamp) -> bool {
    let since = now.checked_sub(LAPSED_FOR).unwrap_or(Timestamp::MIN);
    state.grants_in(identity, vault).any(|grant| {
        matches!(grant.role, VaultRole::Viewer | VaultRole::Eligible)
            && !grant.pending
            && grant.until.is_some_and(|until| until <= now && until > since)
    })
}

/// Refuses accounts that the caller may not know of, as if they did not exist.
fn check_visible(
    state: &State,
    caller: &Caller,
    vault: VaultId,
    accounts: Option<&[AccountId]>,
    wanted: &Make,
    now: Timestamp,
) -> Result<(), Failure> {
    let lapsed = |account: AccountId| {
        let mut held =
            state.grants_in(caller.identity(), vault).filter(|grant| grant.until.is_some_and(|until| until <= now));
        held.any(|grant| grant.role == VaultRole::Eligible || grant.covers(account))
    };
    let seen = |account: &AccountId| {
        caller.may_in(state, vault, Operation::AccountSee(*account), now).is_ok() || lapsed(*account)
    };
    let hidden = accounts.unwrap_or_default().iter().find(|account| !seen(account));
    match hidden.and_then(|account| state.accounts.get(account)) {
        Some(account) => Err(no_account(&wanted.vault, &account.names.slug)),
        None => Ok(()),
    }
}

fn check_wanted(
    state: &State,
    requester: IdentityId,
    rules: &VaultPolicy,
    wanted: &Make,
    kind: RequestKind,
) -> Result<(), Failure> {
    let invalid = |message: String| Err(Failure::new(ErrorKind::InvalidParams, message));
    let longest_s = match (kind, &rules.break_glass) {
        (RequestKind::BreakGlass, Some(glass)) => u64::from(glass.longest_min) * 60,
        _ => u64::from(rules.requests.longest_h) * 3600,
    };
    if !(DURATION_S_MIN..=longest_s).contains(&wanted.duration_s) {
        return invalid(format!("duration_s is {DURATION_S_MIN} to {longest_s} here."));
    }
    let required = rules.requests.ticket_required;
    if !ticket_fits(required, rules.ticket_pattern.as_ref(), wanted.ticket.as_deref()) {
        return Err(Denial::NeedsTicket.failure());
    }
    let own = |id: &RequestId| state.requests.get(id).is_some_and(|request| request.requester == requester);
    if state.open_requests.keys().filter(|(_, id)| own(id)).count() >= OPEN_MAX {
        let message = format!("You have {OPEN_MAX} open requests: cancel one, or have your break-glass uses reviewed.");
        return Err(Failure::new(ErrorKind::RateLimited, message));
    }
    Ok(())
}

/// True if the caller may take codes of all that is asked for now.
fn holds(state: &State, caller: &Caller, vault: VaultId, accounts: Option<&[AccountId]>, now: Timestamp) -> bool {
    let viewing = |account: AccountId| caller.may_in(state, vault, Operation::CodeRelease(account), now).is_ok();
    match accounts {
        Some(accounts) => accounts.iter().all(|account| viewing(*account)),
        None => state.grants_in(caller.identity(), vault).any(|grant| {
            grant.role == VaultRole::Viewer && grant.accounts.is_none() && grant.in_force(now) && grant.hours.is_none()
        }),
    }
}

/// What every record of a request says.
fn described(draft: Draft, request: &Request) -> Draft {
    let draft = draft
        .detail("request", request.id.to_string())
        .detail("digest", request.digest.clone())
        .detail("duration_s", request.duration_s)
        .detail("exclusive", u64::from(request.exclusive));
    match &request.accounts {
        Some(accounts) => {
            draft.detail("accounts", accounts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        }
        None => draft,
    }
}

/// Gives the grant that a request came to.
fn give(tx: &mut Tx<'_>, caller: &Caller, request: &mut Request) -> Result<(), Refusal> {
    let now = tx.now;
    let mut others = exclusive_holders(&tx.state, request.vault, request.accounts.as_deref(), now);
    if let Some(other) = others.find(|holder| *holder != request.requester) {
        let name = tx.state.identities.get(&other).map_or_else(String::new, |found| found.names.slug.to_string());
        let message = format!("{name} has checked this out: it is free again when they give it back or it runs out.");
        return Err(Failure::new(ErrorKind::Conflict, message).into());
    }
    drop(others);
    let length = SignedDuration::from_secs(i64::try_from(request.duration_s).unwrap_or(i64::MAX));
    let until = now.checked_add(length).unwrap_or(Timestamp::MAX);
    let grant = Grant {
        id: GrantId::random(),
        vault: request.vault,
        holder: Holder::Identity(request.requester),
        role: VaultRole::Viewer,
        accounts: request.accounts.clone(),
        from: now,
        until: Some(until),
        hours: None,
        given_by: caller.identity(),
        given_at: now,
        request: Some(request.id),
        exclusive: request.exclusive,
        pending: false,
        ended_at: None,
    };
    request.grant = Some(grant.id);
    request.state = RequestStatus::Approved;
    let mut draft = caller
        .draft(&tx.state, "grant.give")
        .detail("role", grant.role.as_str())
        .detail("request", request.id.to_string())
        .detail("request_kind", request.kind.as_str())
        .detail("exclusive", u64::from(request.exclusive));
    if let Some(holder) = tx.state.identities.get(&request.requester) {
        draft = about_identity(draft, holder);
    }
    draft.target.grant = Some(grant.id);
    let draft = dated(draft, &grant);
    tx.put(grant)?;
    tx.append(LogId::Vault(request.vault), draft)?;
    Ok(())
}

/// Whether admins decide on a request by now: its time has come, or the vault has no manager who may.
#[must_use]
pub fn has_escalated(state: &State, request: &Request, now: Timestamp) -> bool {
    let managers = |identity: &IdentityId| {
        *identity != request.requester
            && state
                .grants_in(*identity, request.vault)
                .any(|grant| grant.role == VaultRole::Manager && grant.in_force(now))
    };
    request.escalates_at.is_some_and(|at| at <= now) || !deciders(state, request.vault, false, now).iter().any(managers)
}

fn deciding(request: &Request, identity: IdentityId, escalated: bool) -> Operation {
    let own = request.requester == identity;
    match request.kind {
        RequestKind::BreakGlass => Operation::RequestReview { own },
        RequestKind::Access => Operation::RequestDecide { own, escalated },
    }
}

/// Decides whether the caller may decide on a request, or review it.
///
/// # Errors
/// The denial.
pub fn may_decide(state: &State, caller: &Caller, request: &Request, now: Timestamp) -> Result<Terms, Denial> {
    let escalated = has_escalated(state, request, now);
    caller.may_in(state, request.vault, deciding(request, caller.identity(), escalated), now)
}

/// Who may decide on a request now, or review it, by slug.
#[must_use]
pub fn people(state: &State, request: &Request, now: Timestamp) -> Vec<IdentityId> {
    let escalated = has_escalated(state, request, now);
    let able = |identity: IdentityId| {
        let operation = deciding(request, identity, escalated);
        state.acting_keys_of(identity).any(|key| stands(state, request, identity, key, operation, now))
    };
    let concerned = state.concerned([request.vault]);
    let concerned = concerned.iter().filter_map(|identity| state.identities.get(identity));
    let mut found: Vec<_> = concerned.filter(|found| found.is_active(now) && able(found.id)).collect();
    found.sort_by(|one, other| one.names.slug.cmp(&other.names.slug));
    found.into_iter().map(|found| found.id).collect()
}

fn stands(
    state: &State,
    request: &Request,
    identity: IdentityId,
    key: &Key,
    operation: Operation,
    now: Timestamp,
) -> bool {
    let facts = facts(state, identity, &key.fingerprint, Assurance::SoftwareKey, request.vault, now);
    decide(&facts, operation, now).is_ok()
}

/// Approvals by people who could still give them, with the key they signed with.
fn standing_approvals(state: &State, request: &Request, now: Timestamp) -> usize {
    let escalated = has_escalated(state, request, now);
    let stands_still = |approval: &&Approval| {
        let operation = deciding(request, approval.identity, escalated);
        let key = state.keys.get(&approval.key).filter(|key| state.key_acts(&key.fingerprint, approval.identity));
        key.is_some_and(|key| stands(state, request, approval.identity, key, operation, now))
    };
    request.approvals.iter().filter(stands_still).count()
}

/// True if whoever asked still may.
fn may_still_ask(state: &State, request: &Request, now: Timestamp) -> bool {
    let lapsed = has_lapsed(state, request.requester, request.vault, now);
    let operation = Operation::RequestMake { lapsed };
    state.acting_keys_of(request.requester).any(|key| stands(state, request, request.requester, key, operation, now))
}

/// Finds a request, with the draft of what the caller does to it.
fn find(tx: &Tx<'_>, caller: &Caller, event: &'static str, id: RequestId) -> Result<(Request, Draft), Refusal> {
    let nothing = || caller.nothing_there(&tx.state, event, &id.to_string());
    let request = tx.state.requests.get(&id).cloned().ok_or_else(nothing)?;
    let mut draft =
        caller.draft(&tx.state, event).detail("request", id.to_string()).detail("digest", request.digest.clone());
    if let Some(requester) = tx.state.identities.get(&request.requester) {
        draft = about_identity(draft, requester);
    }
    Ok((request, draft))
}

fn refuse(request: &Request, mut draft: Draft, failure: Failure) -> Refusal {
    draft.outcome = RecordOutcome::Denied;
    draft.detail.insert("kind".into(), failure.kind.as_str().into());
    Refusal::recorded(failure, LogId::Vault(request.vault), draft)
}

fn check_waiting(request: &Request, now: Timestamp) -> Result<(), Failure> {
    match request.status(now) {
        RequestStatus::Waiting => Ok(()),
        RequestStatus::Expired => Err(Failure::new(ErrorKind::Expired, "Nobody decided on this request in time.")),
        RequestStatus::Approved | RequestStatus::Denied | RequestStatus::Cancelled => {
            Err(Failure::new(ErrorKind::Conflict, "This request has been decided."))
        }
    }
}

/// What an approval came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The request after it.
    pub request: Request,
    /// Approvals that are still missing.
    pub missing: u8,
    /// Until when the grant is, once it is given.
    pub until: Option<Timestamp>,
}

/// Approves a request of somebody else; with the last approval that it needs, its grant begins.
///
/// # Errors
/// The refusal; `denied` for one's own, `expired`, `conflict` if it was decided, the caller has approved it already, the digest is
/// another's, its requester may not ask any more, or somebody else has checked it out.
pub fn approve(
    tx: &mut Tx<'_>,
    caller: &Caller,
    id: RequestId,
    digest: &str,
    signed: &Signed,
) -> Result<(Outcome, Receipt), Refusal> {
    const EVENT: &str = "request.approve";
    let (mut request, draft) = find(tx, caller, EVENT, id)?;
    let now = tx.now;
    let escalated = has_escalated(&tx.state, &request, now);
    let operation = Operation::RequestDecide { own: request.requester == caller.identity(), escalated };
    let terms = caller
        .may_in(&tx.state, request.vault, operation, now)
        .map_err(|denial| caller.refused(&tx.state, denial, Some(request.vault), draft.clone()))?;
    check_waiting(&request, now).map_err(|failure| refuse(&request, draft.clone(), failure))?;
    let conflict = |message: &str| Err(refuse(&request, draft.clone(), Failure::new(ErrorKind::Conflict, message)));
    if digest != request.digest {
        return conflict("This is not what was asked for: read the request again.");
    }
    if request.approvals.iter().any(|approval| approval.identity == caller.identity()) {
        return conflict("You have approved this already: somebody else has to.");
    }
    if !may_still_ask(&tx.state, &request, now) {
        return conflict("Who asked for this may not any more.");
    }
    let key = caller.actor.key.clone();
    request.approvals.push(Approval { identity: caller.identity(), key, at: now });
    // A policy that has become stricter meanwhile counts.
    let policy = tx.state.policies.get(&request.vault).map_or(1, |policy| policy.rules.requests.approvals);
    let needed = request.needed.max(policy);
    let standing = u8::try_from(standing_approvals(&tx.state, &request, now)).unwrap_or(u8::MAX);
    let missing = needed.saturating_sub(standing);
    if missing == 0 {
        let asked = request.clone();
        give(tx, caller, &mut request).map_err(|refusal| refuse(&asked, draft.clone(), refusal.failure))?;
    }
    let until = request.grant.and_then(|grant| tx.state.grants.get(&grant)).and_then(|grant| grant.until);
    tx.put(request.clone())?;
    let mut draft = signed.note(draft).detail("approvals", standing).detail("missing", missing);
    draft.grant = terms.grant;
    draft.target.grant = request.grant;
    let receipt = tx.append(LogId::Vault(request.vault), draft)?;
    Ok((Outcome { request, missing, until }, receipt))
}

/// Denies a request.
///
/// # Errors
/// The refusal; `denied` for one's own, `expired`, `conflict` if it was decided.
pub fn deny(tx: &mut Tx<'_>, caller: &Caller, id: RequestId, reason: &str) -> Result<((), Receipt), Refusal> {
    const EVENT: &str = "request.deny";
    let (request, draft) = find(tx, caller, EVENT, id)?;
    let now = tx.now;
    let escalated = has_escalated(&tx.state, &request, now);
    let operation = Operation::RequestDecide { own: request.requester == caller.identity(), escalated };
    let terms = caller
        .may_in(&tx.state, request.vault, operation, now)
        .map_err(|denial| caller.refused(&tx.state, denial, Some(request.vault), draft.clone()))?;
    check_waiting(&request, now).map_err(|failure| refuse(&request, draft.clone(), failure))?;
    let log = LogId::Vault(request.vault);
    let names = RequestNames { answer: Some(reason.to_owned()), ..request.names.clone() };
    tx.put(Request { state: RequestStatus::Denied, decided_by: Some(caller.identity()), names, ..request })?;
    let mut draft = draft.text("reason", reason);
    draft.grant = terms.grant;
    let receipt = tx.append(log, draft)?;
    Ok(((), receipt))
}

/// Takes one's own request back; or ends early the grant that it came to.
///
/// # Errors
/// `not_found` for somebody else's, `conflict` if there is nothing left to take back.
pub fn cancel(tx: &mut Tx<'_>, caller: &Caller, id: RequestId) -> Result<(VaultId, Receipt), Refusal> {
    const EVENT: &str = "request.cancel";
    let nothing = || caller.nothing_there(&tx.state, EVENT, &id.to_string());
    let (request, draft) = find(tx, caller, EVENT, id)?;
    let now = tx.now;
    let own = request.requester == caller.identity();
    // One's own stay one's own; whether the vault still shows is another matter, and giving up is always allowed.
    let active = caller.org_facts(&tx.state, now);
    if !own || !active.key_active {
        return Err(nothing());
    }
    let log = LogId::Vault(request.vault);
    let grant =
        request.grant.and_then(|grant| tx.state.grants.get(&grant)).filter(|grant| grant.in_force(now)).cloned();
    match (request.status(now), grant) {
        (RequestStatus::Waiting, _) => {
            let vault = request.vault;
            tx.put(Request { state: RequestStatus::Cancelled, decided_by: Some(caller.identity()), ..request })?;
            let receipt = tx.append(log, draft)?;
            Ok((vault, receipt))
        }
        (RequestStatus::Approved, Some(grant)) => {
            let mut ending = caller
                .draft(&tx.state, "grant.end")
                .detail("role", grant.role.as_str())
                .detail("cause", EVENT)
                .detail("request", id.to_string());
            ending.target.grant = Some(grant.id);
            ending.target.identity = Some(request.requester);
            let receipt = end_now(tx, grant, now, ending)?;
            Ok((request.vault, receipt))
        }
        _ => Err(refuse(&request, draft, Failure::new(ErrorKind::Conflict, "There is nothing left to take back."))),
    }
}

/// Looks back at a break-glass of somebody else.
///
/// # Errors
/// The refusal; `denied` for one's own, `conflict` if it was reviewed or is none.
pub fn review(
    tx: &mut Tx<'_>,
    caller: &Caller,
    id: RequestId,
    justified: bool,
    note: &str,
) -> Result<((), Receipt), Refusal> {
    const EVENT: &str = "request.review";
    let (request, draft) = find(tx, caller, EVENT, id)?;
    let now = tx.now;
    let operation = Operation::RequestReview { own: request.requester == caller.identity() };
    let terms = caller
        .may_in(&tx.state, request.vault, operation, now)
        .map_err(|denial| caller.refused(&tx.state, denial, Some(request.vault), draft.clone()))?;
    if !request.awaits_review() {
        let message = "There is nothing to review: it is no break-glass, or somebody has reviewed it.";
        return Err(refuse(&request, draft, Failure::new(ErrorKind::Conflict, message)));
    }
    let log = LogId::Vault(request.vault);
    let review = Review { identity: caller.identity(), at: now, justified };
    let names = RequestNames { answer: Some(note.to_owned()), ..request.names.clone() };
    tx.put(Request { review: Some(review), names, ..request })?;
    let mut draft = draft.detail("justified", u64::from(justified)).text("note", note);
    draft.grant = terms.grant;
    let receipt = tx.append(log, draft)?;
    Ok(((), receipt))
}

/// Ends requests that nobody decided in time. Gives how many; at most `most` at once.
///
/// # Errors
/// Only if it cannot be written down.
pub fn sweep(tx: &mut Tx<'_>, most: usize) -> Result<(usize, Receipt), Refusal> {
    let now = tx.now;
    let open = tx.state.open_requests.keys().filter_map(|(_, id)| tx.state.requests.get(id));
    let expired: Vec<Request> = open
        .filter(|request| request.state == RequestStatus::Waiting && request.status(now) == RequestStatus::Expired)
        .filter(|request| tx.check_whole(LogId::Vault(request.vault)).is_ok())
        .take(most)
        .cloned()
        .collect();
    let count = expired.len();
    let mut receipt = None;
    for request in expired {
        let mut draft = Draft::new("request.expire").detail("request", request.id.to_string());
        draft.target.identity = Some(request.requester);
        let log = LogId::Vault(request.vault);
        tx.put(Request { state: RequestStatus::Expired, ..request })?;
        receipt = Some(tx.append(log, draft)?);
    }
    let nothing = || Refusal::from(Failure::new(ErrorKind::Conflict, "Nothing has expired."));
    receipt.map(|receipt| (count, receipt)).ok_or_else(nothing)
}

/// The slug of somebody.
#[must_use]
pub fn slug(state: &State, identity: IdentityId) -> Option<Slug> {
    state.identities.get(&identity).map(|identity| identity.names.slug.clone())
}
