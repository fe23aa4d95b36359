//! The assembly: the only place that names the concrete keystore and store, and starts the parts of a running agent.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use strongroom_proto::agent_key::AgentKey;
use strongroom_proto::ids::Instance;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::audit::anchor::Anchors;
use crate::audit::checkpointer::Checkpointer;
use crate::backup::schedule;
use crate::commands::organisation;
use crate::config::Config;
use crate::handler::Agent;
use crate::identity::{AgentProof, Throttle};
use crate::keystore::pkcs11::Pkcs11Keystore;
use crate::keystore::{ErrorClass, Keystore, Lane, LaneConfig};
use crate::recovery::Recipient;
use crate::server::{BoundListener, serve};
use crate::session::flights::Flights;
use crate::session::registry::Registry;
use crate::state::LogId;
use crate::store::sealer::Sealer;
use crate::store::sqlite::{Clock, Snapshot, Store, StoreFile, StoreKeysCopy, keep_store_keys_copy, put_restore_note};

/// How often the token has to prove that it works.
const HEALTH_EVERY: Duration = Duration::from_secs(10);
/// First and longest pause between attempts to reopen a token that is away.
const REOPEN_PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// Token and store, open.
pub struct Opened {
    /// The token.
    pub keystore: Arc<Pkcs11Keystore>,
    /// The store.
    pub store: Store,
    /// How far each log was vouched for.
    pub anchors: Anchors,
    /// What a restore left to be recorded.
    pub restored: Option<String>,
}

/// Opens token and store, without serving.
///
/// # Errors
/// Whatever keeps the agent from starting, with its remedy.
pub fn open(config: &Config, instance: Instance, clock: Clock) -> anyhow::Result<Opened> {
    crate::os::check_private_dir(&config.data_dir).map_err(|flaw| anyhow::anyhow!(flaw))?;
    // The store first: its lock tells at once that another agent is running, before a PIN is presented.
    let file = StoreFile::open(&config.store_path())?;
    let meta = file.meta()?;
    let pin = config.pin.read().context("the PIN cannot be read")?;
    let keystore = Arc::new(Pkcs11Keystore::open(&config.token_config(), &pin).context("the token cannot be opened")?);
    drop(pin);
    if keystore.token().as_str() != meta.token {
        bail!("this is the token {}, but the store was made with {}", keystore.token().as_str(), meta.token);
    }
    let keys = keystore
        .open_store_keys(meta.org, &meta.sealed_store_keys)
        .context("the store keys cannot be opened with this token")?;
    let anchors = Anchors::read(&config.anchor_path())?;
    let restored = file.restore_note()?;
    let store = Store::start(file, Sealer::new(meta.org, keys), instance, clock, &anchors)?;
    if let Err(error) = copy_store_keys(config, &store) {
        tracing::error!(%error, "the store keys have no recovery copy for today's recipients");
    }
    Ok(Opened { keystore, store, anchors, restored })
}

/// Makes the recovery copy of the store keys where the recipients have none: for stores from before there were copies, and
/// after the recipients changed.
fn copy_store_keys(config: &Config, store: &Store) -> anyhow::Result<()> {
    let view = store.view();
    let recipients = &view.org.recovery_recipients;
    if recipients.is_empty() || view.sealed.contains_key(&LogId::Org) {
        return Ok(());
    }
    let kept = Snapshot::open(&config.store_path())?.store_keys_copy()?;
    if kept.is_some_and(|kept| kept.recipients == *recipients) {
        return Ok(());
    }
    let parsed = recipients.iter().map(|text| Recipient::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let copy = store.sealer().recovery_copy(&parsed)?;
    keep_store_keys_copy(&config.store_path(), &StoreKeysCopy { recipients: recipients.clone(), copy })?;
    tracing::info!(recipients = recipients.len(), "a recovery copy of the store keys was made");
    Ok(())
}

/// Serves until told to stop.
///
/// # Errors
/// Whatever keeps the agent from starting or serving, with its remedy.
pub async fn run(config: &Config, stop: CancellationToken) -> anyhow::Result<()> {
    let instance = Instance::random();
    let clock: Clock = Arc::new(Timestamp::now);
    if config.lacks_token_storage() {
        tracing::warn!("[token] storage is not set: a crash at the wrong moment can cost SoftHSM its token");
    }
    let bound = BoundListener::bind(&config.socket).await?;
    let Opened { keystore, store, anchors, restored } = {
        let (config, clock) = (config.clone(), Arc::clone(&clock));
        tokio::task::spawn_blocking(move || open(&config, instance, clock)).await??
    };
    let key = AgentKey::from_point(keystore.identity_key()).context("the agent identity key is malformed")?;
    if store.view().org.agent_key != key.openssh() {
        bail!("the agent identity key in the token is not the one that this organisation was founded with");
    }
    let lane = Arc::new(Lane::start(Arc::clone(&keystore) as Arc<dyn Keystore>, LaneConfig::default())?);
    let signer = Arc::clone(&keystore);
    let proof = AgentProof::new(keystore.identity_key(), move |digest| signer.sign(digest), instance, clock())?;
    let checkpointer = Arc::new(Checkpointer::new(store.clone(), Arc::clone(&lane), key, anchors));
    let agent = Arc::new(Agent {
        store: store.clone(),
        lane,
        checkpointer: Arc::clone(&checkpointer),
        proof,
        throttle: Mutex::new(Throttle::default()),
        sessions: Registry::default(),
        flights: Flights::default(),
        instance,
        started_at: clock(),
        clock,
        default_scheme: config.default_scheme,
        token_ok: AtomicBool::new(true),
        token_trouble: Notify::new(),
        overdue: Mutex::new(Vec::new()),
    });

    let token = keystore.token().as_str().to_owned();
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
    let watching = tokio::spawn(watch_token(Arc::clone(&agent), background.clone()));
    let keeping = tokio::spawn(schedule::run(Arc::clone(&agent), config.clone(), token_id, background.clone()));
    tracing::info!(socket = %config.socket.display(), %instance, "ready");
    crate::os::notify_ready();

    let served = serve(bound, Arc::clone(&agent), stop, config.server_limits()).await;

    if let Err(refused) = store.submit(organisation::stopped).await {
        tracing::error!(?refused, "the stop could not be recorded");
    }
    background.cancel();
    let _ = tokio::join!(signing, watching, keeping);
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

/// Asks the token for a canary operation now and then, and reopens it with growing pauses while it is away.
async fn watch_token(agent: Arc<Agent>, stop: CancellationToken) {
    let deadline = Duration::from_secs(5);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(HEALTH_EVERY) => {}
            () = agent.token_trouble.notified() => {}
        }
        renew_endorsement(&agent, deadline).await;
        let mut pause = REOPEN_PAUSES.0;
        loop {
            let health = agent.lane.run(deadline, |keystore| keystore.health()).await;
            let was_ok = agent.token_ok.swap(health.is_ok(), Ordering::Relaxed);
            let Err(error) = health else {
                if !was_ok {
                    tracing::info!("the token answers again");
                }
                break;
            };
            tracing::error!(%error, class = ?error.class(), "the token does not answer");
            if matches!(error.class(), ErrorClass::Pin) {
                // Never a second attempt by itself: three wrong ones lock most tokens for good.
                break;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(REOPEN_PAUSES.1);
            if let Err(error) = agent.lane.run(deadline, |keystore| keystore.reopen()).await {
                tracing::error!(%error, "the token could not be reopened");
            }
        }
    }
}

/// Renews the endorsement off the runtime: it asks the token, which may hang.
async fn renew_endorsement(agent: &Arc<Agent>, deadline: Duration) {
    let renewing = Arc::clone(agent);
    let renewal = tokio::task::spawn_blocking(move || renewing.proof.renew_if_due((renewing.clock)()));
    match tokio::time::timeout(deadline, renewal).await {
        Ok(Ok(Ok(_))) => {}
        Ok(Ok(Err(error))) => tracing::warn!(%error, "the endorsement was not renewed"),
        Ok(Err(_)) | Err(_) => tracing::warn!("the endorsement was not renewed: the token does not answer"),
    }
}
