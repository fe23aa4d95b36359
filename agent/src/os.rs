//! The few calls to the operating system that have no safe wrapper in the standard library.
#![allow(unsafe_code, reason = "prctl, setrlimit and geteuid have no safe wrapper in the standard library")]

/// Keeps this process out of core dumps and away from debuggers of the same user. False if the kernel refused.
#[must_use]
pub fn harden() -> bool {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls take plain values or a pointer to a struct that outlives the call, and change only this process.
    unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none) == 0 && libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) == 0
    }
}

/// The user this process runs as.
#[must_use]
pub fn user() -> u32 {
    // SAFETY: geteuid has no arguments and cannot fail.
    unsafe { libc::geteuid() }
}

/// Tells systemd that the socket is listening, if it asked (`NOTIFY_SOCKET`).
pub fn notify_ready() {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    let told = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address));
    if let Err(error) = told {
        tracing::warn!(%error, "systemd could not be told that the agent is ready");
    }
}
