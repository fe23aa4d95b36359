//! Commands of the agent itself: the beginning of an organisation, start and stop.

use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::method::Receipt;

use super::identity::{NewIdentity, place_identity};
use crate::keystore::worker::TokenEvent;
use crate::state::LogId;
use crate::state::rows::Org;
use crate::store::tx::{Draft, Refusal, Tx};

/// Begins the organisation: the first record of the org log, and the first admin.
///
/// # Errors
/// Only if it cannot be written down.
pub fn found(tx: &mut Tx<'_>, org: &Org, admin: &NewIdentity) -> Result<((), Receipt), Refusal> {
    let org = Org { created_at: tx.now, ..org.clone() };
    let genesis = Draft::new("log.open")
        .detail("agent_key", org.agent_key.clone())
        .detail("recovery_recipients", org.recovery_recipients.len());
    tx.put(org)?;
    tx.append(LogId::Org, genesis)?;
    let (_, receipt) = place_identity(tx, admin, Draft::new("identity.enrol").detail("sole_admin", 1))?;
    Ok(((), receipt))
}

/// Records that the agent started.
///
/// # Errors
/// Only if it cannot be written down.
pub fn started(tx: &mut Tx<'_>, version: &str, token: &str) -> Result<((), Receipt), Refusal> {
    let draft = Draft::new("agent.start").detail("version", version).detail("token", token);
    let receipt = tx.append(LogId::Org, draft)?;
    Ok(((), receipt))
}

/// Records what happened to the token or one of its workers.
///
/// # Errors
/// Only if it cannot be written down.
pub fn token_event(tx: &mut Tx<'_>, event: &TokenEvent) -> Result<((), Receipt), Refusal> {
    let about = |event: &'static str, worker: usize| Draft::new(event).detail("worker", worker);
    let failed = |draft: Draft| Draft { outcome: RecordOutcome::Failed, ..draft };
    let draft = match event {
        TokenEvent::Lost { worker, error } => failed(about("token.lost", *worker).detail("reason", error.to_string())),
        TokenEvent::Back { worker, down_ms } => about("token.back", *worker).detail("down_ms", *down_ms),
        TokenEvent::Renewed { worker, resident_kib } => {
            about("token.renewed", *worker).detail("resident_kib", *resident_kib)
        }
        TokenEvent::PinRefused { worker } => failed(about("token.pin_refused", *worker)),
    };
    let receipt = tx.append(LogId::Org, draft)?;
    Ok(((), receipt))
}

/// Records that the agent stops.
///
/// # Errors
/// Only if it cannot be written down.
pub fn stopped(tx: &mut Tx<'_>) -> Result<((), Receipt), Refusal> {
    let receipt = tx.append(LogId::Org, Draft::new("agent.stop"))?;
    Ok(((), receipt))
}
