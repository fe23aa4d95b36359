//! A question whose answer is not echoed. `rpassword` prints its question before it turns the echo off, so whoever answers
//! fast, or pastes, sees the first characters: here the echo goes first.

#![allow(unsafe_code, reason = "terminal modes are set through libc")]

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd as _;

use zeroize::Zeroizing;

/// Asks on the controlling terminal and reads an answer that is not shown.
///
/// # Errors
/// If there is no terminal to ask on.
pub fn ask_hidden(question: &str) -> io::Result<Zeroizing<String>> {
    let _muted = Muted::terminal();
    rpassword::prompt_password(question).map(Zeroizing::new)
}

/// The controlling terminal without echo; as it was again when dropped.
struct Muted {
    terminal: File,
    found: libc::termios,
}

impl Muted {
    fn terminal() -> Option<Self> {
        let terminal = File::open("/dev/tty").ok()?;
        let mut found = MaybeUninit::<libc::termios>::uninit();
        // SAFETY: tcgetattr writes the whole structure when it returns 0, and only then is it read.
        let found =
            unsafe { (libc::tcgetattr(terminal.as_raw_fd(), found.as_mut_ptr()) == 0).then(|| found.assume_init()) }?;
        let muted = libc::termios { c_lflag: found.c_lflag & !libc::ECHO, ..found };
        set(&terminal, &muted);
        Some(Self { terminal, found })
    }
}

impl Drop for Muted {
    fn drop(&mut self) {
        set(&self.terminal, &self.found);
    }
}

fn set(terminal: &File, modes: &libc::termios) {
    // SAFETY: the descriptor is open for the borrow, and `modes` is a whole structure.
    unsafe {
        libc::tcsetattr(terminal.as_raw_fd(), libc::TCSANOW, modes);
    }
}
