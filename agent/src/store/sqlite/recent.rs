//! Rebuilds from the newest records who took codes of what lately, so that a restart forgives no limit and gives no window
//! twice. Every start reads an hour of every log: records are told apart by their bytes before any is parsed.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};
use serde::Deserialize;
use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::ids::{AccountId, IdentityId, VaultId};

use super::load::{read, take_window};
use super::read::recorded_at;
use crate::state::recent::{RECENT, Release};
use crate::state::{LogId, State};
use crate::store::StoreError;

/// The members of a record that say who took what.
#[derive(Deserialize)]
struct Taken {
    actor: Option<Actor>,
    #[serde(default)]
    detail: Detail,
    event: String,
    outcome: RecordOutcome,
    #[serde(default)]
    target: Target,
    ts: Timestamp,
}

#[derive(Deserialize)]
struct Actor {
    identity: IdentityId,
}

#[derive(Default, Deserialize)]
struct Detail {
    step: Option<u64>,
}

#[derive(Default, Deserialize)]
struct Target {
    account: Option<AccountId>,
    identity: Option<IdentityId>,
}

/// Reads each log backwards as far as limits look, and as far as a window can be open.
pub(super) fn load(connection: &Connection, state: &mut State) -> Result<(), StoreError> {
    let since = state.latest.checked_sub(RECENT).unwrap_or(Timestamp::MIN);
    let mut releases: Vec<(IdentityId, Release)> = Vec::new();
    let mut resumed: Vec<(IdentityId, Timestamp)> = Vec::new();
    let logs: Vec<LogId> = state.heads.keys().copied().collect();
    for log in logs {
        match log {
            // Somebody looked at what a tripwire had counted: it counts anew from there.
            LogId::Org => newest(connection, log, since, "identity.resume", |record| {
                resumed.extend(record.target.identity.map(|who| (who, record.ts)));
            })?,
            LogId::Vault(vault) => {
                let mut taken = Vec::new();
                newest(connection, log, since.min(windows_since(state, vault)), "code.release", |record| {
                    taken.push(record);
                })?;
                note(state, vault, taken, since, &mut releases);
            }
        }
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

/// Since when the current windows of a vault's accounts can have been open.
fn windows_since(state: &State, vault: VaultId) -> Timestamp {
    let longest_s = state.accounts_of(vault).map(|account| account.period_s).max().unwrap_or(0);
    state.latest.checked_sub(SignedDuration::from_secs(longest_s.into())).unwrap_or(Timestamp::MIN)
}

/// Notes windows and releases of one vault, whose records come newest first.
fn note(
    state: &mut State,
    vault: VaultId,
    taken: Vec<Taken>,
    since: Timestamp,
    releases: &mut Vec<(IdentityId, Release)>,
) {
    for record in taken.into_iter().rev() {
        let (Some(actor), Some(account)) = (record.actor, record.target.account) else { continue };
        if record.ts > since {
            releases.push((actor.identity, Release { at: record.ts, vault, account }));
        }
        if let Some(step) = record.detail.step
            && state.accounts.contains_key(&account)
        {
            take_window(state, account, step, actor.identity, record.ts);
        }
    }
}

/// Passes on what happened in a log after `since` under this event, newest first.
fn newest(
    connection: &Connection,
    log: LogId,
    since: Timestamp,
    event: &str,
    mut take: impl FnMut(Taken),
) -> Result<(), StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT record FROM audit WHERE log = ?1 AND record IS NOT NULL ORDER BY seq DESC")
        .map_err(read)?;
    let needle = format!("\"event\":\"{event}\"");
    let mut rows = statement.query(params![log.to_bytes()]).map_err(read)?;
    while let Some(row) = rows.next().map_err(read)? {
        let text = row.get_ref(0).and_then(|value| Ok(value.as_str()?)).map_err(read)?;
        match recorded_at(text) {
            Some(at) if at <= since => break,
            Some(_) if text.contains(&needle) => {}
            _ => continue,
        }
        let Ok(record) = serde_json::from_str::<Taken>(text) else { continue };
        // A text in a record may look like an event of its own.
        if record.event == event && record.outcome == RecordOutcome::Ok {
            take(record);
        }
    }
    Ok(())
}
