//! All workers of a token behind one handle: which of them is asked, and what their state is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use strongroom_proto::words::Scheme;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::config::{call_deadline, key_deadline};
use super::launch::Launcher;
use super::link::Link;
use super::sandbox::{Applied, Sandbox};
use super::supervisor::{self, TokenEvent};
use super::uses::Tally;
use super::wire::{Answer, Call, Purpose, Ready};
use crate::keystore::pkcs11::TokenConfig;
use crate::keystore::{ErrorClass, KeystoreError, Operation, ProbeReport, TokenId};

/// The workers of one token. Clones share them.
///
/// Every call fails fast while no worker serves, and never waits longer than its deadline. A call is made once: what a
/// worker left unanswered is not asked of another. Only one that found a worker logged out, so that nothing was done, is made
/// once more.
#[derive(Clone)]
pub struct Workers(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) launcher: Launcher,
    pub(super) config: TokenConfig,
    /// What the first worker found, and every later one must find.
    pub(super) token: Ready,
    /// The token's canary, since it was first seen.
    pub(super) canary: OnceLock<[u8; 32]>,
    pub(super) slots: Vec<Slot>,
    pub(super) events: mpsc::UnboundedSender<TokenEvent>,
    /// What each worker of this run did, also of those that have ended.
    pub(super) tallies: Mutex<Vec<Arc<Tally>>>,
    /// Held while a worker starts: SoftHSM rewrites its token file at every login, and another start would find no token.
    pub(super) starting: tokio::sync::Mutex<()>,
    /// Set once the token refused the PIN to any worker: it is presented by none any more.
    pub(super) pin_refused: AtomicBool,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

/// The place of one worker.
pub(super) struct Slot {
    pub(super) link: RwLock<Option<Arc<Link>>>,
    pub(super) condition: Mutex<Condition>,
    /// Rung when a call failed in a way that may be the token's.
    pub(super) trouble: Notify,
}

/// How a worker is.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    pub(super) pid: u32,
    pub(super) since: Instant,
    pub(super) restarts: u64,
    pub(super) resident_kib: u64,
    pub(super) down: Option<Down>,
}

/// Why a worker does not serve.
#[derive(Clone, Debug)]
pub(super) struct Down {
    pub(super) since: Instant,
    pub(super) error: KeystoreError,
}

/// Whether the token serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// At least one worker answers.
    Serving,
    /// None does; fresh ones are being started with growing pauses.
    Recovering {
        /// What the token said last.
        error: KeystoreError,
        /// For how long.
        down_for: Duration,
    },
    /// The PIN was refused: nothing is tried until an operator restarts the agent.
    PinRefused,
}

/// One worker in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerStatus {
    /// Its process.
    pub pid: u32,
    /// Whether it serves.
    pub serving: bool,
    /// How long it has been so.
    pub for_s: u64,
    /// How often it was replaced in this run of the agent.
    pub restarts: u64,
    /// Its resident memory at the last check, in KiB.
    pub resident_kib: u64,
    /// Calls that wait for it.
    pub in_flight: usize,
}

impl Workers {
    /// Starts the workers that the configuration asks for and keeps them running. What happens to them is told to
    /// `events`.
    ///
    /// # Errors
    /// The token's, if the first worker cannot open it. The others may come later.
    pub async fn start(
        launcher: Launcher,
        token: &TokenConfig,
        events: mpsc::UnboundedSender<TokenEvent>,
    ) -> Result<Self, KeystoreError> {
        Self::begin(launcher, token, Purpose::Serve, events).await
    }

    /// Starts one worker, for a command that ends soon. With `provision` it first makes the token's own keys, unless they
    /// are there: see [`Self::keys_existed`].
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_one(launcher: Launcher, token: &TokenConfig, provision: bool) -> Result<Self, KeystoreError> {
        let (events, _) = mpsc::unbounded_channel();
        let mut token = token.clone();
        token.profile.workers = 1;
        let purpose = if provision { Purpose::Provision } else { Purpose::Serve };
        Self::begin(launcher, &token, purpose, events).await
    }

    async fn begin(
        launcher: Launcher,
        config: &TokenConfig,
        purpose: Purpose,
        events: mpsc::UnboundedSender<TokenEvent>,
    ) -> Result<Self, KeystoreError> {
        let (link, process) = Link::open(&launcher, config, purpose).await?;
        let shared = Shared::new(launcher, config, link.ready().clone(), events);
        let _first = shared.canary.set(link.ready().canary);
        // One after the other: were the PIN wrong, it is presented once, not by every worker.
        supervisor::adopt(&shared, 0, link, process);
        for index in 1..shared.slots.len() {
            supervisor::start(&shared, index).await;
        }
        Ok(Self(shared))
    }

    /// The workers of a token that is away at the start, because of `error`. They are started with growing pauses until it
    /// comes back; it must be this token, with this identity key. After a refused PIN nothing is started.
    #[must_use]
    pub fn absent(
        launcher: Launcher,
        config: &TokenConfig,
        token: TokenId,
        identity: Vec<u8>,
        error: &KeystoreError,
        events: mpsc::UnboundedSender<TokenEvent>,
    ) -> Self {
        let unknown = || Applied::No("no worker was started yet".to_owned());
        let sandbox = Sandbox { files: unknown(), calls: unknown() };
        let ready = Ready { token, identity, canary: [0; 32], keys_existed: true, sandbox };
        let shared = Shared::new(launcher, config, ready, events);
        for index in 0..shared.slots.len() {
            supervisor::await_token(&shared, index, error.clone(), false);
        }
        Self(shared)
    }

    /// Probes a token in a worker of its own. It may have no keys yet.
    ///
    /// # Errors
    /// The token's, if it cannot be probed at all. What failed stands in the report.
    pub async fn probe_token(launcher: &Launcher, token: &TokenConfig) -> Result<ProbeReport, KeystoreError> {
        Link::probe(launcher, token).await
    }

    /// Ends the workers after what they are doing.
    pub async fn close(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// The token that serves. Stored in every sealed seed.
    #[must_use]
    pub fn token(&self) -> &TokenId {
        &self.0.token.token
    }

    /// The agent identity's public key: an uncompressed P-256 point, 65 bytes (SEC 1 §2.3.3).
    #[must_use]
    pub fn identity_key(&self) -> &[u8] {
        &self.0.token.identity
    }

    /// Whether the token had its own keys before it was to be provisioned.
    #[must_use]
    pub fn keys_existed(&self) -> bool {
        self.0.token.keys_existed
    }

    /// What the kernel holds the workers to.
    #[must_use]
    pub fn sandbox(&self) -> &Sandbox {
        &self.0.token.sandbox
    }

    /// Whether the token serves.
    #[must_use]
    pub fn state(&self) -> TokenState {
        let conditions: Vec<Condition> = self.0.slots.iter().map(Slot::condition).collect();
        let Some(down) = conditions.iter().map(|condition| condition.down.clone()).collect::<Option<Vec<Down>>>()
        else {
            return TokenState::Serving;
        };
        if down.iter().any(|down| down.error.class() == ErrorClass::Pin) {
            return TokenState::PinRefused;
        }
        // The one that went last: since then nobody serves.
        down.into_iter().max_by_key(|down| down.since).map_or(TokenState::Serving, |down| TokenState::Recovering {
            error: down.error,
            down_for: down.since.elapsed(),
        })
    }

    /// True while at least one worker answers.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.state() == TokenState::Serving
    }

    /// The scheme of a new key here: the wanted one if the token's profile allows it, else the profile's own.
    #[must_use]
    pub fn scheme_like(&self, wanted: Scheme) -> Scheme {
        let schemes = &self.0.config.profile.schemes;
        if schemes.allowed.contains(&wanted) { wanted } else { schemes.default }
    }

    /// How long a caller who could ask another token waits for this one.
    #[must_use]
    pub fn patience(&self) -> Duration {
        call_deadline(&self.0.config) / 4
    }

    /// Every worker in numbers.
    #[must_use]
    pub fn workers(&self) -> Vec<WorkerStatus> {
        let status = |slot: &Slot| {
            let condition = slot.condition();
            WorkerStatus {
                pid: condition.pid,
                serving: condition.down.is_none(),
                for_s: condition.down.as_ref().map_or(condition.since, |down| down.since).elapsed().as_secs(),
                restarts: condition.restarts,
                resident_kib: condition.resident_kib,
                in_flight: slot.link().map_or(0, |link| link.in_flight()),
            }
        };
        self.0.slots.iter().map(status).collect()
    }

    pub(super) async fn ask(&self, call: Call) -> Result<Answer, KeystoreError> {
        let deadline = call_deadline(&self.0.config);
        match self.ask_within(deadline, &call).await {
            // That worker is being replaced. Nothing was done: another one may still be logged in, or the fresh one soon is.
            Err(error) if error.class() == ErrorClass::Login => {
                self.until_one_serves(deadline / 4).await;
                self.ask_within(deadline, &call).await
            }
            other => other,
        }
    }

    /// Waits until a worker serves or it is clear that none will.
    async fn until_one_serves(&self, patience: Duration) {
        let begun = Instant::now();
        while self.least_busy().is_err() && begun.elapsed() < patience && self.state() != TokenState::PinRefused {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// As [`Self::ask`], for what takes a busy disk or a slow token longer.
    pub(super) async fn ask_for_key(&self, call: Call) -> Result<Answer, KeystoreError> {
        self.ask_within(key_deadline(&self.0.config), &call).await
    }

    pub(super) async fn ask_within(&self, deadline: Duration, call: &Call) -> Result<Answer, KeystoreError> {
        let (slot, link) = self.least_busy()?;
        let result = link.call(deadline, call).await;
        if let (Ok(_), Call::OtpMac { key, .. }) = (&result, call) {
            link.tally().hear(key.vault);
        }
        if result.as_ref().is_err_and(|error| error.class() == ErrorClass::Pin) {
            self.renounce_pin();
        }
        if let Err(error) = &result
            && matches!(error.class(), ErrorClass::Device | ErrorClass::Hung | ErrorClass::Pin | ErrorClass::Deadline)
        {
            slot.trouble.notify_one();
        }
        match (&result, call) {
            // It would serve nobody until it has logged in, and it no longer can.
            (Err(KeystoreError::Login { .. }), _) => {
                slot.set_link(None);
                link.condemned_now();
            }
            // Made or destroyed after all, the key would surprise whoever goes on from here.
            (
                Err(KeystoreError::DeadlinePassed { .. }),
                Call::CreateVaultKey { .. } | Call::DestroyVaultKey { .. } | Call::DiscardVaultKey { .. },
            ) => link.condemn().await,
            _ => {}
        }
        result
    }

    /// Has no worker present the PIN any more.
    pub(super) fn renounce_pin(&self) {
        self.0.renounce_pin();
    }

    /// The worker with the fewest calls; the first of equals, whose processor is awake.
    fn least_busy(&self) -> Result<(&Slot, Arc<Link>), KeystoreError> {
        let serving = self.0.slots.iter().filter_map(|slot| Some((slot, slot.link()?)));
        serving.min_by_key(|(_, link)| link.in_flight()).ok_or_else(|| match self.state() {
            TokenState::PinRefused => {
                KeystoreError::Pin { operation: Operation::Wait, code: "at an earlier attempt".into() }
            }
            _ => KeystoreError::Device { operation: Operation::Wait, code: "no worker serves just now".into() },
        })
    }
}

impl Shared {
    fn new(
        launcher: Launcher,
        config: &TokenConfig,
        token: Ready,
        events: mpsc::UnboundedSender<TokenEvent>,
    ) -> Arc<Self> {
        let now = Instant::now();
        let slot = |_| Slot {
            link: RwLock::default(),
            condition: Mutex::new(Condition { pid: 0, since: now, restarts: 0, resident_kib: 0, down: None }),
            trouble: Notify::new(),
        };
        Arc::new(Self {
            launcher,
            config: config.clone(),
            token,
            canary: OnceLock::new(),
            slots: (0..config.profile.workers.max(1)).map(slot).collect(),
            events,
            tallies: Mutex::default(),
            starting: tokio::sync::Mutex::default(),
            pin_refused: AtomicBool::new(false),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })
    }

    /// Has no worker present the PIN any more: a refusal counts for all of them.
    pub(super) fn renounce_pin(&self) {
        if !self.pin_refused.swap(true, Ordering::Relaxed) {
            self.slots.iter().filter_map(Slot::link).for_each(|link| link.tell(Call::RenouncePin));
        }
    }
}

impl Slot {
    pub(super) fn link(&self) -> Option<Arc<Link>> {
        let link = self.link.read().unwrap_or_else(PoisonError::into_inner).clone();
        link.filter(|link| !link.is_closed())
    }

    pub(super) fn set_link(&self, link: Option<Arc<Link>>) -> Option<Arc<Link>> {
        std::mem::replace(&mut *self.link.write().unwrap_or_else(PoisonError::into_inner), link)
    }

    pub(super) fn condition(&self) -> Condition {
        self.condition.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Condition)) {
        change(&mut self.condition.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
