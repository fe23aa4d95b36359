//! What a worker gives up before it loads the module: files that it does not need (Landlock), and system calls that no
//! token needs (seccomp). A module that was replaced, or one with a hole, then reaches neither the store nor the network.
//!
//! Both are the kernel's: where it has them they hold for all threads and can never be taken back.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, RestrictionStatus, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetStatus, path_beneath_rules,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use serde::{Deserialize, Serialize};

use crate::keystore::pkcs11::TokenConfig;

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
    /// It does not, or not in full, because of this.
    No(String),
}

impl fmt::Display for Applied {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => formatter.write_str("restricted"),
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
        Self { files: restrict_files(token), calls: restrict_calls(token.profile.worker.network) }
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
    let abi = ABI::V5;
    let restricted = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))
        .and_then(Ruleset::create)
        .and_then(|ruleset| ruleset.add_rules(path_beneath_rules(readable, AccessFs::from_read(abi))))
        .and_then(|ruleset| ruleset.add_rules(path_beneath_rules(writable, AccessFs::from_all(abi))))
        .and_then(landlock::RulesetCreated::restrict_self);
    match restricted {
        Ok(RestrictionStatus { ruleset: RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced, .. }) => {
            Applied::Yes
        }
        Ok(_) => Applied::No("this kernel has no Landlock".into()),
        Err(error) => Applied::No(error.to_string()),
    }
}

/// What no PKCS#11 module needs and every intruder wants.
const FORBIDDEN: [libc::c_long; 28] = [
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
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
];

fn restrict_calls(network: bool) -> Applied {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = FORBIDDEN.iter().map(|call| (*call, Vec::new())).collect();
    if !network {
        match no_network() {
            Ok(rule) => drop(rules.insert(libc::SYS_socket, vec![rule])),
            Err(error) => return Applied::No(error.to_string()),
        }
    }
    let filter = std::env::consts::ARCH.try_into().and_then(|arch| {
        SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(libc::EPERM.unsigned_abs()), arch)
    });
    let program = filter.and_then(BpfProgram::try_from);
    match program.map(|program| seccompiler::apply_filter_all_threads(&program)) {
        Ok(Ok(())) => Applied::Yes,
        Ok(Err(error)) => Applied::No(error.to_string()),
        Err(error) => Applied::No(error.to_string()),
    }
}

/// Sockets of the local kind stay: the system's log is one.
fn no_network() -> Result<SeccompRule, seccompiler::BackendError> {
    let local = u64::from(libc::AF_UNIX.unsigned_abs());
    SeccompRule::new(vec![SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, local)?])
}
