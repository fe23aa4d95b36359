//! `group.*`.

use strongroom_proto::method::Changed;
use strongroom_proto::method::group as wire;

use super::{Agent, Answer, Connection};
use crate::access::Operation;
use crate::commands::{Caller, NAME_LEN_MAX, REASON_LEN_MAX, check_some_text, group as command};
use crate::state::group::{Group, GroupNames};
use crate::state::rows::Holder;
use crate::state::{LogId, State};
use strongroom_proto::error::Failure;
use strongroom_proto::ids::{GroupId, Slug};

pub(super) async fn list(
    agent: &Agent,
    connection: &mut Connection,
    _: wire::List,
) -> Result<Answer<wire::ListResult>, Failure> {
    let caller = connection.caller(agent)?;
    let view = agent.store.view();
    let now = agent.now();
    let all = caller.may(&view, Operation::GroupSee, now).is_ok();
    let items = view
        .group_slugs
        .values()
        .filter_map(|id| view.groups.get(id))
        .filter(|group| group.removed_at.is_none())
        .filter(|group| all || sees(&view, &caller, group, now))
        .map(|group| item(&view, group))
        .collect();
    Ok(wire::ListResult { items }.into())
}

/// Who is in a group sees it, and who oversees a vault in which it holds a grant.
fn sees(view: &State, caller: &Caller, group: &Group, now: jiff::Timestamp) -> bool {
    view.groups_of.contains_key(&(caller.identity(), group.id))
        || view
            .held_by(Holder::Group(group.id))
            .any(|grant| caller.may_in(view, grant.vault, Operation::GrantSee, now).is_ok())
}

fn item(view: &State, group: &Group) -> wire::Item {
    let member = |member: &crate::state::group::Member| {
        let identity = view.identities.get(&member.identity)?;
        Some(wire::Member { identity: identity.names.slug.clone(), since: member.since, pending: member.pending })
    };
    let mut members: Vec<wire::Member> = view.members_of(group.id).filter_map(member).collect();
    members.sort_by(|one, other| one.identity.cmp(&other.identity));
    wire::Item {
        group: group.names.slug.clone(),
        id: group.id,
        name: group.names.name.clone(),
        members,
        grants: view.held_by(Holder::Group(group.id)).count() as u64,
    }
}

pub(super) async fn create(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::Create,
) -> Result<Answer<wire::Created>, Failure> {
    let caller = connection.caller(agent)?;
    check_some_text("name", &params.name, NAME_LEN_MAX)?;
    let names = GroupNames { slug: params.group, name: params.name };
    let durable = agent.store.submit(move |tx| command::create(tx, &caller, &names)).await?;
    let (id, receipt) = durable.into_parts();
    Ok(wire::Created { id, receipt }.into())
}

pub(super) async fn remove(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::Remove,
) -> Result<Answer<wire::Removed>, Failure> {
    let caller = connection.caller(agent)?;
    check_some_text("reason", &params.reason, REASON_LEN_MAX)?;
    let urgent = caller.may(&agent.store.view(), Operation::GroupManage, agent.now()).is_ok();
    let logs = logs_of(&agent.store.view(), &params.group);
    let durable =
        agent.store.submit_as(urgent, move |tx| command::remove(tx, &caller, &params.group, &params.reason)).await?;
    agent.anchor(logs).await;
    let (removed, receipt) = durable.into_parts();
    Ok(wire::Removed { members: removed.members, grants: removed.grants, receipt }.into())
}

/// The logs that change when a group's members or grants do.
fn logs_of(view: &State, group: &Slug) -> Vec<LogId> {
    let id: Option<GroupId> = view.group(group).map(|group| group.id);
    let vaults = id.into_iter().flat_map(|id| view.held_by(Holder::Group(id))).map(|grant| LogId::Vault(grant.vault));
    std::iter::once(LogId::Org).chain(vaults).collect()
}

pub(super) async fn member_add(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::MemberAdd,
) -> Result<Answer<wire::MemberAdded>, Failure> {
    let caller = connection.caller(agent)?;
    let durable =
        agent.store.submit(move |tx| command::member_add(tx, &caller, &params.group, &params.identity)).await?;
    let (added, receipt) = durable.into_parts();
    Ok(wire::MemberAdded { in_force: added.in_force, pending: added.pending, receipt }.into())
}

pub(super) async fn member_remove(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::MemberRemove,
) -> Result<Answer<Changed>, Failure> {
    let caller = connection.caller(agent)?;
    let view = agent.store.view();
    let own = view.identity(&params.identity).is_some_and(|identity| identity.id == caller.identity());
    let urgent = caller.may(&view, Operation::MemberRemove { own }, agent.now()).is_ok();
    let logs = logs_of(&view, &params.group);
    let durable = agent
        .store
        .submit_as(urgent, move |tx| command::member_remove(tx, &caller, &params.group, &params.identity))
        .await?;
    agent.anchor(logs).await;
    Ok(Changed { receipt: durable.into_parts().1 }.into())
}
