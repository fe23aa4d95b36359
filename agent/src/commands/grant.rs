//! Commands on grants.

use jiff::Timestamp;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{AccountId, GrantId, IdentityId, PendingId, Slug, VaultId};
use strongroom_proto::method::{Receipt, grant as wire};
use strongroom_proto::words::{IdentityKind, IdentityStatus, VaultRole};

use super::pending::{Standing, note, vet};
use super::{Caller, about_identity, find_vault};
use crate::access::{Operation, hours};
use crate::state::pending::PendingChange;
use crate::state::rows::{Grant, Holder, Identity};
use crate::state::{LogId, State};
use crate::store::tx::{Draft, Refusal, Tx};

/// Below so many vaults a share of them says nothing.
const PORTFOLIO_MIN: usize = 10;

/// What became of a new grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// Its id.
    pub grant: GrantId,
    /// The change that waits for a second person, or that may be looked at later.
    pub pending: Option<PendingId>,
    /// True if it is in force from its beginning on.
    pub in_force: bool,
}

/// Gives a grant.
///
/// # Errors
/// The refusal; `not_found` for an unknown identity, group or account, `invalid_params` if it would never be in force or does
/// not fit its holder.
pub fn give(tx: &mut Tx<'_>, caller: &Caller, id: GrantId, wanted: &wire::Give) -> Result<(Given, Receipt), Refusal> {
    const EVENT: &str = "grant.give";
    let vault = find_vault(tx, caller, EVENT, &wanted.vault)?;
    let log = LogId::Vault(vault.id);
    let now = tx.now;
    let found = Found::of(&tx.state, wanted);
    let own = found.as_ref().is_some_and(|found| tx.state.serves(found.holder(), caller.identity()));
    let operation = Operation::GrantGive { role: wanted.role, own };
    let mut draft = caller.draft(&tx.state, EVENT).detail("role", wanted.role.as_str());
    if let Some(found) = &found {
        draft = found.name(draft);
    }
    let terms = caller
        .may_in(&tx.state, vault.id, operation, now)
        .map_err(|denial| caller.refused(&tx.state, denial, Some(vault.id), draft.clone()))?;
    let found = found.filter(|found| found.exists(now)).ok_or_else(|| nobody(wanted))?;
    check_accounts(wanted)?;
    let accounts = account_ids(tx, vault.id, &wanted.vault, wanted.accounts.as_deref())?;
    found.check_fits(wanted)?;
    let from = wanted.from.unwrap_or(now);
    if wanted.until.is_some_and(|until| until <= from || until <= now) {
        return Err(invalid("The grant would end before it begins, or before now.").into());
    }
    let standing = found.standing(&tx.state, caller);
    let beyond_cap = wanted.until.is_none() && found.goes_beyond_cap(&tx.state, vault.id);
    let standing = if beyond_cap { Standing::alone(&tx.state, caller) } else { standing };
    let grant = Grant {
        id,
        vault: vault.id,
        holder: found.holder(),
        role: wanted.role,
        accounts,
        from,
        until: wanted.until,
        hours: wanted.hours.clone(),
        given_by: caller.identity(),
        given_at: now,
        request: None,
        exclusive: false,
        pending: standing == Standing::Waiting,
        ended_at: None,
    };
    let mut draft = dated(draft, &grant)
        .maybe_text("reason", wanted.reason.as_deref())
        .maybe_text("ticket", wanted.ticket.as_deref());
    draft.grant = terms.grant;
    draft.target.grant = Some(grant.id);
    let change = PendingChange::Grant { vault: vault.id, grant: id, beyond_cap };
    let (pending, draft) = note(tx, caller, standing, change, found.identity(), draft)?;
    if standing != Standing::Waiting {
        vet(tx, caller, found.identity(), standing)?;
    }
    tx.put(grant)?;
    let receipt = tx.append(log, draft)?;
    Ok((Given { grant: id, pending, in_force: standing != Standing::Waiting }, receipt))
}

/// Whom a grant is for.
enum Found {
    Identity(Box<Identity>),
    Group { group: crate::state::group::Group, members: Vec<IdentityId> },
}

impl Found {
    fn of(state: &State, wanted: &wire::Give) -> Option<Self> {
        match (&wanted.identity, &wanted.group) {
            (Some(slug), None) => state.identity(slug).cloned().map(Box::new).map(Self::Identity),
            (None, Some(slug)) => {
                let group = state.group(slug).cloned()?;
                let members = state.members_of(group.id).map(|member| member.identity).collect();
                Some(Self::Group { group, members })
            }
            _ => None,
        }
    }

    fn holder(&self) -> Holder {
        match self {
            Self::Identity(identity) => Holder::Identity(identity.id),
            Self::Group { group, .. } => Holder::Group(group.id),
        }
    }

    fn identity(&self) -> Option<IdentityId> {
        match self {
            Self::Identity(identity) => Some(identity.id),
            Self::Group { .. } => None,
        }
    }

    fn exists(&self, now: Timestamp) -> bool {
        match self {
            Self::Identity(identity) => {
                identity.status != IdentityStatus::Revoked && identity.until.is_none_or(|until| now < until)
            }
            Self::Group { group, .. } => group.removed_at.is_none(),
        }
    }

    fn name(&self, draft: Draft) -> Draft {
        match self {
            Self::Identity(identity) => about_identity(draft, identity),
            Self::Group { group, .. } => {
                draft.detail("group", group.id.to_string()).text("group.name", group.names.slug.as_str())
            }
        }
    }

    /// A script takes codes of listed accounts and nothing else.
    fn check_fits(&self, wanted: &wire::Give) -> Result<(), Failure> {
        if let Some(hours) = &wanted.hours {
            hours.check().map_err(|flaw| invalid(&format!("hours: {flaw}.")))?;
        }
        hours::check_zone(wanted.hours.as_ref())?;
        match self {
            Self::Identity(identity) if identity.kind == IdentityKind::Service => {
                if wanted.role == VaultRole::Viewer && wanted.accounts.is_some() {
                    Ok(())
                } else {
                    Err(invalid("A script is a viewer of listed accounts, and nothing else."))
                }
            }
            _ => Ok(()),
        }
    }

    fn standing(&self, state: &State, caller: &Caller) -> Standing {
        match self {
            Self::Identity(identity) => Standing::of_first(state, caller, identity),
            // Two people stand behind everybody in a group, or their membership is not in force.
            Self::Group { .. } => Standing::Confirmed,
        }
    }

    /// True if somebody would hold standing grants in a larger share of all vaults than one may.
    fn goes_beyond_cap(&self, state: &State, vault: VaultId) -> bool {
        let Some(cap) = state.org_policy.portfolio_cap_percent else { return false };
        let all = state.vaults.values().filter(|vault| vault.destroyed_at.is_none()).count();
        let people = match self {
            Self::Identity(identity) => std::slice::from_ref(&identity.id),
            Self::Group { members, .. } => members,
        };
        let share = |identity: &IdentityId| {
            let standing = state.grants_for(*identity).filter(|grant| grant.until.is_none() && !grant.pending);
            let held: std::collections::BTreeSet<VaultId> =
                standing.map(|grant| grant.vault).chain(std::iter::once(vault)).collect();
            held.len()
        };
        all > PORTFOLIO_MIN && people.iter().any(|identity| share(identity) * 100 > all * usize::from(cap))
    }
}

fn invalid(message: &str) -> Failure {
    Failure::new(ErrorKind::InvalidParams, message)
}

fn nobody(wanted: &wire::Give) -> Failure {
    let named = |slug: &Option<Slug>, what: &str| {
        slug.as_ref().map(|slug| Failure::new(ErrorKind::NotFound, format!("There is no active {what} {slug}.")))
    };
    match (&wanted.identity, &wanted.group) {
        (Some(_), Some(_)) | (None, None) => invalid("Give identity or group, and not both."),
        _ => named(&wanted.identity, "identity")
            .or_else(|| named(&wanted.group, "group"))
            .unwrap_or_else(Failure::not_found),
    }
}

fn check_accounts(wanted: &wire::Give) -> Result<(), Failure> {
    match &wanted.accounts {
        Some(slugs) if wanted.role != VaultRole::Viewer || slugs.is_empty() => {
            Err(invalid("Only viewers are limited to accounts, and to at least one."))
        }
        _ => Ok(()),
    }
}

/// The ids of accounts of a vault, in order and without doubles.
pub(super) fn account_ids(
    tx: &Tx<'_>,
    vault: VaultId,
    name: &Slug,
    slugs: Option<&[Slug]>,
) -> Result<Option<Vec<AccountId>>, Refusal> {
    let Some(slugs) = slugs else { return Ok(None) };
    let found = slugs.iter().map(|slug| {
        tx.state.account(vault, slug).map(|account| account.id).ok_or_else(|| Refusal::from(no_account(name, slug)))
    });
    let mut accounts = found.collect::<Result<Vec<_>, _>>()?;
    accounts.sort_unstable();
    accounts.dedup();
    Ok(Some(accounts))
}

/// The answer for an account that does not exist, or that the caller may not know of.
pub(super) fn no_account(vault: &Slug, account: &Slug) -> Failure {
    Failure::new(ErrorKind::NotFound, format!("There is no account {vault}/{account}."))
}

pub(super) fn dated(draft: Draft, grant: &Grant) -> Draft {
    let draft = draft.detail("from", grant.from.to_string());
    let draft = match grant.until {
        Some(until) => draft.detail("until", until.to_string()),
        None => draft,
    };
    let draft = match grant.hours.as_ref().and_then(|hours| serde_json::to_string(hours).ok()) {
        Some(hours) => draft.detail("hours", hours),
        None => draft,
    };
    match &grant.accounts {
        Some(accounts) => {
            draft.detail("accounts", accounts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        }
        None => draft,
    }
}

/// Ends a grant.
///
/// # Errors
/// The refusal; `conflict` if it has ended already.
pub fn end(tx: &mut Tx<'_>, caller: &Caller, id: GrantId, reason: Option<&str>) -> Result<((), Receipt), Refusal> {
    const EVENT: &str = "grant.end";
    let grant =
        tx.state.grants.get(&id).cloned().ok_or_else(|| caller.nothing_there(&tx.state, EVENT, &id.to_string()))?;
    let now = tx.now;
    // A grant that is not in force does not make its vault exist for its holder.
    let own = grant.holder == Holder::Identity(caller.identity()) && grant.in_force(now);
    let draft = caller.draft(&tx.state, EVENT).detail("role", grant.role.as_str()).maybe_text("reason", reason);
    let mut draft = about_holder(&tx.state, draft, grant.holder);
    draft.target.grant = Some(id);
    let _terms = caller
        .may_in(&tx.state, grant.vault, Operation::GrantEnd { role: grant.role, own }, now)
        .map_err(|denial| caller.refused(&tx.state, denial, Some(grant.vault), draft.clone()))?;
    let receipt = end_now(tx, grant, now, draft)?;
    Ok(((), receipt))
}

/// Ends a grant that has been decided on.
pub(super) fn end_now(tx: &mut Tx<'_>, grant: Grant, now: Timestamp, draft: Draft) -> Result<Receipt, Refusal> {
    if grant.ended_at.is_some() {
        return Err(Failure::new(ErrorKind::Conflict, "This grant has ended already.").into());
    }
    let log = LogId::Vault(grant.vault);
    tx.put(Grant { ended_at: Some(now), ..grant })?;
    Ok(tx.append(log, draft)?)
}

/// Names whose grant a record is about.
pub(super) fn about_holder(state: &State, draft: Draft, holder: Holder) -> Draft {
    match holder {
        Holder::Identity(identity) => match state.identities.get(&identity) {
            Some(identity) => about_identity(draft, identity),
            None => draft,
        },
        Holder::Group(group) => {
            let draft = draft.detail("group", group.to_string());
            match state.groups.get(&group) {
                Some(group) => draft.text("group.name", group.names.slug.as_str()),
                None => draft,
            }
        }
    }
}
