//! `agent.*`.

use std::sync::PoisonError;

use strongroom_proto::error::Failure;
use strongroom_proto::method::agent::{Health, SecondToken, State, Status, StatusResult, TokenTrouble, Worker};
use strongroom_proto::rpc::PROTOCOL_VERSION;

use super::{Agent, Answer, Connection};
use crate::commands::Caller;
use crate::keystore::worker::{TokenState, WorkerStatus, Workers};
use crate::state::State as Published;

pub(super) async fn status(
    agent: &Agent,
    connection: &mut Connection,
    _: Status,
) -> Result<Answer<StatusResult>, Failure> {
    let token = agent.workers.serves();
    let view = agent.store.view();
    let sealed = agent.store.sealed().is_some();
    // One vault that does not match its log leaves the others alone, but an operator has to hear of it.
    let vault_sealed = !view.sealed.is_empty();
    let either = token || agent.second.as_ref().is_some_and(|second| second.workers.serves());
    let state = match (sealed, either) {
        (true, _) => State::Sealed,
        (false, false) => State::HsmUnavailable,
        (false, true) => State::Ready,
    };
    let mut result = StatusResult {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: PROTOCOL_VERSION,
        instance: agent.instance,
        started_at: agent.started_at,
        now: agent.wall(),
        state,
        token: health(token),
        store: health(!sealed && !vault_sealed),
        workers: workers(&agent.workers),
        token_trouble: trouble(&agent.workers),
        second_token: view.joined().map(|_| second_token(agent, view.import_copies.is_empty())),
        held_back: agent.throttle.lock().unwrap_or_else(PoisonError::into_inner).held_back(std::time::Instant::now()),
        certificates: agent.authorities.any(),
        overdue: agent.overdue.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        streams: Vec::new(),
        alerts: watcher(agent, connection).and_then(|caller| super::alert::open(&view, &caller, agent.now())),
    };
    // What streams are called and how much they carry is for those who read the trail; that one is behind, for everybody who
    // watches this agent.
    if operates(agent, &view, connection) {
        result.streams = agent.streams.status(agent.wall());
        result.overdue.extend(agent.streams.overdue());
    } else if agent.streams.any_overdue() {
        result.overdue.push("a copy of the trail is behind: strongroom status --streams".to_owned());
    }
    Ok(result.into())
}

/// Who asks, if they have a session. Asking for the status keeps none alive.
fn watcher(agent: &Agent, connection: &Connection) -> Option<Caller> {
    let session = connection.session.as_ref()?;
    let lives = agent.sessions.lives(session.id) && agent.now() < session.expires_at;
    lives.then(|| Caller { actor: session.actor(), from: session.from.clone() })
}

/// True in a session of an org admin or auditor. Asking for the status keeps no session alive.
fn operates(agent: &Agent, view: &Published, connection: &Connection) -> bool {
    connection.session.as_ref().is_some_and(|session| {
        let identity = view.identities.get(&session.identity);
        agent.sessions.lives(session.id)
            && agent.now() < session.expires_at
            && identity.is_some_and(|identity| identity.is_active(agent.now()) && !identity.roles.is_empty())
    })
}

fn second_token(agent: &Agent, complete: bool) -> SecondToken {
    match agent.second.as_ref().map(|second| &second.workers) {
        Some(second) => SecondToken {
            health: health(second.serves()),
            workers: workers(second),
            trouble: trouble(second),
            complete,
            speaks: agent.voices.current().workers.token() == second.token(),
        },
        None => SecondToken { health: Health::Failing, workers: Vec::new(), trouble: None, complete, speaks: false },
    }
}

fn health(fine: bool) -> Health {
    if fine { Health::Ok } else { Health::Failing }
}

fn workers(of: &Workers) -> Vec<Worker> {
    let worker = |worker: WorkerStatus| Worker {
        health: health(worker.serving),
        for_s: worker.for_s,
        restarts: worker.restarts,
        resident_kib: worker.resident_kib,
        in_flight: worker.in_flight as u64,
    };
    of.workers().into_iter().map(worker).collect()
}

/// What the token said may name files and keys: that is for the agent's own log and doctor.
fn trouble(of: &Workers) -> Option<TokenTrouble> {
    match of.state() {
        TokenState::Serving => None,
        TokenState::Recovering { .. } => Some(TokenTrouble::Recovering),
        TokenState::PinRefused => Some(TokenTrouble::PinRefused),
    }
}
