//! `session.*`.

use jiff::Timestamp;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{SessionId, Slug};
use strongroom_proto::login::{LOGIN_NAMESPACE, NONCE_LEN, login_text};
use strongroom_proto::method::Done;
use strongroom_proto::method::session::{
    End, Item, List, ListResult, Open, Opened, Prove, Proved, Whoami, WhoamiResult,
};
use strongroom_proto::rpc::PROTOCOL_VERSION;
use tokio::time::Instant;

use super::connection::Pending;
use super::notices::notices;
use super::{Agent, Answer, Connection};
use crate::access::Operation;
use crate::commands::Caller;
use crate::commands::session as command;
use crate::identity::{EnrolmentKey, Proof, assurance, verify};
use crate::session::registry::{Registry, Session, lifetime};
use crate::state::State;
use crate::store::Refused;

/// Longest name of a client program.
const CLIENT_LEN_MAX: usize = 64;

pub(super) async fn open(agent: &Agent, connection: &mut Connection, params: Open) -> Result<Answer<Opened>, Failure> {
    if params.protocol != PROTOCOL_VERSION {
        return Err(invalid(format!("This agent speaks protocol {PROTOCOL_VERSION} only.")));
    }
    let printable = params.client.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if params.client.is_empty() || params.client.len() > CLIENT_LEN_MAX || !printable {
        return Err(invalid("client is 1 to 64 printable ASCII characters."));
    }
    if connection.session.is_some() {
        return Err(Failure::new(ErrorKind::Conflict, "This connection has a session already."));
    }
    let key = EnrolmentKey::parse(&params.public_key).map_err(|refusal| invalid(format!("public_key: {refusal}.")))?;
    wait_allowed(agent, connection, &key.fingerprint)?;
    let mut nonce = [0; NONCE_LEN];
    getrandom::fill(&mut nonce).map_err(|_| Failure::new(ErrorKind::Internal, "The agent has no randomness."))?;
    let nonce = hex::encode(nonce);
    let voice = agent.voices.current();
    let opened = voice.proof.open_reply(&params.client_nonce, &nonce).map_err(|error| invalid(format!("{error}.")))?;
    connection.pending = Some(Pending {
        identity: params.identity.to_string(),
        agent: voice.proof.fingerprint().to_owned(),
        key: key.fingerprint,
        nonce,
        client: params.client,
    });
    Ok(opened.into())
}

pub(super) async fn prove(
    agent: &Agent,
    connection: &mut Connection,
    params: Prove,
) -> Result<Answer<Proved>, Failure> {
    // Taken, so that a nonce serves one attempt only.
    let pending = connection
        .pending
        .take()
        .ok_or_else(|| Failure::new(ErrorKind::Unauthenticated, "Call session.open first."))?;
    wait_allowed(agent, connection, &pending.key)?;
    let view = agent.store.view();
    let from = connection.from(&pending.client);
    let (caller, proof) = match check(agent, &view, &pending, &params.signature) {
        Ok((session_identity, attested, proof)) => {
            let actor = strongroom_proto::audit::record::Actor {
                assurance: assurance(attested, &proof),
                identity: session_identity,
                key: proof.fingerprint.clone(),
                session: SessionId::random(),
            };
            (Caller { actor, from: from.clone() }, proof)
        }
        Err(reason) => {
            throttle(agent).failed(connection.peer.uid, &pending.key, std::time::Instant::now());
            let (asked, key) = (pending.identity.clone(), pending.key.clone());
            let recorded = agent.store.submit(move |tx| command::failed(tx, &from, &asked, &key, reason)).await;
            if let Err(refused) = recorded {
                return Err(refused.into());
            }
            return Err(command::login_refused());
        }
    };
    let (overall, idle_timeout) = lifetime(caller.assurance(), &view.org_policy);
    let since = agent.now();
    let expires_at = since.checked_add(overall).unwrap_or(Timestamp::MAX);
    // Nobody's session outlives their access.
    let until = view.identities.get(&caller.identity()).and_then(|identity| identity.until);
    let expires_at = until.map_or(expires_at, |until| until.min(expires_at));
    let session = Session {
        id: caller.actor.session,
        identity: caller.identity(),
        key: caller.actor.key.clone(),
        assurance: caller.assurance(),
        from,
        since,
        expires_at,
        idle_timeout,
        close: connection.close.clone(),
    };
    // Registered before the commit: a revocation that commits right after this login finds the session and ends it.
    agent.sessions.begin(session.clone());
    // The call may be dropped at its deadline: then nobody has this session.
    let registered = Registered { sessions: &agent.sessions, session: session.id };
    let login = caller.clone();
    match agent.store.submit(move |tx| command::begin(tx, &login, proof.counter)).await {
        Ok(durable) => {
            if *durable.value() {
                tracing::warn!(key = %caller.actor.key, "ALERT: the counter of a FIDO key fell back: it may have been cloned");
            }
            throttle(agent).succeeded(&pending.key);
        }
        Err(refused) => {
            // Counted like any failed login: a revoked key must not fill the log. And answered, not shut out: the answer
            // is the one for unknown names.
            if matches!(refused, Refused::Denied(_)) {
                throttle(agent).failed(connection.peer.uid, &pending.key, std::time::Instant::now());
            }
            return Err(refused.into());
        }
    }
    std::mem::forget(registered);
    connection.last_call = Instant::now();
    let proved = proved(&agent.store.view(), &session, &caller, agent.now());
    connection.session = Some(session);
    Ok(proved?.into())
}

/// Forgets a session whose login did not come to its end.
struct Registered<'a> {
    sessions: &'a Registry,
    session: SessionId,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.sessions.forget(self.session);
    }
}

/// Checks a proof; the reason of a failure is for the log only. A stranger's key does the same work against a name that
/// exists and one that does not: neither gets as far as a signature.
fn check(
    agent: &Agent,
    view: &State,
    pending: &Pending,
    signature: &str,
) -> Result<(strongroom_proto::ids::IdentityId, bool, Proof), &'static str> {
    let slug = Slug::new(&pending.identity).map_err(|_| "identity")?;
    let identity = view.identity(&slug).ok_or("unknown identity")?;
    let key = view.keys.get(&pending.key).filter(|key| key.identity == identity.id).ok_or("unknown key")?;
    if key.active && !key.confirmed {
        return Err("unconfirmed key");
    }
    let enrolled = EnrolmentKey::parse(&key.public_key).map_err(|_| "key")?;
    let text = login_text(&pending.agent, agent.instance, &pending.nonce, &pending.key, &slug);
    let proof = verify(&enrolled.public_key, LOGIN_NAMESPACE, text.as_bytes(), signature).map_err(|error| {
        tracing::info!(%error, identity = %slug, "login refused");
        "signature"
    })?;
    Ok((identity.id, key.attested, proof))
}

fn proved(view: &State, session: &Session, caller: &Caller, now: Timestamp) -> Result<Proved, Failure> {
    let identity = view.identities.get(&session.identity).ok_or_else(command::login_refused)?;
    Ok(Proved {
        session: session.id,
        identity: identity.names.slug.clone(),
        name: identity.names.name.clone(),
        roles: identity.roles.clone(),
        assurance: session.assurance,
        idle_timeout_s: session.idle_timeout.as_secs(),
        expires_at: session.expires_at,
        notices: notices(view, caller, now),
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
        session: proved(&view, &session, &caller, agent.now())?,
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
    // Others' sessions do not exist for who may not end them.
    let (Ok(_), Some(target)) = (allowed, target) else { return Err(nothing()) };
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

fn wait_allowed(agent: &Agent, connection: &Connection, key: &str) -> Result<(), Failure> {
    throttle(agent).check(connection.peer.uid, key, std::time::Instant::now()).map_err(|throttled| {
        Failure::new(
            ErrorKind::RateLimited,
            format!("Too many failed logins; try again in {} s.", throttled.wait.as_secs() + 1),
        )
    })
}

fn throttle(agent: &Agent) -> std::sync::MutexGuard<'_, crate::identity::Throttle> {
    agent.throttle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::InvalidParams, message)
}
