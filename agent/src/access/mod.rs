//! Who may do what. [`decide`] is pure: facts in, decision out, no clock and no I/O. A decision carries its terms and has
//! to be consumed to act. The golden table in `agent/tests/golden/access.txt` shows every operation in every situation.

mod facts;
mod hindrance;
pub mod hours;

use jiff::Timestamp;
use strongroom_proto::audit::record::GrantRef;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::AccountId;
use strongroom_proto::words::{Assurance, IdentityKind, IdentityStatus, OrgRole, VaultRole};

pub use self::facts::{GrantFact, facts, org_facts};
pub use self::hindrance::{Release, exclusive_holders, hindrance, ticket_fits};

/// What is known when a decision is made.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The caller's status now, not at login.
    pub status: IdentityStatus,
    /// True once the date on which the caller's access ends has come.
    pub over: bool,
    /// Whether a person or a script calls.
    pub kind: IdentityKind,
    /// Whether the key that logged in is still active, and confirmed.
    pub key_active: bool,
    /// Roles over the organisation.
    pub roles: Vec<OrgRole>,
    /// How the caller proved itself.
    pub assurance: Assurance,
    /// The caller's grants in the vault in question that have not been ended; empty for operations on the organisation.
    pub grants: Vec<GrantFact>,
    /// The vault's rules; absent for operations on the organisation.
    pub vault: Option<VaultFacts>,
    /// True if the rows or records in question did not match when the store was opened: then no grant is believed.
    pub sealed: bool,
    /// What stands in the way of the one release that is decided on ([`hindrance()`]); nothing for all other operations.
    pub hindrance: Option<Denial>,
}

/// A vault's rules as far as decisions need them.
#[derive(Clone, Copy, Debug)]
pub struct VaultFacts {
    /// The weakest login that may take codes.
    pub min_assurance: Assurance,
    /// True while nothing is released.
    pub frozen: bool,
    /// True once its key was destroyed: nothing is left but its log.
    pub destroyed: bool,
    /// True outside the hours in which it gives codes.
    pub closed: bool,
    /// Whether its policy knows break-glass.
    pub break_glass: bool,
}

/// What the caller wants to do. `own` means: to or for themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Know that a vault exists.
    VaultSee,
    /// Make a vault.
    VaultCreate,
    /// Change a vault's slug or name.
    VaultRename,
    /// Stop releases.
    VaultFreeze,
    /// Allow releases again.
    VaultThaw,
    /// Know that an account exists.
    AccountSee(AccountId),
    /// Bring in accounts.
    AccountImport,
    /// Remove an account.
    AccountRemove(AccountId),
    /// Take a code.
    CodeRelease(AccountId),
    /// See all grants of a vault.
    GrantSee,
    /// Give a role.
    GrantGive {
        /// Which.
        role: VaultRole,
        /// To themselves.
        own: bool,
    },
    /// End a grant.
    GrantEnd {
        /// Of which role.
        role: VaultRole,
        /// Their own.
        own: bool,
    },
    /// See all identities.
    IdentitySeeAll,
    /// Enrol an identity.
    IdentityEnrol,
    /// Add a key.
    KeyAdd {
        /// To themselves.
        own: bool,
    },
    /// Remove a key.
    KeyRemove {
        /// Their own.
        own: bool,
    },
    /// Revoke an identity.
    IdentityRevoke {
        /// Themselves.
        own: bool,
    },
    /// Read a vault's trail.
    TrailRead,
    /// Take a vault's whole trail away.
    TrailExport,
    /// Read the org log.
    OrgTrailRead,
    /// See the ceremonies of a vault.
    CeremonySee,
    /// Propose a ceremony.
    CeremonyPropose {
        /// One that gives seeds out.
        gives: bool,
    },
    /// Confirm a ceremony.
    CeremonyConfirm {
        /// One that they proposed.
        own: bool,
        /// One that gives seeds out.
        gives: bool,
    },
    /// Take a ceremony back.
    CeremonyCancel,
    /// Run a ceremony.
    CeremonyRun {
        /// As one of its two people.
        party: bool,
        /// One that gives seeds out.
        gives: bool,
    },
    /// Change a vault's policy.
    PolicySet,
    /// See the organisation's policy.
    OrgPolicySee,
    /// Change it.
    OrgPolicySet,
    /// See all groups and who is in them.
    GroupSee,
    /// Make, rename or remove a group.
    GroupManage,
    /// Put somebody into a group.
    MemberAdd {
        /// Themselves.
        own: bool,
    },
    /// Take somebody out of a group.
    MemberRemove {
        /// Themselves.
        own: bool,
    },
    /// Change an identity's name, end date or, for a script, its limits.
    IdentityUpdate {
        /// Their own.
        own: bool,
    },
    /// Change somebody's roles over the organisation.
    RolesChange {
        /// Their own.
        own: bool,
    },
    /// Suspend an identity.
    IdentitySuspend {
        /// Themselves.
        own: bool,
    },
    /// End a suspension or a hold.
    IdentityResume {
        /// Their own.
        own: bool,
    },
    /// Read what somebody took, imported, exported and approved.
    IdentityReport,
    /// See what waits for a second person and is about no vault.
    PendingSee,
    /// Confirm what somebody else did that is about no vault.
    PendingConfirm {
        /// What they did, or what serves them.
        own: bool,
        /// They manage a vault in which whom it serves holds a grant.
        manages: bool,
        /// It makes somebody an admin or auditor, or changes the organisation's policy: managers have no say in that.
        office: bool,
    },
    /// Confirm what somebody else did in a vault.
    PendingConfirmIn {
        /// What they did, or what serves them.
        own: bool,
    },
    /// Ask for access.
    RequestMake {
        /// They held a grant here until not long ago.
        lapsed: bool,
    },
    /// Take access at once.
    BreakGlass,
    /// See a vault's requests.
    RequestSee,
    /// Approve or deny a request.
    RequestDecide {
        /// Their own.
        own: bool,
        /// Admins decide too by now.
        escalated: bool,
    },
    /// Look back at a break-glass.
    RequestReview {
        /// Their own.
        own: bool,
    },
    /// Begin or close a recertification.
    CampaignManage,
    /// See all of a recertification.
    CampaignSee,
    /// Say that a grant is still needed, or end it.
    ReviewDecide {
        /// Their own.
        own: bool,
    },
    /// Say which accounts are decoys.
    CanaryManage,
    /// See which seeds have to be replaced because somebody who knew them has left.
    RotationSee,
    /// Answer for keeping one of them.
    RotationDismiss,
    /// See what raised an alarm in a log.
    AlertSee,
    /// Answer it.
    AlertAck {
        /// What they did themselves.
        own: bool,
    },
    /// Open or close an incident.
    IncidentManage,
    /// See an incident.
    IncidentSee,
    /// See everybody's sessions.
    SessionSeeAll,
    /// End a session.
    SessionEnd {
        /// Their own.
        own: bool,
    },
}

/// Leave to act, and its terms.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a decision has to be consumed to act"]
pub struct Terms {
    /// The grant that allows it; absent if an org role does.
    pub grant: Option<GrantRef>,
    /// Which accounts it reaches.
    pub scope: Scope,
}

/// Which accounts of the vault a permission reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All.
    Whole,
    /// Only these.
    Only(Vec<AccountId>),
}

impl Scope {
    /// True if the account is within.
    #[must_use]
    pub fn covers(&self, account: AccountId) -> bool {
        match self {
            Self::Whole => true,
            Self::Only(accounts) => accounts.contains(&account),
        }
    }
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The caller has no business knowing that the thing exists.
    Hidden,
    /// The caller sees it and has no right to this.
    NoRight,
    /// Nobody does this to or for themselves.
    OwnHand,
    /// The caller might ask for access.
    NeedsApproval,
    /// The vault asks for a stronger login.
    NeedsAssurance(Assurance),
    /// The vault is frozen.
    Frozen,
    /// The caller is on hold: a tripwire caught them.
    Held,
    /// Outside the hours in which codes are given.
    Closed,
    /// The release has to be signed.
    NeedsSignature,
    /// The release needs a reason.
    NeedsReason,
    /// The release needs a ticket, or another one.
    NeedsTicket,
    /// Too many releases in the last hour.
    Limited {
        /// Until there is room for one more, in seconds.
        wait_s: u64,
    },
    /// One account too many in too short a time.
    Harvest,
    /// Somebody else has checked the account out.
    CheckedOut,
    /// Somebody else took the code of this window.
    WindowTaken,
    /// The script runs as another user of the system than it is bound to.
    OtherUid,
    /// The vault was destroyed.
    Destroyed,
    /// The caller's identity or key is not active any more.
    Ended,
    /// The store does not match its log there.
    Sealed,
}

impl Denial {
    /// What the caller is told.
    #[must_use]
    pub fn failure(self) -> Failure {
        match self {
            Self::Hidden => Failure::not_found(),
            Self::NoRight => Failure::new(ErrorKind::Denied, "Your role does not allow this."),
            Self::OwnHand => Failure::new(ErrorKind::Denied, "Nobody does this to or for themselves: ask a colleague."),
            Self::NeedsApproval => {
                Failure::new(ErrorKind::NeedsApproval, "You may ask for access to this vault, but have none now.")
            }
            Self::NeedsAssurance(needed) => Failure::new(
                ErrorKind::NeedsAssurance,
                format!("This vault gives codes only after a login with {needed}."),
            ),
            Self::Frozen => Failure::new(ErrorKind::Frozen, "This vault is frozen: no codes until an admin thaws it."),
            Self::Held | Self::Harvest => Failure::new(
                ErrorKind::Frozen,
                "You are on hold: what you took raised an alarm. An admin has to look and resume you.",
            ),
            Self::Closed => Failure::new(ErrorKind::Denied, "No codes are given here at this hour."),
            Self::NeedsSignature => Failure::new(
                ErrorKind::NeedsSignature,
                "Releases of this vault are signed: call session.challenge and give step_up.",
            ),
            Self::NeedsReason => Failure::new(ErrorKind::InvalidParams, "This vault gives codes only for a reason."),
            Self::NeedsTicket => Failure::new(
                ErrorKind::InvalidParams,
                "This vault asks for a ticket number of the form that its policy says.",
            ),
            Self::Limited { wait_s } => Failure::new(
                ErrorKind::RateLimited,
                format!("You have taken as many codes as one may in an hour; the next one in {wait_s} s."),
            ),
            Self::CheckedOut => Failure::new(ErrorKind::Conflict, "Somebody else has checked this account out."),
            Self::WindowTaken => Failure::new(
                ErrorKind::Conflict,
                "Somebody else took the code of this window, and this vault gives it once: wait for the next.",
            ),
            Self::OtherUid => Failure::new(
                ErrorKind::Denied,
                "This script is bound to another user of the system than the one that calls.",
            ),
            Self::Destroyed => {
                Failure::new(ErrorKind::Denied, "This vault was destroyed: nothing is left of it but its log.")
            }
            Self::Sealed => Failure::new(
                ErrorKind::AuditUnavailable,
                "The store does not match its audit log here: nothing is done until an operator has looked.",
            ),
            Self::Ended => Failure::new(ErrorKind::Unauthenticated, "This session has ended."),
        }
    }
}

/// Decides. `now` is the time of the decision: the caller passes max(wall clock, last record).
///
/// # Errors
/// The reason for the refusal.
pub fn decide(facts: &Facts, operation: Operation, now: Timestamp) -> Result<Terms, Denial> {
    let acts = matches!(facts.status, IdentityStatus::Active | IdentityStatus::Held);
    if !acts || facts.over || !facts.key_active {
        return Err(Denial::Ended);
    }
    if facts.sealed {
        // An old row put back must not open so much as a name; who had no business there learns nothing either.
        let stranger = facts.vault.is_some() && facts.grants.is_empty() && facts.roles.is_empty();
        return Err(if stranger { Denial::Hidden } else { Denial::Sealed });
    }
    let admin = facts.roles.contains(&OrgRole::Admin);
    let org_auditor = facts.roles.contains(&OrgRole::Auditor);
    let held = Held { facts, now };

    if facts.vault.is_some_and(|vault| vault.destroyed) && !operation.outlives_the_vault() {
        let sees = admin || org_auditor || held.any().is_some();
        return Err(if sees { Denial::Destroyed } else { Denial::Hidden });
    }

    // Only what is allowed is narrowed: who may not know of a vault learns nothing from being a script or on hold.
    decide_by_right(operation, &held, admin, org_auditor).and_then(|terms| {
        if facts.kind == IdentityKind::Service && !operation.is_for_scripts() {
            Err(Denial::NoRight)
        } else if facts.status == IdentityStatus::Held && !operation.only_looks() {
            Err(Denial::Held)
        } else {
            Ok(terms)
        }
    })
}

/// What the caller's roles and grants allow.
fn decide_by_right(operation: Operation, held: &Held<'_>, admin: bool, org_auditor: bool) -> Result<Terms, Denial> {
    let by_office = |allowed: bool| if allowed { Ok(Terms::of_office()) } else { Err(Denial::NoRight) };
    let not_by_own_hand = |own: bool| match (admin, own) {
        (true, true) => Err(Denial::OwnHand),
        (allowed, _) => by_office(allowed),
    };
    match operation {
        Operation::VaultCreate
        | Operation::IdentityEnrol
        | Operation::SessionSeeAll
        | Operation::OrgPolicySet
        | Operation::GroupManage
        | Operation::CampaignManage
        | Operation::IncidentManage => by_office(admin),
        Operation::IdentitySeeAll
        | Operation::OrgTrailRead
        | Operation::OrgPolicySee
        | Operation::GroupSee
        | Operation::IdentityReport
        | Operation::CampaignSee
        | Operation::PendingSee => by_office(admin || org_auditor),
        Operation::KeyAdd { own }
        | Operation::IdentityRevoke { own }
        | Operation::MemberAdd { own }
        | Operation::IdentityUpdate { own }
        | Operation::RolesChange { own }
        | Operation::IdentitySuspend { own }
        | Operation::IdentityResume { own } => not_by_own_hand(own),
        Operation::KeyRemove { own } | Operation::SessionEnd { own } | Operation::MemberRemove { own } => {
            by_office(admin || own)
        }
        Operation::PendingConfirm { own, manages, office } => match admin || (manages && !office) {
            true if own => Err(Denial::OwnHand),
            allowed => by_office(allowed),
        },
        Operation::PendingConfirmIn { own } | Operation::ReviewDecide { own } => match held.conducting(admin) {
            Ok(_) if own => Err(Denial::OwnHand),
            decision => decision,
        },
        Operation::PolicySet => held.office_or_hidden(admin),
        Operation::RequestMake { lapsed } => held
            .with(VaultRole::Eligible)
            .or_else(|| held.with(VaultRole::Viewer))
            .or_office(lapsed)
            .ok_or_else(|| held.refusal_or_office(admin || org_auditor)),
        Operation::BreakGlass => held.break_glass(admin || org_auditor),
        Operation::RequestSee | Operation::RotationSee | Operation::AlertSee | Operation::IncidentSee => {
            held.overseeing(admin || org_auditor)
        }
        Operation::RequestDecide { own, escalated } => {
            let decides = held.with(VaultRole::Manager).or_office(admin && escalated);
            match decides.ok_or_else(|| held.refusal_or_office(admin || org_auditor)) {
                Ok(_) if own => Err(Denial::OwnHand),
                decision => decision,
            }
        }
        Operation::RequestReview { own } | Operation::AlertAck { own } => match held.overseeing(admin || org_auditor) {
            Ok(_) if own => Err(Denial::OwnHand),
            decision => decision,
        },
        Operation::CanaryManage | Operation::RotationDismiss => held.conducting(admin),

        Operation::VaultSee => held.any().or_office(admin || org_auditor).ok_or(Denial::Hidden),
        Operation::VaultRename | Operation::VaultThaw => held.office_or_hidden(admin),
        Operation::VaultFreeze => held.with(VaultRole::Manager).or_office(admin).ok_or_else(|| held.refusal()),
        Operation::AccountSee(account) => held.seeing(account).or_office(admin || org_auditor).ok_or(Denial::Hidden),
        Operation::AccountImport => {
            held.with(VaultRole::Manager).ok_or_else(|| held.refusal_or_office(admin || org_auditor))
        }
        Operation::AccountRemove(account) => held.with(VaultRole::Manager).ok_or_else(|| {
            // A viewer of other accounts must not learn that this one exists.
            let sees = admin || org_auditor || held.seeing(account).is_some();
            if sees { Denial::NoRight } else { Denial::Hidden }
        }),
        Operation::CodeRelease(account) => held.release(account, admin || org_auditor),
        Operation::GrantSee | Operation::CeremonySee => held.overseeing(admin || org_auditor),
        Operation::GrantGive { role, own } => match held.giving(role, admin) {
            Ok(_) if own => Err(Denial::OwnHand),
            decision => decision,
        },
        Operation::GrantEnd { role, own } => {
            if own {
                Ok(Terms::of_office())
            } else {
                held.giving(role, admin)
            }
        }
        Operation::CeremonyCancel => held.conducting(admin),
        Operation::CeremonyPropose { gives } => held.conducting(admin).and_then(|terms| held.giving_out(gives, terms)),
        Operation::CeremonyConfirm { own, gives } => match held.conducting(admin) {
            Ok(_) if own => Err(Denial::OwnHand),
            decision => decision.and_then(|terms| held.giving_out(gives, terms)),
        },
        Operation::CeremonyRun { party, gives } => match held.conducting(admin) {
            Ok(_) if !party => Err(Denial::NoRight),
            decision => decision.and_then(|terms| held.giving_out(gives, terms)),
        },
        Operation::TrailRead => held
            .with(VaultRole::Manager)
            .or_else(|| held.with(VaultRole::Auditor))
            .or_office(org_auditor)
            .or_else(|| held.viewing())
            .ok_or_else(|| held.refusal_or_office(admin)),
        Operation::TrailExport => held
            .with(VaultRole::Manager)
            .or_else(|| held.with(VaultRole::Auditor))
            .or_office(org_auditor)
            .ok_or_else(|| held.refusal_or_office(admin)),
    }
}

impl Operation {
    /// What is done to the log of a vault that was destroyed, and to nothing else of it.
    const fn outlives_the_vault(self) -> bool {
        matches!(
            self,
            Self::VaultSee
                | Self::GrantSee
                | Self::TrailRead
                | Self::TrailExport
                | Self::CeremonySee
                | Self::GrantEnd { .. }
                | Self::RequestSee
                | Self::RequestReview { .. }
                | Self::AlertSee
                | Self::AlertAck { .. }
                | Self::IncidentSee
        )
    }

    /// What a script does: it takes codes of its accounts. It asks for nothing, manages nothing and reads no trail.
    const fn is_for_scripts(self) -> bool {
        matches!(self, Self::VaultSee | Self::AccountSee(_) | Self::CodeRelease(_) | Self::SessionEnd { own: true })
    }

    /// What somebody on hold may still do: look, and give up what they have.
    const fn only_looks(self) -> bool {
        matches!(
            self,
            Self::VaultSee
                | Self::AccountSee(_)
                | Self::GrantSee
                | Self::TrailRead
                | Self::OrgTrailRead
                | Self::CeremonySee
                | Self::RequestSee
                | Self::RotationSee
                | Self::AlertSee
                | Self::IncidentSee
                | Self::IdentitySeeAll
                | Self::OrgPolicySee
                | Self::GroupSee
                | Self::PendingSee
                | Self::CampaignSee
                | Self::SessionSeeAll
                | Self::SessionEnd { own: true }
                | Self::KeyRemove { own: true }
                | Self::MemberRemove { own: true }
                | Self::GrantEnd { own: true, .. }
        )
    }
}

impl Terms {
    /// By an org role: no grant, the whole vault.
    const fn of_office() -> Self {
        Self { grant: None, scope: Scope::Whole }
    }
}

/// The grants that are in force.
struct Held<'a> {
    facts: &'a Facts,
    now: Timestamp,
}

impl Held<'_> {
    fn in_force(&self) -> impl Iterator<Item = &GrantFact> {
        self.facts.grants.iter().filter(|grant| grant.in_force(self.now))
    }

    fn any(&self) -> Option<Terms> {
        self.in_force().next().map(GrantFact::terms)
    }

    fn with(&self, role: VaultRole) -> Option<Terms> {
        self.in_force().find(|grant| grant.role == role).map(GrantFact::terms)
    }

    /// All accounts that viewer grants reach, in one scope.
    fn viewing(&self) -> Option<Terms> {
        let mut accounts = Vec::new();
        let mut first = None;
        for grant in self.in_force().filter(|grant| grant.role == VaultRole::Viewer) {
            first.get_or_insert_with(|| grant.terms());
            match &grant.accounts {
                None => return Some(grant.terms()),
                Some(some) => accounts.extend_from_slice(some),
            }
        }
        first.map(|terms| Terms { scope: Scope::Only(accounts), ..terms })
    }

    /// Grants that show an account: viewers of it, and everybody with another role in the vault.
    fn seeing(&self, account: AccountId) -> Option<Terms> {
        self.in_force().find(|grant| grant.role != VaultRole::Viewer || grant.covers(account)).map(GrantFact::terms)
    }

    fn release(&self, account: AccountId, sees_by_office: bool) -> Result<Terms, Denial> {
        let covers = |grant: &&GrantFact| grant.role == VaultRole::Viewer && grant.covers(account);
        // One that is open now before one that is not.
        let viewer = self.in_force().filter(covers).min_by_key(|grant| grant.closed);
        let Some(grant) = viewer else {
            return Err(if self.in_force().any(|grant| grant.role == VaultRole::Eligible) {
                Denial::NeedsApproval
            } else if self.seeing(account).is_some() || sees_by_office {
                Denial::NoRight
            } else {
                Denial::Hidden
            });
        };
        let terms = self.giving_out(true, grant.terms())?;
        // Somebody on hold is told so, and not which other rule they would have met.
        if self.facts.status == IdentityStatus::Held {
            return Err(Denial::Held);
        }
        if grant.closed || self.facts.vault.is_some_and(|vault| vault.closed) {
            return Err(Denial::Closed);
        }
        self.facts.hindrance.map_or(Ok(terms), Err)
    }

    /// Who may ask for access may take it at once, if the vault's policy knows that.
    fn break_glass(&self, sees_by_office: bool) -> Result<Terms, Denial> {
        let asks = self.with(VaultRole::Eligible).or_else(|| self.with(VaultRole::Viewer));
        let terms = asks.ok_or_else(|| self.refusal_or_office(sees_by_office))?;
        if !self.facts.vault.is_some_and(|vault| vault.break_glass) {
            return Err(Denial::NoRight);
        }
        self.giving_out(true, terms)
    }

    /// Managers and auditors of the vault, and offices that see every vault.
    fn overseeing(&self, sees_by_office: bool) -> Result<Terms, Denial> {
        self.with(VaultRole::Manager)
            .or_else(|| self.with(VaultRole::Auditor))
            .or_office(sees_by_office)
            .ok_or_else(|| self.refusal())
    }

    /// What gives a code or seeds out heeds the vault's own rules.
    fn giving_out(&self, gives: bool, terms: Terms) -> Result<Terms, Denial> {
        let Some(vault) = self.facts.vault else { return Err(Denial::Hidden) };
        if gives && vault.frozen {
            return Err(Denial::Frozen);
        }
        if gives && self.facts.assurance < vault.min_assurance {
            return Err(Denial::NeedsAssurance(vault.min_assurance));
        }
        Ok(terms)
    }

    /// Admins give every role; managers those that take or ask for codes.
    fn giving(&self, role: VaultRole, admin: bool) -> Result<Terms, Denial> {
        if admin {
            return Ok(Terms::of_office());
        }
        match role {
            VaultRole::Viewer | VaultRole::Eligible => self.with(VaultRole::Manager).ok_or_else(|| self.refusal()),
            VaultRole::Manager | VaultRole::Auditor => Err(self.refusal()),
        }
    }

    /// Admins and managers hold ceremonies, two of them together.
    fn conducting(&self, admin: bool) -> Result<Terms, Denial> {
        self.with(VaultRole::Manager).or_office(admin).ok_or_else(|| self.refusal())
    }

    fn office_or_hidden(&self, office: bool) -> Result<Terms, Denial> {
        if office { Ok(Terms::of_office()) } else { Err(self.refusal()) }
    }

    /// Who sees the vault is told that the right is missing; to others it does not exist.
    fn refusal(&self) -> Denial {
        self.refusal_or_office(self.facts.roles.contains(&OrgRole::Auditor))
    }

    fn refusal_or_office(&self, sees_by_office: bool) -> Denial {
        if sees_by_office || self.any().is_some() { Denial::NoRight } else { Denial::Hidden }
    }
}

/// Falls back on an org role.
trait OrOffice {
    fn or_office(self, office: bool) -> Option<Terms>;
}

impl OrOffice for Option<Terms> {
    fn or_office(self, office: bool) -> Option<Terms> {
        self.or_else(|| office.then(Terms::of_office))
    }
}
