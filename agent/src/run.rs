//! The assembly: the only place that names the concrete keystore and store, and starts the parts of a running agent.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use strongroom_proto::agent_key::AgentKey;
use strongroom_proto::ids::{Instance, OrgId};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::audit::anchor::Anchors;
use crate::audit::checkpointer::Checkpointer;
use crate::audit::{key_change, watch};
use crate::backup::schedule;
use crate::commands::organisation;
use crate::config::Config;
use crate::handler::Agent;
use crate::identity::Throttle;
use crate::keystore::pkcs11::TokenConfig;
use crate::keystore::worker::{Launcher, PinForWorkers, TokenEvent, Workers};
use crate::keystore::{KeystoreError, Operation, StoreKeys, TokenId};
use crate::reconcile;
use crate::recovery::{Recipient, sign_store_keys_copy, store_keys_signer};
use crate::second::{self, SecondWorkers};
use crate::server::{BoundListener, serve};
use crate::session::flights::Flights;
use crate::session::registry::Registry;
use crate::state::LogId;
use crate::store::sealer::Sealer;
use crate::store::sqlite::{
    Clock, Meta, Snapshot, Store, StoreFile, StoreKeysCopy, keep_indexed, keep_store_keys_copy, put_restore_note,
};
use crate::streams::Streams;
use crate::voice::Voices;
use crate::witness;

/// How often it is looked whether the agent still speaks with the right key.
const TEND_EVERY: Duration = Duration::from_secs(5);

/// How often, and how far apart, the first token is looked for before a start makes do with the second.
const FIRST_TRIES: u32 = 10;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// A store that opens with a token of its own.
pub struct Opened {
    /// The first token's workers.
    pub workers: Workers,
    /// The second token's, if it has joined and the configuration names it.
    pub second: Option<Workers>,
    /// The store.
    pub store: Store,
    /// What of it is known outside it.
    pub anchors: Anchors,
    /// What happens to the workers of either.
    pub events: [mpsc::UnboundedReceiver<TokenEvent>; 2],
    /// What a restore left to be recorded.
    pub restored: Option<String>,
}

/// A store whose rows are open, before anything is asked of its second token.
pub(crate) struct Unlocked {
    /// The first token's workers, or why there are none: then the second one unlocked the rows.
    pub(crate) first: Result<Workers, KeystoreError>,
    /// The second token's, if they were needed.
    pub(crate) second: Option<Workers>,
    pub(crate) meta: Meta,
    pub(crate) store: Store,
    anchors: Anchors,
    told: [mpsc::UnboundedSender<TokenEvent>; 2],
    events: [mpsc::UnboundedReceiver<TokenEvent>; 2],
    restored: Option<String>,
    launcher: Launcher,
}

/// Unlocks the rows with the first token or, if that is away and a second one has joined, with the second.
///
/// # Errors
/// Whatever keeps the store from opening, with its remedy.
pub(crate) async fn unlock(
    config: &Config,
    pin: PinForWorkers,
    instance: Instance,
    clock: Clock,
) -> anyhow::Result<Unlocked> {
    crate::os::check_private_dir(&config.data_dir).map_err(|flaw| anyhow::anyhow!(flaw))?;
    // The store first: its lock tells at once that another agent is running, before a PIN is presented.
    let file = StoreFile::open(&config.store_path())?;
    let meta = file.meta()?;
    let ((told, events), (second_told, second_events)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    let launcher = Launcher::for_token(pin, config.token.config());
    let spare = meta.second.as_ref().zip(config.second());
    let mut first = start_as(&launcher, config.token.config(), &meta.token, told.clone()).await;
    // SoftHSM's token file is gone for a moment while another process logs in. That is no outage, and no PIN was presented.
    for _ in 0..FIRST_TRIES {
        if spare.is_none() || !matches!(first, Err(KeystoreError::NoToken { .. } | KeystoreError::System { .. })) {
            break;
        }
        tokio::time::sleep(FIRST_PAUSE).await;
        first = start_as(&launcher, config.token.config(), &meta.token, told.clone()).await;
    }
    let (keys, second) = match (&first, spare) {
        (Ok(workers), _) => (open_keys(workers, meta.org, &meta.sealed_store_keys).await?, None),
        (Err(KeystoreError::OtherToken { expected, found, .. }), None) => {
            bail!("this is the token {found}, but the store was made with {expected}")
        }
        (Err(error), None) => return Err(error.clone()).context("the token cannot be opened"),
        (Err(error), Some((second, (token, pin)))) => {
            tracing::error!(%error, "the first token cannot be opened: trying the second one");
            let launcher = Launcher::for_token(PinForWorkers::Source(pin.clone()), token);
            let workers = start_as(&launcher, token, &second.token, second_told.clone()).await;
            let workers = workers.context("neither of the two tokens can be opened; of the second one")?;
            (open_keys(&workers, meta.org, &second.sealed_store_keys).await?, Some(workers))
        }
    };
    let anchors = Anchors::read(&config.anchor_path())?;
    let restored = file.restore_note()?;
    let (known, org) = (anchors.clone(), meta.org);
    let store = spawn_blocking(move || Store::start(file, Sealer::new(org, keys), instance, clock, &known)).await??;
    let (told, events) = ([told, second_told], [events, second_events]);
    Ok(Unlocked { first, second, meta, store, anchors, told, events, restored, launcher })
}

/// Starts the workers of a token, which must be the one that the store knows.
async fn start_as(
    launcher: &Launcher,
    token: &TokenConfig,
    expected: &str,
    told: mpsc::UnboundedSender<TokenEvent>,
) -> Result<Workers, KeystoreError> {
    let workers = Workers::start(launcher.clone(), token, told).await?;
    if workers.token().as_str() == expected {
        return Ok(workers);
    }
    let (expected, found) = (TokenId::new(expected), workers.token().clone());
    workers.close().await;
    Err(KeystoreError::OtherToken { operation: Operation::Open, expected, found })
}

async fn open_keys(workers: &Workers, org: OrgId, sealed: &[u8]) -> anyhow::Result<StoreKeys> {
    workers.open_store_keys(org, sealed.to_vec()).await.context("the store keys cannot be opened with this token")
}

/// Opens store and tokens, without serving. With a second token that has joined, either of the two is enough.
///
/// # Errors
/// Whatever keeps the agent from starting, with its remedy.
pub async fn open(config: &Config, pin: PinForWorkers, instance: Instance, clock: Clock) -> anyhow::Result<Opened> {
    let unlocked = unlock(config, pin, instance, clock).await?;
    let Unlocked { first, mut second, meta, store, anchors, told, events, restored, launcher } = unlocked;
    let [told, second_told] = told;
    let view = store.view();
    second::check_settled(config, &view, &meta, first.as_ref().ok())?;
    match (view.joined(), config.second()) {
        (None, Some(_)) => {
            tracing::warn!("[second_token] has not joined this store and serves nobody: strongroom-agent token-join");
        }
        (Some(joined), None) => {
            tracing::warn!(token = %joined.token, "the second token is not in the configuration: it is served by nobody");
        }
        (Some(joined), Some((token, pin))) if second.is_none() => {
            let launcher = Launcher::for_token(PinForWorkers::Source(pin.clone()), token);
            let started = start_as(&launcher, token, joined.token.as_str(), second_told.clone()).await;
            second = Some(started.or_else(|error| {
                tracing::error!(%error, "the second token cannot be opened: starting without it");
                let point = point_of(&joined.agent_key)?;
                anyhow::Ok(Workers::absent(launcher, token, joined.token.clone(), point, &error, second_told))
            })?);
        }
        _ => {}
    }
    if let (Some(joined), Some(workers)) = (view.joined(), &second)
        && workers.identity_key() != point_of(&joined.agent_key)?
    {
        bail!("the agent identity key in the second token is not the one that it joined with");
    }
    let workers = first.or_else(|error| {
        let point = point_of(&view.org.agent_key)?;
        let token = TokenId::new(meta.token.as_str());
        anyhow::Ok(Workers::absent(launcher, config.token.config(), token, point, &error, told))
    })?;
    let signer = if workers.serves() { &workers } else { second.as_ref().unwrap_or(&workers) };
    if let Err(error) = copy_store_keys(config, &store, signer).await {
        tracing::error!(%error, "the store keys have no recovery copy for today's recipients");
    }
    Ok(Opened { workers, second, store, anchors, events, restored })
}

fn point_of(agent_key: &str) -> anyhow::Result<Vec<u8>> {
    Ok(AgentKey::from_openssh(agent_key).context("an agent key in the store is malformed")?.point().to_vec())
}

/// Makes and signs the recovery copy of the store keys where the recipients have none that this agent's key signed: for
/// stores from before there were copies or signatures, after the recipients changed, and where somebody put another copy.
async fn copy_store_keys(config: &Config, store: &Store, workers: &Workers) -> anyhow::Result<()> {
    let view = store.view();
    let recipients = &view.org.recovery_recipients;
    let key = AgentKey::from_point(workers.identity_key()).context("the agent identity key is malformed")?;
    let own = [Some(&view.org.agent_key), view.joined().map(|second| &second.agent_key)];
    let is_own = own.into_iter().flatten().any(|own| *own == key.openssh());
    if recipients.is_empty() || view.sealed.contains_key(&LogId::Org) || !is_own {
        return Ok(());
    }
    let org = view.org.id;
    let kept = Snapshot::open(&config.store_path())?.store_keys_copy()?;
    let is_good = |kept: &StoreKeysCopy| {
        kept.recipients == *recipients
            && store_keys_signer(org, recipients, &kept.copy, &kept.signature).is_some_and(|signer| signer == key)
    };
    if kept.as_ref().is_some_and(is_good) {
        return Ok(());
    }
    let parsed = recipients.iter().map(|text| Recipient::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let copy = store.sealer().recovery_copy(&parsed)?;
    let signature = {
        let (signer, runtime, copy, recipients) =
            (workers.clone(), Handle::current(), copy.clone(), recipients.clone());
        let sign = move |digest: &[u8; 32]| runtime.block_on(signer.sign(*digest));
        spawn_blocking(move || sign_store_keys_copy(org, &recipients, &copy, &key, sign)).await??
    };
    keep_store_keys_copy(&config.store_path(), &StoreKeysCopy { recipients: recipients.clone(), copy, signature })?;
    tracing::info!(recipients = recipients.len(), "a recovery copy of the store keys was made");
    Ok(())
}

/// Serves until told to stop.
///
/// # Errors
/// Whatever keeps the agent from starting or serving, with its remedy.
pub async fn run(config: &Config, pin: PinForWorkers, stop: CancellationToken) -> anyhow::Result<()> {
    let instance = Instance::random();
    let clock: Clock = Arc::new(Timestamp::now);
    if config.lacks_token_storage() {
        tracing::warn!("[token] storage is not set: a crash at the wrong moment can cost SoftHSM its token");
    }
    let authorities = config.login.certificates.authorities().context("[login.certificates]")?;
    let vendors = config.login.attestation.vendors().context("[login.attestation]")?;
    let bound = BoundListener::bind(&config.socket).await?;
    let Opened { workers, second, store, anchors, events, restored } =
        open(config, pin, instance, Arc::clone(&clock)).await?;
    let key = AgentKey::from_point(workers.identity_key()).context("the agent identity key is malformed")?;
    if store.view().org.agent_key != key.openssh() {
        bail!("the agent identity key in the token is not the one that this organisation was founded with");
    }
    let tokens: Vec<Workers> = std::iter::once(&workers).chain(&second).cloned().collect();
    let voices = Arc::new(Voices::begin(tokens, instance, clock()).await?);
    let checkpointer = Arc::new(Checkpointer::new(store.clone(), Arc::clone(&voices), anchors));
    let agent = Arc::new(Agent {
        store: store.clone(),
        workers: workers.clone(),
        second: second.clone().map(SecondWorkers::new),
        checkpointer: Arc::clone(&checkpointer),
        voices: Arc::clone(&voices),
        authorities,
        vendors,
        throttle: Mutex::new(Throttle::default()),
        held_back: Mutex::new(Vec::new()),
        sessions: Registry::default(),
        flights: Flights::default(),
        instance,
        started_at: clock(),
        clock,
        default_scheme: config.default_scheme,
        overdue: Mutex::new(Vec::new()),
        streams: Arc::new(Streams::begin(&store, &config.streams)?),
        ledger: Arc::default(),
        retention: config.retention.clone(),
        escalation: config.alerts.escalation(),
        ceremony: tokio::sync::Mutex::default(),
        keys_in_use: tokio::sync::RwLock::default(),
    });

    let token = workers.token().as_str().to_owned();
    let token_id = token.clone();
    let two = second
        .as_ref()
        .map(|second| (second.token().as_str().to_owned(), voices.current().workers.token().as_str().to_owned()));
    let started = store.submit(move |tx| {
        let two = two.as_ref().map(|(second, voice)| (second.as_str(), voice.as_str()));
        organisation::started(tx, env!("CARGO_PKG_VERSION"), &token, two)
    });
    let started = started.await;
    if let Err(refused) = started {
        // A sealed org log: serve status and refusals, so that people are told why.
        tracing::error!(?refused, "the start could not be recorded: nothing will be released");
    }
    if let Some(note) = restored {
        record_restore(config, &store, note).await;
    }
    let [events, second_events] = events;
    let name = |workers: &Workers| workers.token().as_str().to_owned();
    let events = [(events, second.as_ref().map(|_| name(&workers))), (second_events, second.as_ref().map(name))];
    let (background, reconciled) = (CancellationToken::new(), CancellationToken::new());
    let signing = tokio::spawn(Arc::clone(&checkpointer).run(config.cadence(), background.clone()));
    let tending = tokio::spawn(tend_voice(Arc::clone(&agent), config.clone(), background.clone()));
    let recording = events.map(|(events, token)| tokio::spawn(record_events(store.clone(), events, token)));
    let catching_up = tokio::spawn(second::catch_up::run(Arc::clone(&agent), background.clone()));
    let keeping = tokio::spawn(schedule::run(Arc::clone(&agent), config.clone(), token_id, background.clone()));
    let upkeep = tokio::spawn(crate::upkeep::run(Arc::clone(&agent), background.clone()));
    let pruning = tokio::spawn(crate::pruning::run(Arc::clone(&agent), background.clone()));
    let comparing = tokio::spawn(watch::run(store.clone(), background.clone()));
    let reconciling = tokio::spawn(reconcile::run(Arc::clone(&agent), config.reconcile_every(), reconciled.clone()));
    let indexing = tokio::spawn(keep_indexed(store.clone(), background.clone()));
    let streaming = Arc::clone(&agent.streams).run(store.clone(), Arc::clone(&agent.clock), background.clone());
    let streaming = tokio::spawn(streaming);
    let witnessing = witness::run(store.clone(), checkpointer, config.witnesses.clone(), background.clone());
    let witnessing = tokio::spawn(witnessing);
    tracing::info!(socket = %config.socket.display(), %instance, "ready");
    crate::os::notify_ready();

    let served = serve(bound, Arc::clone(&agent), stop, config.server_limits()).await;

    // Nothing is released any more: the last comparison is of the whole run.
    reconciled.cancel();
    let _ = reconciling.await;
    if let Err(refused) = store.submit(organisation::stopped).await {
        tracing::error!(?refused, "the stop could not be recorded");
    }
    background.cancel();
    // A witness may be silent for as long as it likes; what it would have signed it is shown at the next start.
    witnessing.abort();
    let _ = tokio::join!(signing, tending, keeping, upkeep, pruning, catching_up, streaming, indexing, comparing);
    workers.close().await;
    if let Some(second) = &second {
        second.close().await;
    }
    recording.iter().for_each(tokio::task::JoinHandle::abort);
    store.close().await;
    served.context("the listener failed")
}

/// Records that this store was put back from a backup, so that the log shows where the gap may be.
async fn record_restore(config: &Config, store: &Store, note: String) {
    match store.submit(move |tx| organisation::restored(tx, &note)).await {
        Ok(_) => {
            if let Err(error) = put_restore_note(&config.store_path(), None) {
                tracing::error!(%error, "the restore will be recorded once more");
            }
        }
        Err(refused) => tracing::error!(?refused, "the restore could not be recorded"),
    }
}

/// Keeps the agent's word to its clients valid. When it has to speak with another token's key, every session ends: a client
/// that heard one key at its login is not shown another one's signatures.
async fn tend_voice(agent: Arc<Agent>, config: Config, stop: CancellationToken) {
    vouch(&agent).await;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(TEND_EVERY) => {}
        }
        match agent.voices.tend((agent.clock)()).await {
            Ok(false) => {}
            Ok(true) => {
                let voice = agent.voices.current();
                let token = voice.workers.token().as_str().to_owned();
                let key = voice.key.fingerprint();
                let ended = agent.sessions.end_where(|_| true).len();
                tracing::warn!(%token, sessions = ended, "the agent speaks with the other token's key from now on");
                let recorded = agent.store.submit(move |tx| organisation::voice_changed(tx, &token, &key, ended)).await;
                if let Err(refused) = recorded {
                    tracing::error!(?refused, "the change of the agent's key could not be recorded");
                }
                if let Err(error) = copy_store_keys(&config, &agent.store, &voice.workers).await {
                    tracing::error!(%error, "the recovery copy of the store keys was not signed anew");
                }
            }
            Err(error) => tracing::warn!(error = %format!("{error:#}"), "the endorsement was not renewed"),
        }
        vouch(&agent).await;
    }
}

/// Has one token's key vouch for the other one's, once both are here.
async fn vouch(agent: &Agent) {
    match key_change::vouch(agent, (agent.clock)()).await {
        Ok(true) => tracing::info!("the first token's key has vouched for the second one's"),
        Ok(false) => {}
        Err(error) => tracing::warn!(error = %format!("{error:#}"), "no key has vouched for the other one"),
    }
}

/// Puts what happens to a token on record. While the store refuses, the agent's own log has it.
async fn record_events(store: Store, mut events: mpsc::UnboundedReceiver<TokenEvent>, token: Option<String>) {
    while let Some(event) = events.recv().await {
        tracing::warn!(?event, ?token, "token");
        let token = token.clone();
        let recorded = store.submit(move |tx| organisation::token_event(tx, &event, token.as_deref())).await;
        if let Err(refused) = recorded {
            tracing::error!(?refused, "what happened to the token could not be recorded");
        }
    }
}
