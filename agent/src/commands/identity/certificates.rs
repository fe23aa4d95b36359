//! Whether certificates of the configured authorities log somebody in, and what they have to name.

use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{IdentityId, PendingId, Slug};
use strongroom_proto::method::Receipt;
use strongroom_proto::words::IdentityStatus;

use super::super::pending::{Standing, note_with};
use super::super::{Caller, check_some_text};
use super::conflict;
use super::end::found;
use crate::access::Operation;
use crate::state::LogId;
use crate::state::pending::PendingChange;
use crate::state::rows::{Identity, IdentityNames};
use crate::store::tx::{Refusal, Tx};

/// Longest principal, in bytes: an e-mail address fits.
const PRINCIPAL_LEN_MAX: usize = 255;
/// Principals of one identity.
const PRINCIPALS_MAX: usize = 16;

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Whose.
    pub identity: IdentityId,
    /// The change that waits for a second person, or that may be looked at later.
    pub pending: Option<PendingId>,
    /// False while it waits.
    pub in_force: bool,
}

/// Lets certificates that name one of the principals log an identity in; the slug, if the list is empty. `None` withdraws
/// that. It is a way to log in, so what is added waits for a second person like a new key; what is taken away goes at once.
///
/// # Errors
/// The refusal; `conflict` for a revoked identity, for a principal that is somebody else's, or if it is so already.
pub fn certificates(
    tx: &mut Tx<'_>,
    caller: &Caller,
    slug: &Slug,
    principals: Option<&[String]>,
) -> Result<(Changed, Receipt), Refusal> {
    const EVENT: &str = "identity.certificates";
    let (identity, mut draft) = found(tx, caller, EVENT, slug, |own| Operation::IdentityUpdate { own })?;
    if identity.status == IdentityStatus::Revoked {
        return Err(conflict(format!("{slug} was revoked.")));
    }
    let id = identity.id;
    let Some(principals) = principals else {
        if !identity.certificates {
            return Err(conflict(format!("No certificate logs {slug} in.")));
        }
        let names = IdentityNames { principals: Vec::new(), ..identity.names.clone() };
        tx.put(Identity { certificates: false, names, ..identity })?;
        let receipt = tx.append(LogId::Org, draft.detail("allowed", 0))?;
        return Ok((Changed { identity: id, pending: None, in_force: true }, receipt));
    };
    let wanted = checked(tx, id, slug, principals)?;
    let held = &identity.names.principals;
    if identity.certificates && *held == wanted {
        return Err(conflict(format!("Certificates for these principals log {slug} in already.")));
    }
    draft = draft.detail("allowed", 1).detail("count", wanted.len()).text("principals", wanted.join(" "));
    let narrower = identity.certificates && wanted.iter().all(|principal| held.contains(principal));
    let standing = if narrower { Standing::Confirmed } else { Standing::alone(&tx.state, caller) };
    let whom = (Some(id), Some(wanted.clone()));
    let (pending, draft) = note_with(tx, caller, standing, PendingChange::Certificates, whom, draft)?;
    let in_force = standing != Standing::Waiting;
    if in_force {
        place(tx, identity, wanted)?;
    }
    let receipt = tx.append(LogId::Org, draft)?;
    Ok((Changed { identity: id, pending, in_force }, receipt))
}

/// Puts the principals in force. Asked again when a second person confirms: somebody may have taken one meanwhile.
///
/// # Errors
/// `conflict` if the identity was revoked or a principal is somebody else's by now.
pub fn place(tx: &mut Tx<'_>, identity: Identity, principals: Vec<String>) -> Result<(), Failure> {
    if identity.status == IdentityStatus::Revoked {
        return Err(Failure::new(ErrorKind::Conflict, "What this is about is gone."));
    }
    for principal in &principals {
        check_free(tx, identity.id, principal)?;
    }
    let names = IdentityNames { principals, ..identity.names.clone() };
    tx.put(Identity { certificates: true, names, ..identity })?;
    Ok(())
}

fn checked(tx: &Tx<'_>, id: IdentityId, slug: &Slug, given: &[String]) -> Result<Vec<String>, Failure> {
    let mut wanted = if given.is_empty() { vec![slug.to_string()] } else { given.to_vec() };
    wanted.sort_unstable();
    wanted.dedup();
    if wanted.len() > PRINCIPALS_MAX {
        return Err(Failure::new(
            ErrorKind::InvalidParams,
            format!("principals has more than {PRINCIPALS_MAX} items."),
        ));
    }
    for principal in &wanted {
        check_some_text("principals", principal, PRINCIPAL_LEN_MAX)?;
        // ssh-keygen -n separates them by commas; a space could never be told from a separator in the record.
        if principal.contains([' ', ',']) {
            return Err(Failure::new(ErrorKind::InvalidParams, "A principal has no spaces and no commas."));
        }
        check_free(tx, id, principal)?;
    }
    Ok(wanted)
}

/// One word logs one person in: with a principal that two share, the record could not say who it was.
fn check_free(tx: &Tx<'_>, id: IdentityId, principal: &str) -> Result<(), Failure> {
    if tx.state.principal_of_another(principal, Some(id)) {
        return Err(Failure::new(ErrorKind::Conflict, format!("The principal {principal} is somebody else's.")));
    }
    Ok(())
}
