//! `identity.*`: people and scripts, and their keys.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Changed, Receipt, method};
use crate::ids::{IdentityId, Slug};
use crate::words::{IdentityKind, IdentityStatus, OrgRole};

/// Lists identities. Admins and org auditors all; managers those with a grant in their vaults; everybody themselves.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {}
method!(List => "identity.list" -> ListResult);

/// The identities.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListResult {
    /// By slug.
    pub items: Vec<Item>,
}

/// One identity.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Item {
    /// Its slug.
    pub identity: Slug,
    /// Its id, as audit records name it.
    pub id: IdentityId,
    /// The display name.
    pub name: String,
    /// Person or script.
    pub kind: IdentityKind,
    /// Whether it may log in.
    pub status: IdentityStatus,
    /// Roles over the organisation.
    pub roles: Vec<OrgRole>,
    /// Its keys.
    pub keys: Vec<Key>,
    /// Last login; absent if never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_login: Option<Timestamp>,
}

/// A key of an identity.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Key {
    /// `SHA256:…` as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// The key type, for example `ssh-ed25519`.
    pub algorithm: String,
    /// The key's comment.
    pub comment: String,
    /// Since when.
    pub added_at: Timestamp,
    /// False once it has been removed: a fingerprint belongs to one identity for ever.
    pub active: bool,
}

/// Enrols an identity with its first key. Admins only; never a key of their own.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrol {
    /// The new slug; must never have been used.
    pub identity: Slug,
    /// The display name, 1 to 200 bytes.
    pub name: String,
    /// Person or script.
    pub kind: IdentityKind,
    /// Roles over the organisation.
    #[serde(default)]
    pub roles: Vec<OrgRole>,
    /// The SSH public key, as a line of a `.pub` file.
    pub public_key: String,
}
method!(Enrol => "identity.enrol" -> Enrolled);

/// The new identity.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Enrolled {
    /// Its id.
    pub id: IdentityId,
    /// Its key's fingerprint.
    pub fingerprint: String,
    /// Where it was recorded.
    pub receipt: Receipt,
}

/// Adds a key to an identity. Admins only; never to themselves.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyAdd {
    /// Whose.
    pub identity: Slug,
    /// The SSH public key, as a line of a `.pub` file.
    pub public_key: String,
}
method!(KeyAdd => "identity.key_add" -> KeyAdded);

/// The added key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyAdded {
    /// Its fingerprint.
    pub fingerprint: String,
    /// Where it was recorded.
    pub receipt: Receipt,
}

/// Removes a key: sessions opened with it end. Admins, and everybody their own. Not the last active key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRemove {
    /// Whose.
    pub identity: Slug,
    /// Which.
    pub fingerprint: String,
}
method!(KeyRemove => "identity.key_remove" -> Changed);

/// Revokes an identity: its sessions, grants and keys end in one commit, and replies in flight are drained before this
/// returns. Admins only; never themselves.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// Whom.
    pub identity: Slug,
    /// Why, 1 to 500 bytes.
    pub reason: String,
}
method!(Revoke => "identity.revoke" -> Revoked);

/// What the revocation ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Revoked {
    /// Sessions ended.
    pub sessions: u64,
    /// Grants ended.
    pub grants: u64,
    /// Vaults in which they were.
    pub vaults: u64,
    /// True if every reply that was on its way had been read, or dropped with its connection, before this answer; false
    /// if a client did not read one in time.
    pub drained: bool,
    /// Where it was recorded.
    pub receipt: Receipt,
}
