//! How far each stream has come, kept across restarts. Written seldom and in batches: to lose the newest seconds only means
//! that some records are sent twice.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::Store;
use super::read::Readers;
use super::writer::Keepsake;
use crate::state::LogId;
use crate::store::StoreError;

/// How far a stream has come in one log, in records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Everything before it is at the receiver for good.
    pub safe: u64,
    /// Everything before it was sent at least once.
    pub sent: u64,
}

/// What is kept of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamRow {
    /// The agent ended in order: nothing was sent beyond the places.
    pub clean: bool,
    /// Since when it is behind, if that is on record.
    pub behind_since: Option<Timestamp>,
    /// How far it has come, by log. Logs that are not named here have been sent nothing of.
    pub places: BTreeMap<LogId, Place>,
}

impl Readers {
    /// Reads what is kept of a stream; `None` if there was never one of this name. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn stream(&self, name: &str) -> Result<Option<StreamRow>, StoreError> {
        self.with(|connection| {
            let row: Option<(bool, Option<String>)> = connection
                .query_row("SELECT clean, behind_since FROM stream WHERE name = ?1", params![name], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .optional()?;
            let Some((clean, behind_since)) = row else { return Ok(None) };
            let mut statement = connection.prepare("SELECT log, safe, sent FROM stream_place WHERE stream = ?1")?;
            let places = statement
                .query_map(params![name], |row| {
                    let place = |column: i64| u64::try_from(column).unwrap_or(0);
                    Ok((LogId::from_bytes(row.get(0)?), Place { safe: place(row.get(1)?), sent: place(row.get(2)?) }))
                })?
                .collect::<rusqlite::Result<_>>()?;
            // A time that does not parse is none: then the outage is recorded once more.
            let behind_since = behind_since.and_then(|text| text.parse().ok());
            Ok(Some(StreamRow { clean, behind_since, places }))
        })
    }
}

impl Store {
    /// Keeps how far streams have come, all of them in one commit. No record of its own: it says nothing about the
    /// organisation, and whoever changes it only makes gaps and duplicates that the receiver sees.
    ///
    /// # Errors
    /// [`StoreError::Commit`] or [`StoreError::Closed`].
    pub async fn keep_streams(&self, rows: Vec<(String, StreamRow)>) -> Result<(), StoreError> {
        self.keep(Keepsake::Streams(rows)).await
    }
}

/// Writes all of it or nothing.
pub(super) fn put(connection: &mut Connection, rows: &[(String, StreamRow)]) -> rusqlite::Result<()> {
    let integer = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let step = connection.transaction()?;
    for (name, row) in rows {
        step.prepare_cached("INSERT OR REPLACE INTO stream (name, clean, behind_since) VALUES (?1, ?2, ?3)")?
            .execute(params![name, row.clean, row.behind_since.map(|at| at.to_string())])?;
        let mut statement = step
            .prepare_cached("INSERT OR REPLACE INTO stream_place (stream, log, safe, sent) VALUES (?1, ?2, ?3, ?4)")?;
        for (log, place) in &row.places {
            statement.execute(params![name, log.to_bytes(), integer(place.safe), integer(place.sent)])?;
        }
    }
    step.commit()
}
