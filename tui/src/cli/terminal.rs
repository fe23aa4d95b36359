//! Signals of a command-line program. The full-screen view has its own ways and never comes here.

#![allow(unsafe_code, reason = "signal dispositions and terminal modes are set through libc")]

use std::mem::MaybeUninit;

/// The exit code after Ctrl-C, as a shell reports it.
const EXIT_INTERRUPTED: i32 = super::error::EXIT_CANCELLED as i32;

/// Gives SIGPIPE its default back: `strongroom audit show | head` ends quietly instead of with a panic.
pub(super) fn end_quietly_on_closed_pipe() {
    // SAFETY: called before any other thread exists; SIG_DFL installs no handler.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}

/// Ends the program with 130 on Ctrl-C, even while a prompt waits, and leaves the terminal as it was found: a masked
/// prompt that is killed would leave it mute.
pub(super) async fn end_on_interrupt() {
    let modes = terminal_modes();
    if tokio::signal::ctrl_c().await.is_ok() {
        if let Some(modes) = modes {
            // SAFETY: `modes` was filled by tcgetattr for this very descriptor.
            unsafe {
                libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, &raw const modes);
            }
        }
        std::process::exit(EXIT_INTERRUPTED);
    }
}

fn terminal_modes() -> Option<libc::termios> {
    let mut modes = MaybeUninit::<libc::termios>::uninit();
    // SAFETY: tcgetattr writes the whole structure when it returns 0, and only then is it read.
    unsafe { (libc::tcgetattr(libc::STDIN_FILENO, modes.as_mut_ptr()) == 0).then(|| modes.assume_init()) }
}
