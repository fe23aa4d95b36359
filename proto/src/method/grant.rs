//! `grant.*`: who may do what in which vault.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Changed, Receipt, method};
use crate::ids::{GrantId, PendingId, RequestId, Slug};
use crate::policy::Hours;
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
    /// Whose; absent for that of a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Slug>,
    /// That of everybody in this group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Slug>,
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
    /// Only on these days and hours; absent means always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<Hours>,
    /// By whom it was given.
    pub given_by: Slug,
    /// The request that it was given for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// True while nobody else takes codes of its accounts.
    pub exclusive: bool,
    /// True until a second person has confirmed it: it gives nothing before.
    pub pending: bool,
}

/// Gives a grant. Admins any but to themselves; managers `viewer` and `eligible` in their vault, not to themselves.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Give {
    /// Where.
    pub vault: Slug,
    /// To whom; or a group, and not both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Slug>,
    /// To everybody in this group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Slug>,
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
    /// Only on these days and hours: outside them it shows the vault and gives no codes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<Hours>,
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
    /// False while it waits for a second person.
    pub in_force: bool,
    /// The change that a second person has to confirm, or may look at later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingId>,
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
