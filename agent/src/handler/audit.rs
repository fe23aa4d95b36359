//! `audit.*`.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use strongroom_proto::audit::checkpoint::SignedCheckpoint;
use strongroom_proto::audit::log_key::{LogKey, Ways};
use strongroom_proto::audit::record::Record;
use strongroom_proto::audit::witness::with_lines_of;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{AccountId, IdentityId, Slug};
use strongroom_proto::method::audit::{
    Checkpoint, CheckpointResult, Erase, Erasing, Export, Exported, Item, LEAVES_LEN_MAX, Leaves, LeavesPage,
    PAGE_LEN_MAX, Page as WirePage, Read, Search, Snapshot, SnapshotPiece,
};

use super::{Agent, Answer, Connection};
use crate::access::{Operation, Scope};
use crate::audit::checkpointer::CheckpointError;
use crate::commands::{Caller, REASON_LEN_MAX, check_some_text, erasure, session as command};
use crate::state::{LogId, State};
use crate::store::StoreError;
use crate::store::sqlite::{Page, Query, Readers, StoredRecord};
use crate::store::tx::origin;

/// Records of a page when nobody says.
const PAGE_LEN: u32 = 100;
/// Records that are looked through for one page of somebody who may see only some.
const LOOK_MAX: u32 = 10_000;
/// Fewest records that are looked through at once for somebody who may see only some.
const BATCH_MIN: u32 = 256;
/// Older checkpoints in an export.
const CHECKPOINTS_MAX: u32 = 100;
/// A page stops growing here, in bytes, so that it fits a frame with its envelope and escapes.
const PAGE_BYTES_MAX: usize = 400 * 1024;

/// Longest piece of a state snapshot, in bytes: its quotes are escaped once more.
const PIECE_LEN_MAX: usize = 200 * 1024;

/// Finds the log and decides; a refusal is recorded.
async fn find(
    agent: &Agent,
    caller: &Caller,
    vault: Option<&Slug>,
    operation: Operation,
    event: &'static str,
) -> Result<(Arc<State>, LogId, Scope, bool), Failure> {
    let view = agent.store.view();
    let now = agent.now();
    let Some(slug) = vault else {
        return match caller.may(&view, Operation::OrgTrailRead, now) {
            Ok(_) => Ok((view, LogId::Org, Scope::Whole, true)),
            Err(denial) => Err(agent.refuse(caller, denial, None, event).await),
        };
    };
    let Some(found) = view.vault(slug).map(|vault| vault.id) else {
        return Err(agent.nothing_there(caller, slug.to_string(), event).await);
    };
    match caller.may_in(&view, found, operation, now) {
        Ok(terms) => {
            // Who reads only as a viewer gets the records of accounts, not those of people.
            let whole = caller.may_in(&view, found, Operation::TrailExport, now).is_ok();
            Ok((view, LogId::Vault(found), terms.scope, whole))
        }
        Err(denial) => Err(agent.refuse(caller, denial, Some(found), event).await),
    }
}

pub(super) async fn read(
    agent: &Agent,
    connection: &mut Connection,
    params: Read,
) -> Result<Answer<WirePage>, Failure> {
    let caller = connection.caller(agent)?;
    let limit = page_limit(params.limit)?;
    if params.from.is_some() && params.before.is_some() {
        return Err(Failure::new(ErrorKind::InvalidParams, "Give from or before, not both."));
    }
    let (_, log, scope, whole) =
        find(agent, &caller, params.vault.as_ref(), Operation::TrailRead, "audit.read").await?;
    note_read(agent, connection, &caller, log).await?;
    let view = agent.store.view();
    let size = view.heads.get(&log).map_or(0, |head| head.frontier.size());
    let forward = params.from.is_some();
    let mut place = params.from.or(params.before).unwrap_or(size);
    let mut items = Vec::new();
    let mut bytes = 0;
    let mut looked = 0;
    let mut more = true;
    while more && looked < LOOK_MAX {
        let page = if forward { Page::From(place) } else { Page::Before(place) };
        // Whoever may see only some records makes the agent look through others: not one at a time.
        let wanted = limit.max(if whole { 1 } else { BATCH_MIN });
        let batch = records(agent, log, page, wanted).await?;
        more = batch.len() == wanted as usize;
        for record in batch {
            looked += 1;
            let next = if forward { record.seq + 1 } else { record.seq };
            if whole || within(&record, &scope) {
                bytes += record.record.len() * 2;
                if items.len() == limit as usize || bytes > PAGE_BYTES_MAX {
                    more = true;
                    looked = LOOK_MAX;
                    break;
                }
                items.push(Item { seq: record.seq, record: record.record, openings: record.openings });
            }
            place = next;
        }
    }
    let ended = if forward { place >= size } else { place <= view.kept_from(log) };
    let next = (more && !ended).then_some(place);
    let pruned = view.pruned.get(&log).cloned();
    Ok(WirePage { log: origin(&view, log).to_string(), size, items, next, pruned }.into())
}

fn within(record: &StoredRecord, scope: &Scope) -> bool {
    serde_json::from_str::<Record>(&record.record).is_ok_and(|record| concerns(&record, scope))
}

/// True if a record is about an account that somebody may use.
fn concerns(record: &Record, scope: &Scope) -> bool {
    record.target.account.is_some_and(|account| scope.covers(account))
}

pub(super) async fn search(
    agent: &Agent,
    connection: &mut Connection,
    params: Search,
) -> Result<Answer<WirePage>, Failure> {
    let caller = connection.caller(agent)?;
    let limit = page_limit(params.limit)?;
    if params.account.is_some() && params.vault.is_none() {
        return Err(Failure::new(ErrorKind::InvalidParams, "account needs a vault: the org log is about none."));
    }
    let (_, log, scope, whole) =
        find(agent, &caller, params.vault.as_ref(), Operation::TrailRead, "audit.read").await?;
    note_read(agent, connection, &caller, log).await?;
    let view = agent.store.view();
    let size = view.heads.get(&log).map_or(0, |head| head.frontier.size());
    let before = params.before.unwrap_or(size).min(size);
    let store = agent.store.clone();
    let asked = Arc::clone(&view);
    let found = blocking(move || {
        let query = question(&asked, store.readers(), log, params)?;
        store.readers().search(log, &query, before, limit as usize, |record| whole || concerns(record, &scope))
    })
    .await?;
    let (mut items, mut next, mut bytes) = (Vec::new(), found.next, 0);
    for record in found.records {
        bytes += record.record.len() * 2;
        if bytes > PAGE_BYTES_MAX {
            next = Some(record.seq + 1);
            break;
        }
        items.push(Item { seq: record.seq, record: record.record, openings: record.openings });
    }
    let pruned = view.pruned.get(&log).cloned();
    Ok(WirePage { log: origin(&view, log).to_string(), size, items, next, pruned }.into())
}

/// The question in ids. A name that there has never been becomes an id that nobody has: nothing fits it, and the search takes as
/// long as for somebody whose name exists elsewhere.
fn question(view: &State, readers: &Readers, log: LogId, params: Search) -> Result<Query, StoreError> {
    let mut query = Query {
        event: params.event,
        outcome: params.outcome,
        session: params.session,
        ticket: params.ticket,
        since: params.since,
        until: params.until,
        ..Query::default()
    };
    if let Some(slug) = &params.identity {
        query.identity = Some(view.identity(slug).map_or_else(IdentityId::random, |identity| identity.id));
    }
    if let (Some(slug), LogId::Vault(vault)) = (&params.account, log) {
        let today = view.account(vault, slug).map(|account| account.id);
        let account = today.map_or_else(|| readers.account_once_named(log, slug.as_str()), |id| Ok(Some(id)))?;
        query.account = Some(account.unwrap_or_else(AccountId::random));
    }
    Ok(query)
}

fn page_limit(limit: Option<u32>) -> Result<u32, Failure> {
    match limit.unwrap_or(PAGE_LEN) {
        limit @ 1..=PAGE_LEN_MAX => Ok(limit),
        _ => Err(Failure::new(ErrorKind::InvalidParams, format!("limit is 1 to {PAGE_LEN_MAX}."))),
    }
}

/// Reading a log is an event of that log, once per connection and hour: a screen that polls must not fill it.
async fn note_read(agent: &Agent, connection: &mut Connection, caller: &Caller, log: LogId) -> Result<(), Failure> {
    let hour = agent.now().as_second().div_euclid(3600);
    if !connection.read.contains(&(log, hour)) {
        let caller = caller.clone();
        agent.store.submit(move |tx| command::log_read(tx, &caller, log, "audit.read")).await?;
        connection.read.insert((log, hour));
    }
    Ok(())
}

async fn records(agent: &Agent, log: LogId, page: Page, limit: u32) -> Result<Vec<StoredRecord>, Failure> {
    let store = agent.store.clone();
    blocking(move || store.readers().records(log, page, limit)).await
}

/// Runs a read of the store off the runtime.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Failure::new(ErrorKind::Internal, "The read ended abnormally."))?
        .map_err(Failure::from)
}

pub(super) async fn erase(
    agent: &Agent,
    connection: &mut Connection,
    params: Erase,
) -> Result<Answer<Erasing>, Failure> {
    let caller = connection.caller(agent)?;
    check_some_text("reason", &params.reason, REASON_LEN_MAX)?;
    let erased = agent.store.submit(move |tx| erasure::erase(tx, &caller, &params.identity, &params.reason)).await?;
    let (erasure::Erasing { pending, in_force }, receipt) = erased.into_parts();
    Ok(Erasing { in_force, pending, receipt }.into())
}

pub(super) async fn leaves(
    agent: &Agent,
    connection: &mut Connection,
    params: Leaves,
) -> Result<Answer<LeavesPage>, Failure> {
    let caller = connection.caller(agent)?;
    if params.limit == 0 || params.limit > LEAVES_LEN_MAX {
        return Err(Failure::new(ErrorKind::InvalidParams, format!("limit is 1 to {LEAVES_LEN_MAX}.")));
    }
    let (view, log, ..) = find(agent, &caller, params.vault.as_ref(), Operation::TrailRead, "audit.read").await?;
    let store = agent.store.clone();
    let leaves = blocking(move || store.readers().leaves(log, params.from, params.limit)).await?;
    let size = view.heads.get(&log).map_or(0, |head| head.frontier.size());
    Ok(LeavesPage { size, leaves: BASE64.encode(leaves.concat()) }.into())
}

pub(super) async fn checkpoint(
    agent: &Agent,
    connection: &mut Connection,
    params: Checkpoint,
) -> Result<Answer<CheckpointResult>, Failure> {
    let caller = connection.caller(agent)?;
    let (view, log, ..) = find(agent, &caller, params.vault.as_ref(), Operation::TrailRead, "audit.read").await?;
    let signed = agent.checkpointer.sign(log).await.map_err(|error| unsigned(&error))?;
    let pruned = view.pruned.get(&log).cloned();
    Ok(CheckpointResult { checkpoint: signed.note, public_key: signed.key.spki_pem(), pruned }.into())
}

pub(super) async fn snapshot(
    agent: &Agent,
    connection: &mut Connection,
    params: Snapshot,
) -> Result<Answer<SnapshotPiece>, Failure> {
    let caller = connection.caller(agent)?;
    let (view, log, ..) = find(agent, &caller, params.vault.as_ref(), Operation::TrailExport, "audit.read").await?;
    let Some(pruned) = view.pruned.get(&log).cloned() else {
        return Ok(SnapshotPiece { text: String::new(), next: None }.into());
    };
    note_read(agent, connection, &caller, log).await?;
    let store = agent.store.clone();
    let text = blocking(move || store.readers().state_text(log, pruned.until)).await?;
    let gone =
        || Failure::new(ErrorKind::AuditUnavailable, "The state snapshot of this log is gone: an operator must look.");
    let text = text.ok_or_else(gone)?;
    let from = usize::try_from(params.from).unwrap_or(usize::MAX);
    let rest =
        text.get(from..).ok_or_else(|| Failure::new(ErrorKind::InvalidParams, "from is where a piece begins."))?;
    let ends = (0..=PIECE_LEN_MAX.min(rest.len())).rev();
    let piece = ends.into_iter().find_map(|end| rest.get(..end)).unwrap_or_default();
    let next = (piece.len() < rest.len()).then_some((from + piece.len()) as u64);
    Ok(SnapshotPiece { text: piece.to_owned(), next }.into())
}

pub(super) async fn export(
    agent: &Agent,
    connection: &mut Connection,
    params: Export,
) -> Result<Answer<Exported>, Failure> {
    let caller = connection.caller(agent)?;
    let (view, log, ..) = find(agent, &caller, params.vault.as_ref(), Operation::TrailExport, "audit.export").await?;
    let by = caller.clone();
    agent.store.submit(move |tx| command::log_read(tx, &by, log, "audit.export")).await?;
    // The export's pages are part of this export: they are not recorded as reads again.
    connection.read.insert((log, agent.now().as_second().div_euclid(3600)));
    // Read before the checkpoint is signed: it covers the records that say so.
    let pruned = agent.store.view().pruned.get(&log).cloned();
    let signed = agent.checkpointer.sign(log).await.map_err(|error| unsigned(&error))?;
    let store = agent.store.clone();
    let (size, most) = (signed.size, CHECKPOINTS_MAX);
    let mut older = blocking(move || store.readers().checkpoints_before(log, size, most)).await?;
    let store = agent.store.clone();
    let witnessed = blocking(move || store.readers().cosigned(log)).await?;
    let mut newest = signed.note;
    for (at, note) in witnessed.into_iter().filter(|(at, _)| *at <= size) {
        let is_it =
            |older: &&mut String| SignedCheckpoint::parse(older).is_ok_and(|older| older.unverified().size == at);
        match older.iter_mut().find(is_it) {
            _ if at == size => newest = with_lines_of(&newest, &note),
            Some(same) => *same = with_lines_of(same, &note),
            None => older.push(note),
        }
    }
    let key = signed.key;
    let log_keys: Vec<LogKey> = view.log_keys.values().cloned().collect();
    let ways = Ways::collect(&log_keys, view.org_id()).map_err(|(_, error)| {
        tracing::error!(%error, "a statement of one key about the next does not hold");
        Failure::new(
            ErrorKind::AuditUnavailable,
            "A statement about the keys of the logs does not hold: see the agent's log.",
        )
    })?;
    // After a recovery onto another token the older ones are by a key that nobody vouched for this one with: a reader of this
    // folder cannot check them.
    let keys = ways.before(&key);
    let is_known = |note: &SignedCheckpoint| keys.iter().any(|key| note.verify(key).is_ok());
    older.retain(|note| SignedCheckpoint::parse(note).is_ok_and(|note| is_known(&note)));
    Ok(Exported {
        log: origin(&view, log).to_string(),
        size: signed.size,
        checkpoint: newest,
        checkpoints: older,
        public_key: key.spki_pem(),
        log_keys,
        pruned,
    }
    .into())
}

fn unsigned(error: &CheckpointError) -> Failure {
    match error {
        CheckpointError::Keystore(error) => super::token_failed(error),
        CheckpointError::NoLog => Failure::not_found(),
        other => {
            tracing::error!(error = %other, "no checkpoint");
            Failure::new(ErrorKind::AuditUnavailable, "The log could not be signed: see the agent's log.")
        }
    }
}
