//! Commands on canaries. Their records stand in the org log: a vault's own log is read by viewers, and who knows the decoys
//! walks around them.

use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{AccountAddress, CanaryId};
use strongroom_proto::method::Receipt;

use super::identity::hold;
use super::{Caller, find_account};
use crate::access::Operation;
use crate::state::LogId;
use crate::state::canary::{Canary, CanaryNames};
use crate::state::rows::Account;
use crate::store::StoreError;
use crate::store::tx::{Draft, Refusal, Tx};

/// Makes an account a decoy, or an ordinary one again.
///
/// # Errors
/// The refusal; `conflict` if it is so already.
pub fn set(
    tx: &mut Tx<'_>,
    caller: &Caller,
    address: &AccountAddress,
    decoy: bool,
) -> Result<(Option<CanaryId>, Receipt), Refusal> {
    let event = if decoy { "canary.set" } else { "canary.clear" };
    let (vault, account) = find_account(tx, caller, event, address)?;
    let draft = about(caller.draft(&tx.state, event), address);
    let _terms = caller.may_in(&tx.state, vault.id, Operation::CanaryManage, tx.now).map_err(|denial| {
        // Not in the vault's own log, either: even a refusal would tell its readers what is a decoy.
        let failure = caller.about_account(&tx.state, denial, &account, tx.now).failure();
        let mut draft = draft.clone();
        draft.outcome = RecordOutcome::Denied;
        draft.detail.insert("kind".into(), failure.kind.as_str().into());
        Refusal::recorded(failure, LogId::Org, draft)
    })?;
    let conflict = |what: &str| Refusal::from(Failure::new(ErrorKind::Conflict, format!("{address} {what}.")));
    let id = match (tx.state.canaries.get(&account.id).cloned(), decoy) {
        (Some(_), true) => return Err(conflict("is a canary already")),
        (None, false) => return Err(conflict("is no canary")),
        (None, true) => {
            let names = CanaryNames { vault: vault.id, account: account.id };
            let (created_at, set_by) = (tx.now, caller.identity());
            let canary = Canary { id: CanaryId::random(), created_at, set_by, tripped_at: None, names };
            tx.put(canary.clone())?;
            Some(canary.id)
        }
        (Some(canary), false) => {
            tx.delete(&canary);
            None
        }
    };
    let receipt = tx.append(LogId::Org, draft)?;
    Ok((id, receipt))
}

fn about(draft: Draft, address: &AccountAddress) -> Draft {
    draft.text("account.address", address.to_string())
}

/// Holds whoever takes a code of a decoy, in the commit of the release: they get this code, which opens nothing, and no other.
/// True if it was a decoy.
///
/// # Errors
/// Only if it cannot be written down.
pub(super) fn trip(
    tx: &mut Tx<'_>,
    caller: &Caller,
    address: &AccountAddress,
    account: &Account,
) -> Result<bool, StoreError> {
    let Some(canary) = tx.state.canaries.get(&account.id).cloned() else { return Ok(false) };
    tx.put(Canary { tripped_at: Some(tx.now), ..canary })?;
    let draft = about(caller.draft(&tx.state, "identity.hold"), address);
    hold(tx, caller, "canary", draft)?;
    Ok(true)
}

/// Forgets a decoy whose account goes.
///
/// # Errors
/// Only if it cannot be written down.
pub(super) fn forget(
    tx: &mut Tx<'_>,
    caller: &Caller,
    address: &AccountAddress,
    account: &Account,
    cause: &'static str,
) -> Result<(), Refusal> {
    if let Some(canary) = tx.state.canaries.get(&account.id).cloned() {
        tx.delete(&canary);
        let draft = about(caller.draft(&tx.state, "canary.clear"), address).detail("cause", cause);
        tx.append(LogId::Org, draft)?;
    }
    Ok(())
}
