//! `policy.*`: the rules of a vault and of the organisation.

use serde::{Deserialize, Serialize};

use super::{Receipt, method};
use crate::ids::{PendingId, Slug};
use crate::policy::{Difference, OrgPolicy, VaultPolicy};

/// Shows the policy of a vault. Whoever sees the vault.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Show {
    /// Of which vault.
    pub vault: Slug,
}
method!(Show => "policy.show" -> Shown);

/// A vault's policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shown {
    /// All of it.
    pub policy: VaultPolicy,
}

/// Gives a vault another policy. A stricter one holds at once; one that allows more than before waits for a second person. Admins
/// only.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Set {
    /// Of which vault.
    pub vault: Slug,
    /// The policy that the caller has seen; `conflict` if it is another by now.
    pub replaces: VaultPolicy,
    /// The new one.
    pub policy: VaultPolicy,
    /// Only say what would change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}
method!(Set => "policy.set" -> SetResult);

/// Shows the organisation's policy. Admins and org auditors.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShowOrg {}
method!(ShowOrg => "policy.show_org" -> ShownOrg);

/// The organisation's policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShownOrg {
    /// All of it.
    pub policy: OrgPolicy,
}

/// Gives the organisation another policy, as `policy.set` does for a vault. Admins only.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetOrg {
    /// The policy that the caller has seen; `conflict` if it is another by now.
    pub replaces: OrgPolicy,
    /// The new one.
    pub policy: OrgPolicy,
    /// Only say what would change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}
method!(SetOrg => "policy.set_org" -> SetResult);

/// What became, or would become, of a new policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SetResult {
    /// What differs.
    pub differences: Vec<Difference>,
    /// True if it holds now, or would at once.
    pub in_force: bool,
    /// The change that a second person has to confirm, or may look at later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingId>,
    /// Where it was recorded; absent for a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
}
