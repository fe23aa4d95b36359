//! The rows of the state. Each has a clear part, which the store can read (ids, times, statuses), and names, which are
//! encrypted at rest: a list of clients and admin logins is a map for a burglar.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use strongroom_proto::ids::{AccountId, GrantId, GroupId, IdentityId, OrgId, RequestId, Slug, VaultId};
use strongroom_proto::policy::{Hours, OrgPolicy, ServiceLimits, VaultPolicy};
use strongroom_proto::words::{
    Algorithm, Assurance, IdentityKind, IdentityStatus, OrgRole, OtpKind, Scheme, VaultRole,
};

use super::ceremony::{Ceremony, CeremonyNames};
use super::{LogId, Map, State};
use crate::identity::Attested;
use crate::keystore::{SealedSeed, SeedContext, VaultKey};

/// What the store needs to know of a kind of row.
pub trait Row: Clone + Serialize + DeserializeOwned {
    /// The word for this kind in the store; part of the row's tag.
    const KIND: &'static str;
    /// Whether the row decides access: then it is part of its log's state digest.
    const DECIDES: bool;
    /// What is encrypted at rest.
    type Names: Clone + Serialize + DeserializeOwned;

    /// The primary key.
    fn key(&self) -> Vec<u8>;
    /// The part of the state that the row belongs to.
    fn log(&self) -> LogId;
    /// The encrypted part.
    fn names(&self) -> &Self::Names;
    /// Takes the encrypted part after decryption.
    fn set_names(&mut self, names: Self::Names);
    /// Puts the row into the maps of the state.
    fn place(self, state: &mut State);
    /// Takes the row out of the maps of the state.
    fn displace(&self, state: &mut State);
}

/// No names.
pub type Nothing = ();

/// The organisation: one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Org {
    /// Its id; also the store's.
    pub id: OrgId,
    /// Since when.
    pub created_at: Timestamp,
    /// True once a second admin has been active: never becomes false again.
    pub sole_admin_ended: bool,
    /// Offline recipients of recovery copies (`age1…`); empty after `--no-recovery`.
    pub recovery_recipients: Vec<String>,
    /// The agent identity key, OpenSSH text.
    pub agent_key: String,
}

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// For ever.
    pub id: IdentityId,
    /// Person or script.
    pub kind: IdentityKind,
    /// Whether it may log in.
    pub status: IdentityStatus,
    /// Roles over the organisation.
    pub roles: Vec<OrgRole>,
    /// Since when.
    pub created_at: Timestamp,
    /// When it ends by itself; for contractors always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Who enrolled it; absent for the first admin and those made at the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrolled_by: Option<IdentityId>,
    /// Whether two people stand behind it: who enrolled it, and who confirmed or gave its first grant. Identities from before
    /// there was this rule count as such.
    #[serde(default = "yes")]
    pub vetted: bool,
    /// What a script is held to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceLimits>,
    /// Whether certificates log it in, those that name one of [`IdentityNames::principals`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub certificates: bool,
    /// Slug, display name and principals.
    #[serde(skip, default = "IdentityNames::unknown")]
    pub names: IdentityNames,
}

impl Identity {
    /// True if it may act at `now`: neither suspended nor revoked, and its end has not come.
    #[must_use]
    pub fn is_active(&self, now: Timestamp) -> bool {
        matches!(self.status, IdentityStatus::Active | IdentityStatus::Held)
            && self.until.is_none_or(|until| now < until)
    }

    /// True if a certificate that names these principals may log it in.
    #[must_use]
    pub fn is_named_by(&self, principals: &[String]) -> bool {
        self.certificates && principals.iter().any(|principal| self.names.principals.contains(principal))
    }
}

/// What rows from before a rule are taken to be.
const fn yes() -> bool {
    true
}

/// What people call an identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityNames {
    /// Unique for ever.
    pub slug: Slug,
    /// For the screen.
    pub name: String,
    /// What a certificate has to name, literally.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub principals: Vec<String>,
}

/// An SSH key. A fingerprint belongs to one identity for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// `SHA256:…`.
    pub fingerprint: String,
    /// Whose.
    pub identity: IdentityId,
    /// The public key, OpenSSH text without comment.
    pub public_key: String,
    /// Its type.
    pub algorithm: String,
    /// False once it was removed: for ever.
    pub active: bool,
    /// False until a second person has confirmed it: it does not log in before.
    #[serde(default = "yes")]
    pub confirmed: bool,
    /// Who brought it; absent for those made at the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added_by: Option<IdentityId>,
    /// Whether its hardware has been attested; FIDO flags of others prove nothing.
    pub attested: bool,
    /// What its maker said of it when it was enrolled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attestation: Option<Attested>,
    /// True once it has logged in with a certificate: then it is bound to its identity, and logs in that way while the
    /// identity may.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub certified: bool,
    /// Since when.
    pub added_at: Timestamp,
    /// The comment of the key file.
    #[serde(skip)]
    pub names: KeyNames,
}

impl Key {
    /// True if it may log in by itself.
    #[must_use]
    pub const fn logs_in(&self) -> bool {
        self.active && self.confirmed
    }
}

/// What people call a key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyNames {
    /// The comment of the key file.
    pub comment: String,
}

/// The last login of an identity. Decides nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// Whose.
    pub identity: IdentityId,
    /// When.
    pub at: Timestamp,
    /// The highest signature counter seen of each FIDO key.
    pub counters: std::collections::BTreeMap<String, u32>,
}

/// A client's vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vault {
    /// For ever.
    pub id: VaultId,
    /// Since when.
    pub created_at: Timestamp,
    /// When its key was destroyed; absent while it exists. Its log stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destroyed_at: Option<Timestamp>,
    /// Slug and client name.
    #[serde(skip, default = "VaultNames::unknown")]
    pub names: VaultNames,
}

/// What people call a vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultNames {
    /// Unique now.
    pub slug: Slug,
    /// The client's name.
    pub name: String,
}

/// The rules of a vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredPolicy")]
pub struct Policy {
    /// Of which vault.
    pub vault: VaultId,
    /// How new seeds are sealed.
    pub scheme: Scheme,
    /// True while nothing is released.
    pub frozen: bool,
    /// What people wrote.
    pub rules: VaultPolicy,
}

/// The form of earlier stores had one rule only.
#[derive(Deserialize)]
struct StoredPolicy {
    vault: VaultId,
    scheme: Scheme,
    frozen: bool,
    min_assurance: Option<Assurance>,
    rules: Option<VaultPolicy>,
}

impl From<StoredPolicy> for Policy {
    fn from(StoredPolicy { vault, scheme, frozen, min_assurance, rules }: StoredPolicy) -> Self {
        let rules = rules.unwrap_or_else(|| VaultPolicy {
            min_assurance: min_assurance.unwrap_or(Assurance::SoftwareKey),
            ..VaultPolicy::default()
        });
        Self { vault, scheme, frozen, rules }
    }
}

/// The rules of the organisation: one row, absent while they are the default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrgRules {
    /// Of which organisation.
    pub org: OrgId,
    /// What people wrote.
    pub rules: OrgPolicy,
}

/// A vault key in the token: how to find it and how to know it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultKeyRow {
    /// Label, scheme and key-check value.
    pub key: VaultKey,
    /// Since when.
    pub created_at: Timestamp,
}

/// An OTP credential. Its seed is in [`SealedSeedRow`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// For ever.
    pub id: AccountId,
    /// In which vault.
    pub vault: VaultId,
    /// How codes are made.
    pub kind: OtpKind,
    /// The hash.
    pub algorithm: Algorithm,
    /// Digits; characters for Steam.
    pub digits: u8,
    /// Seconds of a window; 0 for HOTP.
    pub period_s: u32,
    /// The next counter of HOTP; 0 otherwise.
    pub next_counter: u64,
    /// Counts replacements of the seed, from 1.
    pub revision: u32,
    /// Since when.
    pub created_at: Timestamp,
    /// Who brought its seed, and so has seen it; absent if that was before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed_by: Option<IdentityId>,
    /// Slug, issuer and label.
    #[serde(skip, default = "AccountNames::unknown")]
    pub names: AccountNames,
}

/// What people call an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountNames {
    /// Unique in its vault.
    pub slug: Slug,
    /// Who asks for the code.
    pub issuer: String,
    /// The login it belongs to.
    pub label: String,
}

impl Account {
    /// What its seed is bound to.
    #[must_use]
    pub fn seed_context(&self, store: OrgId) -> SeedContext {
        SeedContext {
            store,
            vault: self.vault,
            account: self.id,
            kind: self.kind,
            algorithm: self.algorithm,
            digits: self.digits,
            period_s: self.period_s,
            revision: self.revision,
        }
    }
}

/// A seed, sealed for one token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedSeedRow {
    /// Of which account.
    pub account: AccountId,
    /// In which vault.
    pub vault: VaultId,
    /// Scheme, token, key number and blob.
    pub sealed: SealedSeed,
}

/// A seed, encrypted to the offline recovery recipients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryCopy {
    /// Of which account.
    pub account: AccountId,
    /// In which vault.
    pub vault: VaultId,
    /// Of which seed.
    pub revision: u32,
    /// The recipients (`age1…`).
    pub recipients: Vec<String>,
    /// An age v1 file in base64.
    pub copy: String,
}

/// A role in one vault, or on some of its accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// For ever.
    pub id: GrantId,
    /// Where.
    pub vault: VaultId,
    /// Whose.
    #[serde(flatten)]
    pub holder: Holder,
    /// Which right.
    pub role: VaultRole,
    /// Only these accounts; absent means the whole vault.
    pub accounts: Option<Vec<AccountId>>,
    /// From when.
    pub from: Timestamp,
    /// Until when (exclusive); absent means standing.
    pub until: Option<Timestamp>,
    /// Only on these days and hours; absent means always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<Hours>,
    /// By whom.
    pub given_by: IdentityId,
    /// When; the epoch for those from before this was kept.
    #[serde(default)]
    pub given_at: Timestamp,
    /// The request that it was given for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// While it is in force, nobody else takes codes of its accounts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exclusive: bool,
    /// True until a second person has confirmed it: it gives nothing before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pending: bool,
    /// When it was ended; absent while it has not been.
    pub ended_at: Option<Timestamp>,
}

/// Whose a grant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Holder {
    /// A person's or a script's.
    #[serde(rename = "identity")]
    Identity(IdentityId),
    /// That of everybody in a group.
    #[serde(rename = "group")]
    Group(GroupId),
}

impl Grant {
    /// True if the grant gives its right at `now`, its hours aside.
    #[must_use]
    pub fn in_force(&self, now: Timestamp) -> bool {
        !self.pending && self.ended_at.is_none() && self.from <= now && self.until.is_none_or(|until| now < until)
    }

    /// True if it covers the account.
    #[must_use]
    pub fn covers(&self, account: AccountId) -> bool {
        self.accounts.as_ref().is_none_or(|accounts| accounts.contains(&account))
    }
}

/// Stands in for names that have not been decrypted yet; never shown.
macro_rules! unknown_names {
    ($($names:ident { $($field:ident),* })+) => {
        $(impl $names {
            fn unknown() -> Self {
                Self { slug: Slug::lowest(), $($field: Default::default(),)* }
            }
        })+
    };
}
unknown_names! {
    IdentityNames { name, principals }
    VaultNames { name }
    AccountNames { issuer, label }
}

/// Keeps a place in an index, or takes it out.
pub(super) fn index<K: Ord + Clone>(index: &mut Map<K, ()>, place: K, kept: bool) {
    if kept {
        index.insert(place, ());
    } else {
        index.remove(&place);
    }
}

/// Implements [`Row`]: kind, key, log, names and the maps it stands in.
macro_rules! row {
    ($row:ty, $kind:literal, decides: $decides:literal, key: $key:expr, log: $log:expr, names: $names:ident,
     place: $place:expr, displace: $displace:expr) => {
        impl $crate::state::rows::Row for $row {
            const KIND: &'static str = $kind;
            const DECIDES: bool = $decides;
            $crate::state::rows::row!(@names $names);

            fn key(&self) -> Vec<u8> {
                let key: fn(&Self) -> Vec<u8> = $key;
                key(self)
            }

            fn log(&self) -> $crate::state::LogId {
                let log: fn(&Self) -> $crate::state::LogId = $log;
                log(self)
            }

            fn place(self, state: &mut $crate::state::State) {
                let place: fn(Self, &mut $crate::state::State) = $place;
                place(self, state);
            }

            fn displace(&self, state: &mut $crate::state::State) {
                let displace: fn(&Self, &mut $crate::state::State) = $displace;
                displace(self, state);
            }
        }
    };
    (@names Nothing) => {
        type Names = $crate::state::rows::Nothing;

        fn names(&self) -> &Self::Names {
            &()
        }

        fn set_names(&mut self, (): Self::Names) {}
    };
    (@names $names:ident) => {
        type Names = $names;

        fn names(&self) -> &$names {
            &self.names
        }

        fn set_names(&mut self, names: $names) {
            self.names = names;
        }
    };
}

pub(super) use row;

row!(Org, "org", decides: true,
    key: |org| org.id.as_bytes().to_vec(), log: |_| LogId::Org, names: Nothing,
    place: |org, state| state.org = org,
    displace: |_, _| {});

row!(Identity, "identity", decides: true,
    key: |identity| identity.id.as_bytes().to_vec(), log: |_| LogId::Org, names: IdentityNames,
    place: |identity, state| {
        if let Some(before) = state.identities.get(&identity.id).filter(|before| before.names.slug != identity.names.slug) {
            state.identity_slugs.remove(&before.names.slug.clone());
        }
        state.identity_slugs.insert(identity.names.slug.clone(), identity.id);
        index(&mut state.officers, identity.id, !identity.roles.is_empty());
        state.identities.insert(identity.id, identity);
    },
    displace: |_, _| {});

row!(Key, "key", decides: true,
    key: |key| key.fingerprint.clone().into_bytes(), log: |_| LogId::Org, names: KeyNames,
    place: |key, state| {
        state.keys_by_identity.insert((key.identity, key.fingerprint.clone()), ());
        state.keys.insert(key.fingerprint.clone(), key);
    },
    displace: |_, _| {});

row!(Login, "login", decides: false,
    key: |login| login.identity.as_bytes().to_vec(), log: |_| LogId::Org, names: Nothing,
    place: |login, state| { state.logins.insert(login.identity, login); },
    displace: |_, _| {});

row!(Vault, "vault", decides: true,
    key: |vault| vault.id.as_bytes().to_vec(), log: |_| LogId::Org, names: VaultNames,
    place: |vault, state| {
        if let Some(before) = state.vaults.get(&vault.id) {
            state.vault_slugs.remove(&before.names.slug.clone());
        }
        state.vault_slugs.insert(vault.names.slug.clone(), vault.id);
        state.vaults.insert(vault.id, vault);
    },
    displace: |_, _| {});

row!(Policy, "policy", decides: true,
    key: |policy| policy.vault.as_bytes().to_vec(), log: |policy| LogId::Vault(policy.vault), names: Nothing,
    place: |policy, state| { state.policies.insert(policy.vault, policy); },
    displace: |_, _| {});

row!(VaultKeyRow, "vault_key", decides: true,
    key: |row| [row.key.vault.as_bytes().as_slice(), &row.key.number.to_be_bytes()].concat(),
    log: |row| LogId::Vault(row.key.vault), names: Nothing,
    place: |row, state| { state.vault_keys.insert((row.key.vault, row.key.number), row); },
    displace: |row, state| { state.vault_keys.remove(&(row.key.vault, row.key.number)); });

row!(Account, "account", decides: true,
key: |account| account.id.as_bytes().to_vec(), log: |account| LogId::Vault(account.vault), names: AccountNames,
place: |account, state| {
    state.account_slugs.insert((account.vault, account.names.slug.clone()), account.id);
    state.accounts.insert(account.id, account);
},
displace: |account, state| {
    state.account_slugs.remove(&(account.vault, account.names.slug.clone()));
    state.accounts.remove(&account.id);
    state.windows.remove(&account.id);
});

row!(SealedSeedRow, "seed", decides: true,
    key: |row| [row.account.as_bytes().as_slice(), row.sealed.token.as_str().as_bytes()].concat(),
    log: |row| LogId::Vault(row.vault), names: Nothing,
    place: |row, state| { state.seeds.insert(row.account, row); },
    displace: |row, state| { state.seeds.remove(&row.account); });

row!(RecoveryCopy, "recovery", decides: true,
    key: |row| row.account.as_bytes().to_vec(), log: |row| LogId::Vault(row.vault), names: Nothing,
    place: |row, state| { state.recovery.insert(row.account, row); },
    displace: |row, state| { state.recovery.remove(&row.account); });

row!(Grant, "grant", decides: true,
    key: |grant| grant.id.as_bytes().to_vec(), log: |grant| LogId::Vault(grant.vault), names: Nothing,
    place: |grant, state| {
        let ended = grant.ended_at.is_some();
        index(&mut state.grants_of, (grant.holder, grant.vault, grant.id), !ended);
        index(&mut state.grants_by_vault, (grant.vault, grant.id), !ended);
        index(&mut state.exclusive_grants, (grant.vault, grant.id), !ended && grant.exclusive);
        state.grants.insert(grant.id, grant);
    },
    displace: |_, _| {});

row!(OrgRules, "org_policy", decides: true,
    key: |rules| rules.org.as_bytes().to_vec(), log: |_| LogId::Org, names: Nothing,
    place: |rules, state| state.org_policy = rules.rules,
    displace: |_, _| {});

row!(Ceremony, "ceremony", decides: true,
    key: |ceremony| ceremony.id.as_bytes().to_vec(), log: |ceremony| LogId::Vault(ceremony.vault), names: CeremonyNames,
    place: |ceremony, state| { state.ceremonies.insert(ceremony.id, ceremony); },
    displace: |_, _| {});
