//! Before a ceremony begins: proposed by one person, confirmed by another, or taken back.

use jiff::SignedDuration;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{CeremonyId, Slug, VaultId};
use strongroom_proto::method::Receipt;
use strongroom_proto::method::ceremony::LIFE_S;
use strongroom_proto::words::{CeremonyKind, CeremonyStatus, OrgRole, Scheme};

use super::super::{Caller, find_vault};
use super::{Signed, alive, check_copies, dead, draft, find, refuse, under_way};
use crate::access::Operation;
use crate::keystore::VaultKey;
use crate::recovery::ClientRecipient;
use crate::state::LogId;
use crate::state::ceremony::{Ceremony, CeremonyNames, Party};
use crate::store::tx::{Refusal, Tx};

/// What is proposed.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// To which vault.
    pub vault: Slug,
    /// What.
    pub kind: CeremonyKind,
    /// The scheme of the new key; the vault's own when absent.
    pub scheme: Option<Scheme>,
    /// The client's own key.
    pub recipient: Option<ClientRecipient>,
    /// Why.
    pub reason: String,
    /// Ticket number.
    pub ticket: Option<String>,
}

/// Proposes a ceremony: it waits for a second person.
///
/// # Errors
/// The refusal; `conflict` if another one is under way in the vault or recovery copies are missing.
pub fn propose(
    tx: &mut Tx<'_>,
    caller: &Caller,
    proposal: &Proposal,
    signed: &Signed,
) -> Result<(Ceremony, Receipt), Refusal> {
    const EVENT: &str = "ceremony.propose";
    let vault = find_vault(tx, caller, EVENT, &proposal.vault)?;
    let now = tx.now;
    let log = LogId::Vault(vault.id);
    let asked = caller.draft(&tx.state, EVENT).detail("ceremony_kind", proposal.kind.as_str());
    let terms = caller
        .may_in(&tx.state, vault.id, Operation::CeremonyPropose { gives: proposal.kind == CeremonyKind::HandOver }, now)
        .map_err(|denial| caller.refused(&tx.state, denial, Some(vault.id), asked))?;
    if let Some(other) = under_way(&tx.state, vault.id, now) {
        let message = format!("The ceremony {} of this vault is under way: finish or cancel it first.", other.id);
        return Err(Failure::new(ErrorKind::Conflict, message).into());
    }
    check_copies(&tx.state, proposal.kind, vault.id)?;
    bury(tx, caller, vault.id, proposal.kind)?;
    let own_scheme = tx.state.policies.get(&vault.id).map(|policy| policy.scheme);
    let mut ceremony = Ceremony {
        id: CeremonyId::random(),
        vault: vault.id,
        kind: proposal.kind,
        scheme: (proposal.kind == CeremonyKind::RotateKey).then_some(proposal.scheme.or(own_scheme)).flatten(),
        recipient: proposal.recipient.as_ref().map(ToString::to_string),
        proposer: Party { identity: caller.identity(), key: caller.actor.key.clone() },
        confirmer: None,
        created_at: now,
        expires_at: now.checked_add(SignedDuration::from_secs(LIFE_S)).unwrap_or(now),
        digest: String::new(),
        state: CeremonyStatus::Proposed,
        new_key: None,
        retiring: false,
        names: CeremonyNames { reason: proposal.reason.clone(), ticket: proposal.ticket.clone(), certificate: None },
    };
    ceremony.digest = ceremony
        .content()
        .digest()
        .ok_or_else(|| Failure::new(ErrorKind::Internal, "The ceremony cannot be written down."))?;
    tx.put(ceremony.clone())?;
    let mut draft = signed
        .note(draft(tx, caller, EVENT, &ceremony))
        .detail("expires_at", ceremony.expires_at.to_string())
        .text("reason", proposal.reason.as_str())
        .maybe_text("ticket", proposal.ticket.as_deref());
    if let Some(scheme) = ceremony.scheme {
        draft = draft.detail("scheme", scheme.as_str());
    }
    if let Some(recipient) = &proposal.recipient {
        draft = draft.detail("recipient", recipient.fingerprint());
    }
    draft.grant = terms.grant;
    let receipt = tx.append(log, draft)?;
    Ok((ceremony, receipt))
}

/// Cancels what is dead in a vault: a right that is given back must not bring an old ceremony back beside a new one.
fn bury(tx: &mut Tx<'_>, caller: &Caller, vault: VaultId, proposed: CeremonyKind) -> Result<(), Refusal> {
    let dead: Vec<Ceremony> = dead(&tx.state, vault, tx.now).cloned().collect();
    let destroys =
        |ceremony: &&Ceremony| ceremony.kind == CeremonyKind::Destroy && ceremony.state == CeremonyStatus::Running;
    if let Some(begun) = dead.iter().find(destroys).filter(|_| proposed != CeremonyKind::Destroy) {
        let message = format!(
            "The destruction {} of this vault has begun, and its people lost the right to it: propose to destroy the \
             vault anew, or have an admin cancel it.",
            begun.id
        );
        return Err(Failure::new(ErrorKind::Conflict, message).into());
    }
    for ceremony in dead {
        let draft = draft(tx, caller, "ceremony.cancel", &ceremony).detail("dead", 1);
        tx.put(Ceremony { state: CeremonyStatus::Cancelled, ..ceremony })?;
        tx.append(LogId::Vault(vault), draft)?;
    }
    Ok(())
}

/// Confirms a ceremony of somebody else.
///
/// # Errors
/// The refusal; `denied` for one's own or a dead one, `expired`, `conflict` if it is not waiting or the digest is that of
/// something else.
pub fn confirm(
    tx: &mut Tx<'_>,
    caller: &Caller,
    id: CeremonyId,
    digest: &str,
    signed: &Signed,
) -> Result<((), Receipt), Refusal> {
    const EVENT: &str = "ceremony.confirm";
    let ceremony = find(tx, caller, EVENT, id)?;
    let (vault, now) = (ceremony.vault, tx.now);
    let draft = draft(tx, caller, EVENT, &ceremony);
    let own = ceremony.proposer.identity == caller.identity();
    let terms = caller
        .may_in(&tx.state, vault, Operation::CeremonyConfirm { own, gives: ceremony.gives_seeds() }, now)
        .map_err(|denial| caller.refused(&tx.state, denial, Some(vault), draft.clone()))?;
    let refused = |kind, message: &str| Err(refuse(&ceremony, draft.clone(), Failure::new(kind, message)));
    match ceremony.status(now) {
        CeremonyStatus::Proposed => {}
        CeremonyStatus::Expired => return refused(ErrorKind::Expired, "This ceremony was not confirmed in time."),
        _ => return refused(ErrorKind::Conflict, "This ceremony does not wait for anybody."),
    }
    alive(&tx.state, &ceremony, now).map_err(|failure| refuse(&ceremony, draft.clone(), failure))?;
    if digest != ceremony.digest {
        return refused(ErrorKind::Conflict, "This is not what was proposed: read the ceremony again.");
    }
    let confirmer = Party { identity: caller.identity(), key: caller.actor.key.clone() };
    tx.put(Ceremony { confirmer: Some(confirmer), state: CeremonyStatus::Confirmed, ..ceremony.clone() })?;
    let mut draft = signed.note(draft);
    draft.grant = terms.grant;
    let receipt = tx.append(LogId::Vault(vault), draft)?;
    Ok(((), receipt))
}

/// Takes back a ceremony that has not begun; or, as an admin, a destruction that is dead and has destroyed nothing, which
/// leaves its vault frozen. `held` are keys of its vault that the token was just seen to hold.
///
/// # Errors
/// The refusal; `conflict` once it has begun or is over.
pub fn cancel(
    tx: &mut Tx<'_>,
    caller: &Caller,
    id: CeremonyId,
    reason: Option<&str>,
    held: &[VaultKey],
) -> Result<((), Receipt), Refusal> {
    const EVENT: &str = "ceremony.cancel";
    let ceremony = find(tx, caller, EVENT, id)?;
    let (vault, now) = (ceremony.vault, tx.now);
    let draft = draft(tx, caller, EVENT, &ceremony);
    let terms = caller
        .may_in(&tx.state, vault, Operation::CeremonyCancel, now)
        .map_err(|denial| caller.refused(&tx.state, denial, Some(vault), draft.clone()))?;
    match ceremony.status(now) {
        CeremonyStatus::Proposed | CeremonyStatus::Confirmed | CeremonyStatus::Expired => {}
        CeremonyStatus::Running
            if ceremony.kind == CeremonyKind::Destroy && alive(&tx.state, &ceremony, now).is_err() =>
        {
            if !caller.holds(&tx.state, OrgRole::Admin) {
                let message = "This destruction has begun: only an admin may cancel it now.";
                return Err(refuse(&ceremony, draft, Failure::new(ErrorKind::Denied, message)));
            }
            let second = tx.state.second_keys_of(vault).map(|row| &row.key);
            if !tx.state.vault_keys_of(vault).map(|row| &row.key).chain(second).all(|key| held.contains(key)) {
                let message = "A key of the vault may be destroyed already: propose to destroy the vault anew.";
                return Err(refuse(&ceremony, draft, Failure::new(ErrorKind::Conflict, message)));
            }
        }
        CeremonyStatus::Running => {
            let message = "This ceremony has begun and has to be finished: run it again.";
            return Err(refuse(&ceremony, draft, Failure::new(ErrorKind::Conflict, message)));
        }
        CeremonyStatus::Done | CeremonyStatus::Cancelled => {
            return Err(refuse(&ceremony, draft, Failure::new(ErrorKind::Conflict, "This ceremony is over.")));
        }
    }
    tx.put(Ceremony { state: CeremonyStatus::Cancelled, ..ceremony })?;
    let mut draft = draft.maybe_text("reason", reason);
    draft.grant = terms.grant;
    let receipt = tx.append(LogId::Vault(vault), draft)?;
    Ok(((), receipt))
}
