//! Commands of the ceremonies at the host: a store onto another token, the emergency admin, backups and drills. Nobody is
//! logged in there; each record says by what it was allowed.

use jiff::Timestamp;
use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{AccountId, IdentityId, VaultId};
use strongroom_proto::method::Receipt;
use strongroom_proto::words::{IdentityKind, IdentityStatus, OrgRole};

use super::about_identity;
use super::identity::{By, NewIdentity, check_key_unused, place_identity};
use crate::state::LogId;
use crate::state::rows::{Identity, IdentityNames, Key, Org, SealedSeedRow, VaultKeyRow};
use crate::store::tx::{Draft, Refusal, Tx};

/// Who approved a recovery, and how.
#[derive(Clone, Debug)]
pub struct Approved {
    /// Who.
    pub identity: IdentityId,
    /// The key that signed.
    pub fingerprint: String,
    /// The armoured signature.
    pub signature: String,
}

/// What a recovery begins with.
#[derive(Clone, Debug)]
pub struct Begin {
    /// The agent identity key in the new token, OpenSSH text.
    pub agent_key: String,
    /// The token that the store came from.
    pub old_token: String,
    /// The token it goes to.
    pub new_token: String,
    /// What was approved, word for word.
    pub plan: String,
    /// By whom: checked by the caller against this state.
    pub approvals: Vec<Approved>,
}

/// Takes the new agent identity key, and records who approved.
///
/// # Errors
/// Only if it cannot be written down.
pub fn begin(tx: &mut Tx<'_>, begin: &Begin) -> Result<((), Receipt), Refusal> {
    let draft = Draft::new("store.recover")
        .detail("old_agent_key", tx.state.org.agent_key.clone())
        .detail("new_agent_key", begin.agent_key.clone())
        .detail("old_token", begin.old_token.clone())
        .detail("new_token", begin.new_token.clone());
    let draft = with_approvals(draft, &begin.plan, &begin.approvals);
    tx.put(Org { agent_key: begin.agent_key.clone(), ..tx.state.org.clone() })?;
    let receipt = tx.append(LogId::Org, draft)?;
    Ok(((), receipt))
}

/// Puts a plan, and who approved it with which signature, into a record.
pub(super) fn with_approvals(draft: Draft, plan: &str, approvals: &[Approved]) -> Draft {
    const TEXTS: [&str; 2] = ["approval.1", "approval.2"];
    let mut draft = draft.detail("approvals", approvals.len()).text("plan", plan);
    if approvals.len() < 2 {
        draft = draft.detail("sole_admin", 1);
    }
    for ((approved, text), place) in approvals.iter().zip(TEXTS).zip(["1", "2"]) {
        draft = draft
            .detail(&format!("approver_{place}"), approved.identity.to_string())
            .detail(&format!("approver_key_{place}"), approved.fingerprint.clone())
            .text(text, approved.signature.clone());
    }
    draft
}

/// Takes a vault key in the new token.
///
/// # Errors
/// Only if it cannot be written down.
pub fn vault_key(tx: &mut Tx<'_>, row: &VaultKeyRow) -> Result<((), Receipt), Refusal> {
    let draft = Draft::new("vault.key_made")
        .detail("key", row.key.label.clone())
        .detail("scheme", row.key.scheme.as_str())
        .detail("cause", "store.recover");
    let log = LogId::Vault(row.key.vault);
    tx.put(VaultKeyRow { created_at: tx.now, ..row.clone() })?;
    let receipt = tx.append(log, draft)?;
    Ok(((), receipt))
}

/// Puts seeds that the new token sealed in the place of those that the old one had.
///
/// # Errors
/// Only if it cannot be written down.
pub fn resealed(tx: &mut Tx<'_>, vault: VaultId, seeds: &[SealedSeedRow]) -> Result<((), Receipt), Refusal> {
    let mut receipt = None;
    for seed in seeds {
        if let Some(old) = tx.state.seeds.get(&seed.account).cloned() {
            tx.delete(&old);
        }
        tx.put(seed.clone())?;
    }
    for seed in seeds {
        let mut draft =
            Draft::new("account.reseal").detail("scheme", seed.sealed.scheme.as_str()).detail("cause", "store.recover");
        draft.target.account = Some(seed.account);
        receipt = Some(tx.append(LogId::Vault(vault), draft)?);
    }
    receipt.map(|receipt| ((), receipt)).ok_or_else(|| nothing().into())
}

/// Records accounts whose seed is lost: the old token had it, and there is no usable recovery copy.
///
/// # Errors
/// Only if it cannot be written down.
pub fn lost(tx: &mut Tx<'_>, vault: VaultId, accounts: &[AccountId]) -> Result<((), Receipt), Refusal> {
    let mut receipt = None;
    for account in accounts {
        let mut draft = Draft::new("account.reseal").detail("cause", "store.recover").detail("kind", "no_copy");
        draft.outcome = RecordOutcome::Failed;
        draft.target.account = Some(*account);
        receipt = Some(tx.append(LogId::Vault(vault), draft)?);
    }
    receipt.map(|receipt| ((), receipt)).ok_or_else(|| nothing().into())
}

/// Records the end of a recovery.
///
/// # Errors
/// Only if it cannot be written down.
pub fn finished(tx: &mut Tx<'_>, accounts: u64, lost: u64) -> Result<((), Receipt), Refusal> {
    let draft = Draft::new("store.recovered").detail("accounts", accounts).detail("lost", lost);
    let receipt = tx.append(LogId::Org, draft)?;
    Ok(((), receipt))
}

/// Makes somebody an admin by the recovery key alone, at the host: a new identity, or a key and the role for one that is
/// active. Marked in every record it leaves.
///
/// # Errors
/// `conflict` if the key was ever enrolled, or the identity was revoked.
pub fn emergency_admin(
    tx: &mut Tx<'_>,
    names: &IdentityNames,
    key: &Key,
    recipient: &str,
) -> Result<(IdentityId, Receipt), Refusal> {
    const EVENT: &str = "emergency.admin";
    let known = tx.state.identity(&names.slug).cloned();
    let id = known.as_ref().map_or_else(IdentityId::random, |identity| identity.id);
    check_key_unused(tx, id, &key.fingerprint)?;
    let draft = Draft::new(EVENT).detail("recovery_recipient", recipient).detail("unconfirmed", 1);
    let Some(identity) = known else {
        let new = NewIdentity {
            id,
            names: names.clone(),
            kind: IdentityKind::Technician,
            roles: vec![OrgRole::Admin],
            until: None,
            service: None,
            key: key.clone(),
        };
        return place_identity(tx, &new, By::HOST, draft);
    };
    if identity.status == IdentityStatus::Revoked {
        let message = format!("{} was revoked, which is for ever: choose another name.", names.slug);
        return Err(Failure::new(ErrorKind::Conflict, message).into());
    }
    let mut draft = about_identity(draft, &identity).detail("kind", identity.kind.as_str()).detail("roles", "admin");
    draft.target.key = Some(key.fingerprint.clone());
    let now = tx.now;
    if !identity.roles.contains(&OrgRole::Admin) {
        let roles = [identity.roles.as_slice(), &[OrgRole::Admin]].concat();
        tx.put(Identity { roles, vetted: true, ..identity })?;
    }
    tx.put(Key { identity: id, added_at: now, ..key.clone() })?;
    let receipt = tx.append(LogId::Org, draft)?;
    Ok((id, receipt))
}

/// Records a backup that was made, or that failed with a reason.
///
/// # Errors
/// Only if it cannot be written down.
pub fn backup(tx: &mut Tx<'_>, made: Result<&(String, u64), &str>) -> Result<((), Receipt), Refusal> {
    let draft = match made {
        Ok((sha256, size)) => Draft::new("backup.made").detail("sha256", sha256.clone()).detail("size", *size),
        Err(reason) => {
            let mut draft = Draft::new("backup.failed").text("reason", reason.chars().take(500).collect::<String>());
            draft.outcome = RecordOutcome::Failed;
            draft
        }
    };
    let receipt = tx.append(LogId::Org, draft)?;
    Ok(((), receipt))
}

/// What evidence of a drill says.
#[derive(Clone, Debug)]
pub struct DrillSeen {
    /// Whether everything that was compared was right.
    pub passed: bool,
    /// SHA-256 of the evidence, 64 hex digits.
    pub evidence_sha256: String,
    /// SHA-256 of the backup, 64 hex digits.
    pub backup_sha256: String,
    /// When the drill was.
    pub made_at: Timestamp,
    /// Accounts that were compared.
    pub compared: u64,
}

/// Records a drill whose evidence this agent signed.
///
/// # Errors
/// Only if it cannot be written down.
pub fn drill(tx: &mut Tx<'_>, seen: &DrillSeen) -> Result<((), Receipt), Refusal> {
    let mut draft = Draft::new(if seen.passed { "drill.passed" } else { "drill.failed" })
        .detail("evidence_sha256", seen.evidence_sha256.clone())
        .detail("backup_sha256", seen.backup_sha256.clone())
        .detail("made_at", seen.made_at.to_string())
        .detail("compared", seen.compared);
    if !seen.passed {
        draft.outcome = RecordOutcome::Failed;
    }
    let receipt = tx.append(LogId::Org, draft)?;
    Ok(((), receipt))
}

fn nothing() -> Failure {
    Failure::new(ErrorKind::InvalidParams, "There is nothing to do.")
}
