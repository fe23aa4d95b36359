//! Commands on the rotation list: what a leaver knew, until it is replaced or somebody answers for keeping it.

use std::collections::BTreeMap;

use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{AccountAddress, AccountId, VaultId};
use strongroom_proto::method::Receipt;
use strongroom_proto::words::RotationCause;

use super::{Caller, about_account, about_identity, find_account};
use crate::access::Operation;
use crate::state::LogId;
use crate::state::rotation::Rotation;
use crate::state::rows::{Account, Identity};
use crate::store::tx::{Refusal, Tx};

/// Accounts that one record names: a record has to fit a page.
const RECORD_LEN: usize = 200;

/// Puts on the list what somebody knew who is being revoked. Gives how many accounts.
///
/// # Errors
/// Only if it cannot be written down.
pub(super) fn note_leaver(tx: &mut Tx<'_>, caller: &Caller, leaver: &Identity) -> Result<u64, Refusal> {
    let mut by_vault: BTreeMap<(VaultId, &'static str), Vec<(AccountId, RotationCause)>> = BTreeMap::new();
    for (vault, account, cause) in tx.state.seeds_known_to(leaver.id) {
        let whole = tx.check_whole(LogId::Vault(vault)).is_ok();
        // What is on the list already stays there for its first reason.
        if whole && !tx.state.rotations.contains_key(&(vault, account)) {
            by_vault.entry((vault, cause.as_str())).or_default().push((account, cause));
        }
    }
    let mut count = 0;
    for ((vault, word), accounts) in by_vault {
        for some in accounts.chunks(RECORD_LEN) {
            for (account, cause) in some {
                count += 1;
                let (identity, since) = (leaver.id, tx.now);
                tx.put(Rotation { vault, account: *account, identity, cause: *cause, since })?;
            }
            let ids: Vec<String> = some.iter().map(|(account, _)| account.to_string()).collect();
            let draft = about_identity(caller.draft(&tx.state, "rotation.due"), leaver)
                .detail("cause", word)
                .detail("accounts", ids.join(" "));
            tx.append(LogId::Vault(vault), draft)?;
        }
    }
    Ok(count)
}

/// Takes off the list an account that has a new seed or is gone. The record of that change says it.
pub(super) fn settle(tx: &mut Tx<'_>, account: &Account) {
    if let Some(rotation) = tx.state.rotations.get(&(account.vault, account.id)).cloned() {
        tx.delete(&rotation);
    }
}

/// Takes an account off the list without a new seed: somebody answers for that, with a reason.
///
/// # Errors
/// The refusal; `not_found` if it is not on the list.
pub fn dismiss(
    tx: &mut Tx<'_>,
    caller: &Caller,
    address: &AccountAddress,
    reason: &str,
) -> Result<((), Receipt), Refusal> {
    const EVENT: &str = "rotation.dismiss";
    let (vault, account) = find_account(tx, caller, EVENT, address)?;
    let draft = about_account(caller.draft(&tx.state, EVENT), &account).text("reason", reason);
    let terms = caller.may_in(&tx.state, vault.id, Operation::RotationDismiss, tx.now).map_err(|denial| {
        let denial = caller.about_account(&tx.state, denial, &account, tx.now);
        caller.refused(&tx.state, denial, Some(vault.id), draft.clone())
    })?;
    let Some(rotation) = tx.state.rotations.get(&(vault.id, account.id)).cloned() else {
        let message = format!("{address} is not on the rotation list.");
        return Err(Failure::new(ErrorKind::NotFound, message).into());
    };
    let mut draft = draft.detail("cause", rotation.cause.as_str()).detail("since", rotation.since.to_string());
    draft.grant = terms.grant;
    tx.delete(&rotation);
    let receipt = tx.append(LogId::Vault(vault.id), draft)?;
    Ok(((), receipt))
}
