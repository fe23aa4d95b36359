//! Commands on vaults.

use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{Slug, VaultId};
use strongroom_proto::method::Receipt;
use strongroom_proto::policy::VaultPolicy;
use strongroom_proto::words::{Assurance, Scheme};

use super::policy::check_vault_policy;
use super::{Caller, about_vault, find_vault};
use crate::access::Operation;
use crate::keystore::VaultKey;
use crate::state::LogId;
use crate::state::rows::{Policy, Vault, VaultKeyRow, VaultNames};
use crate::store::tx::{Draft, Refusal, Tx};

/// A vault to be made; its key is in the token already.
#[derive(Clone, Debug)]
pub struct NewVault {
    /// Its id.
    pub id: VaultId,
    /// Slug and name.
    pub names: VaultNames,
    /// How seeds are sealed.
    pub scheme: Scheme,
    /// The weakest login that may take codes, if not the one that the organisation's policy says.
    pub min_assurance: Option<Assurance>,
    /// The vault key.
    pub key: VaultKey,
}

/// Makes a vault: its row, its policy, its key, and the first record of its log.
///
/// # Errors
/// The refusal; `conflict` if the slug is taken.
pub fn create(tx: &mut Tx<'_>, caller: &Caller, new: &NewVault) -> Result<(VaultId, Receipt), Refusal> {
    let now = tx.now;
    let draft = caller.draft(&tx.state, "vault.create").text("vault.name", new.names.slug.as_str());
    let _terms = caller
        .may(&tx.state, Operation::VaultCreate, now)
        .map_err(|denial| caller.refused(&tx.state, denial, None, draft.clone()))?;
    check_free(tx, &new.names.slug)?;
    let log = LogId::Vault(new.id);
    let vault = Vault { id: new.id, created_at: now, destroyed_at: None, names: new.names.clone() };
    tx.put(vault.clone())?;
    let default = tx.state.org_policy.vault.clone();
    let rules = VaultPolicy { min_assurance: new.min_assurance.unwrap_or(default.min_assurance), ..default };
    check_vault_policy(&tx.state, None, &rules, now)?;
    let min_assurance = rules.min_assurance;
    tx.put(Policy { vault: new.id, scheme: new.scheme, frozen: false, rules })?;
    tx.put(VaultKeyRow { key: new.key.clone(), created_at: now })?;
    let genesis = Draft::new("log.open")
        .detail("agent_key", tx.state.org.agent_key.clone())
        .detail("scheme", new.scheme.as_str())
        .detail("min_assurance", min_assurance.as_str())
        .text("vault.name", new.names.slug.as_str());
    tx.append(log, genesis)?;
    let mut draft = about_vault(caller.draft(&tx.state, "vault.create"), &vault);
    draft = draft.detail("scheme", new.scheme.as_str()).detail("key", new.key.label.clone());
    let receipt = tx.append(LogId::Org, draft)?;
    Ok((new.id, receipt))
}

/// Changes slug or name.
///
/// # Errors
/// The refusal; `conflict` if the slug is taken.
pub fn rename(
    tx: &mut Tx<'_>,
    caller: &Caller,
    slug: &Slug,
    to: Option<&Slug>,
    name: Option<&str>,
) -> Result<((), Receipt), Refusal> {
    const EVENT: &str = "vault.rename";
    let vault = find_vault(tx, caller, EVENT, slug)?;
    let now = tx.now;
    let draft = about_vault(caller.draft(&tx.state, EVENT), &vault);
    let _terms = caller
        .may_in(&tx.state, vault.id, Operation::VaultRename, now)
        .map_err(|denial| caller.refused(&tx.state, denial, Some(vault.id), draft.clone()))?;
    let mut names = vault.names.clone();
    if let Some(to) = to.filter(|to| **to != vault.names.slug) {
        check_free(tx, to)?;
        names.slug = to.clone();
    }
    if let Some(name) = name {
        name.clone_into(&mut names.name);
    }
    let draft = draft.text("vault.new_name", names.slug.as_str());
    tx.put(Vault { names, ..vault })?;
    let receipt = tx.append(LogId::Org, draft)?;
    Ok(((), receipt))
}

/// Freezes or thaws.
///
/// # Errors
/// The refusal; `conflict` if it is so already.
pub fn set_frozen(
    tx: &mut Tx<'_>,
    caller: &Caller,
    slug: &Slug,
    frozen: bool,
    reason: &str,
) -> Result<((), Receipt), Refusal> {
    let (event, operation) =
        if frozen { ("vault.freeze", Operation::VaultFreeze) } else { ("vault.thaw", Operation::VaultThaw) };
    let vault = find_vault(tx, caller, event, slug)?;
    let log = LogId::Vault(vault.id);
    let now = tx.now;
    let draft = caller.draft(&tx.state, event).text("reason", reason);
    let terms = caller
        .may_in(&tx.state, vault.id, operation, now)
        .map_err(|denial| caller.refused(&tx.state, denial, Some(vault.id), draft.clone()))?;
    let policy = tx.state.policies.get(&vault.id).cloned().ok_or_else(Failure::not_found)?;
    if !frozen && super::ceremony::is_being_destroyed(&tx.state, vault.id) {
        return Err(Failure::new(ErrorKind::Conflict, "The vault is being destroyed.").into());
    }
    if policy.frozen == frozen {
        let state = if frozen { "frozen already" } else { "not frozen" };
        return Err(Failure::new(ErrorKind::Conflict, format!("The vault is {state}.")).into());
    }
    tx.put(Policy { frozen, ..policy })?;
    let mut draft = draft;
    draft.grant = terms.grant;
    let receipt = tx.append(log, draft)?;
    Ok(((), receipt))
}

fn check_free(tx: &Tx<'_>, slug: &Slug) -> Result<(), Refusal> {
    if tx.state.vault_slugs.contains_key(slug) {
        Err(Failure::new(ErrorKind::Conflict, format!("The vault name {slug} is taken.")).into())
    } else {
        Ok(())
    }
}
