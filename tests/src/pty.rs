//! A real pseudo-terminal around a real program, read by a terminal emulator. While a program has the alternate screen,
//! only whole frames are looked at, those that end with the synchronized update (`ESC[?2026l`): anything else is half drawn.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};

/// How long a program may take to show something: generous, because test machines are busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A program in a terminal. Killed when dropped.
pub struct Terminal {
    master: Box<dyn MasterPty + Send>,
    writer: Box<dyn std::io::Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    seen: Arc<Seen>,
}

/// What the emulator has seen; the reader thread fills it.
struct Seen {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    emulator: vt100::Parser<Listener>,
    /// Shown between the taking of the alternate screen and the first frame.
    nothing: vt100::Screen,
    is_over: bool,
}

/// What the emulator tells beside the cells.
#[derive(Default)]
struct Listener {
    frame: Option<vt100::Screen>,
    clipboard: Vec<String>,
}

impl vt100::Callbacks for Listener {
    fn copy_to_clipboard(&mut self, _: &mut vt100::Screen, _kind: &[u8], data: &[u8]) {
        let text = BASE64.decode(data).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        self.clipboard.push(text.unwrap_or_else(|| "<no base64 of text>".to_owned()));
    }

    fn unhandled_csi(
        &mut self,
        screen: &mut vt100::Screen,
        first: Option<u8>,
        _: Option<u8>,
        params: &[&[u16]],
        character: char,
    ) {
        if first == Some(b'?') && character == 'l' && params.contains(&[2026].as_slice()) {
            self.frame = Some(screen.clone());
        }
    }
}

impl State {
    /// The screen that a person would see: a whole frame, or the ordinary screen.
    fn screen(&self) -> &vt100::Screen {
        let now = self.emulator.screen();
        if now.alternate_screen() { self.emulator.callbacks().frame.as_ref().unwrap_or(&self.nothing) } else { now }
    }
}

fn size(columns: u16, rows: u16) -> PtySize {
    PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }
}

fn cells(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).expect("a terminal has a size")
}

impl Terminal {
    /// Starts a program as the leader of a terminal's session, with the command's own environment and nothing else.
    ///
    /// # Panics
    /// If there is no pseudo-terminal or the program cannot be started.
    #[must_use]
    pub fn start(command: &Command, columns: u16, rows: u16) -> Self {
        let pair = native_pty_system().openpty(size(columns, rows)).expect("a pseudo-terminal can be opened");
        let mut builder = CommandBuilder::new(command.get_program());
        builder.args(command.get_args());
        builder.env_clear();
        builder.env("TERM", "xterm-256color");
        builder.env("LANG", "C.UTF-8");
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                builder.env(name, value);
            }
        }
        builder.cwd(command.get_current_dir().unwrap_or_else(|| std::path::Path::new("/")));
        let child = pair.slave.spawn_command(builder).expect("the program can be started");
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().expect("the terminal can be read");
        let writer = pair.master.take_writer().expect("the terminal can be written to");
        let emulator = vt100::Parser::new_with_callbacks(cells(rows), cells(columns), 0, Listener::default());
        let nothing = emulator.screen().clone();
        let state = Mutex::new(State { emulator, nothing, is_over: false });
        let seen = Arc::new(Seen { state, changed: Condvar::new() });
        let filled = Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            loop {
                // A terminal whose last program has ended is an error to read, not an end.
                let read = reader.read(&mut bytes).unwrap_or(0);
                let mut state = filled.state.lock().expect("no holder panics");
                state.emulator.process(&bytes[..read]);
                state.is_over = read == 0;
                filled.changed.notify_all();
                if read == 0 {
                    return;
                }
            }
        });
        Self { master: pair.master, writer, child, seen }
    }

    /// Starts a program under a shell that outlives it and then shows `[ended CODE]` (128 + signal for a signal). The end
    /// of a session's leader resets its terminal, which would hide a program that leaves it in disorder.
    #[must_use]
    pub fn start_under_shell(command: &Command, columns: u16, rows: u16) -> Self {
        // A trap that does something is not inherited by the program, unlike an ignored signal.
        const SCRIPT: &str =
            "trap : TERM INT; \"$@\"; code=$?; echo; echo \"[ended $code]\"; while :; do sleep 60; done";
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT, "sh"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                shell.env(name, value);
            }
        }
        Self::start(&shell, columns, rows)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.seen.state.lock().expect("the reader thread does not panic")
    }

    /// Presses keys: the bytes that a terminal would send.
    ///
    /// # Panics
    /// If the terminal is gone.
    pub fn send(&mut self, keys: &str) {
        self.writer.write_all(keys.as_bytes()).and_then(|()| self.writer.flush()).expect("the terminal takes keys");
    }

    /// Changes the window's size.
    ///
    /// # Panics
    /// If the terminal is gone.
    pub fn resize(&self, columns: u16, rows: u16) {
        let mut state = self.state();
        state.emulator.screen_mut().set_size(cells(rows), cells(columns));
        // Frames of the old size say nothing about the new one.
        state.emulator.callbacks_mut().frame = None;
        self.master.resize(size(columns, rows)).expect("the terminal can be resized");
    }

    /// The text on the screen, a line for each row.
    #[must_use]
    pub fn text(&self) -> String {
        self.state().screen().contents()
    }

    /// Waits until a text stands on the screen; gives the screen.
    ///
    /// # Panics
    /// If it does not within 30 s; the message shows the screen.
    #[track_caller]
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_until(&format!("\"{text}\""), |screen| screen.contains(text))
    }

    /// Waits until a text is gone from the screen; gives the screen.
    ///
    /// # Panics
    /// If it is not within 30 s; the message shows the screen.
    #[track_caller]
    pub fn wait_gone(&self, text: &str) -> String {
        self.wait_until(&format!("the end of \"{text}\""), |screen| !screen.contains(text))
    }

    /// Waits until the screen's text is as wanted; gives it.
    ///
    /// # Panics
    /// If it is not within 30 s; the message shows the screen.
    #[track_caller]
    pub fn wait_until(&self, what: &str, is_there: impl Fn(&str) -> bool) -> String {
        let found = self.wait(|state| {
            let text = state.screen().contents();
            is_there(&text).then_some(text)
        });
        found.unwrap_or_else(|| panic!("waited in vain for {what} on:\n{}", self.framed()))
    }

    fn wait<T>(&self, look: impl Fn(&State) -> Option<T>) -> Option<T> {
        let begun = Instant::now();
        let mut state = self.state();
        loop {
            if let Some(found) = look(&state) {
                return Some(found);
            }
            let left = PATIENCE.checked_sub(begun.elapsed()).filter(|_| !state.is_over)?;
            (state, _) = self.seen.changed.wait_timeout(state, left).expect("the reader thread does not panic");
        }
    }

    /// Everything that programs asked the terminal to put into its clipboard (OSC 52), in order; empty texts clear it.
    #[must_use]
    pub fn clipboard(&self) -> Vec<String> {
        self.state().emulator.callbacks().clipboard.clone()
    }

    /// Waits until so many texts were sent to the clipboard; gives them.
    ///
    /// # Panics
    /// If they are not within 60 s; the message shows the screen.
    #[track_caller]
    pub fn wait_for_clipboard(&self, count: usize) -> Vec<String> {
        let look = |state: &State| {
            let clipboard = &state.emulator.callbacks().clipboard;
            (clipboard.len() >= count).then(|| clipboard.clone())
        };
        let found = self.wait(look).or_else(|| self.wait(look));
        found.unwrap_or_else(|| panic!("waited in vain for {count} texts in the clipboard on:\n{}", self.framed()))
    }

    /// True while a program has the alternate screen.
    #[must_use]
    pub fn is_alternate(&self) -> bool {
        self.state().emulator.screen().alternate_screen()
    }

    /// True while the cursor is hidden.
    #[must_use]
    pub fn is_cursor_hidden(&self) -> bool {
        self.state().emulator.screen().hide_cursor()
    }

    /// True while pasted text is bracketed.
    #[must_use]
    pub fn is_paste_bracketed(&self) -> bool {
        self.state().emulator.screen().bracketed_paste()
    }

    /// The terminal's modes as the kernel has them (termios), to compare before and after.
    ///
    /// # Panics
    /// If the terminal is gone.
    #[must_use]
    pub fn modes(&self) -> String {
        format!("{:?}", self.master.get_termios().expect("the terminal has modes"))
    }

    /// Process id of the leader.
    ///
    /// # Panics
    /// If it has ended.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.process_id().expect("the program runs")
    }

    /// Process id of the only child of the leader: the program, under a shell.
    ///
    /// # Panics
    /// If there is not exactly one.
    #[must_use]
    pub fn child_pid(&self) -> u32 {
        let leader = self.pid();
        let list = std::fs::read_to_string(format!("/proc/{leader}/task/{leader}/children")).expect("the leader runs");
        list.trim().parse().unwrap_or_else(|_| panic!("the leader has children \"{list}\""))
    }

    /// Waits for the end of the leader.
    ///
    /// # Panics
    /// If it does not end within 30 s; the message shows the screen.
    #[track_caller]
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the program can be waited for") {
                // What it wrote last may still be on its way through the terminal.
                let _ = self.wait(|state| state.is_over.then_some(()));
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "the program does not end:\n{}", self.framed());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The screen in a frame, for messages.
    fn framed(&self) -> String {
        let state = self.state();
        let columns = state.screen().size().1.get();
        let edge = "-".repeat(columns.into());
        let mut text = format!("+{edge}+\n");
        for row in state.screen().rows(0, columns) {
            let _ = writeln!(text, "|{row}");
        }
        let over = if state.is_over { " the program has ended" } else { "" };
        let _ = write!(text, "+{edge}+{over}");
        text
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
#[path = "pty_tests.rs"]
mod tests;
