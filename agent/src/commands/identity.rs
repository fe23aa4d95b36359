//! Commands on identities and their keys.

use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{IdentityId, Slug};
use strongroom_proto::method::Receipt;
use strongroom_proto::words::{IdentityKind, IdentityStatus, OrgRole};

use super::grant::end_now;
use super::{Caller, about_identity, unconfirmed};
use crate::access::{Denial, Operation};
use crate::state::LogId;
use crate::state::rows::{Grant, Identity, IdentityNames, Key};
use crate::store::tx::{Draft, Refusal, Tx};

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
    /// Its first key; `identity` and `added_at` are set here.
    pub key: Key,
}

/// Enrols an identity.
///
/// # Errors
/// The refusal; `conflict` if slug or key were ever used.
pub fn enrol(tx: &mut Tx<'_>, caller: &Caller, new: &NewIdentity) -> Result<(IdentityId, Receipt), Refusal> {
    const EVENT: &str = "identity.enrol";
    let now = tx.now;
    let draft = caller.draft(&tx.state, EVENT);
    let _terms = caller
        .may(&tx.state, Operation::IdentityEnrol, now)
        .map_err(|denial| caller.refused(&tx.state, denial, None, draft.clone()))?;
    check_new(tx, new)?;
    let (identity, receipt) = place_identity(tx, new, unconfirmed(draft))?;
    Ok((identity, receipt))
}

/// Puts a checked identity and its key into the state and records it.
pub(super) fn place_identity(
    tx: &mut Tx<'_>,
    new: &NewIdentity,
    draft: Draft,
) -> Result<(IdentityId, Receipt), Refusal> {
    let now = tx.now;
    let identity = Identity {
        id: new.id,
        kind: new.kind,
        status: IdentityStatus::Active,
        roles: new.roles.clone(),
        created_at: now,
        names: new.names.clone(),
    };
    let roles = new.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(" ");
    let mut draft = about_identity(draft, &identity).detail("kind", new.kind.as_str()).detail("roles", roles);
    draft.target.key = Some(new.key.fingerprint.clone());
    tx.put(identity)?;
    tx.put(Key { identity: new.id, added_at: now, ..new.key.clone() })?;
    let receipt = tx.append(LogId::Org, draft)?;
    Ok((new.id, receipt))
}

fn check_new(tx: &Tx<'_>, new: &NewIdentity) -> Result<(), Refusal> {
    if tx.state.identity_slugs.contains_key(&new.names.slug) {
        return Err(conflict(format!(
            "The identity name {} is or was in use: names are never given twice.",
            new.names.slug
        )));
    }
    check_key_unused(tx, &new.key.fingerprint)
}

/// A fingerprint belongs to one identity for ever: otherwise an admin could move a colleague's key to a puppet.
pub(super) fn check_key_unused(tx: &Tx<'_>, fingerprint: &str) -> Result<(), Refusal> {
    if tx.state.keys.contains_key(fingerprint) {
        return Err(conflict(format!(
            "The key {fingerprint} is or was enrolled: a key belongs to one identity for ever."
        )));
    }
    Ok(())
}

fn conflict(message: String) -> Refusal {
    Failure::new(ErrorKind::Conflict, message).into()
}

fn find(tx: &Tx<'_>, caller: &Caller, event: &'static str, slug: &Slug, allowed: bool) -> Result<Identity, Refusal> {
    match tx.state.identity(slug) {
        Some(identity) => Ok(identity.clone()),
        // Who may not manage identities learns nothing about which exist.
        None if !allowed => Err(caller.refused(&tx.state, Denial::NoRight, None, caller.draft(&tx.state, event))),
        None => Err(Failure::new(ErrorKind::NotFound, format!("There is no identity {slug}.")).into()),
    }
}

/// Adds a key.
///
/// # Errors
/// The refusal; `conflict` if the key was ever enrolled.
pub fn key_add(tx: &mut Tx<'_>, caller: &Caller, slug: &Slug, key: &Key) -> Result<((), Receipt), Refusal> {
    const EVENT: &str = "identity.key_add";
    let now = tx.now;
    let identity = find(tx, caller, EVENT, slug, caller.holds(&tx.state, OrgRole::Admin))?;
    let own = identity.id == caller.identity();
    let mut draft = about_identity(caller.draft(&tx.state, EVENT), &identity);
    draft.target.key = Some(key.fingerprint.clone());
    let _terms = caller
        .may(&tx.state, Operation::KeyAdd { own }, now)
        .map_err(|denial| caller.refused(&tx.state, denial, None, draft.clone()))?;
    if identity.status == IdentityStatus::Revoked {
        return Err(conflict(format!("{slug} was revoked.")));
    }
    check_key_unused(tx, &key.fingerprint)?;
    tx.put(Key { identity: identity.id, added_at: now, ..key.clone() })?;
    let receipt = tx.append(LogId::Org, unconfirmed(draft))?;
    Ok(((), receipt))
}

/// Removes a key; it stays known, inactive, so that nobody else can ever have it.
///
/// # Errors
/// The refusal; `not_found` if it is no active key of theirs, `conflict` if it is the last.
pub fn key_remove(tx: &mut Tx<'_>, caller: &Caller, slug: &Slug, fingerprint: &str) -> Result<((), Receipt), Refusal> {
    const EVENT: &str = "identity.key_remove";
    let now = tx.now;
    let identity = find(tx, caller, EVENT, slug, caller.holds(&tx.state, OrgRole::Admin))?;
    let own = identity.id == caller.identity();
    let mut draft = about_identity(caller.draft(&tx.state, EVENT), &identity);
    draft.target.key = Some(fingerprint.to_owned());
    let _terms = caller
        .may(&tx.state, Operation::KeyRemove { own }, now)
        .map_err(|denial| caller.refused(&tx.state, denial, None, draft.clone()))?;
    let key = tx
        .state
        .keys
        .get(fingerprint)
        .filter(|key| key.identity == identity.id && key.active)
        .cloned()
        .ok_or_else(|| Failure::new(ErrorKind::NotFound, format!("{slug} has no active key {fingerprint}.")))?;
    if tx.state.keys_of(identity.id).filter(|key| key.active).count() < 2 {
        return Err(conflict(format!("It is the last key of {slug}: add another first, or revoke the identity.")));
    }
    tx.put(Key { active: false, ..key })?;
    let receipt = tx.append(LogId::Org, draft)?;
    Ok(((), receipt))
}

/// What a revocation ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Whom it revoked.
    pub identity: IdentityId,
    /// Grants ended.
    pub grants: u64,
    /// Vaults in which they were.
    pub vaults: u64,
}

/// Revokes an identity: status, keys and grants in one commit. Each vault's own log says that the grant ended, so its
/// order against releases can be read there.
///
/// # Errors
/// The refusal; `conflict` if it is revoked already, or would leave no admin.
pub fn revoke(tx: &mut Tx<'_>, caller: &Caller, slug: &Slug, reason: &str) -> Result<(Ended, Receipt), Refusal> {
    const EVENT: &str = "identity.revoke";
    let now = tx.now;
    let identity = find(tx, caller, EVENT, slug, caller.holds(&tx.state, OrgRole::Admin))?;
    let own = identity.id == caller.identity();
    let draft = about_identity(caller.draft(&tx.state, EVENT), &identity).text("reason", reason);
    let _terms = caller
        .may(&tx.state, Operation::IdentityRevoke { own }, now)
        .map_err(|denial| caller.refused(&tx.state, denial, None, draft.clone()))?;
    if identity.status == IdentityStatus::Revoked {
        return Err(conflict(format!("{slug} is revoked already.")));
    }
    let grants: Vec<Grant> = tx.state.grants_of(identity.id).cloned().collect();
    let mut vaults: Vec<_> = grants.iter().map(|grant| grant.vault).collect();
    vaults.sort_unstable();
    vaults.dedup();
    let ended = Ended { identity: identity.id, grants: grants.len() as u64, vaults: vaults.len() as u64 };
    for grant in grants {
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
    let keys: Vec<Key> = tx.state.keys_of(identity.id).filter(|key| key.active).cloned().collect();
    for key in keys {
        tx.put(Key { active: false, ..key })?;
    }
    tx.put(Identity { status: IdentityStatus::Revoked, ..identity })?;
    let draft = draft.detail("grants", ended.grants).detail("vaults", ended.vaults);
    let receipt = tx.append(LogId::Org, draft)?;
    Ok((ended, receipt))
}
