//! The few calls to the operating system that have no safe wrapper in the standard library.
#![allow(
    unsafe_code,
    reason = "prctl, setrlimit, mlockall, geteuid and signals have no safe wrapper in the standard library"
)]

/// Keeps this process out of core dumps and away from debuggers of the same user. False if the kernel refused.
#[must_use]
pub fn harden() -> bool {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls take plain values or a pointer to a struct that outlives the call, and change only this process.
    unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none) == 0 && libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) == 0
    }
}

/// Keeps this process's memory out of swap: keys and opened seeds must not reach a disk. Pages are locked as they are
/// touched. False if the limit of locked memory does not allow it.
#[must_use]
pub fn lock_memory() -> bool {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let flags = libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT;
    // SAFETY: getrlimit writes into a struct that outlives the call; mlockall takes flags only.
    unsafe {
        // Under a small limit MCL_FUTURE would make later allocations fail: then it is better not to begin.
        let unlimited =
            libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) == 0 && limit.rlim_cur == libc::RLIM_INFINITY;
        (unlimited || libc::geteuid() == 0) && libc::mlockall(flags) == 0
    }
}

/// Says why a folder is not private to this process's user, if it is not.
///
/// # Errors
/// What is wrong, in words.
pub fn check_private_dir(path: &std::path::Path) -> Result<(), String> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let name = path.display();
    match std::fs::symlink_metadata(path) {
        Err(error) => Err(format!("{name}: {error}")),
        Ok(found) if !found.is_dir() => Err(format!("{name} is no folder")),
        Ok(found) if found.uid() != user() => {
            Err(format!("{name} belongs to user {}, not to the agent's", found.uid()))
        }
        Ok(found) if found.permissions().mode() & 0o077 != 0 => {
            Err(format!("{name} can be entered by others: chmod 0700 {name}"))
        }
        Ok(_) => Ok(()),
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

/// The signals that ask a process to stop.
const STOP_SIGNALS: [libc::c_int; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP];

/// Leaves the signals that stop an agent to the agent: a worker ends when its socket closes, so that what the agent still
/// wants to sign on its way out can be signed.
pub fn ignore_stop_signals() {
    for signal in STOP_SIGNALS {
        // SAFETY: sets a disposition that has no handler.
        unsafe {
            libc::signal(signal, libc::SIG_IGN);
        }
    }
}

/// Hands the signals that ask this process to stop on to a child. Call it before other threads are started.
pub fn forward_stop_signals(child: u32) {
    let mut signals = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set before anything reads it; the mask changes for this thread and those that it
    // starts. The standard library gives a child an empty mask.
    let signals = unsafe {
        libc::sigemptyset(signals.as_mut_ptr());
        for signal in STOP_SIGNALS {
            libc::sigaddset(signals.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, signals.as_ptr(), std::ptr::null_mut());
        signals.assume_init()
    };
    let Ok(child) = libc::pid_t::try_from(child) else { return };
    std::thread::spawn(move || {
        loop {
            let mut signal = 0;
            // SAFETY: both pointers lead to values that outlive the calls; the child is reaped only after this process
            // has read its end from the socket, so its number is not in use by another.
            unsafe {
                if libc::sigwait(&raw const signals, &raw mut signal) == 0 {
                    libc::kill(child, signal);
                }
            }
        }
    });
}

/// Ends this process without running what libraries want to run at the end.
pub fn exit_at_once() -> ! {
    // SAFETY: never returns, and touches no memory of this process.
    unsafe { libc::_exit(1) }
}
