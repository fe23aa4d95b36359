//! The lane before the token: async callers on one side, blocking device calls on the other.
//!
//! A bounded queue feeds dedicated operating-system threads (not the runtime's: a hung vendor library must not starve it).
//! A call to a PKCS#11 module cannot be cancelled, only abandoned: the lane notices, and fails fast until it returns.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Keystore, KeystoreError, Operation};

/// How the lane is built.
#[derive(Clone, Copy, Debug)]
pub struct LaneConfig {
    /// Threads that call the keystore. One is right for SoftHSM and YubiHSM 2, which gain nothing from more.
    pub threads: usize,
    /// Calls that may wait; more are refused as busy.
    pub queue_len: usize,
    /// How long a call may run before the lane counts its thread as hung.
    pub hung_after: Duration,
}

impl Default for LaneConfig {
    fn default() -> Self {
        Self { threads: 1, queue_len: 256, hung_after: Duration::from_secs(2) }
    }
}

type Job = Box<dyn FnOnce(&dyn Keystore) + Send>;

/// The lane. Dropping it ends its threads once their calls return.
pub struct Lane {
    queue: SyncSender<Job>,
    watch: Arc<Watch>,
}

/// When each thread's running call began, in µs after the lane did, plus 1; 0 while the thread waits.
struct Watch {
    origin: Instant,
    hung_after: Duration,
    started_us: Vec<AtomicU64>,
}

impl Watch {
    fn now_us(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX - 1) + 1
    }

    /// Whether no thread is left that could take a call.
    fn all_hung(&self) -> bool {
        let limit_us = u64::try_from(self.hung_after.as_micros()).unwrap_or(u64::MAX);
        let now_us = self.now_us();
        self.started_us.iter().all(|started_us| match started_us.load(Ordering::Relaxed) {
            0 => false,
            started_us => now_us.saturating_sub(started_us) >= limit_us,
        })
    }
}

impl Lane {
    /// Starts the threads.
    ///
    /// # Errors
    /// The operating system's, if it starts no more threads.
    pub fn start(keystore: Arc<dyn Keystore>, config: LaneConfig) -> std::io::Result<Self> {
        let (queue, jobs) = sync_channel::<Job>(config.queue_len.max(1));
        let jobs = Arc::new(Mutex::new(jobs));
        let watch = Arc::new(Watch {
            origin: Instant::now(),
            hung_after: config.hung_after,
            started_us: (0..config.threads.max(1)).map(|_| AtomicU64::new(0)).collect(),
        });
        for thread in 0..config.threads.max(1) {
            let (keystore, jobs, watch) = (Arc::clone(&keystore), Arc::clone(&jobs), Arc::clone(&watch));
            std::thread::Builder::new()
                .name(format!("token-{thread}"))
                .spawn(move || work(thread, keystore.as_ref(), &jobs, &watch))?;
        }
        Ok(Self { queue, watch })
    }

    /// Runs one call on the keystore and waits for it at most until `deadline` from now. A call that is still queued then
    /// is never made; one that is running finishes unheard and its result is dropped, which wipes it.
    ///
    /// # Errors
    /// `Busy` if the queue is full, `DeadlinePassed`, `Hung` while every thread is stuck in an earlier call, `Device` if
    /// the call panicked, else the call's own.
    pub async fn run<T: Send + 'static>(
        &self,
        deadline: Duration,
        call: impl FnOnce(&dyn Keystore) -> Result<T, KeystoreError> + Send + 'static,
    ) -> Result<T, KeystoreError> {
        let operation = Operation::Wait;
        if self.is_hung() {
            return Err(KeystoreError::Hung { operation });
        }
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |keystore| {
            // Closed: the caller has given up, so nothing is asked of the token for it.
            if !reply.is_closed() {
                let _unheard = reply.send(call(keystore));
            }
        });
        self.queue.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => KeystoreError::Busy { operation },
            TrySendError::Disconnected(_) => KeystoreError::Hung { operation },
        })?;
        match tokio::time::timeout(deadline, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(KeystoreError::Device { operation, code: "the call panicked".into() }),
            Err(_) if self.is_hung() => Err(KeystoreError::Hung { operation }),
            Err(_) => Err(KeystoreError::DeadlinePassed { operation }),
        }
    }

    /// Whether every thread is stuck: what a watchdog restarts the worker for.
    #[must_use]
    pub fn is_hung(&self) -> bool {
        self.watch.all_hung()
    }
}

fn work(thread: usize, keystore: &dyn Keystore, jobs: &Mutex<Receiver<Job>>, watch: &Watch) {
    let Some(started_us) = watch.started_us.get(thread) else { return };
    loop {
        // One thread waits in the queue, the others for this lock.
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        started_us.store(watch.now_us(), Ordering::Relaxed);
        if catch_unwind(AssertUnwindSafe(|| job(keystore))).is_err() {
            tracing::error!("a call to the token panicked");
        }
        started_us.store(0, Ordering::Relaxed);
    }
}
