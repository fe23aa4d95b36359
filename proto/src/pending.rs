//! What a second person signs when they confirm what somebody else did, and how it is bound.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::encoding;
use crate::ids::{IdentityId, PendingId};
use crate::words::PendingKind;

/// Everything that a pending change is about. Whoever confirms computes the digest from what they were shown, so that a
/// confirmation can neither be moved to another change nor stretched to more than was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Content {
    /// Which change.
    pub pending: PendingId,
    /// What kind.
    pub kind: PendingKind,
    /// The change itself: ids, fingerprints, roles or policies.
    pub change: Value,
    /// Whom it is to serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityId>,
    /// By whom.
    pub proposer: IdentityId,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when it can be confirmed.
    pub expires_at: Timestamp,
}

impl Content {
    /// The digest that `pending.confirm` names: 64 hex digits ([`encoding::digest`]).
    #[must_use]
    pub fn digest(&self) -> Option<String> {
        encoding::digest(self)
    }
}
