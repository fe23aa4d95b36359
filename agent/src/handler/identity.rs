//! `identity.*`.

use std::time::Duration;

use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::IdentityId;
use strongroom_proto::method::Changed;
use strongroom_proto::method::identity as wire;
use strongroom_proto::words::{IdentityKind, OrgRole};

use super::login_ways::attested;
use super::{Agent, Answer, Connection};
use crate::access::Operation;
use crate::commands::identity::{self as command, NewIdentity};
use crate::commands::{Caller, NAME_LEN_MAX, REASON_LEN_MAX, check_some_text, session};
use crate::identity::EnrolmentKey;
use crate::session::registry::Session;
use crate::state::rows::{Identity, IdentityNames, Key, KeyNames};
use crate::state::{LogId, State};

/// Longest wait for replies in flight: the socket layer gives a peer 2 s to read.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// Longest comment of a key that is kept, in bytes.
const COMMENT_LEN_MAX: usize = 200;

pub(super) async fn list(
    agent: &Agent,
    connection: &mut Connection,
    _: wire::List,
) -> Result<Answer<wire::ListResult>, Failure> {
    let caller = connection.caller(agent)?;
    let view = agent.store.view();
    let now = agent.now();
    let all = caller.may(&view, Operation::IdentitySeeAll, now).is_ok();
    // A manager sees those who hold something in the manager's vaults.
    let shares_a_vault = |identity: &Identity| {
        view.grants_for(identity.id).any(|grant| caller.may_in(&view, grant.vault, Operation::GrantSee, now).is_ok())
    };
    let items = view
        .identity_slugs
        .values()
        .filter_map(|id| view.identities.get(id))
        .filter(|identity| all || identity.id == caller.identity() || shares_a_vault(identity))
        .map(|identity| item(&view, identity))
        .collect();
    Ok(wire::ListResult { items }.into())
}

fn item(view: &State, identity: &Identity) -> wire::Item {
    // Keys that only ever came with a certificate may be a new one each day: they stand in the log, and in no list.
    let listed = |key: &&Key| !key.certified || key.confirmed || key.added_by.is_some();
    let keys = view.keys_of(identity.id).filter(listed).map(key_item);
    let groups = view.groups_of(identity.id).filter_map(|group| view.groups.get(&group));
    wire::Item {
        identity: identity.names.slug.clone(),
        id: identity.id,
        name: identity.names.name.clone(),
        kind: identity.kind,
        status: identity.status,
        roles: identity.roles.clone(),
        until: identity.until,
        service: identity.service.clone(),
        vetted: identity.vetted,
        groups: groups.map(|group| group.names.slug.clone()).collect(),
        keys: keys.collect(),
        principals: identity.certificates.then(|| identity.names.principals.clone()),
        last_login: view.logins.get(&identity.id).map(|login| login.at),
    }
}

/// A key as it is shown.
pub(super) fn key_item(key: &Key) -> wire::Key {
    wire::Key {
        fingerprint: key.fingerprint.clone(),
        algorithm: key.algorithm.clone(),
        comment: key.names.comment.clone(),
        added_at: key.added_at,
        active: key.active,
        confirmed: key.confirmed,
        attested: key.attested,
        model: key.attestation.as_ref().map(|attested| attested.model.clone()),
    }
}

/// Reads a public key into a row. The owner and the time are set at the commit.
pub(crate) fn key_row(line: &str) -> Result<Key, Failure> {
    let key = EnrolmentKey::parse(line)
        .map_err(|refusal| Failure::new(ErrorKind::InvalidParams, format!("public_key: {refusal}.")))?;
    let comment: String = key.comment.chars().filter(|character| !character.is_control()).collect();
    Ok(Key {
        fingerprint: key.fingerprint,
        identity: IdentityId::from_uuid(uuid::Uuid::nil()),
        public_key: key.openssh,
        algorithm: key.algorithm,
        active: true,
        confirmed: true,
        added_by: None,
        attested: false,
        attestation: None,
        certified: false,
        added_at: jiff::Timestamp::UNIX_EPOCH,
        names: KeyNames { comment: comment.chars().take(COMMENT_LEN_MAX / 4).collect() },
    })
}

pub(super) async fn enrol(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::Enrol,
) -> Result<Answer<wire::Enrolled>, Failure> {
    let caller = connection.caller(agent)?;
    check_some_text("name", &params.name, NAME_LEN_MAX)?;
    let key = key_row(&params.public_key)?;
    let key = attested(agent, key, params.attestation.as_deref(), &params.identity)?;
    let fingerprint = key.fingerprint.clone();
    let mut roles: Vec<OrgRole> = params.roles;
    roles.sort_unstable();
    roles.dedup();
    let new = NewIdentity {
        id: IdentityId::random(),
        names: IdentityNames { slug: params.identity, name: params.name, principals: Vec::new() },
        kind: params.kind,
        roles,
        until: params.until,
        service: params.service.or_else(|| (params.kind == IdentityKind::Service).then(Default::default)),
        key,
    };
    let durable = agent.store.submit(move |tx| command::enrol(tx, &caller, &new)).await?;
    let (enrolled, receipt) = durable.into_parts();
    Ok(wire::Enrolled { id: enrolled.id, fingerprint, pending: enrolled.pending, receipt }.into())
}

pub(super) async fn key_add(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::KeyAdd,
) -> Result<Answer<wire::KeyAdded>, Failure> {
    let caller = connection.caller(agent)?;
    let key = key_row(&params.public_key)?;
    let key = attested(agent, key, params.attestation.as_deref(), &params.identity)?;
    let fingerprint = key.fingerprint.clone();
    let durable = agent.store.submit(move |tx| command::key_add(tx, &caller, &params.identity, &key)).await?;
    let (added, receipt) = durable.into_parts();
    Ok(wire::KeyAdded { fingerprint, in_force: added.in_force, pending: added.pending, receipt }.into())
}

pub(super) async fn key_remove(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::KeyRemove,
) -> Result<Answer<Changed>, Failure> {
    let caller = connection.caller(agent)?;
    let fingerprint = params.fingerprint.clone();
    let view = agent.store.view();
    let own = view.identity(&params.identity).is_some_and(|identity| identity.id == caller.identity());
    let urgent = caller.may(&view, Operation::KeyRemove { own }, agent.now()).is_ok();
    let durable = agent
        .store
        .submit_as(urgent, move |tx| command::key_remove(tx, &caller, &params.identity, &params.fingerprint))
        .await?;
    agent.anchor(vec![LogId::Org]).await;
    end_all(agent, agent.sessions.end_where(|session| session.key == fingerprint), "key removed").await;
    Ok(Changed { receipt: durable.into_parts().1 }.into())
}

pub(super) async fn revoke(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::Revoke,
) -> Result<Answer<wire::Revoked>, Failure> {
    let caller = connection.caller(agent)?;
    check_some_text("reason", &params.reason, REASON_LEN_MAX)?;
    let urgent = caller.may(&agent.store.view(), Operation::IdentityRevoke { own: false }, agent.now()).is_ok();
    let durable =
        agent.store.submit_as(urgent, move |tx| command::revoke(tx, &caller, &params.identity, &params.reason)).await?;
    let (ended, receipt) = durable.into_parts();
    let logs = ended.vaults.iter().map(|vault| LogId::Vault(*vault));
    agent.anchor(std::iter::once(LogId::Org).chain(logs).collect()).await;
    let (sessions, drained) = cut_off(agent, ended.identity, "identity revoked").await;
    Ok(wire::Revoked {
        sessions,
        grants: ended.grants,
        groups: ended.groups,
        requests: ended.requests,
        vaults: ended.vaults.len() as u64,
        rotate: ended.rotations,
        drained,
        receipt,
    }
    .into())
}

/// Ends all sessions of an identity for which nothing new is committed any more. What was committed before is drained:
/// connections close, so unwritten replies are dropped, and written ones are waited for until the peer has read them. Gives
/// the number of sessions, and whether all replies landed in time.
pub(super) async fn cut_off(agent: &Agent, identity: IdentityId, cause: &'static str) -> (u64, bool) {
    let sessions = agent.sessions.end_where(|session| session.identity == identity);
    let drained = agent.flights.drained(identity, DRAIN_LIMIT).await;
    if !drained {
        tracing::error!("a reply to an identity that was cut off did not land in time");
    }
    (end_all(agent, sessions, cause).await, drained)
}

pub(super) async fn suspend(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::Suspend,
) -> Result<Answer<wire::Suspended>, Failure> {
    let caller = connection.caller(agent)?;
    check_some_text("reason", &params.reason, REASON_LEN_MAX)?;
    let urgent = caller.may(&agent.store.view(), Operation::IdentitySuspend { own: false }, agent.now()).is_ok();
    let durable = agent
        .store
        .submit_as(urgent, move |tx| command::suspend(tx, &caller, &params.identity, &params.reason))
        .await?;
    let (identity, receipt) = durable.into_parts();
    agent.anchor(vec![LogId::Org]).await;
    let (sessions, drained) = cut_off(agent, identity, "identity suspended").await;
    Ok(wire::Suspended { sessions, drained, receipt }.into())
}

pub(super) async fn resume(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::Resume,
) -> Result<Answer<Changed>, Failure> {
    let caller = connection.caller(agent)?;
    check_some_text("reason", &params.reason, REASON_LEN_MAX)?;
    let durable = agent.store.submit(move |tx| command::resume(tx, &caller, &params.identity, &params.reason)).await?;
    Ok(Changed { receipt: durable.into_parts().1 }.into())
}

pub(super) async fn update(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::Update,
) -> Result<Answer<Changed>, Failure> {
    let caller = connection.caller(agent)?;
    if let Some(name) = &params.name {
        check_some_text("name", name, NAME_LEN_MAX)?;
    }
    if params.name.is_none() && params.until.is_none() && params.service.is_none() {
        return Err(Failure::new(
            ErrorKind::InvalidParams,
            "Give a new name, an end date (until), or a script's limits.",
        ));
    }
    let change = command::Change { name: params.name, until: params.until, service: params.service };
    let durable = agent.store.submit(move |tx| command::update(tx, &caller, &params.identity, &change)).await?;
    agent.anchor(vec![LogId::Org]).await;
    Ok(Changed { receipt: durable.into_parts().1 }.into())
}

/// Records the ends of sessions that were ended; how many.
pub(super) async fn end_all(agent: &Agent, sessions: Vec<Session>, cause: &'static str) -> u64 {
    let count = sessions.len() as u64;
    for session in sessions {
        let over = Caller { actor: session.actor(), from: session.from };
        let recorded = agent.store.submit(move |tx| session::ended(tx, &over, cause)).await;
        if let Err(refused) = recorded {
            tracing::error!(?refused, "the end of a session was not recorded");
        }
    }
    count
}

pub(super) async fn roles(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::Roles,
) -> Result<Answer<wire::RolesChanged>, Failure> {
    let caller = connection.caller(agent)?;
    if params.add.is_empty() && params.remove.is_empty() {
        return Err(Failure::new(ErrorKind::InvalidParams, "Give roles to add or to remove."));
    }
    let durable = agent
        .store
        .submit(move |tx| command::roles(tx, &caller, &params.identity, &params.add, &params.remove))
        .await?;
    let (pending, receipt) = durable.into_parts();
    agent.anchor(vec![LogId::Org]).await;
    Ok(wire::RolesChanged { pending, receipt }.into())
}
