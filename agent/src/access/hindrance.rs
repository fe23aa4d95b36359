//! What keeps a release from somebody who has the right to it: the vault's rules on the single release, and the limits of a
//! script. Pure; gathered under the lock of the log, so that two releases cannot both be the last one allowed.

use jiff::{SignedDuration, Timestamp};
use strongroom_proto::ids::{AccountId, IdentityId, VaultId};
use strongroom_proto::policy::{Harvest, ServiceLimits, TicketPattern};

use super::{Denial, hours};
use crate::state::State;
use crate::state::recent::RECENT;

/// One release as it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Release<'a> {
    /// Who asks.
    pub identity: IdentityId,
    /// The user of the system at the other end of the socket, if it is known.
    pub uid: Option<u32>,
    /// In which vault.
    pub vault: VaultId,
    /// Of which account.
    pub account: AccountId,
    /// The time step that the code was computed for; absent for HOTP.
    pub step: Option<u64>,
    /// Why.
    pub reason: Option<&'a str>,
    /// Ticket number.
    pub ticket: Option<&'a str>,
    /// Whether the call was signed.
    pub signed: bool,
}

/// The first thing that stands in the way of a release, if anything does.
#[must_use]
pub fn hindrance(state: &State, release: &Release<'_>, now: Timestamp) -> Option<Denial> {
    let rules = &state.policies.get(&release.vault)?.rules;
    let service = state.identities.get(&release.identity).and_then(|identity| identity.service.as_ref());
    if let Some(denial) = service.and_then(|service| service_hindrance(service, release, now)) {
        return Some(denial);
    }
    if rules.signed_release && !release.signed {
        return Some(Denial::NeedsSignature);
    }
    if rules.reason_required && release.reason.is_none_or(|reason| reason.trim().is_empty()) {
        return Some(Denial::NeedsReason);
    }
    if !ticket_fits(rules.ticket_required, rules.ticket_pattern.as_ref(), release.ticket) {
        return Some(Denial::NeedsTicket);
    }
    if is_checked_out(state, release, now) {
        return Some(Denial::CheckedOut);
    }
    if rules.exclusive_window && is_taken(state, release) {
        return Some(Denial::WindowTaken);
    }
    let limits = [
        rules.releases_per_hour.map(|most| (Some(release.vault), most)),
        service.and_then(|service| service.releases_per_hour).map(|most| (None, most)),
    ];
    if let Some(wait_s) = limits.into_iter().flatten().find_map(|(vault, most)| wait(state, release, vault, most, now))
    {
        return Some(Denial::Limited { wait_s });
    }
    let tripwires = [
        rules.harvest.as_ref().map(|harvest| (Some(release.vault), harvest)),
        state.org_policy.harvest.as_ref().map(|harvest| (None, harvest)),
    ];
    let trips = |(vault, harvest)| is_harvest(state, release, vault, harvest, now);
    tripwires.into_iter().flatten().any(trips).then_some(Denial::Harvest)
}

/// Whether a ticket is what the rules ask for. One that is given has to fit, also where none is required.
#[must_use]
pub fn ticket_fits(required: bool, pattern: Option<&TicketPattern>, ticket: Option<&str>) -> bool {
    match ticket.filter(|ticket| !ticket.is_empty()) {
        None => !required,
        Some(ticket) => pattern.is_none_or(|pattern| pattern.fits(ticket)),
    }
}

fn service_hindrance(service: &ServiceLimits, release: &Release<'_>, now: Timestamp) -> Option<Denial> {
    if service.uid.is_some_and(|bound| release.uid != Some(bound)) {
        return Some(Denial::OtherUid);
    }
    service.hours.as_ref().is_some_and(|within| !hours::includes(within, now)).then_some(Denial::Closed)
}

/// True if somebody else holds the account for themselves.
fn is_checked_out(state: &State, release: &Release<'_>, now: Timestamp) -> bool {
    exclusive_holders(state, release.vault, Some(&[release.account]), now).any(|holder| holder != release.identity)
}

/// Who holds any of these accounts, or of the whole vault, for themselves just now.
pub fn exclusive_holders<'a>(
    state: &'a State,
    vault: VaultId,
    accounts: Option<&'a [AccountId]>,
    now: Timestamp,
) -> impl Iterator<Item = IdentityId> + 'a {
    let first = (vault, strongroom_proto::ids::GrantId::from_uuid(uuid::Uuid::nil()));
    state
        .exclusive_grants
        .range(first..)
        .take_while(move |((of, _), ())| *of == vault)
        .filter_map(|((_, grant), ())| state.grants.get(grant))
        .filter(move |grant| grant.in_force(now))
        .filter(move |grant| accounts.is_none_or(|accounts| accounts.iter().any(|account| grant.covers(*account))))
        .flat_map(|grant| state.served_by(grant))
}

/// True if somebody else has taken the code of this window.
fn is_taken(state: &State, release: &Release<'_>) -> bool {
    let Some((window, step)) = state.windows.get(&release.account).zip(release.step) else { return false };
    window.step == step && window.taken.iter().any(|(who, _)| *who != release.identity)
}

/// How long until one more release is within the limit, in seconds; absent if it is now.
fn wait(state: &State, release: &Release<'_>, vault: Option<VaultId>, most: u32, now: Timestamp) -> Option<u64> {
    let begin = now.checked_sub(RECENT).unwrap_or(Timestamp::MIN);
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let recent = state.recent.get(&release.identity)?;
    let counted = recent.since(begin).filter(|past| vault.is_none_or(|vault| vault == past.vault));
    // The one that has to grow old before there is room again.
    let oldest = counted.take(most).enumerate().last().filter(|(place, _)| place + 1 == most)?.1;
    let free_at = oldest.at.checked_add(RECENT).unwrap_or(Timestamp::MAX);
    Some(u64::try_from(free_at.duration_since(now).as_secs()).unwrap_or(0) + 1)
}

/// True if this release would make one account too many.
fn is_harvest(state: &State, release: &Release<'_>, vault: Option<VaultId>, harvest: &Harvest, now: Timestamp) -> bool {
    let span = SignedDuration::from_mins(harvest.within_min.into());
    let begin = now.checked_sub(span).unwrap_or(Timestamp::MIN);
    let Some(recent) = state.recent.get(&release.identity) else { return false };
    let mut accounts: std::collections::BTreeSet<AccountId> = recent
        .since(begin)
        .filter(|past| vault.is_none_or(|vault| vault == past.vault))
        .map(|past| past.account)
        .collect();
    accounts.insert(release.account);
    accounts.len() > usize::try_from(harvest.accounts).unwrap_or(usize::MAX)
}
