//! Fills the search index behind the logs: never in a commit that somebody waits for, and in small steps, so that a store of
//! millions that had none gets one while codes are released.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::{Connection, params};
use strongroom_proto::audit::record::Record;
use tokio_util::sync::CancellationToken;

use super::Store;
use super::read::{Page, Readers};
use super::search::{indexed, terms_of};
use super::writer::Keepsake;
use crate::state::LogId;
use crate::store::StoreError;

/// How long new records may be without index. They are looked through one by one until then.
const TICK: Duration = Duration::from_secs(1);
/// Records of one step: a few milliseconds of the writer's time.
const STEP_LEN: u32 = 200;

/// Terms to be kept, and how far logs are in the index with them.
#[derive(Default)]
pub(super) struct TermBatch {
    terms: Vec<(i64, u64)>,
    sizes: BTreeMap<LogId, u64>,
}

impl TermBatch {
    /// Writes all of it or nothing.
    pub(super) fn write(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        {
            let mut put = transaction
                .prepare_cached("INSERT INTO audit_term (term, seq) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
            for (term, seq) in &self.terms {
                put.execute(params![term, i64::try_from(*seq).unwrap_or(i64::MAX)])?;
            }
            let mut advance = transaction.prepare_cached(
                "INSERT INTO audit_indexed (log, size) VALUES (?1, ?2) ON CONFLICT (log) DO UPDATE SET size = excluded.size",
            )?;
            for (log, size) in &self.sizes {
                advance.execute(params![log.to_bytes(), i64::try_from(*size).unwrap_or(i64::MAX)])?;
            }
        }
        transaction.commit()
    }

    /// Adds at most `most` records of a log from a place on; gives how many there were.
    fn add(&mut self, readers: &Readers, log: LogId, from: u64, most: u32) -> Result<u32, StoreError> {
        let records = readers.records(log, Page::From(from), most)?;
        for stored in &records {
            // A record that is none (an altered one would have been refused above) stands under no term.
            if let Ok(record) = serde_json::from_str::<Record>(&stored.record) {
                let terms = terms_of(readers.sealer(), log, &record, &stored.openings);
                self.terms.extend(terms.into_iter().map(|term| (term, stored.seq)));
            }
        }
        if let Some(last) = records.last() {
            self.sizes.insert(log, last.seq + 1);
        }
        Ok(u32::try_from(records.len()).unwrap_or(most))
    }
}

/// How far each log is in the index, as this process knows it.
#[derive(Default)]
pub struct Indexer {
    sizes: BTreeMap<LogId, u64>,
}

impl Indexer {
    /// Takes the next records into the index. True if there are more.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read or written.
    pub async fn step(&mut self, store: &Store) -> Result<bool, StoreError> {
        let view = store.view();
        let mut behind: Vec<(LogId, u64)> = Vec::new();
        for (log, head) in &view.heads {
            let size = head.frontier.size();
            let known = match self.sizes.get(log) {
                Some(known) => *known,
                None => store.readers().with(|connection| indexed(connection, *log))?,
            };
            // A power cut may have taken the end of the index, after records that it had were pruned.
            let known = known.max(view.kept_from(*log));
            self.sizes.insert(*log, known);
            // What does not match its log is not searched either.
            if known < size && !view.sealed.contains_key(log) {
                behind.push((*log, known));
            }
        }
        if behind.is_empty() {
            return Ok(false);
        }
        let reader = store.clone();
        let batch = tokio::task::spawn_blocking(move || {
            let (mut batch, mut left) = (TermBatch::default(), STEP_LEN);
            for (log, from) in behind {
                left -= batch.add(reader.readers(), log, from, left)?.min(left);
                if left == 0 {
                    break;
                }
            }
            Ok::<_, StoreError>(batch)
        });
        let batch = batch.await.map_err(|_| StoreError::Read("the index".to_owned()))??;
        let sizes = batch.sizes.clone();
        store.keep(Keepsake::Terms(batch)).await?;
        self.sizes.extend(sizes);
        Ok(true)
    }
}

/// Keeps the index up with the logs until told to stop.
pub async fn run(store: Store, stop: CancellationToken) {
    let mut indexer = Indexer::default();
    let mut told = false;
    loop {
        let more = match indexer.step(&store).await {
            Ok(more) => more,
            Err(error) => {
                if !told {
                    tracing::warn!(%error, "the trail's index is behind: searches take longer");
                }
                told = true;
                false
            }
        };
        let pause = if more { Duration::from_millis(5) } else { TICK };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}
