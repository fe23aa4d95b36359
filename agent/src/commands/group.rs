//! Commands on groups. Whoever joins a group gains its grants, so joining is given like a grant: by somebody else, and by two
//! people for somebody whom nobody else stands behind yet. Each vault's own log says who gained or lost access there.

use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{GroupId, PendingId, Slug, VaultId};
use strongroom_proto::method::Receipt;

use super::grant::end_now;
use super::pending::{Standing, note, vet};
use super::{Caller, about_identity};
use crate::access::{Denial, Operation};
use crate::state::group::{Group, GroupNames, Member};
use crate::state::pending::PendingChange;
use crate::state::rows::{Grant, Holder, Identity};
use crate::state::{LogId, State};
use crate::store::tx::{Draft, Refusal, Tx};

/// Makes a group.
///
/// # Errors
/// The refusal; `conflict` if the slug is or was in use.
pub fn create(tx: &mut Tx<'_>, caller: &Caller, names: &GroupNames) -> Result<(GroupId, Receipt), Refusal> {
    let now = tx.now;
    let draft = caller.draft(&tx.state, "group.create").text("group.name", names.slug.as_str());
    let _terms = caller
        .may(&tx.state, Operation::GroupManage, now)
        .map_err(|denial| caller.refused(&tx.state, denial, None, draft.clone()))?;
    if tx.state.group_slugs.contains_key(&names.slug) {
        let message = format!("The group name {} is or was in use: names are never given twice.", names.slug);
        return Err(Failure::new(ErrorKind::Conflict, message).into());
    }
    let group = Group { id: GroupId::random(), created_at: now, removed_at: None, names: names.clone() };
    let id = group.id;
    tx.put(group)?;
    let receipt = tx.append(LogId::Org, draft.detail("group", id.to_string()))?;
    Ok((id, receipt))
}

/// What the end of a group ended.
#[derive(Clone, Copy, Debug)]
pub struct Removed {
    /// Its members.
    pub members: u64,
    /// Its grants.
    pub grants: u64,
}

/// Removes a group: its grants and memberships end.
///
/// # Errors
/// The refusal.
pub fn remove(tx: &mut Tx<'_>, caller: &Caller, slug: &Slug, reason: &str) -> Result<(Removed, Receipt), Refusal> {
    const EVENT: &str = "group.remove";
    let now = tx.now;
    let (group, draft) = find(tx, caller, EVENT, slug, Operation::GroupManage)?;
    let grants: Vec<Grant> = tx.state.held_by(Holder::Group(group.id)).cloned().collect();
    let members: Vec<Member> = tx.state.members_of(group.id).cloned().collect();
    let removed = Removed { members: members.len() as u64, grants: grants.len() as u64 };
    for grant in grants {
        // A vault that does not match its log stays sealed: its grant serves nobody once the members are gone.
        if tx.state.sealed.contains_key(&LogId::Vault(grant.vault)) {
            continue;
        }
        let mut ending = caller
            .draft(&tx.state, "grant.end")
            .detail("role", grant.role.as_str())
            .detail("cause", EVENT)
            .detail("group", group.id.to_string());
        ending.target.grant = Some(grant.id);
        end_now(tx, grant, now, ending)?;
    }
    for member in &members {
        tx.delete(member);
    }
    tx.put(Group { removed_at: Some(now), ..group })?;
    let draft = draft.text("reason", reason).detail("members", removed.members).detail("grants", removed.grants);
    let receipt = tx.append(LogId::Org, draft)?;
    Ok((removed, receipt))
}

/// What became of a new member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Added {
    /// The change that waits for a second person, or that may be looked at later.
    pub pending: Option<PendingId>,
    /// True if the membership holds now.
    pub in_force: bool,
}

/// Puts somebody into a group.
///
/// # Errors
/// The refusal; `conflict` if they are in it, `not_found` for an unknown identity.
pub fn member_add(
    tx: &mut Tx<'_>,
    caller: &Caller,
    group: &Slug,
    identity: &Slug,
) -> Result<(Added, Receipt), Refusal> {
    const EVENT: &str = "group.member_add";
    let now = tx.now;
    let member = tx.state.identity(identity).cloned();
    let own = member.as_ref().is_some_and(|member| member.id == caller.identity());
    let (group, draft) = find(tx, caller, EVENT, group, Operation::MemberAdd { own })?;
    let member = known(member, identity, now)?;
    if tx.state.members.contains_key(&(group.id, member.id)) {
        let message = format!("{identity} is in {} already, or waits for a second person.", group.names.slug);
        return Err(Failure::new(ErrorKind::Conflict, message).into());
    }
    let standing = Standing::of_first(&tx.state, caller, &member);
    let change = PendingChange::Member { group: group.id };
    let draft = about_identity(draft, &member);
    let (pending, draft) = note(tx, caller, standing, change, Some(member.id), draft)?;
    let row = Member {
        group: group.id,
        identity: member.id,
        added_by: caller.identity(),
        since: now,
        pending: standing == Standing::Waiting,
    };
    if !row.pending {
        vet(tx, caller, Some(member.id), standing)?;
    }
    tx.put(row)?;
    tell_vaults(tx, caller, EVENT, group.id, &member, pending.filter(|_| standing == Standing::Waiting))?;
    let receipt = tx.append(LogId::Org, draft)?;
    Ok((Added { pending, in_force: standing != Standing::Waiting }, receipt))
}

/// Takes somebody out of a group.
///
/// # Errors
/// The refusal; `not_found` if they are not in it.
pub fn member_remove(
    tx: &mut Tx<'_>,
    caller: &Caller,
    group: &Slug,
    identity: &Slug,
) -> Result<(Identity, Receipt), Refusal> {
    const EVENT: &str = "group.member_remove";
    let member = tx.state.identity(identity).cloned();
    let own = member.as_ref().is_some_and(|member| member.id == caller.identity());
    let (group, draft) = find(tx, caller, EVENT, group, Operation::MemberRemove { own })?;
    let nobody = || Failure::new(ErrorKind::NotFound, format!("{identity} is not in {}.", group.names.slug));
    let member = member.ok_or_else(nobody)?;
    let row = tx.state.members.get(&(group.id, member.id)).cloned().ok_or_else(nobody)?;
    tx.delete(&row);
    tell_vaults(tx, caller, EVENT, group.id, &member, None)?;
    let receipt = tx.append(LogId::Org, about_identity(draft, &member))?;
    Ok((member, receipt))
}

/// Takes somebody out of a group because of something else that ends them.
///
/// # Errors
/// Only if it cannot be written down.
pub(super) fn leave(
    tx: &mut Tx<'_>,
    caller: &Caller,
    group: GroupId,
    member: &Identity,
    cause: &'static str,
) -> Result<(), Refusal> {
    const EVENT: &str = "group.member_remove";
    let Some(row) = tx.state.members.get(&(group, member.id)).cloned() else { return Ok(()) };
    tx.delete(&row);
    tell_vaults(tx, caller, EVENT, group, member, None)?;
    let draft = about_identity(caller.draft(&tx.state, EVENT), member)
        .detail("group", group.to_string())
        .detail("cause", cause);
    tx.append(LogId::Org, draft)?;
    Ok(())
}

impl Standing {
    /// Of the first right that somebody is given: a person other than who enrolled them stands behind them with it.
    #[must_use]
    pub fn of_first(state: &State, caller: &Caller, holder: &Identity) -> Self {
        let enrolled_by_another = holder.enrolled_by.is_some_and(|other| other != caller.identity());
        if holder.vetted || enrolled_by_another { Self::Confirmed } else { Self::alone(state, caller) }
    }
}

/// Says in the log of each vault where the group holds a grant that somebody gained or lost what it gives there.
fn tell_vaults(
    tx: &mut Tx<'_>,
    caller: &Caller,
    event: &'static str,
    group: GroupId,
    member: &Identity,
    pending: Option<PendingId>,
) -> Result<(), Refusal> {
    let mut vaults: Vec<VaultId> = tx.state.held_by(Holder::Group(group)).map(|grant| grant.vault).collect();
    vaults.dedup();
    for vault in vaults {
        if tx.state.sealed.contains_key(&LogId::Vault(vault)) {
            continue;
        }
        let mut draft = about_identity(caller.draft(&tx.state, event), member).detail("group", group.to_string());
        if let Some(pending) = pending {
            draft = draft.detail("pending", pending.to_string());
        }
        tx.append(LogId::Vault(vault), draft)?;
    }
    Ok(())
}

/// Finds a group that the caller may do this to.
fn find(
    tx: &Tx<'_>,
    caller: &Caller,
    event: &'static str,
    slug: &Slug,
    operation: Operation,
) -> Result<(Group, Draft), Refusal> {
    let found = tx.state.group(slug).filter(|group| group.removed_at.is_none()).cloned();
    let draft = caller.draft(&tx.state, event).text("group.name", slug.as_str());
    let decision = caller.may(&tx.state, operation, tx.now);
    match (found, decision) {
        (Some(group), Ok(_)) => {
            let draft = draft.detail("group", group.id.to_string());
            Ok((group, draft))
        }
        // Who may not manage groups learns nothing about which exist.
        (None, Err(_)) => Err(caller.refused(&tx.state, Denial::NoRight, None, draft)),
        (Some(_), Err(denial)) => Err(caller.refused(&tx.state, denial, None, draft)),
        (None, Ok(_)) => Err(Failure::new(ErrorKind::NotFound, format!("There is no group {slug}.")).into()),
    }
}

/// Somebody who may be given something.
fn known(identity: Option<Identity>, slug: &Slug, now: jiff::Timestamp) -> Result<Identity, Failure> {
    let gives = |identity: &Identity| {
        identity.status != strongroom_proto::words::IdentityStatus::Revoked
            && identity.until.is_none_or(|until| now < until)
    };
    identity
        .filter(gives)
        .ok_or_else(|| Failure::new(ErrorKind::NotFound, format!("There is no active identity {slug}.")))
}
