//! `strongroom-agent recover`: a store with recovery copies onto a new token, when the old one is dead. Two people sign the
//! plan offline; the recovery key opens what the old token had sealed.

mod plan;
mod reseal;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use strongroom_proto::agent_key::AgentKey;
use strongroom_proto::audit::export::Pin;
use strongroom_proto::ids::Instance;

pub use self::plan::{Approval, NAMESPACE};
pub(crate) use self::plan::{check as check_approvals, planned_at};
pub(crate) use self::reseal::committed;
pub(super) use self::reseal::mac as software_mac;
use super::files::sync_dir;
use super::pending;
use super::restore::{Request, Staged, stage};
use crate::audit::anchor::{Anchor, Anchors};
use crate::commands::recovery::{self, Approved, Begin};
use crate::config::Config;
use crate::keystore::worker::blocking::BlockingWorker;
use crate::keystore::{Keystore, StoreKeys};
use crate::recovery::{Recipient, RecoveryIdentity, open_store_keys_copy, sign_store_keys_copy, store_keys_signer};
use crate::state::{LogId, State};
use crate::store::sealer::Sealer;
use crate::store::sqlite::{
    Clock, Snapshot, Store, StoreFile, StoreKeysCopy, keep_store_keys_copy, put_restore_note, snapshot,
};
use crate::store::tx::origin;

/// Where the store comes from.
pub enum Source<'a> {
    /// A backup. Its request has a pin.
    Archive(&'a Request<'a>),
    /// The store in its place: only the token is lost. With the old agent key.
    InPlace(&'a Config, &'a Pin),
}

impl Source<'_> {
    /// The agent key that must have signed. The recipients of the store keys' copy are public, so without it anybody who
    /// can write to the source decides what is recovered.
    fn pin(&self) -> anyhow::Result<&Pin> {
        match self {
            Self::Archive(request) => request.pin.context(PIN_NEEDED),
            Self::InPlace(_, pin) => Ok(pin),
        }
    }
}

/// What `recover` says when nobody told it whom to believe.
pub const PIN_NEEDED: &str = "recover believes a store only by the key of the agent that it belonged to: say --agent-key \
    with the agent's line in the clients' known_agents, the file itself, or its fingerprint (SHA256:...)";

/// What was recovered.
pub struct Recovered {
    /// Accounts whose codes the new token makes.
    pub accounts: u64,
    /// Accounts whose seed is lost, by name, with the reason.
    pub lost: Vec<String>,
    /// The line for clients' `known_agents`.
    pub known_agents: String,
    /// How many approved.
    pub approvals: usize,
}

/// A store file that is looked at with the recovery key.
struct Look {
    state: State,
    old_token: String,
    /// As the plan names it.
    source: String,
    /// When the backup was made, or the store's newest record.
    state_at: Timestamp,
    /// Who signed manifest and store keys: the pinned agent key, as its fingerprint.
    signer: String,
}

/// Writes down what two people have to sign.
///
/// # Errors
/// If the source is not believed, or the new token cannot be provisioned.
pub fn plan(source: &Source<'_>, identity: &RecoveryIdentity) -> anyhow::Result<String> {
    let staged = staged(source)?;
    let config = config_of(source, staged.as_ref())?;
    let keystore = new_token(config)?;
    let look = look_at(config, staged.as_ref(), &keystore, source.pin()?, identity)?;
    plan_of(&look, &keystore, Timestamp::from_second(Timestamp::now().as_second())?).map(|plan| plan.text())
}

/// Moves the store onto the configured token. A run that was killed is taken up again by the same command.
///
/// # Errors
/// If source or approvals are not believed, or token or store fail.
pub async fn recover(
    source: &Source<'_>,
    identity: &RecoveryIdentity,
    signed_plan: &str,
    approvals: &[Approval],
) -> anyhow::Result<Recovered> {
    let pin = source.pin()?;
    // An unfinished run has its configuration in place.
    let existing = match source {
        Source::Archive(request) if request.config.exists() => Some(Config::read(request.config)?),
        Source::Archive(_) => None,
        Source::InPlace(config, _) => Some((*config).clone()),
    };
    if let Some(config) = &existing {
        let keystore = new_token(config)?;
        if has_begun(config, &keystore, pin, identity)? {
            return carry_out(config, &keystore, pin, identity, None).await;
        }
    }
    let staged = staged(source)?;
    let config = config_of(source, staged.as_ref())?.clone();
    let keystore = new_token(&config)?;
    let look = look_at(&config, staged.as_ref(), &keystore, pin, identity)?;
    let now = Timestamp::now().max(look.state.latest);
    let text = plan_of(&look, &keystore, planned_at(signed_plan, now)?)?.text();
    if text != signed_plan {
        bail!("this plan is for another recovery: make a new one with --plan, and have it signed");
    }
    let approved = check_approvals(&look.state, &text, approvals, now)?;
    let unfinished = unfinished(&config);
    match (source, &staged) {
        (Source::Archive(request), Some(staged)) => {
            staged.check_free(request, &config.store_path())?;
            staged.place(request, &unfinished)?;
        }
        _ => copy_in_place(&config, &unfinished)?,
    }
    drop(staged);
    let begin = (look.old_token, text, approved);
    carry_out(&config, &keystore, pin, identity, Some(begin)).await
}

fn staged(source: &Source<'_>) -> anyhow::Result<Option<Staged>> {
    source.pin()?;
    match source {
        Source::Archive(request) => stage(request).map(Some),
        Source::InPlace(config, _) => {
            // Its lock tells whether an agent is running; closing it folds the write-ahead log in.
            drop(StoreFile::open(&config.store_path())?);
            Ok(None)
        }
    }
}

fn config_of<'a>(source: &'a Source<'_>, staged: Option<&'a Staged>) -> anyhow::Result<&'a Config> {
    match (source, staged) {
        (_, Some(staged)) => Ok(&staged.config),
        (Source::InPlace(config, _), None) => Ok(config),
        (Source::Archive(_), None) => bail!("the backup was not unpacked"),
    }
}

/// Opens the configured token, after making its own two keys if it has none.
fn new_token(config: &Config) -> anyhow::Result<BlockingWorker> {
    BlockingWorker::start(config.token.config(), &config.pin, true).context("the new token cannot be opened")
}

fn unfinished(config: &Config) -> PathBuf {
    config.data_dir.join("store.recovering")
}

/// Copies the store to work on. Under the unfinished name there is a whole copy or none, whenever a run was killed.
fn copy_in_place(config: &Config, unfinished: &Path) -> anyhow::Result<()> {
    let part = config.data_dir.join("store.copying");
    match fs::remove_file(&part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    snapshot(&config.store_path(), &part)?;
    fs::File::open(&part)?.sync_all()?;
    fs::rename(&part, unfinished)?;
    sync_dir(&config.data_dir)?;
    Ok(())
}

/// Opens the recovery copy of the store keys, if one of these agent keys signed it. Everything else in a store is believed
/// by these keys.
fn store_keys(path: &Path, signers: &[&str], identity: &RecoveryIdentity) -> anyhow::Result<StoreKeys> {
    let store = Snapshot::open(path)?;
    let copy = store.store_keys_copy()?.context(
        "this store has no recovery copy of its keys: it was never opened by an agent that makes one, or it has no \
         recovery recipients",
    )?;
    let org = store.meta()?.org;
    let signer = store_keys_signer(org, &copy.recipients, &copy.copy, &copy.signature).map(|key| key.fingerprint());
    if !signer.as_deref().is_some_and(|signer| signers.contains(&signer)) {
        bail!(
            "the recovery copy of the store keys is not signed by the agent key {} (signed by {}): anybody could have made \
             it. Start the agent once with the old token, which signs it; if that token is dead, recover from another backup",
            signers.first().copied().unwrap_or_default(),
            signer.as_deref().unwrap_or("nobody"),
        );
    }
    Ok(open_store_keys_copy(identity, org, &copy.copy)?)
}

fn look(path: &Path, anchors: &Anchors, signers: &[&str], identity: &RecoveryIdentity) -> anyhow::Result<State> {
    let store = Snapshot::open(path)?;
    let org = store.meta()?.org;
    let state = store.load(&Sealer::new(org, store_keys(path, signers, identity)?), anchors)?;
    if let Some((_, flaw)) = state.sealed.iter().next() {
        bail!("the store does not match its logs ({flaw}): recover from a backup instead");
    }
    Ok(state)
}

fn look_at(
    config: &Config,
    staged: Option<&Staged>,
    keystore: &BlockingWorker,
    pin: &Pin,
    identity: &RecoveryIdentity,
) -> anyhow::Result<Look> {
    let (path, anchors) = match staged {
        // The archive's own anchors were checked when it was staged.
        Some(staged) => (staged.store_copy(), Anchors::read(&staged.store_copy().with_extension("none"))?),
        None => (config.store_path(), Anchors::read(&config.anchor_path())?),
    };
    let old_token = Snapshot::open(&path)?.meta()?.token;
    // Before anything else is doubted: a recovery that is over has another agent key.
    if *keystore.token().as_str() == old_token {
        bail!("the configured token is the one that this store belongs to: there is nothing to recover");
    }
    if Snapshot::open(&path)?.meta()?.second.is_some_and(|second| *keystore.token().as_str() == *second.token) {
        bail!(
            "the configured token is the second one of this store and has every seed: strongroom-agent token-leave first"
        );
    }
    let state = look(&path, &anchors, &[pin.fingerprint()], identity)?;
    let own = AgentKey::from_openssh(&state.org.agent_key).map(|key| key.fingerprint()).unwrap_or_default();
    if own != pin.fingerprint() {
        bail!("the store belongs to the agent key {own}, not to the pinned {}", pin.fingerprint());
    }
    let (source, state_at) = match staged {
        Some(staged) => (format!("archive {}", staged.archive_sha256), staged.manifest.made_at),
        None => {
            let head = state.heads.get(&LogId::Org).context("the store has no log")?;
            (format!("store {} {}", head.frontier.size(), hex::encode(head.frontier.root())), state.latest)
        }
    };
    Ok(Look { state, old_token, source, state_at, signer: own })
}

fn plan_of<'a>(look: &'a Look, keystore: &'a BlockingWorker, planned_at: Timestamp) -> anyhow::Result<plan::Plan<'a>> {
    let Look { state, old_token, source, state_at, signer } = look;
    Ok(plan::Plan {
        planned_at,
        organisation: state.org.id,
        source,
        state_at: *state_at,
        signer,
        old_token,
        new_token: keystore.token().as_str(),
        new_agent_key: AgentKey::from_point(keystore.identity_key())?,
        accounts: state.accounts.len(),
        copies: state.recovery.len(),
    })
}

/// Whether an earlier run has recorded its approvals for this token. One that had not is thrown away: it did nothing yet.
fn has_begun(
    config: &Config,
    keystore: &BlockingWorker,
    pin: &Pin,
    identity: &RecoveryIdentity,
) -> anyhow::Result<bool> {
    let path = unfinished(config);
    if !path.exists() {
        return Ok(false);
    }
    drop(StoreFile::open(&path)?);
    let new = AgentKey::from_point(keystore.identity_key())?;
    let signers = [pin.fingerprint(), &new.fingerprint()];
    let state = look(&path, &Anchors::read(&config.anchor_path())?, &signers, identity)?;
    let begun = state.org.agent_key == new.openssh();
    if !begun {
        fs::remove_file(&path)?;
    }
    Ok(begun)
}

async fn carry_out(
    config: &Config,
    keystore: &BlockingWorker,
    pin: &Pin,
    identity: &RecoveryIdentity,
    begin: Option<(String, String, Vec<Approved>)>,
) -> anyhow::Result<Recovered> {
    let path = unfinished(config);
    let agent_key = AgentKey::from_point(keystore.identity_key())?;
    // A run that was killed at its end has the new token's signature there already.
    let keys = store_keys(&path, &[pin.fingerprint(), &agent_key.fingerprint()], identity)?;
    let file = StoreFile::open(&path)?;
    let org = file.meta()?.org;
    let sealed_keys = keystore.seal_store_keys(org, &keys)?;
    let clock: Clock = Arc::new(Timestamp::now);
    let anchors = Anchors::read(&config.anchor_path())?;
    let store = Store::start(file, Sealer::new(org, keys), Instance::random(), clock, &anchors)?;
    let mut approvals = 0;
    if let Some((old_token, plan, approved)) = begin {
        approvals = approved.len();
        let begin = Begin {
            agent_key: agent_key.openssh(),
            old_token,
            new_token: keystore.token().to_string(),
            plan,
            approvals: approved,
        };
        committed(store.submit(move |tx| recovery::begin(tx, &begin)).await)?;
    }
    let done = reseal::reseal_all(&store, keystore, identity).await?;
    let (accounts, lost) = (done.accounts, done.lost.len() as u64);
    committed(store.submit(move |tx| recovery::finished(tx, accounts, lost)).await)?;
    let view = store.view();
    let recipients = view.org.recovery_recipients.clone();
    let parsed = recipients.iter().map(|text| Recipient::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let copy = store.sealer().recovery_copy(&parsed)?;
    store.close().await;
    // Signed anew: the key that had signed the copy died with the old token.
    let signature = sign_store_keys_copy(org, &recipients, &copy, &agent_key, |digest| keystore.sign(digest))?;
    keep_store_keys_copy(&path, &StoreKeysCopy { recipients, copy, signature })?;
    take_place(config, &path, keystore, &sealed_keys, anchors, &view)?;
    Ok(Recovered {
        accounts,
        lost: done.lost,
        known_agents: format!("{} {}", config.socket.display(), agent_key.openssh()),
        approvals,
    })
}

/// Hands the finished store to the new token and gives it its name. The old one, if it is here, is kept beside.
fn take_place(
    config: &Config,
    path: &Path,
    keystore: &BlockingWorker,
    sealed_keys: &[u8],
    mut anchors: Anchors,
    view: &State,
) -> anyhow::Result<()> {
    let mut file = StoreFile::open(path)?;
    file.rehome(keystore.token().as_str(), sealed_keys)?;
    drop(file);
    let moved = view.heads.iter().map(|(log, head)| {
        let anchor = Anchor { size: head.frontier.size(), root: head.frontier.root() };
        (origin(view, *log).to_string(), anchor)
    });
    anchors.advance(moved.collect::<Vec<_>>())?;
    let place = config.store_path();
    if place.exists() {
        let now = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        fs::rename(&place, place.with_extension(format!("before-recovery-{now}")))?;
        // In place nothing was put back: there is no restore to be recorded.
        put_restore_note(path, None)?;
    }
    fs::rename(path, &place)?;
    sync_dir(&config.data_dir)?;
    pending::settle(config)?;
    Ok(())
}
