//! Commands on the second token: it joins by two people's signatures over a plan, is kept up with the first by the agent, and
//! leaves by two people again.

use std::collections::BTreeSet;

use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::VaultId;
use strongroom_proto::method::Receipt;

use super::recovery::{Approved, with_approvals};
use crate::keystore::TokenId;
use crate::state::rows::{Org, Policy, SealedSeedRow, VaultKeyRow};
use crate::state::second::{ImportCopy, SecondKey, SecondSeed, SecondToken};
use crate::state::{LogId, State};
use crate::store::tx::{Draft, Refusal, Tx};

/// What two people signed, and who they are.
#[derive(Clone, Debug)]
pub struct Signed {
    /// Word for word.
    pub plan: String,
    /// Checked by the caller against this state.
    pub approvals: Vec<Approved>,
}

/// Notes a token that is about to join. It serves nobody yet.
///
/// # Errors
/// `conflict` if there is a second token.
pub fn begin(tx: &mut Tx<'_>, token: &SecondToken, first: &str, signed: &Signed) -> Result<((), Receipt), Refusal> {
    if let Some(other) = &tx.state.second {
        let message = format!("{} is the second token of this store already.", other.token);
        return Err(Failure::new(ErrorKind::Conflict, message).into());
    }
    let draft = Draft::new("token.join")
        .detail("first_token", first)
        .detail("second_token", token.token.as_str())
        .detail("second_agent_key", token.agent_key.clone());
    let draft = with_approvals(draft, &signed.plan, &signed.approvals);
    tx.put(SecondToken { joined: false, since: tx.now, ..token.clone() })?;
    let receipt = tx.append(LogId::Org, draft)?;
    Ok(((), receipt))
}

/// Takes a vault key in the second token into use.
///
/// # Errors
/// `conflict` if the token left meanwhile.
pub fn key_made(tx: &mut Tx<'_>, token: &TokenId, row: &SecondKey) -> Result<((), Receipt), Refusal> {
    check_present(&tx.state, token)?;
    let draft = Draft::new("vault.second_key")
        .detail("key", row.key.label.clone())
        .detail("kcv", hex::encode(row.key.kcv))
        .detail("scheme", row.key.scheme.as_str())
        .detail("token", token.as_str());
    let log = LogId::Vault(row.key.vault);
    tx.put(SecondKey { created_at: tx.now, ..row.clone() })?;
    let receipt = tx.append(log, draft)?;
    Ok(((), receipt))
}

/// Keeps seals of the second token. What was removed or replaced meanwhile is left alone; a copy that a seal came from is
/// needed no more.
///
/// # Errors
/// `conflict` if the token left meanwhile.
pub fn sealed(
    tx: &mut Tx<'_>,
    vault: VaultId,
    token: &TokenId,
    batch: &[(SecondSeed, Option<ImportCopy>)],
) -> Result<((), Receipt), Refusal> {
    check_present(&tx.state, token)?;
    let mut accounts = 0_u64;
    for (seed, from) in batch {
        let is_current = tx.state.accounts.get(&seed.account).is_some_and(|account| account.revision == seed.revision);
        if !is_current || tx.state.import_copies.get(&seed.account) != from.as_ref() {
            continue;
        }
        tx.put(seed.clone())?;
        if let Some(copy) = from {
            tx.delete(copy);
        }
        accounts += 1;
    }
    let draft = Draft::new("vault.second_seal").detail("accounts", accounts).detail("token", token.as_str());
    let receipt = tx.append(LogId::Vault(vault), draft)?;
    Ok(((), receipt))
}

/// Forgets a vault key that was destroyed in the second token, after nothing was sealed under it any more.
///
/// # Errors
/// `conflict` if something is.
pub fn key_gone(tx: &mut Tx<'_>, token: &TokenId, row: &SecondKey) -> Result<((), Receipt), Refusal> {
    if !is_unused(&tx.state, row) {
        return Err(Failure::new(ErrorKind::Conflict, "A seed is still sealed under this key.").into());
    }
    tx.delete(row);
    let draft = Draft::new("vault.second_key_gone")
        .detail("key", row.key.label.clone())
        .detail("kcv", hex::encode(row.key.kcv))
        .detail("token", token.as_str());
    let receipt = tx.append(LogId::Vault(row.key.vault), draft)?;
    Ok(((), receipt))
}

/// True if a key of the second token takes no new seeds, and none is sealed under it.
#[must_use]
pub fn is_unused(state: &State, row: &SecondKey) -> bool {
    let vault = row.key.vault;
    row.retiring
        && !state
            .accounts_of(vault)
            .filter_map(|account| state.second_seeds.get(&account.id))
            .any(|seed| seed.sealed.key_number == row.key.number)
}

/// From now on the second token serves: every code of it was compared with the first one's.
///
/// # Errors
/// `conflict` if the token left meanwhile.
pub fn joined(tx: &mut Tx<'_>, token: &TokenId, accounts: u64) -> Result<((), Receipt), Refusal> {
    let second = check_present(&tx.state, token)?;
    tx.put(SecondToken { joined: true, ..second })?;
    let draft = Draft::new("token.joined").detail("second_token", token.as_str()).detail("accounts", accounts);
    let receipt = tx.append(LogId::Org, draft)?;
    Ok(((), receipt))
}

/// Forgets the second token, and all that was sealed for it. `destroyed` says how many of its vault keys are gone from it.
///
/// # Errors
/// `conflict` if it left meanwhile.
pub fn second_left(
    tx: &mut Tx<'_>,
    token: &TokenId,
    destroyed: u64,
    signed: &Signed,
) -> Result<((), Receipt), Refusal> {
    let second = check_present(&tx.state, token)?;
    let mut keys = 0;
    for vault in vaults_of(&tx.state) {
        let labels = labels(&tx.state, vault);
        keys += drop_second(tx, vault);
        let draft = Draft::new("vault.token_left").detail("token", token.as_str()).detail("keys", labels);
        tx.append(LogId::Vault(vault), draft)?;
    }
    tx.delete(&second);
    let draft = Draft::new("token.leave")
        .detail("token", token.as_str())
        .detail("left", "second")
        .detail("keys", keys)
        .detail("keys_destroyed", destroyed);
    let receipt = tx.append(LogId::Org, with_approvals(draft, &signed.plan, &signed.approvals))?;
    Ok(((), receipt))
}

/// Makes the second token the only one: its keys and seals take the place of the first one's, and the agent's key is the
/// one in it. All of it in one commit.
///
/// # Errors
/// `conflict` if a vault or an account has not reached the second token, or a ceremony has begun.
pub fn first_left(tx: &mut Tx<'_>, token: &TokenId, first: &str, signed: &Signed) -> Result<((), Receipt), Refusal> {
    let second = check_present(&tx.state, token)?;
    if let Err(lack) = is_complete(&tx.state) {
        return Err(Failure::new(ErrorKind::Conflict, lack).into());
    }
    let vaults: BTreeSet<VaultId> = tx.state.vault_keys.keys().map(|(vault, _)| *vault).collect();
    for vault in vaults {
        move_vault(tx, vault, token, first)?;
    }
    tx.delete(&second);
    let draft = Draft::new("token.leave")
        .detail("token", first)
        .detail("left", "first")
        .detail("old_agent_key", tx.state.org.agent_key.clone())
        .detail("new_agent_key", second.agent_key.clone());
    tx.put(Org { agent_key: second.agent_key, ..tx.state.org.clone() })?;
    let receipt = tx.append(LogId::Org, with_approvals(draft, &signed.plan, &signed.approvals))?;
    Ok(((), receipt))
}

/// Puts a vault's keys and seals of the second token in the place of the first one's.
fn move_vault(tx: &mut Tx<'_>, vault: VaultId, token: &TokenId, first: &str) -> Result<(), Refusal> {
    let old: Vec<VaultKeyRow> = tx.state.vault_keys_of(vault).cloned().collect();
    let keys: Vec<SecondKey> = tx.state.second_keys_of(vault).cloned().collect();
    let accounts: Vec<_> = tx.state.accounts_of(vault).map(|account| account.id).collect();
    let seeds: Vec<SecondSeed> = accounts.iter().filter_map(|id| tx.state.second_seeds.get(id)).cloned().collect();
    for row in accounts.iter().filter_map(|id| tx.state.seeds.get(id).cloned()).collect::<Vec<_>>() {
        tx.delete(&row);
    }
    for row in &old {
        tx.delete(row);
    }
    drop_second(tx, vault);
    let mut draft = Draft::new("vault.token_left").detail("token", first);
    let old: Vec<&str> = old.iter().map(|row| row.key.label.as_str()).collect();
    draft = draft.detail("keys", old.join(" ")).detail("now", token.as_str());
    for SecondKey { key, created_at, .. } in keys {
        if let Some(policy) = tx.state.policies.get(&vault).cloned() {
            tx.put(Policy { scheme: key.scheme, ..policy })?;
        }
        draft = draft.detail("key", key.label.clone()).detail("kcv", hex::encode(key.kcv));
        tx.put(VaultKeyRow { key, created_at })?;
    }
    for SecondSeed { account, vault, sealed, .. } in seeds {
        tx.put(SealedSeedRow { account, vault, sealed })?;
    }
    tx.append(LogId::Vault(vault), draft)?;
    Ok(())
}

/// Says what the second token lacks before it could be the only one.
///
/// # Errors
/// The first thing, as a sentence.
pub fn is_complete(state: &State) -> Result<(), String> {
    use strongroom_proto::words::CeremonyStatus;
    if state.joined().is_none() {
        return Err("The second token has not joined.".to_owned());
    }
    if state.ceremonies.values().any(|ceremony| ceremony.state == CeremonyStatus::Running) {
        return Err("A ceremony has begun and has to be finished first.".to_owned());
    }
    if !state.import_copies.is_empty() {
        return Err(format!(
            "{} seeds have not reached the second token: run the agent with it plugged in first.",
            state.import_copies.len()
        ));
    }
    let living = state.vaults.values().filter(|vault| vault.destroyed_at.is_none());
    for vault in living {
        let keys: Vec<&SecondKey> = state.second_keys_of(vault.id).collect();
        let whole = matches!(keys.as_slice(), [key] if !key.retiring)
            && state.accounts_of(vault.id).all(|account| state.second_seal(account.id).is_some());
        if !whole {
            return Err(format!(
                "The vault {} is not whole in the second token: run the agent with it plugged in first.",
                vault.names.slug
            ));
        }
    }
    Ok(())
}

fn check_present(state: &State, token: &TokenId) -> Result<SecondToken, Failure> {
    let second = state.second.as_ref().filter(|second| second.token == *token).cloned();
    second.ok_or_else(|| Failure::new(ErrorKind::Conflict, "This is not the second token of this store."))
}

/// Every vault that has something in, or on its way to, the second token.
fn vaults_of(state: &State) -> BTreeSet<VaultId> {
    let keys = state.second_keys.keys().map(|(vault, _)| *vault);
    let seeds = state.second_seeds.values().map(|row| row.vault);
    keys.chain(seeds).chain(state.import_copies.values().map(|row| row.vault)).collect()
}

fn labels(state: &State, vault: VaultId) -> String {
    state.second_keys_of(vault).map(|row| row.key.label.as_str()).collect::<Vec<_>>().join(" ")
}

/// Removes all that a vault has in, or on its way to, the second token. Says how many keys.
pub(super) fn drop_second(tx: &mut Tx<'_>, vault: VaultId) -> u64 {
    let seeds: Vec<SecondSeed> = tx.state.second_seeds.values().filter(|row| row.vault == vault).cloned().collect();
    let copies: Vec<ImportCopy> = tx.state.import_copies.values().filter(|row| row.vault == vault).cloned().collect();
    let keys: Vec<SecondKey> = tx.state.second_keys_of(vault).cloned().collect();
    seeds.iter().for_each(|row| tx.delete(row));
    copies.iter().for_each(|row| tx.delete(row));
    keys.iter().for_each(|row| tx.delete(row));
    keys.len() as u64
}
