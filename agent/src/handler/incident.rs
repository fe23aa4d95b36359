//! `incident.*`.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{AccountAddress, AccountId, IdentityId, IncidentId, Slug, VaultId};
use strongroom_proto::method::Receipt;
use strongroom_proto::method::incident as wire;
use strongroom_proto::words::{IdentityStatus, IncidentCause};

use super::audit::blocking;
use super::identity::cut_off;
use super::{Agent, Answer, Connection};
use crate::access::Operation;
use crate::commands::request::slug;
use crate::commands::{Caller, REASON_LEN_MAX, check_some_text, incident as command};
use crate::state::incident::Incident;
use crate::state::{LogId, State};
use crate::store::StoreError;
use crate::store::sqlite::Store;
use crate::store::tx::origin;

/// Accounts of one answer.
const ROTATE_MAX: usize = 1_000;

pub(super) async fn open(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::Open,
) -> Result<Answer<wire::Opened>, Failure> {
    let caller = connection.caller(agent)?;
    check_some_text("reason", &params.reason, REASON_LEN_MAX)?;
    let involved = params.vaults.len() + params.people.len();
    if involved == 0 || involved > wire::INVOLVED_MAX {
        let message = format!("Name 1 to {} vaults and people.", wire::INVOLVED_MAX);
        return Err(Failure::new(ErrorKind::InvalidParams, message));
    }
    let id = IncidentId::random();
    let urgent = caller.may(&agent.store.view(), Operation::IncidentManage, agent.now()).is_ok();
    let wire::Open { reason, vaults, people } = params;
    let durable =
        agent.store.submit_as(urgent, move |tx| command::open(tx, &caller, id, &vaults, &people, &reason)).await?;
    let (incident, receipt) = durable.into_parts();
    let logs = incident.froze.iter().copied().map(LogId::Vault);
    agent.anchor(std::iter::once(LogId::Org).chain(logs).collect()).await;
    let (mut sessions, mut drained) = (0, true);
    for identity in &incident.suspended {
        let (ended, landed) = cut_off(agent, *identity, "identity suspended").await;
        sessions += ended;
        drained &= landed;
    }
    let view = agent.store.view();
    let froze = vault_slugs(&view, &incident.froze);
    let suspended = people_slugs(&view, &incident.suspended);
    Ok(wire::Opened { incident: id, froze, suspended, sessions, drained, receipt }.into())
}

fn vault_slugs(view: &State, ids: &[VaultId]) -> Vec<Slug> {
    let mut slugs: Vec<Slug> =
        ids.iter().filter_map(|id| view.vaults.get(id)).map(|vault| vault.names.slug.clone()).collect();
    slugs.sort_unstable();
    slugs
}

fn people_slugs(view: &State, ids: &[IdentityId]) -> Vec<Slug> {
    let mut slugs: Vec<Slug> = ids.iter().filter_map(|id| slug(view, *id)).collect();
    slugs.sort_unstable();
    slugs
}

pub(super) async fn list(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::List,
) -> Result<Answer<wire::ListResult>, Failure> {
    let caller = connection.caller(agent)?;
    let view = agent.store.view();
    let now = agent.now();
    let mut found: Vec<&Incident> = if params.all {
        view.incidents.values().collect()
    } else {
        view.open_incidents.keys().filter_map(|id| view.incidents.get(id)).collect()
    };
    found.sort_by_key(|incident| std::cmp::Reverse((incident.opened_at, incident.id)));
    let items = found.into_iter().filter_map(|incident| item(&view, &caller, incident, now)).collect();
    Ok(wire::ListResult { items }.into())
}

pub(super) async fn show(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::Show,
) -> Result<Answer<wire::Item>, Failure> {
    let caller = connection.caller(agent)?;
    let view = agent.store.view();
    let found = view.incidents.get(&params.incident);
    match found.and_then(|incident| item(&view, &caller, incident, agent.now())) {
        Some(item) => Ok(item.into()),
        // To whom it does not concern it is one that does not exist.
        None => Err(agent.nothing_there(&caller, params.incident.to_string(), "incident.show").await),
    }
}

/// An incident as far as somebody may see it; nothing if it does not concern them.
fn item(view: &State, caller: &Caller, incident: &Incident, now: Timestamp) -> Option<wire::Item> {
    let all = caller.may(view, Operation::IncidentSee, now).is_ok();
    let sees = |vault: &&VaultId| all || caller.may_in(view, **vault, Operation::IncidentSee, now).is_ok();
    let seen: Vec<VaultId> = incident.vaults.iter().filter(sees).copied().collect();
    if !all && seen.is_empty() {
        return None;
    }
    // It stands in the logs of the vaults that were frozen for it.
    let reasoned = all || seen.iter().any(|vault| incident.froze.contains(vault));
    let mut vaults: Vec<wire::VaultState> =
        seen.iter().filter_map(|vault| vault_state(view, caller, incident, *vault, now)).collect();
    vaults.sort_by(|one, other| one.vault.cmp(&other.vault));
    let person = |identity: &IdentityId| {
        let status = view.identities.get(identity)?.status;
        let suspended = incident.suspended.contains(identity);
        Some(wire::PersonState { identity: slug(view, *identity)?, suspended, status })
    };
    Some(wire::Item {
        incident: incident.id,
        reason: reasoned.then(|| incident.names.reason.clone()),
        opened_at: incident.opened_at,
        opened_by: slug(view, incident.opened_by)?,
        closed_at: incident.closed.map(|answer| answer.at),
        closed_by: incident.closed.and_then(|answer| slug(view, answer.identity)),
        vaults,
        people: if all { incident.people.iter().filter_map(person).collect() } else { Vec::new() },
        exports_org: caller.may(view, Operation::OrgTrailRead, now).is_ok(),
    })
}

fn vault_state(
    view: &State,
    caller: &Caller,
    incident: &Incident,
    vault: VaultId,
    now: Timestamp,
) -> Option<wire::VaultState> {
    Some(wire::VaultState {
        vault: view.vaults.get(&vault)?.names.slug.clone(),
        log: origin(view, LogId::Vault(vault)).to_string(),
        froze: incident.froze.contains(&vault),
        frozen: view.policies.get(&vault).is_some_and(|policy| policy.frozen),
        exports: caller.may_in(view, vault, Operation::TrailExport, now).is_ok(),
    })
}

pub(super) async fn close(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::Close,
) -> Result<Answer<wire::Closed>, Failure> {
    let caller = connection.caller(agent)?;
    check_some_text("note", &params.note, REASON_LEN_MAX)?;
    let window_h = params.window_h.unwrap_or(wire::WINDOW_H);
    if window_h == 0 || window_h > wire::WINDOW_H_MAX {
        return Err(Failure::new(ErrorKind::InvalidParams, format!("window_h is 1 to {}.", wire::WINDOW_H_MAX)));
    }
    let view = agent.store.view();
    let may = caller.may(&view, Operation::IncidentManage, agent.now()).is_ok();
    let Some(incident) = view.incidents.get(&params.incident).filter(|found| may && found.closed.is_none()).cloned()
    else {
        // Before any log is looked through: strangers do not make the agent work.
        let id = params.incident;
        let refused = agent.store.submit(move |tx| {
            command::check_close(tx, &caller, id)?;
            Err::<((), Receipt), _>(Failure::new(ErrorKind::Conflict, "It has just been opened: try again.").into())
        });
        return Err(refused.await.err().map_or_else(Failure::not_found, Failure::from));
    };
    let window = SignedDuration::from_hours(window_h.into());
    let since = incident.opened_at.checked_sub(window).unwrap_or(Timestamp::MIN);
    let rotate = to_rotate(agent, &view, incident, since).await?;
    let closing = command::Closing {
        incident: params.incident,
        note: params.note,
        thaw: params.thaw,
        resume: params.resume,
        since,
        rotate: rotate.keys().copied().collect(),
    };
    let durable = agent.store.submit(move |tx| command::close(tx, &caller, &closing)).await?;
    let (closed, receipt) = durable.into_parts();
    let view = agent.store.view();
    let mut lines: Vec<wire::Rotate> = rotate.into_iter().filter_map(|(place, why)| line(&view, place, why)).collect();
    lines.sort_by(|one, other| one.account.cmp(&other.account));
    let total = lines.len() as u64;
    lines.truncate(ROTATE_MAX);
    let frozen = |vault: &&VaultId| view.policies.get(*vault).is_some_and(|policy| policy.frozen);
    let frozen: Vec<VaultId> = closed.incident.vaults.iter().filter(frozen).copied().collect();
    let suspended = |identity: &&IdentityId| {
        view.identities.get(*identity).is_some_and(|found| found.status == IdentityStatus::Suspended)
    };
    let suspended: Vec<IdentityId> = closed.incident.people.iter().filter(suspended).copied().collect();
    Ok(wire::Closed {
        since,
        rotate: lines,
        total,
        thawed: vault_slugs(&view, &closed.thawed),
        resumed: people_slugs(&view, &closed.resumed),
        frozen: vault_slugs(&view, &frozen),
        suspended: people_slugs(&view, &suspended),
        receipt,
    }
    .into())
}

/// Why a seed has to be replaced.
#[derive(Clone, Debug, Default)]
struct Why {
    taken: bool,
    exposed: bool,
    listed: bool,
    releases: u64,
    last: Option<Timestamp>,
}

type Reasons = BTreeMap<(VaultId, AccountId), Why>;

/// The accounts whose seeds have to be replaced. One that is gone needs none.
async fn to_rotate(agent: &Agent, view: &State, incident: Incident, since: Timestamp) -> Result<Reasons, Failure> {
    let logs: Vec<LogId> = view.heads.keys().copied().collect();
    let store = agent.store.clone();
    let (vaults, people) = (incident.vaults.clone(), incident.people.clone());
    let mut reasons = blocking(move || look_through(&store, &logs, &incident, since)).await?;
    let listed = view.rotations.values();
    for one in listed.filter(|one| vaults.contains(&one.vault) || people.contains(&one.identity)) {
        reasons.entry((one.vault, one.account)).or_default().listed = true;
    }
    reasons.retain(|(_, account), _| view.accounts.contains_key(account));
    Ok(reasons)
}

/// The members of a record that are needed here.
#[derive(Deserialize)]
struct Release {
    actor: Option<Actor>,
    event: String,
    outcome: RecordOutcome,
    #[serde(default)]
    target: Target,
    ts: Timestamp,
}

#[derive(Deserialize)]
struct Actor {
    identity: IdentityId,
}

#[derive(Default, Deserialize)]
struct Target {
    account: Option<AccountId>,
}

fn look_through(store: &Store, logs: &[LogId], incident: &Incident, since: Timestamp) -> Result<Reasons, StoreError> {
    let mut reasons = Reasons::new();
    for log in logs {
        let LogId::Vault(vault) = *log else { continue };
        let exposed = incident.vaults.contains(&vault);
        store.readers().newest(*log, since, "\"event\":\"code.release\"", |stored| {
            let Ok(release) = serde_json::from_str::<Release>(&stored.record) else { return true };
            let taken = release.actor.is_some_and(|actor| incident.people.contains(&actor.identity));
            let given = release.event == "code.release" && release.outcome == RecordOutcome::Ok;
            if let Some(account) = release.target.account.filter(|_| given && (taken || exposed)) {
                let why = reasons.entry((vault, account)).or_default();
                why.taken |= taken;
                why.exposed |= exposed;
                why.releases += 1;
                // Newest first.
                why.last.get_or_insert(release.ts);
            }
            true
        })?;
    }
    Ok(reasons)
}

fn line(view: &State, (vault, account): (VaultId, AccountId), why: Why) -> Option<wire::Rotate> {
    let causes =
        [(why.taken, IncidentCause::Taken), (why.exposed, IncidentCause::Exposed), (why.listed, IncidentCause::Listed)];
    Some(wire::Rotate {
        account: AccountAddress {
            vault: view.vaults.get(&vault)?.names.slug.clone(),
            account: view.accounts.get(&account)?.names.slug.clone(),
        },
        account_id: account,
        causes: causes.into_iter().filter(|(holds, _)| *holds).map(|(_, cause)| cause).collect(),
        releases: why.releases,
        last: why.last,
    })
}
