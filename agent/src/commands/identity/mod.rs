//! Commands on identities: who is there, with which keys, and how that ends.

pub mod certificates;
mod change;
mod end;
mod keys;

use jiff::Timestamp;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{IdentityId, PendingId, Slug};
use strongroom_proto::method::Receipt;
use strongroom_proto::policy::ServiceLimits;
use strongroom_proto::words::{IdentityKind, IdentityStatus, OrgRole};

use super::pending::{Standing, note};
use super::{Caller, about_identity};
use crate::access::{Denial, Operation, hours};
use crate::state::LogId;
use crate::state::pending::PendingChange;
use crate::state::rows::{Identity, IdentityNames, Key};
use crate::store::tx::{Draft, Refusal, Tx};

pub use self::change::{Change, roles, update};
pub(super) use self::end::found;
pub use self::end::{Ended, hold, resume, revoke, suspend};
pub use self::keys::{key_add, key_remove};

/// An identity to be enrolled.
#[derive(Clone, Debug)]
pub struct NewIdentity {
    /// Its id.
    pub id: IdentityId,
    /// Slug and name.
    pub names: IdentityNames,
    /// Person or script.
    pub kind: IdentityKind,
    /// Roles over the organisation.
    pub roles: Vec<OrgRole>,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// What a script is held to.
    pub service: Option<ServiceLimits>,
    /// Its first key; `identity` and `added_at` are set here.
    pub key: Key,
}

/// What became of somebody's enrolment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enrolled {
    /// Their id.
    pub id: IdentityId,
    /// The change that waits for a second person, or that may be looked at later: their roles.
    pub pending: Option<PendingId>,
}

/// Enrols an identity. It may log in at once and has no right to anything: roles, like its first grant, take a second person.
///
/// # Errors
/// The refusal; `conflict` if slug or key were ever used, `invalid_params` if its kind asks for something else.
pub fn enrol(tx: &mut Tx<'_>, caller: &Caller, new: &NewIdentity) -> Result<(Enrolled, Receipt), Refusal> {
    const EVENT: &str = "identity.enrol";
    let now = tx.now;
    let draft = caller.draft(&tx.state, EVENT);
    let _terms = caller
        .may(&tx.state, Operation::IdentityEnrol, now)
        .map_err(|denial| caller.refused(&tx.state, denial, None, draft.clone()))?;
    check_new(tx, new)?;
    check_kind(new.kind, &new.roles, new.until, new.service.as_ref(), now)?;
    let standing = Standing::alone(&tx.state, caller);
    let (mut draft, mut pending, mut new) = (draft, None, new.clone());
    if !new.roles.is_empty() {
        let change = PendingChange::Roles { roles: new.roles.clone() };
        (pending, draft) = note(tx, caller, standing, change, Some(new.id), draft)?;
    }
    let wanted = std::mem::take(&mut new.roles);
    if standing == Standing::InForce {
        new.roles.clone_from(&wanted);
    }
    draft = draft.detail("roles_wanted", words(&wanted));
    let by = By { caller: Some(caller.identity()), vetted: standing == Standing::InForce && !wanted.is_empty() };
    let (id, receipt) = place_identity(tx, &new, by, draft)?;
    Ok((Enrolled { id, pending }, receipt))
}

/// Checks what the kind of an identity asks for.
fn check_kind(
    kind: IdentityKind,
    roles: &[OrgRole],
    until: Option<Timestamp>,
    service: Option<&ServiceLimits>,
    now: Timestamp,
) -> Result<(), Failure> {
    let invalid = |message: &str| Err(Failure::new(ErrorKind::InvalidParams, message));
    if until.is_some_and(|until| until <= now) {
        return invalid("until is in the past.");
    }
    match kind {
        IdentityKind::Contractor if until.is_none() => invalid("A contractor's access ends on a date: give until."),
        IdentityKind::Contractor | IdentityKind::Service if !roles.is_empty() => {
            invalid("Only people of the organisation hold roles over it.")
        }
        IdentityKind::Technician | IdentityKind::Contractor if service.is_some() => {
            invalid("Only scripts have the limits of scripts.")
        }
        _ => check_service(service),
    }
}

fn check_service(service: Option<&ServiceLimits>) -> Result<(), Failure> {
    let Some(service) = service else { return Ok(()) };
    service.check().map_err(|flaw| Failure::new(ErrorKind::InvalidParams, format!("service: {flaw}.")))?;
    hours::check_zone(service.hours.as_ref())
}

fn words(roles: &[OrgRole]) -> String {
    roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(" ")
}

/// Who stands behind a new identity.
#[derive(Clone, Copy, Debug)]
pub(super) struct By {
    /// Who enrolled it; nobody, for those made at the host.
    pub(super) caller: Option<IdentityId>,
    /// Whether that is enough.
    pub(super) vetted: bool,
}

impl By {
    /// At the host, by the token's PIN or the recovery key.
    pub(super) const HOST: Self = Self { caller: None, vetted: true };
}

/// Puts a checked identity and its key into the state and records it.
pub(super) fn place_identity(
    tx: &mut Tx<'_>,
    new: &NewIdentity,
    by: By,
    draft: Draft,
) -> Result<(IdentityId, Receipt), Refusal> {
    let now = tx.now;
    let identity = Identity {
        id: new.id,
        kind: new.kind,
        status: IdentityStatus::Active,
        roles: new.roles.clone(),
        created_at: now,
        until: new.until,
        enrolled_by: by.caller,
        vetted: by.vetted,
        service: new.service.clone(),
        certificates: false,
        names: new.names.clone(),
    };
    let mut draft =
        about_identity(draft, &identity).detail("kind", new.kind.as_str()).detail("roles", words(&new.roles));
    if let Some(until) = new.until {
        draft = draft.detail("until", until.to_string());
    }
    if let Some(service) = new.service.as_ref().and_then(|service| serde_json::to_string(service).ok()) {
        draft = draft.detail("service", service);
    }
    draft = note_attestation(draft, &new.key);
    draft.target.key = Some(new.key.fingerprint.clone());
    tx.put(identity)?;
    // The first key waits for nobody: it opens nothing before somebody else has stood behind its owner.
    tx.put(Key { identity: new.id, added_at: now, added_by: by.caller, confirmed: true, ..new.key.clone() })?;
    let receipt = tx.append(LogId::Org, draft)?;
    Ok((new.id, receipt))
}

/// Says on record what proves a key's hardware.
fn note_attestation(draft: Draft, key: &Key) -> Draft {
    match &key.attestation {
        Some(attested) => draft
            .detail("attestation", attested.digest.clone())
            .detail("aaguid", attested.aaguid.clone())
            .detail("model", attested.model.clone())
            .detail("root", attested.root.clone()),
        None => draft,
    }
}

fn check_new(tx: &Tx<'_>, new: &NewIdentity) -> Result<(), Refusal> {
    if tx.state.identity_slugs.contains_key(&new.names.slug) {
        return Err(conflict(format!(
            "The identity name {} is or was in use: names are never given twice.",
            new.names.slug
        )));
    }
    if tx.state.principal_of_another(new.names.slug.as_str(), Some(new.id)) {
        return Err(conflict(format!("Certificates for {} log somebody else in.", new.names.slug)));
    }
    check_key_unused(tx, new.id, &new.key.fingerprint)
}

/// A fingerprint belongs to one identity for ever: otherwise an admin could move a colleague's key to a puppet. One that was
/// proposed for somebody and never confirmed may be proposed for them again; one that logs in by certificate may not.
pub(super) fn check_key_unused(tx: &Tx<'_>, identity: IdentityId, fingerprint: &str) -> Result<(), Refusal> {
    let taken = tx.state.keys.get(fingerprint);
    if taken.is_some_and(|key| key.identity != identity || key.active || key.confirmed || key.certified) {
        return Err(conflict(format!(
            "The key {fingerprint} is or was enrolled: a key belongs to one identity for ever."
        )));
    }
    Ok(())
}

fn conflict(message: String) -> Refusal {
    Failure::new(ErrorKind::Conflict, message).into()
}

/// Records that somebody reads what is known of an identity.
///
/// # Errors
/// The refusal; `not_found` for an unknown identity.
pub fn report(tx: &mut Tx<'_>, caller: &Caller, slug: &Slug, days: u32) -> Result<(IdentityId, Receipt), Refusal> {
    const EVENT: &str = "identity.report";
    let decision = caller.may(&tx.state, Operation::IdentityReport, tx.now);
    let identity = find(tx, caller, EVENT, slug, decision.is_ok())?;
    let draft = about_identity(caller.draft(&tx.state, EVENT), &identity).detail("days", days);
    let _terms = decision.map_err(|denial| caller.refused(&tx.state, denial, None, draft.clone()))?;
    let receipt = tx.append(LogId::Org, draft)?;
    Ok((identity.id, receipt))
}

pub(super) fn find(
    tx: &Tx<'_>,
    caller: &Caller,
    event: &'static str,
    slug: &Slug,
    allowed: bool,
) -> Result<Identity, Refusal> {
    match tx.state.identity(slug) {
        Some(identity) => Ok(identity.clone()),
        // Who may not manage identities learns nothing about which exist.
        None if !allowed => Err(caller.refused(&tx.state, Denial::NoRight, None, caller.draft(&tx.state, event))),
        None => Err(Failure::new(ErrorKind::NotFound, format!("There is no identity {slug}.")).into()),
    }
}
