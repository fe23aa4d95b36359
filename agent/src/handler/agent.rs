//! `agent.*`.

use std::sync::PoisonError;

use strongroom_proto::error::Failure;
use strongroom_proto::method::agent::{Health, SecondToken, State, Status, StatusResult, TokenTrouble, Worker};
use strongroom_proto::rpc::PROTOCOL_VERSION;

use super::{Agent, Answer, Connection};
use crate::keystore::worker::{TokenState, WorkerStatus, Workers};

pub(super) async fn status(agent: &Agent, _: &mut Connection, _: Status) -> Result<Answer<StatusResult>, Failure> {
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
    let result = StatusResult {
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
    };
    Ok(result.into())
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
