//! The few calls to the operating system that have no safe wrapper in the standard library.
#![allow(unsafe_code, reason = "flock, prctl and setrlimit have no safe wrapper in the standard library")]

use std::os::fd::RawFd;

/// Takes an exclusive lock on an open file without waiting. Released when the file is closed, also by a crash.
#[must_use]
pub fn try_lock(file: RawFd) -> bool {
    // SAFETY: flock takes a descriptor and flags, touches no memory of ours, and reports a bad descriptor as an error.
    unsafe { libc::flock(file, libc::LOCK_EX | libc::LOCK_NB) == 0 }
}

/// Keeps this process out of core dumps and away from debuggers of the same user. False if the kernel refused.
#[must_use]
pub fn harden() -> bool {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls take plain values or a pointer to a struct that outlives the call, and change only this process.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) == 0 && libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 }
}

/// The user this process runs as.
#[must_use]
pub fn user() -> u32 {
    // SAFETY: geteuid has no arguments and cannot fail.
    unsafe { libc::geteuid() }
}
