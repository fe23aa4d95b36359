//! How an identity's access ends: for good, until somebody resumes it, or as far as codes go.

use strongroom_proto::ids::{GroupId, IdentityId, Slug, VaultId};
use strongroom_proto::method::Receipt;
use strongroom_proto::words::{IdentityStatus, OrgRole, PendingStatus, RequestStatus};

use super::super::grant::end_now;
use super::super::{Caller, about_identity, group, pending, rotation};
use super::{conflict, find};
use crate::access::Operation;
use crate::state::LogId;
use crate::state::pending::Pending;
use crate::state::request::Request;
use crate::state::rows::{Grant, Holder, Identity, Key};
use crate::store::StoreError;
use crate::store::tx::{Draft, Refusal, Tx};

/// What a revocation ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Whom it revoked.
    pub identity: IdentityId,
    /// Grants ended.
    pub grants: u64,
    /// Memberships ended.
    pub groups: u64,
    /// Requests ended.
    pub requests: u64,
    /// Vaults in which they had any of these.
    pub vaults: Vec<VaultId>,
    /// Accounts whose seeds they knew: on the rotation list now.
    pub rotations: u64,
}

/// Revokes an identity: status, keys, grants, memberships, requests and what waits for a second person, in one commit. Each
/// vault's own log says what ended there, so its order against releases can be read there.
///
/// # Errors
/// The refusal; `conflict` if it is revoked already, or would leave no admin.
pub fn revoke(tx: &mut Tx<'_>, caller: &Caller, slug: &Slug, reason: &str) -> Result<(Ended, Receipt), Refusal> {
    const EVENT: &str = "identity.revoke";
    let (identity, draft) = found(tx, caller, EVENT, slug, |own| Operation::IdentityRevoke { own })?;
    if identity.status == IdentityStatus::Revoked {
        return Err(conflict(format!("{slug} is revoked already.")));
    }
    let now = tx.now;
    let mut ended =
        Ended { identity: identity.id, grants: 0, groups: 0, requests: 0, vaults: Vec::new(), rotations: 0 };
    let grants: Vec<Grant> = tx.state.held_by(Holder::Identity(identity.id)).cloned().collect();
    for grant in grants {
        ended.grants += 1;
        ended.vaults.push(grant.vault);
        // A vault that does not match its log stays sealed: its grant is dead anyway, since the identity is.
        if tx.state.sealed.contains_key(&LogId::Vault(grant.vault)) {
            continue;
        }
        let mut ending = about_identity(caller.draft(&tx.state, "grant.end"), &identity)
            .detail("role", grant.role.as_str())
            .detail("cause", EVENT);
        ending.target.grant = Some(grant.id);
        end_now(tx, grant, now, ending)?;
    }
    let groups: Vec<GroupId> = tx.state.groups_of(identity.id).collect();
    for group in groups {
        ended.groups += 1;
        ended.vaults.extend(tx.state.held_by(Holder::Group(group)).map(|grant| grant.vault));
        group::leave(tx, caller, group, &identity, EVENT)?;
    }
    end_requests(tx, caller, &identity, &mut ended)?;
    end_pendings(tx, caller, &identity)?;
    ended.rotations = rotation::note_leaver(tx, caller, &identity)?;
    let keys: Vec<Key> = tx.state.keys_of(identity.id).filter(|key| key.active).cloned().collect();
    for key in keys {
        tx.put(Key { active: false, ..key })?;
    }
    tx.put(Identity { status: IdentityStatus::Revoked, ..identity })?;
    ended.vaults.sort_unstable();
    ended.vaults.dedup();
    let draft = draft
        .text("reason", reason)
        .detail("grants", ended.grants)
        .detail("groups", ended.groups)
        .detail("requests", ended.requests)
        .detail("rotations", ended.rotations)
        .detail("vaults", ended.vaults.len());
    let receipt = tx.append(LogId::Org, draft)?;
    Ok((ended, receipt))
}

/// Ends what they have asked for and nobody has decided.
fn end_requests(tx: &mut Tx<'_>, caller: &Caller, identity: &Identity, ended: &mut Ended) -> Result<(), Refusal> {
    let waiting = |request: &&Request| request.requester == identity.id && request.state == RequestStatus::Waiting;
    let open = tx.state.open_requests.keys().filter_map(|(_, id)| tx.state.requests.get(id));
    let requests: Vec<Request> = open.filter(waiting).cloned().collect();
    for request in requests {
        ended.requests += 1;
        ended.vaults.push(request.vault);
        if tx.state.sealed.contains_key(&LogId::Vault(request.vault)) {
            continue;
        }
        let draft = about_identity(caller.draft(&tx.state, "request.cancel"), identity)
            .detail("request", request.id.to_string())
            .detail("cause", "identity.revoke");
        let log = LogId::Vault(request.vault);
        tx.put(Request { state: RequestStatus::Cancelled, decided_by: Some(caller.identity()), ..request })?;
        tx.append(log, draft)?;
    }
    Ok(())
}

/// Rejects what was to serve them and waits for a second person.
fn end_pendings(tx: &mut Tx<'_>, caller: &Caller, identity: &Identity) -> Result<(), Refusal> {
    let serves = |pending: &&Pending| pending.identity == Some(identity.id);
    let open = tx.state.open_pendings.keys().filter_map(|id| tx.state.pendings.get(id));
    let pendings: Vec<Pending> = open.filter(serves).cloned().collect();
    for pending in pendings {
        if tx.check_whole(pending.log_id()).is_err() {
            continue;
        }
        let draft = about_identity(caller.draft(&tx.state, "pending.reject"), identity)
            .detail("pending", pending.id.to_string())
            .detail("change", pending.change.kind().as_str())
            .detail("cause", "identity.revoke");
        pending::undo(tx, &pending)?;
        let log = pending.log_id();
        let decided = Pending {
            state: PendingStatus::Rejected,
            decided_by: Some(caller.identity()),
            decided_at: Some(tx.now),
            ..pending
        };
        tx.put(decided)?;
        tx.append(log, draft)?;
    }
    Ok(())
}

/// Suspends an identity: it cannot log in until somebody resumes it. Its grants stay.
///
/// # Errors
/// The refusal; `conflict` if it is suspended or revoked.
pub fn suspend(tx: &mut Tx<'_>, caller: &Caller, slug: &Slug, reason: &str) -> Result<(IdentityId, Receipt), Refusal> {
    const EVENT: &str = "identity.suspend";
    let (identity, draft) = found(tx, caller, EVENT, slug, |own| Operation::IdentitySuspend { own })?;
    match identity.status {
        IdentityStatus::Active | IdentityStatus::Held => {}
        IdentityStatus::Suspended => return Err(conflict(format!("{slug} is suspended already."))),
        IdentityStatus::Revoked => return Err(conflict(format!("{slug} was revoked."))),
    }
    let id = identity.id;
    tx.put(Identity { status: IdentityStatus::Suspended, ..identity })?;
    let receipt = tx.append(LogId::Org, draft.text("reason", reason))?;
    Ok((id, receipt))
}

/// Ends a suspension or a hold.
///
/// # Errors
/// The refusal; `conflict` if it is neither suspended nor on hold.
pub fn resume(tx: &mut Tx<'_>, caller: &Caller, slug: &Slug, reason: &str) -> Result<((), Receipt), Refusal> {
    const EVENT: &str = "identity.resume";
    let (identity, draft) = found(tx, caller, EVENT, slug, |own| Operation::IdentityResume { own })?;
    match identity.status {
        IdentityStatus::Suspended | IdentityStatus::Held => {}
        IdentityStatus::Active => return Err(conflict(format!("{slug} is neither suspended nor on hold."))),
        IdentityStatus::Revoked => return Err(conflict(format!("{slug} was revoked, which is for ever."))),
    }
    let draft = draft.text("reason", reason).detail("was", identity.status.as_str());
    // What a tripwire counted is what somebody has looked at now.
    tx.state.recent.remove(&identity.id);
    tx.put(Identity { status: IdentityStatus::Active, ..identity })?;
    let receipt = tx.append(LogId::Org, draft)?;
    Ok(((), receipt))
}

/// Puts an identity on hold: it takes no codes until somebody else resumes it. The agent does that by itself, because of what
/// was done in a session.
///
/// # Errors
/// Only if it cannot be written down.
pub fn hold(tx: &mut Tx<'_>, caller: &Caller, cause: &str, draft: Draft) -> Result<(), StoreError> {
    let Some(identity) = tx.state.identities.get(&caller.identity()).cloned() else { return Ok(()) };
    let draft = about_identity(draft, &identity).detail("cause", cause).detail("alert", "releases were stopped");
    if identity.status == IdentityStatus::Active {
        tx.put(Identity { status: IdentityStatus::Held, ..identity })?;
    }
    tx.append(LogId::Org, draft).map(|_receipt| ())
}

pub(in super::super) fn found(
    tx: &Tx<'_>,
    caller: &Caller,
    event: &'static str,
    slug: &Slug,
    operation: impl Fn(bool) -> Operation,
) -> Result<(Identity, Draft), Refusal> {
    let identity = find(tx, caller, event, slug, caller.holds(&tx.state, OrgRole::Admin))?;
    let own = identity.id == caller.identity();
    let draft = about_identity(caller.draft(&tx.state, event), &identity);
    let _terms = caller
        .may(&tx.state, operation(own), tx.now)
        .map_err(|denial| caller.refused(&tx.state, denial, None, draft.clone()))?;
    Ok((identity, draft))
}
