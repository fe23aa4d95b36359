//! What the running agent does when a time has come and nobody calls: what nobody confirmed lapses and what nobody decided
//! expires, and rights that nobody confirmed end, on record; alerts that nobody answered escalate; whose certificate was revoked is logged
//! out.

use std::sync::Arc;
use std::time::Duration;

use strongroom_proto::words::{PendingStatus, RequestStatus};
use tokio_util::sync::CancellationToken;

use crate::commands::{alert, pending, request};
use crate::erasing::erase;
use crate::handler::{Agent, review};
use crate::state::alert::Escalation;

/// How often it is looked, unless alerts escalate faster. Decisions do not wait for it: what has lapsed gives nothing from that
/// moment on.
const TICK: Duration = Duration::from_secs(20);
/// Rows that one commit changes at most, so that releases interleave.
const BATCH_LEN: usize = 100;

/// Looks until told to stop.
pub(crate) async fn run(agent: Arc<Agent>, stop: CancellationToken) {
    let tick = tick(agent.escalation);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(tick) => {}
        }
        lapse(&agent).await;
        expire(&agent).await;
        settle(&agent).await;
        escalate(&agent).await;
        erase(&agent).await;
        agent.end_revoked().await;
        agent.raise_alarms();
    }
}

/// Four looks within the time after which alerts escalate, if that is short.
fn tick(escalation: Escalation) -> Duration {
    let after = u64::try_from(escalation.after.as_secs()).unwrap_or(0);
    Duration::from_millis((after.saturating_mul(1000) / 4).max(250)).min(TICK)
}

async fn escalate(agent: &Agent) {
    let (escalation, now) = (agent.escalation, agent.now());
    if alert::overdue(&agent.store.view(), escalation, now).next().is_none() {
        return;
    }
    match agent.store.submit(move |tx| alert::escalate(tx, escalation, BATCH_LEN)).await {
        Ok(escalated) => tracing::warn!(count = escalated.value(), "ALERT: nobody has answered alerts in time"),
        Err(refused) => tracing::warn!(?refused, "that alerts escalated could not be recorded"),
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
