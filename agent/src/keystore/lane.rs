//! The lane before the token: async callers on one side, blocking device calls on the other.
//!
//! A bounded queue feeds dedicated operating-system threads (not the runtime's: a hung vendor library must not starve it).
//! A call to a PKCS#11 module cannot be cancelled, only abandoned: the lane notices, and fails fast until it returns.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel};
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
        Self { threads: 1, queue_len: 256, hung_after: Duration::from_secs(20) }
    }
}

type Job = Box<dyn FnOnce(&dyn Keystore) + Send>;

/// How long a thread looks out for the next call before it sleeps: to be woken on a processor that sleeps too takes as long
/// as a call.
const LINGER: Duration = Duration::from_micros(200);

/// The lane. Dropping it makes no further calls and waits for the running ones: a module whose threads are still at work
/// while the process exits corrupts memory (seen with SoftHSM). A hung call is waited for `hung_after`, then abandoned.
pub struct Lane {
    queue: Option<SyncSender<Job>>,
    watch: Arc<Watch>,
    /// Closed when the last thread has ended and let go of the keystore.
    ended: Mutex<Receiver<()>>,
}

/// When each thread's running call began, in µs after the lane did, plus 1; 0 while the thread waits.
struct Watch {
    origin: Instant,
    hung_after: Duration,
    started_us: Vec<AtomicU64>,
    /// The lane was dropped: what is queued is not begun.
    closing: AtomicBool,
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
            closing: AtomicBool::new(false),
        });
        let (running, ended) = sync_channel::<()>(0);
        for thread in 0..config.threads.max(1) {
            let (keystore, jobs, watch) = (Arc::clone(&keystore), Arc::clone(&jobs), Arc::clone(&watch));
            let running = running.clone();
            std::thread::Builder::new().name(format!("token-{thread}")).spawn(move || {
                work(thread, keystore.as_ref(), &jobs, &watch);
                drop(keystore);
                drop(running);
            })?;
        }
        Ok(Self { queue: Some(queue), watch, ended: Mutex::new(ended) })
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
        let queue = self.queue.as_ref().ok_or(KeystoreError::Hung { operation })?;
        queue.try_send(job).map_err(|error| match error {
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

impl Drop for Lane {
    fn drop(&mut self) {
        self.watch.closing.store(true, Ordering::Relaxed);
        self.queue = None;
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        if ended.recv_timeout(self.watch.hung_after) == Err(RecvTimeoutError::Timeout) {
            tracing::error!("a call to the token did not return; its thread is abandoned");
        }
    }
}

fn work(thread: usize, keystore: &dyn Keystore, jobs: &Mutex<Receiver<Job>>, watch: &Watch) {
    let Some(started_us) = watch.started_us.get(thread) else { return };
    loop {
        // One thread waits in the queue, the others for this lock.
        let job = next(&jobs.lock().unwrap_or_else(PoisonError::into_inner));
        let Some(job) = job else { return };
        if watch.closing.load(Ordering::Relaxed) {
            return;
        }
        started_us.store(watch.now_us(), Ordering::Relaxed);
        if catch_unwind(AssertUnwindSafe(|| job(keystore))).is_err() {
            tracing::error!("a call to the token panicked");
        }
        started_us.store(0, Ordering::Relaxed);
    }
}

/// The next job; `None` once the lane is gone.
fn next(jobs: &Receiver<Job>) -> Option<Job> {
    let begun = Instant::now();
    while begun.elapsed() < LINGER {
        match jobs.try_recv() {
            Ok(job) => return Some(job),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => std::thread::yield_now(),
        }
    }
    jobs.recv().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc::{Sender, channel};

    use strongroom_proto::ids::{AccountId, OrgId, VaultId};
    use strongroom_proto::words::Scheme;

    use super::*;
    use crate::keystore::batch::{HandOver, StoredSeed};
    use crate::keystore::{ErrorClass, OtpMac, SealedSeed, Seed, SeedContext, StoreKeys, TokenId, VaultKey};
    use crate::recovery::RecoveryIdentity;

    /// The lane never looks inside: a keystore whose only working call counts stands for all.
    struct Counter(TokenId, AtomicUsize);

    #[rustfmt::skip]
    impl Keystore for Counter {
        fn token(&self) -> &TokenId { &self.0 }
        fn create_vault_key(&self, _: VaultId, _: u32, _: Scheme) -> Result<VaultKey, KeystoreError> { unreachable!() }
        fn destroy_vault_key(&self, _: &VaultKey) -> Result<(), KeystoreError> { unreachable!() }
        fn check_vault_key(&self, _: &VaultKey) -> Result<(), KeystoreError> { unreachable!() }
        fn discard_vault_key(&self, _: VaultId, _: u32) -> Result<bool, KeystoreError> { unreachable!() }
        fn check_sealed(&self, _: &[StoredSeed]) -> Result<(), KeystoreError> { unreachable!() }
        fn check_recoverable(&self, _: &[StoredSeed], _: &RecoveryIdentity) -> Result<Vec<AccountId>, KeystoreError> { unreachable!() }
        fn reseal(&self, _: &[StoredSeed], _: &VaultKey, _: Option<&RecoveryIdentity>) -> Result<Vec<SealedSeed>, KeystoreError> { unreachable!() }
        fn hand_over(&self, _: &HandOver, _: &RecoveryIdentity) -> Result<Vec<u8>, KeystoreError> { unreachable!() }
        fn seal(&self, _: &VaultKey, _: &SeedContext, _: &Seed) -> Result<SealedSeed, KeystoreError> { unreachable!() }
        fn otp_mac(&self, _: &VaultKey, _: &SeedContext, _: &SealedSeed, _: u64) -> Result<OtpMac, KeystoreError> { unreachable!() }
        fn identity_key(&self) -> &[u8] { &[] }
        fn sign(&self, _: &[u8; 32]) -> Result<[u8; 64], KeystoreError> { unreachable!() }
        fn seal_store_keys(&self, _: OrgId, _: &StoreKeys) -> Result<Vec<u8>, KeystoreError> { unreachable!() }
        fn open_store_keys(&self, _: OrgId, _: &[u8]) -> Result<StoreKeys, KeystoreError> { unreachable!() }
        fn health(&self) -> Result<(), KeystoreError> { self.1.fetch_add(1, Ordering::Relaxed); Ok(()) }
        fn reopen(&self) -> Result<(), KeystoreError> { unreachable!() }
    }

    fn lane(config: LaneConfig) -> (Arc<Counter>, Arc<Lane>) {
        let counter = Arc::new(Counter(TokenId::new("0/test"), AtomicUsize::new(0)));
        let keystore: Arc<dyn Keystore> = counter.clone();
        (counter, Arc::new(Lane::start(keystore, config).unwrap()))
    }

    const LONG: Duration = Duration::from_secs(20);

    /// A call that is running until the returned sender is used or dropped.
    async fn block(lane: &Arc<Lane>, deadline: Duration) -> (Sender<()>, tokio::task::JoinHandle<ErrorClass>) {
        let (release, wait) = channel::<()>();
        let (running, started) = oneshot::channel();
        let lane = Arc::clone(lane);
        let call = tokio::spawn(async move {
            let result = lane.run(deadline, move |_| {
                let _heard = running.send(());
                let _released = wait.recv();
                Ok(())
            });
            result.await.err().map_or(ErrorClass::Usage, |error| error.class())
        });
        started.await.unwrap();
        (release, call)
    }

    async fn class_of(lane: &Lane, deadline: Duration) -> Option<ErrorClass> {
        lane.run(deadline, |keystore| keystore.health()).await.err().map(|error| error.class())
    }

    #[tokio::test]
    async fn calls_run_and_their_results_come_back() {
        let (counter, lane) = lane(LaneConfig { threads: 2, ..LaneConfig::default() });
        for _ in 0..100 {
            assert_eq!(class_of(&lane, LONG).await, None);
        }
        assert_eq!(counter.1.load(Ordering::Relaxed), 100);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let (_, lane) = lane(LaneConfig { queue_len: 1, ..LaneConfig::default() });
        let (release, _call) = block(&lane, LONG).await;
        let queued = tokio::spawn({
            let lane = Arc::clone(&lane);
            async move { class_of(&lane, LONG).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(class_of(&lane, LONG).await, Some(ErrorClass::Busy));
        drop(release);
        assert_eq!(queued.await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_call_whose_deadline_passed_in_the_queue_is_never_made() {
        let (counter, lane) = lane(LaneConfig::default());
        let (release, _call) = block(&lane, LONG).await;
        assert_eq!(class_of(&lane, Duration::from_millis(5)).await, Some(ErrorClass::Deadline));
        drop(release);
        assert_eq!(class_of(&lane, LONG).await, None);
        assert_eq!(counter.1.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_hung_call_makes_the_lane_fail_fast_until_it_returns() {
        let (_, lane) = lane(LaneConfig { hung_after: Duration::from_millis(20), ..LaneConfig::default() });
        let (release, call) = block(&lane, Duration::from_millis(40)).await;
        assert_eq!(call.await.unwrap(), ErrorClass::Hung);
        let began = Instant::now();
        assert_eq!(class_of(&lane, LONG).await, Some(ErrorClass::Hung));
        assert!(began.elapsed() < Duration::from_secs(1) && lane.is_hung());
        drop(release);
        while lane.is_hung() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(class_of(&lane, LONG).await, None);
    }

    #[tokio::test]
    async fn a_second_thread_serves_while_one_hangs() {
        let config = LaneConfig { threads: 2, hung_after: Duration::from_millis(1), ..LaneConfig::default() };
        let (_, lane) = lane(config);
        let (_release, _call) = block(&lane, LONG).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(class_of(&lane, LONG).await, None);
    }

    #[tokio::test]
    async fn a_panic_ends_its_call_and_not_the_lane() {
        let (_, lane) = lane(LaneConfig::default());
        let broken = lane.run::<()>(LONG, |_| panic!("a bug")).await.unwrap_err();
        assert_eq!(broken.class(), ErrorClass::Device);
        assert_eq!(class_of(&lane, LONG).await, None);
    }

    #[tokio::test]
    async fn dropping_the_lane_waits_for_the_running_call_and_lets_the_keystore_go() {
        let (counter, lane) = lane(LaneConfig::default());
        let finished = Arc::new(AtomicBool::new(false));
        let (running, started) = channel();
        let inside = Arc::clone(&finished);
        let call = lane.run(Duration::from_millis(50), move |_| {
            running.send(()).unwrap();
            std::thread::sleep(Duration::from_millis(100));
            inside.store(true, Ordering::Relaxed);
            Ok(())
        });
        assert_eq!(call.await.unwrap_err().class(), ErrorClass::Deadline);
        started.recv().unwrap();
        drop(Arc::into_inner(lane).unwrap());
        assert!(finished.load(Ordering::Relaxed));
        assert_eq!(Arc::strong_count(&counter), 1);
    }
}
