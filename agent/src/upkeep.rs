//! What the running agent does when a time has come and nobody calls: what nobody confirmed lapses and what nobody decided
//! expires, and rights that nobody confirmed end, on record; whose certificate was revoked is logged out.

use std::sync::Arc;
use std::time::Duration;

use strongroom_proto::words::{PendingStatus, RequestStatus};
use tokio_util::sync::CancellationToken;

use crate::commands::{pending, request};
use crate::erasing::erase;
use crate::handler::{Agent, review};

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
        settle(&agent).await;
        erase(&agent).await;
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

/// Ends what nobody confirmed in recertifications whose time is over.
async fn settle(agent: &Agent) {
    let now = agent.now();
    let due: Vec<_> = {
        let view = agent.store.view();
        let open = view.open_campaigns.keys().filter_map(|id| view.campaigns.get(id));
        open.filter(|campaign| campaign.is_due(now)).map(|campaign| campaign.id).collect()
    };
    for campaign in due {
        match review::settle(agent, campaign).await {
            Ok(()) => tracing::info!(%campaign, "a recertification is over"),
            Err(failure) => tracing::warn!(%failure, "a recertification could not be settled"),
        }
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
