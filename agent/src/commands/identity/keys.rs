//! Commands on the keys of an identity.

use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{PendingId, Slug};
use strongroom_proto::method::Receipt;
use strongroom_proto::words::{IdentityStatus, OrgRole};

use super::super::pending::{Standing, note};
use super::super::{Caller, about_identity};
use super::{check_key_unused, conflict, find, note_attestation};
use crate::access::Operation;
use crate::state::LogId;
use crate::state::pending::PendingChange;
use crate::state::rows::Key;
use crate::store::tx::{Refusal, Tx};

/// What became of a new key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Added {
    /// The change that waits for a second person, or that may be looked at later.
    pub pending: Option<PendingId>,
    /// True if it logs in now.
    pub in_force: bool,
}

/// Adds a key. It logs in once a second person has confirmed it.
///
/// # Errors
/// The refusal; `conflict` if the key was ever enrolled.
pub fn key_add(tx: &mut Tx<'_>, caller: &Caller, slug: &Slug, key: &Key) -> Result<(Added, Receipt), Refusal> {
    const EVENT: &str = "identity.key_add";
    let now = tx.now;
    let identity = find(tx, caller, EVENT, slug, caller.holds(&tx.state, OrgRole::Admin))?;
    let own = identity.id == caller.identity();
    let mut draft = about_identity(caller.draft(&tx.state, EVENT), &identity);
    draft.target.key = Some(key.fingerprint.clone());
    draft = note_attestation(draft, key);
    let _terms = caller
        .may(&tx.state, Operation::KeyAdd { own }, now)
        .map_err(|denial| caller.refused(&tx.state, denial, None, draft.clone()))?;
    if identity.status == IdentityStatus::Revoked {
        return Err(conflict(format!("{slug} was revoked.")));
    }
    check_key_unused(tx, identity.id, &key.fingerprint)?;
    let standing = Standing::alone(&tx.state, caller);
    let change = PendingChange::Key { fingerprint: key.fingerprint.clone() };
    let (pending, draft) = note(tx, caller, standing, change, Some(identity.id), draft)?;
    let confirmed = standing != Standing::Waiting;
    let added_by = Some(caller.identity());
    tx.put(Key { identity: identity.id, added_at: now, added_by, confirmed, ..key.clone() })?;
    let receipt = tx.append(LogId::Org, draft)?;
    Ok((Added { pending, in_force: confirmed }, receipt))
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
    let others = || tx.state.keys_of(identity.id).filter(|key| key.logs_in()).count() > 1;
    if key.logs_in() && !identity.certificates && !others() {
        return Err(conflict(format!("It is the last key of {slug}: add another first, or revoke the identity.")));
    }
    tx.put(Key { active: false, ..key })?;
    let receipt = tx.append(LogId::Org, draft)?;
    Ok(((), receipt))
}
