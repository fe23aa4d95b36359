//! `grant.*`.

use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::GrantId;
use strongroom_proto::method::Changed;
use strongroom_proto::method::grant::{End, Give, Given, Item, List, ListResult};

use super::{Agent, Answer, Connection};
use crate::access::{Denial, Operation};
use crate::commands::{REASON_LEN_MAX, TICKET_LEN_MAX, check_text, grant as command};
use crate::state::rows::{Grant, Holder};
use crate::state::{LogId, State};

/// Accounts that one grant may list: their ids stand in its record.
const ACCOUNTS_MAX: usize = 100;

pub(super) async fn list(
    agent: &Agent,
    connection: &mut Connection,
    params: List,
) -> Result<Answer<ListResult>, Failure> {
    let caller = connection.caller(agent)?;
    let view = agent.store.view();
    let now = agent.now();
    if let Some(slug) = &params.vault {
        let vault = view.vault(slug).ok_or_else(Failure::not_found)?;
        let _terms = caller.may_in(&view, vault.id, Operation::VaultSee, now).map_err(Denial::failure)?;
    }
    let mut items: Vec<Item> = view
        .grants_of
        .keys()
        .filter_map(|(_, _, id)| view.grants.get(id))
        .filter(|grant| {
            // One's own only while they are in force: a lapsed one must not tell what has become of the client.
            view.serves(grant.holder, caller.identity()) && grant.in_force(now)
                || caller.may_in(&view, grant.vault, Operation::GrantSee, now).is_ok()
        })
        .filter_map(|grant| item(&view, grant))
        .filter(|item| params.vault.as_ref().is_none_or(|vault| *vault == item.vault))
        .filter(|item| params.identity.as_ref().is_none_or(|identity| Some(identity) == item.identity.as_ref()))
        .collect();
    items.sort_by(|one, other| {
        let place = |item: &Item| (item.vault.clone(), item.identity.clone(), item.group.clone(), item.grant);
        place(one).cmp(&place(other))
    });
    Ok(ListResult { items }.into())
}

fn item(view: &State, grant: &Grant) -> Option<Item> {
    let slug = |identity| view.identities.get(identity).map(|identity| identity.names.slug.clone());
    let accounts = grant.accounts.as_ref().map(|accounts| {
        accounts.iter().filter_map(|id| view.accounts.get(id)).map(|account| account.names.slug.clone()).collect()
    });
    let (identity, group) = match grant.holder {
        Holder::Identity(ref identity) => (Some(slug(identity)?), None),
        Holder::Group(group) => (None, Some(view.groups.get(&group)?.names.slug.clone())),
    };
    Some(Item {
        grant: grant.id,
        vault: view.vaults.get(&grant.vault)?.names.slug.clone(),
        identity,
        group,
        role: grant.role,
        accounts,
        from: grant.from,
        until: grant.until,
        hours: grant.hours.clone(),
        given_by: slug(&grant.given_by)?,
        request: grant.request,
        exclusive: grant.exclusive,
        pending: grant.pending,
    })
}

pub(super) async fn give(agent: &Agent, connection: &mut Connection, params: Give) -> Result<Answer<Given>, Failure> {
    let caller = connection.caller(agent)?;
    check_text("reason", params.reason.as_deref().unwrap_or_default(), REASON_LEN_MAX)?;
    check_text("ticket", params.ticket.as_deref().unwrap_or_default(), TICKET_LEN_MAX)?;
    if params.accounts.as_ref().is_some_and(|accounts| accounts.len() > ACCOUNTS_MAX) {
        let message = format!("A grant lists at most {ACCOUNTS_MAX} accounts; give the whole vault or several grants.");
        return Err(Failure::new(ErrorKind::TooLarge, message));
    }
    let id = GrantId::random();
    let durable = agent.store.submit(move |tx| command::give(tx, &caller, id, &params)).await?;
    let (given, receipt) = durable.into_parts();
    Ok(Given { grant: given.grant, in_force: given.in_force, pending: given.pending, receipt }.into())
}

pub(super) async fn end(agent: &Agent, connection: &mut Connection, params: End) -> Result<Answer<Changed>, Failure> {
    let caller = connection.caller(agent)?;
    check_text("reason", params.reason.as_deref().unwrap_or_default(), REASON_LEN_MAX)?;
    let view = agent.store.view();
    let now = agent.now();
    let grant = view.grants.get(&params.grant);
    let urgent = grant.is_some_and(|grant| {
        let own = grant.holder == Holder::Identity(caller.identity()) && grant.in_force(now);
        caller.may_in(&view, grant.vault, Operation::GrantEnd { role: grant.role, own }, now).is_ok()
    });
    let log = grant.map(|grant| LogId::Vault(grant.vault));
    let durable = agent
        .store
        .submit_as(urgent, move |tx| command::end(tx, &caller, params.grant, params.reason.as_deref()))
        .await?;
    agent.anchor(log.into_iter().collect()).await;
    Ok(Changed { receipt: durable.into_parts().1 }.into())
}
