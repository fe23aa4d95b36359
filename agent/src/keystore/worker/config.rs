//! What a token's profile says about its workers, in the units that they are run by.

use std::time::Duration;

use crate::keystore::pkcs11::TokenConfig;

/// Calls that may wait for one worker; more are refused as busy.
pub(super) const QUEUE_LEN: usize = 256;
/// A start takes an enumeration of all keys, a login and a short probe; before the token's own keys are made, a long one.
pub(super) const OPEN_DEADLINE: Duration = Duration::from_secs(60);

/// How long an operation may take before its caller is told that the token does not answer.
pub(super) fn call_deadline(token: &TokenConfig) -> Duration {
    Duration::from_millis(token.profile.deadlines.operation_ms.into())
}

/// The same for making and destroying a key: a busy disk under a software token takes its time.
pub(super) fn key_deadline(token: &TokenConfig) -> Duration {
    Duration::from_millis(token.profile.deadlines.key_generation_ms.into())
}

/// A worker that has been silent for so long over a call is ended and replaced.
pub(super) fn hung_after(token: &TokenConfig) -> Duration {
    Duration::from_secs(token.profile.deadlines.hung_after_s.into())
}

/// A worker that has grown past this is replaced, in KiB.
pub(super) fn memory_limit_kib(token: &TokenConfig) -> Option<u64> {
    token.profile.worker.memory_limit_mib.map(|limit| u64::from(limit) * 1024)
}
