//! The organisation as the agent knows it: identities, vaults, accounts, grants. Pure data; every mutation goes through
//! [`crate::store::tx::Tx`], every decision reads from here.
//!
//! The maps are persistent: a snapshot costs a few pointers, so a command works on a copy and a failed one leaves no trace.

pub mod alert;
pub mod campaign;
pub mod canary;
pub mod ceremony;
pub mod erasure;
pub mod group;
pub mod incident;
pub mod log_key;
pub mod pending;
pub mod recent;
pub mod request;
pub mod retention;
pub mod rotation;
pub mod rows;
pub mod second;

use std::collections::BTreeSet;

use imbl::{GenericOrdMap, shared_ptr::DefaultSharedPtr};
use jiff::Timestamp;
use strongroom_proto::audit::checkpoint::Origin;
use strongroom_proto::audit::log_key::LogKey;
use strongroom_proto::audit::merkle::{Frontier, Hash};
use strongroom_proto::audit::pruned::Pruned;
use strongroom_proto::ids::{
    AccountId, CampaignId, CeremonyId, GrantId, GroupId, IdentityId, IncidentId, OrgId, PendingId, RequestId, Slug,
    VaultId,
};
use strongroom_proto::policy::OrgPolicy;
use strongroom_proto::words::OrgRole;

use self::alert::{Alert, AlertPlace};
use self::campaign::{Campaign, VaultReview};
use self::canary::Canary;
use self::ceremony::Ceremony;
use self::erasure::Erasure;
use self::group::{Group, Member};
use self::incident::Incident;
use self::pending::Pending;
use self::recent::Recent;
use self::request::Request;
use self::rotation::Rotation;
use self::rows::{
    Account, Grant, Holder, Identity, Key, Login, Org, Policy, RecoveryCopy, SealedSeedRow, Vault, VaultKeyRow,
};
use self::second::{ImportCopy, SecondKey, SecondSeed, SecondToken};

/// An ordered persistent map.
pub type Map<K, V> = GenericOrdMap<K, V, DefaultSharedPtr>;

/// Which log, and with it which part of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogId {
    /// Identities, keys, roles and vaults.
    Org,
    /// One vault's accounts, grants, policy and keys.
    Vault(VaultId),
}

impl LogId {
    /// The id as the store keeps it: 16 bytes, zeros for the org log (no random UUID is all zeros).
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        match self {
            Self::Org => [0; 16],
            Self::Vault(vault) => *vault.as_bytes(),
        }
    }

    /// Reads [`LogId::to_bytes`] back.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        if bytes == [0; 16] { Self::Org } else { Self::Vault(VaultId::from_uuid(uuid::Uuid::from_bytes(bytes))) }
    }

    /// The origin of its checkpoints.
    #[must_use]
    pub fn origin(self, org: OrgId) -> Origin {
        match self {
            Self::Org => Origin::org(org),
            Self::Vault(vault) => Origin::vault(org, vault),
        }
    }
}

/// The end of one log.
#[derive(Clone, Debug)]
pub struct Head {
    /// Size and right edge of the Merkle tree.
    pub frontier: Frontier,
    /// Digest over the rows of this log's part of the state.
    pub state: Hash,
    /// Time of the last record.
    pub last_ts: Timestamp,
}

/// Version and tag of a row: what the state digest is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Counts the changes of the row.
    pub version: u64,
    /// HMAC over the row ([`crate::store::sealer`]).
    pub tag: Hash,
}

/// Who took the code of an account's current window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The time step (RFC 6238 §4.2).
    pub step: u64,
    /// By whom and when, oldest first.
    pub taken: Vec<(IdentityId, Timestamp)>,
}

/// Everything that is decided on.
#[derive(Clone, Debug)]
pub struct State {
    /// The organisation.
    pub org: Org,
    /// Its rules.
    pub org_policy: OrgPolicy,
    /// Identities, also revoked ones.
    pub identities: Map<IdentityId, Identity>,
    /// Keys by fingerprint, also removed ones.
    pub keys: Map<String, Key>,
    /// Keys by identity.
    pub keys_by_identity: Map<(IdentityId, String), ()>,
    /// Identities that hold roles over the organisation.
    pub officers: Map<IdentityId, ()>,
    /// Last logins.
    pub logins: Map<IdentityId, Login>,
    /// Vaults.
    pub vaults: Map<VaultId, Vault>,
    /// Vault policies.
    pub policies: Map<VaultId, Policy>,
    /// Vault keys by vault and number.
    pub vault_keys: Map<(VaultId, u32), VaultKeyRow>,
    /// Accounts that exist.
    pub accounts: Map<AccountId, Account>,
    /// Sealed seeds of the accounts, for the first token.
    pub seeds: Map<AccountId, SealedSeedRow>,
    /// Offline recovery copies.
    pub recovery: Map<AccountId, RecoveryCopy>,
    /// The token that serves beside the first one, or is just joining.
    pub second: Option<SecondToken>,
    /// Its vault keys by vault and number.
    pub second_keys: Map<(VaultId, u32), SecondKey>,
    /// Sealed seeds of the accounts, for it.
    pub second_seeds: Map<AccountId, SecondSeed>,
    /// Seeds that have not reached it yet.
    pub import_copies: Map<AccountId, ImportCopy>,
    /// Ceremonies, also those that are over.
    pub ceremonies: Map<CeremonyId, Ceremony>,
    /// Grants, also ended ones.
    pub grants: Map<GrantId, Grant>,
    /// Grants that have not been ended, by holder and vault.
    pub grants_of: Map<(Holder, VaultId, GrantId), ()>,
    /// The same by vault.
    pub grants_by_vault: Map<(VaultId, GrantId), ()>,
    /// Those among them that keep others out while they are in force.
    pub exclusive_grants: Map<(VaultId, GrantId), ()>,
    /// Groups, also removed ones.
    pub groups: Map<GroupId, Group>,
    /// Groups by slug, for ever.
    pub group_slugs: Map<Slug, GroupId>,
    /// Who is in which group, also those who wait for a second person's word.
    pub members: Map<(GroupId, IdentityId), Member>,
    /// The groups that somebody's membership in is in force.
    pub groups_of: Map<(IdentityId, GroupId), ()>,
    /// Changes that wait, or waited, for a second person.
    pub pendings: Map<PendingId, Pending>,
    /// Those that nobody has decided.
    pub open_pendings: Map<PendingId, ()>,
    /// Requests for access, also those that are over.
    pub requests: Map<RequestId, Request>,
    /// Those that wait for approvals or for a review.
    pub open_requests: Map<(VaultId, RequestId), ()>,
    /// Recertifications, also those that are over.
    pub campaigns: Map<CampaignId, Campaign>,
    /// Those that are not.
    pub open_campaigns: Map<CampaignId, ()>,
    /// What was decided in them, by vault.
    pub vault_reviews: Map<(CampaignId, VaultId), VaultReview>,
    /// What keys of the logs said of each other: by the old and the new one, as OpenSSH texts.
    pub log_keys: Map<(String, String), LogKey>,
    /// Whose names are erased, or are about to be.
    pub erasures: Map<IdentityId, Erasure>,
    /// Decoys, by account.
    pub canaries: Map<AccountId, Canary>,
    /// Accounts whose seeds have to be replaced.
    pub rotations: Map<(VaultId, AccountId), Rotation>,
    /// Records that raised an alarm, also those that somebody has answered.
    pub alerts: Map<AlertPlace, Alert>,
    /// Those that nobody has.
    pub open_alerts: Map<AlertPlace, ()>,
    /// Incidents, also those that are over.
    pub incidents: Map<IncidentId, Incident>,
    /// Those that are not.
    pub open_incidents: Map<IncidentId, ()>,
    /// Codes taken in the last hour, by identity.
    pub recent: Map<IdentityId, Recent>,
    /// Identities by slug, for ever: a slug is never given twice.
    pub identity_slugs: Map<Slug, IdentityId>,
    /// Vaults by slug.
    pub vault_slugs: Map<Slug, VaultId>,
    /// Accounts by vault and slug.
    pub account_slugs: Map<(VaultId, Slug), AccountId>,
    /// Current windows of time-based accounts.
    pub windows: Map<AccountId, Window>,
    /// The ends of the logs.
    pub heads: Map<LogId, Head>,
    /// What each state digest covers: log, kind and id of the row.
    pub marks: Map<(LogId, &'static str, Vec<u8>), Mark>,
    /// The time of the newest record of all logs that match: decisions are never made before it.
    pub latest: Timestamp,
    /// How far logs are pruned; those that are whole are not named.
    pub pruned: Map<LogId, Pruned>,
    /// Logs whose rows or records did not match when the store was opened, and what did not: nothing is done there.
    pub sealed: Map<LogId, String>,
}

impl State {
    /// An organisation without anything in it.
    #[must_use]
    pub fn empty(org: Org) -> Self {
        Self {
            org,
            org_policy: OrgPolicy::default(),
            identities: Map::new(),
            keys: Map::new(),
            keys_by_identity: Map::new(),
            officers: Map::new(),
            logins: Map::new(),
            vaults: Map::new(),
            policies: Map::new(),
            vault_keys: Map::new(),
            accounts: Map::new(),
            seeds: Map::new(),
            recovery: Map::new(),
            second: None,
            second_keys: Map::new(),
            second_seeds: Map::new(),
            import_copies: Map::new(),
            ceremonies: Map::new(),
            grants: Map::new(),
            grants_of: Map::new(),
            grants_by_vault: Map::new(),
            exclusive_grants: Map::new(),
            groups: Map::new(),
            group_slugs: Map::new(),
            members: Map::new(),
            groups_of: Map::new(),
            pendings: Map::new(),
            open_pendings: Map::new(),
            requests: Map::new(),
            open_requests: Map::new(),
            campaigns: Map::new(),
            open_campaigns: Map::new(),
            vault_reviews: Map::new(),
            log_keys: Map::new(),
            erasures: Map::new(),
            canaries: Map::new(),
            rotations: Map::new(),
            alerts: Map::new(),
            open_alerts: Map::new(),
            incidents: Map::new(),
            open_incidents: Map::new(),
            recent: Map::new(),
            identity_slugs: Map::new(),
            vault_slugs: Map::new(),
            account_slugs: Map::new(),
            windows: Map::new(),
            heads: Map::new(),
            marks: Map::new(),
            latest: Timestamp::UNIX_EPOCH,
            pruned: Map::new(),
            sealed: Map::new(),
        }
    }

    /// The organisation's id.
    #[must_use]
    pub fn org_id(&self) -> OrgId {
        self.org.id
    }

    /// Finds an identity by slug.
    #[must_use]
    pub fn identity(&self, slug: &Slug) -> Option<&Identity> {
        self.identities.get(self.identity_slugs.get(slug)?)
    }

    /// Finds a vault by slug.
    #[must_use]
    pub fn vault(&self, slug: &Slug) -> Option<&Vault> {
        self.vaults.get(self.vault_slugs.get(slug)?)
    }

    /// Finds an account by vault and slug.
    #[must_use]
    pub fn account(&self, vault: VaultId, slug: &Slug) -> Option<&Account> {
        self.accounts.get(self.account_slugs.get(&(vault, slug.clone()))?)
    }

    /// The accounts of a vault, by slug.
    pub fn accounts_of(&self, vault: VaultId) -> impl Iterator<Item = &Account> {
        let first = (vault, Slug::lowest());
        self.account_slugs
            .range(first..)
            .take_while(move |((of, _), _)| *of == vault)
            .filter_map(|(_, id)| self.accounts.get(id))
    }

    /// The vault key that new seeds are sealed under.
    #[must_use]
    pub fn newest_vault_key(&self, vault: VaultId) -> Option<&VaultKeyRow> {
        self.vault_keys.range((vault, 0)..=(vault, u32::MAX)).next_back().map(|(_, row)| row)
    }

    /// The keys of a vault that the token holds, oldest first: one, and two while one takes the other's place.
    pub fn vault_keys_of(&self, vault: VaultId) -> impl Iterator<Item = &VaultKeyRow> {
        self.vault_keys.range((vault, 0)..=(vault, u32::MAX)).map(|(_, row)| row)
    }

    /// The ceremonies of a vault, in no order.
    pub fn ceremonies_of(&self, vault: VaultId) -> impl Iterator<Item = &Ceremony> {
        self.ceremonies.values().filter(move |ceremony| ceremony.vault == vault)
    }

    /// Finds a group by slug.
    #[must_use]
    pub fn group(&self, slug: &Slug) -> Option<&Group> {
        self.groups.get(self.group_slugs.get(slug)?)
    }

    /// The groups in which an identity's membership is in force.
    pub fn groups_of(&self, identity: IdentityId) -> impl Iterator<Item = GroupId> {
        let first = (identity, GroupId::from_uuid(uuid::Uuid::nil()));
        self.groups_of.range(first..).take_while(move |((who, _), ())| *who == identity).map(|((_, group), ())| *group)
    }

    /// The members of a group, also those who wait for a second person's word.
    pub fn members_of(&self, group: GroupId) -> impl Iterator<Item = &Member> {
        let first = (group, IdentityId::from_uuid(uuid::Uuid::nil()));
        self.members.range(first..).take_while(move |((of, _), _)| *of == group).map(|(_, member)| member)
    }

    /// Everybody that a grant serves.
    #[must_use]
    pub fn served_by(&self, grant: &Grant) -> Vec<IdentityId> {
        match grant.holder {
            Holder::Identity(identity) => vec![identity],
            Holder::Group(group) => {
                self.members_of(group).filter(|member| !member.pending).map(|member| member.identity).collect()
            }
        }
    }

    /// True if a grant is an identity's own, or that of a group they are in.
    #[must_use]
    pub fn serves(&self, holder: Holder, identity: IdentityId) -> bool {
        match holder {
            Holder::Identity(own) => own == identity,
            Holder::Group(group) => self.groups_of.contains_key(&(identity, group)),
        }
    }

    /// The grants of an identity in a vault, its groups' too, that have not been ended. They may lie in the future, have run
    /// out, or wait for a second person's word.
    pub fn grants_in(&self, identity: IdentityId, vault: VaultId) -> impl Iterator<Item = &Grant> {
        let holders = std::iter::once(Holder::Identity(identity)).chain(self.groups_of(identity).map(Holder::Group));
        holders.flat_map(move |holder| self.held_in(holder, vault))
    }

    fn held_in(&self, holder: Holder, vault: VaultId) -> impl Iterator<Item = &Grant> {
        let first = (holder, vault, GrantId::from_uuid(uuid::Uuid::nil()));
        self.grants_of
            .range(first..)
            .take_while(move |((who, of, _), ())| *who == holder && *of == vault)
            .filter_map(|((_, _, grant), ())| self.grants.get(grant))
    }

    /// All grants of an identity or group itself that have not been ended.
    pub fn held_by(&self, holder: Holder) -> impl Iterator<Item = &Grant> {
        let nil = uuid::Uuid::nil();
        let first = (holder, VaultId::from_uuid(nil), GrantId::from_uuid(nil));
        self.grants_of
            .range(first..)
            .take_while(move |((who, _, _), ())| *who == holder)
            .filter_map(|((_, _, grant), ())| self.grants.get(grant))
    }

    /// All grants that serve an identity, its groups' too, that have not been ended.
    pub fn grants_for(&self, identity: IdentityId) -> impl Iterator<Item = &Grant> {
        let holders = std::iter::once(Holder::Identity(identity)).chain(self.groups_of(identity).map(Holder::Group));
        holders.flat_map(|holder| self.held_by(holder))
    }

    /// The grants of a vault that have not been ended.
    pub fn grants_of_vault(&self, vault: VaultId) -> impl Iterator<Item = &Grant> {
        let first = (vault, GrantId::from_uuid(uuid::Uuid::nil()));
        self.grants_by_vault
            .range(first..)
            .take_while(move |((of, _), ())| *of == vault)
            .filter_map(|((_, grant), ())| self.grants.get(grant))
    }

    /// The keys of an identity, by fingerprint.
    pub fn keys_of(&self, identity: IdentityId) -> impl Iterator<Item = &Key> {
        let first = (identity, String::new());
        let own = self.keys_by_identity.range(first..).take_while(move |((owner, _), ())| *owner == identity);
        own.filter_map(|((_, fingerprint), ())| self.keys.get(fingerprint))
    }

    /// The keys with which an identity may act.
    pub fn acting_keys_of(&self, identity: IdentityId) -> impl Iterator<Item = &Key> {
        self.keys_of(identity).filter(move |key| self.key_acts(&key.fingerprint, identity))
    }

    /// Everybody who can have a say in these vaults: who holds a grant there, and who holds a role over the organisation. Who
    /// among them may do what is decided elsewhere; nobody else may.
    #[must_use]
    pub fn concerned(&self, vaults: impl IntoIterator<Item = VaultId>) -> BTreeSet<IdentityId> {
        let grants = vaults.into_iter().flat_map(|vault| self.grants_of_vault(vault));
        grants.flat_map(|grant| self.served_by(grant)).chain(self.officers.keys().copied()).collect()
    }

    /// True if a session that this key opened may act: the key logs in by itself, or by certificate while its identity may.
    #[must_use]
    pub fn key_acts(&self, fingerprint: &str, identity: IdentityId) -> bool {
        let certified = || self.identities.get(&identity).is_some_and(|identity| identity.certificates);
        self.keys.get(fingerprint).is_some_and(|key| {
            key.identity == identity && (key.logs_in() || (key.certified && key.active && certified()))
        })
    }

    /// Who else a principal stands for: nobody may log in under a word that is another's.
    #[must_use]
    pub fn principal_of_another(&self, principal: &str, identity: Option<IdentityId>) -> bool {
        let slug = Slug::new(principal).ok().and_then(|slug| self.identity_slugs.get(&slug).copied());
        slug.is_some_and(|owner| Some(owner) != identity)
            || self.identities.values().any(|other| {
                Some(other.id) != identity && other.names.principals.iter().any(|named| named == principal)
            })
    }

    /// True if `identity` is the only active admin and no second one has ever been active.
    #[must_use]
    pub fn sole_admin(&self, identity: IdentityId) -> bool {
        !self.org.sole_admin_ended
            && self
                .identities
                .get(&identity)
                .is_some_and(|found| found.is_active(self.latest) && found.roles.contains(&OrgRole::Admin))
    }
}
