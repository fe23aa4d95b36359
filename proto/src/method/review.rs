//! `review.*`: recertification. Is every right still needed? What nobody confirms ends.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Changed, Receipt, method};
use crate::ids::{CampaignId, GrantId, Slug};
use crate::words::VaultRole;

/// Begins a recertification of all grants of some vaults. Admins only.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// Its title, 1 to 200 bytes.
    pub title: String,
    /// Over these vaults; absent means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vaults: Option<Vec<Slug>>,
    /// When it ends: within 366 days. What nobody has confirmed ends with it.
    pub due_at: Timestamp,
}
method!(Start => "review.start" -> Started);

/// The new recertification.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Started {
    /// Its id.
    pub campaign: CampaignId,
    /// Vaults in it.
    pub vaults: u64,
    /// Grants to decide on.
    pub grants: u64,
    /// Where it was recorded.
    pub receipt: Receipt,
}

/// Lists recertifications in which the caller has a say or that they may see.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Those that are over too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}
method!(List => "review.list" -> ListResult);

/// The recertifications.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListResult {
    /// Newest first.
    pub items: Vec<Item>,
}

/// One recertification.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Item {
    /// Its id.
    pub campaign: CampaignId,
    /// Its title.
    pub title: String,
    /// Since when.
    pub started_at: Timestamp,
    /// By whom.
    pub started_by: Slug,
    /// When it ends.
    pub due_at: Timestamp,
    /// True while it can be decided on.
    pub open: bool,
    /// When everything in it was settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
    /// Its vaults, as far as the caller may see them.
    pub vaults: Vec<VaultState>,
}

/// How far one vault is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VaultState {
    /// Which.
    pub vault: Slug,
    /// Grants that nobody has decided on.
    pub open: u64,
    /// Grants that somebody kept.
    pub kept: u64,
    /// Grants that somebody ended.
    pub ended: u64,
    /// Grants that nobody confirmed, which ended.
    pub unconfirmed: u64,
}

/// Shows the grants of one vault in a recertification. Managers and auditors of the vault, admins and auditors of the organisation.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Show {
    /// Which.
    pub campaign: CampaignId,
    /// Which vault.
    pub vault: Slug,
}
method!(Show => "review.show" -> Shown);

/// The grants.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shown {
    /// Those to decide on first, then what was decided.
    pub items: Vec<GrantState>,
}

/// One grant in a recertification.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GrantState {
    /// Its id.
    pub grant: GrantId,
    /// Whose; absent for a group's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Slug>,
    /// The group whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Slug>,
    /// Whom it serves, at most 100.
    pub serves: Vec<Slug>,
    /// Which right.
    pub role: VaultRole,
    /// Only these accounts; absent means the whole vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounts: Option<Vec<Slug>>,
    /// Until when; absent means standing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Who gave it.
    pub given_by: Slug,
    /// When; the epoch if that was not kept.
    pub given_at: Timestamp,
    /// What was decided; absent while nobody has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<bool>,
    /// By whom; absent if nobody confirmed it in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<Slug>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<Timestamp>,
    /// True if it waits and the caller may decide.
    pub yours: bool,
}

/// Keeps or ends grants, all or none. Managers of the vault and admins; never of what serves themselves.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decide {
    /// In which recertification.
    pub campaign: CampaignId,
    /// Which grants, 1 to 100.
    pub grants: Vec<GrantId>,
    /// True if they are still needed; else they end at once.
    pub keep: bool,
    /// Why, at most 500 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}
method!(Decide => "review.decide" -> Changed);

/// Ends a recertification before its time: what nobody has confirmed by now ends. Admins only.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Close {
    /// Which.
    pub campaign: CampaignId,
}
method!(Close => "review.close" -> Closed);

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Closed {
    /// Grants that somebody kept.
    pub kept: u64,
    /// Grants that somebody ended.
    pub ended: u64,
    /// Grants that nobody confirmed, which ended now.
    pub unconfirmed: u64,
    /// Where its end was recorded.
    pub receipt: Receipt,
}
