//! The commit of a release: everything is checked once more under the lock of the log, then the record is written. Only
//! after that may the code be opened.

use jiff::Timestamp;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{AccountAddress, AccountId, IdentityId};
use strongroom_proto::method::Receipt;
use strongroom_proto::words::OtpKind;

use super::canary::trip;
use super::identity::hold;
use super::step_up::Signed;
use super::{Caller, about_account, find_account};
use crate::access::{Denial, Release};
use crate::keystore::TokenId;
use crate::state::rows::Account;
use crate::state::{LogId, State, recent};
use crate::store::durable::Releases;
use crate::store::sqlite::take_window;
use crate::store::tx::{Refusal, Tx};

/// What a release wants.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Of which account.
    pub address: AccountAddress,
    /// Why.
    pub reason: Option<String>,
    /// Ticket number.
    pub ticket: Option<String>,
    /// The caller's signature over the call, if there is one.
    pub signed: Option<Signed>,
    /// Part of what was signed.
    pub min_remaining_s: Option<u32>,
    /// The account and time step that the code was computed for; absent for HOTP, whose counter is drawn here.
    pub computed: Option<Computed>,
    /// The token that computed it, or for HOTP the one that is likely to; absent where there is one only.
    pub token: Option<TokenId>,
}

/// What a time-based code was computed for, before the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Computed {
    /// The account.
    pub account: AccountId,
    /// The revision of its seed.
    pub revision: u32,
    /// The time step.
    pub step: u64,
}

/// A release that was decided and recorded.
#[derive(Clone, Debug)]
pub struct Approved {
    /// The account.
    pub account: AccountId,
    /// The time step, or the HOTP counter that is used up now.
    pub moving_factor: u64,
    /// True if it is a decoy: whoever called is on hold now.
    pub canary: bool,
    /// Who took this window before.
    pub taken_by: Vec<(IdentityId, Timestamp)>,
}

impl Releases for Approved {
    fn account(&self) -> AccountId {
        self.account
    }

    fn moving_factor(&self) -> u64 {
        self.moving_factor
    }
}

const EVENT: &str = "code.release";

/// Decides and records a release.
///
/// # Errors
/// The refusal, with its denial record; `conflict` if the account was replaced since the code was computed.
pub fn release(tx: &mut Tx<'_>, caller: &Caller, wanted: &Wanted) -> Result<(Approved, Receipt), Refusal> {
    let (vault, account) = find_account(tx, caller, EVENT, &wanted.address)?;
    let log = LogId::Vault(vault.id);
    let now = tx.now;
    let draft = about_account(caller.draft(&tx.state, EVENT), &account);
    let asked = Release {
        identity: caller.identity(),
        uid: caller.from.uid,
        vault: vault.id,
        account: account.id,
        step: wanted.computed.map(|computed| computed.step),
        reason: wanted.reason.as_deref(),
        ticket: wanted.ticket.as_deref(),
        signed: wanted.signed.is_some(),
    };
    let terms = caller.may_release(&tx.state, &asked, now).map_err(|denial| {
        let refusal = caller.refused(&tx.state, denial, Some(vault.id), draft.clone());
        if denial == Denial::Harvest { tripped(&tx.state, caller, "harvest", refusal) } else { refusal }
    })?;
    // Rows that do not open are missing here: say why, rather than that the account has changed.
    tx.check_whole(log)?;

    let mut draft = draft.maybe_text("reason", wanted.reason.as_deref()).maybe_text("ticket", wanted.ticket.as_deref());
    if let Some(signed) = &wanted.signed {
        // With reason and ticket, all that the digest covers: whoever has the log computes it anew.
        draft = signed.note(draft).text("account.address", wanted.address.to_string());
        if let Some(min_remaining_s) = wanted.min_remaining_s {
            draft = draft.detail("min_remaining_s", min_remaining_s);
        }
    }
    draft.grant = terms.grant;
    // Codes follow the wall clock: one that stands behind the log is suspect, and the release says so.
    let behind_s = tx.clock_behind_s();
    if behind_s > 0 {
        draft = draft.detail("clock_behind_s", behind_s);
    }
    if let Some(token) = &wanted.token {
        draft = draft.detail("token", token.as_str());
    }
    let (moving_factor, taken_by) = match (account.kind, wanted.computed) {
        (OtpKind::Hotp, None) => (reserve_counter(tx, &account)?, Vec::new()),
        (OtpKind::Totp | OtpKind::Steam, Some(computed))
            if computed.account == account.id && computed.revision == account.revision =>
        {
            let taken = take_window(&mut tx.state, account.id, computed.step, caller.identity(), now);
            (computed.step, taken)
        }
        _ => return Err(Failure::new(ErrorKind::Conflict, "The account was changed just now; try again.").into()),
    };
    let name = if account.kind == OtpKind::Hotp { "counter" } else { "step" };
    let receipt = tx.append(log, draft.detail(name, moving_factor))?;
    tx.state.note_release(caller.identity(), recent::Release { at: now, vault: vault.id, account: account.id });
    let canary = trip(tx, caller, &wanted.address, &account)?;
    let taken_by = taken_by.into_iter().filter(|(who, _)| *who != caller.identity()).collect();
    Ok((Approved { account: account.id, moving_factor, taken_by, canary }, receipt))
}

/// Holds the caller in the same commit as the denial: between the two no other code is given.
fn tripped(state: &State, caller: &Caller, cause: &'static str, refusal: Refusal) -> Refusal {
    let (caller, draft) = (caller.clone(), caller.draft(state, "identity.hold"));
    Refusal { also: Some(Box::new(move |tx| hold(tx, &caller, cause, draft))), ..refusal }
}

/// Uses up a counter. It happens before the code is computed: a crash in between skips a counter and never repeats one.
fn reserve_counter(tx: &mut Tx<'_>, account: &Account) -> Result<u64, Refusal> {
    let counter = account.next_counter;
    let next = counter.checked_add(1).filter(|next| *next < 1 << 53).ok_or_else(|| {
        Failure::new(ErrorKind::Conflict, "The counter of this account is used up: give it a new seed.")
    })?;
    tx.put(Account { next_counter: next, ..account.clone() })?;
    Ok(counter)
}

/// Records that an approved code was not handed out after all.
///
/// # Errors
/// Only if it cannot be written down.
pub fn withheld(
    tx: &mut Tx<'_>,
    caller: &Caller,
    vault: strongroom_proto::ids::VaultId,
    approved: &Receipt,
    event: &'static str,
    kind: &str,
) -> Result<((), Receipt), Refusal> {
    let mut draft = caller.draft(&tx.state, event).detail("release", approved.seq).detail("kind", kind);
    draft.outcome = strongroom_proto::audit::record::RecordOutcome::Failed;
    let receipt = tx.append(LogId::Vault(vault), draft)?;
    Ok(((), receipt))
}

/// Records that another token computed a code than the record of its release names.
///
/// # Errors
/// Only if it cannot be written down.
pub fn moved(
    tx: &mut Tx<'_>,
    caller: &Caller,
    account: &Account,
    approved: &Receipt,
    token: &TokenId,
) -> Result<((), Receipt), Refusal> {
    let draft = about_account(caller.draft(&tx.state, "code.moved"), account)
        .detail("release", approved.seq)
        .detail("token", token.as_str());
    let receipt = tx.append(LogId::Vault(account.vault), draft)?;
    Ok(((), receipt))
}

/// Records that a release was allowed and the token did not compute it.
///
/// # Errors
/// Only if it cannot be written down.
pub fn failed(tx: &mut Tx<'_>, caller: &Caller, account: &Account, kind: &str) -> Result<((), Receipt), Refusal> {
    let mut draft = about_account(caller.draft(&tx.state, EVENT), account).detail("kind", kind);
    draft.outcome = strongroom_proto::audit::record::RecordOutcome::Failed;
    let receipt = tx.append(LogId::Vault(account.vault), draft)?;
    Ok(((), receipt))
}
