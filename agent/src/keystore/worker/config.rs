//! How workers run: what a token's profile says about them.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How workers run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerConfig {
    /// How many serve at once.
    pub workers: usize,
    /// Calls that may wait for one of them; more are refused as busy.
    pub queue_len: usize,
    /// How long an operation may take before its caller is told that the token does not answer, in ms.
    pub operation_ms: u64,
    /// The same for making and destroying a key: a busy disk under a software token takes its time.
    pub key_generation_ms: u64,
    /// A worker that has been silent for so long over a call is ended and replaced, in seconds.
    pub hung_after_s: u64,
    /// A worker that has grown to this is replaced, in MiB; absent if never.
    pub memory_limit_mib: Option<u64>,
    /// Whether the module needs the network.
    pub network: bool,
    /// What the module reads, besides libraries and its own folder.
    pub readable: Vec<PathBuf>,
    /// What the module writes, besides the token's storage.
    pub writable: Vec<PathBuf>,
    /// Variables of the environment that the module is given.
    pub environment: Vec<String>,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            workers: 2,
            queue_len: 256,
            operation_ms: 2000,
            key_generation_ms: 10_000,
            hung_after_s: 5,
            memory_limit_mib: Some(256),
            network: false,
            readable: vec!["/etc/softhsm".into(), "/etc/softhsm2.conf".into()],
            writable: vec!["/var/lib/softhsm/tokens".into()],
            environment: vec!["SOFTHSM2_CONF".into()],
        }
    }
}

/// A start takes an enumeration of all keys, a login, and a probe.
const OPEN_DEADLINE: Duration = Duration::from_secs(60);

impl WorkerConfig {
    pub(super) fn call_deadline(&self) -> Duration {
        Duration::from_millis(self.operation_ms)
    }

    pub(super) fn key_deadline(&self) -> Duration {
        Duration::from_millis(self.key_generation_ms)
    }

    pub(super) fn hung_after(&self) -> Duration {
        Duration::from_secs(self.hung_after_s)
    }

    #[allow(clippy::unused_self, reason = "beside the other deadlines, which a profile sets")]
    pub(super) const fn open_deadline(&self) -> Duration {
        OPEN_DEADLINE
    }
}
