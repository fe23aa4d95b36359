//! `identity.report`: what somebody has, took, brought in and vouched for. The answer to "what do we do now that they leave?".

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{AccountAddress, AccountId, IdentityId, VaultId};
use strongroom_proto::method::identity as wire;
use strongroom_proto::words::RequestKind;

use super::audit::blocking;
use super::identity::key_item;
use super::{Agent, Answer, Connection};
use crate::commands::identity as command;
use crate::commands::request::slug;
use crate::state::rows::Holder;
use crate::state::{LogId, State};
use crate::store::StoreError;
use crate::store::sqlite::{Store, StoredRecord};

/// Days that are looked back when nobody says.
const DAYS: u32 = 90;
/// Most days.
const DAYS_MAX: u32 = 366;
/// Approvals and confirmations of one report.
const VOUCHED_MAX: usize = 500;

pub(super) async fn report(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::Report,
) -> Result<Answer<wire::Reported>, Failure> {
    let caller = connection.caller(agent)?;
    let days = params.days.unwrap_or(DAYS);
    if days == 0 || days > DAYS_MAX {
        return Err(Failure::new(ErrorKind::InvalidParams, format!("days is 1 to {DAYS_MAX}.")));
    }
    let who = params.identity.clone();
    let durable = agent.store.submit(move |tx| command::report(tx, &caller, &who, days)).await?;
    let (id, receipt) = durable.into_parts();
    let view = agent.store.view();
    let since = agent.now().checked_sub(SignedDuration::from_hours(i64::from(days) * 24)).unwrap_or(Timestamp::MIN);
    let logs: Vec<LogId> = view.heads.keys().copied().collect();
    let store = agent.store.clone();
    let done = blocking(move || look_through(&store, &logs, id, since)).await?;
    let identity = view.identities.get(&id).ok_or_else(Failure::not_found)?;
    let break_glass = view.requests.values().filter(|request| {
        request.requester == id && request.kind == RequestKind::BreakGlass && request.created_at >= since
    });
    Ok(wire::Reported {
        identity: params.identity,
        id,
        status: identity.status,
        since,
        logins: done.logins,
        keys: view.keys_of(id).map(key_item).collect(),
        grants: grants(&view, id, since),
        codes: done.codes(&view),
        knows: knows(&view, id),
        vouched: vouched(&view, id, since),
        break_glass: break_glass.count() as u64,
        receipt,
    }
    .into())
}

/// What the logs say of somebody.
#[derive(Default)]
struct Done {
    logins: u64,
    taken: BTreeMap<(VaultId, AccountId), Taken>,
}

/// The codes of one account, which come newest first.
struct Taken {
    name: Option<String>,
    releases: u64,
    first: Timestamp,
    last: Timestamp,
}

impl Done {
    fn codes(self, view: &State) -> Vec<wire::ReportedCodes> {
        let line = |((vault, account), taken): ((VaultId, AccountId), Taken)| {
            let named = view.accounts.get(&account).map(|account| account.names.slug.to_string());
            Some(wire::ReportedCodes {
                vault: view.vaults.get(&vault)?.names.slug.clone(),
                account: named.or(taken.name).unwrap_or_else(|| account.to_string()),
                releases: taken.releases,
                first: taken.first,
                last: taken.last,
            })
        };
        let mut codes: Vec<wire::ReportedCodes> = self.taken.into_iter().filter_map(line).collect();
        codes.sort_by(|one, other| (&one.vault, &one.account).cmp(&(&other.vault, &other.account)));
        codes
    }

    fn note(&mut self, log: LogId, identity: IdentityId, stored: &StoredRecord) {
        let Ok(record) = serde_json::from_str::<Record>(&stored.record) else { return };
        let theirs = record.actor.is_some_and(|actor| actor.identity == identity);
        if !theirs || record.outcome != RecordOutcome::Ok {
            return;
        }
        match (log, record.event.as_str(), record.target.account) {
            (LogId::Org, "session.login", _) => self.logins += 1,
            (LogId::Vault(vault), "code.release", Some(account)) => {
                let name = stored.openings.iter().find(|opening| opening.field == "account.name");
                let taken = self.taken.entry((vault, account)).or_insert_with(|| Taken {
                    name: name.map(|opening| opening.value.clone()),
                    releases: 0,
                    first: record.ts,
                    last: record.ts,
                });
                taken.releases += 1;
                taken.first = record.ts;
            }
            _ => {}
        }
    }
}

/// The members of a record that are needed here.
#[derive(Deserialize)]
struct Record {
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

fn look_through(store: &Store, logs: &[LogId], identity: IdentityId, since: Timestamp) -> Result<Done, StoreError> {
    let mut done = Done::default();
    let needle = identity.to_string();
    for log in logs {
        store.readers().newest(*log, since, &needle, |stored| {
            done.note(*log, identity, &stored);
            true
        })?;
    }
    Ok(done)
}

/// What they hold by themselves or by a group, and what of their own ended within the time of the report.
fn grants(view: &State, id: IdentityId, since: Timestamp) -> Vec<wire::ReportedGrant> {
    let held = view.grants_for(id);
    let ended = view
        .grants
        .values()
        .filter(|grant| grant.holder == Holder::Identity(id) && grant.ended_at.is_some_and(|ended| ended >= since));
    let line = |grant: &crate::state::rows::Grant| {
        let group = match grant.holder {
            Holder::Identity(_) => None,
            Holder::Group(group) => view.groups.get(&group).map(|group| group.names.slug.clone()),
        };
        Some(wire::ReportedGrant {
            grant: grant.id,
            vault: view.vaults.get(&grant.vault)?.names.slug.clone(),
            role: grant.role,
            group,
            until: grant.until,
            ended_at: grant.ended_at,
        })
    };
    let mut lines: Vec<wire::ReportedGrant> = held.chain(ended).filter_map(line).collect();
    lines.sort_by(|one, other| (&one.vault, one.grant).cmp(&(&other.vault, other.grant)));
    lines
}

/// The seeds they know, and those they are on the rotation list for.
fn knows(view: &State, id: IdentityId) -> Vec<wire::ReportedSeed> {
    let line = |(vault, account, cause): (VaultId, AccountId, _)| {
        let address = AccountAddress {
            vault: view.vaults.get(&vault)?.names.slug.clone(),
            account: view.accounts.get(&account)?.names.slug.clone(),
        };
        let listed = view.rotations.contains_key(&(vault, account));
        Some(wire::ReportedSeed { account: address, cause, listed })
    };
    let mut lines: Vec<wire::ReportedSeed> = view.seeds_known_to(id).into_iter().filter_map(line).collect();
    lines.sort_by(|one, other| one.account.cmp(&other.account));
    lines
}

fn vouched(view: &State, id: IdentityId, since: Timestamp) -> Vec<wire::ReportedVouch> {
    let approvals = view.requests.values().flat_map(|request| {
        let own = request.approvals.iter().filter(|approval| approval.identity == id && approval.at >= since);
        own.map(|approval| wire::ReportedVouch {
            what: "request".to_owned(),
            id: request.id.to_string(),
            for_identity: slug(view, request.requester),
            at: approval.at,
        })
    });
    let confirmed = view.pendings.values().filter_map(|pending| {
        let at = pending.decided_at.filter(|at| *at >= since)?;
        (pending.decided_by == Some(id)).then(|| wire::ReportedVouch {
            what: "pending".to_owned(),
            id: pending.id.to_string(),
            for_identity: pending.identity.and_then(|identity| slug(view, identity)),
            at,
        })
    });
    let mut lines: Vec<wire::ReportedVouch> = approvals.chain(confirmed).collect();
    lines.sort_by_key(|line| std::cmp::Reverse(line.at));
    lines.truncate(VOUCHED_MAX);
    lines
}
