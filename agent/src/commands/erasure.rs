//! Commands that take somebody's names from the trail: proposed by one person, confirmed by another, done behind both.

use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{IdentityId, PendingId, Slug};
use strongroom_proto::method::Receipt;
use strongroom_proto::words::IdentityStatus;

use super::Caller;
use super::identity::found;
use super::pending::{Standing, note};
use crate::access::Operation;
use crate::state::LogId;
use crate::state::erasure::Erasure;
use crate::state::pending::{Pending, PendingChange};
use crate::state::rows::{Identity, IdentityNames, Key, KeyNames};
use crate::store::tx::{Draft, Refusal, Tx};

/// What became of the wish to erase somebody's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erasing {
    /// The change that waits for a second person, or that may be looked at later.
    pub pending: Option<PendingId>,
    /// True if it goes on now.
    pub in_force: bool,
}

/// Has somebody's names erased, once a second person has confirmed it.
///
/// # Errors
/// The refusal; `conflict` unless they were revoked, or if their names are erased.
pub fn erase(tx: &mut Tx<'_>, caller: &Caller, slug: &Slug, reason: &str) -> Result<(Erasing, Receipt), Refusal> {
    let (identity, draft) = found(tx, caller, "audit.erase", slug, |own| Operation::IdentityUpdate { own })?;
    check(tx, &identity)?;
    let standing = Standing::alone(&tx.state, caller);
    let (pending, draft) = note(tx, caller, standing, PendingChange::Erasure, Some(identity.id), draft)?;
    if standing != Standing::Waiting {
        begin(tx, identity)?;
    }
    let receipt = tx.append(LogId::Org, draft.text("reason", reason))?;
    Ok((Erasing { pending, in_force: standing != Standing::Waiting }, receipt))
}

fn check(tx: &Tx<'_>, identity: &Identity) -> Result<(), Failure> {
    let conflict = |what: &str| Err(Failure::new(ErrorKind::Conflict, format!("{} {what}", identity.names.slug)));
    // While somebody acts, a trail without their name serves nobody.
    if identity.status != IdentityStatus::Revoked {
        return conflict("is not revoked: names of people who are there stay.");
    }
    if tx.state.erasures.contains_key(&identity.id) {
        return conflict("has been erased already.");
    }
    Ok(())
}

/// Takes the names from the rows, and notes that the trail is to follow.
///
/// # Errors
/// `conflict` unless they were revoked, or if it was begun before.
pub fn begin(tx: &mut Tx<'_>, identity: Identity) -> Result<(), Failure> {
    check(tx, &identity)?;
    let (id, since) = (identity.id, tx.now);
    let keys: Vec<Key> = tx.state.keys_of(id).cloned().collect();
    for key in keys {
        tx.put(Key { names: KeyNames::default(), ..key })?;
    }
    let named = |pending: &&Pending| pending.identity == Some(id) && pending.names.is_some();
    let pendings: Vec<Pending> = tx.state.pendings.values().filter(named).cloned().collect();
    for pending in pendings {
        tx.put(Pending { names: None, ..pending })?;
    }
    let names = Some(identity.names.slug.clone());
    tx.put(Identity { names: nobody(id)?, ..identity })?;
    tx.put(Erasure { identity: id, since, done_at: None, names })?;
    Ok(())
}

/// What somebody is called whose names are gone.
fn nobody(id: IdentityId) -> Result<IdentityNames, Failure> {
    let slug = Slug::new(&format!("erased-{}", &hex::encode(id.as_bytes())[..12]));
    let slug = slug.map_err(|_| Failure::new(ErrorKind::Internal, "There is no name for nobody."))?;
    Ok(IdentityNames { slug, name: String::new(), principals: Vec::new() })
}

/// Records in each log how many values went from it, and that none are left.
///
/// # Errors
/// Only if it cannot be written down.
pub fn done(tx: &mut Tx<'_>, identity: IdentityId, counts: &[(LogId, u64)]) -> Result<((), Receipt), Refusal> {
    let nothing = || Failure::new(ErrorKind::Conflict, "There is nothing to erase.");
    let erasure = tx.state.erasures.get(&identity).filter(|erasure| erasure.done_at.is_none());
    let erasure = erasure.cloned().ok_or_else(nothing)?;
    let told = |values: u64| {
        let mut draft = Draft::new("audit.erased").detail("values", values);
        draft.target.identity = Some(identity);
        draft
    };
    for (log, values) in counts.iter().filter(|(log, _)| *log != LogId::Org) {
        tx.append(*log, told(*values))?;
    }
    let now = tx.now;
    tx.put(Erasure { done_at: Some(now), names: None, ..erasure })?;
    let own = counts.iter().find(|(log, _)| *log == LogId::Org).map_or(0, |(_, values)| *values);
    let receipt = tx.append(LogId::Org, told(own).detail("logs", counts.len()))?;
    Ok(((), receipt))
}
