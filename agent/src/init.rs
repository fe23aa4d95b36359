//! `strongroom-agent init`: the token's own keys, the store, and the first admin.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use strongroom_proto::agent_key::AgentKey;
use strongroom_proto::ids::{IdentityId, Instance, OrgId, Slug};
use strongroom_proto::words::{IdentityKind, OrgRole};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use crate::audit::anchor::Anchors;
use crate::audit::checkpointer::Checkpointer;
use crate::commands::identity::NewIdentity;
use crate::commands::organisation;
use crate::config::Config;
use crate::handler::key_row;
use crate::keystore::StoreKeys;
use crate::keystore::worker::{Launcher, PinForWorkers, Workers};
use crate::recovery::{Recipient, sign_store_keys_copy, store_keys_copy};
use crate::state::LogId;
use crate::state::rows::{IdentityNames, Org};
use crate::store::sealer::Sealer;
use crate::store::sqlite::{Clock, Meta, Store, StoreFile, StoreKeysCopy, keep_store_keys_copy};
use crate::voice::Voices;

/// What `init` is told.
#[derive(Clone, Debug)]
pub struct Founding {
    /// The first admin's slug.
    pub admin: Slug,
    /// The first admin's display name.
    pub admin_name: String,
    /// A line of the first admin's `.pub` file.
    pub admin_key: String,
    /// Offline recipients of recovery copies (`age1…`). Empty means that the caller said so explicitly.
    pub recovery_recipients: Vec<String>,
}

/// What `init` made.
#[derive(Clone, Debug)]
pub struct Founded {
    /// The fingerprint that clients pin.
    pub agent_fingerprint: String,
    /// The agent identity key as a line for `known_agents`.
    pub agent_key: String,
    /// The organisation.
    pub org: OrgId,
}

/// Makes token keys, store and first admin. Nothing that exists is overwritten.
///
/// # Errors
/// What is in the way, with its remedy.
pub async fn init(config: &Config, founding: &Founding) -> anyhow::Result<Founded> {
    for recipient in &founding.recovery_recipients {
        Recipient::parse(recipient).with_context(|| format!("{recipient} is no age X25519 recipient"))?;
    }
    let key = key_row(&founding.admin_key).map_err(|failure| anyhow::anyhow!("the admin's key: {failure}"))?;
    private_dir(&config.data_dir)?;
    if config.store_path().exists() {
        bail!("{} exists already: this organisation was founded before", config.store_path().display());
    }
    let pin = PinForWorkers::for_command(&config.pin).context("the PIN cannot be read")?;
    let launcher = Launcher::for_token(pin, config.token.config());
    // Before anything is made to stay, the token has to do what its profile claims.
    let workers = Workers::start_one(launcher, config.token.config(), true)
        .await
        .context("the token's own keys cannot be made")?;
    if workers.keys_existed() {
        // An init that broke off after this step is taken up again; a token in use is told apart by its vault keys, which
        // stay untouched in any case.
        tracing::warn!("the token has its keys already: using them");
    }
    let agent_key = AgentKey::from_point(workers.identity_key()).context("the agent identity key is malformed")?;

    let id = OrgId::random();
    let store_keys = StoreKeys::random().map_err(|_| anyhow::anyhow!("the system has no randomness"))?;
    let sealed_store_keys =
        workers.seal_store_keys(id, &store_keys).await.context("the store keys cannot be sealed")?;
    let recipients: Vec<Recipient> =
        founding.recovery_recipients.iter().map(|text| Recipient::parse(text)).collect::<Result<_, _>>()?;
    let meta = Meta { org: id, token: workers.token().as_str().to_owned(), sealed_store_keys, second: None };
    // Built under another name and renamed when complete: a broken init leaves no half store behind.
    let unfinished = config.data_dir.join("store.unfinished");
    remove_unfinished(&unfinished)?;
    let file = StoreFile::create(&unfinished, &meta)?;
    let instance = Instance::random();
    let clock: Clock = Arc::new(Timestamp::now);
    let anchors = Anchors::read(&config.anchor_path())?;
    if anchors.origins().next().is_some() {
        bail!("{} has anchors of another store: move it away first", config.anchor_path().display());
    }
    if !recipients.is_empty() {
        let copy = store_keys_copy(id, &store_keys, &recipients).context("the store keys cannot be copied")?;
        let recipients = founding.recovery_recipients.clone();
        let signature = {
            let (signer, runtime, copy, recipients) =
                (workers.clone(), Handle::current(), copy.clone(), recipients.clone());
            let sign = move |digest: &[u8; 32]| runtime.block_on(signer.sign(*digest));
            spawn_blocking(move || sign_store_keys_copy(id, &recipients, &copy, &agent_key, sign)).await??
        };
        keep_store_keys_copy(&unfinished, &StoreKeysCopy { recipients, copy, signature })?;
    }
    let store = Store::start(file, Sealer::new(id, store_keys), instance, clock, &anchors)?;
    let org = Org {
        id,
        created_at: Timestamp::UNIX_EPOCH,
        sole_admin_ended: false,
        recovery_recipients: founding.recovery_recipients.clone(),
        agent_key: agent_key.openssh(),
    };
    let admin = NewIdentity {
        id: IdentityId::random(),
        names: IdentityNames {
            slug: founding.admin.clone(),
            name: founding.admin_name.clone(),
            principals: Vec::new(),
        },
        kind: IdentityKind::Technician,
        roles: vec![OrgRole::Admin],
        until: None,
        service: None,
        key,
    };
    store
        .submit(move |tx| organisation::found(tx, &org, &admin))
        .await
        .map_err(|refused| anyhow::anyhow!("the organisation could not be founded: {refused:?}"))?;
    let founded = Founded { agent_fingerprint: agent_key.fingerprint(), agent_key: agent_key.openssh(), org: id };
    let voices = Arc::new(Voices::begin(vec![workers.clone()], instance, Timestamp::now()).await?);
    Checkpointer::new(store.clone(), voices, anchors).sign(LogId::Org).await?;
    workers.close().await;
    store.close().await;
    finish(&unfinished, &config.store_path())?;
    Ok(founded)
}

/// Makes the folder if need be, and insists that only its owner can enter it.
fn private_dir(path: &Path) -> anyhow::Result<()> {
    if !path.exists() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("{} cannot be made", path.display()))?;
    }
    crate::os::check_private_dir(path).map_err(|flaw| anyhow::anyhow!(flaw))
}

fn remove_unfinished(path: &Path) -> anyhow::Result<()> {
    for name in siblings(path) {
        match std::fs::remove_file(&name) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("{} cannot be removed", name.display())),
        }
    }
    Ok(())
}

/// A store file and what SQLite keeps beside it.
fn siblings(path: &Path) -> [std::path::PathBuf; 4] {
    let beside = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        name.into()
    };
    [path.to_owned(), beside("-wal"), beside("-shm"), path.with_extension("lock")]
}

/// Gives the complete store its name. The writer has closed, so the write-ahead log is folded in and gone.
fn finish(unfinished: &Path, path: &Path) -> anyhow::Result<()> {
    let [_, wal, ..] = siblings(unfinished);
    if wal.exists() {
        bail!("the store was not closed cleanly: run init again");
    }
    std::fs::rename(unfinished, path).with_context(|| format!("{} cannot be made", path.display()))?;
    let _ = std::fs::remove_file(unfinished.with_extension("lock"));
    if let Some(folder) = path.parent() {
        File::open(folder).and_then(|folder| folder.sync_all()).context("the data folder cannot be synced")?;
    }
    Ok(())
}
