//! `session.*` after the login: who is there, and how it ends.

use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::method::Done;
use strongroom_proto::method::session::{End, Item, List, ListResult, Proved, Whoami, WhoamiResult};

use super::notices::notices;
use super::{Agent, Answer, Connection};
use crate::access::Operation;
use crate::commands::Caller;
use crate::commands::session as command;
use crate::session::registry::Session;
use crate::state::State;

/// What a client is told of its session.
pub(super) fn proved(view: &State, session: &Session, caller: &Caller, agent: &Agent) -> Result<Proved, Failure> {
    let (now, held_back) = (agent.now(), agent.recently_held_back());
    let identity = view.identities.get(&session.identity).ok_or_else(command::login_refused)?;
    Ok(Proved {
        session: session.id,
        identity: identity.names.slug.clone(),
        name: identity.names.name.clone(),
        roles: identity.roles.clone(),
        assurance: session.assurance,
        idle_timeout_s: session.idle_timeout.as_secs(),
        expires_at: session.expires_at,
        notices: notices(view, caller, now, &held_back, &agent.streams.overdue()),
    })
}

pub(super) async fn whoami(
    agent: &Agent,
    connection: &mut Connection,
    _: Whoami,
) -> Result<Answer<WhoamiResult>, Failure> {
    let caller = connection.caller(agent)?;
    let view = agent.store.view();
    let session = agent.sessions.find(caller.actor.session).ok_or_else(command::login_refused)?;
    let kind = view.identities.get(&caller.identity()).map(|identity| identity.kind);
    let result = WhoamiResult {
        session: proved(&view, &session, &caller, agent)?,
        identity_id: caller.identity(),
        kind: kind.ok_or_else(command::login_refused)?,
        key: caller.actor.key.clone(),
        sole_admin: view.sole_admin(caller.identity()),
    };
    Ok(result.into())
}

pub(super) async fn list(agent: &Agent, connection: &mut Connection, _: List) -> Result<Answer<ListResult>, Failure> {
    let caller = connection.caller(agent)?;
    let view = agent.store.view();
    let all = caller.may(&view, Operation::SessionSeeAll, agent.now()).is_ok();
    let items = agent
        .sessions
        .all()
        .into_iter()
        .filter(|session| all || session.identity == caller.identity())
        .filter_map(|session| {
            Some(Item {
                session: session.id,
                identity: view.identities.get(&session.identity)?.names.slug.clone(),
                assurance: session.assurance,
                client: session.from.client.clone(),
                since: session.since,
                expires_at: session.expires_at,
                own: session.id == caller.actor.session,
            })
        })
        .collect();
    Ok(ListResult { items }.into())
}

pub(super) async fn end(agent: &Agent, connection: &mut Connection, params: End) -> Result<Answer<Done>, Failure> {
    let caller = connection.caller(agent)?;
    let target = agent.sessions.find(params.session);
    let own = target.as_ref().is_some_and(|session| session.identity == caller.identity());
    let allowed = caller.may(&agent.store.view(), Operation::SessionEnd { own }, agent.now());
    let nothing = || Failure::new(ErrorKind::NotFound, "There is no such session.");
    // Others' sessions do not exist for who may not end them; that somebody tried is on record.
    let (Ok(_), Some(target)) = (allowed, target) else {
        agent.nothing_there(&caller, params.session.to_string(), "session.end").await;
        return Err(nothing());
    };
    let (by, ended) = (caller.clone(), target.actor());
    agent.store.submit(move |tx| command::end(tx, &by, &ended)).await.map_err(Failure::from)?;
    if target.id == caller.actor.session {
        connection.session = None;
        // Taken out without closing: the reply has to leave first, and closes the connection itself.
        agent.sessions.forget(target.id);
        return Ok(Answer { result: Done {}, held: None, end: true });
    }
    agent.sessions.end(target.id).ok_or_else(nothing)?;
    Ok(Done {}.into())
}

/// The connection has closed: its session, if it still has one, ends with it.
pub(super) fn closed(agent: &Agent, connection: Connection) {
    let Some(session) = connection.session else { return };
    if agent.sessions.end(session.id).is_some() {
        record_end(agent, session, "disconnected");
    }
}

/// Records, beside the call, that a session has ended by itself.
pub(super) fn record_end(agent: &Agent, session: Session, cause: &'static str) {
    let ended = Caller { actor: session.actor(), from: session.from };
    let submitted = agent.store.submit(move |tx| command::ended(tx, &ended, cause));
    tokio::spawn(async move {
        if let Err(refused) = submitted.await {
            tracing::warn!(?refused, "the end of a session was not recorded");
        }
    });
}
