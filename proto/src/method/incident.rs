//! `incident.*`: stopping what somebody may be misusing, keeping together what follows, and saying what has to be replaced.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Receipt, method};
use crate::ids::{AccountAddress, AccountId, IncidentId, Slug};
use crate::words::{IdentityStatus, IncidentCause};

/// Vaults and people of one incident, together.
pub const INVOLVED_MAX: usize = 100;
/// Hours before an incident that its end looks back, if nobody says.
pub const WINDOW_H: u32 = 7 * 24;
/// Most hours.
pub const WINDOW_H_MAX: u32 = 366 * 24;

/// Opens an incident: freezes vaults and suspends people, all of them or none. From then on records in these vaults and by or
/// about these people name it. Admins only; nobody suspends themselves.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// Why, 1 to 500 bytes. It stands in the log of each vault: it must name no other client.
    pub reason: String,
    /// Which vaults to freeze.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vaults: Vec<Slug>,
    /// Whom to suspend.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<Slug>,
}
method!(Open => "incident.open" -> Opened);

/// The new incident.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Opened {
    /// Its id.
    pub incident: IncidentId,
    /// Vaults that it froze; those that were frozen already are not among them.
    pub froze: Vec<Slug>,
    /// People whom it suspended, in the same way.
    pub suspended: Vec<Slug>,
    /// Sessions that ended with that.
    pub sessions: u64,
    /// Whether every reply on its way to them was read or dropped in time.
    pub drained: bool,
    /// Where it was recorded.
    pub receipt: Receipt,
}

/// Lists incidents, the open ones alone if nothing else is asked for. Admins and auditors of the organisation all of them;
/// managers and auditors of a vault those that it is involved in, as far as they concern it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Those that are over too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}
method!(List => "incident.list" -> ListResult);

/// The incidents.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListResult {
    /// Newest first.
    pub items: Vec<Item>,
}

/// Shows one incident, to whoever may list it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Show {
    /// Which.
    pub incident: IncidentId,
}
method!(Show => "incident.show" -> Item);

/// One incident.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Item {
    /// Its id.
    pub incident: IncidentId,
    /// Why it was opened; absent for whoever sees none of the vaults that it froze and is no admin or auditor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When.
    pub opened_at: Timestamp,
    /// By whom.
    pub opened_by: Slug,
    /// When it was closed; absent while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_by: Option<Slug>,
    /// The vaults that it is about, as far as the caller may see it there.
    pub vaults: Vec<VaultState>,
    /// The people that it is about; only for admins and auditors of the organisation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<PersonState>,
    /// Whether the caller may export the organisation's log.
    pub exports_org: bool,
}

/// One vault of an incident.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VaultState {
    /// Which.
    pub vault: Slug,
    /// The origin of its log.
    pub log: String,
    /// True if the incident froze it.
    pub froze: bool,
    /// True if it is frozen now.
    pub frozen: bool,
    /// Whether the caller may export its log.
    pub exports: bool,
}

/// Somebody whom an incident is about.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PersonState {
    /// Who.
    pub identity: Slug,
    /// True if the incident suspended them.
    pub suspended: bool,
    /// What they may do now.
    pub status: IdentityStatus,
}

/// Closes an incident and says what has to be replaced. What was frozen and who was suspended stays so, unless it is asked for
/// otherwise. Admins only.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Close {
    /// Which.
    pub incident: IncidentId,
    /// What came of it, 1 to 500 bytes.
    pub note: String,
    /// How many hours before the incident are looked back: 1 to 8,784; 168 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_h: Option<u32>,
    /// Thaws the vaults that it froze.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub thaw: bool,
    /// Resumes the people whom it suspended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resume: bool,
}
method!(Close => "incident.close" -> Closed);

/// What is left to be done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Closed {
    /// From when on it was looked.
    pub since: Timestamp,
    /// Accounts whose seeds have to be replaced, by address, at most 1,000.
    pub rotate: Vec<Rotate>,
    /// How many there are.
    pub total: u64,
    /// Vaults that were thawed.
    pub thawed: Vec<Slug>,
    /// People who were resumed.
    pub resumed: Vec<Slug>,
    /// Vaults of the incident that stay frozen.
    pub frozen: Vec<Slug>,
    /// People of the incident who stay suspended.
    pub suspended: Vec<Slug>,
    /// Where it was recorded.
    pub receipt: Receipt,
}

/// An account whose seed has to be replaced.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rotate {
    /// Which.
    pub account: AccountAddress,
    /// Its id.
    pub account_id: AccountId,
    /// Why.
    pub causes: Vec<IncidentCause>,
    /// Codes of it that were given in that time, to people of the incident or in its vaults.
    pub releases: u64,
    /// When the last of them was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
}
