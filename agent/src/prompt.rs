//! A question at the terminal whose answer is not echoed. `rpassword` prints its question before it turns the echo off, so
//! whoever answers fast, or pastes, sees the first characters: here the echo goes first.

use std::fs::File;
use std::io;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// Asks on the controlling terminal and reads an answer that is not shown.
///
/// # Errors
/// If there is no terminal to ask on.
pub(crate) fn ask_hidden(question: &str) -> io::Result<Zeroizing<String>> {
    let _muted = Muted::terminal();
    rpassword::prompt_password(question).map(Zeroizing::new)
}

/// The controlling terminal without echo; as it was again when dropped.
struct Muted {
    terminal: File,
    found: Termios,
}

impl Muted {
    fn terminal() -> Option<Self> {
        let terminal = File::open("/dev/tty").ok()?;
        let found = tcgetattr(&terminal).ok()?;
        let mut muted = found.clone();
        muted.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&terminal, OptionalActions::Now, &muted).ok()?;
        Some(Self { terminal, found })
    }
}

impl Drop for Muted {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(&self.terminal, OptionalActions::Now, &self.found) {
            tracing::warn!(%error, "the terminal's echo could not be turned on again");
        }
    }
}
