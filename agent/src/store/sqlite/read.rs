//! Reading records back. Readers see commits only, cannot write, and are never the basis of a decision.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use jiff::Timestamp;
use rusqlite::{Connection, params};
use strongroom_proto::audit::merkle::{Hash, leaf_hash};
use strongroom_proto::audit::opening::Opening;
use strongroom_proto::audit::pruned::Pruned;

use super::file::connect_reader;
use crate::state::{LogId, State};
use crate::store::StoreError;
use crate::store::sealer::Sealer;

/// Records of one read of [`texts`].
const TEXTS_LEN: u32 = 1_000;
/// Idle connections that are kept.
const IDLE_MAX: usize = 4;

/// A record as it was written, with what stands beside it.
#[derive(Debug)]
pub struct StoredRecord {
    /// Its place.
    pub seq: u64,
    /// Its bytes.
    pub record: String,
    /// The values behind its commitments, as far as they were not erased.
    pub openings: Vec<Opening>,
}

/// Which part of a log.
#[derive(Clone, Copy, Debug)]
pub enum Page {
    /// Forward from a place on.
    From(u64),
    /// Backward from just before a place.
    Before(u64),
}

/// When a record was made, from its last bytes: members stand in the order of their names, and behind `ts` only the version
/// follows. `None` if it is no record.
pub(crate) fn recorded_at(record: &str) -> Option<Timestamp> {
    let (_, tail) = record.rsplit_once("\"ts\":\"")?;
    tail.split('"').next()?.parse().ok()
}

/// What was changed beside its leaf is shown to nobody as a record.
fn whole(records: Vec<StoredRecord>, flaw: Option<u64>) -> Result<Vec<StoredRecord>, StoreError> {
    match flaw {
        Some(seq) => Err(StoreError::Sealed(format!("record {seq} is not what was recorded"))),
        None => Ok(records),
    }
}

/// The bytes of records from a place on, up to one that was pruned.
pub(super) fn texts(connection: &Connection, log: LogId, from: u64) -> rusqlite::Result<Vec<String>> {
    let from = i64::try_from(from).unwrap_or(i64::MAX);
    connection
        .prepare_cached("SELECT record FROM audit WHERE log = ?1 AND seq >= ?2 ORDER BY seq LIMIT ?3")?
        .query_map(params![log.to_bytes(), from, TEXTS_LEN], |row| row.get::<_, Option<String>>(0))?
        .map_while(Result::transpose)
        .collect()
}

/// A few connections that can only read.
pub struct Readers {
    path: PathBuf,
    sealer: Arc<Sealer>,
    /// The state as of the last commit: how far logs are pruned.
    published: Arc<RwLock<Arc<State>>>,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) const fn new(path: PathBuf, sealer: Arc<Sealer>, published: Arc<RwLock<Arc<State>>>) -> Self {
        Self { path, sealer, published, idle: Mutex::new(Vec::new()) }
    }

    fn pruned(&self, log: LogId) -> Option<Pruned> {
        self.published.read().unwrap_or_else(PoisonError::into_inner).pruned.get(&log).cloned()
    }

    /// The first record of a log that was not pruned, as of the last commit.
    pub(super) fn kept_from(&self, log: LogId) -> u64 {
        self.pruned(log).map_or(0, |pruned| pruned.until)
    }

    pub(super) const fn sealer(&self) -> &Arc<Sealer> {
        &self.sealer
    }

    /// Reads at most `limit` records of a log; backward none that were pruned. Blocks: call it off the runtime.
    ///
    /// # Errors
    /// [`StoreError::Read`]; [`StoreError::Pruned`] if they would begin with one that was pruned; [`StoreError::Sealed`] if a
    /// record was changed or removed beside its leaf.
    pub fn records(&self, log: LogId, page: Page, limit: u32) -> Result<Vec<StoredRecord>, StoreError> {
        let (records, flaw) = self.with(|connection| {
            let (sql, place) = match page {
                Page::From(seq) => (
                    "SELECT seq, record, openings, leaf FROM audit WHERE log = ?1 AND seq >= ?2 ORDER BY seq LIMIT ?3",
                    seq,
                ),
                Page::Before(seq) => (
                    "SELECT seq, record, openings, leaf FROM audit WHERE log = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3",
                    seq,
                ),
            };
            let place = i64::try_from(place).unwrap_or(i64::MAX);
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query(params![log.to_bytes(), place, limit])?;
            self.take(log, &mut rows)
        })?;
        match (page, self.pruned(log)) {
            (Page::From(seq), Some(pruned)) if seq < pruned.until => Err(StoreError::Pruned(pruned)),
            _ => whole(records, flaw),
        }
    }

    /// Reads the records at these places, as many of them as there are, in the order asked for. Blocks.
    ///
    /// # Errors
    /// As [`Readers::records`].
    pub fn records_at(&self, log: LogId, places: &[u64]) -> Result<Vec<StoredRecord>, StoreError> {
        let (records, flaw) = self.at_once(|connection| {
            let mut one = connection
                .prepare_cached("SELECT seq, record, openings, leaf FROM audit WHERE log = ?1 AND seq = ?2")?;
            let (mut all, mut flaw) = (Vec::with_capacity(places.len()), None);
            for place in places {
                let place = i64::try_from(*place).unwrap_or(i64::MAX);
                let (records, broken) = self.take(log, &mut one.query(params![log.to_bytes(), place])?)?;
                all.extend(records);
                flaw = flaw.or(broken);
            }
            Ok((all, flaw))
        })?;
        whole(records, flaw)
    }

    /// Takes records from rows, and the place of one that does not fit its leaf.
    fn take(&self, log: LogId, rows: &mut rusqlite::Rows<'_>) -> rusqlite::Result<(Vec<StoredRecord>, Option<u64>)> {
        let (mut records, mut flaw) = (Vec::new(), None);
        // Asked after the rows were: a bound may move while they are read, and bodies only go behind it.
        let mut kept = None;
        while let Some(row) = rows.next()? {
            let seq = u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0);
            if seq < *kept.get_or_insert_with(|| self.kept_from(log)) {
                continue;
            }
            let openings = self.open(log, seq, row.get(2)?);
            let record: Option<String> = row.get(1)?;
            let leaf: Hash = row.get(3)?;
            match record.filter(|record| leaf_hash(record.as_bytes()) == leaf) {
                Some(record) => records.push(StoredRecord { seq, record, openings }),
                None => flaw = Some(seq),
            }
        }
        Ok((records, flaw))
    }

    /// Reads the bytes of records from a place on, as many as come at once. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn texts(&self, log: LogId, from: u64) -> Result<Vec<String>, StoreError> {
        self.with(|connection| texts(connection, log, from))
    }

    /// Passes on the records of a log after `since` that hold `needle`, newest first, until `take` says no. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn newest(
        &self,
        log: LogId,
        since: Timestamp,
        needle: &str,
        mut take: impl FnMut(StoredRecord) -> bool,
    ) -> Result<(), StoreError> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT seq, record, openings, leaf FROM audit WHERE log = ?1 AND record IS NOT NULL ORDER BY seq DESC",
            )?;
            let mut rows = statement.query(params![log.to_bytes()])?;
            while let Some(row) = rows.next()? {
                let text = row.get_ref(1)?.as_str()?;
                match recorded_at(text) {
                    Some(at) if at <= since => break,
                    Some(_) if text.contains(needle) => {}
                    _ => continue,
                }
                let leaf: Hash = row.get(3)?;
                if leaf_hash(text.as_bytes()) != leaf {
                    continue;
                }
                let seq = u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0);
                let openings = self.open(log, seq, row.get(2)?);
                if !take(StoredRecord { seq, record: text.to_owned(), openings }) {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Openings that do not open are withheld; the commitments in the record show that they are missing.
    pub(super) fn open(&self, log: LogId, seq: u64, sealed: Option<Vec<u8>>) -> Vec<Opening> {
        sealed
            .and_then(|sealed| self.sealer.open_text(log, &seq.to_be_bytes(), &sealed))
            .and_then(|plain| serde_json::from_slice(&plain).ok())
            .unwrap_or_default()
    }

    /// Reads at most `limit` leaf hashes from a place on. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn leaves(&self, log: LogId, from: u64, limit: u32) -> Result<Vec<Hash>, StoreError> {
        self.with(|connection| {
            let from = i64::try_from(from).unwrap_or(i64::MAX);
            connection
                .prepare_cached("SELECT leaf FROM audit WHERE log = ?1 AND seq >= ?2 ORDER BY seq LIMIT ?3")?
                .query_map(params![log.to_bytes(), from, limit], |row| row.get(0))?
                .collect()
        })
    }

    /// Reads kept checkpoints of a log below a size, oldest first, at most `most`, evenly thinned. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn checkpoints_before(&self, log: LogId, size: u64, most: u32) -> Result<Vec<String>, StoreError> {
        self.with(|connection| {
            connection
                .prepare_cached(
                    "SELECT note FROM (
                         SELECT size, note, row_number() OVER (ORDER BY size DESC) - 1 AS place, count(*) OVER () AS total
                         FROM checkpoint WHERE log = ?1 AND size < ?2
                     ) WHERE place % ((total + ?3 - 1) / ?3) = 0 ORDER BY size",
                )?
                .query_map(params![log.to_bytes(), i64::try_from(size).unwrap_or(i64::MAX), most], |row| row.get(0))?
                .collect()
        })
    }

    /// The newest checkpoint of a log that each witness signed: its size and the note. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn cosigned(&self, log: LogId) -> Result<Vec<(u64, String)>, StoreError> {
        self.with(|connection| {
            connection
                .prepare_cached("SELECT size, note FROM cosigned WHERE log = ?1 ORDER BY size, witness")?
                .query_map(params![log.to_bytes()], |row| {
                    Ok((u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0), row.get(1)?))
                })?
                .collect()
        })
    }

    /// As [`Readers::with`], all of it as of one moment: many small reads share one read transaction, which costs more than they do.
    pub(super) fn at_once<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        self.with(|connection| {
            let moment = connection.unchecked_transaction()?;
            let result = work(&moment)?;
            moment.commit()?;
            Ok(result)
        })
    }

    pub(super) fn with<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect_reader(&self.path)?,
        };
        let result = work(&connection).map_err(|error| StoreError::Read(error.to_string()));
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
        result
    }
}
