//! `identity.*`: people and scripts, and their keys.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Changed, Receipt, method};
use crate::ids::{AccountAddress, GrantId, IdentityId, PendingId, Slug};
use crate::policy::ServiceLimits;
use crate::words::{IdentityKind, IdentityStatus, OrgRole, RotationCause, VaultRole};

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
    /// When it ends by itself; absent if never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// What a script is held to; absent for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceLimits>,
    /// Whether two people stand behind it: who enrolled it, and who gave or confirmed its first right.
    pub vetted: bool,
    /// The groups it is in.
    pub groups: Vec<Slug>,
    /// Its keys, but for those that only ever came with a certificate.
    pub keys: Vec<Key>,
    /// What a certificate has to name to log it in; absent if no certificate does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principals: Option<Vec<String>>,
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
    /// False until a second person has confirmed it: it does not log in before.
    pub confirmed: bool,
    /// Whether its hardware is known: attested at enrolment, or seen by two people.
    pub attested: bool,
    /// What its maker's certificate calls it, if it was attested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
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
    /// Of a FIDO key: the file that `ssh-keygen -O write-attestation` made with the challenge of
    /// [`crate::login::attestation_challenge`], in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attestation: Option<String>,
    /// When it ends by itself; a contractor's has to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// What a script is held to; only for scripts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceLimits>,
}
method!(Enrol => "identity.enrol" -> Enrolled);

/// The new identity.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Enrolled {
    /// Its id.
    pub id: IdentityId,
    /// Its key's fingerprint.
    pub fingerprint: String,
    /// Its roles, which a second person has to confirm, or may look at later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingId>,
    /// Where it was recorded.
    pub receipt: Receipt,
}

/// Adds a key to an identity. It logs in once a second person has confirmed it. Admins only; never to themselves.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyAdd {
    /// Whose.
    pub identity: Slug,
    /// The SSH public key, as a line of a `.pub` file.
    pub public_key: String,
    /// As in [`Enrol`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attestation: Option<String>,
}
method!(KeyAdd => "identity.key_add" -> KeyAdded);

/// The added key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyAdded {
    /// Its fingerprint.
    pub fingerprint: String,
    /// False while it waits for a second person.
    pub in_force: bool,
    /// The change that a second person has to confirm, or may look at later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingId>,
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
    /// Memberships in groups ended.
    pub groups: u64,
    /// Requests ended.
    pub requests: u64,
    /// Vaults in which they had any of these.
    pub vaults: u64,
    /// Accounts that they imported or handed over: their seeds are on the rotation list now.
    #[serde(default)]
    pub rotate: u64,
    /// True if every reply that was on its way had been read, or dropped with its connection, before this answer; false
    /// if a client did not read one in time.
    pub drained: bool,
    /// Where it was recorded.
    pub receipt: Receipt,
}

/// Changes an identity's display name, end date or, for a script, its limits. What is absent stays. Admins only; never their
/// own.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// Whose.
    pub identity: Slug,
    /// The display name, 1 to 200 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// What a script is held to: all of it, not only what changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceLimits>,
}
method!(Update => "identity.update" -> Changed);

/// Adds and removes roles over the organisation. What is removed goes at once; what is added waits for a second person. Admins
/// only; never their own.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roles {
    /// Whose.
    pub identity: Slug,
    /// Which are added.
    #[serde(default)]
    pub add: Vec<OrgRole>,
    /// Which are removed.
    #[serde(default)]
    pub remove: Vec<OrgRole>,
}
method!(Roles => "identity.roles" -> RolesChanged);

/// What became of the roles.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RolesChanged {
    /// The change that a second person has to confirm, or may look at later; absent if none was added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingId>,
    /// Where it was recorded.
    pub receipt: Receipt,
}

/// Lets certificates of the configured authorities log an identity in, or no longer. What is added waits for a second person;
/// what is taken away goes at once and ends the sessions that depend on it. Admins only; never their own.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificates {
    /// Whose.
    pub identity: Slug,
    /// What a certificate has to name, literally: all of it, at most 16; an empty list means the slug. Absent: no
    /// certificate logs it in any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principals: Option<Vec<String>>,
}
method!(Certificates => "identity.certificates" -> CertificatesChanged);

/// What became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CertificatesChanged {
    /// False while it waits for a second person.
    pub in_force: bool,
    /// The change that a second person has to confirm, or may look at later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingId>,
    /// Sessions ended.
    pub sessions: u64,
    /// Where it was recorded.
    pub receipt: Receipt,
}

/// Suspends an identity: its sessions end, and it cannot log in until somebody resumes it. Its grants stay. Admins only; never
/// themselves.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suspend {
    /// Whom.
    pub identity: Slug,
    /// Why, 1 to 500 bytes.
    pub reason: String,
}
method!(Suspend => "identity.suspend" -> Suspended);

/// What the suspension ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Suspended {
    /// Sessions ended.
    pub sessions: u64,
    /// As in [`Revoked`].
    pub drained: bool,
    /// Where it was recorded.
    pub receipt: Receipt,
}

/// Ends a suspension, or the hold that a tripwire put somebody on. Admins only; never themselves.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// Whom.
    pub identity: Slug,
    /// Why, 1 to 500 bytes.
    pub reason: String,
}
method!(Resume => "identity.resume" -> Changed);

/// Tells what somebody has, took, brought in and gave their word for: before they leave, and after. It is recorded. Admins and
/// auditors of the organisation.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Whom it is about.
    pub identity: Slug,
    /// How far back codes and logins are looked for, in days: 1 to 366; 90 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
}
method!(Report => "identity.report" -> Reported);

/// The report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reported {
    /// Whom it is about.
    pub identity: Slug,
    /// Their id.
    pub id: IdentityId,
    /// Whether they may log in.
    pub status: IdentityStatus,
    /// Since when codes and logins were looked for.
    pub since: Timestamp,
    /// Logins since then.
    pub logins: u64,
    /// Their keys, also removed ones.
    pub keys: Vec<Key>,
    /// What they hold, their groups' grants too, and what ended since then.
    pub grants: Vec<ReportedGrant>,
    /// The codes they took, by account.
    pub codes: Vec<ReportedCodes>,
    /// Accounts whose seeds they know: they have to be replaced once they leave.
    pub knows: Vec<ReportedSeed>,
    /// What they approved or confirmed for others since then, newest first, at most 500.
    pub vouched: Vec<ReportedVouch>,
    /// What they took for themselves in an emergency since then.
    pub break_glass: u64,
    /// Where the reading was recorded.
    pub receipt: Receipt,
}

/// A grant in a report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReportedGrant {
    /// Its id.
    pub grant: GrantId,
    /// Where.
    pub vault: Slug,
    /// Which right.
    pub role: VaultRole,
    /// The group whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Slug>,
    /// Until when; absent means standing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// When it was ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

/// The codes of one account in a report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReportedCodes {
    /// In which vault.
    pub vault: Slug,
    /// The account, under its name at the last of them.
    pub account: String,
    /// How many.
    pub releases: u64,
    /// The first.
    pub first: Timestamp,
    /// The last.
    pub last: Timestamp,
}

/// A seed that somebody knows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReportedSeed {
    /// Of which account.
    pub account: AccountAddress,
    /// How they came to know it.
    pub cause: RotationCause,
    /// True if it is on the rotation list.
    pub listed: bool,
}

/// Somebody's word for somebody else.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReportedVouch {
    /// `request` or `pending`.
    pub what: String,
    /// Its id.
    pub id: String,
    /// For whom; absent if it was for nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_identity: Option<Slug>,
    /// When.
    pub at: Timestamp,
}
