//! The question to the operating system that the standard library does not ask.
#![allow(unsafe_code, reason = "ioctl has no safe form in the standard library")]

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};

use interprocess::local_socket::tokio::Stream;

/// Bytes written to this socket that its peer has not read yet. On a Unix socket this counts what lies in the peer's
/// receive queue (unix(7), `SIOCOUTQ`), so 0 means that the peer has taken everything, or is gone.
pub(super) fn unread(stream: &Stream) -> io::Result<u32> {
    let Stream::UdSocket(socket) = stream;
    let mut count: libc::c_int = 0;
    // SAFETY: the descriptor is open for as long as the borrow lives, and TIOCOUTQ (the same number as SIOCOUTQ) writes
    // one int to the valid pointer.
    let outcome = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    if outcome == 0 { Ok(count.unsigned_abs()) } else { Err(io::Error::last_os_error()) }
}
