//! Canaries: accounts that nobody has business with. Whoever takes a code of one is looking around. Which they are is a secret
//! from everybody who might: the row's clear part names nothing, so a thief of the store does not learn it either.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strongroom_proto::ids::{AccountId, CanaryId, IdentityId, VaultId};

use super::LogId;
use super::rows::row;

/// A canary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// For ever.
    pub id: CanaryId,
    /// Since when.
    pub created_at: Timestamp,
    /// By whom.
    pub set_by: IdentityId,
    /// When somebody last took a code of it.
    pub tripped_at: Option<Timestamp>,
    /// Which account it is.
    #[serde(skip, default = "CanaryNames::unknown")]
    pub names: CanaryNames,
}

/// Which account a canary is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryNames {
    /// Its vault.
    pub vault: VaultId,
    /// The account.
    pub account: AccountId,
}

impl CanaryNames {
    fn unknown() -> Self {
        let nil = uuid::Uuid::nil();
        Self { vault: VaultId::from_uuid(nil), account: AccountId::from_uuid(nil) }
    }
}

row!(Canary, "canary", decides: true,
key: |canary| canary.id.as_bytes().to_vec(), log: |_| LogId::Org, names: CanaryNames,
place: |canary, state| { state.canaries.insert(canary.names.account, canary); },
displace: |canary, state| { state.canaries.remove(&canary.names.account); });
