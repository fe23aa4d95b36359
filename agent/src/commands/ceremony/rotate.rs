//! The steps of `rotate-key`: a new key, seeds sealed anew in batches, the old key given up, the old key gone. Between any two
//! of them every seed in the store opens under a key that the token holds.

use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::method::Receipt;
use strongroom_proto::words::CeremonyStatus;

use super::super::Caller;
use super::{refuse, step};
use crate::keystore::{SealedSeed, VaultKey};
use crate::state::ceremony::Ceremony;
use crate::state::rows::{Policy, SealedSeedRow, VaultKeyRow};
use crate::state::second::{ImportCopy, SecondKey};
use crate::state::{LogId, State};
use crate::store::tx::{Refusal, Tx};

/// The seeds of a ceremony's vault that are not under its new key yet, by account.
pub fn left<'a>(state: &'a State, ceremony: &Ceremony) -> impl Iterator<Item = &'a SealedSeedRow> {
    let (vault, new_key) = (ceremony.vault, ceremony.new_key);
    state
        .accounts_of(vault)
        .filter_map(|account| state.seeds.get(&account.id))
        .filter(move |row| Some(row.sealed.key_number) != new_key)
}

/// The keys that the ceremony replaces: only older ones.
pub fn old_keys<'a>(state: &'a State, ceremony: &Ceremony) -> impl Iterator<Item = &'a VaultKeyRow> {
    let new_key = ceremony.new_key;
    state.vault_keys_of(ceremony.vault).filter(move |row| Some(row.key.number) < new_key)
}

/// Numbers of attempts that gave no key. No key of the store bears one and none ever will, so whatever the token holds
/// under them is unused, whenever it is destroyed.
pub fn unused_numbers(state: &State, ceremony: &Ceremony) -> Vec<u32> {
    let used: Vec<u32> = state.vault_keys_of(ceremony.vault).map(|row| row.key.number).collect();
    let (Some(oldest), Some(new_key)) = (used.iter().min(), ceremony.new_key) else { return Vec::new() };
    (*oldest..new_key).filter(|number| !used.contains(number)).collect()
}

/// Notes the number of the next attempt to make the new key: one that was never noted before.
///
/// # Errors
/// The refusal of a dead ceremony; `conflict` if the new key is in use already.
pub fn next_number(tx: &mut Tx<'_>, caller: &Caller, ceremony: &Ceremony) -> Result<(Ceremony, Receipt), Refusal> {
    let (current, draft) = step(tx, caller, "ceremony.run", ceremony)?;
    let vault = current.vault;
    if current.new_key.is_some_and(|number| tx.state.vault_keys.contains_key(&(vault, number))) {
        return Err(Failure::new(ErrorKind::Conflict, "The new key is in use already: run it again.").into());
    }
    let used = tx.state.vault_keys_of(vault).map(|row| row.key.number);
    let noted = tx.state.ceremonies_of(vault).filter_map(|ceremony| ceremony.new_key);
    let number = used.chain(noted).max().unwrap_or(0).checked_add(1);
    let number = number.ok_or_else(|| Failure::new(ErrorKind::Internal, "The vault has no more key numbers."))?;
    let current = Ceremony { new_key: Some(number), ..current };
    tx.put(current.clone())?;
    let receipt = tx.append(LogId::Vault(vault), draft.detail("resumed", 1).detail("key_number", number))?;
    Ok((current, receipt))
}

/// Takes the new key into use: from here on imports seal under it.
///
/// # Errors
/// The refusal of a dead ceremony.
pub fn key_made(
    tx: &mut Tx<'_>,
    caller: &Caller,
    ceremony: &Ceremony,
    key: &VaultKey,
) -> Result<((), Receipt), Refusal> {
    let (current, draft) = step(tx, caller, "vault.key_create", ceremony)?;
    if current.new_key != Some(key.number) {
        return Err(Failure::new(ErrorKind::Conflict, "The ceremony is about another key.").into());
    }
    let policy = tx.state.policies.get(&current.vault).cloned().ok_or_else(Failure::not_found)?;
    let created_at = tx.now;
    tx.put(VaultKeyRow { key: key.clone(), created_at })?;
    // The second token makes a new key of its own, and takes every seed from its copy once more.
    for row in tx.state.second_keys_of(current.vault).cloned().collect::<Vec<_>>() {
        tx.put(SecondKey { retiring: true, ..row })?;
    }
    tx.put(Policy { scheme: key.scheme, ..policy })?;
    let draft = draft
        .detail("key", key.label.clone())
        .detail("kcv", hex::encode(key.kcv))
        .detail("scheme", key.scheme.as_str());
    let receipt = tx.append(LogId::Vault(current.vault), draft)?;
    Ok(((), receipt))
}

/// Puts new seals in the place of old ones. A seed that was removed or replaced meanwhile is left alone.
///
/// # Errors
/// The refusal of a dead ceremony.
pub fn resealed(
    tx: &mut Tx<'_>,
    caller: &Caller,
    ceremony: &Ceremony,
    batch: &[(SealedSeedRow, SealedSeed, Option<ImportCopy>)],
) -> Result<((), Receipt), Refusal> {
    let (current, draft) = step(tx, caller, "vault.reseal", ceremony)?;
    let mut accounts = 0_u64;
    for (before, sealed, import) in batch {
        if tx.state.seeds.get(&before.account) == Some(before) && Some(sealed.key_number) == current.new_key {
            tx.put(SealedSeedRow { sealed: sealed.clone(), ..before.clone() })?;
            if let Some(import) = import {
                tx.put(import.clone())?;
            }
            accounts += 1;
        }
    }
    let receipt = tx.append(LogId::Vault(current.vault), draft.detail("accounts", accounts))?;
    Ok(((), receipt))
}

/// Gives the old keys up: nothing is sealed under them, and every seed was seen to open under the new one. After this their
/// absence from the token is no fault.
///
/// # Errors
/// `conflict` if a seed is still sealed under an old key.
pub fn retire(tx: &mut Tx<'_>, caller: &Caller, ceremony: &Ceremony) -> Result<(Ceremony, Receipt), Refusal> {
    let (current, draft) = step(tx, caller, "vault.key_retire", ceremony)?;
    if left(&tx.state, &current).next().is_some() {
        let failure = Failure::new(ErrorKind::Conflict, "A seed is still sealed under the old key: run it again.");
        return Err(refuse(&current, draft, failure));
    }
    let accounts = tx.state.accounts_of(current.vault).count();
    let draft = draft.detail("accounts", accounts).detail("keys", labels(old_keys(&tx.state, &current)));
    let current = Ceremony { retiring: true, ..current };
    tx.put(current.clone())?;
    let receipt = tx.append(LogId::Vault(current.vault), draft)?;
    Ok((current, receipt))
}

/// Ends the ceremony after the old keys are gone from the token.
///
/// # Errors
/// The refusal of a dead ceremony.
pub fn finish(tx: &mut Tx<'_>, caller: &Caller, ceremony: &Ceremony) -> Result<((), Receipt), Refusal> {
    let (current, draft) = step(tx, caller, "vault.rotate_key", ceremony)?;
    let old: Vec<VaultKeyRow> = old_keys(&tx.state, &current).cloned().collect();
    let new = tx.state.newest_vault_key(current.vault).cloned();
    let new = new.filter(|row| current.retiring && Some(row.key.number) == current.new_key);
    let new = new.ok_or_else(|| Failure::new(ErrorKind::Conflict, "The old key is still in use."))?;
    let draft = draft
        .detail("keys", labels(old.iter()))
        .detail("kcvs", old.iter().map(|row| hex::encode(row.key.kcv)).collect::<Vec<_>>().join(" "))
        .detail("key", new.key.label.clone())
        .detail("kcv", hex::encode(new.key.kcv))
        .detail("scheme", new.key.scheme.as_str())
        .detail("accounts", tx.state.accounts_of(current.vault).count());
    for row in &old {
        tx.delete(row);
    }
    tx.put(Ceremony { state: CeremonyStatus::Done, ..current.clone() })?;
    let receipt = tx.append(LogId::Vault(current.vault), draft)?;
    Ok(((), receipt))
}

fn labels<'a>(rows: impl Iterator<Item = &'a VaultKeyRow>) -> String {
    rows.map(|row| row.key.label.as_str()).collect::<Vec<_>>().join(" ")
}
