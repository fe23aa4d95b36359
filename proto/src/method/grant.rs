//! `grant.*`: who may do what in which vault.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Changed, Receipt, method};
use crate::ids::{GrantId, Slug};
use crate::words::VaultRole;

/// Lists grants that the caller may know of: admins all, managers and auditors those of their vaults, everybody their own.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Only this vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<Slug>,
    /// Only this identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Slug>,
}
method!(List => "grant.list" -> ListResult);

/// The grants.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListResult {
    /// By vault, then identity.
    pub items: Vec<Item>,
}

/// One grant that has not ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Item {
    /// Its id.
    pub grant: GrantId,
    /// Where.
    pub vault: Slug,
    /// Whose.
    pub identity: Slug,
    /// Which right.
    pub role: VaultRole,
    /// Only these accounts; absent means the whole vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounts: Option<Vec<Slug>>,
    /// From when.
    pub from: Timestamp,
    /// Until when (exclusive); absent means standing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// By whom it was given.
    pub given_by: Slug,
}

/// Gives a grant. Admins any but to themselves; managers `viewer` and `eligible` in their vault, not to themselves.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Give {
    /// Where.
    pub vault: Slug,
    /// To whom.
    pub identity: Slug,
    /// Which right.
    pub role: VaultRole,
    /// Only these accounts, 1 to 100; absent means the whole vault. Only for `viewer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounts: Option<Vec<Slug>>,
    /// From when; now when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Until when (exclusive); standing when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Why, at most 500 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Ticket number, at most 100 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
}
method!(Give => "grant.give" -> Given);

/// The new grant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Given {
    /// Its id.
    pub grant: GrantId,
    /// Where it was recorded.
    pub receipt: Receipt,
}

/// Ends a grant now. Admins; managers those they could give; everybody their own.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// Which.
    pub grant: GrantId,
    /// Why, at most 500 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
method!(End => "grant.end" -> Changed);
