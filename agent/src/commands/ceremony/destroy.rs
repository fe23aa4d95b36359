//! The end of `destroy`: after the keys are gone from the token, everything that was sealed under them goes, and the
//! certificate stays.

use strongroom_proto::ids::AccountAddress;
use strongroom_proto::method::Receipt;
use strongroom_proto::method::ceremony::Certificate;
use strongroom_proto::words::{CeremonyStatus, VaultRole};

use super::super::second::drop_second;
use super::super::{Caller, about_vault, canary, rotation};
use super::step;
use crate::keystore::VaultKey;
use crate::state::LogId;
use crate::state::ceremony::{Ceremony, CeremonyNames};
use crate::state::rows::{Grant, Vault};
use crate::store::tx::{Refusal, Tx};

/// Removes accounts, seeds, copies and key rows, ends all grants but those of auditors, and marks the vault destroyed. Its
/// log stays, and so does its name: no other vault is ever taken for it.
///
/// # Errors
/// The refusal of a dead ceremony.
pub fn finish(
    tx: &mut Tx<'_>,
    caller: &Caller,
    ceremony: &Ceremony,
    certificate: &Certificate,
    certificate_sha256: &str,
) -> Result<((), Receipt), Refusal> {
    const EVENT: &str = "vault.destroy";
    let (current, draft) = step(tx, caller, EVENT, ceremony)?;
    let (id, now) = (current.vault, tx.now);
    let mut keys: Vec<VaultKey> = tx.state.vault_keys_of(id).map(|row| row.key.clone()).collect();
    keys.extend(tx.state.second_keys_of(id).map(|row| row.key.clone()));
    drop_second(tx, id);
    let accounts: Vec<_> = tx.state.accounts_of(id).cloned().collect();
    for account in &accounts {
        if let Some(seed) = tx.state.seeds.get(&account.id).cloned() {
            tx.delete(&seed);
        }
        if let Some(copy) = tx.state.recovery.get(&account.id).cloned() {
            tx.delete(&copy);
        }
        rotation::settle(tx, account);
        let vault = tx.state.vaults.get(&id).map(|vault| vault.names.slug.clone());
        if let Some(vault) = vault {
            let address = AccountAddress { vault, account: account.names.slug.clone() };
            canary::forget(tx, caller, &address, account, EVENT)?;
        }
        tx.delete(account);
    }
    for row in tx.state.vault_keys_of(id).cloned().collect::<Vec<_>>() {
        tx.delete(&row);
    }
    let ends = |grant: &&Grant| grant.vault == id && grant.ended_at.is_none() && grant.role != VaultRole::Auditor;
    let grants: Vec<Grant> = tx.state.grants.values().filter(ends).cloned().collect();
    for grant in &grants {
        tx.put(Grant { ended_at: Some(now), ..grant.clone() })?;
    }
    let names = CeremonyNames { certificate: Some(certificate.clone()), ..current.names.clone() };
    tx.put(Ceremony { state: CeremonyStatus::Done, names, ..current.clone() })?;
    let list = |of: fn(&VaultKey) -> String| keys.iter().map(of).collect::<Vec<_>>().join(" ");
    let draft = draft
        .detail("keys", list(|key| key.label.clone()))
        .detail("kcvs", list(|key| hex::encode(key.kcv)))
        .detail("accounts", accounts.len())
        .detail("grants", grants.len())
        .detail("certificate_sha256", certificate_sha256);
    let receipt = tx.append(LogId::Vault(id), draft)?;

    let vault = tx.state.vaults.get(&id).cloned();
    if let Some(vault) = vault {
        let destroyed = Vault { destroyed_at: Some(now), ..vault };
        tx.put(destroyed.clone())?;
        let draft = about_vault(caller.draft(&tx.state, EVENT), &destroyed)
            .detail("ceremony", current.id.to_string())
            .detail("certificate_sha256", certificate_sha256);
        tx.append(LogId::Org, draft)?;
    }
    Ok(((), receipt))
}
