//! Commands on incidents. Freezing and suspending are those of everybody, with their checks and records; an incident does all
//! of it in one commit, or none.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{AccountId, IdentityId, IncidentId, Slug, VaultId};
use strongroom_proto::method::Receipt;
use strongroom_proto::words::{IdentityStatus, OrgRole};

use super::identity::{find, resume, suspend};
use super::vault::set_frozen;
use super::{Caller, find_vault};
use crate::access::Operation;
use crate::state::LogId;
use crate::state::alert::Answer;
use crate::state::incident::{Incident, IncidentNames};
use crate::store::tx::{Draft, Refusal, Tx};

/// Incidents that are open at once: each record may have to name all of them.
const OPEN_MAX: usize = 10;
/// Accounts that one record names: a record has to fit a page.
const RECORD_LEN: usize = 200;

/// Opens an incident: freezes the vaults and suspends the people that are not yet.
///
/// # Errors
/// The refusal of any part of it; `conflict` if too many are open.
pub fn open(
    tx: &mut Tx<'_>,
    caller: &Caller,
    id: IncidentId,
    vaults: &[Slug],
    people: &[Slug],
    reason: &str,
) -> Result<(Incident, Receipt), Refusal> {
    const EVENT: &str = "incident.open";
    let now = tx.now;
    let draft = caller.draft(&tx.state, EVENT).text("reason", reason);
    let _terms = caller
        .may(&tx.state, Operation::IncidentManage, now)
        .map_err(|denial| caller.refused(&tx.state, denial, None, draft.clone()))?;
    if tx.state.open_incidents.len() >= OPEN_MAX {
        let message = format!("{OPEN_MAX} incidents are open: close one first.");
        return Err(Failure::new(ErrorKind::Conflict, message).into());
    }
    let (mut to_freeze, mut to_suspend) = (Vec::new(), Vec::new());
    let (mut of_vaults, mut of_people) = (BTreeSet::new(), BTreeSet::new());
    for slug in vaults {
        let vault = find_vault(tx, caller, EVENT, slug)?;
        // What does not match its log gives nothing and takes no record; what is frozen is.
        let frozen = tx.state.policies.get(&vault.id).is_none_or(|policy| policy.frozen);
        if of_vaults.insert(vault.id) && !frozen && tx.check_whole(LogId::Vault(vault.id)).is_ok() {
            to_freeze.push((vault.id, slug));
        }
    }
    for slug in people {
        let identity = find(tx, caller, EVENT, slug, caller.holds(&tx.state, OrgRole::Admin))?;
        let acts = matches!(identity.status, IdentityStatus::Active | IdentityStatus::Held);
        if of_people.insert(identity.id) && acts {
            to_suspend.push((identity.id, slug));
        }
    }
    let incident = Incident {
        id,
        opened_at: now,
        opened_by: caller.identity(),
        vaults: of_vaults.into_iter().collect(),
        people: of_people.into_iter().collect(),
        froze: to_freeze.iter().map(|(vault, _)| *vault).collect(),
        suspended: to_suspend.iter().map(|(identity, _)| *identity).collect(),
        closed: None,
        names: IncidentNames { reason: reason.to_owned(), note: None },
    };
    // First the incident: then what stops things names it already.
    let draft = draft
        .detail("incident", id.to_string())
        .detail("vaults", joined(&incident.vaults))
        .detail("people", joined(&incident.people));
    tx.put(incident.clone())?;
    let receipt = tx.append(LogId::Org, draft)?;
    for (_, slug) in to_freeze {
        set_frozen(tx, caller, slug, true, reason)?;
    }
    for (_, slug) in to_suspend {
        suspend(tx, caller, slug, reason)?;
    }
    Ok((incident, receipt))
}

fn joined(ids: &[impl ToString]) -> String {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    ids.join(" ")
}

/// How an incident is to be closed.
#[derive(Clone, Debug)]
pub struct Closing {
    /// Which.
    pub incident: IncidentId,
    /// What came of it.
    pub note: String,
    /// Whether to thaw what it froze.
    pub thaw: bool,
    /// Whether to resume whom it suspended.
    pub resume: bool,
    /// From when on releases were looked at.
    pub since: Timestamp,
    /// What has to be replaced.
    pub rotate: Vec<(VaultId, AccountId)>,
}

/// What became of it.
#[derive(Clone, Debug)]
pub struct Closed {
    /// The incident.
    pub incident: Incident,
    /// Vaults that were thawed.
    pub thawed: Vec<VaultId>,
    /// People who were resumed.
    pub resumed: Vec<IdentityId>,
}

/// Refuses whoever may not close an incident, on record.
///
/// # Errors
/// The refusal; `not_found` if there is none, `conflict` if it is closed.
pub fn check_close(tx: &Tx<'_>, caller: &Caller, id: IncidentId) -> Result<Incident, Refusal> {
    let draft = caller.draft(&tx.state, "incident.close").detail("closes", id.to_string());
    let _terms = caller
        .may(&tx.state, Operation::IncidentManage, tx.now)
        .map_err(|denial| caller.refused(&tx.state, denial, None, draft))?;
    let incident = tx.state.incidents.get(&id).cloned();
    let incident = incident.ok_or_else(|| Failure::new(ErrorKind::NotFound, "There is no such incident."))?;
    match incident.closed {
        None => Ok(incident),
        Some(answer) => {
            let at = answer.at.strftime("%Y-%m-%d %H:%MZ");
            Err(Failure::new(ErrorKind::Conflict, format!("It was closed on {at}.")).into())
        }
    }
}

/// Closes an incident. Each vault's log says which of its accounts need a new seed.
///
/// # Errors
/// The refusal of any part of it; `conflict` if it is closed.
pub fn close(tx: &mut Tx<'_>, caller: &Caller, closing: &Closing) -> Result<(Closed, Receipt), Refusal> {
    let mut incident = check_close(tx, caller, closing.incident)?;
    let (thawed, resumed) = (thaw(tx, caller, &incident, closing)?, resume_all(tx, caller, &incident, closing)?);
    let mut by_vault: BTreeMap<VaultId, Vec<AccountId>> = BTreeMap::new();
    for (vault, account) in &closing.rotate {
        by_vault.entry(*vault).or_default().push(*account);
    }
    let since = closing.since.to_string();
    for (vault, accounts) in by_vault {
        if tx.check_whole(LogId::Vault(vault)).is_err() {
            continue;
        }
        for some in accounts.chunks(RECORD_LEN) {
            let draft = about(caller.draft(&tx.state, "incident.rotate"), incident.id)
                .detail("accounts", joined(some))
                .detail("since", since.clone());
            tx.append(LogId::Vault(vault), draft)?;
        }
    }
    let draft = about(caller.draft(&tx.state, "incident.close"), incident.id)
        .detail("closes", incident.id.to_string())
        .detail("since", since)
        .detail("rotate", closing.rotate.len())
        .detail("thawed", thawed.len())
        .detail("resumed", resumed.len())
        .text("note", closing.note.as_str());
    incident.closed = Some(Answer { identity: caller.identity(), at: tx.now });
    incident.names.note = Some(closing.note.clone());
    tx.put(incident.clone())?;
    let receipt = tx.append(LogId::Org, draft)?;
    Ok((Closed { incident, thawed, resumed }, receipt))
}

/// Names the incident that a record belongs to, beside others whose vault or people it may touch as well.
fn about(draft: Draft, id: IncidentId) -> Draft {
    draft.detail("incident", id.to_string())
}

fn thaw(tx: &mut Tx<'_>, caller: &Caller, incident: &Incident, closing: &Closing) -> Result<Vec<VaultId>, Refusal> {
    let mut thawed = Vec::new();
    for vault in incident.froze.iter().filter(|_| closing.thaw) {
        let frozen = tx.state.policies.get(vault).is_some_and(|policy| policy.frozen);
        let others = others(tx, incident);
        // Another incident that needs it frozen keeps it so, and so does its destruction.
        let wanted = others.iter().any(|other| other.vaults.contains(vault))
            || super::ceremony::is_being_destroyed(&tx.state, *vault)
            || tx.check_whole(LogId::Vault(*vault)).is_err();
        let slug = tx.state.vaults.get(vault).filter(|vault| vault.destroyed_at.is_none());
        if let Some(slug) = slug.map(|vault| vault.names.slug.clone()).filter(|_| frozen && !wanted) {
            set_frozen(tx, caller, &slug, false, &closing.note)?;
            thawed.push(*vault);
        }
    }
    Ok(thawed)
}

fn resume_all(
    tx: &mut Tx<'_>,
    caller: &Caller,
    incident: &Incident,
    closing: &Closing,
) -> Result<Vec<IdentityId>, Refusal> {
    let mut resumed = Vec::new();
    for identity in incident.suspended.iter().filter(|_| closing.resume) {
        let wanted = others(tx, incident).iter().any(|other| other.people.contains(identity));
        let found = tx.state.identities.get(identity).filter(|found| found.status == IdentityStatus::Suspended);
        if let Some(slug) = found.map(|found| found.names.slug.clone()).filter(|_| !wanted) {
            resume(tx, caller, &slug, &closing.note)?;
            resumed.push(*identity);
        }
    }
    Ok(resumed)
}

/// The other incidents that are open.
fn others(tx: &Tx<'_>, incident: &Incident) -> Vec<Incident> {
    let open = tx.state.open_incidents.keys().filter(|id| **id != incident.id);
    open.filter_map(|id| tx.state.incidents.get(id)).cloned().collect()
}
