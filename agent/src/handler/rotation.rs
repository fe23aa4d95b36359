//! `rotation.*`.

use strongroom_proto::error::Failure;
use strongroom_proto::ids::AccountAddress;
use strongroom_proto::method::Changed;
use strongroom_proto::method::rotation as wire;

use super::{Agent, Answer, Connection, only};
use crate::access::Operation;
use crate::commands::request::slug;
use crate::commands::{REASON_LEN_MAX, check_some_text, rotation as command};
use crate::state::State;
use crate::state::rotation::Rotation;

/// Accounts of one list.
const LIST_MAX: usize = 1_000;

pub(super) async fn list(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::List,
) -> Result<Answer<wire::ListResult>, Failure> {
    let caller = connection.caller(agent)?;
    let view = agent.store.view();
    let now = agent.now();
    let only = only(&view, &caller, params.vault.as_ref(), Operation::RotationSee, now)?;
    let vaults = view.vaults.keys().copied().filter(|vault| only.is_none_or(|only| only == *vault));
    let seen = vaults.filter(|vault| caller.may_in(&view, *vault, Operation::RotationSee, now).is_ok());
    let mut items: Vec<wire::Item> =
        seen.flat_map(|vault| view.rotations_of(vault)).filter_map(|rotation| item(&view, rotation)).collect();
    items.sort_by(|one, other| one.account.cmp(&other.account));
    let total = items.len() as u64;
    items.truncate(LIST_MAX);
    Ok(wire::ListResult { items, total }.into())
}

fn item(view: &State, rotation: &Rotation) -> Option<wire::Item> {
    let vault = view.vaults.get(&rotation.vault)?.names.slug.clone();
    let account = view.accounts.get(&rotation.account)?.names.slug.clone();
    Some(wire::Item {
        account: AccountAddress { vault, account },
        account_id: rotation.account,
        identity: slug(view, rotation.identity)?,
        cause: rotation.cause,
        since: rotation.since,
    })
}

pub(super) async fn dismiss(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::Dismiss,
) -> Result<Answer<Changed>, Failure> {
    let caller = connection.caller(agent)?;
    check_some_text("reason", &params.reason, REASON_LEN_MAX)?;
    let durable = agent.store.submit(move |tx| command::dismiss(tx, &caller, &params.account, &params.reason)).await?;
    Ok(Changed { receipt: durable.into_parts().1 }.into())
}
