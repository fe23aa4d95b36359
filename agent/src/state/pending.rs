//! What one person did and a second has to confirm. Nobody gets a code by way of a colleague whom they invented: a new key, a
//! new identity's first grant, another admin and a weaker policy give nothing until somebody else has looked.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strongroom_proto::ids::{GrantId, GroupId, IdentityId, PendingId, VaultId};
use strongroom_proto::pending::Content;
use strongroom_proto::policy::{OrgPolicy, VaultPolicy};
use strongroom_proto::words::{OrgRole, PendingKind, PendingStatus};

use super::LogId;
use super::rows::{index, row};

/// A change that waits, or waited, for a second person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// For ever.
    pub id: PendingId,
    /// What is to be changed.
    pub change: PendingChange,
    /// Whom it is to serve; nobody in particular for a policy.
    pub identity: Option<IdentityId>,
    /// By whom.
    pub proposer: IdentityId,
    /// With which key: a proposer whose key was removed does not stand behind it any more.
    pub proposer_key: String,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when it can be confirmed.
    pub expires_at: Timestamp,
    /// What a confirmation names.
    pub digest: String,
    /// True if it took effect at once, because there has only ever been one admin: then a later word is a review.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_force: bool,
    /// How far it is; time has its own say ([`Pending::status`]).
    pub state: PendingStatus,
    /// Who confirmed or rejected it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<IdentityId>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<Timestamp>,
    /// Of a login by certificate: the principals that are to log in, encrypted at rest like other names of people.
    #[serde(skip)]
    pub names: Principals,
}

/// Nothing for all other kinds, and for rows from before there was this one.
pub type Principals = Option<Vec<String>>;

/// What is to be changed. The rows of keys, grants and members are there already and give nothing; of roles and policies this
/// is the only trace until it is confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum PendingChange {
    /// A key logs in.
    Key {
        /// Which.
        fingerprint: String,
    },
    /// A grant is in force, and its holder counts as vetted.
    Grant {
        /// In which vault.
        vault: VaultId,
        /// Which.
        grant: GrantId,
        /// With it, its holder would hold more of all vaults than the portfolio cap allows: admins only confirm that.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        beyond_cap: bool,
    },
    /// A membership is in force, and the member counts as vetted.
    Member {
        /// In which group.
        group: GroupId,
    },
    /// An identity holds further roles over the organisation.
    Roles {
        /// Which are added.
        roles: Vec<OrgRole>,
    },
    /// An identity logs in by certificate: by those that name one of [`Pending::names`].
    Certificates,
    /// An identity's names are erased from the trail.
    Erasure,
    /// A vault has another policy.
    VaultPolicy {
        /// Which vault.
        vault: VaultId,
        /// The policy it replaces: if that was changed meanwhile, this was not what anybody weighed.
        before: Box<VaultPolicy>,
        /// The new one.
        after: Box<VaultPolicy>,
    },
    /// The organisation has another policy.
    OrgPolicy {
        /// The policy it replaces.
        before: Box<OrgPolicy>,
        /// The new one.
        after: Box<OrgPolicy>,
    },
}

impl PendingChange {
    /// The word for it.
    #[must_use]
    pub const fn kind(&self) -> PendingKind {
        match self {
            Self::Key { .. } => PendingKind::Key,
            Self::Grant { .. } => PendingKind::Grant,
            Self::Member { .. } => PendingKind::Member,
            Self::Roles { .. } => PendingKind::Roles,
            Self::Certificates => PendingKind::Certificates,
            Self::Erasure => PendingKind::Erasure,
            Self::VaultPolicy { .. } => PendingKind::VaultPolicy,
            Self::OrgPolicy { .. } => PendingKind::OrgPolicy,
        }
    }

    /// True if managers have no say in it.
    #[must_use]
    pub const fn is_for_admins(&self) -> bool {
        matches!(
            self,
            Self::Roles { .. }
                | Self::OrgPolicy { .. }
                | Self::Certificates
                | Self::Erasure
                | Self::Grant { beyond_cap: true, .. }
        )
    }

    /// The vault that it is about.
    #[must_use]
    pub const fn vault(&self) -> Option<VaultId> {
        match self {
            Self::Grant { vault, .. } | Self::VaultPolicy { vault, .. } => Some(*vault),
            _ => None,
        }
    }
}

impl Pending {
    /// The log whose state it belongs to.
    #[must_use]
    pub fn log_id(&self) -> LogId {
        self.change.vault().map_or(LogId::Org, LogId::Vault)
    }

    /// How far it is at `now`. What is in force already does not lapse: it waits until somebody has looked.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> PendingStatus {
        match self.state {
            PendingStatus::Waiting if !self.in_force && now >= self.expires_at => PendingStatus::Lapsed,
            state => state,
        }
    }

    /// What whoever confirms it sees and signs.
    #[must_use]
    pub fn content(&self) -> Content {
        let mut change = serde_json::to_value(&self.change).unwrap_or_default();
        if let (Some(principals), Some(change)) = (&self.names, change.as_object_mut()) {
            change.insert("principals".to_owned(), principals.clone().into());
        }
        Content {
            pending: self.id,
            kind: self.change.kind(),
            change,
            identity: self.identity,
            proposer: self.proposer,
            created_at: self.created_at,
            expires_at: self.expires_at,
        }
    }
}

row!(Pending, "pending", decides: true,
    key: |pending| pending.id.as_bytes().to_vec(), log: Pending::log_id, names: Principals,
    place: |pending, state| {
        index(&mut state.open_pendings, pending.id, pending.state == PendingStatus::Waiting);
        state.pendings.insert(pending.id, pending);
    },
    displace: |_, _| {});
