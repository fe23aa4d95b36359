//! Commands on policies. A stricter one holds at once; a weaker one waits for a second person. The whole change stands in the
//! record.

use jiff::Timestamp;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{IdentityId, PendingId, Slug, VaultId};
use strongroom_proto::method::Receipt;
use strongroom_proto::policy::{OrgPolicy, VaultPolicy, differences, weakened};
use strongroom_proto::words::{Assurance, OrgRole, VaultRole};

use super::pending::{Standing, note};
use super::{Caller, find_vault};
use crate::access::{Operation, hours};
use crate::state::pending::PendingChange;
use crate::state::rows::{OrgRules, Policy};
use crate::state::{LogId, State};
use crate::store::tx::{Draft, Refusal, Tx};

/// What became of a new policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Set {
    /// The change that waits for a second person, or that may be looked at later.
    pub pending: Option<PendingId>,
    /// True if the policy holds now.
    pub in_force: bool,
}

impl Set {
    const fn of(pending: Option<PendingId>, standing: Standing) -> Self {
        Self { pending, in_force: !matches!(standing, Standing::Waiting) }
    }
}

/// Gives a vault another policy. `replaces` is the one that the caller has seen.
///
/// # Errors
/// The refusal; `conflict` if the policy is another by now, is the same, or would lock everybody out.
pub fn set(
    tx: &mut Tx<'_>,
    caller: &Caller,
    slug: &Slug,
    replaces: &VaultPolicy,
    after: &VaultPolicy,
) -> Result<(Set, Receipt), Refusal> {
    const EVENT: &str = "policy.set";
    let vault = find_vault(tx, caller, EVENT, slug)?;
    let log = LogId::Vault(vault.id);
    let now = tx.now;
    let draft = caller.draft(&tx.state, EVENT);
    let _terms = caller
        .may_in(&tx.state, vault.id, Operation::PolicySet, now)
        .map_err(|denial| caller.refused(&tx.state, denial, Some(vault.id), draft.clone()))?;
    let before = tx.state.policies.get(&vault.id).map(|policy| policy.rules.clone()).ok_or_else(Failure::not_found)?;
    check_replaces(&before, replaces, after)?;
    check_vault_policy(&tx.state, Some(vault.id), after, now)?;
    let standing = if weakened(&before, after) { Standing::alone(&tx.state, caller) } else { Standing::Confirmed };
    let change = PendingChange::VaultPolicy {
        vault: vault.id,
        before: Box::new(before.clone()),
        after: Box::new(after.clone()),
    };
    let (pending, draft) = note(tx, caller, standing, change, None, whole(draft, &before, after)?)?;
    if standing != Standing::Waiting {
        replace(tx, vault.id, &before, after)?;
    }
    let receipt = tx.append(log, draft)?;
    Ok((Set::of(pending, standing), receipt))
}

/// Gives the organisation another policy. `replaces` is the one that the caller has seen.
///
/// # Errors
/// The refusal; `conflict` if the policy is another by now, is the same, or would lock everybody out.
pub fn set_org(
    tx: &mut Tx<'_>,
    caller: &Caller,
    replaces: &OrgPolicy,
    after: &OrgPolicy,
) -> Result<(Set, Receipt), Refusal> {
    const EVENT: &str = "policy.set";
    let now = tx.now;
    let draft = caller.draft(&tx.state, EVENT);
    let _terms = caller
        .may(&tx.state, Operation::OrgPolicySet, now)
        .map_err(|denial| caller.refused(&tx.state, denial, None, draft.clone()))?;
    let before = tx.state.org_policy.clone();
    check_replaces(&before, replaces, after)?;
    check_vault_policy(&tx.state, None, &after.vault, now)?;
    let standing = if weakened(&before, after) { Standing::alone(&tx.state, caller) } else { Standing::Confirmed };
    let change = PendingChange::OrgPolicy { before: Box::new(before.clone()), after: Box::new(after.clone()) };
    let (pending, draft) = note(tx, caller, standing, change, None, whole(draft, &before, after)?)?;
    if standing != Standing::Waiting {
        replace_org(tx, &before, after)?;
    }
    let receipt = tx.append(LogId::Org, draft)?;
    Ok((Set::of(pending, standing), receipt))
}

fn check_replaces<P: PartialEq>(before: &P, replaces: &P, after: &P) -> Result<(), Failure> {
    if before != replaces {
        return Err(Failure::new(ErrorKind::Conflict, "Somebody else changed the policy meanwhile: read it again."));
    }
    if before == after {
        return Err(Failure::new(ErrorKind::Conflict, "This is the policy already."));
    }
    Ok(())
}

/// Puts the whole change into its record.
fn whole<P: strongroom_proto::policy::Compare>(draft: Draft, before: &P, after: &P) -> Result<Draft, Failure> {
    let text = |policy: &P| {
        serde_json::to_string(policy)
            .map_err(|_| Failure::new(ErrorKind::Internal, "The policy cannot be written down."))
    };
    let differences = differences(before, after);
    let keys: Vec<&str> = differences.iter().map(|one| one.key.as_str()).collect();
    let weaker: Vec<&str> = differences.iter().filter(|one| one.weaker).map(|one| one.key.as_str()).collect();
    let draft = draft.detail("before", text(before)?).detail("after", text(after)?).detail("changed", keys.join(" "));
    Ok(if weaker.is_empty() { draft } else { draft.detail("weaker", weaker.join(" ")) })
}

/// Puts a vault's policy in the place of another.
///
/// # Errors
/// `conflict` if the policy is not `before` any more, or would lock everybody out by now.
pub fn replace(tx: &mut Tx<'_>, vault: VaultId, before: &VaultPolicy, after: &VaultPolicy) -> Result<(), Failure> {
    let policy = tx.state.policies.get(&vault).cloned().ok_or_else(Failure::not_found)?;
    if policy.rules != *before {
        return Err(Failure::new(ErrorKind::Conflict, "The policy was changed meanwhile: this one was not for it."));
    }
    check_vault_policy(&tx.state, Some(vault), after, tx.now)?;
    Ok(tx.put(Policy { rules: after.clone(), ..policy })?)
}

/// As [`replace`], for the organisation.
///
/// # Errors
/// As [`replace`].
pub fn replace_org(tx: &mut Tx<'_>, before: &OrgPolicy, after: &OrgPolicy) -> Result<(), Failure> {
    if tx.state.org_policy != *before {
        return Err(Failure::new(ErrorKind::Conflict, "The policy was changed meanwhile: this one was not for it."));
    }
    check_vault_policy(&tx.state, None, &after.vault, tx.now)?;
    Ok(tx.put(OrgRules { org: tx.state.org_id(), rules: after.clone() })?)
}

/// Refuses a policy under which nobody could ever do what it is for. Without a vault it is what new vaults begin with.
///
/// # Errors
/// `conflict` with what would be impossible; `invalid_params` for a time zone that the system does not know.
pub fn check_vault_policy(
    state: &State,
    vault: Option<VaultId>,
    rules: &VaultPolicy,
    now: Timestamp,
) -> Result<(), Failure> {
    hours::check_zone(rules.hours.as_ref())?;
    if !can_log_in(state, vault, rules.min_assurance, now) {
        let message = format!(
            "Nobody who could take codes has a key that reaches {}: enrol one with its attestation first.",
            rules.min_assurance
        );
        return Err(Failure::new(ErrorKind::Conflict, message));
    }
    let Some(vault) = vault else { return Ok(()) };
    let people = deciders(state, vault, rules.requests.escalates(), now).len();
    let needed = usize::from(rules.requests.approvals);
    if people < needed {
        let message =
            format!("Requests would need {needed} approvals, and there are {people} people who could give one.");
        return Err(Failure::new(ErrorKind::Conflict, message));
    }
    Ok(())
}

/// Whether somebody has a key that reaches an assurance: one of a vault's viewers, or anybody while it has none.
fn can_log_in(state: &State, vault: Option<VaultId>, least: Assurance, now: Timestamp) -> bool {
    if least == Assurance::SoftwareKey {
        return true;
    }
    let reaches = |identity: IdentityId| {
        state.identities.get(&identity).is_some_and(|found| found.is_active(now))
            && state.acting_keys_of(identity).any(|key| key.attested)
    };
    let viewers: Vec<IdentityId> = vault
        .into_iter()
        .flat_map(|vault| state.grants_of_vault(vault))
        .filter(|grant| grant.role == VaultRole::Viewer && grant.in_force(now))
        .flat_map(|grant| state.served_by(grant))
        .collect();
    if viewers.is_empty() {
        state.identities.keys().any(|identity| reaches(*identity))
    } else {
        viewers.into_iter().any(reaches)
    }
}

/// Who may decide on requests in a vault: its managers, and admins too if they may or if there is no manager.
#[must_use]
pub fn deciders(state: &State, vault: VaultId, admins: bool, now: Timestamp) -> Vec<IdentityId> {
    let active = |identity: &IdentityId| {
        state.identities.get(identity).is_some_and(|found| found.is_active(now))
            && state.acting_keys_of(*identity).next().is_some()
    };
    let mut people: Vec<IdentityId> = state
        .grants_of_vault(vault)
        .filter(|grant| grant.role == VaultRole::Manager && grant.in_force(now))
        .flat_map(|grant| state.served_by(grant))
        .filter(active)
        .collect();
    if admins || people.is_empty() {
        let admin = |found: &&crate::state::rows::Identity| found.roles.contains(&OrgRole::Admin);
        let officers = state.officers.keys().filter_map(|id| state.identities.get(id));
        people.extend(officers.filter(admin).map(|found| found.id).filter(active));
    }
    people.sort_unstable();
    people.dedup();
    people
}
