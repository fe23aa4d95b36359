//! Where things happen: messages in, commands out. Keys, ticks, signals, the worker and the clipboard all send into one
//! channel; this loop is its only consumer and the only one that acts.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossterm::event::{Event, EventStream};
use futures_util::StreamExt as _;
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::message::{Cmd, Msg};
use super::model::Model;
use super::terminal::{Screen, is_hung_up};
use super::theme::Choice;
use super::update::update;
use super::worker::{self, Dial, Order};
use crate::clipboard::{Keeper, Provider};

/// Messages that may wait; whoever sends more waits.
const MESSAGES_LEN_MAX: usize = 256;
/// How often time passes.
const TICK: Duration = Duration::from_millis(250);
/// How often the terminal is asked whether it is still there.
const WATCH: Duration = Duration::from_secs(2);

/// The clock of the screen. Wall time, not a monotonic clock: that stands still while a laptop sleeps, and a dead code
/// would look good.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What the screen needs besides the agent.
pub struct Setup {
    /// The theme; found out when absent.
    pub theme: Option<Choice>,
    /// How codes are copied.
    pub clipboard: Provider,
    /// The clock.
    pub clock: Clock,
}

/// Why the screen could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ScreenError {
    /// Input or output is no terminal.
    #[error("the full screen needs a terminal for input and output; see strongroom --help for commands")]
    NoTerminal,
    /// The terminal failed.
    #[error("the terminal failed")]
    Terminal(#[from] io::Error),
    /// A task of the screen ended that must not: a fault of this program.
    #[error("a part of the screen failed")]
    Task(#[from] tokio::task::JoinError),
}

/// Runs the screen over anything that opens sessions, until the user quits. Needs a threaded tokio runtime: a signature may
/// wait for a touch meanwhile.
///
/// # Errors
/// Each [`ScreenError`] under its condition; the terminal has been given back by then.
pub async fn run_with<D: Dial>(setup: Setup, dialer: D) -> Result<(), ScreenError> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(ScreenError::NoTerminal);
    }
    let (sender, mut messages) = mpsc::channel(MESSAGES_LEN_MAX);
    let (orders, receiver) = mpsc::channel(MESSAGES_LEN_MAX);
    let mut tasks = JoinSet::new();
    signals(&mut tasks, &sender)?;
    let theme = setup.theme.unwrap_or_else(|| Choice::detect(|name| std::env::var(name).ok()));

    let mut screen = Screen::take()?;
    let (columns, rows) = screen.size()?;
    let mut model = Model::new((setup.clock)(), columns, rows, theme);
    tasks.spawn(keys(sender.clone()));
    tasks.spawn(ticks(sender.clone()));
    tasks.spawn(worker::run(dialer, receiver, sender.clone()));
    let _watchdog = watch_terminal(sender.clone());
    let answers = sender;
    let keeper = Keeper::start(setup.clipboard, move |outcome| {
        let _ = answers.blocking_send(Msg::Clipboard(outcome));
    });

    let outcome = async {
        loop {
            if std::mem::take(&mut model.dirty) {
                screen.draw(&model)?;
            }
            let message = tokio::select! {
                message = messages.recv() => message,
                Some(ended) = tasks.join_next() => {
                    ended?;
                    continue;
                }
            };
            let Some(mut message) = message else { return Ok(()) };
            loop {
                model.now = (setup.clock)();
                if matches!(message, Msg::Resumed) {
                    screen.resume()?;
                }
                for command in update(&mut model, message) {
                    if act(command, &mut screen, &mut model, &orders, &keeper).await? {
                        return Ok(());
                    }
                }
                match messages.try_recv() {
                    Ok(next) => message = next,
                    Err(_) => break,
                }
            }
        }
    }
    .await;
    drop(screen);
    keeper.stop();
    outcome
}

/// Does what was asked; true at the end.
async fn act(
    command: Cmd,
    screen: &mut Screen,
    model: &mut Model,
    orders: &mpsc::Sender<Order>,
    keeper: &Keeper,
) -> Result<bool, ScreenError> {
    match command {
        Cmd::Call(call) => {
            let _ = orders.send(Order::Call(call)).await;
        }
        Cmd::Wake => {
            let _ = orders.send(Order::Wake).await;
        }
        Cmd::Copy { code, lifetime_ms } => keeper.copy(code, Duration::from_millis(lifetime_ms)),
        Cmd::Redraw => screen.repaint()?,
        // Two frames: the first overwrites one of the two cell buffers, the second the other.
        Cmd::Scrub => {
            screen.draw(model)?;
            screen.draw(model)?;
        }
        Cmd::Suspend => screen.suspend()?,
        Cmd::Quit => return Ok(true),
    }
    model.dirty = true;
    Ok(false)
}

async fn keys(sender: mpsc::Sender<Msg>) {
    let mut events = EventStream::new();
    while let Some(event) = events.next().await {
        let message = match event {
            Ok(Event::Key(key)) => Msg::Key(key),
            Ok(Event::Paste(text)) => Msg::Paste(text),
            Ok(Event::Resize(columns, rows)) => Msg::Resize(columns, rows),
            Ok(_) => continue,
            Err(_) => break,
        };
        if sender.send(message).await.is_err() {
            return;
        }
    }
    let _ = sender.send(Msg::Terminated).await;
}

async fn ticks(sender: mpsc::Sender<Msg>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        interval.tick().await;
        if sender.send(Msg::Tick).await.is_err() {
            return;
        }
    }
}

fn signals(tasks: &mut JoinSet<()>, sender: &mpsc::Sender<Msg>) -> io::Result<()> {
    let handled: [(SignalKind, fn() -> Msg); 4] = [
        (SignalKind::terminate(), || Msg::Terminated),
        (SignalKind::hangup(), || Msg::Terminated),
        (SignalKind::interrupt(), || Msg::Terminated),
        (SignalKind::from_raw(libc::SIGCONT), || Msg::Resumed),
    ];
    for (kind, message) in handled {
        let mut arrivals = signal(kind)?;
        let sender = sender.clone();
        tasks.spawn(async move {
            while arrivals.recv().await.is_some() {
                if sender.send(message()).await.is_err() {
                    return;
                }
            }
        });
    }
    Ok(())
}

/// Ends its thread when dropped.
struct Watchdog(Arc<AtomicBool>);

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Watches for a closed terminal from a thread of its own: the runtime may be what no longer moves.
fn watch_terminal(sender: mpsc::Sender<Msg>) -> Watchdog {
    let is_over = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&is_over);
    std::thread::spawn(move || {
        while !flag.load(Ordering::SeqCst) {
            std::thread::sleep(WATCH);
            if is_hung_up() {
                let _ = sender.try_send(Msg::Terminated);
                std::thread::sleep(WATCH);
                if !flag.load(Ordering::SeqCst) {
                    std::process::exit(1);
                }
            }
        }
    });
    Watchdog(is_over)
}
