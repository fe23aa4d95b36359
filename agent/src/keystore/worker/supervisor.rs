//! Keeps a worker in its place: watches it, and puts a fresh one there when it hangs, crashes, loses its token or has
//! grown too big.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::config::{call_deadline, hung_after, memory_limit_kib};
use super::launch::Process;
use super::link::Link;
use super::wire::{Answer, Call, Purpose};
use super::workers::{Down, Shared};
use crate::keystore::{ErrorClass, KeystoreError, Operation};

/// How often a worker is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often the token has to prove that it works.
const HEALTH_EVERY: Duration = Duration::from_secs(5);
/// First and longest pause between attempts to start a worker.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
/// How long a worker that is no longer needed may take to finish.
const LAST_CALL: Duration = Duration::from_secs(5);

/// What happened to the token or a worker, for the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenEvent {
    /// A worker stopped serving and could not be replaced at once.
    Lost {
        /// Which place.
        worker: usize,
        /// What the token or the worker's end said.
        error: KeystoreError,
    },
    /// A fresh worker serves in its place.
    Back {
        /// Which place.
        worker: usize,
        /// How long nobody served there, in ms.
        down_ms: u64,
    },
    /// A worker had grown past its limit and was replaced while it served.
    Renewed {
        /// Which place.
        worker: usize,
        /// What it had grown to, in KiB.
        resident_kib: u64,
    },
    /// The token refused the PIN: nothing more is tried.
    PinRefused {
        /// Which place.
        worker: usize,
    },
}

/// Puts a running worker in its place and watches it.
pub(super) fn adopt(shared: &Arc<Shared>, index: usize, link: Link, process: Process) {
    let link = Arc::new(link);
    install(shared, index, &link, &process);
    let shared = Arc::clone(shared);
    let tasks = shared.tasks.clone();
    tasks.spawn(async move { keep(&shared, index, link, process).await });
}

/// Starts a worker in its place. If that fails now, it is tried again behind the scenes.
pub(super) async fn start(shared: &Arc<Shared>, index: usize) {
    match fresh(shared).await {
        Ok((link, process)) => adopt(shared, index, link, process),
        Err(error) => await_token(shared, index, error, true),
    }
}

/// Tries behind the scenes to start a worker in its place, which is empty because of `error`. `told`: nobody needs to hear
/// of that any more.
pub(super) fn await_token(shared: &Arc<Shared>, index: usize, error: KeystoreError, told: bool) {
    set_down(shared, index, error);
    let shared = Arc::clone(shared);
    let tasks = shared.tasks.clone();
    tasks.spawn(async move {
        if let Some((link, process)) = restart(&shared, index, Instant::now(), told).await {
            keep(&shared, index, link, process).await;
        }
    });
}

fn install(shared: &Shared, index: usize, link: &Arc<Link>, process: &Process) {
    let Some(slot) = shared.slots.get(index) else { return };
    slot.change(|condition| {
        condition.pid = process.pid();
        condition.since = Instant::now();
        condition.down = None;
    });
    shared.tallies.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(link.tally()));
    slot.set_link(Some(Arc::clone(link)));
}

fn set_down(shared: &Shared, index: usize, error: KeystoreError) {
    let Some(slot) = shared.slots.get(index) else { return };
    if error.class() == ErrorClass::Pin {
        shared.renounce_pin();
    }
    slot.set_link(None);
    slot.change(|condition| {
        let since = condition.down.take().map_or_else(Instant::now, |down| down.since);
        condition.down = Some(Down { since, error });
    });
}

/// Why a worker is not left in its place.
enum Verdict {
    /// It does not serve.
    Failed(KeystoreError),
    /// It serves and is too big.
    TooBig(u64),
    /// The agent ends.
    Stop,
}

async fn keep(shared: &Arc<Shared>, index: usize, mut link: Arc<Link>, mut process: Process) {
    loop {
        match watch(shared, index, &link).await {
            Verdict::Stop => {
                set_aside(shared, index);
                return retire(link, process).await;
            }
            Verdict::TooBig(resident_kib) => match fresh(shared).await {
                Ok((successor, its_process)) => {
                    let successor = Arc::new(successor);
                    install(shared, index, &successor, &its_process);
                    tell(shared, TokenEvent::Renewed { worker: index, resident_kib });
                    count_restart(shared, index);
                    let old = std::mem::replace(&mut link, successor);
                    let old_process = std::mem::replace(&mut process, its_process);
                    shared.tasks.spawn(retire(old, old_process));
                }
                Err(error) => {
                    // The old one serves on.
                    tracing::warn!(%error, "a worker that has grown too big could not be replaced yet");
                    tokio::time::sleep(HEALTH_EVERY).await;
                }
            },
            Verdict::Failed(error) => {
                let since = Instant::now();
                tracing::error!(worker = index, pid = process.pid(), %error, "a worker failed: starting a fresh one");
                set_down(shared, index, error);
                drop(link);
                process.kill().await;
                match restart(shared, index, since, false).await {
                    Some((fresh, its_process)) => (link, process) = (fresh, its_process),
                    None => return,
                }
            }
        }
    }
}

/// Looks at a worker until something is wrong with it.
async fn watch(shared: &Shared, index: usize, link: &Link) -> Verdict {
    let Some(slot) = shared.slots.get(index) else { return Verdict::Stop };
    let mut checked = Instant::now();
    let hung = KeystoreError::Hung { operation: Operation::Wait };
    loop {
        let troubled = tokio::select! {
            () = shared.stop.cancelled() => return Verdict::Stop,
            () = link.closed() => {
                return Verdict::Failed(KeystoreError::Device {
                    operation: Operation::Wait,
                    code: "the worker ended by itself".into(),
                });
            }
            () = link.condemned() => {
                return Verdict::Failed(KeystoreError::Device {
                    operation: Operation::Wait,
                    code: "the worker lost its login or did not answer in time".into(),
                });
            }
            () = slot.trouble.notified() => true,
            () = tokio::time::sleep(LOOK_EVERY) => false,
        };
        if link.is_hung(hung_after(&shared.config)) {
            return Verdict::Failed(hung);
        }
        if !troubled && checked.elapsed() < HEALTH_EVERY {
            continue;
        }
        checked = Instant::now();
        match link.call(call_deadline(&shared.config), &Call::Health).await {
            Ok(Answer::Healthy { resident_kib }) => {
                slot.change(|condition| condition.resident_kib = resident_kib);
                if memory_limit_kib(&shared.config).is_some_and(|limit| resident_kib > limit) {
                    return Verdict::TooBig(resident_kib);
                }
            }
            // It may be making a key, or be hung: the next looks tell.
            Err(KeystoreError::DeadlinePassed { .. } | KeystoreError::Busy { .. }) => {}
            Ok(_) => return Verdict::Failed(hung),
            Err(error) => return Verdict::Failed(error),
        }
    }
}

/// Starts fresh workers with growing pauses until one serves. `None` if the agent ends or the PIN was refused.
async fn restart(shared: &Arc<Shared>, index: usize, since: Instant, told: bool) -> Option<(Arc<Link>, Process)> {
    let mut pause = PAUSES.0;
    let mut told = told;
    loop {
        let error = match fresh(shared).await {
            Ok((link, process)) => {
                let link = Arc::new(link);
                install(shared, index, &link, &process);
                count_restart(shared, index);
                let down_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
                tell(shared, TokenEvent::Back { worker: index, down_ms });
                return Some((link, process));
            }
            Err(error) => error,
        };
        set_down(shared, index, error.clone());
        if error.class() == ErrorClass::Pin {
            shared.renounce_pin();
            // Never a second attempt by itself: three wrong ones lock most tokens for good.
            tracing::error!(%error, "the agent must be restarted once the PIN is right");
            tell(shared, TokenEvent::PinRefused { worker: index });
            return None;
        }
        if !told {
            tell(shared, TokenEvent::Lost { worker: index, error: error.clone() });
            told = true;
        }
        tracing::error!(worker = index, %error, "no worker could be started");
        tokio::select! {
            () = shared.stop.cancelled() => return None,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Starts a worker and insists that it found the token that the first one found.
async fn fresh(shared: &Shared) -> Result<(Link, Process), KeystoreError> {
    let operation = Operation::Reopen;
    let _alone = shared.starting.lock().await;
    // A PIN that was refused once is not presented by any other worker either.
    if shared.pin_refused.load(Ordering::Relaxed) {
        return Err(KeystoreError::Pin { operation, code: "at an earlier attempt".into() });
    }
    let opened = Link::open(&shared.launcher, &shared.config, Purpose::Serve).await;
    if opened.as_ref().is_err_and(|error| error.class() == ErrorClass::Pin) {
        // Before anybody else may start a worker.
        shared.renounce_pin();
    }
    let (link, process) = opened?;
    let (found, expected) = (link.ready(), &shared.token);
    let error = if found.token != expected.token || found.identity != expected.identity {
        KeystoreError::OtherToken { operation, expected: expected.token.clone(), found: found.token.clone() }
    } else if *shared.canary.get_or_init(|| found.canary) != found.canary {
        KeystoreError::Device { operation, code: "its canary has changed".into() }
    } else {
        return Ok((link, process));
    };
    process.kill().await;
    Err(error)
}

fn count_restart(shared: &Shared, index: usize) {
    if let Some(slot) = shared.slots.get(index) {
        slot.change(|condition| condition.restarts += 1);
    }
}

fn set_aside(shared: &Shared, index: usize) {
    if let Some(slot) = shared.slots.get(index) {
        slot.set_link(None);
    }
}

/// Lets a worker finish what it was asked, and end.
async fn retire(link: Arc<Link>, process: Process) {
    let begun = Instant::now();
    while link.in_flight() > 0 && !link.is_closed() && begun.elapsed() < LAST_CALL {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Callers that hold it still let go within their deadlines; the socket closes with the last of them.
    drop(link);
    process.ended(LAST_CALL).await;
}

fn tell(shared: &Shared, event: TokenEvent) {
    // Nobody listens while a command runs that ends soon.
    let _unheard = shared.events.send(event);
}
