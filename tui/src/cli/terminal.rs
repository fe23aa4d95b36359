//! Signals of a command-line program. The full-screen view has its own ways and never comes here.

#![allow(unsafe_code, reason = "signal dispositions and terminal modes are set through libc")]

use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd as _;

use super::error::EXIT_CANCELLED;

/// Gives SIGPIPE its default back: `strongroom audit show | head` ends quietly instead of with a panic.
pub(super) fn end_quietly_on_closed_pipe() {
    // SAFETY: called before any other thread exists; SIG_DFL installs no handler.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}

/// The terminal as it was when the program began.
pub(super) struct FoundTerminal(Option<(File, libc::termios)>);

impl FoundTerminal {
    /// Remembers the modes of the controlling terminal, if there is one. Call this before anything prompts.
    pub(super) fn remember() -> Self {
        Self(File::open("/dev/tty").ok().and_then(|tty| modes(&tty).map(|modes| (tty, modes))))
    }

    /// Ends the program with 130 on Ctrl-C, even while a prompt waits, and leaves the terminal as it was found: a masked
    /// prompt that is killed would leave it mute.
    pub(super) async fn end_on_interrupt(self) {
        if tokio::signal::ctrl_c().await.is_ok() {
            if let Some((tty, modes)) = &self.0 {
                // SAFETY: the descriptor is open and `modes` was filled by tcgetattr for it.
                unsafe {
                    libc::tcsetattr(tty.as_raw_fd(), libc::TCSANOW, &raw const *modes);
                }
            }
            std::process::exit(i32::from(EXIT_CANCELLED));
        }
    }
}

fn modes(tty: &File) -> Option<libc::termios> {
    let mut modes = MaybeUninit::<libc::termios>::uninit();
    // SAFETY: tcgetattr writes the whole structure when it returns 0, and only then is it read.
    unsafe { (libc::tcgetattr(tty.as_raw_fd(), modes.as_mut_ptr()) == 0).then(|| modes.assume_init()) }
}
