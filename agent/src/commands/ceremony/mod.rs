//! Commands on ceremonies: two people do something to a vault that neither could undo alone. Each step checks once more, at
//! the place of its commit, that both still stand behind it.

pub mod destroy;
pub mod hand_over;
pub mod propose;
pub mod rotate;

use jiff::Timestamp;
use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{CeremonyId, IdentityId, VaultId};
use strongroom_proto::method::Receipt;
use strongroom_proto::words::{Assurance, CeremonyKind, CeremonyStatus, Scheme};

use super::Caller;
pub use super::step_up::Signed;
use crate::access::{Operation, decide, facts};
use crate::state::ceremony::{Ceremony, Party};
use crate::state::rows::{Account, Key, Policy};
use crate::state::{LogId, State};
use crate::store::tx::{Draft, Refusal, Tx};

/// Finds a ceremony, at the place of the commit.
///
/// # Errors
/// The refusal for nothing there.
pub fn find(tx: &Tx<'_>, caller: &Caller, event: &'static str, id: CeremonyId) -> Result<Ceremony, Refusal> {
    tx.state.ceremonies.get(&id).cloned().ok_or_else(|| caller.nothing_there(&tx.state, event, &id.to_string()))
}

/// A record of one step of a ceremony, by somebody.
fn draft(tx: &Tx<'_>, caller: &Caller, event: &'static str, ceremony: &Ceremony) -> Draft {
    caller
        .draft(&tx.state, event)
        .detail("ceremony", ceremony.id.to_string())
        .detail("ceremony_kind", ceremony.kind.as_str())
        .detail("digest", ceremony.digest.clone())
}

/// Refuses a step, for the record of the vault.
fn refuse(ceremony: &Ceremony, mut draft: Draft, failure: Failure) -> Refusal {
    draft.outcome = RecordOutcome::Denied;
    draft.detail.insert("kind".into(), failure.kind.as_str().into());
    Refusal::recorded(failure, LogId::Vault(ceremony.vault), draft)
}

/// Says why a ceremony is dead: one of its two people lost the right to hold it, or the key they signed with.
///
/// # Errors
/// The failure for the caller.
pub fn alive(state: &State, ceremony: &Ceremony, now: Timestamp) -> Result<(), Failure> {
    let parties = std::iter::once(&ceremony.proposer).chain(&ceremony.confirmer);
    for party in parties {
        if !may_conduct(state, party, ceremony.vault, now) {
            let message = "One of the two people of this ceremony lost the right to it: propose it anew.";
            return Err(Failure::new(ErrorKind::Denied, message));
        }
    }
    Ok(())
}

/// Whether somebody may hold ceremonies in a vault, with this key.
fn may_conduct(state: &State, party: &Party, vault: VaultId, now: Timestamp) -> bool {
    let now = now.max(state.latest);
    let facts = facts(state, party.identity, &party.key, Assurance::SoftwareKey, vault, now);
    // A destroyed vault needs no more people: what is left of its ceremony is to be finished.
    decide(&facts, Operation::CeremonyPropose { gives: false }, now).is_ok()
}

/// Who could confirm a ceremony that `proposer` proposes.
#[must_use]
pub fn may_confirm(state: &State, vault: VaultId, proposer: IdentityId, now: Timestamp) -> Vec<IdentityId> {
    let able = |identity: IdentityId| {
        let party = |key: &Key| Party { identity, key: key.fingerprint.clone() };
        state.acting_keys_of(identity).any(|key| may_conduct(state, &party(key), vault, now))
    };
    let concerned = state.concerned([vault]);
    let active = concerned.iter().filter_map(|identity| state.identities.get(identity));
    active
        .filter(|identity| identity.is_active(now))
        .map(|identity| identity.id)
        .filter(|identity| *identity != proposer && able(*identity))
        .collect()
}

/// The ceremony of a vault that is under way, if both its people still stand behind it.
fn under_way(state: &State, vault: VaultId, now: Timestamp) -> Option<&Ceremony> {
    use CeremonyStatus as S;
    state.ceremonies_of(vault).find(|ceremony| {
        matches!(ceremony.status(now), S::Proposed | S::Confirmed | S::Running) && alive(state, ceremony, now).is_ok()
    })
}

/// The ceremonies of a vault that wait or have begun, and that one of their people no longer stands behind.
fn dead(state: &State, vault: VaultId, now: Timestamp) -> impl Iterator<Item = &Ceremony> {
    use CeremonyStatus as S;
    state.ceremonies_of(vault).filter(move |ceremony| {
        matches!(ceremony.status(now), S::Proposed | S::Confirmed | S::Running) && alive(state, ceremony, now).is_err()
    })
}

/// True while the key of a vault may be gone already.
#[must_use]
pub fn is_being_destroyed(state: &State, vault: VaultId) -> bool {
    state
        .ceremonies_of(vault)
        .any(|ceremony| ceremony.kind == CeremonyKind::Destroy && ceremony.state == CeremonyStatus::Running)
}

/// Checks that a ceremony can be carried through: where seeds come from recovery copies, every account has one.
///
/// # Errors
/// `conflict` with what to do, naming the accounts.
pub fn check_copies(state: &State, ceremony: CeremonyKind, vault: VaultId) -> Result<(), Failure> {
    let missing: Vec<&Account> = state
        .accounts_of(vault)
        .filter(|account| needs_copy(state, ceremony, account))
        .filter(|account| state.recovery.get(&account.id).is_none_or(|copy| copy.revision != account.revision))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().take(20).map(|account| account.names.slug.as_str()).collect();
    let more =
        if missing.len() > names.len() { format!(" and {} more", missing.len() - names.len()) } else { String::new() };
    let remedy = if state.org.recovery_recipients.is_empty() {
        "This organisation was founded without recovery recipients, so seeds never leave the token: enrol these accounts \
         anew at their services and import them into another vault"
    } else {
        "Enrol them anew at their services and import them again, or remove them"
    };
    Err(Failure::new(
        ErrorKind::Conflict,
        format!("These accounts have no recovery copy: {}{more}. {remedy}. Nothing was changed.", names.join(", ")),
    ))
}

/// A seed under `derived` is sealed anew from its own seal; a `resident` one, and whatever is handed over or has to reach a
/// second token, from its copy.
fn needs_copy(state: &State, ceremony: CeremonyKind, account: &Account) -> bool {
    match ceremony {
        CeremonyKind::Destroy => false,
        CeremonyKind::HandOver => true,
        CeremonyKind::RotateKey if state.joined().is_some() => true,
        CeremonyKind::RotateKey => state.seeds.get(&account.id).is_none_or(|row| row.sealed.scheme == Scheme::Resident),
    }
}

/// Begins a confirmed ceremony, or goes on with one that has begun: under the lock of the log both people are looked at once
/// more.
///
/// # Errors
/// `needs_approval` while nobody has confirmed, `expired`, `conflict` when it is over, `denied` if it is dead.
pub fn begin(tx: &mut Tx<'_>, caller: &Caller, id: CeremonyId) -> Result<(Ceremony, Receipt), Refusal> {
    const EVENT: &str = "ceremony.run";
    let ceremony = find(tx, caller, EVENT, id)?;
    let (vault, now) = (ceremony.vault, tx.now);
    let draft = draft(tx, caller, EVENT, &ceremony);
    let party = ceremony.has_party(caller.identity());
    let terms = caller
        .may_in(&tx.state, vault, Operation::CeremonyRun { party, gives: ceremony.gives_seeds() }, now)
        .map_err(|denial| caller.refused(&tx.state, denial, Some(vault), draft.clone()))?;
    let refused = |failure| refuse(&ceremony, draft.clone(), failure);
    check_ready(&ceremony, now).map_err(refused)?;
    alive(&tx.state, &ceremony, now).map_err(refused)?;
    check_newest(&tx.state, &ceremony).map_err(refused)?;
    let begins = ceremony.state == CeremonyStatus::Confirmed;
    if ceremony.kind != CeremonyKind::Destroy {
        check_copies(&tx.state, ceremony.kind, vault).map_err(refused)?;
    }
    let mut running = ceremony.clone();
    // A hand-over is one step: it is done or it has not begun.
    if begins && ceremony.kind != CeremonyKind::HandOver {
        running.state = CeremonyStatus::Running;
        tx.put(running.clone())?;
    }
    if begins && ceremony.kind == CeremonyKind::Destroy {
        let policy = tx.state.policies.get(&vault).cloned().ok_or_else(Failure::not_found)?;
        tx.put(Policy { frozen: true, ..policy })?;
    }
    let mut draft = draft;
    draft.grant = terms.grant;
    let receipt = tx.append(LogId::Vault(vault), draft.detail("resumed", u64::from(!begins)))?;
    Ok((running, receipt))
}

fn check_ready(ceremony: &Ceremony, now: Timestamp) -> Result<(), Failure> {
    let failure = |kind, message: &str| Err(Failure::new(kind, message));
    match ceremony.status(now) {
        CeremonyStatus::Confirmed | CeremonyStatus::Running => Ok(()),
        CeremonyStatus::Proposed => {
            failure(ErrorKind::NeedsApproval, "A second person has to confirm this ceremony first.")
        }
        CeremonyStatus::Expired => failure(ErrorKind::Expired, "This ceremony was not run in time: propose it anew."),
        CeremonyStatus::Cancelled => failure(ErrorKind::Conflict, "This ceremony was cancelled."),
        CeremonyStatus::Done => failure(ErrorKind::Conflict, "This ceremony is done."),
    }
}

/// Refuses a rotation whose key is in use and is not the newest of the vault: seeds may be sealed under the newer one, which
/// is not its to destroy.
fn check_newest(state: &State, ceremony: &Ceremony) -> Result<(), Failure> {
    let own = ceremony.new_key.filter(|number| state.vault_keys.contains_key(&(ceremony.vault, *number)));
    let newest = state.newest_vault_key(ceremony.vault).map(|row| row.key.number);
    if own.is_some() && own != newest {
        let message = "The vault has a newer key than this ceremony's: propose it anew.";
        return Err(Failure::new(ErrorKind::Conflict, message));
    }
    Ok(())
}

/// A running ceremony, found again for its next step.
fn step(tx: &Tx<'_>, caller: &Caller, event: &'static str, ceremony: &Ceremony) -> Result<(Ceremony, Draft), Refusal> {
    let current = find(tx, caller, event, ceremony.id)?;
    let draft = draft(tx, caller, event, &current);
    let refused = |failure| refuse(&current, draft.clone(), failure);
    check_ready(&current, tx.now).map_err(refused)?;
    alive(&tx.state, &current, tx.now).map_err(refused)?;
    check_newest(&tx.state, &current).map_err(refused)?;
    let party = current.has_party(caller.identity());
    let operation = Operation::CeremonyRun { party, gives: current.gives_seeds() };
    let terms = caller
        .may_in(&tx.state, current.vault, operation, tx.now)
        .map_err(|denial| caller.refused(&tx.state, denial, Some(current.vault), draft.clone()))?;
    let mut draft = draft;
    draft.grant = terms.grant;
    Ok((current, draft))
}

/// Records that a step was allowed and did not happen.
///
/// # Errors
/// Only if it cannot be written down.
pub fn failed(
    tx: &mut Tx<'_>,
    caller: &Caller,
    ceremony: &Ceremony,
    failure: &Failure,
) -> Result<((), Receipt), Refusal> {
    let mut draft = draft(tx, caller, "ceremony.run", ceremony).detail("kind", failure.kind.as_str());
    draft.outcome = RecordOutcome::Failed;
    let receipt = tx.append(LogId::Vault(ceremony.vault), draft)?;
    Ok(((), receipt))
}
