//! `code.*`: the life of a code. Look, compute in the token, commit, and only then open.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::method::Receipt;
use strongroom_proto::method::code::{Release, Released, Taken};
use strongroom_proto::words::OtpKind;
use zeroize::Zeroizing;

use super::step_up::signed_if_given;
use super::{Agent, Answer, Connection, token_failed};
use crate::access::Operation as Access;
use crate::commands::release::{self as command, Approved, Computed, Wanted};
use crate::commands::step_up::Signed;
use crate::commands::{Caller, REASON_LEN_MAX, TICKET_LEN_MAX, check_text};
use crate::keystore::worker::Workers;
use crate::keystore::{ErrorClass, KeystoreError, Operation, OtpMac, SealedSeed, SeedContext, TokenId, VaultKey};
use crate::otp::{Window, render, window_at};
use crate::reconcile::ledger::Use;
use crate::session::flights::Flight;
use crate::state::State;
use crate::state::rows::Account;
use crate::store::Refused;
use crate::store::durable::{Durable, SealedCode};
use crate::store::sqlite::Store;

/// A release that was not answered this long after its batch began is withheld: with several agents on one store it bounds
/// how late a code can follow a revocation.
const RELEASE_LIMIT: Duration = Duration::from_secs(2);

/// Longest wait for a fresh window, in seconds: below the deadline of calls.
const WAIT_S_MAX: u32 = 25;

pub(super) async fn release(
    agent: &Agent,
    connection: &mut Connection,
    params: Release,
) -> Result<Answer<Released>, Failure> {
    let caller = connection.caller(agent)?;
    check_text("reason", params.reason.as_deref().unwrap_or_default(), REASON_LEN_MAX)?;
    check_text("ticket", params.ticket.as_deref().unwrap_or_default(), TICKET_LEN_MAX)?;
    let mut params = params;
    let is_blank = |text: &Option<String>| text.as_deref() == Some("");
    if params.step_up.is_some() && (is_blank(&params.reason) || is_blank(&params.ticket)) {
        let message = "Leave out an empty reason or ticket: what is signed has to stand in the record.";
        return Err(Failure::new(ErrorKind::InvalidParams, message));
    }
    let signature = signed_if_given(agent, connection, &caller, &mut params).await?;

    let view = agent.store.view();
    let source = Source::find(&view, &caller, &params, agent.now());
    let (result, flight) = match source {
        Some(source) if source.account.kind != OtpKind::Hotp => {
            time_based(agent, &caller, params, signature, source).await?
        }
        // Refused at the commit, and recorded there; or HOTP, whose counter is drawn by the commit.
        source => counter_based(agent, &caller, params, signature, source).await?,
    };
    Ok(Answer { result, held: Some(Box::new(flight)), end: false })
}

/// What the token needs. `None` if the caller may not have it: the commit says so once more and records it.
struct Source {
    account: Account,
    context: SeedContext,
    sealed: SealedSeed,
    key: VaultKey,
}

impl Source {
    fn find(view: &State, caller: &Caller, params: &Release, now: Timestamp) -> Option<Self> {
        let vault = view.vault(&params.account.vault)?;
        let account = view.account(vault.id, &params.account.account)?.clone();
        let _terms = caller.may_in(view, vault.id, Access::CodeRelease(account.id), now).ok()?;
        let sealed = view.seeds.get(&account.id)?.sealed.clone();
        let key = view.vault_keys.get(&(vault.id, sealed.key_number))?.key.clone();
        Some(Self { context: account.seed_context(view.org_id()), account, sealed, key })
    }

    /// The seal and its key as the store has them now; what was found at first, if the account has changed since.
    fn newest_seal(&self, view: &State) -> (VaultKey, SealedSeed) {
        let account = view.accounts.get(&self.account.id).filter(|account| account.revision == self.account.revision);
        let found = account.and_then(|account| {
            let sealed = &view.seeds.get(&account.id)?.sealed;
            Some((view.vault_keys.get(&(account.vault, sealed.key_number))?.key.clone(), sealed.clone()))
        });
        found.unwrap_or_else(|| (self.key.clone(), self.sealed.clone()))
    }

    /// Computes the code for a moving factor, sealed until its record is durable, and says in which token if there are two.
    async fn compute(&self, agent: &Agent, moving_factor: u64) -> Result<(SealedCode, Option<TokenId>, Use), Failure> {
        // Waiting for a window takes its time: the key may have been replaced since.
        let _in_use = agent.keys_in_use.read().await;
        let view = agent.store.view();
        let (key, sealed) = self.newest_seal(&view);
        let in_ledger = agent.ledger.begin(self.account.vault);
        let first = agent.workers.otp_mac(key, self.context.clone(), sealed, moving_factor);
        let (mac, token) = match (&agent.second, view.second_seal(self.account.id)) {
            (Some(second), Some((key, sealed))) => {
                let other = || {
                    // The first token may still have computed what nobody waited for.
                    agent.ledger.other(self.account.vault, 1);
                    second.workers.otp_mac(key, self.context.clone(), sealed, moving_factor)
                };
                let (mac, by) = two_tokens(agent, &second.workers, first, other).await?;
                (mac, Some(by))
            }
            (second, _) => (agent.token(first).await?, second.as_ref().map(|_| agent.workers.token().clone())),
        };
        let code = render(&mac, self.account.kind, self.account.digits).map_err(out_of_range)?;
        Ok((SealedCode::new(self.account.id, moving_factor, code), token, in_ledger))
    }
}

/// Asks the first token and, if that is away or silent, the second one. Both hold the same seed: that was shown before the
/// second one's seal was kept. A seal that was altered is no reason to ask elsewhere.
async fn two_tokens<F: Future<Output = Result<OtpMac, KeystoreError>>>(
    agent: &Agent,
    second: &Workers,
    first: impl Future<Output = Result<OtpMac, KeystoreError>>,
    other: impl FnOnce() -> F,
) -> Result<(OtpMac, TokenId), Failure> {
    let patience = if second.serves() { agent.workers.patience() } else { Duration::MAX };
    let error = match tokio::time::timeout(patience, first).await {
        Ok(Ok(mac)) => return Ok((mac, agent.workers.token().clone())),
        Ok(Err(error)) => error,
        Err(_) => KeystoreError::DeadlinePassed { operation: Operation::OtpMac },
    };
    if matches!(error.class(), ErrorClass::KeyMissing | ErrorClass::KeyMismatch) {
        tracing::error!(%error, "ALERT: the first token lacks a key: the second one serves");
    }
    let is_away = !matches!(error.class(), ErrorClass::Data | ErrorClass::Usage | ErrorClass::Busy);
    if !is_away || !second.serves() {
        return Err(token_failed(&error));
    }
    match other().await {
        Ok(mac) => Ok((mac, second.token().clone())),
        Err(other) => {
            tracing::error!(error = %other, "the second token failed too");
            Err(token_failed(&error))
        }
    }
}

/// The token that is likely to compute a code: a counter is recorded before it is computed.
fn likely_token(agent: &Agent) -> Option<TokenId> {
    let second = agent.second.as_ref()?;
    let is_second = !agent.workers.serves() && second.workers.serves();
    Some(if is_second { second.workers.token().clone() } else { agent.workers.token().clone() })
}

async fn time_based(
    agent: &Agent,
    caller: &Caller,
    params: Release,
    signature: Option<Signed>,
    source: Source,
) -> Result<(Released, Flight), Failure> {
    let window = wait_for_window(agent, &source.account, params.min_remaining_s).await?;
    let computed = Computed { account: source.account.id, revision: source.account.revision, step: window.counter };
    let address = params.account.clone();
    let mut approval = Approval::new(agent, caller, params, signature, Some(computed));
    let (sealed, token, in_ledger) = match source.compute(agent, window.counter).await {
        Ok(computed) => computed,
        Err(failure) => {
            record_failure(agent, caller, &source.account, failure.kind).await;
            return Err(failure);
        }
    };
    approval.wanted.token = token;
    let (durable, flight) =
        approved(agent, caller, Some((&source.account, Some(in_ledger))), approval.submit()).await?;
    let code = sealed.open(&durable).ok_or_else(mismatch)?;
    let now = agent.wall();
    let (valid_from, valid_until) = bounds(&window)?;
    let view = agent.store.view();
    let (release, receipt) = durable.into_parts();
    let released = Released {
        account: address,
        kind: source.account.kind,
        code: Zeroizing::new(code.expose().to_owned()),
        period_s: source.account.period_s,
        valid_from: Some(valid_from),
        valid_until: Some(valid_until),
        remaining_ms: Some(u64::try_from(valid_until.duration_since(now).as_millis()).unwrap_or(0)),
        counter: None,
        window_taken_by: taken_by(&view, &release),
        receipt,
    };
    Ok((released, flight))
}

async fn counter_based(
    agent: &Agent,
    caller: &Caller,
    params: Release,
    signature: Option<Signed>,
    source: Option<Source>,
) -> Result<(Released, Flight), Failure> {
    let address = params.account.clone();
    let account = source.as_ref().map(|source| (&source.account, None));
    let likely = likely_token(agent);
    let mut approval = Approval::new(agent, caller, params, signature, None);
    approval.wanted.token.clone_from(&likely);
    let submitted = approval.submit();
    let (durable, flight) = approved(agent, caller, account, submitted).await?;
    // Approved although the look before saw no right: a grant came in between. The counter is spent, which is harmless.
    let source = source.ok_or_else(|| Failure::new(ErrorKind::Conflict, "Your access changed just now; try again."))?;
    let counter = durable.value().moving_factor;
    let (sealed, token, in_ledger) = match source.compute(agent, counter).await {
        Ok(computed) => computed,
        Err(failure) => {
            withhold(agent, caller, &source.account, durable.receipt(), "code.failed", failure.kind).await;
            return Err(failure);
        }
    };
    in_ledger.recorded();
    if let Some(token) = token.filter(|token| Some(token) != likely.as_ref()) {
        moved(agent, caller, &source.account, durable.receipt(), token).await?;
    }
    let code = sealed.open(&durable).ok_or_else(mismatch)?;
    let (_, receipt) = durable.into_parts();
    let released = Released {
        account: address,
        kind: source.account.kind,
        code: Zeroizing::new(code.expose().to_owned()),
        period_s: 0,
        valid_from: None,
        valid_until: None,
        remaining_ms: None,
        counter: Some(counter),
        window_taken_by: Vec::new(),
        receipt,
    };
    Ok((released, flight))
}

/// A release that is ready to be committed.
struct Approval {
    store: Store,
    caller: Caller,
    wanted: Wanted,
    flight: Flight,
}

/// A release on its way to the disk, since when, and how it ends. Its flight lands once the peer has read the reply.
struct Submitted<F> {
    begun: Instant,
    durable: F,
    flight: Flight,
}

impl Approval {
    fn new(
        agent: &Agent,
        caller: &Caller,
        params: Release,
        signed: Option<Signed>,
        computed: Option<Computed>,
    ) -> Self {
        let wanted = Wanted {
            address: params.account,
            reason: params.reason.filter(|reason| !reason.is_empty()),
            ticket: params.ticket.filter(|ticket| !ticket.is_empty()),
            signed,
            min_remaining_s: params.min_remaining_s,
            computed,
            token: None,
        };
        let flight = agent.flights.depart(caller.identity());
        Self { store: agent.store.clone(), caller: caller.clone(), wanted, flight }
    }

    /// Queues the commit.
    fn submit(self) -> Submitted<impl Future<Output = Result<Durable<Approved>, Refused>> + Send> {
        let Self { store, caller, wanted, flight } = self;
        let begun = Instant::now();
        Submitted { begun, durable: store.submit(move |tx| command::release(tx, &caller, &wanted)), flight }
    }
}

/// Waits for the commit, which is what a code that was computed before is waiting for too. One that took too long is withheld, and that is recorded too.
async fn approved(
    agent: &Agent,
    caller: &Caller,
    account: Option<(&Account, Option<Use>)>,
    submitted: Submitted<impl Future<Output = Result<Durable<Approved>, Refused>> + Send>,
) -> Result<(Durable<Approved>, Flight), Failure> {
    let durable = submitted.durable.await?;
    let (account, computed) = account.unzip();
    if let Some(computed) = computed.flatten() {
        computed.recorded();
    }
    if durable.value().canary {
        tracing::warn!(identity = %caller.identity(), "ALERT: a code of a canary was taken; whoever took it is on hold");
    }
    if submitted.begun.elapsed() > RELEASE_LIMIT
        && let Some(account) = account
    {
        withhold(agent, caller, account, durable.receipt(), "code.withheld", ErrorKind::StoreUnavailable).await;
        return Err(Failure::new(
            ErrorKind::StoreUnavailable,
            "The store took too long, so the code was withheld; try again.",
        ));
    }
    Ok((durable, submitted.flight))
}

async fn withhold(
    agent: &Agent,
    caller: &Caller,
    account: &Account,
    approved: &Receipt,
    event: &'static str,
    kind: ErrorKind,
) {
    let (caller, vault, approved) = (caller.clone(), account.vault, approved.clone());
    let recorded =
        agent.store.submit(move |tx| command::withheld(tx, &caller, vault, &approved, event, kind.as_str())).await;
    if let Err(refused) = recorded {
        tracing::error!(?refused, "a withheld code was not recorded");
    }
}

/// Records that another token computed a counter's code than its record names: the first one went away in between.
async fn moved(
    agent: &Agent,
    caller: &Caller,
    account: &Account,
    approved: &Receipt,
    token: TokenId,
) -> Result<(), Failure> {
    let (caller, account, approved) = (caller.clone(), account.clone(), approved.clone());
    agent.store.submit(move |tx| command::moved(tx, &caller, &account, &approved, &token)).await?;
    Ok(())
}

async fn record_failure(agent: &Agent, caller: &Caller, account: &Account, kind: ErrorKind) {
    let (caller, account) = (caller.clone(), account.clone());
    let recorded = agent.store.submit(move |tx| command::failed(tx, &caller, &account, kind.as_str())).await;
    if let Err(refused) = recorded {
        tracing::error!(?refused, "a failed release was not recorded");
    }
}

/// The current window, or the next one if too little of this one is left.
async fn wait_for_window(agent: &Agent, account: &Account, min_remaining_s: Option<u32>) -> Result<Window, Failure> {
    let min = min_remaining_s.unwrap_or(0);
    let most = account.period_s.saturating_sub(1).min(WAIT_S_MAX);
    if min > most {
        return Err(Failure::new(
            ErrorKind::InvalidParams,
            format!("min_remaining_s is at most {most} for this account."),
        ));
    }
    let clock =
        || window_at(u64::try_from(agent.wall().as_second()).unwrap_or(0), account.period_s).map_err(out_of_range);
    let window = clock()?;
    let (_, until) = bounds(&window)?;
    let remaining = Duration::try_from(until.duration_since(agent.wall())).unwrap_or_default();
    if remaining >= Duration::from_secs(u64::from(min)) {
        return Ok(window);
    }
    tokio::time::sleep(remaining + Duration::from_millis(1)).await;
    clock()
}

fn bounds(window: &Window) -> Result<(Timestamp, Timestamp), Failure> {
    let at = |unix_s: u64| {
        i64::try_from(unix_s)
            .ok()
            .and_then(|second| Timestamp::from_second(second).ok())
            .ok_or_else(|| Failure::new(ErrorKind::Internal, "The agent's clock is out of range."))
    };
    Ok((at(window.from_unix_s)?, at(window.until_unix_s)?))
}

fn taken_by(view: &State, approved: &Approved) -> Vec<Taken> {
    let name = |id| view.identities.get(id).map(|identity| identity.names.slug.clone());
    approved.taken_by.iter().filter_map(|(who, at)| Some(Taken { identity: name(who)?, at: *at })).collect()
}

fn out_of_range<E>(_: E) -> Failure {
    Failure::new(ErrorKind::Internal, "The account's parameters are out of range.")
}

fn mismatch() -> Failure {
    Failure::new(ErrorKind::Internal, "The record does not belong to this code, so it was wiped.")
}
