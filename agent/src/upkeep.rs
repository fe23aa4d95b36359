//! What the running agent does when a time has come and nobody calls: what nobody confirmed lapses and what nobody decided
//! expires, on record; whose certificate was revoked is logged out.

use std::sync::Arc;
use std::time::Duration;

use strongroom_proto::words::{PendingStatus, RequestStatus};
use tokio_util::sync::CancellationToken;

use crate::commands::{pending, request};
use crate::handler::Agent;

/// How often it is looked. Decisions do not wait for it: what has lapsed gives nothing from that moment on.
const TICK: Duration = Duration::from_secs(20);
/// Rows that one commit changes at most, so that releases interleave.
const BATCH_LEN: usize = 100;

/// Looks until told to stop.
pub(crate) async fn run(agent: Arc<Agent>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(TICK) => {}
        }
        lapse(&agent).await;
        expire(&agent).await;
        agent.end_revoked().await;
        agent.raise_alarms();
    }
}

async fn lapse(agent: &Agent) {
    let now = agent.now();
    let due = {
        let view = agent.store.view();
        let mut open = view.open_pendings.keys().filter_map(|id| view.pendings.get(id));
        open.any(|pending| pending.status(now) == PendingStatus::Lapsed)
    };
    if !due {
        return;
    }
    match agent.store.submit(|tx| pending::sweep(tx, BATCH_LEN)).await {
        Ok(swept) => tracing::info!(count = swept.value(), "changes lapsed that nobody had confirmed"),
        Err(refused) => tracing::warn!(?refused, "what lapsed could not be recorded"),
    }
}

async fn expire(agent: &Agent) {
    let now = agent.now();
    let due = {
        let view = agent.store.view();
        let mut open = view.open_requests.keys().filter_map(|(_, id)| view.requests.get(id));
        open.any(|request| request.state == RequestStatus::Waiting && request.status(now) == RequestStatus::Expired)
    };
    if !due {
        return;
    }
    match agent.store.submit(|tx| request::sweep(tx, BATCH_LEN)).await {
        Ok(swept) => tracing::info!(count = swept.value(), "requests expired that nobody had decided"),
        Err(refused) => tracing::warn!(?refused, "what expired could not be recorded"),
    }
}
