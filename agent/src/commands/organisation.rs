//! Commands of the agent itself: the beginning of an organisation, start and stop.

use std::collections::BTreeMap;

use serde_json::Value;
use strongroom_proto::audit::log_key::LogKey;
use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::method::Receipt;

use super::REASON_LEN_MAX;
use super::identity::{By, NewIdentity, place_identity};
use crate::keystore::worker::TokenEvent;
use crate::state::LogId;
use crate::state::log_key::LogKeyRow;
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
    let (_, receipt) = place_identity(tx, admin, By::HOST, Draft::new("identity.enrol").detail("sole_admin", 1))?;
    Ok(((), receipt))
}

/// Records that the agent started. `voice` is the token whose key it speaks with, where there are two.
///
/// # Errors
/// Only if it cannot be written down.
pub fn started(
    tx: &mut Tx<'_>,
    version: &str,
    token: &str,
    second: Option<(&str, &str)>,
) -> Result<((), Receipt), Refusal> {
    let mut draft = Draft::new("agent.start").detail("version", version).detail("token", token);
    if let Some((second, voice)) = second {
        draft = draft.detail("second_token", second).detail("voice", voice);
    }
    let receipt = tx.append(LogId::Org, draft)?;
    Ok(((), receipt))
}

/// Records what happened to a token or one of its workers. `token` names it where there are two.
///
/// # Errors
/// Only if it cannot be written down.
pub fn token_event(tx: &mut Tx<'_>, event: &TokenEvent, token: Option<&str>) -> Result<((), Receipt), Refusal> {
    let about = |event: &'static str, worker: usize| {
        let draft = Draft::new(event).detail("worker", worker);
        token.map_or(draft.clone(), |token| draft.detail("token", token))
    };
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

/// Records that the agent speaks with another token's key from now on.
///
/// # Errors
/// Only if it cannot be written down.
pub fn voice_changed(tx: &mut Tx<'_>, token: &str, agent_key: &str, sessions: usize) -> Result<((), Receipt), Refusal> {
    let draft =
        Draft::new("agent.voice").detail("agent_key", agent_key).detail("token", token).detail("sessions", sessions);
    let receipt = tx.append(LogId::Org, draft)?;
    Ok(((), receipt))
}

/// Records that one key of the logs vouched for the next.
///
/// # Errors
/// Only if it cannot be written down.
pub fn log_key(tx: &mut Tx<'_>, statement: &LogKey) -> Result<((), Receipt), Refusal> {
    let LogKey { at, new, new_signature, old, old_signature, organisation: _ } = statement;
    let draft = Draft::new("log.key")
        .detail("at", at.to_string())
        .detail("new", new.clone())
        .detail("new_signature", new_signature.clone())
        .detail("old", old.clone())
        .detail("old_signature", old_signature.clone());
    tx.put(LogKeyRow { statement: statement.clone() })?;
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

/// Records that rows say what no record does, and seals what they belong to: everything, if it is about the organisation.
///
/// # Errors
/// Only if it cannot be written down: the org log is sealed already.
pub fn state_differs(tx: &mut Tx<'_>, log: LogId, count: usize, first: &str) -> Result<((), Receipt), Refusal> {
    let mut draft = Draft::new("audit.state_differs")
        .detail("differences", count)
        .detail("first", first.chars().take(REASON_LEN_MAX).collect::<String>())
        .detail("alert", "the store holds what no record speaks of: releases were stopped");
    draft.outcome = RecordOutcome::Failed;
    if let LogId::Vault(vault) = log {
        draft.target.vault = Some(vault);
    }
    let receipt = tx.append(LogId::Org, draft)?;
    tx.state.sealed.insert(log, format!("its rows say what its log does not: {first}"));
    Ok(((), receipt))
}

/// Records that the store was put back from a backup. `note` is what the restore left: a flat JSON object of texts and
/// integers.
///
/// # Errors
/// Only if it cannot be written down.
pub fn restored(tx: &mut Tx<'_>, note: &str) -> Result<((), Receipt), Refusal> {
    let mut draft = Draft::new("store.restored");
    // Whoever could write to the store could write the note: take facts of known names and forms, and nothing else.
    if let Ok(facts) = serde_json::from_str::<BTreeMap<String, Value>>(note) {
        for name in ["backup_at", "archive_sha256", "restored_at", "records_lost", "logs_short", "signer"] {
            match facts.get(name) {
                Some(Value::String(text)) if text.len() <= REASON_LEN_MAX && !text.chars().any(char::is_control) => {
                    draft = draft.detail(name, text.clone());
                }
                Some(Value::Number(number)) if number.as_u64().is_some_and(|number| number < 1 << 53) => {
                    draft = draft.detail(name, number.clone());
                }
                _ => {}
            }
        }
    }
    let receipt = tx.append(LogId::Org, draft)?;
    Ok(((), receipt))
}
