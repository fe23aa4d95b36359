//! What a worker gives up before it loads the module: files that it does not need (Landlock), and system calls that no
//! token needs (seccomp). A module that was replaced, or one with a hole, then reaches neither the store nor the network.
//!
//! Both are the kernel's: where it has them they hold for all threads and can never be taken back.
//!
//! A worker that may use local sockets reaches whatever listens on one as the agent's user: a bus, a login agent. Profiles
//! allow them only where the module asks a resource manager.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, RestrictionStatus, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetStatus, Scope, path_beneath_rules,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use serde::{Deserialize, Serialize};

use crate::keystore::pkcs11::TokenConfig;
use crate::keystore::pkcs11::profile::WorkerLimits;

/// What the kernel holds a worker to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// Files: only those that the module needs.
    pub files: Applied,
    /// System calls: no new programs, no look into other processes, no network unless the profile asks for it.
    pub calls: Applied,
}

/// Whether a part of the sandbox holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Applied {
    /// It does.
    Yes,
    /// It does in what matters most; this is missing.
    Partly(String),
    /// It does not, because of this.
    No(String),
}

impl fmt::Display for Applied {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => formatter.write_str("restricted"),
            Self::Partly(missing) => write!(formatter, "restricted ({missing})"),
            Self::No(reason) => write!(formatter, "NOT restricted ({reason})"),
        }
    }
}

/// Where programs and their libraries live: read and executed, never written.
const SYSTEM: [&str; 8] =
    ["/usr", "/lib", "/lib64", "/etc", "/nix/store", "/gnu/store", "/sys/devices/system/cpu", "/opt"];
/// What every library opens.
const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"];

impl Sandbox {
    /// Gives up what this token does not need. Call it before the module is loaded.
    pub(super) fn enter(token: &TokenConfig) -> Self {
        Self { files: restrict_files(token), calls: restrict_calls(&token.profile.worker) }
    }
}

fn restrict_files(token: &TokenConfig) -> Applied {
    let worker = &token.profile.worker;
    if token.profile.softhsm_folder && token.storage.is_none() {
        // A software token whose folder nobody named would lose it.
        return Applied::No("[token] storage does not say where the token keeps its files".into());
    }
    let parent = |path: &Path| path.parent().map(Path::to_owned);
    let environment = worker.environment.iter().filter_map(std::env::var_os).map(PathBuf::from);
    let readable = SYSTEM
        .iter()
        .map(PathBuf::from)
        .chain(parent(&token.module))
        .chain(token.module.canonicalize().ok().as_deref().and_then(parent))
        .chain(worker.read.iter().cloned())
        .chain(environment.filter(|path| path.is_absolute()))
        .chain([PathBuf::from("/proc/self")])
        .filter(|path| path.exists());
    let writable = token
        .storage
        .iter()
        .chain(&worker.write)
        .cloned()
        .chain(DEVICES.iter().map(PathBuf::from))
        .filter(|path| path.exists());
    let abi = ABI::V6;
    let restricted = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(abi)))
        .and_then(Ruleset::create)
        .and_then(|ruleset| ruleset.add_rules(path_beneath_rules(readable, AccessFs::from_read(abi))))
        .and_then(|ruleset| ruleset.add_rules(path_beneath_rules(writable, AccessFs::from_all(abi))))
        .and_then(landlock::RulesetCreated::restrict_self);
    match restricted {
        Ok(RestrictionStatus { ruleset: RulesetStatus::FullyEnforced, .. }) => Applied::Yes,
        Ok(RestrictionStatus { ruleset: RulesetStatus::PartiallyEnforced, .. }) => {
            // Opening, making and removing files are restricted since the first Landlock (Linux 5.13).
            Applied::Partly(
                "this kernel's Landlock is older than Linux 6.12: devices and abstract sockets stay open".into(),
            )
        }
        Ok(_) => Applied::No("this kernel has no Landlock".into()),
        Err(error) => Applied::No(error.to_string()),
    }
}

/// What no PKCS#11 module needs and every intruder wants. Landlock does not cover who owns a file and may open it, nor, in
/// older kernels, how long it is.
const FORBIDDEN: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_kcmp,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_open_by_handle_at,
    libc::SYS_truncate,
    libc::SYS_fchmodat,
    SYS_FCHMODAT2,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
];
/// The same number on every architecture; libc has no name for it everywhere.
const SYS_FCHMODAT2: libc::c_long = 452;

fn restrict_calls(worker: &WorkerLimits) -> Applied {
    match filters(worker) {
        Ok(programs) => match programs.iter().try_for_each(|program| seccompiler::apply_filter_all_threads(program)) {
            Ok(()) => Applied::Yes,
            Err(error) => Applied::No(error.to_string()),
        },
        Err(error) => Applied::No(error.to_string()),
    }
}

/// Two filters, because one has one answer: what is forbidden is not permitted, and `clone3`, whose flags a filter cannot
/// see, is not there, so that the C library starts threads by `clone`.
fn filters(worker: &WorkerLimits) -> Result<[BpfProgram; 2], seccompiler::BackendError> {
    let word =
        |argument, operator, value: u64| SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value);
    let one = |condition| SeccompRule::new(vec![condition]);
    let own = u64::from(std::process::id());
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = FORBIDDEN.iter().map(|call| (*call, Vec::new())).collect();
    // Threads yes, processes no: a child would outlive its worker, with the PIN and the login.
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    rules.insert(libc::SYS_clone, vec![one(word(0, SeccompCmpOp::MaskedEq(thread), 0)?)?]);
    // Signals to itself only, which abort needs; limits of itself only.
    for call in [libc::SYS_kill, libc::SYS_tgkill] {
        rules.insert(call, vec![one(word(0, SeccompCmpOp::Ne, own)?)?]);
    }
    rules.insert(libc::SYS_prlimit64, vec![one(word(0, SeccompCmpOp::Ne, 0)?)?]);
    match (worker.network, worker.local_sockets) {
        (true, _) => {}
        (false, true) => {
            let local = u64::from(libc::AF_UNIX.unsigned_abs());
            rules.insert(libc::SYS_socket, vec![one(word(0, SeccompCmpOp::Ne, local)?)?]);
        }
        (false, false) => drop(rules.insert(libc::SYS_socket, Vec::new())),
    }
    let absent = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let program = |rules, errno: libc::c_int| {
        let answer = SeccompAction::Errno(errno.unsigned_abs());
        SeccompFilter::new(rules, SeccompAction::Allow, answer, std::env::consts::ARCH.try_into()?)?.try_into()
    };
    Ok([program(rules, libc::EPERM)?, program(absent, libc::ENOSYS)?])
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixDatagram;
    use std::process::Command;

    use super::*;
    use crate::keystore::pkcs11::TokenProfile;

    /// Tells the second process where to try.
    const FOLDER: &str = "STRONGROOM_TEST_SANDBOX";

    #[test]
    fn a_confined_process_reaches_its_token_and_nothing_else() {
        let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir(folder.path().join("token")).unwrap();
            std::fs::write(folder.path().join("store"), "rows").unwrap();
            let test = "keystore::worker::sandbox::tests::a_confined_process_reaches_its_token_and_nothing_else";
            let mut again = Command::new(std::env::current_exe().unwrap());
            let output = again.args([test, "--exact", "--nocapture"]).env(FOLDER, folder.path()).output().unwrap();
            let text =
                [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
            assert!(output.status.success() && text.contains("1 passed"), "{text}");
            let store = folder.path().join("store");
            assert_eq!(std::fs::read_to_string(&store).unwrap(), "rows");
            assert_eq!(std::fs::metadata(&store).unwrap().permissions().mode() & 0o077, 0o044);
            return;
        };
        let (storage, store) = (folder.join("token"), folder.join("store"));
        let token = TokenConfig { storage: Some(storage.clone()), ..TokenConfig::new(TokenProfile::default(), "test") };
        let sandbox = Sandbox::enter(&token);
        assert_eq!(sandbox, Sandbox { files: Applied::Yes, calls: Applied::Yes });

        std::fs::write(storage.join("key"), "sealed").unwrap();
        assert_eq!(std::fs::read_to_string(storage.join("key")).unwrap(), "sealed");
        assert_eq!(std::thread::spawn(|| 7).join().unwrap(), 7, "threads are started");

        assert!(std::fs::read(&store).is_err());
        assert!(std::fs::write(&store, "").is_err());
        assert!(std::fs::remove_file(&store).is_err());
        assert!(std::fs::set_permissions(&store, std::fs::Permissions::from_mode(0o666)).is_err());
        assert!(std::os::unix::fs::chown(&store, Some(65534), None).is_err());
        assert!(Command::new("/bin/true").status().is_err(), "programs are not started");
        assert!(UnixDatagram::unbound().is_err(), "not even local sockets");
        assert!(std::net::TcpListener::bind("127.0.0.1:0").is_err());
        let parent = rustix::process::getppid().unwrap();
        assert!(rustix::process::test_kill_process(parent).is_err(), "nobody else is signalled");
        assert!(rustix::process::test_kill_process(rustix::process::getpid()).is_ok());
    }
}
