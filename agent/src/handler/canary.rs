//! `canary.*`.

use strongroom_proto::error::Failure;
use strongroom_proto::ids::AccountAddress;
use strongroom_proto::method::Changed;
use strongroom_proto::method::canary as wire;

use super::{Agent, Answer, Connection};
use crate::access::Operation;
use crate::commands::canary as command;
use crate::commands::request::slug;
use crate::state::LogId;

pub(super) async fn set(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::Set,
) -> Result<Answer<Changed>, Failure> {
    change(agent, connection, params.account, true).await
}

pub(super) async fn clear(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::Clear,
) -> Result<Answer<Changed>, Failure> {
    change(agent, connection, params.account, false).await
}

async fn change(
    agent: &Agent,
    connection: &mut Connection,
    account: AccountAddress,
    decoy: bool,
) -> Result<Answer<Changed>, Failure> {
    let caller = connection.caller(agent)?;
    let durable = agent.store.submit(move |tx| command::set(tx, &caller, &account, decoy)).await?;
    agent.anchor(vec![LogId::Org]).await;
    Ok(Changed { receipt: durable.into_parts().1 }.into())
}

pub(super) async fn list(
    agent: &Agent,
    connection: &mut Connection,
    _: wire::List,
) -> Result<Answer<wire::ListResult>, Failure> {
    let caller = connection.caller(agent)?;
    let view = agent.store.view();
    let now = agent.now();
    let manages = |canary: &&crate::state::canary::Canary| {
        caller.may_in(&view, canary.names.vault, Operation::CanaryManage, now).is_ok()
    };
    let item = |canary: &crate::state::canary::Canary| {
        let vault = view.vaults.get(&canary.names.vault)?.names.slug.clone();
        let account = view.accounts.get(&canary.names.account)?.names.slug.clone();
        Some(wire::Item {
            account: AccountAddress { vault, account },
            since: canary.created_at,
            set_by: slug(&view, canary.set_by)?,
            tripped_at: canary.tripped_at,
        })
    };
    let mut items: Vec<wire::Item> = view.canaries.values().filter(manages).filter_map(item).collect();
    items.sort_by(|one, other| one.account.cmp(&other.account));
    Ok(wire::ListResult { items }.into())
}
