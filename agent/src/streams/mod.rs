//! Streams: copies of the logs to a SIEM, at least once, and never in the path of a release. One task sends each stream, so one
//! stream's trouble is nobody else's; one more watches all of them, keeps their places and tells people of what lags.

mod forward;
mod message;
mod ocsf;
mod progress;
mod rfc5424;
pub mod section;
mod sink;
mod watch;
mod window;

use std::sync::Arc;

use jiff::Timestamp;
use strongroom_proto::method::agent::Stream;
use tokio::task::{JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;

use self::progress::Progress;
use self::section::StreamConfig;
use crate::state::{LogId, State};
use crate::store::StoreError;
use crate::store::sqlite::{Clock, Store};

/// All streams of a running agent.
pub struct Streams {
    streams: Vec<Arc<Progress>>,
}

impl Streams {
    /// Takes up each stream where it was left.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn begin(store: &Store, configs: &[StreamConfig]) -> Result<Self, StoreError> {
        let view = store.view();
        let take_up = |config: &StreamConfig| {
            let kept = store.readers().stream(config.name.as_str())?;
            Ok(Arc::new(Progress::new(config.clone(), kept.as_ref(), &view)))
        };
        Ok(Self { streams: configs.iter().map(take_up).collect::<Result<_, StoreError>>()? })
    }

    /// Sends until told to stop; then what was recorded last still has a moment.
    pub async fn run(self: Arc<Self>, store: Store, clock: Clock, stop: CancellationToken) {
        if self.streams.is_empty() {
            return;
        }
        // Kept before anything is sent: a new stream that is killed at once must not take its first records for new ones.
        watch::keep(&store, &self.streams, false).await;
        let mut tasks = JoinSet::new();
        for progress in &self.streams {
            tasks.spawn(forward::run(store.clone(), Arc::clone(progress), stop.clone()));
        }
        let watching = CancellationToken::new();
        let watch = tokio::spawn(watch::run(store.clone(), self.streams.clone(), clock, watching.clone()));
        while tasks.join_next().await.is_some() {}
        watching.cancel();
        let _ = watch.await;
        watch::keep(&store, &self.streams, true).await;
    }

    /// How each stream is, for `agent.status`.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> Vec<Stream> {
        let status = |progress: &Arc<Progress>| {
            let inner = progress.lock();
            Stream {
                name: progress.config.name.clone(),
                connected: inner.connected,
                records_behind: inner.records,
                behind_s: inner.oldest.map_or(0, |oldest| seconds(oldest, now)),
                last_error: inner.error.clone(),
            }
        };
        self.streams.iter().map(status).collect()
    }

    /// A sentence for each stream that is behind for longer than it may be. They name streams, so they are for those who read
    /// the organisation's log.
    #[must_use]
    pub fn overdue(&self) -> Vec<String> {
        let sentence = |progress: &Arc<Progress>| {
            let inner = progress.lock();
            let since = inner.behind_since?;
            let error = inner.error.as_deref().unwrap_or("its receiver is slow");
            let (name, count) = (&progress.config.name, inner.records);
            Some(format!("the stream {name} is behind since {since:.0}, by {count} records: {error}"))
        };
        self.streams.iter().filter_map(sentence).collect()
    }

    /// The first record of a log that some stream has still to send for good; nothing if none sends this log.
    #[must_use]
    pub fn unsent_from(&self, view: &State, log: LogId) -> Option<u64> {
        self.streams.iter().filter_map(|progress| progress.unsent_from(view, log)).min()
    }

    /// True if any stream is behind for longer than it may be.
    #[must_use]
    pub fn any_overdue(&self) -> bool {
        self.streams.iter().any(|progress| progress.lock().behind_since.is_some())
    }
}

fn seconds(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_secs()).unwrap_or(0)
}

/// Runs what blocks off the runtime; a task that ended abnormally gave nothing.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Option<T> + Send + 'static) -> Option<T> {
    spawn_blocking(work).await.ok().flatten()
}
