//! The assembly: the only place that names the concrete keystore and store, and starts the parts of a running agent.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use strongroom_proto::agent_key::AgentKey;
use strongroom_proto::ids::Instance;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::audit::anchor::Anchors;
use crate::audit::checkpointer::Checkpointer;
use crate::backup::schedule;
use crate::commands::organisation;
use crate::config::Config;
use crate::handler::Agent;
use crate::identity::{AgentProof, Throttle};
use crate::keystore::worker::{Launcher, PinForWorkers, TokenEvent, Workers};
use crate::recovery::{Recipient, sign_store_keys_copy, store_keys_signer};
use crate::server::{BoundListener, serve};
use crate::session::flights::Flights;
use crate::session::registry::Registry;
use crate::state::LogId;
use crate::store::sealer::Sealer;
use crate::store::sqlite::{Clock, Snapshot, Store, StoreFile, StoreKeysCopy, keep_store_keys_copy, put_restore_note};

/// How often it is checked whether the session key's endorsement is due.
const RENEWAL_EVERY: Duration = Duration::from_secs(60);

/// A store that opens with the token that it was made with.
pub struct Opened {
    /// The token's workers.
    pub workers: Workers,
    /// The store.
    pub store: Store,
    /// What of it is known outside it.
    pub anchors: Anchors,
    /// What happens to the workers.
    pub events: mpsc::UnboundedReceiver<TokenEvent>,
    /// What a restore left to be recorded.
    pub restored: Option<String>,
}

/// Opens token and store, without serving.
///
/// # Errors
/// Whatever keeps the agent from starting, with its remedy.
pub async fn open(config: &Config, pin: PinForWorkers, instance: Instance, clock: Clock) -> anyhow::Result<Opened> {
    crate::os::check_private_dir(&config.data_dir).map_err(|flaw| anyhow::anyhow!(flaw))?;
    // The store first: its lock tells at once that another agent is running, before a PIN is presented.
    let file = StoreFile::open(&config.store_path())?;
    let meta = file.meta()?;
    let (told, events) = mpsc::unbounded_channel();
    let token = config.token.config();
    let workers = Workers::start(Launcher::for_token(pin, token), token, told).await;
    let workers = workers.context("the token cannot be opened")?;
    if workers.token().as_str() != meta.token {
        bail!("this is the token {}, but the store was made with {}", workers.token().as_str(), meta.token);
    }
    let keys = workers
        .open_store_keys(meta.org, meta.sealed_store_keys)
        .await
        .context("the store keys cannot be opened with this token")?;
    let anchors = Anchors::read(&config.anchor_path())?;
    let restored = file.restore_note()?;
    let (known, org) = (anchors.clone(), meta.org);
    let store = spawn_blocking(move || Store::start(file, Sealer::new(org, keys), instance, clock, &known)).await??;
    if let Err(error) = copy_store_keys(config, &store, &workers).await {
        tracing::error!(%error, "the store keys have no recovery copy for today's recipients");
    }
    Ok(Opened { workers, store, anchors, events, restored })
}

/// Makes and signs the recovery copy of the store keys where the recipients have none that this agent's key signed: for
/// stores from before there were copies or signatures, after the recipients changed, and where somebody put another copy.
async fn copy_store_keys(config: &Config, store: &Store, workers: &Workers) -> anyhow::Result<()> {
    let view = store.view();
    let recipients = &view.org.recovery_recipients;
    let key = AgentKey::from_point(workers.identity_key()).context("the agent identity key is malformed")?;
    if recipients.is_empty() || view.sealed.contains_key(&LogId::Org) || view.org.agent_key != key.openssh() {
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
    let Opened { workers, store, anchors, events, restored } = open(config, pin, instance, Arc::clone(&clock)).await?;
    let key = AgentKey::from_point(workers.identity_key()).context("the agent identity key is malformed")?;
    if store.view().org.agent_key != key.openssh() {
        bail!("the agent identity key in the token is not the one that this organisation was founded with");
    }
    let proof = {
        let (signer, runtime, point) = (workers.clone(), Handle::current(), workers.identity_key().to_vec());
        let sign = move |digest: &[u8; 32]| runtime.block_on(signer.sign(*digest));
        let now = clock();
        spawn_blocking(move || AgentProof::new(&point, sign, instance, now)).await??
    };
    let checkpointer = Arc::new(Checkpointer::new(store.clone(), workers.clone(), key, anchors));
    let agent = Arc::new(Agent {
        store: store.clone(),
        workers: workers.clone(),
        checkpointer: Arc::clone(&checkpointer),
        proof,
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
        ceremony: tokio::sync::Mutex::default(),
        keys_in_use: tokio::sync::RwLock::default(),
    });

    let token = workers.token().as_str().to_owned();
    let token_id = token.clone();
    let started = store.submit(move |tx| organisation::started(tx, env!("CARGO_PKG_VERSION"), &token)).await;
    if let Err(refused) = started {
        // A sealed org log: serve status and refusals, so that people are told why.
        tracing::error!(?refused, "the start could not be recorded: nothing will be released");
    }
    if let Some(note) = restored {
        record_restore(config, &store, note).await;
    }
    let background = CancellationToken::new();
    let signing = tokio::spawn(Arc::clone(&checkpointer).run(config.cadence(), background.clone()));
    let renewing = tokio::spawn(renew_endorsement(Arc::clone(&agent), background.clone()));
    let recording = tokio::spawn(record_events(store.clone(), events));
    let keeping = tokio::spawn(schedule::run(Arc::clone(&agent), config.clone(), token_id, background.clone()));
    let upkeep = tokio::spawn(crate::upkeep::run(Arc::clone(&agent), background.clone()));
    tracing::info!(socket = %config.socket.display(), %instance, "ready");
    crate::os::notify_ready();

    let served = serve(bound, Arc::clone(&agent), stop, config.server_limits()).await;

    if let Err(refused) = store.submit(organisation::stopped).await {
        tracing::error!(?refused, "the stop could not be recorded");
    }
    background.cancel();
    let _ = tokio::join!(signing, renewing, keeping, upkeep);
    workers.close().await;
    recording.abort();
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

/// Renews the endorsement of the session key when half of its life is over.
async fn renew_endorsement(agent: Arc<Agent>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RENEWAL_EVERY) => {}
        }
        // Off the runtime: it waits for the token.
        let renewing = Arc::clone(&agent);
        match spawn_blocking(move || renewing.proof.renew_if_due((renewing.clock)())).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the endorsement was not renewed"),
            Err(error) => tracing::error!(%error, "the endorsement was not renewed"),
        }
    }
}

/// Puts what happens to the token on record. While the store refuses, the agent's own log has it.
async fn record_events(store: Store, mut events: mpsc::UnboundedReceiver<TokenEvent>) {
    while let Some(event) = events.recv().await {
        tracing::warn!(?event, "token");
        let recorded = store.submit(move |tx| organisation::token_event(tx, &event)).await;
        if let Err(refused) = recorded {
            tracing::error!(?refused, "what happened to the token could not be recorded");
        }
    }
}
