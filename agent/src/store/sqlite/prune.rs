//! Takes the bodies of pruned records from the file: after the commit that says so, in small steps from the oldest on, each with
//! its terms in the search index. A run that was killed is gone on with; what is left of it lies before the bound and is read by
//! nobody. Leaf hashes and checkpoints stay.

use rusqlite::{Connection, OptionalExtension as _, params};
use strongroom_proto::audit::record::Record;

use super::Store;
use super::read::Readers;
use super::search::{first_since, indexed, terms_of};
use super::writer::{Keepsake, integer};
use crate::state::LogId;
use crate::store::StoreError;

/// Records of one step: a few milliseconds of the writer's time.
const STEP_LEN: i64 = 500;

/// Bodies that go, with what the index has of them.
pub(super) struct Bodies {
    log: LogId,
    /// The first that goes.
    from: u64,
    /// The first that stays, for now.
    until: u64,
    terms: Vec<(i64, u64)>,
}

impl Bodies {
    /// Overwrites them in the file, all or none.
    pub(super) fn write(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        connection.execute_batch("PRAGMA secure_delete = ON")?;
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        transaction
            .prepare_cached(
                "UPDATE audit SET record = NULL, openings = NULL WHERE log = ?1 AND seq >= ?2 AND seq < ?3",
            )?
            .execute(params![self.log.to_bytes(), integer(self.from), integer(self.until)])?;
        {
            let mut forget = transaction.prepare_cached("DELETE FROM audit_term WHERE term = ?1 AND seq = ?2")?;
            for (term, seq) in &self.terms {
                forget.execute(params![term, integer(*seq)])?;
            }
        }
        transaction.commit()
    }
}

/// Empties the write-ahead log, which holds what was overwritten once more.
pub(super) fn forget_before(connection: &Connection) -> rusqlite::Result<()> {
    // Whoever reads just now keeps the old pages alive a little longer: the next checkpoint takes them.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

/// The text that stands for the pruned records of a log.
pub(super) fn state_text(connection: &Connection, log: LogId, size: u64) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT text FROM state_snapshot WHERE log = ?1 AND size = ?2")?
        .query_row(params![log.to_bytes(), integer(size)], |row| row.get(0))
        .optional()
}

impl Readers {
    /// The state snapshot of a log over its first `size` records, if there is one. What it says is believed by nobody before its
    /// SHA-256 was compared. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn state_text(&self, log: LogId, size: u64) -> Result<Option<String>, StoreError> {
        self.with(|connection| state_text(connection, log, size))
    }

    /// The place of the first record of a log that is not from before a time; the log's size if there is none. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn first_since(&self, log: LogId, since: jiff::Timestamp) -> Result<u64, StoreError> {
        self.at_once(|connection| first_since(connection, log, since))
    }

    /// True if the first records of a log, up to a place, are in the search index: what is not yet would be put there behind
    /// their end. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn is_indexed(&self, log: LogId, until: u64) -> Result<bool, StoreError> {
        Ok(self.with(|connection| indexed(connection, log))? >= until)
    }

    /// The next bodies that go, from a place on and before another; nothing if they are gone.
    fn bodies(&self, log: LogId, from: u64, until: u64) -> Result<Option<Bodies>, StoreError> {
        self.at_once(|connection| {
            let first: Option<i64> = connection
                .prepare_cached(
                    "SELECT seq FROM audit WHERE log = ?1 AND seq >= ?2 AND seq < ?3 AND record IS NOT NULL ORDER BY seq LIMIT 1",
                )?
                .query_row(params![log.to_bytes(), integer(from), integer(until)], |row| row.get(0))
                .optional()?;
            let Some(first) = first else { return Ok(None) };
            let end = first.saturating_add(STEP_LEN).min(integer(until));
            let mut statement = connection.prepare_cached(
                "SELECT seq, record, openings FROM audit WHERE log = ?1 AND seq >= ?2 AND seq < ?3 ORDER BY seq",
            )?;
            let mut rows = statement.query(params![log.to_bytes(), first, end])?;
            let mut terms = Vec::new();
            while let Some(row) = rows.next()? {
                let seq = u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0);
                let record: Option<String> = row.get(1)?;
                let openings = self.open(log, seq, row.get(2)?);
                if let Some(record) = record.and_then(|text| serde_json::from_str::<Record>(&text).ok()) {
                    terms.extend(terms_of(self.sealer(), log, &record, &openings).into_iter().map(|term| (term, seq)));
                }
            }
            let place = |seq: i64| u64::try_from(seq).unwrap_or(0);
            Ok(Some(Bodies { log, from: place(first), until: place(end), terms }))
        })
    }
}

impl Store {
    /// Takes the bodies of all records of a log before the bound that its `log.prune` has set. Gives how many steps it took; none
    /// if they are gone.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read or overwritten: what is left goes the next time.
    pub async fn take_bodies(&self, log: LogId) -> Result<u64, StoreError> {
        let until = self.view().kept_from(log);
        let (mut steps, mut from) = (0, 0);
        loop {
            let reader = self.clone();
            let next = tokio::task::spawn_blocking(move || reader.readers().bodies(log, from, until));
            match next.await.map_err(|_| StoreError::Read("the bodies of pruned records".to_owned()))?? {
                Some(bodies) => {
                    from = bodies.until;
                    self.keep(Keepsake::Bodies(bodies)).await?;
                }
                None if steps == 0 => return Ok(0),
                None => {
                    self.keep(Keepsake::Forgotten).await?;
                    return Ok(steps);
                }
            }
            steps += 1;
        }
    }
}
