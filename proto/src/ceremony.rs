//! What two people sign when they do something to a vault together, and how it is bound.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::encoding;
use crate::ids::{CeremonyId, IdentityId, VaultId};
use crate::words::{CeremonyKind, Scheme};

/// Everything that a ceremony is about. Whoever confirms computes the digest from what they were shown, so that an approval
/// can neither be moved to another ceremony nor stretched to more than was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Which ceremony.
    pub ceremony: CeremonyId,
    /// To which vault.
    pub vault: VaultId,
    /// What is done.
    pub kind: CeremonyKind,
    /// `rotate-key`: how seeds are sealed afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Scheme>,
    /// `hand-over`: whose key the seeds are encrypted to, `age1…` or `ssh-ed25519 …`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// By whom.
    pub proposer: IdentityId,
    /// Why.
    pub reason: String,
    /// Ticket number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when it can be confirmed and begun.
    pub expires_at: Timestamp,
}

impl Content {
    /// The digest that a confirmation names, 64 hex digits.
    #[must_use]
    pub fn digest(&self) -> Option<String> {
        encoding::digest(self)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_field_changes_the_digest() {
        let content = Content {
            ceremony: CeremonyId::random(),
            vault: VaultId::random(),
            kind: CeremonyKind::RotateKey,
            scheme: None,
            recipient: None,
            proposer: IdentityId::random(),
            reason: "yearly".into(),
            ticket: None,
            created_at: "2026-11-22T00:00:00Z".parse().unwrap(),
            expires_at: "2026-11-23T00:00:00Z".parse().unwrap(),
        };
        let variants = [
            content.clone(),
            Content { ceremony: CeremonyId::random(), ..content.clone() },
            Content { vault: VaultId::random(), ..content.clone() },
            Content { kind: CeremonyKind::Destroy, ..content.clone() },
            Content { scheme: Some(Scheme::Derived), ..content.clone() },
            Content { recipient: Some("age1".into()), ..content.clone() },
            Content { proposer: IdentityId::random(), ..content.clone() },
            Content { reason: "daily".into(), ..content.clone() },
            Content { ticket: Some("yearly".into()), ..content.clone() },
            Content { created_at: content.expires_at, ..content.clone() },
            Content { expires_at: content.created_at, ..content.clone() },
        ];
        let digests: HashSet<_> = variants.iter().map(|content| content.digest().unwrap()).collect();
        assert_eq!(digests.len(), variants.len());
    }
}
