//! What is signed when access is asked for and approved, and how it is bound.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::encoding;
use crate::ids::{AccountId, IdentityId, RequestId, VaultId};
use crate::words::RequestKind;

/// Everything that a request is about. Whoever approves computes the digest from what they were shown: an approval can neither
/// be forged by the agent's operator nor moved to another request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Which request.
    pub request: RequestId,
    /// In which vault.
    pub vault: VaultId,
    /// Whether others approve first or review afterwards.
    pub kind: RequestKind,
    /// Who asks.
    pub requester: IdentityId,
    /// For these accounts; absent means the whole vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounts: Option<Vec<AccountId>>,
    /// For how long from its approval on, in seconds.
    pub duration_s: u64,
    /// Nobody else takes codes of these accounts meanwhile.
    pub exclusive: bool,
    /// Why.
    pub reason: String,
    /// Ticket number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when it can be decided.
    pub expires_at: Timestamp,
}

impl Content {
    /// The digest that `request.approve` names: 64 hex digits ([`encoding::digest`]).
    #[must_use]
    pub fn digest(&self) -> Option<String> {
        encoding::digest(self)
    }
}
