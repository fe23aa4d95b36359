//! Who may do what. [`decide`] is pure: facts in, decision out, no clock and no I/O. A decision carries its terms and has
//! to be consumed to act. The golden table in `agent/tests/golden/access.txt` shows every operation in every situation.

mod facts;

use jiff::Timestamp;
use strongroom_proto::audit::record::GrantRef;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::AccountId;
use strongroom_proto::words::{Assurance, IdentityStatus, OrgRole, VaultRole};

pub use self::facts::{GrantFact, facts, org_facts};

/// What is known when a decision is made.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The caller's status now, not at login.
    pub status: IdentityStatus,
    /// Whether the key that logged in is still active.
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
    if facts.status != IdentityStatus::Active || !facts.key_active {
        return Err(Denial::Ended);
    }
    if facts.sealed {
        // An old row put back must not open so much as a name; who had no business there learns nothing either.
        let stranger = facts.vault.is_some() && facts.grants.is_empty() && facts.roles.is_empty();
        return Err(if stranger { Denial::Hidden } else { Denial::Sealed });
    }
    let admin = facts.roles.contains(&OrgRole::Admin);
    let org_auditor = facts.roles.contains(&OrgRole::Auditor);
    let by_office = |allowed: bool| if allowed { Ok(Terms::of_office()) } else { Err(Denial::NoRight) };
    let held = Held { facts, now };

    if facts.vault.is_some_and(|vault| vault.destroyed) && !operation.outlives_the_vault() {
        let sees = admin || org_auditor || held.any().is_some();
        return Err(if sees { Denial::Destroyed } else { Denial::Hidden });
    }

    match operation {
        Operation::VaultCreate | Operation::IdentityEnrol | Operation::SessionSeeAll => by_office(admin),
        Operation::IdentitySeeAll | Operation::OrgTrailRead => by_office(admin || org_auditor),
        Operation::KeyAdd { own } | Operation::IdentityRevoke { own } => match (admin, own) {
            (true, true) => Err(Denial::OwnHand),
            (allowed, _) => by_office(allowed),
        },
        Operation::KeyRemove { own } | Operation::SessionEnd { own } => by_office(admin || own),

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
        Operation::GrantSee => held
            .with(VaultRole::Manager)
            .or_else(|| held.with(VaultRole::Auditor))
            .or_office(admin || org_auditor)
            .ok_or_else(|| held.refusal()),
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
        Operation::CeremonySee => held
            .with(VaultRole::Manager)
            .or_else(|| held.with(VaultRole::Auditor))
            .or_office(admin || org_auditor)
            .ok_or_else(|| held.refusal()),
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
        let viewer = self.in_force().find(|grant| grant.role == VaultRole::Viewer && grant.covers(account));
        let Some(grant) = viewer else {
            return Err(if self.in_force().any(|grant| grant.role == VaultRole::Eligible) {
                Denial::NeedsApproval
            } else if self.seeing(account).is_some() || sees_by_office {
                Denial::NoRight
            } else {
                Denial::Hidden
            });
        };
        self.giving_out(true, grant.terms())
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
