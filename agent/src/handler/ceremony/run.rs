//! `ceremony.run`: begins or goes on. A call works for a part of its deadline and says how far it came; an agent that is
//! killed anywhere in between leaves a store and a token from which the next call goes on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::AccountId;
use strongroom_proto::method::Receipt;
use strongroom_proto::method::ceremony::{Ran, Run};
use strongroom_proto::words::CeremonyKind;

use super::super::{Agent, Answer, Connection};
use super::{destroy, hand_over, rotate};
use crate::commands::Caller;
use crate::commands::ceremony as command;
use crate::keystore::batch::{BATCH_MAX, StoredSeed};
use crate::recovery::RecoveryIdentity;
use crate::session::flights::Flight;
use crate::state::State;
use crate::state::ceremony::Ceremony;
use crate::store::tx::{Refusal, Tx};

/// How long one call works: well below the deadline of calls.
const WORK: Duration = Duration::from_secs(15);

/// One call's work.
pub(super) struct Work<'a> {
    pub(super) agent: &'a Agent,
    pub(super) caller: Caller,
    pub(super) ceremony: Ceremony,
    /// The recovery key, for as long as this call takes.
    pub(super) recovery: Option<Arc<RecoveryIdentity>>,
    /// Where the newest step was recorded.
    pub(super) receipt: Receipt,
    pub(super) begun: Instant,
    /// Set before the commit after which a file is given out.
    pub(super) flight: Option<Flight>,
}

pub(in crate::handler) async fn run(
    agent: &Agent,
    connection: &mut Connection,
    params: Run,
) -> Result<Answer<Ran>, Failure> {
    let caller = connection.caller(agent)?;
    let recovery = match &params.recovery_key {
        None => None,
        Some(text) => Some(Arc::new(read_key(agent, text)?)),
    };
    // Wiped as soon as it was read.
    drop(params.recovery_key);
    let _alone = agent
        .ceremony
        .try_lock()
        .map_err(|_| Failure::new(ErrorKind::Conflict, "Another ceremony is at work just now; try again."))?;
    check_before(agent, &caller, params.ceremony, recovery.as_ref()).await?;
    let by = caller.clone();
    let (ceremony, receipt) =
        agent.store.submit(move |tx| command::begin(tx, &by, params.ceremony)).await?.into_parts();
    let mut work = Work { agent, caller, ceremony, recovery, receipt, begun: Instant::now(), flight: None };
    let ran = match work.ceremony.kind {
        CeremonyKind::RotateKey => rotate::rotate(&mut work).await,
        CeremonyKind::Destroy => destroy::destroy(&mut work).await,
        CeremonyKind::HandOver => hand_over::hand_over(&mut work).await,
    };
    match ran {
        Ok(ran) => Ok(Answer { result: ran, held: work.flight.take().map(|flight| Box::new(flight) as _), end: false }),
        Err(failure) => {
            work.record(&failure).await;
            Err(failure)
        }
    }
}

/// Reads the recovery key; it must be one of the organisation's.
fn read_key(agent: &Agent, text: &str) -> Result<RecoveryIdentity, Failure> {
    let identity = RecoveryIdentity::parse(text)
        .map_err(|error| Failure::new(ErrorKind::InvalidParams, format!("recovery_key: {error}.")))?;
    let public = identity.recipient().to_string();
    if agent.store.view().org.recovery_recipients.contains(&public) {
        Ok(identity)
    } else {
        let message = format!("recovery_key is the private half of {public}, which is no recovery recipient here.");
        Err(Failure::new(ErrorKind::InvalidParams, message))
    }
}

/// Before anything is changed: does the recovery key open every copy that will be needed, and is it the sealed seed?
async fn check_before(
    agent: &Agent,
    caller: &Caller,
    id: strongroom_proto::ids::CeremonyId,
    recovery: Option<&Arc<RecoveryIdentity>>,
) -> Result<(), Failure> {
    let view = agent.store.view();
    // Whatever is wrong with the call itself is refused, and recorded, when it begins.
    let Some(ceremony) = view.ceremonies.get(&id).filter(|ceremony| may_begin(agent, caller, &view, ceremony)) else {
        return Ok(());
    };
    let needed: Vec<StoredSeed> = match ceremony.kind {
        CeremonyKind::Destroy => Vec::new(),
        CeremonyKind::HandOver => stored(&view, view.accounts_of(ceremony.vault).map(|account| account.id)),
        CeremonyKind::RotateKey => stored(&view, command::rotate::left(&view, ceremony).map(|row| row.account))
            .into_iter()
            // A second token gets every seed from its copy, whatever the scheme.
            .filter(|seed| view.joined().is_some() || seed.key.scheme == strongroom_proto::words::Scheme::Resident)
            .collect(),
    };
    if needed.is_empty() && ceremony.kind != CeremonyKind::HandOver {
        return Ok(());
    }
    let Some(recovery) = recovery else {
        let message = "This ceremony needs the recovery key: seeds come from their recovery copies.";
        return Err(Failure::new(ErrorKind::InvalidParams, message));
    };
    let mut lost: Vec<AccountId> = Vec::new();
    for batch in needed.chunks(BATCH_MAX) {
        lost.extend(agent.token(agent.workers.check_recoverable(batch.to_vec(), recovery)).await?);
    }
    if lost.is_empty() {
        return Ok(());
    }
    let name = |id: &AccountId| view.accounts.get(id).map(|account| account.names.slug.to_string());
    let names: Vec<String> = lost.iter().filter_map(name).take(20).collect();
    let message = format!(
        "The recovery copies of {} of {} accounts do not open with this key or hold another seed: {}. Nothing was changed.",
        lost.len(),
        needed.len(),
        names.join(", ")
    );
    Err(Failure::new(ErrorKind::Conflict, message))
}

/// Strangers and the unconfirmed do not make the token work.
fn may_begin(agent: &Agent, caller: &Caller, view: &State, ceremony: &Ceremony) -> bool {
    use strongroom_proto::words::CeremonyStatus as S;
    let now = agent.now();
    let party = ceremony.has_party(caller.identity());
    let operation = crate::access::Operation::CeremonyRun { party, gives: ceremony.gives_seeds() };
    caller.may_in(view, ceremony.vault, operation, now).is_ok()
        && matches!(ceremony.status(now), S::Confirmed | S::Running)
        && command::check_copies(view, ceremony.kind, ceremony.vault).is_ok()
}

/// Seeds with all that opens them. One that is not whole is left out here and refused where it is used.
pub(super) fn stored(view: &State, accounts: impl Iterator<Item = AccountId>) -> Vec<StoredSeed> {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    let one = |id: AccountId| {
        let account = view.accounts.get(&id)?;
        let sealed = view.seeds.get(&id)?.sealed.clone();
        let key = view.vault_keys.get(&(account.vault, sealed.key_number))?.key.clone();
        let copy = view.recovery.get(&id).filter(|copy| copy.revision == account.revision);
        let copy = copy.and_then(|copy| BASE64_STANDARD.decode(&copy.copy).ok()).unwrap_or_default();
        Some(StoredSeed { context: account.seed_context(view.org_id()), key, sealed, copy })
    };
    accounts.filter_map(one).collect()
}

impl Work<'_> {
    /// True once this call has worked long enough.
    pub(super) fn is_over(&self) -> bool {
        self.begun.elapsed() > WORK
    }

    /// Commits a step and remembers where it was recorded.
    pub(super) async fn commit<T: Send + 'static>(
        &mut self,
        mut step: impl FnMut(&mut Tx<'_>, &Caller, &Ceremony) -> Result<(T, Receipt), Refusal> + Send + 'static,
    ) -> Result<T, Failure> {
        let (caller, ceremony) = (self.caller.clone(), self.ceremony.clone());
        let (value, receipt) = self.agent.store.submit(move |tx| step(tx, &caller, &ceremony)).await?.into_parts();
        self.receipt = receipt;
        Ok(value)
    }

    async fn record(&self, failure: &Failure) {
        // Refusals at a commit have their record already; what the token refused has none.
        if !matches!(failure.kind, ErrorKind::HsmUnavailable | ErrorKind::Internal | ErrorKind::RateLimited) {
            return;
        }
        let (caller, ceremony, failure) = (self.caller.clone(), self.ceremony.clone(), failure.clone());
        let recorded = self.agent.store.submit(move |tx| command::failed(tx, &caller, &ceremony, &failure)).await;
        if let Err(refused) = recorded {
            tracing::error!(?refused, "a failed step of a ceremony was not recorded");
        }
    }
}
