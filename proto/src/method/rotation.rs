//! `rotation.*`: seeds that somebody knew who has left.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Changed, method};
use crate::ids::{AccountAddress, AccountId, Slug};
use crate::words::RotationCause;

/// Lists accounts whose seeds have to be replaced because somebody who knew them was revoked. Managers and auditors of the vault,
/// admins and auditors of the organisation.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Only this vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<Slug>,
}
method!(List => "rotation.list" -> ListResult);

/// The rotation list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListResult {
    /// By address, at most 1,000.
    pub items: Vec<Item>,
    /// How many there are.
    pub total: u64,
}

/// One account on it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Item {
    /// Which.
    pub account: AccountAddress,
    /// Its id.
    pub account_id: AccountId,
    /// Because of whom.
    pub identity: Slug,
    /// How they came to know the seed.
    pub cause: RotationCause,
    /// Since when.
    pub since: Timestamp,
}

/// Takes an account off the list without a new seed. Managers of the vault and admins.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dismiss {
    /// Which.
    pub account: AccountAddress,
    /// Why the seed may stay, 1 to 500 bytes.
    pub reason: String,
}
method!(Dismiss => "rotation.dismiss" -> Changed);
