//! One running worker as the agent sees it: calls go out in one write, answers come back in any number.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::config::{OPEN_DEADLINE, QUEUE_LEN};
use super::frames::{Inbox, append, read};
use super::launch::{Launcher, Process};
use super::uses::Tally;
use super::wire::{Answer, Answered, Asked, Call, Greeting, Hello, Purpose, Ready, now_ns};
use crate::keystore::pkcs11::TokenConfig;
use crate::keystore::{KeystoreError, Operation, ProbeReport};

/// Calls that are written together at most.
const CALLS_TOGETHER: usize = 32;
/// How long a worker that has done its work may take to end.
const LAST_CALL: Duration = Duration::from_secs(5);
/// Longest error that is believed, in bytes of its frame.
const ERROR_LEN_MAX: usize = 2048;

/// A worker whose token serves. Dropping it closes the socket; the worker then finishes its call and ends.
pub(super) struct Link {
    calls: mpsc::UnboundedSender<Frame>,
    waiting: Arc<Waiting>,
    next_id: AtomicU64,
    ready: Ready,
    closed: CancellationToken,
    /// The worker is to be replaced, whatever it answers.
    condemned: CancellationToken,
    tally: Arc<Tally>,
}

type Frame = Zeroizing<Vec<u8>>;

/// Calls without an answer, oldest first.
struct Waiting {
    calls: Mutex<BTreeMap<u64, Waiter>>,
    origin: Instant,
    /// When the last answer came, in µs after `origin`.
    last_answer_us: AtomicU64,
}

/// Who waits for an answer, if still somebody does, and since when.
struct Waiter {
    reply: Option<oneshot::Sender<Result<Answer, KeystoreError>>>,
    sent: Instant,
    patience: Duration,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Waiter>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    /// Starts a worker and waits until its token serves.
    ///
    /// # Errors
    /// The token's, or that the worker did not come up; a worker that does not serve has been ended.
    pub(super) async fn open(
        launcher: &Launcher,
        token: &TokenConfig,
        purpose: Purpose,
    ) -> Result<(Self, Process), KeystoreError> {
        let operation = if purpose == Purpose::Provision { Operation::Provision } else { Operation::Open };
        let (process, greeted) = begin(launcher, token, purpose, operation).await?;
        match greeted {
            Ok((reader, writer, inbox, Greeting::Ready(ready))) => {
                Ok((Self::start(reader, writer, inbox, ready), process))
            }
            Ok((_, _, _, greeting)) => {
                process.kill().await;
                Err(refusal(greeting, operation))
            }
            Err(error) => {
                process.kill().await;
                Err(error)
            }
        }
    }

    /// Starts a worker that only probes the token.
    ///
    /// # Errors
    /// The token's, if it cannot be probed at all.
    pub(super) async fn probe(launcher: &Launcher, token: &TokenConfig) -> Result<ProbeReport, KeystoreError> {
        let operation = Operation::Probe;
        let (process, greeted) = begin(launcher, token, Purpose::Probe, operation).await?;
        let report = match greeted {
            Ok((_, _, _, Greeting::Probed(report))) => Ok(report),
            Ok((_, _, _, greeting)) => Err(refusal(greeting, operation)),
            Err(error) => Err(error),
        };
        process.ended(LAST_CALL).await;
        report
    }

    fn start(reader: OwnedReadHalf, writer: OwnedWriteHalf, inbox: Inbox, ready: Ready) -> Self {
        let waiting =
            Arc::new(Waiting { calls: Mutex::default(), origin: Instant::now(), last_answer_us: AtomicU64::new(0) });
        let closed = CancellationToken::new();
        let (calls, queue) = mpsc::unbounded_channel();
        tokio::spawn(send(writer, queue));
        tokio::spawn(hear(reader, inbox, Arc::clone(&waiting), closed.clone()));
        Self {
            calls,
            waiting,
            next_id: AtomicU64::new(0),
            ready,
            closed,
            condemned: CancellationToken::new(),
            tally: Arc::default(),
        }
    }

    pub(super) const fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Its uses of vault keys.
    pub(super) const fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// Resolves when the worker has gone.
    pub(super) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Has the worker replaced, and waits until it is gone.
    pub(super) async fn condemn(&self) {
        self.condemned.cancel();
        if tokio::time::timeout(LAST_CALL, self.closed.cancelled()).await.is_err() {
            tracing::error!("a worker that was to be ended is still there");
        }
    }

    /// As [`Self::condemn`], without waiting.
    pub(super) fn condemned_now(&self) {
        self.condemned.cancel();
    }

    /// Resolves when the worker is to be replaced.
    pub(super) async fn condemned(&self) {
        self.condemned.cancelled().await;
    }

    /// Calls without an answer.
    pub(super) fn in_flight(&self) -> usize {
        self.waiting.lock().len()
    }

    /// Whether the worker has been silent for longer than `hung_after` and than its oldest caller was prepared to wait.
    pub(super) fn is_hung(&self, hung_after: Duration) -> bool {
        let last = self.waiting.origin + Duration::from_micros(self.waiting.last_answer_us.load(Ordering::Relaxed));
        let calls = self.waiting.lock();
        calls
            .first_key_value()
            .is_some_and(|(_, oldest)| oldest.sent.max(last).elapsed() > hung_after.max(oldest.patience))
    }

    /// Tells the worker something and does not wait. Calls that follow find it done.
    pub(super) fn tell(&self, call: Call) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut frame = Zeroizing::new(Vec::new());
        // A worker that has gone needs to be told nothing, and its answer is awaited by nobody.
        if append(&Asked { id, until_ns: u64::MAX, call: &call }, &mut frame).is_ok() {
            let _gone = self.calls.send(frame);
        }
    }

    /// Makes a call and waits for its answer, at most `patience`. An answer that comes later is dropped, which wipes it.
    ///
    /// # Errors
    /// `Busy` if too many calls wait, `DeadlinePassed`, `Device` if the worker ends, else the call's own.
    pub(super) async fn call(&self, patience: Duration, call: &Call) -> Result<Answer, KeystoreError> {
        let operation = Operation::Wait;
        let gone = || KeystoreError::Device { operation, code: "the worker has ended".into() };
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let until_ns = now_ns().saturating_add(u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX));
        let mut frame = Zeroizing::new(Vec::new());
        append(&Asked { id, until_ns, call }, &mut frame)
            .map_err(|error| KeystoreError::Refused { operation, code: error.to_string() })?;
        let (reply, answer) = oneshot::channel();
        {
            let mut calls = self.waiting.lock();
            if calls.len() >= QUEUE_LEN {
                return Err(KeystoreError::Busy { operation });
            }
            calls.insert(id, Waiter { reply: Some(reply), sent: Instant::now(), patience });
        }
        // Looked at after the call was noted: whoever closes the link afterwards answers it.
        if self.is_closed() || self.calls.send(frame).is_err() {
            self.waiting.lock().remove(&id);
            return Err(gone());
        }
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(gone()),
            Err(_) => {
                // The entry stays: as long as the worker owes an answer it may be hung.
                if let Some(waiter) = self.waiting.lock().get_mut(&id) {
                    waiter.reply = None;
                }
                Err(KeystoreError::DeadlinePassed { operation })
            }
        }
    }
}

fn too_long() -> KeystoreError {
    KeystoreError::Device { operation: Operation::Wait, code: "an error of unreasonable length".into() }
}

type Greeted = (OwnedReadHalf, OwnedWriteHalf, Inbox, Greeting);

/// Starts a worker and waits for its greeting.
async fn begin(
    launcher: &Launcher,
    token: &TokenConfig,
    purpose: Purpose,
    operation: Operation,
) -> Result<(Process, Result<Greeted, KeystoreError>), KeystoreError> {
    let unusable = |reason: String| KeystoreError::System { operation, reason: format!("no worker: {reason}") };
    let (process, socket) = launcher.launch().await.map_err(|error| unusable(error.to_string()))?;
    let hello = Hello { token: token.clone(), pin: launcher.pin(), purpose };
    let greeted = match tokio::time::timeout(OPEN_DEADLINE, greet(socket, &hello)).await {
        Ok(Ok(greeted)) => Ok(greeted),
        Ok(Err(error)) => Err(KeystoreError::Device { operation, code: format!("the worker ended: {error}") }),
        Err(_) => Err(KeystoreError::Hung { operation }),
    };
    Ok((process, greeted))
}

fn refusal(greeting: Greeting, operation: Operation) -> KeystoreError {
    match greeting {
        Greeting::Failed(error) => error,
        Greeting::NoPin { reason, remedy } => KeystoreError::NoPin { operation, reason, remedy },
        Greeting::Ready(_) | Greeting::Probed(_) => {
            KeystoreError::Device { operation, code: "the worker did something else".into() }
        }
    }
}

async fn greet(socket: StdUnixStream, hello: &Hello) -> io::Result<Greeted> {
    socket.set_nonblocking(true)?;
    let (mut reader, mut writer) = UnixStream::from_std(socket)?.into_split();
    let mut frame = Zeroizing::new(Vec::new());
    append(&serde_json::to_vec(hello)?, &mut frame).map_err(io::Error::other)?;
    writer.write_all(&frame).await?;
    let mut inbox = Inbox::new();
    loop {
        if let Some(frame) = inbox.next().map_err(io::Error::other)? {
            let long = frame.len() > ERROR_LEN_MAX;
            let greeting = match read(frame).map_err(io::Error::other)? {
                Greeting::Failed(_) if long => Greeting::Failed(too_long()),
                greeting => greeting,
            };
            return Ok((reader, writer, inbox, greeting));
        }
        match reader.read(inbox.space()).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => inbox.filled(count),
        }
    }
}

/// Writes calls: one at a time while it is quiet, many together when they come faster than they can be written.
async fn send(mut writer: OwnedWriteHalf, mut queue: mpsc::UnboundedReceiver<Frame>) {
    let mut frames = Vec::with_capacity(CALLS_TOGETHER);
    while queue.recv_many(&mut frames, CALLS_TOGETHER).await > 0 {
        let written = match frames.as_slice() {
            [only] => writer.write_all(only).await,
            many => {
                let mut together = Zeroizing::new(Vec::with_capacity(many.iter().map(|frame| frame.len()).sum()));
                many.iter().for_each(|frame| together.extend_from_slice(frame));
                writer.write_all(&together).await
            }
        };
        frames.clear();
        if written.is_err() {
            // The other half of the socket says so too, to everybody who waits.
            return;
        }
    }
}

/// Gives answers to those who wait, until the worker has gone.
async fn hear(mut reader: OwnedReadHalf, mut inbox: Inbox, waiting: Arc<Waiting>, closed: CancellationToken) {
    loop {
        loop {
            let Answered { id, result } = match inbox.next() {
                Ok(None) => break,
                Ok(Some(frame)) => match read(frame) {
                    // Errors go into logs and records: a module's words are not to fill them.
                    Ok(Answered { id, result: Err(_) }) if frame.len() > ERROR_LEN_MAX => {
                        Answered { id, result: Err(too_long()) }
                    }
                    Ok(answered) => answered,
                    Err(error) => return end(&waiting, &closed, &error.to_string()),
                },
                Err(error) => return end(&waiting, &closed, &error.to_string()),
            };
            let since = u64::try_from(waiting.origin.elapsed().as_micros()).unwrap_or(u64::MAX);
            waiting.last_answer_us.store(since, Ordering::Relaxed);
            let waiter = waiting.lock().remove(&id);
            if let Some(reply) = waiter.and_then(|waiter| waiter.reply) {
                let _given_up = reply.send(result);
            }
        }
        match reader.read(inbox.space()).await {
            Ok(0) | Err(_) => return end(&waiting, &closed, "it is gone"),
            Ok(count) => inbox.filled(count),
        }
    }
}

fn end(waiting: &Waiting, closed: &CancellationToken, reason: &str) {
    closed.cancel();
    let calls = std::mem::take(&mut *waiting.lock());
    tracing::debug!(reason, unanswered = calls.len(), "a worker's socket closed");
    for reply in calls.into_values().filter_map(|waiter| waiter.reply) {
        let error = KeystoreError::Device { operation: Operation::Wait, code: "the worker has ended".into() };
        let _given_up = reply.send(Err(error));
    }
}
