//! The writer thread: take one, take what else is waiting, one transaction, one sync, answer all. There is no linger
//! timer: while a commit syncs, the next batch gathers by itself.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jiff::{Timestamp, TimestampRound, Unit};
use rusqlite::{Connection, ErrorCode, params};
use strongroom_proto::error::Failure;
use strongroom_proto::ids::Instance;
use tokio::sync::oneshot;

use super::cursors::StreamRow;
use super::file::{StoreFile, connect, connect_unsynced, free_reserve};
use super::index::TermBatch;
use super::prune::{Bodies, forget_before};
use super::{Clock, cursors};
use crate::state::{LogId, State};
use crate::store::StoreError;
use crate::store::sealer::Sealer;
use crate::store::tx::{Change, Placed, Refusal, Tx};

/// Most commands of one commit.
const BATCH_LEN_MAX: usize = 256;
/// Most commands that wait; beyond it callers are told that the store is busy.
const QUEUE_LEN_MAX: usize = 1024;
/// How long the writer looks out for work before it sleeps: to be woken on a processor that sleeps too takes as long as a
/// commit.
const LINGER: Duration = Duration::from_micros(200);

/// How a job ended.
pub(super) enum End {
    /// It is durable.
    Committed,
    /// It was decided against.
    Denied(Failure),
    /// Nothing of it happened.
    Failed(StoreError),
}

/// A command with its type erased.
pub(super) trait Job: Send {
    fn urgent(&self) -> bool;
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), Refusal>;
    fn settle(self: Box<Self>, end: End);
}

/// What is kept beside the logs, and is no record itself.
pub(super) enum Keepsake {
    /// A signed checkpoint.
    Checkpoint {
        /// Of which log.
        log: LogId,
        /// Over how many records.
        size: u64,
        /// The signed note.
        note: String,
    },
    /// A checkpoint that a witness signed too.
    Cosigned {
        /// Of which log.
        log: LogId,
        /// Which witness, as the configuration calls it.
        witness: String,
        /// Over how many records.
        size: u64,
        /// The signed note.
        note: String,
    },
    /// Openings that replace those of records.
    Openings {
        /// Of which log.
        log: LogId,
        /// Place, and what is left of the record's openings.
        rows: Vec<(u64, Option<Vec<u8>>)>,
    },
    /// Places in the search index.
    Terms(TermBatch),
    /// Bodies of pruned records, to be overwritten.
    Bodies(Bodies),
    /// All of them are: nothing of them stays in the write-ahead log.
    Forgotten,
    /// How far streams have come.
    Streams(Vec<(String, StreamRow)>),
}

/// Something to be kept, and who waits for it.
pub(super) struct Note {
    pub(super) what: Keepsake,
    pub(super) answer: oneshot::Sender<Result<(), StoreError>>,
}

/// What goes into one commit.
struct Batch {
    jobs: Vec<Box<dyn Job>>,
    notes: Vec<Note>,
}

/// What waits for the writer.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

#[derive(Default)]
struct Waiting {
    urgent: VecDeque<Box<dyn Job>>,
    jobs: VecDeque<Box<dyn Job>>,
    notes: Vec<Note>,
    closing: Option<oneshot::Sender<()>>,
    closed: bool,
    sealed: Option<String>,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self { waiting: Mutex::new(Waiting::default()), wake: Condvar::new() }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, job: Box<dyn Job>) -> Result<(), StoreError> {
        let mut waiting = self.waiting();
        if waiting.closed {
            return Err(StoreError::Closed);
        }
        if let Some(reason) = &waiting.sealed
            && !job.urgent()
        {
            return Err(StoreError::Sealed(reason.clone()));
        }
        let lane = if job.urgent() { &mut waiting.urgent } else { &mut waiting.jobs };
        if lane.len() >= QUEUE_LEN_MAX {
            return Err(StoreError::Busy);
        }
        lane.push_back(job);
        drop(waiting);
        self.wake.notify_one();
        Ok(())
    }

    pub(super) fn push_note(&self, note: Note) -> Result<(), StoreError> {
        let mut waiting = self.waiting();
        if waiting.closed {
            return Err(StoreError::Closed);
        }
        waiting.notes.push(note);
        drop(waiting);
        self.wake.notify_one();
        Ok(())
    }

    pub(super) fn sealed(&self) -> Option<String> {
        self.waiting().sealed.clone()
    }

    pub(super) fn close(&self, answer: oneshot::Sender<()>) {
        self.waiting().closing = Some(answer);
        self.wake.notify_one();
    }

    /// Waits for work. `None` when the queue is closed and empty.
    fn take(&self) -> Option<Batch> {
        let begun = Instant::now();
        let mut waiting = self.waiting();
        loop {
            if !waiting.urgent.is_empty() || !waiting.jobs.is_empty() || !waiting.notes.is_empty() {
                let count = waiting.urgent.len().min(BATCH_LEN_MAX);
                let mut jobs: Vec<_> = waiting.urgent.drain(..count).collect();
                let count = waiting.jobs.len().min(BATCH_LEN_MAX - count);
                jobs.extend(waiting.jobs.drain(..count));
                return Some(Batch { jobs, notes: std::mem::take(&mut waiting.notes) });
            }
            if waiting.closing.is_some() {
                waiting.closed = true;
                return None;
            }
            if begun.elapsed() < LINGER {
                drop(waiting);
                std::thread::yield_now();
                waiting = self.waiting();
            } else {
                waiting = self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

/// What a batch has come to so far.
struct Work {
    state: State,
    changes: Vec<Change>,
    records: Vec<Placed>,
}

/// However the thread ends, by a fault of its own too: nobody waits for it in vain, and the agent knows that it is gone.
struct Ending(Arc<Queue>);

impl Drop for Ending {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        waiting.closed = true;
        if waiting.closing.is_none() {
            waiting.sealed = Some("the writer ended abnormally".to_owned());
        }
        // Dropping a job tells its caller that the store is closed.
        let left = (
            std::mem::take(&mut waiting.urgent),
            std::mem::take(&mut waiting.jobs),
            std::mem::take(&mut waiting.notes),
        );
        let closing = waiting.closing.take();
        drop(waiting);
        drop(left);
        if let Some(closing) = closing {
            let _ = closing.send(());
        }
    }
}

/// The thread's own data.
pub(super) struct Writer {
    file: StoreFile,
    sealer: Arc<Sealer>,
    instance: Instance,
    clock: Clock,
    state: State,
    published: Arc<RwLock<Arc<State>>>,
    queue: Arc<Queue>,
    failures: u32,
    /// For the search index; opened when it is first needed.
    unsynced: Option<Connection>,
}

impl Writer {
    pub(super) fn new(
        file: StoreFile,
        sealer: Arc<Sealer>,
        instance: Instance,
        clock: Clock,
        state: State,
        published: Arc<RwLock<Arc<State>>>,
        queue: Arc<Queue>,
    ) -> Self {
        Self { file, sealer, instance, clock, state, published, queue, failures: 0, unsynced: None }
    }

    pub(super) fn run(mut self) {
        let ending = Ending(Arc::clone(&self.queue));
        while let Some(Batch { jobs, notes }) = self.queue.take() {
            self.keep(notes);
            if !jobs.is_empty() {
                self.commit(jobs);
            }
        }
        // The file and its lock go before the answer: whoever waits may open the store at once.
        drop(self.unsynced);
        drop(self.file);
        drop(ending);
    }

    /// Commits a batch. If the disk is full, the reserve is freed and what ends access is tried once more.
    fn commit(&mut self, jobs: Vec<Box<dyn Job>>) {
        let Some((jobs, error)) = self.try_commit(jobs) else {
            self.failures = 0;
            return;
        };
        tracing::error!(%error, "the store could not commit");
        let full = matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull));
        self.fail_once(&error);
        let (urgent, others): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.urgent());
        for job in others {
            job.settle(End::Failed(StoreError::Commit(error.to_string())));
        }
        if urgent.is_empty() {
            return;
        }
        if full && free_reserve(&self.file.path) {
            tracing::warn!("freed the disk reserve for a revocation");
        }
        if let Some((urgent, error)) = self.try_commit(urgent) {
            self.fail_once(&error);
            for job in urgent {
                job.settle(End::Failed(StoreError::Commit(error.to_string())));
            }
        }
    }

    /// First failure: reopen the file. Second in a row: seal, because nobody knows what the disk does.
    fn fail_once(&mut self, error: &rusqlite::Error) {
        self.failures += 1;
        match connect(&self.file.path) {
            Ok(connection) => self.file.connection = connection,
            Err(error) => tracing::error!(%error, "the store could not be reopened"),
        }
        if self.failures >= 2 {
            self.queue.waiting().sealed = Some(format!("two commits in a row failed: {error}"));
        }
    }

    /// Runs and commits all jobs, or gives them back with the error: then nothing of them happened.
    fn try_commit(&mut self, mut jobs: Vec<Box<dyn Job>>) -> Option<(Vec<Box<dyn Job>>, rusqlite::Error)> {
        let mut work = Work { state: self.state.clone(), changes: Vec::new(), records: Vec::new() };
        let ends: Vec<End> = jobs.iter_mut().map(|job| self.run_job(job.as_mut(), &mut work)).collect();
        if let Err(error) = write(&mut self.file.connection, &self.sealer, &work) {
            return Some((jobs, error));
        }
        self.state = work.state;
        let published = Arc::new(self.state.clone());
        // The old state is let go after the lock.
        let _before =
            std::mem::replace(&mut *self.published.write().unwrap_or_else(PoisonError::into_inner), published);
        for (job, end) in jobs.into_iter().zip(ends) {
            job.settle(end);
        }
        None
    }

    /// One job on its own copy of the state; if it is refused, its denial instead.
    fn run_job(&self, job: &mut dyn Job, work: &mut Work) -> End {
        let Refusal { failure, record, also } = match self.attempt(work, |tx| job.run(tx)) {
            Ok(()) => return End::Committed,
            Err(refusal) => refusal,
        };
        let Some((log, draft)) = record else { return End::Denied(failure) };
        let denial = self.attempt(work, |tx| {
            tx.append(log, *draft)?;
            also.map_or(Ok(()), |also| also(tx))?;
            Ok(())
        });
        End::Denied(denial.err().map_or(failure, |refusal| refusal.failure))
    }

    /// Runs a command on a copy of the state, and takes what it did only if all of it was possible.
    fn attempt(
        &self,
        work: &mut Work,
        command: impl FnOnce(&mut Tx<'_>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let mut tx = Tx::new(work.state.clone(), &self.sealer, self.instance, micros((self.clock)()));
        command(&mut tx)?;
        let (state, changes, records) = tx.finish()?;
        work.state = state;
        work.changes.extend(changes);
        work.records.extend(records);
        Ok(())
    }

    fn keep(&mut self, notes: Vec<Note>) {
        for Note { what, answer } in notes {
            let connection = &mut self.file.connection;
            let kept = match what {
                Keepsake::Checkpoint { log, size, note } => connection
                    .execute(
                        "INSERT INTO checkpoint (log, size, note) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                        params![log.to_bytes(), integer(size), note],
                    )
                    .map(|_| ()),
                Keepsake::Cosigned { log, witness, size, note } => connection
                    .execute(
                        "INSERT INTO cosigned (log, witness, size, note) VALUES (?1, ?2, ?3, ?4)
                         ON CONFLICT (log, witness) DO UPDATE SET size = excluded.size, note = excluded.note",
                        params![log.to_bytes(), witness, integer(size), note],
                    )
                    .map(|_| ()),
                Keepsake::Streams(rows) => cursors::put(connection, &rows),
                Keepsake::Bodies(bodies) => bodies.write(connection),
                Keepsake::Forgotten => forget_before(connection),
                Keepsake::Openings { log, rows } => replace_openings(connection, log, &rows),
                Keepsake::Terms(batch) => {
                    let _ = answer.send(self.keep_terms(&batch));
                    continue;
                }
            };
            let _ = answer.send(kept.map_err(|error| StoreError::Commit(error.to_string())));
        }
    }
}

impl Writer {
    /// On a connection of its own, in this thread: two that write at once would wait for each other.
    fn keep_terms(&mut self, batch: &TermBatch) -> Result<(), StoreError> {
        let connection = match &mut self.unsynced {
            Some(connection) => connection,
            none => none.insert(connect_unsynced(&self.file.path)?),
        };
        batch.write(connection).map_err(|error| StoreError::Commit(error.to_string()))
    }
}

/// Overwrites what it replaces, in the file and in the write-ahead log.
fn replace_openings(connection: &mut Connection, log: LogId, rows: &[(u64, Option<Vec<u8>>)]) -> rusqlite::Result<()> {
    connection.execute_batch("PRAGMA secure_delete = ON")?;
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    {
        let mut put = transaction
            .prepare_cached("UPDATE audit SET openings = ?3 WHERE log = ?1 AND seq = ?2 AND record IS NOT NULL")?;
        for (seq, openings) in rows {
            put.execute(params![log.to_bytes(), integer(*seq), openings])?;
        }
    }
    transaction.commit()?;
    forget_before(connection)
}

/// Records carry microseconds: decide with what will be written.
fn micros(now: Timestamp) -> Timestamp {
    now.round(TimestampRound::new().smallest(Unit::Microsecond).mode(jiff::RoundMode::Trunc)).unwrap_or(now)
}

/// `SQLite`'s integers are signed; places in a log stay far below 2^63.
pub(super) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Everything of a batch in one transaction.
fn write(connection: &mut Connection, sealer: &Sealer, work: &Work) -> rusqlite::Result<()> {
    let Work { state, changes, records } = work;
    if changes.is_empty() && records.is_empty() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    {
        let mut put = transaction.prepare_cached(
            "INSERT INTO entity (kind, id, log, version, body, names, tag) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (kind, id) DO UPDATE SET
                 log = excluded.log, version = excluded.version, body = excluded.body, names = excluded.names, tag = excluded.tag",
        )?;
        let mut delete = transaction.prepare_cached("DELETE FROM entity WHERE kind = ?1 AND id = ?2")?;
        for change in changes {
            match change {
                Change::Put(row) => {
                    put.execute(params![
                        row.kind,
                        row.key,
                        row.log,
                        integer(row.version),
                        row.body,
                        row.names,
                        row.tag
                    ])?;
                }
                Change::Delete { kind, key } => {
                    delete.execute(params![kind, key])?;
                }
                Change::Snapshot { log, size, text, oldest } => {
                    let log = log.to_bytes();
                    transaction.execute(
                        "DELETE FROM state_snapshot WHERE log = ?1 AND size < ?2",
                        params![log, integer(*oldest)],
                    )?;
                    transaction.execute(
                        "INSERT OR REPLACE INTO state_snapshot (log, size, text) VALUES (?1, ?2, ?3)",
                        params![log, integer(*size), text],
                    )?;
                }
            }
        }
        let mut append = transaction
            .prepare_cached("INSERT INTO audit (log, seq, record, leaf, openings) VALUES (?1, ?2, ?3, ?4, ?5)")?;
        let mut dirty = BTreeSet::new();
        for record in records {
            let log = record.log.to_bytes();
            append.execute(params![log, integer(record.seq), record.record, record.leaf, record.openings])?;
            dirty.insert(record.log);
        }
        let mut advance = transaction.prepare_cached(
            "INSERT INTO log_head (log, frontier, state, last_ts, tag) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (log) DO UPDATE SET
                 frontier = excluded.frontier, state = excluded.state, last_ts = excluded.last_ts, tag = excluded.tag",
        )?;
        for log in dirty {
            if let Some(head) = state.heads.get(&log) {
                let frontier = head.frontier.to_bytes();
                let last_ts = head.last_ts.to_string();
                let tag = sealer.head_tag(log, &frontier, &head.state, &last_ts);
                advance.execute(params![log.to_bytes(), frontier, head.state, last_ts, tag])?;
            }
        }
    }
    transaction.commit()
}
