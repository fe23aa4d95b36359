//! `canary.*`: decoys. Whoever takes a code of one has no business there, and is held at once.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Changed, method};
use crate::ids::{AccountAddress, Slug};

/// Makes an account a decoy: whoever takes a code of it is on hold from then on. Managers of the vault and admins.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Set {
    /// Which.
    pub account: AccountAddress,
}
method!(Set => "canary.set" -> Changed);

/// Makes a decoy an ordinary account again. Managers of the vault and admins.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clear {
    /// Which.
    pub account: AccountAddress,
}
method!(Clear => "canary.clear" -> Changed);

/// Lists the decoys of the vaults that one manages; admins all.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {}
method!(List => "canary.list" -> ListResult);

/// The decoys.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListResult {
    /// By address.
    pub items: Vec<Item>,
}

/// One decoy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Item {
    /// Which account.
    pub account: AccountAddress,
    /// Since when.
    pub since: Timestamp,
    /// By whom.
    pub set_by: Slug,
    /// When somebody last took a code of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tripped_at: Option<Timestamp>,
}
