//! `vault.*`.

use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::VaultId;
use strongroom_proto::method::Changed;
use strongroom_proto::method::vault::{Create, Created, Freeze, Item, List, ListResult, Rename, Thaw};

use super::{Agent, Answer, Connection};
use crate::access::{Facts, GrantFact, Operation};
use crate::commands::vault::{self as command, NewVault};
use crate::commands::{NAME_LEN_MAX, REASON_LEN_MAX, check_some_text};
use crate::state::LogId;
use crate::state::rows::VaultNames;
use crate::store::tx::origin;

/// The first vault key has this number.
const FIRST_KEY: u32 = 1;

pub(super) async fn list(agent: &Agent, connection: &mut Connection, _: List) -> Result<Answer<ListResult>, Failure> {
    let caller = connection.caller(agent)?;
    let view = agent.store.view();
    let now = agent.now();
    let mut items = Vec::new();
    for id in view.vault_slugs.values() {
        let Some(vault) = view.vaults.get(id) else { continue };
        if caller.may_in(&view, *id, Operation::VaultSee, now).is_err() {
            continue;
        }
        let Some(policy) = view.policies.get(id) else { continue };
        let seen = view
            .accounts_of(*id)
            .filter(|account| caller.may_in(&view, *id, Operation::AccountSee(account.id), now).is_ok());
        items.push(Item {
            vault: vault.names.slug.clone(),
            id: *id,
            name: vault.names.name.clone(),
            accounts: seen.count() as u64,
            roles: roles(&caller.facts(&view, *id, now), now),
            frozen: policy.frozen,
            min_assurance: policy.rules.min_assurance,
            signed_release: policy.rules.signed_release,
            scheme: policy.scheme,
            log: origin(&view, LogId::Vault(*id)).to_string(),
            destroyed_at: vault.destroyed_at,
        });
    }
    Ok(ListResult { items }.into())
}

fn roles(facts: &Facts, now: jiff::Timestamp) -> Vec<strongroom_proto::words::VaultRole> {
    let mut roles: Vec<_> =
        facts.grants.iter().filter(|grant: &&GrantFact| grant.in_force(now)).map(|grant| grant.role).collect();
    roles.sort_unstable();
    roles.dedup();
    roles
}

pub(super) async fn create(
    agent: &Agent,
    connection: &mut Connection,
    params: Create,
) -> Result<Answer<Created>, Failure> {
    let caller = connection.caller(agent)?;
    check_some_text("name", &params.name, NAME_LEN_MAX)?;
    let view = agent.store.view();
    // Asked before the token makes a key, and again at the commit: strangers do not fill the token.
    if let Err(denial) = caller.may(&view, Operation::VaultCreate, agent.now()) {
        return Err(agent.refuse(&caller, denial, None, "vault.create").await);
    }
    if view.vault(&params.vault).is_some() {
        return Err(Failure::new(ErrorKind::Conflict, format!("The vault name {} is taken.", params.vault)));
    }
    let id = VaultId::random();
    let scheme = params.scheme.unwrap_or(agent.default_scheme);
    let key = agent.token(agent.workers.create_vault_key(id, FIRST_KEY, scheme)).await?;
    let new = NewVault {
        id,
        names: VaultNames { slug: params.vault, name: params.name },
        scheme,
        min_assurance: params.min_assurance,
        key: key.clone(),
    };
    match agent.store.submit(move |tx| command::create(tx, &caller, &new)).await {
        Ok(durable) => {
            let (id, receipt) = durable.into_parts();
            agent.wake_second();
            Ok(Created { id, receipt }.into())
        }
        Err(refused) => {
            if let Err(failure) = agent.token(agent.workers.destroy_vault_key(key)).await {
                tracing::warn!(%failure, "a vault key without a vault stays in the token");
            }
            Err(refused.into())
        }
    }
}

pub(super) async fn rename(
    agent: &Agent,
    connection: &mut Connection,
    params: Rename,
) -> Result<Answer<Changed>, Failure> {
    let caller = connection.caller(agent)?;
    if let Some(name) = &params.name {
        check_some_text("name", name, NAME_LEN_MAX)?;
    }
    if params.to.is_none() && params.name.is_none() {
        return Err(Failure::new(ErrorKind::InvalidParams, "Give a new slug (to), a new name, or both."));
    }
    let durable = agent
        .store
        .submit(move |tx| command::rename(tx, &caller, &params.vault, params.to.as_ref(), params.name.as_deref()))
        .await?;
    Ok(Changed { receipt: durable.into_parts().1 }.into())
}

pub(super) async fn freeze(
    agent: &Agent,
    connection: &mut Connection,
    params: Freeze,
) -> Result<Answer<Changed>, Failure> {
    let caller = connection.caller(agent)?;
    check_some_text("reason", &params.reason, REASON_LEN_MAX)?;
    let view = agent.store.view();
    let vault = view.vault(&params.vault).map(|vault| vault.id);
    let now = agent.now();
    let urgent = vault.is_some_and(|vault| caller.may_in(&view, vault, Operation::VaultFreeze, now).is_ok());
    let durable = agent
        .store
        .submit_as(urgent, move |tx| command::set_frozen(tx, &caller, &params.vault, true, &params.reason))
        .await?;
    agent.anchor(vault.map(LogId::Vault).into_iter().collect()).await;
    Ok(Changed { receipt: durable.into_parts().1 }.into())
}

pub(super) async fn thaw(agent: &Agent, connection: &mut Connection, params: Thaw) -> Result<Answer<Changed>, Failure> {
    let caller = connection.caller(agent)?;
    check_some_text("reason", &params.reason, REASON_LEN_MAX)?;
    let durable =
        agent.store.submit(move |tx| command::set_frozen(tx, &caller, &params.vault, false, &params.reason)).await?;
    Ok(Changed { receipt: durable.into_parts().1 }.into())
}
