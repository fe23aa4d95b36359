//! `ceremony.*`: what two people do to a vault together.

mod destroy;
mod hand_over;
mod rotate;
mod run;

use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::method::Changed;
use strongroom_proto::method::ceremony::{
    Cancel, Confirm, Item, List, ListResult, Propose, Proposed, RECIPIENT_LEN_MAX, Show, Shown,
};
use strongroom_proto::words::{CeremonyKind, CeremonyStatus};

pub(super) use self::run::run;
use super::step_up::signed;
use super::{Agent, Answer, Connection, only};
use crate::access::Operation;
use crate::commands::ceremony::propose::{self as command, Proposal};
use crate::commands::ceremony::{alive, may_confirm};
use crate::commands::{Caller, REASON_LEN_MAX, TICKET_LEN_MAX, check_some_text, check_text};
use crate::keystore::{KeystoreError, VaultKey};
use crate::recovery::ClientRecipient;
use crate::state::State;
use crate::state::ceremony::Ceremony;

/// Ceremonies of one list.
const LIST_MAX: usize = 200;

pub(super) async fn propose(
    agent: &Agent,
    connection: &mut Connection,
    mut params: Propose,
) -> Result<Answer<Proposed>, Failure> {
    let caller = connection.caller(agent)?;
    check_some_text("reason", &params.reason, REASON_LEN_MAX)?;
    check_text("ticket", params.ticket.as_deref().unwrap_or_default(), TICKET_LEN_MAX)?;
    let recipient = check_form(&params)?;
    let signature = signed(agent, connection, &caller, &mut params).await?;
    let proposal = Proposal {
        vault: params.vault,
        kind: params.kind,
        scheme: params.scheme,
        recipient,
        reason: params.reason,
        ticket: params.ticket.filter(|ticket| !ticket.is_empty()),
    };
    let durable = agent.store.submit(move |tx| command::propose(tx, &caller, &proposal, &signature)).await?;
    let (ceremony, receipt) = durable.into_parts();
    let view = agent.store.view();
    let name = |id| view.identities.get(id).map(|identity| identity.names.slug.clone());
    let others = may_confirm(&view, ceremony.vault, ceremony.proposer.identity, agent.now());
    let Ceremony { id, digest, expires_at, .. } = ceremony;
    let may_confirm = others.iter().filter_map(name).collect();
    Ok(Proposed { ceremony: id, digest, expires_at, may_confirm, receipt }.into())
}

/// Each kind has its own parameters, and no other's.
fn check_form(params: &Propose) -> Result<Option<ClientRecipient>, Failure> {
    let invalid = |message: String| Err(Failure::new(ErrorKind::InvalidParams, message));
    let has = [params.scheme.is_some(), params.name.is_some(), params.recipient.is_some()];
    let fits = match params.kind {
        CeremonyKind::RotateKey => has == [has[0], false, false],
        CeremonyKind::Destroy => has == [false, true, false],
        CeremonyKind::HandOver => has == [false, false, true],
    };
    if !fits {
        let message =
            "rotate-key takes scheme, destroy needs name, hand-over needs recipient, and none takes another's.";
        return invalid(message.to_owned());
    }
    if params.name.as_ref().is_some_and(|name| *name != params.vault) {
        return invalid("name is not the name of the vault: nothing is destroyed by mistake.".to_owned());
    }
    let Some(text) = &params.recipient else { return Ok(None) };
    if text.len() > RECIPIENT_LEN_MAX {
        return invalid(format!("recipient is longer than {RECIPIENT_LEN_MAX} bytes."));
    }
    ClientRecipient::parse(text).map(Some).or_else(|error| invalid(format!("recipient: {error}.")))
}

pub(super) async fn list(
    agent: &Agent,
    connection: &mut Connection,
    params: List,
) -> Result<Answer<ListResult>, Failure> {
    let caller = connection.caller(agent)?;
    let view = agent.store.view();
    let now = agent.now();
    let only = only(&view, &caller, params.vault.as_ref(), Operation::CeremonySee, now)?;
    let mut found: Vec<&Ceremony> = view
        .ceremonies
        .values()
        .filter(|ceremony| only.is_none_or(|only| ceremony.vault == only))
        .filter(|ceremony| caller.may_in(&view, ceremony.vault, Operation::CeremonySee, now).is_ok())
        .collect();
    found.sort_by_key(|ceremony| std::cmp::Reverse((ceremony.created_at, ceremony.id)));
    found.truncate(LIST_MAX);
    Ok(ListResult { items: found.into_iter().filter_map(|ceremony| item(agent, &view, ceremony)).collect() }.into())
}

pub(super) async fn show(agent: &Agent, connection: &mut Connection, params: Show) -> Result<Answer<Shown>, Failure> {
    let caller = connection.caller(agent)?;
    let view = agent.store.view();
    let ceremony = find(&view, &caller, agent, params.ceremony).await?;
    let item = item(agent, &view, ceremony).ok_or_else(Failure::not_found)?;
    Ok(Shown { item, certificate: ceremony.names.certificate.clone() }.into())
}

/// Finds a ceremony that the caller may see; a refusal is recorded.
async fn find<'a>(
    view: &'a State,
    caller: &Caller,
    agent: &Agent,
    id: strongroom_proto::ids::CeremonyId,
) -> Result<&'a Ceremony, Failure> {
    const EVENT: &str = "ceremony.show";
    let Some(ceremony) = view.ceremonies.get(&id) else {
        return Err(agent.nothing_there(caller, id.to_string(), EVENT).await);
    };
    match caller.may_in(view, ceremony.vault, Operation::CeremonySee, agent.now()) {
        Ok(_) => Ok(ceremony),
        Err(denial) => Err(agent.refuse(caller, denial, Some(ceremony.vault), EVENT).await),
    }
}

fn item(agent: &Agent, view: &State, ceremony: &Ceremony) -> Option<Item> {
    let name = |id| view.identities.get(id).map(|identity| identity.names.slug.clone());
    Some(Item {
        ceremony: ceremony.id,
        vault: view.vaults.get(&ceremony.vault)?.names.slug.clone(),
        vault_id: ceremony.vault,
        kind: ceremony.kind,
        scheme: ceremony.scheme,
        recipient: ceremony.recipient.clone(),
        proposer: name(&ceremony.proposer.identity)?,
        proposer_id: ceremony.proposer.identity,
        confirmer: ceremony.confirmer.as_ref().and_then(|confirmer| name(&confirmer.identity)),
        reason: ceremony.names.reason.clone(),
        ticket: ceremony.names.ticket.clone(),
        created_at: ceremony.created_at,
        expires_at: ceremony.expires_at,
        digest: ceremony.digest.clone(),
        status: ceremony.status(agent.now()),
    })
}

pub(super) async fn confirm(
    agent: &Agent,
    connection: &mut Connection,
    mut params: Confirm,
) -> Result<Answer<Changed>, Failure> {
    let caller = connection.caller(agent)?;
    let signature = signed(agent, connection, &caller, &mut params).await?;
    let durable = agent
        .store
        .submit(move |tx| command::confirm(tx, &caller, params.ceremony, &params.digest, &signature))
        .await?;
    Ok(Changed { receipt: durable.into_parts().1 }.into())
}

pub(super) async fn cancel(
    agent: &Agent,
    connection: &mut Connection,
    params: Cancel,
) -> Result<Answer<Changed>, Failure> {
    let caller = connection.caller(agent)?;
    check_text("reason", params.reason.as_deref().unwrap_or_default(), REASON_LEN_MAX)?;
    // A run in another call may be destroying right now.
    let _alone = agent
        .ceremony
        .try_lock()
        .map_err(|_| Failure::new(ErrorKind::Conflict, "A ceremony is at work just now; try again."))?;
    let held = held_keys(agent, &caller, params.ceremony).await?;
    let durable = agent
        .store
        .submit(move |tx| command::cancel(tx, &caller, params.ceremony, params.reason.as_deref(), &held))
        .await?;
    Ok(Changed { receipt: durable.into_parts().1 }.into())
}

/// The keys of a vault whose destruction began and is dead, as far as the token still holds them; of others nothing is asked.
async fn held_keys(
    agent: &Agent,
    caller: &Caller,
    id: strongroom_proto::ids::CeremonyId,
) -> Result<Vec<VaultKey>, Failure> {
    let (view, now) = (agent.store.view(), agent.now());
    let stuck = |ceremony: &&Ceremony| {
        ceremony.kind == CeremonyKind::Destroy
            && ceremony.state == CeremonyStatus::Running
            && caller.may_in(&view, ceremony.vault, Operation::CeremonyCancel, now).is_ok()
            && alive(&view, ceremony, now).is_err()
    };
    let Some(ceremony) = view.ceremonies.get(&id).filter(stuck) else { return Ok(Vec::new()) };
    let mut held = Vec::new();
    for row in view.vault_keys_of(ceremony.vault) {
        match agent.workers.check_vault_key(row.key.clone()).await {
            Ok(()) => held.push(row.key.clone()),
            Err(KeystoreError::KeyMissing { .. } | KeystoreError::KeyMismatch { .. }) => {}
            Err(error) => agent.token(async { Err(error) }).await?,
        }
    }
    // While the second token is away nobody knows: its keys count as gone.
    if let Some(second) = &agent.second {
        for row in view.second_keys_of(ceremony.vault) {
            if second.workers.check_vault_key(row.key.clone()).await.is_ok() {
                held.push(row.key.clone());
            }
        }
    }
    Ok(held)
}
