//! The terminal, taken and given back on every way out. Frames are collected and written in one piece, so that nothing
//! else that writes to it (the clipboard) lands inside one of their sequences.

use std::io::{self, Write};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::{Hide, Show};
use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::style::{Attribute, SetAttribute, force_color_output};
use crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode,
};
use crossterm::{execute, queue};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use zeroize::{Zeroize as _, Zeroizing};

use super::model::Model;
use super::view::view;

/// True while the terminal is ours.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Collects a frame and writes it in one piece. What it collects may be a code: it is wiped.
struct FrameWriter(Zeroizing<Vec<u8>>);

impl Write for FrameWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        let outcome = out.write_all(&self.0).and_then(|()| out.flush());
        self.0.as_mut_slice().zeroize();
        self.0.clear();
        outcome
    }
}

/// The terminal while the full screen runs. Dropping it gives the terminal back.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<FrameWriter>>,
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn take() -> io::Result<Self> {
        // NO_COLOR is the theme's business: crossterm's own way of honouring it resets bold and reverse too.
        force_color_output(true);
        give_back_on_panic();
        enter()?;
        // From here on a failure must give the terminal back.
        let frames = FrameWriter(Zeroizing::new(Vec::with_capacity(64 * 1024)));
        let terminal = Terminal::new(CrosstermBackend::new(frames)).inspect_err(|_| leave())?;
        Ok(Self { terminal })
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> io::Result<(u16, u16)> {
        self.terminal.size().map(|size| (size.width, size.height))
    }

    /// Draws one frame; the terminal shows it whole or not at all.
    pub(super) fn draw(&mut self, model: &Model) -> io::Result<()> {
        if !TAKEN.load(Ordering::SeqCst) {
            // A task has panicked and its message stands on the ordinary screen: nothing may be drawn over it.
            return Ok(());
        }
        queue!(self.terminal.backend_mut(), BeginSynchronizedUpdate)?;
        self.terminal.draw(|frame| view(model, frame))?;
        execute!(self.terminal.backend_mut(), EndSynchronizedUpdate)
    }

    /// Makes the next frame draw every cell. Not `Terminal::clear`, which asks the terminal for its cursor and fails
    /// where nobody answers.
    pub(super) fn repaint(&mut self) -> io::Result<()> {
        let (width, height) = self.size()?;
        self.terminal.resize(Rect::new(0, 0, width, height))
    }

    /// Gives the terminal back, stops the process, and takes the terminal again when it goes on.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        leave();
        stop_process();
        self.resume()
    }

    /// Takes the terminal again after somebody else stopped the process: the shell has changed its modes meanwhile, and
    /// enabling raw mode does nothing while crossterm believes that it is on.
    pub(super) fn resume(&mut self) -> io::Result<()> {
        disable_raw_mode()?;
        enter()?;
        self.repaint()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste, Hide)
}

/// Gives the terminal back as it was; errors cannot be told to anybody any more.
fn leave() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let mut out = io::stdout();
        let _ = execute!(
            out,
            EndSynchronizedUpdate,
            SetAttribute(Attribute::Reset),
            DisableBracketedPaste,
            LeaveAlternateScreen,
            Show
        );
        let _ = disable_raw_mode();
    }
}

/// A panic's message belongs on the ordinary screen of a terminal in its ordinary modes.
fn give_back_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            leave();
            before(info);
        }));
    });
}

/// Stops this process as Ctrl-Z does and returns when it goes on. The signal goes to this thread, so that the stop
/// happens before the next line; `kill` may return first.
#[allow(unsafe_code, reason = "the standard library cannot raise a signal")]
fn stop_process() {
    // SAFETY: raise has no preconditions; SIGTSTP has its default action, as nobody here handles it.
    unsafe {
        libc::raise(libc::SIGTSTP);
    }
}

/// True if the terminal behind standard input is gone. Its own end would not be noticed otherwise: reading events from a
/// hung-up terminal spins (crossterm#793).
#[allow(unsafe_code, reason = "the standard library cannot poll a descriptor")]
pub(super) fn is_hung_up() -> bool {
    let mut entry = libc::pollfd { fd: libc::STDIN_FILENO, events: 0, revents: 0 };
    // SAFETY: `entry` is one initialised pollfd that outlives the call, and the count says one; a zero timeout returns.
    let ready = unsafe { libc::poll(&raw mut entry, 1, 0) };
    ready > 0 && entry.revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0
}
