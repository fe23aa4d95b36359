//! `pending.*`: what one person did and a second has to confirm.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::session::StepUp;
use super::{Changed, SteppedUp, method};
use crate::ids::{IdentityId, PendingId, Slug};
use crate::pending::Content;
use crate::policy::Difference;
use crate::words::{PendingKind, PendingStatus};

/// Lists what waits for a second person, as far as the caller may know of it: admins and org auditors all, managers and
/// auditors what is about their vaults or, for managers, the keys of those who hold grants there; who proposed it, theirs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// What was decided in the last 90 days too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}
method!(List => "pending.list" -> ListResult);

/// The changes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListResult {
    /// Newest first, at most 500.
    pub items: Vec<Item>,
}

/// One change.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Item {
    /// Its id.
    pub pending: PendingId,
    /// What kind.
    pub kind: PendingKind,
    /// The change itself, as [`Content::change`] has it.
    pub change: Value,
    /// In one sentence, with names.
    pub summary: String,
    /// Of a policy: what differs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// Whom it is to serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Slug>,
    /// Their id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_id: Option<IdentityId>,
    /// In which vault; absent if it is about none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<Slug>,
    /// By whom.
    pub proposer: Slug,
    /// Their id.
    pub proposer_id: IdentityId,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when it can be confirmed.
    pub expires_at: Timestamp,
    /// True if it took effect already, because there has only ever been one admin: then a word to it is a review.
    pub in_force: bool,
    /// How far it is.
    pub status: PendingStatus,
    /// Who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<Slug>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<Timestamp>,
    /// What `pending.confirm` has to name: whoever confirms computes it from the fields above ([`Item::content`]).
    pub digest: String,
    /// Whether the caller may decide on it.
    pub yours: bool,
}

impl Item {
    /// What a confirmation signs, from what is shown here.
    #[must_use]
    pub fn content(&self) -> Content {
        Content {
            pending: self.pending,
            kind: self.kind,
            change: self.change.clone(),
            identity: self.identity_id,
            proposer: self.proposer_id,
            created_at: self.created_at,
            expires_at: self.expires_at,
        }
    }
}

/// Shows one change.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Show {
    /// Which.
    pub pending: PendingId,
}
method!(Show => "pending.show" -> Shown);

/// One change, and who could confirm it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shown {
    /// The change.
    #[serde(flatten)]
    pub item: Item,
    /// Who could confirm it, by slug.
    pub may_confirm: Vec<Slug>,
}

/// Confirms what somebody else did. Signed. Admins, and managers where it is about their vault or the keys of somebody with a
/// grant in one; never who proposed it nor whom it serves.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirm {
    /// Which.
    pub pending: PendingId,
    /// Its digest, 64 hex digits.
    pub digest: String,
    /// Of a FIDO key: the confirmer has seen its hardware. The word of two people stands in for an attestation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_person: bool,
    /// The signature over this call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_up: Option<StepUp>,
}
method!(Confirm => "pending.confirm" -> Changed);

impl SteppedUp for Confirm {
    fn step_up(&mut self) -> &mut Option<StepUp> {
        &mut self.step_up
    }
}

/// Rejects it, or takes one's own back. What is in force already stays so: ending it is an act of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reject {
    /// Which.
    pub pending: PendingId,
    /// Why, 1 to 500 bytes.
    pub reason: String,
}
method!(Reject => "pending.reject" -> Changed);
