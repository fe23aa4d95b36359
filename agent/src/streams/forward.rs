//! Sends one stream's records: page by page from the store, so memory stays bounded however long an outage lasts, each log in
//! its own order. Nothing that calls wait for ever waits here, and nobody waits for this.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use strongroom_proto::audit::merkle::leaf_hash;
use strongroom_proto::audit::record::Record;
use tokio::task::spawn_blocking;
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;

use super::message::{Formatter, Item};
use super::progress::{Place, Progress};
use super::sink::{self, Sink};
use super::window::Window;
use crate::state::{LogId, State};
use crate::store::StoreError;
use crate::store::sqlite::{Page, Store, StoredRecord};
use crate::store::tx::origin;

/// How often it is looked for new records when there were none.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Records of a page: with the longest records less than a megabyte.
const PAGE_LEN: u32 = 100;
/// Messages that are written together, but for what the last page brings.
const BATCH_LEN: usize = 100;
/// A receiver that takes nothing of what was written for so long is given up.
const STALLED_AFTER: Duration = Duration::from_secs(30);
/// How long the last records may take when the agent stops.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Pauses between tries: the first, and the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const PAUSE_MOST: Duration = Duration::from_secs(30);
/// A connection that lasted so long was a good one: the pauses begin anew.
const GOOD_AFTER: Duration = Duration::from_secs(5);

/// Sends until told to stop.
pub(super) async fn run(store: Store, progress: Arc<Progress>, stop: CancellationToken) {
    let place = sink::Place::new(&progress.config);
    let formatter = Arc::new(Formatter::new(&progress.config));
    let mut pause = PAUSE_FIRST;
    while !stop.is_cancelled() {
        let connected = tokio::select! {
            () = stop.cancelled() => return,
            connected = place.connect() => connected,
        };
        let begun = Instant::now();
        let failed = match connected {
            Ok(sink) => {
                let window = Window::new(place.doubt());
                let mut line = Line { store: &store, progress: &progress, formatter: &formatter, sink, window };
                progress.lock().connected = true;
                let ended = line.carry(&stop).await;
                progress.lock().connected = false;
                match ended {
                    Ok(()) => return line.sink.close().await,
                    Err(failed) => failed,
                }
            }
            Err(error) => error.to_string(),
        };
        back_up(&progress, &failed);
        if begun.elapsed() >= GOOD_AFTER {
            pause = PAUSE_FIRST;
        }
        tracing::warn!(stream = %progress.config.name, error = %failed, pause_ms = pause.as_millis(), "a stream is broken");
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(jittered(pause)) => {}
        }
        pause = (pause * 2).min(PAUSE_MOST);
    }
}

/// Half to the whole of a pause, so that agents that lost one receiver do not come back as one.
fn jittered(pause: Duration) -> Duration {
    let mut random = [0; 1];
    // Without randomness the pause is a whole one.
    let share = if getrandom::fill(&mut random).is_ok() { f64::from(random[0]) / 255.0 } else { 1.0 };
    pause.mul_f64(0.5 + share / 2.0)
}

/// After a connection broke: everything that it may have lost is sent again.
fn back_up(progress: &Progress, error: &str) {
    let mut inner = progress.lock();
    inner.error = Some(error.to_owned());
    inner.changed = true;
    for place in inner.places.values_mut() {
        place.next = place.safe;
        place.taken = place.safe;
    }
}

/// One connection.
struct Line<'a> {
    store: &'a Store,
    progress: &'a Arc<Progress>,
    formatter: &'a Arc<Formatter>,
    sink: Sink,
    window: Window,
}

impl Line<'_> {
    /// Carries records until told to stop (`Ok`) or until the connection breaks.
    async fn carry(&mut self, stop: &CancellationToken) -> Result<(), String> {
        let mut moved = Instant::now();
        let mut ending: Option<Instant> = None;
        loop {
            let last = ending.is_some();
            let wrote = tokio::select! {
                biased;
                wrote = self.round(ending.map(|begun| begun + LAST_WORDS)) => wrote?,
                // A receiver that does not read holds up no stop.
                () = async { stop.cancelled().await; tokio::time::sleep(LAST_WORDS).await } => return Ok(()),
            };
            if self.settle()? || !self.window.waits() {
                moved = Instant::now();
            } else if moved.elapsed() > STALLED_AFTER {
                return Err(format!("the receiver took nothing for {} s", STALLED_AFTER.as_secs()));
            }
            if last {
                return Ok(());
            }
            if !wrote {
                tokio::select! {
                    // What was recorded until now, the agent's own stop, still has a moment.
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                }
            }
            if stop.is_cancelled() {
                ending = Some(Instant::now());
            }
        }
    }

    /// One page of each log that has grown, written together: a file is synced once for all of them. True if anything was
    /// written.
    async fn round(&mut self, until: Option<Instant>) -> Result<bool, String> {
        let view = self.store.view();
        let (logs, missing) = self.progress.logs(&view);
        let mut flaw = (!missing.is_empty()).then(|| format!("there is no vault called {}", missing.join(", ")));
        let mut batch = Batch::default();
        let mut wrote = false;
        for (log, size) in logs {
            loop {
                let place = self.progress.lock().places.entry(log).or_default().to_owned();
                if place.next >= size || until.is_some_and(|until| Instant::now() >= until) {
                    break;
                }
                match self.page(&view, log, place, size).await {
                    Ok(messages) => {
                        batch.ends.push((log, place.next + messages.len() as u64));
                        batch.messages.extend(messages);
                    }
                    // One log that cannot be read does not hold up the others.
                    Err(error) => {
                        flaw = Some(error);
                        break;
                    }
                }
                if until.is_some() || batch.messages.len() >= BATCH_LEN {
                    wrote |= self.write(&mut batch, until).await?;
                }
                // Each log has its turn; only the last words of a log are sent in one go.
                if until.is_none() {
                    break;
                }
            }
        }
        wrote |= self.write(&mut batch, until).await?;
        if let Some(flaw) = flaw {
            self.progress.lock().error = Some(flaw);
        }
        Ok(wrote)
    }

    /// The next page of a log as messages; at least one.
    async fn page(&self, view: &State, log: LogId, place: Place, size: u64) -> Result<Vec<String>, String> {
        let (store, formatter) = (self.store.clone(), Arc::clone(self.formatter));
        let (origin, openings) = (origin(view, log).to_string(), self.progress.config.openings);
        let reading = spawn_blocking(move || {
            let records = store.readers().records(log, Page::From(place.next), PAGE_LEN)?;
            let known = records.iter().take_while(|stored| stored.seq < size);
            let message =
                |stored: &StoredRecord| message(&formatter, &origin, stored, size, stored.seq < place.sent, openings);
            Ok::<Vec<String>, StoreError>(known.map(message).collect())
        });
        let messages = reading.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        if messages.is_empty() { Err("records of a log are missing in the store".to_owned()) } else { Ok(messages) }
    }

    /// Writes what was gathered. False if that is nothing.
    async fn write(&mut self, batch: &mut Batch, until: Option<Instant>) -> Result<bool, String> {
        let Batch { messages, ends } = std::mem::take(batch);
        if messages.is_empty() {
            return Ok(false);
        }
        {
            // Before it is written: a write that fails may have brought some of it there.
            let mut inner = self.progress.lock();
            for (log, next) in &ends {
                let place = inner.places.entry(*log).or_default();
                place.sent = place.sent.max(*next);
            }
            inner.changed = true;
        }
        let writing = self.sink.write(&messages);
        let written = match until {
            None => writing.await,
            Some(until) => timeout_at(until.into(), writing).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into())),
        };
        written.map_err(|error| error.to_string())?;
        let (end, _) = self.sink.taken().map_err(|error| error.to_string())?;
        let now = Instant::now();
        let mut inner = self.progress.lock();
        for (log, next) in ends {
            self.window.wrote(log, next, end, now);
            inner.places.entry(log).or_default().next = next;
        }
        Ok(true)
    }

    /// Takes in what the other side has taken. True if it took something.
    fn settle(&mut self) -> Result<bool, String> {
        let (written, taken) = self.sink.taken().map_err(|error| error.to_string())?;
        let advance = self.window.advance(taken, written, Instant::now());
        if advance.taken.is_empty() && advance.safe.is_empty() {
            return Ok(false);
        }
        let mut inner = self.progress.lock();
        inner.changed = true;
        if !advance.taken.is_empty() {
            inner.error = None;
        }
        for (log, place) in &advance.taken {
            inner.places.entry(*log).or_default().taken = *place;
        }
        for (log, place) in &advance.safe {
            inner.places.entry(*log).or_default().safe = *place;
        }
        Ok(!advance.taken.is_empty())
    }
}

/// What is written together.
#[derive(Default)]
struct Batch {
    messages: Vec<String>,
    /// How far that brings each log.
    ends: Vec<(LogId, u64)>,
}

fn message(
    formatter: &Formatter,
    origin: &str,
    stored: &StoredRecord,
    size: u64,
    resent: bool,
    openings: bool,
) -> String {
    let leaf = hex::encode(leaf_hash(stored.record.as_bytes()));
    let record: Option<Record> = serde_json::from_str(&stored.record).ok();
    formatter.message(&Item {
        log: origin,
        seq: stored.seq,
        leaf: &leaf,
        size,
        bytes: &stored.record,
        record: record.as_ref(),
        openings: if openings { &stored.openings } else { &[] },
        resent,
    })
}
