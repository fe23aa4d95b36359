//! `request.*`: access for a while, asked for and approved, or taken at once and looked at afterwards.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::session::StepUp;
use super::{Changed, Receipt, SteppedUp, method};
use crate::ids::{AccountId, GrantId, IdentityId, RequestId, Slug, VaultId};
use crate::request::Content;
use crate::words::{RequestKind, RequestStatus};

/// Shortest grant that can be asked for, in seconds.
pub const DURATION_S_MIN: u64 = 60;
/// Longest wait of `request.show` for news, in seconds: below the deadline of calls.
pub const WAIT_S_MAX: u32 = 25;

/// Asks for access to a vault. Who is `eligible` or a viewer of something in it, and who was until 30 days ago.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Make {
    /// Where.
    pub vault: Slug,
    /// To these accounts, 1 to 100; absent means the whole vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounts: Option<Vec<Slug>>,
    /// For how long from the approval on, in seconds: 60 to what the vault's policy says.
    pub duration_s: u64,
    /// Why, 1 to 500 bytes.
    pub reason: String,
    /// Ticket number, at most 100 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// At once: somebody else reviews it afterwards. Only where the vault's policy knows break-glass.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub break_glass: bool,
}
method!(Make => "request.make" -> Made);

/// The new request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Made {
    /// Its id.
    pub request: RequestId,
    /// How far it is: `approved` for break-glass.
    pub status: RequestStatus,
    /// Until when it can be decided.
    pub expires_at: Timestamp,
    /// Distinct people who have to approve.
    pub needed: u8,
    /// Who may decide now, by slug.
    pub may_decide: Vec<Slug>,
    /// The grant; only for break-glass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// Until when the grant is; only for break-glass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Where it was recorded.
    pub receipt: Receipt,
}

/// Lists requests that wait for approvals or for a review: one's own, and those of vaults that one oversees.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Only this vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<Slug>,
    /// Those of the last 90 days that are over too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}
method!(List => "request.list" -> ListResult);

/// The requests.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListResult {
    /// Newest first, at most 200.
    pub items: Vec<Item>,
}

/// One request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Item {
    /// Its id.
    pub request: RequestId,
    /// Where.
    pub vault: Slug,
    /// The vault's id.
    pub vault_id: VaultId,
    /// Whether others approve first or review afterwards.
    pub kind: RequestKind,
    /// Who asks.
    pub requester: Slug,
    /// Their id.
    pub requester_id: IdentityId,
    /// For these accounts; absent means the whole vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounts: Option<Vec<Slug>>,
    /// Their ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_ids: Option<Vec<AccountId>>,
    /// For how long from the approval on, in seconds.
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
    /// From when on admins decide too; absent: only while the vault has no manager who may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalates_at: Option<Timestamp>,
    /// Distinct people who have to approve.
    pub needed: u8,
    /// Who has approved so far.
    pub approvals: Vec<Approval>,
    /// How far it is.
    pub status: RequestStatus,
    /// The grant that it came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// Until when the grant is, or was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Who denied or cancelled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<Slug>,
    /// What was said to it: why it was denied, or what the review found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// The look back at a break-glass; absent while nobody has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<Reviewed>,
    /// What `request.approve` has to name: whoever approves computes it from the fields above ([`Item::content`]).
    pub digest: String,
    /// Whether the caller may decide on it, or review it, now.
    pub yours: bool,
    /// Whether the caller made it.
    pub own: bool,
}

impl Item {
    /// What an approval signs, from what is shown here.
    #[must_use]
    pub fn content(&self) -> Content {
        Content {
            request: self.request,
            vault: self.vault_id,
            kind: self.kind,
            requester: self.requester_id,
            accounts: self.account_ids.clone(),
            duration_s: self.duration_s,
            exclusive: self.exclusive,
            reason: self.reason.clone(),
            ticket: self.ticket.clone(),
            created_at: self.created_at,
            expires_at: self.expires_at,
        }
    }
}

/// Somebody's approval.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Approval {
    /// Whose.
    pub identity: Slug,
    /// When.
    pub at: Timestamp,
}

/// The look back at a break-glass.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reviewed {
    /// By whom.
    pub identity: Slug,
    /// When.
    pub at: Timestamp,
    /// Whether it was justified.
    pub justified: bool,
}

/// Shows one request; waits for news of it if asked to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Show {
    /// Which.
    pub request: RequestId,
    /// Answer when its status changes, at the latest after so many seconds, 0 to 25.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_s: Option<u32>,
}
method!(Show => "request.show" -> Shown);

/// One request, and who could decide it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shown {
    /// The request.
    #[serde(flatten)]
    pub item: Item,
    /// Who may decide or review it now, by slug.
    pub may_decide: Vec<Slug>,
}

/// Approves a request of somebody else. Signed. Managers of the vault; admins once it has escalated.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    /// Which.
    pub request: RequestId,
    /// Its digest, 64 hex digits.
    pub digest: String,
    /// The signature over this call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_up: Option<StepUp>,
}
method!(Approve => "request.approve" -> Approved);

impl SteppedUp for Approve {
    fn step_up(&mut self) -> &mut Option<StepUp> {
        &mut self.step_up
    }
}

/// What the approval came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Approved {
    /// How far the request is: `approved` if this was the last approval that it needed.
    pub status: RequestStatus,
    /// Approvals that are still missing.
    pub missing: u8,
    /// The grant, once it is approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// Until when the grant is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Where it was recorded.
    pub receipt: Receipt,
}

/// Denies a request. As `request.approve`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deny {
    /// Which.
    pub request: RequestId,
    /// Why, 1 to 500 bytes.
    pub reason: String,
}
method!(Deny => "request.deny" -> Changed);

/// Takes one's own request back, or gives up early what it came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    /// Which.
    pub request: RequestId,
}
method!(Cancel => "request.cancel" -> Changed);

/// Looks back at a break-glass of somebody else. Whoever oversees the vault.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Review {
    /// Which.
    pub request: RequestId,
    /// Whether it was justified.
    pub justified: bool,
    /// What was found, 1 to 500 bytes.
    pub note: String,
}
method!(Review => "request.review" -> Changed);
