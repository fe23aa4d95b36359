//! Gathers from the state what a decision needs.

use jiff::Timestamp;
use strongroom_proto::audit::record::GrantRef;
use strongroom_proto::ids::{AccountId, GrantId, IdentityId, VaultId};
use strongroom_proto::words::{Assurance, IdentityKind, IdentityStatus, VaultRole};

use super::hours;
use super::{Facts, Scope, Terms, VaultFacts};
use crate::state::rows::{Grant, Row as _};
use crate::state::{LogId, State};

/// A grant as far as decisions need it.
#[derive(Clone, Debug)]
pub struct GrantFact {
    /// Its id.
    pub id: GrantId,
    /// Its version.
    pub version: u64,
    /// Which right.
    pub role: VaultRole,
    /// Only these accounts; absent means all.
    pub accounts: Option<Vec<AccountId>>,
    /// From when.
    pub from: Timestamp,
    /// Until when (exclusive); absent means standing.
    pub until: Option<Timestamp>,
    /// True outside the hours that it is limited to: it shows, and gives no codes.
    pub closed: bool,
}

impl GrantFact {
    /// True if the grant gives its right at `now`.
    #[must_use]
    pub fn in_force(&self, now: Timestamp) -> bool {
        self.from <= now && self.until.is_none_or(|until| now < until)
    }

    /// True if the grant covers the account.
    #[must_use]
    pub fn covers(&self, account: AccountId) -> bool {
        self.accounts.as_ref().is_none_or(|accounts| accounts.contains(&account))
    }

    /// The terms it gives.
    pub fn terms(&self) -> Terms {
        Terms {
            grant: Some(GrantRef { id: self.id, version: self.version }),
            scope: self.accounts.clone().map_or(Scope::Whole, Scope::Only),
        }
    }

    fn of(state: &State, grant: &Grant, now: Timestamp) -> Self {
        let mark = state.marks.get(&(grant.log(), Grant::KIND, grant.key()));
        Self {
            id: grant.id,
            version: mark.map_or(0, |mark| mark.version),
            role: grant.role,
            accounts: grant.accounts.clone(),
            from: grant.from,
            until: grant.until,
            closed: grant.hours.as_ref().is_some_and(|hours| !hours::includes(hours, now)),
        }
    }
}

/// The facts for an operation on the organisation.
#[must_use]
pub fn org_facts(state: &State, identity: IdentityId, key: &str, assurance: Assurance, now: Timestamp) -> Facts {
    let found = state.identities.get(&identity);
    Facts {
        status: found.map_or(IdentityStatus::Revoked, |identity| identity.status),
        over: found.is_some_and(|identity| identity.until.is_some_and(|until| until <= now)),
        kind: found.map_or(IdentityKind::Technician, |identity| identity.kind),
        key_active: state.key_acts(key, identity),
        roles: found.map(|identity| identity.roles.clone()).unwrap_or_default(),
        assurance,
        grants: Vec::new(),
        vault: None,
        sealed: state.sealed.contains_key(&LogId::Org),
        hindrance: None,
    }
}

/// The facts for an operation in a vault.
#[must_use]
pub fn facts(
    state: &State,
    identity: IdentityId,
    key: &str,
    assurance: Assurance,
    vault: VaultId,
    now: Timestamp,
) -> Facts {
    let org = org_facts(state, identity, key, assurance, now);
    let held = state.grants_in(identity, vault).filter(|grant| !grant.pending);
    Facts {
        sealed: org.sealed || state.sealed.contains_key(&LogId::Vault(vault)),
        grants: held.map(|grant| GrantFact::of(state, grant, now)).collect(),
        vault: state.policies.get(&vault).map(|policy| VaultFacts {
            min_assurance: policy.rules.min_assurance,
            frozen: policy.frozen,
            destroyed: state.vaults.get(&vault).is_some_and(|vault| vault.destroyed_at.is_some()),
            closed: policy.rules.hours.as_ref().is_some_and(|hours| !hours::includes(hours, now)),
            break_glass: policy.rules.break_glass.is_some(),
        }),
        ..org
    }
}
