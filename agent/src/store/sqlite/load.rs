//! Reads the whole state and believes none of it: every tag, every record, every state digest, every Merkle root and every
//! anchor is checked. What does not fit seals its vault; if the org log does not fit, everything is sealed.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, Row as SqlRow};
use strongroom_proto::audit::merkle::{Frontier, Hash};
use strongroom_proto::audit::replay::LogState;
use strongroom_proto::ids::{IdentityId, OrgId};

use super::prune::state_text;
use super::recent;
use super::verify::{Kept, LogFlaw, Verifying};
use crate::audit::anchor::Anchors;
use crate::state::alert::Alert;
use crate::state::campaign::{Campaign, VaultReview};
use crate::state::canary::Canary;
use crate::state::ceremony::Ceremony;
use crate::state::erasure::Erasure;
use crate::state::group::{Group, Member};
use crate::state::incident::Incident;
use crate::state::log_key::LogKeyRow;
use crate::state::pending::Pending;
use crate::state::request::Request;
use crate::state::retention::Retention;
use crate::state::rotation::Rotation;
use crate::state::rows::{
    Account, Grant, Identity, Key, Login, Org, OrgRules, Policy, RecoveryCopy, Row, SealedSeedRow, Vault, VaultKeyRow,
};
use crate::state::second::{ImportCopy, SecondKey, SecondSeed, SecondToken};
use crate::state::{Head, LogId, Mark, State, Window};
use crate::store::StoreError;
use crate::store::sealer::{Sealer, StoredRow, Tampered};
use crate::store::tx::{digest, origin};

/// Loads and verifies. Without an `org` row the store is as `init` begins it.
///
/// With `alone`, the path of a store that nobody else writes to, further connections verify logs on all processors; without it
/// everything is seen as of this connection's transaction.
pub(super) fn load(
    connection: &Connection,
    alone: Option<&Path>,
    sealer: &Sealer,
    org: OrgId,
    anchors: &Anchors,
) -> Result<State, StoreError> {
    let mut state = State::empty(Org {
        id: org,
        created_at: Timestamp::UNIX_EPOCH,
        sole_admin_ended: false,
        recovery_recipients: Vec::new(),
        agent_key: String::new(),
    });
    let mut flaws: BTreeMap<LogId, String> = BTreeMap::new();
    let mut end_flaws = BTreeMap::new();
    let heads = load_heads(connection, sealer, &mut end_flaws)?;
    let verifying = Verifying::new(org, &heads, anchors);
    let verified = std::thread::scope(|scope| {
        let helpers = alone.map(|path| verifying.help(scope, path)).unwrap_or_default();
        load_rows(connection, sealer, &mut state, &mut flaws)?;
        verifying.finish(connection, helpers)
    })?;
    flaws.extend(end_flaws);
    for ((log, head), verified) in heads.into_iter().zip(verified) {
        let matches = verified.and_then(|kept| {
            rows_match(&state, log, &head)?;
            retention_matches(connection, &state, log, &kept)
        });
        match matches {
            // Only a log that matches moves the time: a forged one could end every timed grant.
            Ok(()) if !flaws.contains_key(&log) => state.latest = state.latest.max(head.last_ts),
            Ok(()) => {}
            Err(LogFlaw::Read(error)) => return Err(error),
            Err(LogFlaw::Broken(flaw)) => {
                flaws.entry(log).or_insert(flaw);
            }
        }
        state.heads.insert(log, head);
    }
    for vault in state.vaults.keys() {
        if !state.heads.contains_key(&LogId::Vault(*vault)) {
            flaws.entry(LogId::Vault(*vault)).or_insert_with(|| "its log is gone".to_owned());
        }
    }
    for anchored in anchors.origins() {
        if !state.heads.keys().any(|log| origin(&state, *log).as_str() == anchored) {
            flaws.entry(LogId::Org).or_insert_with(|| format!("the anchored log {anchored} is gone"));
        }
    }
    // Only a store that `init` has not filled yet has no log of the organisation.
    let begun = !(state.heads.is_empty() && state.marks.is_empty());
    if begun && !state.heads.contains_key(&LogId::Org) {
        flaws.entry(LogId::Org).or_insert_with(|| "its log is gone".to_owned());
    }
    for (log, flaw) in flaws {
        tracing::error!(log = %origin(&state, log), %flaw, "SEALED: the store does not match its log");
        state.sealed.insert(log, flaw);
    }
    recent::load(connection, &mut state)?;
    Ok(state)
}

pub(super) fn read(error: rusqlite::Error) -> StoreError {
    StoreError::Read(error.to_string())
}

fn load_rows(
    connection: &Connection,
    sealer: &Sealer,
    state: &mut State,
    flaws: &mut BTreeMap<LogId, String>,
) -> Result<(), StoreError> {
    let mut statement =
        connection.prepare("SELECT kind, id, log, version, body, names, tag FROM entity").map_err(read)?;
    let mut rows = statement.query([]).map_err(read)?;
    while let Some(row) = rows.next().map_err(read)? {
        let stored = stored_row(row).map_err(read)?;
        if let Err(tampered) = place(&stored, sealer, state) {
            flaws.entry(LogId::from_bytes(stored.log)).or_insert_with(|| tampered.to_string());
        }
    }
    Ok(())
}

fn stored_row(row: &SqlRow<'_>) -> rusqlite::Result<StoredRow> {
    Ok(StoredRow {
        kind: row.get(0)?,
        key: row.get(1)?,
        log: row.get(2)?,
        version: u64::try_from(row.get::<_, i64>(3)?).unwrap_or(0),
        body: row.get(4)?,
        names: row.get(5)?,
        tag: row.get(6)?,
    })
}

/// Opens a row of whatever kind and puts it into the state.
fn place(stored: &StoredRow, sealer: &Sealer, state: &mut State) -> Result<(), Tampered> {
    fn put<R: Row>(stored: &StoredRow, sealer: &Sealer, state: &mut State) -> Result<(), Tampered> {
        let row: R = sealer.open(stored)?;
        if R::DECIDES {
            let mark = Mark { version: stored.version, tag: stored.tag };
            state.marks.insert((row.log(), R::KIND, row.key()), mark);
        }
        row.place(state);
        Ok(())
    }
    let put = match stored.kind.as_str() {
        Org::KIND => put::<Org>,
        Identity::KIND => put::<Identity>,
        Key::KIND => put::<Key>,
        Login::KIND => put::<Login>,
        Vault::KIND => put::<Vault>,
        Policy::KIND => put::<Policy>,
        VaultKeyRow::KIND => put::<VaultKeyRow>,
        Account::KIND => put::<Account>,
        SealedSeedRow::KIND => put::<SealedSeedRow>,
        RecoveryCopy::KIND => put::<RecoveryCopy>,
        SecondToken::KIND => put::<SecondToken>,
        SecondKey::KIND => put::<SecondKey>,
        SecondSeed::KIND => put::<SecondSeed>,
        ImportCopy::KIND => put::<ImportCopy>,
        Grant::KIND => put::<Grant>,
        Ceremony::KIND => put::<Ceremony>,
        OrgRules::KIND => put::<OrgRules>,
        Group::KIND => put::<Group>,
        Member::KIND => put::<Member>,
        Pending::KIND => put::<Pending>,
        Request::KIND => put::<Request>,
        Campaign::KIND => put::<Campaign>,
        VaultReview::KIND => put::<VaultReview>,
        Canary::KIND => put::<Canary>,
        Erasure::KIND => put::<Erasure>,
        LogKeyRow::KIND => put::<LogKeyRow>,
        Rotation::KIND => put::<Rotation>,
        Retention::KIND => put::<Retention>,
        Alert::KIND => put::<Alert>,
        Incident::KIND => put::<Incident>,
        _ => {
            return Err(Tampered { kind: stored.kind.clone(), key: hex::encode(&stored.key), flaw: "unknown kind" });
        }
    };
    put(stored, sealer, state)
}

fn load_heads(
    connection: &Connection,
    sealer: &Sealer,
    flaws: &mut BTreeMap<LogId, String>,
) -> Result<Vec<(LogId, Head)>, StoreError> {
    let mut statement = connection.prepare("SELECT log, frontier, state, last_ts, tag FROM log_head").map_err(read)?;
    let mut rows = statement.query([]).map_err(read)?;
    let mut heads = Vec::new();
    while let Some(row) = rows.next().map_err(read)? {
        let log = LogId::from_bytes(row.get(0).map_err(read)?);
        let frontier: Vec<u8> = row.get(1).map_err(read)?;
        let state: Hash = row.get(2).map_err(read)?;
        let last_ts: String = row.get(3).map_err(read)?;
        let tag: Hash = row.get(4).map_err(read)?;
        if sealer.head_tag(log, &frontier, &state, &last_ts) != tag {
            flaws.insert(log, "the end of its log does not match its tag".to_owned());
        }
        match (Frontier::from_bytes(&frontier), last_ts.parse()) {
            (Ok(frontier), Ok(last_ts)) => heads.push((log, Head { frontier, state, last_ts })),
            _ => {
                flaws.insert(log, "the end of its log is malformed".to_owned());
            }
        }
    }
    Ok(heads)
}

fn rows_match(state: &State, log: LogId, head: &Head) -> Result<(), LogFlaw> {
    if digest(state, log) == head.state {
        return Ok(());
    }
    Err(LogFlaw::Broken("its rows do not match the state digest of its log".to_owned()))
}

/// A log lacks the bodies that its row and its own newest `log.prune` say were pruned, and no others; and what they had said is there.
fn retention_matches(connection: &Connection, state: &State, log: LogId, kept: &Kept) -> Result<(), LogFlaw> {
    let broken = |flaw: String| Err(LogFlaw::Broken(flaw));
    let held = state.pruned.get(&log);
    if held != kept.pruned.as_ref() {
        return broken("what was pruned of it is not what it says itself".to_owned());
    }
    let until = state.kept_from(log);
    if kept.gone > until {
        return broken(format!("record {until} is missing"));
    }
    let Some(pruned) = held else { return Ok(()) };
    let text = state_text(connection, log, until).map_err(|error| LogFlaw::Read(read(error)))?;
    match text {
        Some(text) if LogState::sha256(&text) == pruned.snapshot => Ok(()),
        Some(_) => broken("its state snapshot is not the one that was recorded".to_owned()),
        None => broken("its state snapshot is missing".to_owned()),
    }
}

/// Notes that somebody took the code of a window, and tells who did before.
pub(crate) fn take_window(
    state: &mut State,
    account: strongroom_proto::ids::AccountId,
    step: u64,
    identity: IdentityId,
    at: Timestamp,
) -> Vec<(IdentityId, Timestamp)> {
    let mut window = state
        .windows
        .get(&account)
        .filter(|window| window.step >= step)
        .cloned()
        .unwrap_or_else(|| Window { step, taken: Vec::new() });
    if window.step > step {
        // A slow commit for a window that is over says nothing about the current one.
        return Vec::new();
    }
    let before = window.taken.clone();
    // One line per person and window is what people need; it also bounds the list.
    window.taken.retain(|(who, _)| *who != identity);
    window.taken.push((identity, at));
    state.windows.insert(account, window);
    before
}
