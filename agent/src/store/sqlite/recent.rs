//! Rebuilds from the newest records who took codes of what in the last hour, so that a restart forgives no limit.

use jiff::Timestamp;
use rusqlite::{Connection, params};
use strongroom_proto::audit::record::{Record, RecordOutcome};
use strongroom_proto::ids::{IdentityId, VaultId};

use super::load::read;
use crate::state::recent::{RECENT, Release};
use crate::state::{LogId, State};
use crate::store::StoreError;

/// Reads each log backwards as far as limits look.
pub(super) fn load(connection: &Connection, state: &mut State) -> Result<(), StoreError> {
    let since = state.latest.checked_sub(RECENT).unwrap_or(Timestamp::MIN);
    let mut releases: Vec<(IdentityId, Release)> = Vec::new();
    let logs: Vec<LogId> = state.heads.keys().copied().collect();
    let mut resumed: Vec<(IdentityId, Timestamp)> = Vec::new();
    for log in logs {
        newest(connection, log, since, |record| match (log, record.event.as_str()) {
            (LogId::Vault(vault), "code.release") => releases.extend(release(vault, record)),
            // Somebody looked at what a tripwire had counted: it counts anew from there.
            (LogId::Org, "identity.resume") => resumed.extend(record.target.identity.map(|who| (who, record.ts))),
            _ => {}
        })?;
    }
    releases.sort_by_key(|(_, release)| release.at);
    for (identity, release) in releases {
        let forgiven = resumed.iter().any(|(who, at)| *who == identity && release.at <= *at);
        if !forgiven {
            state.note_release(identity, release);
        }
    }
    Ok(())
}

fn release(vault: VaultId, record: &Record) -> Option<(IdentityId, Release)> {
    let (actor, account) = (record.actor.as_ref()?, record.target.account?);
    Some((actor.identity, Release { at: record.ts, vault, account }))
}

/// Passes on what happened in a log after `since`, newest first.
fn newest(
    connection: &Connection,
    log: LogId,
    since: Timestamp,
    mut take: impl FnMut(&Record),
) -> Result<(), StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT record FROM audit WHERE log = ?1 AND record IS NOT NULL ORDER BY seq DESC")
        .map_err(read)?;
    let mut rows = statement.query(params![log.to_bytes()]).map_err(read)?;
    while let Some(row) = rows.next().map_err(read)? {
        let text: String = row.get(0).map_err(read)?;
        let Ok(record) = serde_json::from_str::<Record>(&text) else { continue };
        if record.ts <= since {
            break;
        }
        if record.outcome == RecordOutcome::Ok {
            take(&record);
        }
    }
    Ok(())
}
