//! A request for access as the store keeps it: who asks for what, who stands behind it, and what came of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strongroom_proto::ids::{AccountId, GrantId, IdentityId, RequestId, VaultId};
use strongroom_proto::request::Content;
use strongroom_proto::words::{RequestKind, RequestStatus};

use super::LogId;
use super::rows::{index, row};

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// For ever.
    pub id: RequestId,
    /// In which vault.
    pub vault: VaultId,
    /// Whether others approve first or review afterwards.
    pub kind: RequestKind,
    /// Who asks.
    pub requester: IdentityId,
    /// For these accounts; absent means the whole vault.
    pub accounts: Option<Vec<AccountId>>,
    /// For how long from its approval on, in seconds.
    pub duration_s: u64,
    /// Nobody else takes codes of these accounts meanwhile.
    pub exclusive: bool,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when it can be decided.
    pub expires_at: Timestamp,
    /// From when on admins decide too; absent: only while the vault has no manager who may.
    pub escalates_at: Option<Timestamp>,
    /// Distinct people who have to approve: as the policy said when it was made.
    pub needed: u8,
    /// Who has approved so far, oldest first.
    pub approvals: Vec<Approval>,
    /// What an approval names.
    pub digest: String,
    /// How far it is; time has its own say ([`Request::status`]).
    pub state: RequestStatus,
    /// The grant that it came to.
    pub grant: Option<GrantId>,
    /// Who denied or cancelled it.
    pub decided_by: Option<IdentityId>,
    /// Break-glass: who looked afterwards.
    pub review: Option<Review>,
    /// Reason, ticket and what was said to it.
    #[serde(skip)]
    pub names: RequestNames,
}

/// Somebody's approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Whose.
    pub identity: IdentityId,
    /// The key that signed.
    pub key: String,
    /// When.
    pub at: Timestamp,
}

/// The look back at a break-glass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// By whom.
    pub identity: IdentityId,
    /// When.
    pub at: Timestamp,
    /// Whether it was justified.
    pub justified: bool,
}

/// What people wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestNames {
    /// Why.
    pub reason: String,
    /// Ticket number.
    pub ticket: Option<String>,
    /// Why it was denied, or what the review found.
    pub answer: Option<String>,
}

impl Request {
    /// How far it is at `now`.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> RequestStatus {
        match self.state {
            RequestStatus::Waiting if now >= self.expires_at => RequestStatus::Expired,
            state => state,
        }
    }

    /// True while somebody else has to look at a break-glass.
    #[must_use]
    pub fn awaits_review(&self) -> bool {
        self.kind == RequestKind::BreakGlass && self.review.is_none()
    }

    /// What the requester and whoever approves see and sign.
    #[must_use]
    pub fn content(&self) -> Content {
        Content {
            request: self.id,
            vault: self.vault,
            kind: self.kind,
            requester: self.requester,
            accounts: self.accounts.clone(),
            duration_s: self.duration_s,
            exclusive: self.exclusive,
            reason: self.names.reason.clone(),
            ticket: self.names.ticket.clone(),
            created_at: self.created_at,
            expires_at: self.expires_at,
        }
    }
}

row!(Request, "request", decides: true,
    key: |request| request.id.as_bytes().to_vec(), log: |request| LogId::Vault(request.vault), names: RequestNames,
    place: |request, state| {
        let open = request.state == RequestStatus::Waiting || request.awaits_review();
        index(&mut state.open_requests, (request.vault, request.id), open);
        state.requests.insert(request.id, request);
    },
    displace: |_, _| {});
