//! Checking a whole log on this side: leaf hashes to root, root to checkpoint, checkpoint to the pinned agent key. The
//! records themselves are compared with the leaves where they are loaded ([`super::audit::Audit`]).

use std::fmt;
use std::sync::Arc;

/// A log whose leaves add up to the root that the agent's key signed.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifiedLog {
    /// How many records it had.
    pub size: u64,
    /// Their leaf hashes in order.
    pub leaves: Arc<Vec<[u8; 32]>>,
}

impl fmt::Debug for VerifiedLog {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "VerifiedLog({} records)", self.size)
    }
}
