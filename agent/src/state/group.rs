//! Groups: people who hold the same grants. A member is somebody with a date and a name behind it, so who was in a group when
//! can be told from the records.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strongroom_proto::ids::{GroupId, IdentityId, Slug};

use super::LogId;
use super::rows::{index, row};

/// A group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// For ever.
    pub id: GroupId,
    /// Since when.
    pub created_at: Timestamp,
    /// When it was removed; its grants and members ended with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_at: Option<Timestamp>,
    /// Slug and display name.
    #[serde(skip, default = "GroupNames::unknown")]
    pub names: GroupNames,
}

/// What people call a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupNames {
    /// Unique for ever.
    pub slug: Slug,
    /// For the screen.
    pub name: String,
}

impl GroupNames {
    fn unknown() -> Self {
        Self { slug: Slug::lowest(), name: String::new() }
    }
}

/// Somebody's place in a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The group.
    pub group: GroupId,
    /// Who.
    pub identity: IdentityId,
    /// By whom.
    pub added_by: IdentityId,
    /// Since when.
    pub since: Timestamp,
    /// True until a second person has confirmed it: it gives nothing before.
    pub pending: bool,
}

row!(Group, "group", decides: true,
    key: |group| group.id.as_bytes().to_vec(), log: |_| LogId::Org, names: GroupNames,
    place: |group, state| {
        state.group_slugs.insert(group.names.slug.clone(), group.id);
        state.groups.insert(group.id, group);
    },
    displace: |_, _| {});

row!(Member, "member", decides: true,
key: |member| [member.group.as_bytes().as_slice(), member.identity.as_bytes()].concat(),
log: |_| LogId::Org, names: Nothing,
place: |member, state| {
    index(&mut state.groups_of, (member.identity, member.group), !member.pending);
    state.members.insert((member.group, member.identity), member);
},
displace: |member, state| {
    state.groups_of.remove(&(member.identity, member.group));
    state.members.remove(&(member.group, member.identity));
});
