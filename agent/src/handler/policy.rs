//! `policy.*`.

use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::method::policy as wire;
use strongroom_proto::policy::{Compare, PolicyFlaw, differences};

use super::{Agent, Answer, Connection};
use crate::access::Operation;
use crate::commands::{pending::Standing, policy as command};

pub(super) async fn show(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::Show,
) -> Result<Answer<wire::Shown>, Failure> {
    let caller = connection.caller(agent)?;
    let view = agent.store.view();
    let Some(vault) = view.vault(&params.vault) else {
        return Err(agent.nothing_there(&caller, params.vault.to_string(), "policy.show").await);
    };
    if let Err(denial) = caller.may_in(&view, vault.id, Operation::VaultSee, agent.now()) {
        return Err(agent.refuse(&caller, denial, Some(vault.id), "policy.show").await);
    }
    let policy = view.policies.get(&vault.id).map(|policy| policy.rules.clone()).ok_or_else(Failure::not_found)?;
    Ok(wire::Shown { policy }.into())
}

pub(super) async fn show_org(
    agent: &Agent,
    connection: &mut Connection,
    _: wire::ShowOrg,
) -> Result<Answer<wire::ShownOrg>, Failure> {
    let caller = connection.caller(agent)?;
    let view = agent.store.view();
    match caller.may(&view, Operation::OrgPolicySee, agent.now()) {
        Ok(_terms) => Ok(wire::ShownOrg { policy: view.org_policy.clone() }.into()),
        Err(denial) => Err(agent.refuse(&caller, denial, None, "policy.show_org").await),
    }
}

fn invalid(flaw: &PolicyFlaw) -> Failure {
    Failure::new(ErrorKind::InvalidParams, format!("{flaw}."))
}

/// What a policy would change, without changing it.
fn rehearse<P: Compare>(alone: Standing, before: &P, after: &P) -> wire::SetResult {
    let differences = differences(before, after);
    let weaker = differences.iter().any(|one| one.weaker);
    wire::SetResult { differences, in_force: !weaker || alone != Standing::Waiting, pending: None, receipt: None }
}

pub(super) async fn set(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::Set,
) -> Result<Answer<wire::SetResult>, Failure> {
    let caller = connection.caller(agent)?;
    params.policy.check().map_err(|flaw| invalid(&flaw))?;
    if params.dry_run {
        let view = agent.store.view();
        let Some(vault) = view.vault(&params.vault) else {
            return Err(agent.nothing_there(&caller, params.vault.to_string(), "policy.set").await);
        };
        if let Err(denial) = caller.may_in(&view, vault.id, Operation::PolicySet, agent.now()) {
            return Err(agent.refuse(&caller, denial, Some(vault.id), "policy.set").await);
        }
        command::check_vault_policy(&view, Some(vault.id), &params.policy, agent.now())?;
        let before = view.policies.get(&vault.id).map(|policy| &policy.rules).ok_or_else(Failure::not_found)?;
        return Ok(rehearse(Standing::alone(&view, &caller), before, &params.policy).into());
    }
    let differences = differences(&params.replaces, &params.policy);
    let durable = agent
        .store
        .submit(move |tx| command::set(tx, &caller, &params.vault, &params.replaces, &params.policy))
        .await?;
    let (set, receipt) = durable.into_parts();
    Ok(wire::SetResult { differences, in_force: set.in_force, pending: set.pending, receipt: Some(receipt) }.into())
}

pub(super) async fn set_org(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::SetOrg,
) -> Result<Answer<wire::SetResult>, Failure> {
    let caller = connection.caller(agent)?;
    params.policy.check().map_err(|flaw| invalid(&flaw))?;
    if params.dry_run {
        let view = agent.store.view();
        if let Err(denial) = caller.may(&view, Operation::OrgPolicySet, agent.now()) {
            return Err(agent.refuse(&caller, denial, None, "policy.set").await);
        }
        command::check_vault_policy(&view, None, &params.policy.vault, agent.now())?;
        return Ok(rehearse(Standing::alone(&view, &caller), &view.org_policy, &params.policy).into());
    }
    let differences = differences(&params.replaces, &params.policy);
    let durable = agent.store.submit(move |tx| command::set_org(tx, &caller, &params.replaces, &params.policy)).await?;
    let (set, receipt) = durable.into_parts();
    Ok(wire::SetResult { differences, in_force: set.in_force, pending: set.pending, receipt: Some(receipt) }.into())
}
