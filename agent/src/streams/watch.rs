//! Watches all streams: how far each lags, what people are told of it, and when its places are kept.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::progress::Progress;
use super::{blocking, seconds};
use crate::commands::stream as command;
use crate::state::LogId;
use crate::store::sqlite::{Clock, Page, Store, recorded_at};

/// How often it is looked how far streams lag.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often places are kept: one commit for all streams.
const KEEP_EVERY: Duration = Duration::from_secs(5);
/// A stream that was behind has caught up once its oldest record is younger than this, or than half of what it may be.
const CAUGHT_UP: SignedDuration = SignedDuration::from_secs(10);

/// When the record at a place of a log was made. Logs do not change, so what was read once need not be read again.
type Times = HashMap<LogId, (u64, Timestamp)>;

/// Watches until told to stop.
pub(super) async fn run(store: Store, streams: Vec<Arc<Progress>>, clock: Clock, stop: CancellationToken) {
    let mut times: Vec<Times> = streams.iter().map(|_| Times::new()).collect();
    let mut kept = Instant::now();
    loop {
        for (progress, times) in streams.iter().zip(&mut times) {
            measure(&store, progress, times).await;
            tell(&store, progress, clock()).await;
        }
        if kept.elapsed() >= KEEP_EVERY {
            keep(&store, &streams, false).await;
            kept = Instant::now();
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Keeps the places of all streams that moved.
pub(super) async fn keep(store: &Store, streams: &[Arc<Progress>], clean: bool) {
    let rows: Vec<_> = streams.iter().filter_map(|progress| progress.to_keep(clean)).collect();
    if rows.is_empty() {
        return;
    }
    if let Err(error) = store.keep_streams(rows).await {
        tracing::warn!(%error, "the places of streams were not kept: some records will be sent again");
        streams.iter().for_each(|progress| progress.lock().changed = true);
    }
}

/// Counts what was not taken, and finds the oldest of it.
async fn measure(store: &Store, progress: &Progress, times: &mut Times) {
    let (logs, _) = progress.logs(&store.view());
    let mut records = 0;
    let mut late: Vec<(LogId, u64)> = Vec::new();
    {
        let mut inner = progress.lock();
        for (log, size) in logs {
            let taken = inner.places.entry(log).or_default().taken;
            if taken < size {
                records += size - taken;
                late.push((log, taken));
            }
        }
    }
    times.retain(|log, (seq, _)| late.contains(&(*log, *seq)));
    let unknown: Vec<_> = late.iter().filter(|(log, _)| !times.contains_key(log)).copied().collect();
    if !unknown.is_empty() {
        let store = store.clone();
        let found = blocking(move || {
            let made = |(log, seq): (LogId, u64)| {
                let stored = store.readers().records(log, Page::From(seq), 1).ok()?;
                Some((log, (seq, recorded_at(&stored.first()?.record)?)))
            };
            Some(unknown.into_iter().filter_map(made).collect::<Vec<_>>())
        });
        times.extend(found.await.unwrap_or_default());
    }
    let mut inner = progress.lock();
    inner.records = records;
    inner.oldest = times.values().map(|(_, at)| *at).min();
}

/// Puts the beginning and the end of an outage on record, once each. The record of its own lag is one more that is behind, and
/// changes nothing: an outage that is on record is not recorded again before it is over.
async fn tell(store: &Store, progress: &Progress, now: Timestamp) {
    if store.sealed().is_some() {
        // Nothing can be recorded, and everybody is told that already.
        return;
    }
    let after = SignedDuration::try_from(progress.config.alert_after).unwrap_or(SignedDuration::MAX);
    let (oldest, since, records, error) = {
        let inner = progress.lock();
        (inner.oldest, inner.behind_since, inner.records, inner.error.clone())
    };
    let age = oldest.map_or(SignedDuration::ZERO, |oldest| now.duration_since(oldest));
    let name = progress.config.name.to_string();
    match (since, oldest) {
        (None, Some(oldest)) if age > after => {
            tracing::error!(stream = %name, records, ?error, "a stream is behind");
            let lag = command::Lag { name, since: oldest, records, error };
            if let Err(refused) = store.submit(move |tx| command::behind(tx, &lag)).await {
                // Tried again: a store that refuses now may not do so later.
                tracing::error!(?refused, "a stream's lag could not be recorded");
                return;
            }
            set(progress, Some(oldest));
        }
        (Some(since), _) if age < CAUGHT_UP.min(after / 2) => {
            let behind_s = seconds(since, now);
            tracing::info!(stream = %name, behind_s, "a stream has caught up");
            if let Err(refused) = store.submit(move |tx| command::caught_up(tx, &name, behind_s)).await {
                tracing::error!(?refused, "a stream's end of lag could not be recorded");
                return;
            }
            set(progress, None);
        }
        _ => {}
    }
}

fn set(progress: &Progress, since: Option<Timestamp>) {
    let mut inner = progress.lock();
    inner.behind_since = since;
    inner.changed = true;
}
