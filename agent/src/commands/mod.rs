//! What a command means: pure code over a [`Tx`]. Each re-checks, at the place of its commit, that the caller may still do
//! it; changes rows; and appends the records that say so. A refusal names the denial to be recorded instead.

pub mod account;
pub mod alert;
pub mod canary;
pub mod ceremony;
pub mod erasure;
pub mod grant;
pub mod group;
#[cfg(test)]
mod histories;
pub mod identity;
pub mod incident;
pub mod organisation;
pub mod pending;
pub mod policy;
pub mod reconcile;
pub mod recovery;
pub mod release;
pub mod request;
pub mod retention;
pub mod review;
pub mod rotation;
pub mod second;
pub mod session;
pub mod step_up;
pub mod stream;
pub mod vault;
pub mod witness;

use jiff::Timestamp;
use strongroom_proto::audit::record::{Actor, From, RecordOutcome, Target};
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{IdentityId, Slug, VaultId};
use strongroom_proto::words::{Assurance, OrgRole};

use crate::access::{Denial, Facts, Operation, Release, Terms, decide, facts, hindrance, org_facts};
use crate::state::rows::{Account, Vault};
use crate::state::{LogId, State};
use crate::store::tx::{Draft, Refusal, Tx};

/// Longest reason, in bytes.
pub const REASON_LEN_MAX: usize = 500;
/// Longest ticket, in bytes.
pub const TICKET_LEN_MAX: usize = 100;
/// Longest display name, in bytes.
pub const NAME_LEN_MAX: usize = 200;

/// Who calls, as the session knows it.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The session.
    pub actor: Actor,
    /// Where it comes from.
    pub from: From,
}

impl Caller {
    /// Who it is.
    #[must_use]
    pub const fn identity(&self) -> IdentityId {
        self.actor.identity
    }

    /// How they proved themselves.
    #[must_use]
    pub const fn assurance(&self) -> Assurance {
        self.actor.assurance
    }

    /// The facts about this caller for the organisation.
    #[must_use]
    pub fn org_facts(&self, state: &State, now: Timestamp) -> Facts {
        org_facts(state, self.identity(), &self.actor.key, self.assurance(), now)
    }

    /// The facts about this caller in a vault.
    #[must_use]
    pub fn facts(&self, state: &State, vault: VaultId, now: Timestamp) -> Facts {
        facts(state, self.identity(), &self.actor.key, self.assurance(), vault, now)
    }

    /// Decides about the organisation.
    ///
    /// # Errors
    /// The denial.
    pub fn may(&self, state: &State, operation: Operation, now: Timestamp) -> Result<Terms, Denial> {
        let now = now.max(state.latest);
        decide(&self.org_facts(state, now), operation, now)
    }

    /// Decides in a vault.
    ///
    /// # Errors
    /// The denial.
    pub fn may_in(&self, state: &State, vault: VaultId, operation: Operation, now: Timestamp) -> Result<Terms, Denial> {
        let now = now.max(state.latest);
        decide(&self.facts(state, vault, now), operation, now)
    }

    /// Decides on one release, with what the vault's rules ask of it.
    ///
    /// # Errors
    /// The denial.
    pub fn may_release(&self, state: &State, release: &Release<'_>, now: Timestamp) -> Result<Terms, Denial> {
        let now = now.max(state.latest);
        let facts = Facts { hindrance: hindrance(state, release, now), ..self.facts(state, release.vault, now) };
        decide(&facts, Operation::CodeRelease(release.account), now)
    }

    /// True if the caller holds an org role.
    #[must_use]
    pub fn holds(&self, state: &State, role: OrgRole) -> bool {
        state.identities.get(&self.identity()).is_some_and(|identity| identity.roles.contains(&role))
    }

    /// A draft with who, where and the caller's name.
    #[must_use]
    pub fn draft(&self, state: &State, event: &'static str) -> Draft {
        let mut draft = Draft::new(event);
        draft.actor = Some(self.actor.clone());
        draft.from = Some(self.from.clone());
        if let Some(identity) = state.identities.get(&self.identity()) {
            draft = draft.text("actor.name", identity.names.slug.as_str());
        }
        if state.sole_admin(self.identity()) {
            // Each use of the bootstrap exception is marked: an auditor sees what nobody else had confirmed.
            draft = draft.detail("sole_admin", 1);
        }
        draft
    }

    /// The denial about one account: who may not know that it exists is told what is told of none.
    #[must_use]
    pub fn about_account(&self, state: &State, denial: Denial, account: &Account, now: Timestamp) -> Denial {
        let sees = self.may_in(state, account.vault, Operation::AccountSee(account.id), now).is_ok();
        if sees { denial } else { Denial::Hidden }
    }

    /// The refusal of an operation in a vault that the caller may see, or in the org log where it may not.
    #[must_use]
    pub fn refused(&self, state: &State, denial: Denial, vault: Option<VaultId>, mut draft: Draft) -> Refusal {
        let failure = denial.failure();
        draft.outcome = RecordOutcome::Denied;
        draft.detail.insert("kind".to_owned(), failure.kind.as_str().into());
        // What must not be known to exist must not fill that client's log either: it goes to the org log, with the vault
        // named there for the investigator.
        let log = match (vault, denial) {
            (
                Some(vault),
                Denial::NoRight
                | Denial::OwnHand
                | Denial::NeedsApproval
                | Denial::NeedsAssurance(_)
                | Denial::Frozen
                | Denial::Held
                | Denial::Closed
                | Denial::NeedsSignature
                | Denial::NeedsReason
                | Denial::NeedsTicket
                | Denial::Limited { .. }
                | Denial::Harvest
                | Denial::CheckedOut
                | Denial::WindowTaken
                | Denial::OtherUid
                | Denial::Destroyed,
            ) if state.heads.contains_key(&LogId::Vault(vault)) => LogId::Vault(vault),
            (vault, _) => {
                draft.target.vault = vault;
                LogId::Org
            }
        };
        Refusal::recorded(failure, log, draft)
    }

    /// The refusal for an address that does not exist: same answer as for one that the caller may not know of, and the
    /// same record with what was asked for.
    #[must_use]
    pub fn nothing_there(&self, state: &State, event: &'static str, asked: &str) -> Refusal {
        self.refused(state, Denial::Hidden, None, self.draft(state, event).text("asked", asked))
    }
}

/// Finds a vault that the caller may see, at the place of the commit.
///
/// # Errors
/// The refusal for nothing there.
pub fn find_vault(tx: &Tx<'_>, caller: &Caller, event: &'static str, slug: &Slug) -> Result<Vault, Refusal> {
    tx.state.vault(slug).cloned().ok_or_else(|| caller.nothing_there(&tx.state, event, slug.as_str()))
}

/// Finds an account and its vault, at the place of the commit.
///
/// # Errors
/// The refusal for nothing there.
pub fn find_account(
    tx: &Tx<'_>,
    caller: &Caller,
    event: &'static str,
    address: &strongroom_proto::ids::AccountAddress,
) -> Result<(Vault, Account), Refusal> {
    let found = tx
        .state
        .vault(&address.vault)
        .and_then(|vault| tx.state.account(vault.id, &address.account).map(|account| (vault.clone(), account.clone())));
    found.ok_or_else(|| {
        let mut refusal = caller.nothing_there(&tx.state, event, &address.to_string());
        if let (Some(vault), Some((_, draft))) = (tx.state.vault(&address.vault), &mut refusal.record) {
            draft.target.vault = Some(vault.id);
        }
        refusal
    })
}

/// Checks a text from outside: length and no control characters.
///
/// # Errors
/// `invalid_params` naming the field.
pub fn check_text(field: &str, text: &str, len_max: usize) -> Result<(), Failure> {
    if text.len() > len_max {
        return Err(Failure::new(ErrorKind::InvalidParams, format!("{field} is longer than {len_max} bytes.")));
    }
    if text.chars().any(char::is_control) {
        return Err(Failure::new(ErrorKind::InvalidParams, format!("{field} has control characters.")));
    }
    Ok(())
}

/// As [`check_text`], and not blank.
///
/// # Errors
/// `invalid_params` naming the field.
pub fn check_some_text(field: &str, text: &str, len_max: usize) -> Result<(), Failure> {
    if text.trim().is_empty() {
        return Err(Failure::new(ErrorKind::InvalidParams, format!("{field} is empty.")));
    }
    check_text(field, text, len_max)
}

/// Marks what an admin did to people alone. Until a second person has to confirm such changes, an auditor must be able to
/// list them: with a key on a colleague, or an invented colleague, an admin could take codes under another name.
#[must_use]
pub fn unconfirmed(draft: Draft) -> Draft {
    draft.detail("unconfirmed", 1)
}

/// Names an identity as a target, with its slug as an opening.
#[must_use]
pub fn about_identity(draft: Draft, identity: &crate::state::rows::Identity) -> Draft {
    let mut draft = draft.text("target.name", identity.names.slug.as_str());
    draft.target.identity = Some(identity.id);
    draft
}

/// Names an account as a target, with its slug as an opening.
#[must_use]
pub fn about_account(draft: Draft, account: &Account) -> Draft {
    let mut draft = draft.text("account.name", account.names.slug.as_str());
    draft.target.account = Some(account.id);
    draft
}

/// Names a vault as a target, with its slug as an opening. Only in the org log.
#[must_use]
pub fn about_vault(draft: Draft, vault: &Vault) -> Draft {
    let mut draft = draft.text("vault.name", vault.names.slug.as_str());
    draft.target = Target { vault: Some(vault.id), ..draft.target };
    draft
}
