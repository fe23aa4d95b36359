//! `pending.*`: what one person did and a second has to confirm.

use jiff::{SignedDuration, Timestamp};
use strongroom_proto::error::Failure;
use strongroom_proto::ids::{IdentityId, Slug};
use strongroom_proto::method::Changed;
use strongroom_proto::method::pending as wire;
use strongroom_proto::policy::{Difference, differences};

use super::step_up::signed;
use super::{Agent, Answer, Connection};
use crate::access::Operation;
use crate::commands::pending::{self as command, may_confirm, may_decide};
use crate::commands::{Caller, REASON_LEN_MAX, check_some_text};
use crate::state::pending::{Pending, PendingChange};
use crate::state::rows::{Grant, Holder};
use crate::state::{LogId, State};

/// Changes of one list.
const LIST_MAX: usize = 500;
/// How far back decided ones are listed.
const LOOK_BACK: SignedDuration = SignedDuration::from_hours(90 * 24);

pub(super) async fn list(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::List,
) -> Result<Answer<wire::ListResult>, Failure> {
    let caller = connection.caller(agent)?;
    let view = agent.store.view();
    let now = agent.now();
    let since = now.checked_sub(LOOK_BACK).unwrap_or(Timestamp::MIN);
    let recent = |pending: &&Pending| pending.decided_at.is_none_or(|at| at >= since);
    let mut found: Vec<&Pending> = if params.all {
        view.pendings.values().filter(recent).filter(|pending| sees(&view, &caller, pending, now)).collect()
    } else {
        let open = view.open_pendings.keys().filter_map(|id| view.pendings.get(id));
        open.filter(|pending| sees(&view, &caller, pending, now)).collect()
    };
    found.sort_by_key(|pending| std::cmp::Reverse((pending.created_at, pending.id)));
    found.truncate(LIST_MAX);
    let items = found.into_iter().filter_map(|pending| item(&view, &caller, pending, now)).collect();
    Ok(wire::ListResult { items }.into())
}

/// Who may decide sees it, who did it, whom it is to serve, and who oversees what it is about.
fn sees(view: &State, caller: &Caller, pending: &Pending, now: Timestamp) -> bool {
    let oversees = match pending.change.vault() {
        Some(vault) => caller.may_in(view, vault, Operation::GrantSee, now).is_ok(),
        None => caller.may(view, Operation::PendingSee, now).is_ok(),
    };
    // A vault that they have no right in any more does not exist for them, whatever they once did there.
    let knows = pending.change.vault().is_none_or(|vault| caller.may_in(view, vault, Operation::VaultSee, now).is_ok());
    let party = pending.proposer == caller.identity() || pending.identity == Some(caller.identity());
    oversees || (party && knows) || may_decide(view, caller, pending, now).is_ok()
}

fn item(view: &State, caller: &Caller, pending: &Pending, now: Timestamp) -> Option<wire::Item> {
    Some(wire::Item {
        pending: pending.id,
        kind: pending.change.kind(),
        change: pending.content().change,
        summary: summary(view, pending),
        differences: changes(&pending.change),
        identity: pending.identity.and_then(|identity| slug(view, identity)),
        identity_id: pending.identity,
        vault: pending.change.vault().and_then(|vault| view.vaults.get(&vault)).map(|vault| vault.names.slug.clone()),
        proposer: slug(view, pending.proposer)?,
        proposer_id: pending.proposer,
        created_at: pending.created_at,
        expires_at: pending.expires_at,
        in_force: pending.in_force,
        status: pending.status(now),
        decided_by: pending.decided_by.and_then(|identity| slug(view, identity)),
        decided_at: pending.decided_at,
        digest: pending.digest.clone(),
        yours: may_decide(view, caller, pending, now).is_ok(),
    })
}

fn slug(view: &State, identity: IdentityId) -> Option<Slug> {
    view.identities.get(&identity).map(|identity| identity.names.slug.clone())
}

fn changes(change: &PendingChange) -> Vec<Difference> {
    match change {
        PendingChange::VaultPolicy { before, after, .. } => differences(before.as_ref(), after.as_ref()),
        PendingChange::OrgPolicy { before, after } => differences(before.as_ref(), after.as_ref()),
        _ => Vec::new(),
    }
}

/// What it is about, for people.
fn summary(view: &State, pending: &Pending) -> String {
    let who = pending.identity.and_then(|identity| slug(view, identity)).map_or_else(|| "?".to_owned(), String::from);
    let vault = pending.change.vault().and_then(|vault| view.vaults.get(&vault));
    let vault = vault.map_or_else(|| "?".to_owned(), |vault| vault.names.slug.to_string());
    match &pending.change {
        PendingChange::Key { fingerprint } => format!("{who} logs in with the key {fingerprint}"),
        PendingChange::Grant { grant, beyond_cap, .. } => {
            let described = view.grants.get(grant).map_or_else(String::new, |grant| describe(view, grant));
            let cap = if *beyond_cap { ", beyond the portfolio cap" } else { "" };
            format!("{described} in {vault}{cap}")
        }
        PendingChange::Member { group } => {
            let group = view.groups.get(group).map_or_else(|| "?".to_owned(), |group| group.names.slug.to_string());
            format!("{who} is in the group {group}")
        }
        PendingChange::Roles { roles } => {
            let roles: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
            format!("{who} is {} of the organisation", roles.join(" and "))
        }
        PendingChange::Certificates => {
            let principals = pending.names.clone().unwrap_or_default().join(", ");
            format!("{who} logs in by certificates for {principals}")
        }
        PendingChange::Erasure => format!("the names of {who} are erased from the trail"),
        PendingChange::VaultPolicy { .. } => format!("{vault} has a policy that allows more"),
        PendingChange::OrgPolicy { .. } => "the organisation has a policy that allows more".to_owned(),
    }
}

fn describe(view: &State, grant: &Grant) -> String {
    let holder = match grant.holder {
        Holder::Identity(identity) => slug(view, identity).map_or_else(|| "?".to_owned(), String::from),
        Holder::Group(group) => {
            let group = view.groups.get(&group).map_or_else(|| "?".to_owned(), |group| group.names.slug.to_string());
            format!("the group {group}")
        }
    };
    let accounts = match &grant.accounts {
        Some(accounts) if accounts.len() == 1 => " of one account".to_owned(),
        Some(accounts) => format!(" of {} accounts", accounts.len()),
        None => String::new(),
    };
    let until = grant.until.map_or_else(String::new, |until| format!(" until {until}"));
    format!("{holder} is {}{accounts}{until}", grant.role)
}

pub(super) async fn show(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::Show,
) -> Result<Answer<wire::Shown>, Failure> {
    let caller = connection.caller(agent)?;
    let view = agent.store.view();
    let now = agent.now();
    let found = view.pendings.get(&params.pending).filter(|pending| sees(&view, &caller, pending, now));
    let Some((pending, item)) =
        found.and_then(|pending| item(&view, &caller, pending, now).map(|item| (pending, item)))
    else {
        return Err(agent.nothing_there(&caller, params.pending.to_string(), "pending.show").await);
    };
    let may_confirm = may_confirm(&view, pending, now).into_iter().filter_map(|identity| slug(&view, identity));
    Ok(wire::Shown { item, may_confirm: may_confirm.collect() }.into())
}

pub(super) async fn confirm(
    agent: &Agent,
    connection: &mut Connection,
    mut params: wire::Confirm,
) -> Result<Answer<Changed>, Failure> {
    let caller = connection.caller(agent)?;
    let signature = signed(agent, connection, &caller, &mut params).await?;
    let durable = agent
        .store
        .submit(move |tx| command::confirm(tx, &caller, params.pending, &params.digest, params.in_person, &signature))
        .await?;
    Ok(Changed { receipt: durable.into_parts().1 }.into())
}

pub(super) async fn reject(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::Reject,
) -> Result<Answer<Changed>, Failure> {
    let caller = connection.caller(agent)?;
    check_some_text("reason", &params.reason, REASON_LEN_MAX)?;
    let durable = agent.store.submit(move |tx| command::reject(tx, &caller, params.pending, &params.reason)).await?;
    let (pending, receipt) = durable.into_parts();
    agent.anchor(vec![pending.log_id(), LogId::Org]).await;
    Ok(Changed { receipt }.into())
}
