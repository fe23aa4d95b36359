//! Commands on grants.

use jiff::Timestamp;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{AccountId, GrantId};
use strongroom_proto::method::{Receipt, grant as wire};
use strongroom_proto::words::{IdentityStatus, VaultRole};

use super::{Caller, about_identity, find_vault, unconfirmed};
use crate::access::Operation;
use crate::state::LogId;
use crate::state::rows::Grant;
use crate::store::tx::{Draft, Refusal, Tx};

/// Gives a grant.
///
/// # Errors
/// The refusal; `not_found` for an unknown identity or account, `invalid_params` if it would never be in force.
pub fn give(tx: &mut Tx<'_>, caller: &Caller, id: GrantId, wanted: &wire::Give) -> Result<(GrantId, Receipt), Refusal> {
    const EVENT: &str = "grant.give";
    let vault = find_vault(tx, caller, EVENT, &wanted.vault)?;
    let log = LogId::Vault(vault.id);
    let now = tx.now;
    let holder = tx.state.identity(&wanted.identity).cloned();
    let own = holder.as_ref().is_some_and(|holder| holder.id == caller.identity());
    let operation = Operation::GrantGive { role: wanted.role, own };
    let mut draft = caller.draft(&tx.state, EVENT).detail("role", wanted.role.as_str());
    if let Some(holder) = &holder {
        draft = about_identity(draft, holder);
    }
    let terms = caller
        .may_in(&tx.state, vault.id, operation, now)
        .map_err(|denial| caller.refused(&tx.state, denial, Some(vault.id), draft.clone()))?;
    if terms.grant.is_none() {
        draft = unconfirmed(draft);
    }
    let holder = holder.filter(|holder| holder.status != IdentityStatus::Revoked).ok_or_else(|| {
        Failure::new(ErrorKind::NotFound, format!("There is no active identity {}.", wanted.identity))
    })?;
    let accounts = accounts_of(tx, vault.id, wanted)?;
    let from = wanted.from.unwrap_or(now);
    if wanted.until.is_some_and(|until| until <= from || until <= now) {
        return Err(
            Failure::new(ErrorKind::InvalidParams, "The grant would end before it begins, or before now.").into()
        );
    }
    let grant = Grant {
        id,
        vault: vault.id,
        identity: holder.id,
        role: wanted.role,
        accounts,
        from,
        until: wanted.until,
        given_by: caller.identity(),
        ended_at: None,
    };
    let mut draft = dated(draft, &grant)
        .maybe_text("reason", wanted.reason.as_deref())
        .maybe_text("ticket", wanted.ticket.as_deref());
    draft.grant = terms.grant;
    draft.target.grant = Some(grant.id);
    tx.put(grant)?;
    let receipt = tx.append(log, draft)?;
    Ok((id, receipt))
}

fn accounts_of(
    tx: &Tx<'_>,
    vault: strongroom_proto::ids::VaultId,
    wanted: &wire::Give,
) -> Result<Option<Vec<AccountId>>, Refusal> {
    let Some(slugs) = &wanted.accounts else { return Ok(None) };
    if wanted.role != VaultRole::Viewer || slugs.is_empty() {
        return Err(Failure::new(
            ErrorKind::InvalidParams,
            "Only viewers are limited to accounts, and to at least one.",
        )
        .into());
    }
    let found = slugs.iter().map(|slug| {
        tx.state.account(vault, slug).map(|account| account.id).ok_or_else(|| {
            Refusal::from(Failure::new(ErrorKind::NotFound, format!("There is no account {}/{slug}.", wanted.vault)))
        })
    });
    let mut accounts = found.collect::<Result<Vec<_>, _>>()?;
    accounts.sort_unstable();
    accounts.dedup();
    Ok(Some(accounts))
}

fn dated(draft: Draft, grant: &Grant) -> Draft {
    let draft = draft.detail("from", grant.from.to_string());
    let draft = match grant.until {
        Some(until) => draft.detail("until", until.to_string()),
        None => draft,
    };
    match &grant.accounts {
        Some(accounts) => {
            draft.detail("accounts", accounts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        }
        None => draft,
    }
}

/// Ends a grant.
///
/// # Errors
/// The refusal; `conflict` if it has ended already.
pub fn end(tx: &mut Tx<'_>, caller: &Caller, id: GrantId, reason: Option<&str>) -> Result<((), Receipt), Refusal> {
    const EVENT: &str = "grant.end";
    let grant =
        tx.state.grants.get(&id).cloned().ok_or_else(|| caller.nothing_there(&tx.state, EVENT, &id.to_string()))?;
    let now = tx.now;
    // A grant that is not in force does not make its vault exist for its holder.
    let own = grant.identity == caller.identity() && grant.in_force(now);
    let mut draft = caller.draft(&tx.state, EVENT).detail("role", grant.role.as_str()).maybe_text("reason", reason);
    if let Some(holder) = tx.state.identities.get(&grant.identity) {
        draft = about_identity(draft, holder);
    }
    draft.target.grant = Some(id);
    let _terms = caller
        .may_in(&tx.state, grant.vault, Operation::GrantEnd { role: grant.role, own }, now)
        .map_err(|denial| caller.refused(&tx.state, denial, Some(grant.vault), draft.clone()))?;
    let receipt = end_now(tx, grant, now, draft)?;
    Ok(((), receipt))
}

/// Ends a grant that has been decided on.
pub(super) fn end_now(tx: &mut Tx<'_>, grant: Grant, now: Timestamp, draft: Draft) -> Result<Receipt, Refusal> {
    if grant.ended_at.is_some() {
        return Err(Failure::new(ErrorKind::Conflict, "This grant has ended already.").into());
    }
    let log = LogId::Vault(grant.vault);
    tx.put(Grant { ended_at: Some(now), ..grant })?;
    Ok(tx.append(log, draft)?)
}
