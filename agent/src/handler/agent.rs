//! `agent.*`.

use std::sync::PoisonError;

use strongroom_proto::error::Failure;
use strongroom_proto::method::agent::{Health, State, Status, StatusResult, TokenTrouble, Worker};
use strongroom_proto::rpc::PROTOCOL_VERSION;

use super::{Agent, Answer, Connection};
use crate::keystore::worker::{TokenState, WorkerStatus};

pub(super) async fn status(agent: &Agent, _: &mut Connection, _: Status) -> Result<Answer<StatusResult>, Failure> {
    let health = |fine: bool| if fine { Health::Ok } else { Health::Failing };
    let token_state = agent.workers.state();
    let token = token_state == TokenState::Serving;
    let worker = |worker: WorkerStatus| Worker {
        health: health(worker.serving),
        for_s: worker.for_s,
        restarts: worker.restarts,
        resident_kib: worker.resident_kib,
        in_flight: worker.in_flight as u64,
    };
    let sealed = agent.store.sealed().is_some();
    // One vault that does not match its log leaves the others alone, but an operator has to hear of it.
    let vault_sealed = !agent.store.view().sealed.is_empty();
    let state = match (sealed, token) {
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
        workers: agent.workers.workers().into_iter().map(worker).collect(),
        // What the token said may name files and keys: that is for the agent's own log and doctor.
        token_trouble: match token_state {
            TokenState::Serving => None,
            TokenState::Recovering { .. } => Some(TokenTrouble::Recovering),
            TokenState::PinRefused => Some(TokenTrouble::PinRefused),
        },
        held_back: agent.throttle.lock().unwrap_or_else(PoisonError::into_inner).held_back(std::time::Instant::now()),
        certificates: agent.authorities.any(),
        overdue: agent.overdue.lock().unwrap_or_else(PoisonError::into_inner).clone(),
    };
    Ok(result.into())
}
