//! Keeps what was copied and clears it in time, from a thread of its own: clipboards block.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::board::{Board, Surroundings};
use super::osc52::Sink;
use super::{ClipboardError, Copied, Provider, kept_for};

/// How long the end of the program waits for the clipboard to be cleared.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

struct Order {
    code: Zeroizing<String>,
    lifetime: Duration,
}

/// The clipboard of a running full screen.
pub struct Keeper {
    orders: Sender<Order>,
    done: Receiver<()>,
    _thread: JoinHandle<()>,
}

impl Keeper {
    /// Starts the thread. It tells what became of each code through `told`.
    #[must_use]
    pub fn start(provider: Provider, told: impl Fn(Result<Copied, ClipboardError>) + Send + 'static) -> Self {
        let (orders, receiver) = channel();
        let (finished, done) = channel();
        let thread = std::thread::spawn(move || {
            let mut board = Board::new(provider, Surroundings::from_env(), Sink::Stdout);
            keep(&mut board, &receiver, told);
            drop(board);
            let _ = finished.send(());
        });
        Self { orders, done, _thread: thread }
    }

    /// Copies a code; what was copied before is cleared first. It is cleared after [`kept_for`] its lifetime.
    pub fn copy(&self, code: Zeroizing<String>, lifetime: Duration) {
        let _ = self.orders.send(Order { code, lifetime });
    }

    /// Clears and ends. Waits a second at most: a clipboard that hangs must not keep the program.
    pub fn stop(self) {
        drop(self.orders);
        let _ = self.done.recv_timeout(STOP_TIMEOUT);
    }
}

fn keep(board: &mut Board, orders: &Receiver<Order>, told: impl Fn(Result<Copied, ClipboardError>)) {
    let mut clear_at: Option<Instant> = None;
    loop {
        let next = match clear_at {
            Some(at) => orders.recv_timeout(at.saturating_duration_since(Instant::now())),
            None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match next {
            Ok(Order { code, lifetime }) => {
                let outcome = board.copy(&code);
                clear_at = outcome.is_ok().then(|| Instant::now() + kept_for(lifetime));
                told(outcome);
            }
            Err(RecvTimeoutError::Timeout) => {
                board.clear();
                clear_at = None;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
