//! Commands on accounts.

use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{AccountAddress, VaultId};
use strongroom_proto::method::Receipt;

use super::{Caller, about_account, canary, find_account, rotation};
use crate::access::Operation;
use crate::state::LogId;
use crate::state::rows::{Account, RecoveryCopy, SealedSeedRow};
use crate::state::second::ImportCopy;
use crate::store::tx::{Refusal, Tx};

/// An account whose seed has been sealed and waits for the commit of its import.
#[derive(Clone, Debug)]
pub struct Staged {
    /// The account.
    pub account: Account,
    /// Its seed, sealed for this token.
    pub seed: SealedSeedRow,
    /// Its seed for the recovery recipients, if there are any.
    pub recovery: Option<RecoveryCopy>,
    /// Its seed on the way to the second token, if there is one.
    pub import: Option<ImportCopy>,
}

/// Makes all staged accounts, or none. One that was staged for an account that exists gives it a new seed.
///
/// # Errors
/// The refusal; `conflict` naming the first slug that is taken, or the account that is not any more what its new seed was sealed for.
pub fn import(
    tx: &mut Tx<'_>,
    caller: &Caller,
    vault: VaultId,
    source: &str,
    staged: &[Staged],
) -> Result<(Vec<AccountAddress>, Receipt), Refusal> {
    const EVENT: &str = "account.import";
    let log = LogId::Vault(vault);
    let now = tx.now;
    let terms = caller
        .may_in(&tx.state, vault, Operation::AccountImport, now)
        .map_err(|denial| caller.refused(&tx.state, denial, Some(vault), caller.draft(&tx.state, EVENT)))?;
    let slug = tx.state.vaults.get(&vault).map(|vault| vault.names.slug.clone()).ok_or_else(Failure::not_found)?;
    let mut addresses = Vec::with_capacity(staged.len());
    // A key that is being replaced takes no new seeds: it may be destroyed once what the store knows of was sealed anew.
    let key = tx.state.newest_vault_key(vault).map(|row| row.key.number);
    if staged.iter().any(|row| Some(row.seed.sealed.key_number) != key) {
        let message = "The vault's key was replaced since this import began: begin it again.";
        return Err(Failure::new(ErrorKind::Conflict, message).into());
    }
    for row in staged {
        let account = &row.account.names.slug;
        let before = tx.state.account(vault, account).cloned();
        let conflict = |what: &str| {
            let message = format!("{slug}/{account} {what}; nothing was imported.");
            Refusal::from(Failure::new(ErrorKind::Conflict, message))
        };
        // A seal is bound to the account and to the count of its seeds: it fits what was seen when it was made, or nothing.
        let fits = |before: &Account| before.id == row.account.id && before.revision + 1 == row.account.revision;
        match &before {
            None if row.account.revision > 1 => return Err(conflict("is gone")),
            Some(_) if row.account.revision == 1 => return Err(conflict("exists already")),
            Some(before) if !fits(before) => return Err(conflict("was changed meanwhile")),
            Some(before) => rotation::settle(tx, before),
            None => {}
        }
        let created_at = before.map_or(now, |before| before.created_at);
        let seed_by = Some(caller.identity());
        tx.put(Account { created_at, seed_by, ..row.account.clone() })?;
        // Whoever took the current window took a code of the old seed.
        tx.state.windows.remove(&row.account.id);
        tx.put(row.seed.clone())?;
        match (&row.recovery, tx.state.recovery.get(&row.account.id).cloned()) {
            (Some(recovery), _) => tx.put(recovery.clone())?,
            // A copy of the old seed would bring back an account whose codes nobody takes any more.
            (None, Some(old)) => tx.delete(&old),
            (None, None) => {}
        }
        if let Some(import) = &row.import {
            tx.put(import.clone())?;
        }
        addresses.push(AccountAddress { vault: slug.clone(), account: account.clone() });
    }
    for row in staged {
        let event = if row.account.revision == 1 { "account.create" } else { "account.replace" };
        let mut draft = about_account(caller.draft(&tx.state, event), &row.account)
            .detail("revision", row.account.revision)
            .detail("kind", row.account.kind.as_str())
            .detail("scheme", row.seed.sealed.scheme.as_str())
            .detail("recovery_recipients", row.recovery.as_ref().map_or(0, |copy| copy.recipients.len()));
        draft.grant.clone_from(&terms.grant);
        tx.append(log, draft)?;
    }
    let mut draft = caller.draft(&tx.state, EVENT).detail("accounts", staged.len()).detail("source", source);
    draft.grant = terms.grant;
    let receipt = tx.append(log, draft)?;
    Ok((addresses, receipt))
}

/// Removes an account, its sealed seed and its recovery copy.
///
/// # Errors
/// The refusal.
pub fn remove(
    tx: &mut Tx<'_>,
    caller: &Caller,
    address: &AccountAddress,
    reason: &str,
) -> Result<((), Receipt), Refusal> {
    const EVENT: &str = "account.remove";
    let (vault, account) = find_account(tx, caller, EVENT, address)?;
    let log = LogId::Vault(vault.id);
    let now = tx.now;
    let draft = about_account(caller.draft(&tx.state, EVENT), &account).text("reason", reason);
    let terms = caller
        .may_in(&tx.state, vault.id, Operation::AccountRemove(account.id), now)
        .map_err(|denial| caller.refused(&tx.state, denial, Some(vault.id), draft.clone()))?;
    if let Some(seed) = tx.state.seeds.get(&account.id).cloned() {
        tx.delete(&seed);
    }
    if let Some(recovery) = tx.state.recovery.get(&account.id).cloned() {
        tx.delete(&recovery);
    }
    rotation::settle(tx, &account);
    canary::forget(tx, caller, address, &account, EVENT)?;
    if let Some(seed) = tx.state.second_seeds.get(&account.id).cloned() {
        tx.delete(&seed);
    }
    if let Some(copy) = tx.state.import_copies.get(&account.id).cloned() {
        tx.delete(&copy);
    }
    tx.delete(&account);
    let mut draft = draft;
    draft.grant = terms.grant;
    let receipt = tx.append(log, draft)?;
    Ok(((), receipt))
}
