//! The questions to the operating system that no safe library asks.
#![allow(unsafe_code, reason = "ioctl has no safe form in the standard library")]

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

/// Bytes written to a socket that the other side has not taken: on TCP those that its kernel has not acknowledged (tcp(7)), on
/// a Unix socket those that it has not read, with some of the kernel's own space on top (unix(7), `SIOCOUTQ`).
pub(super) fn unsent(socket: &impl AsFd) -> io::Result<u64> {
    count(socket, libc::TIOCOUTQ)
}

/// Bytes that lie unread in a pipe, asked at its writing end (pipe(7), `FIONREAD`).
pub(super) fn unread(pipe: &impl AsFd) -> io::Result<u64> {
    count(pipe, libc::FIONREAD)
}

fn count(of: &impl AsFd, what: libc::Ioctl) -> io::Result<u64> {
    let mut count: libc::c_int = 0;
    // SAFETY: the descriptor is open for as long as the borrow lives, and both requests write one int to the valid pointer.
    let outcome = unsafe { libc::ioctl(of.as_fd().as_raw_fd(), what, &raw mut count) };
    if outcome == 0 { Ok(u64::from(count.unsigned_abs())) } else { Err(io::Error::last_os_error()) }
}
