//! `vault.*`: the clients.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Changed, Receipt, method};
use crate::ids::{Slug, VaultId};
use crate::words::{Assurance, Scheme, VaultRole};

/// Lists the vaults that the caller may know of.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {}
method!(List => "vault.list" -> ListResult);

/// The vaults, by slug.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListResult {
    /// By slug.
    pub items: Vec<Item>,
}

/// One vault.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Item {
    /// Its address.
    pub vault: Slug,
    /// Its id, as audit records name it.
    pub id: VaultId,
    /// The client's display name.
    pub name: String,
    /// The caller's roles in it.
    pub roles: Vec<VaultRole>,
    /// How many accounts the caller sees in it.
    pub accounts: u64,
    /// True while nothing is released.
    pub frozen: bool,
    /// The weakest login that may take codes.
    pub min_assurance: Assurance,
    /// True if every release has to be signed.
    pub signed_release: bool,
    /// How new seeds are sealed.
    pub scheme: Scheme,
    /// The origin of the vault's log.
    pub log: String,
    /// When it was destroyed: nothing is left of it but its log. Absent while it exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destroyed_at: Option<Timestamp>,
}

/// Makes a vault and its key in the token. Admins only.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// The new slug; must be free.
    pub vault: Slug,
    /// The client's display name, 1 to 200 bytes.
    pub name: String,
    /// How seeds are sealed; the profile's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Scheme>,
    /// The weakest login that may take codes; `software-key` when absent. A stronger one is refused until keys can be
    /// attested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_assurance: Option<Assurance>,
}
method!(Create => "vault.create" -> Created);

/// The new vault.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Created {
    /// Its id.
    pub id: VaultId,
    /// Where it was recorded.
    pub receipt: Receipt,
}

/// Changes a vault's slug or name. Admins only.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rename {
    /// Which.
    pub vault: Slug,
    /// A new slug.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Slug>,
    /// A new display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}
method!(Rename => "vault.rename" -> Changed);

/// Stops all releases of a vault at once. Admins and the vault's managers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// Which.
    pub vault: Slug,
    /// Why, 1 to 500 bytes.
    pub reason: String,
}
method!(Freeze => "vault.freeze" -> Changed);

/// Lifts a freeze. Admins only.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thaw {
    /// Which.
    pub vault: Slug,
    /// Why, 1 to 500 bytes.
    pub reason: String,
}
method!(Thaw => "vault.thaw" -> Changed);
