//! Commands that change what an identity is: its name, its end date, a script's limits, and roles over the organisation.

use jiff::Timestamp;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{PendingId, Slug};
use strongroom_proto::method::Receipt;
use strongroom_proto::policy::ServiceLimits;
use strongroom_proto::words::{IdentityKind, IdentityStatus, OrgRole};

use super::super::Caller;
use super::super::pending::{Standing, joined, note};
use super::end::found;
use super::{check_kind, conflict, words};
use crate::access::Operation;
use crate::state::LogId;
use crate::state::pending::PendingChange;
use crate::state::rows::{Identity, IdentityNames};
use crate::store::tx::{Refusal, Tx};

/// What is to be changed; what is absent stays.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// The display name.
    pub name: Option<String>,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// A script's limits, all of them.
    pub service: Option<ServiceLimits>,
}

/// Changes name, end date or limits.
///
/// # Errors
/// The refusal; `conflict` for a revoked identity, `invalid_params` if its kind asks for something else.
pub fn update(tx: &mut Tx<'_>, caller: &Caller, slug: &Slug, change: &Change) -> Result<((), Receipt), Refusal> {
    const EVENT: &str = "identity.update";
    let (identity, mut draft) = found(tx, caller, EVENT, slug, |own| Operation::IdentityUpdate { own })?;
    if identity.status == IdentityStatus::Revoked {
        return Err(conflict(format!("{slug} was revoked.")));
    }
    let until = change.until.or(identity.until);
    let service = change.service.clone().or_else(|| identity.service.clone());
    // An end date that has passed may stay while something else is changed.
    let checked = change.until.or_else(|| (identity.kind == IdentityKind::Contractor).then_some(Timestamp::MAX));
    check_kind(identity.kind, &identity.roles, checked, service.as_ref(), tx.now)?;
    let mut names = identity.names.clone();
    if let Some(name) = &change.name {
        draft = draft.text("target.new_name", name.as_str());
        names = IdentityNames { name: name.clone(), ..names };
    }
    if let Some(until) = change.until {
        draft = draft.detail("until", until.to_string());
    }
    if let Some(service) = change.service.as_ref().and_then(|service| serde_json::to_string(service).ok()) {
        draft = draft.detail("service", service);
    }
    tx.put(Identity { until, service, names, ..identity })?;
    let receipt = tx.append(LogId::Org, draft)?;
    Ok(((), receipt))
}

/// Adds and removes roles over the organisation. What is removed goes at once; what is added waits for a second person.
///
/// # Errors
/// The refusal; `conflict` for somebody revoked or suspended, or if there would be no admin left.
pub fn roles(
    tx: &mut Tx<'_>,
    caller: &Caller,
    slug: &Slug,
    add: &[OrgRole],
    remove: &[OrgRole],
) -> Result<(Option<PendingId>, Receipt), Refusal> {
    const EVENT: &str = "identity.roles";
    let (identity, draft) = found(tx, caller, EVENT, slug, |own| Operation::RolesChange { own })?;
    let now = tx.now;
    if !identity.is_active(now) {
        return Err(conflict(format!("{slug} is not active.")));
    }
    if identity.kind != IdentityKind::Technician && !add.is_empty() {
        let message = "Only people of the organisation hold roles over it.";
        return Err(Failure::new(ErrorKind::InvalidParams, message).into());
    }
    if add.iter().any(|role| remove.contains(role)) {
        return Err(Failure::new(ErrorKind::InvalidParams, "A role is added or removed, not both.").into());
    }
    let add: Vec<OrgRole> = joined(add, &[]).into_iter().filter(|role| !identity.roles.contains(role)).collect();
    let kept: Vec<OrgRole> = identity.roles.iter().copied().filter(|role| !remove.contains(role)).collect();
    if add.is_empty() && kept.len() == identity.roles.len() {
        return Err(conflict(format!("{slug} has these roles already.")));
    }
    // The caller is another admin and stays one, so there is always one left.
    let mut draft = draft.detail("roles_added", words(&add)).detail("roles", words(&kept));
    let mut pending = None;
    let standing = Standing::alone(&tx.state, caller);
    if !add.is_empty() {
        let change = PendingChange::Roles { roles: add.clone() };
        (pending, draft) = note(tx, caller, standing, change, Some(identity.id), draft)?;
    }
    let in_force = standing == Standing::InForce && !add.is_empty();
    let roles = if in_force { joined(&kept, &add) } else { kept };
    let vetted = identity.vetted || in_force;
    tx.put(Identity { roles, vetted, ..identity })?;
    let receipt = tx.append(LogId::Org, draft)?;
    Ok((pending, receipt))
}
