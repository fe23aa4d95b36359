//! `agent.*`.

use std::sync::atomic::Ordering;

use strongroom_proto::error::Failure;
use strongroom_proto::method::agent::{Health, State, Status, StatusResult};
use strongroom_proto::rpc::PROTOCOL_VERSION;

use super::{Agent, Answer, Connection};

pub(super) async fn status(agent: &Agent, _: &mut Connection, _: Status) -> Result<Answer<StatusResult>, Failure> {
    let health = |fine: bool| if fine { Health::Ok } else { Health::Failing };
    let token = agent.token_ok.load(Ordering::Relaxed);
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
        overdue: agent.overdue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone(),
    };
    Ok(result.into())
}
