//! `group.*`: people who hold the same grants.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Changed, Receipt, method};
use crate::ids::{GroupId, PendingId, Slug};

/// Lists groups: admins and org auditors all, everybody those they are in, managers and auditors those with a grant in their
/// vaults.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {}
method!(List => "group.list" -> ListResult);

/// The groups.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListResult {
    /// By slug.
    pub items: Vec<Item>,
}

/// One group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Item {
    /// Its slug.
    pub group: Slug,
    /// Its id, as audit records name it.
    pub id: GroupId,
    /// The display name.
    pub name: String,
    /// Who is in it, by slug.
    pub members: Vec<Member>,
    /// Grants that it holds and that have not ended.
    pub grants: u64,
}

/// Somebody's place in a group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Member {
    /// Who.
    pub identity: Slug,
    /// Since when.
    pub since: Timestamp,
    /// True until a second person has confirmed it: it gives nothing before.
    pub pending: bool,
}

/// Makes a group, empty. Admins only.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// The new slug; must never have been used.
    pub group: Slug,
    /// The display name, 1 to 200 bytes.
    pub name: String,
}
method!(Create => "group.create" -> Created);

/// The new group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Created {
    /// Its id.
    pub id: GroupId,
    /// Where it was recorded.
    pub receipt: Receipt,
}

/// Removes a group: its grants and memberships end. Admins only.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remove {
    /// Which.
    pub group: Slug,
    /// Why, 1 to 500 bytes.
    pub reason: String,
}
method!(Remove => "group.remove" -> Removed);

/// What ended with the group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Removed {
    /// Memberships.
    pub members: u64,
    /// Grants.
    pub grants: u64,
    /// Where it was recorded.
    pub receipt: Receipt,
}

/// Puts somebody into a group: they gain its grants. Admins only; never themselves.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberAdd {
    /// Into which.
    pub group: Slug,
    /// Whom.
    pub identity: Slug,
}
method!(MemberAdd => "group.member_add" -> MemberAdded);

/// The new member.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MemberAdded {
    /// False while it waits for a second person.
    pub in_force: bool,
    /// The change that a second person has to confirm, or may look at later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingId>,
    /// Where it was recorded.
    pub receipt: Receipt,
}

/// Takes somebody out of a group. Admins, and everybody themselves.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberRemove {
    /// Out of which.
    pub group: Slug,
    /// Whom.
    pub identity: Slug,
}
method!(MemberRemove => "group.member_remove" -> Changed);
