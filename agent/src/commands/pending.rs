//! Commands on what waits for a second person. One person proposes by doing; the change gives nothing until somebody else, who
//! neither did it nor gains by it, has confirmed it with their key.

use jiff::{SignedDuration, Timestamp};
use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{IdentityId, PendingId};
use strongroom_proto::method::Receipt;
use strongroom_proto::words::{Assurance, OrgRole, PendingStatus, VaultRole};

use super::identity::certificates;
use super::step_up::Signed;
use super::{Caller, about_identity, erasure, policy};
use crate::access::{Denial, Operation, decide, facts, org_facts};
use crate::state::group::Member;
use crate::state::pending::{Pending, PendingChange, Principals};
use crate::state::rows::{Grant, Identity, Key};
use crate::state::{LogId, State};
use crate::store::tx::{Draft, Refusal, Tx};

/// How a change comes about that needs two people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A second person stands behind it already.
    Confirmed,
    /// There has only ever been one admin: it takes effect, and waits for a later look.
    InForce,
    /// It gives nothing before somebody has confirmed it.
    Waiting,
}

impl Standing {
    /// Of something that the caller does alone.
    #[must_use]
    pub fn alone(state: &State, caller: &Caller) -> Self {
        if state.sole_admin(caller.identity()) { Self::InForce } else { Self::Waiting }
    }
}

/// Notes a change that one person made. Gives the draft with the change's id in it; nothing to note if two people stand behind
/// it.
///
/// # Errors
/// Only if it cannot be written down.
pub fn note(
    tx: &mut Tx<'_>,
    caller: &Caller,
    standing: Standing,
    change: PendingChange,
    identity: Option<IdentityId>,
    draft: Draft,
) -> Result<(Option<PendingId>, Draft), Refusal> {
    note_with(tx, caller, standing, change, (identity, None), draft)
}

/// As [`note`], with the names that the change is about and whom it serves.
///
/// # Errors
/// Only if it cannot be written down.
pub fn note_with(
    tx: &mut Tx<'_>,
    caller: &Caller,
    standing: Standing,
    change: PendingChange,
    (identity, names): (Option<IdentityId>, Principals),
    draft: Draft,
) -> Result<(Option<PendingId>, Draft), Refusal> {
    if standing == Standing::Confirmed {
        return Ok((None, draft));
    }
    let life = SignedDuration::from_hours(tx.state.org_policy.confirm_within_h.into());
    let mut pending = Pending {
        id: PendingId::random(),
        change,
        identity,
        proposer: caller.identity(),
        proposer_key: caller.actor.key.clone(),
        created_at: tx.now,
        expires_at: tx.now.checked_add(life).unwrap_or(tx.now),
        digest: String::new(),
        in_force: standing == Standing::InForce,
        state: PendingStatus::Waiting,
        decided_by: None,
        decided_at: None,
        names,
    };
    pending.digest = pending
        .content()
        .digest()
        .ok_or_else(|| Failure::new(ErrorKind::Internal, "What waits for a second person cannot be written down."))?;
    let id = pending.id;
    let draft = draft.detail("pending", id.to_string()).detail("in_force", u64::from(pending.in_force));
    tx.put(pending)?;
    Ok((Some(id), draft))
}

/// The operation of deciding on a pending change, for somebody.
fn deciding(state: &State, caller: IdentityId, pending: &Pending, now: Timestamp) -> Operation {
    let serves = |identity: IdentityId| match &pending.change {
        // A grant to a group serves everybody in it.
        PendingChange::Grant { grant, .. } => {
            state.grants.get(grant).is_some_and(|grant| state.serves(grant.holder, identity))
        }
        _ => pending.identity == Some(identity),
    };
    let own = pending.proposer == caller || serves(caller) || pending.identity == Some(caller);
    if pending.change.vault().is_some() && !pending.change.is_for_admins() {
        return Operation::PendingConfirmIn { own };
    }
    let manages = pending.identity.is_some_and(|identity| manages_somebody(state, caller, identity, now));
    Operation::PendingConfirm { own, manages, office: pending.change.is_for_admins() }
}

/// True if somebody manages a vault in which the other holds a grant.
fn manages_somebody(state: &State, manager: IdentityId, identity: IdentityId, now: Timestamp) -> bool {
    state.grants_for(identity).any(|grant| {
        let mut held = state.grants_in(manager, grant.vault);
        held.any(|own| own.role == VaultRole::Manager && own.in_force(now))
    })
}

/// Decides whether the caller may decide on a pending change.
///
/// # Errors
/// The denial.
pub fn may_decide(state: &State, caller: &Caller, pending: &Pending, now: Timestamp) -> Result<(), Denial> {
    let operation = deciding(state, caller.identity(), pending, now);
    let decision = match pending.change.vault() {
        Some(vault) => caller.may_in(state, vault, operation, now),
        None => caller.may(state, operation, now),
    };
    decision.map(|_terms| ())
}

/// Who could confirm a change, by slug.
#[must_use]
pub fn may_confirm(state: &State, pending: &Pending, now: Timestamp) -> Vec<IdentityId> {
    let able = |identity: &Identity| {
        let operation = deciding(state, identity.id, pending, now);
        state.acting_keys_of(identity.id).any(|key| {
            let weak = Assurance::SoftwareKey;
            let facts = match pending.change.vault() {
                Some(vault) => facts(state, identity.id, &key.fingerprint, weak, vault, now),
                None => org_facts(state, identity.id, &key.fingerprint, weak, now),
            };
            decide(&facts, operation, now).is_ok()
        })
    };
    let held = pending.identity.into_iter().flat_map(|identity| state.grants_for(identity)).map(|grant| grant.vault);
    let concerned = state.concerned(held.chain(pending.change.vault()));
    let concerned = concerned.iter().filter_map(|identity| state.identities.get(identity));
    let mut found: Vec<&Identity> = concerned.filter(|identity| identity.is_active(now) && able(identity)).collect();
    found.sort_by(|one, other| one.names.slug.cmp(&other.names.slug));
    found.into_iter().map(|found| found.id).collect()
}

/// Whether who proposed a change still could: a colleague who was revoked meanwhile must not have a say.
fn stands_behind(state: &State, pending: &Pending, now: Timestamp) -> bool {
    let (who, key) = (pending.proposer, pending.proposer_key.as_str());
    let own = false;
    let operation = match &pending.change {
        PendingChange::Key { .. } => Operation::KeyAdd { own },
        PendingChange::Grant { grant, .. } => match state.grants.get(grant) {
            Some(grant) => Operation::GrantGive { role: grant.role, own },
            None => return false,
        },
        PendingChange::Member { .. } => Operation::MemberAdd { own },
        PendingChange::Roles { .. } => Operation::RolesChange { own },
        PendingChange::Certificates | PendingChange::Erasure => Operation::IdentityUpdate { own },
        PendingChange::VaultPolicy { .. } => Operation::PolicySet,
        PendingChange::OrgPolicy { .. } => Operation::OrgPolicySet,
    };
    let facts = match pending.change.vault() {
        Some(vault) => facts(state, who, key, Assurance::SoftwareKey, vault, now),
        None => org_facts(state, who, key, Assurance::SoftwareKey, now),
    };
    decide(&facts, operation, now).is_ok()
}

/// Finds a change on which the caller may decide, with the draft of their decision.
fn find(
    tx: &Tx<'_>,
    caller: &Caller,
    event: &'static str,
    id: PendingId,
    withdraws: bool,
) -> Result<(Pending, Draft), Refusal> {
    let nothing = || caller.nothing_there(&tx.state, event, &id.to_string());
    let pending = tx.state.pendings.get(&id).cloned().ok_or_else(nothing)?;
    let mut draft = caller
        .draft(&tx.state, event)
        .detail("pending", id.to_string())
        .detail("change", pending.change.kind().as_str())
        .detail("digest", pending.digest.clone());
    if let Some(identity) = pending.identity.and_then(|identity| tx.state.identities.get(&identity)) {
        draft = about_identity(draft, identity);
    }
    match &pending.change {
        PendingChange::Key { fingerprint } => draft.target.key = Some(fingerprint.clone()),
        PendingChange::Grant { grant, .. } => draft.target.grant = Some(*grant),
        PendingChange::Roles { roles } => {
            draft = draft.detail("roles", roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(" "));
        }
        PendingChange::Member { group } => draft = draft.detail("group", group.to_string()),
        _ => {}
    }
    let denied = match may_decide(&tx.state, caller, &pending, tx.now) {
        Err(Denial::OwnHand) if withdraws && pending.proposer == caller.identity() => None,
        decision => decision.err(),
    };
    if let Some(denial) = denied {
        // Who may not know of the vault may not know of the change either.
        return Err(caller.refused(&tx.state, denial, pending.change.vault(), draft));
    }
    Ok((pending, draft))
}

fn refuse(pending: &Pending, mut draft: Draft, failure: Failure) -> Refusal {
    draft.outcome = RecordOutcome::Denied;
    draft.detail.insert("kind".into(), failure.kind.as_str().into());
    Refusal::recorded(failure, pending.log_id(), draft)
}

fn check_waiting(pending: &Pending, now: Timestamp) -> Result<(), Failure> {
    match pending.status(now) {
        PendingStatus::Waiting => Ok(()),
        PendingStatus::Lapsed => {
            Err(Failure::new(ErrorKind::Expired, "Nobody confirmed this in time: it has to be done anew."))
        }
        PendingStatus::Confirmed | PendingStatus::Rejected => {
            Err(Failure::new(ErrorKind::Conflict, "Somebody has decided on this already."))
        }
    }
}

/// Confirms what somebody else did. `in_person` says that the confirmer has seen the hardware of a FIDO key: two people's word
/// stands in for an attestation.
///
/// # Errors
/// The refusal; `denied` for one's own or what serves oneself, `expired`, `conflict` if it was decided, has changed, or its
/// proposer no longer stands behind it.
pub fn confirm(
    tx: &mut Tx<'_>,
    caller: &Caller,
    id: PendingId,
    digest: &str,
    in_person: bool,
    signed: &Signed,
) -> Result<(Pending, Receipt), Refusal> {
    const EVENT: &str = "pending.confirm";
    let (pending, draft) = find(tx, caller, EVENT, id, false)?;
    let now = tx.now;
    check_waiting(&pending, now).map_err(|failure| refuse(&pending, draft.clone(), failure))?;
    let conflict = |message: &str| Err(refuse(&pending, draft.clone(), Failure::new(ErrorKind::Conflict, message)));
    if digest != pending.digest {
        return conflict("This is not what was done: read it again.");
    }
    if !pending.in_force && !stands_behind(&tx.state, &pending, now) {
        return conflict("Who did this has lost the right to it: it has to be done anew, or rejected.");
    }
    apply(tx, caller, &pending, in_person).map_err(|failure| refuse(&pending, draft.clone(), failure))?;
    let decided = Pending {
        state: PendingStatus::Confirmed,
        decided_by: Some(caller.identity()),
        decided_at: Some(now),
        ..pending.clone()
    };
    tx.put(decided.clone())?;
    let mut draft = signed.note(draft);
    if in_person {
        draft = draft.detail("in_person", 1);
    }
    let receipt = tx.append(decided.log_id(), draft)?;
    Ok((decided, receipt))
}

/// Gives a change its effect.
fn apply(tx: &mut Tx<'_>, caller: &Caller, pending: &Pending, in_person: bool) -> Result<(), Failure> {
    let gone = || Failure::new(ErrorKind::Conflict, "What this is about is gone.");
    let now = tx.now;
    match &pending.change {
        PendingChange::Key { fingerprint } => {
            let key = tx.state.keys.get(fingerprint).filter(|key| key.active).cloned().ok_or_else(gone)?;
            if in_person && !key.algorithm.starts_with("sk-") {
                let message = "Only a FIDO key has hardware that one can have seen.";
                return Err(Failure::new(ErrorKind::InvalidParams, message));
            }
            let attested = key.attested || in_person;
            tx.put(Key { confirmed: true, attested, ..key })?;
            Ok(())
        }
        _ if in_person => {
            Err(Failure::new(ErrorKind::InvalidParams, "in_person is said of keys, and of nothing else."))
        }
        _ if pending.in_force => Ok(()),
        PendingChange::Grant { grant, .. } => {
            let grant =
                tx.state.grants.get(grant).filter(|grant| grant.ended_at.is_none()).cloned().ok_or_else(gone)?;
            if grant.until.is_some_and(|until| until <= now) {
                return Err(Failure::new(ErrorKind::Conflict, "This grant has run out by now."));
            }
            tx.put(Grant { pending: false, ..grant })?;
            vet(tx, caller, pending.identity, Standing::Confirmed)
        }
        PendingChange::Member { group } => {
            let identity = pending.identity.ok_or_else(gone)?;
            let member = tx.state.members.get(&(*group, identity)).cloned().ok_or_else(gone)?;
            tx.put(Member { pending: false, ..member })?;
            vet(tx, caller, Some(identity), Standing::Confirmed)
        }
        PendingChange::Roles { roles } => {
            let identity = pending.identity.and_then(|id| tx.state.identities.get(&id)).cloned().ok_or_else(gone)?;
            let roles = joined(&identity.roles, roles);
            tx.put(Identity { roles, vetted: true, ..identity })?;
            Ok(())
        }
        PendingChange::Certificates => {
            let identity = pending.identity.and_then(|id| tx.state.identities.get(&id)).cloned().ok_or_else(gone)?;
            let principals = pending.names.clone().ok_or_else(gone)?;
            certificates::place(tx, identity, principals)
        }
        PendingChange::Erasure => {
            let identity = pending.identity.and_then(|id| tx.state.identities.get(&id)).cloned().ok_or_else(gone)?;
            erasure::begin(tx, identity)
        }
        PendingChange::VaultPolicy { vault, before, after } => policy::replace(tx, *vault, before, after),
        PendingChange::OrgPolicy { before, after } => policy::replace_org(tx, before, after),
    }
}

/// Roles without doubles, in order.
#[must_use]
pub fn joined(held: &[OrgRole], more: &[OrgRole]) -> Vec<OrgRole> {
    let mut roles = [held, more].concat();
    roles.sort_unstable();
    roles.dedup();
    roles
}

/// Notes that two people stand behind an identity: who enrolled it, and the caller. While there has only ever been one admin,
/// that one's word is enough.
///
/// # Errors
/// Only if it cannot be written down.
pub fn vet(tx: &mut Tx<'_>, caller: &Caller, identity: Option<IdentityId>, standing: Standing) -> Result<(), Failure> {
    let unvetted = |identity: &&Identity| !identity.vetted;
    let found = identity.and_then(|id| tx.state.identities.get(&id)).filter(unvetted).cloned();
    let Some(identity) = found else { return Ok(()) };
    let draft = about_identity(caller.draft(&tx.state, "identity.vet"), &identity)
        .detail("people", if standing == Standing::Confirmed { 2 } else { 1 });
    tx.put(Identity { vetted: true, ..identity })?;
    tx.append(LogId::Org, draft)?;
    Ok(())
}

/// Rejects what somebody else did, or takes back what oneself did. What was in force already stays so: ending it is an act of
/// its own.
///
/// # Errors
/// The refusal; `conflict` if it was decided.
pub fn reject(tx: &mut Tx<'_>, caller: &Caller, id: PendingId, reason: &str) -> Result<(Pending, Receipt), Refusal> {
    const EVENT: &str = "pending.reject";
    let (pending, draft) = find(tx, caller, EVENT, id, true)?;
    let now = tx.now;
    // A lapsed one may be cleared away.
    if pending.state != PendingStatus::Waiting {
        let failure = Failure::new(ErrorKind::Conflict, "Somebody has decided on this already.");
        return Err(refuse(&pending, draft, failure));
    }
    undo(tx, &pending)?;
    let decided = Pending {
        state: PendingStatus::Rejected,
        decided_by: Some(caller.identity()),
        decided_at: Some(now),
        ..pending
    };
    tx.put(decided.clone())?;
    let receipt = tx.append(decided.log_id(), draft.text("reason", reason))?;
    Ok((decided, receipt))
}

/// Takes away what a change had prepared.
///
/// # Errors
/// Only if it cannot be written down.
pub(super) fn undo(tx: &mut Tx<'_>, pending: &Pending) -> Result<(), Refusal> {
    if pending.in_force {
        return Ok(());
    }
    match &pending.change {
        PendingChange::Key { fingerprint } => {
            if let Some(key) = tx.state.keys.get(fingerprint).filter(|key| !key.confirmed).cloned() {
                tx.put(Key { active: false, ..key })?;
            }
        }
        PendingChange::Grant { grant, .. } => {
            if let Some(grant) = tx.state.grants.get(grant).filter(|grant| grant.pending).cloned() {
                let now = tx.now;
                tx.put(Grant { ended_at: grant.ended_at.or(Some(now)), ..grant })?;
            }
        }
        PendingChange::Member { group } => {
            let place = pending.identity.map(|identity| (*group, identity));
            if let Some(member) = place.and_then(|place| tx.state.members.get(&place)).filter(|m| m.pending).cloned() {
                tx.delete(&member);
            }
        }
        _ => {}
    }
    Ok(())
}

/// Ends what lapsed: nobody confirmed it in time, or its proposer lost the right. Gives how many; at most `most` at once.
///
/// # Errors
/// Only if it cannot be written down.
pub fn sweep(tx: &mut Tx<'_>, most: usize) -> Result<(usize, Receipt), Refusal> {
    let now = tx.now;
    let lapsed: Vec<Pending> = tx
        .state
        .open_pendings
        .keys()
        .filter_map(|id| tx.state.pendings.get(id))
        .filter(|pending| pending.status(now) == PendingStatus::Lapsed)
        .filter(|pending| tx.check_whole(pending.log_id()).is_ok())
        .take(most)
        .cloned()
        .collect();
    let count = lapsed.len();
    let mut receipt = None;
    for pending in lapsed {
        undo(tx, &pending)?;
        let lapsed = Pending { state: PendingStatus::Lapsed, decided_at: Some(now), ..pending };
        tx.put(lapsed.clone())?;
        let draft = Draft::new("pending.lapse")
            .detail("pending", lapsed.id.to_string())
            .detail("change", lapsed.change.kind().as_str());
        receipt = Some(tx.append(lapsed.log_id(), draft)?);
    }
    let nothing = || Refusal::from(Failure::new(ErrorKind::Conflict, "Nothing has lapsed."));
    receipt.map(|receipt| (count, receipt)).ok_or_else(nothing)
}
