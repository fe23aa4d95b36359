//! Signs checkpoints. Not in the path of a release: a log that has grown is signed every minute or every 256 records, and
//! when somebody asks. Before a signature the anchor moves forward, so two inconsistent checkpoints are never signed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use strongroom_proto::agent_key::AgentKey;
use strongroom_proto::audit::checkpoint::{Checkpoint, der_from_raw};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::anchor::{Anchor, AnchorError, Anchors};
use crate::keystore::KeystoreError;
use crate::state::{LogId, State};
use crate::store::StoreError;
use crate::store::sqlite::Store;
use crate::store::tx::origin;
use crate::voice::Voices;

/// When a log that has grown is signed.
#[derive(Clone, Copy, Debug)]
pub struct Cadence {
    /// At the latest after this long.
    pub interval: Duration,
    /// At the latest after this many records.
    pub records: u64,
}

/// Why no checkpoint could be made.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// There is no such log.
    #[error("there is no such log")]
    NoLog,
    /// The log did not match when the store was opened: signing it would vouch for a forgery.
    #[error("the log does not match: {0}")]
    Sealed(String),
    /// The anchors could not be written: the task ended abnormally.
    #[error("the anchors could not be written")]
    Task(#[from] tokio::task::JoinError),
    /// The log does not match the anchor: signing would fork it.
    #[error("the log {0} falls short of its anchor: an older store was put back")]
    Forked(String),
    /// The anchor could not be written.
    #[error(transparent)]
    Anchor(#[from] AnchorError),
    /// The token did not sign.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The checkpoint could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A signed checkpoint and what it covers.
#[derive(Clone, Debug)]
pub struct Signed {
    /// Number of records.
    pub size: u64,
    /// The note.
    pub note: String,
    /// The key that signed it.
    pub key: AgentKey,
}

/// Signs checkpoints one at a time.
pub struct Checkpointer {
    store: Store,
    voices: Arc<Voices>,
    signed: Mutex<Signatures>,
}

struct Signatures {
    anchors: Anchors,
    newest: BTreeMap<LogId, Signed>,
}

impl Checkpointer {
    /// Makes the signer of all logs of a store.
    #[must_use]
    pub fn new(store: Store, voices: Arc<Voices>, anchors: Anchors) -> Self {
        Self { store, voices, signed: Mutex::new(Signatures { anchors, newest: BTreeMap::new() }) }
    }

    /// The key that signs now, and that clients have pinned.
    #[must_use]
    pub fn key(&self) -> AgentKey {
        self.voices.current().key
    }

    /// A checkpoint over the log as it is committed now.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub async fn sign(&self, log: LogId) -> Result<Signed, CheckpointError> {
        let mut signed = self.signed.lock().await;
        let view = self.store.view();
        check_sealed(&view, log)?;
        let head = view.heads.get(&log).ok_or(CheckpointError::NoLog)?;
        let size = head.frontier.size();
        let voice = self.voices.current();
        let is_newest = |newest: &&Signed| newest.size == size && newest.key == voice.key;
        if let Some(newest) = signed.newest.get(&log).filter(is_newest) {
            return Ok(newest.clone());
        }
        let checkpoint = Checkpoint { origin: origin(&view, log), size, root: head.frontier.root() };
        let anchor = Anchor { size, root: checkpoint.root };
        let name = checkpoint.origin.to_string();
        if let Some(before) = signed.anchors.of(&name)
            && (before.size > size || (before.size == size && before.root != anchor.root))
        {
            return Err(CheckpointError::Forked(name));
        }
        advance(&mut signed.anchors, vec![(name, anchor)]).await?;
        let digest = checkpoint.digest();
        let raw = voice.workers.sign(digest).await?;
        let note = checkpoint.to_note(&voice.key, &der_from_raw(&raw));
        self.store.keep_checkpoint(log, size, note.clone()).await?;
        let made = Signed { size, note, key: voice.key };
        signed.newest.insert(log, made.clone());
        Ok(made)
    }

    /// Moves the anchors of logs up to what is committed, without a signature.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub async fn anchor(&self, logs: Vec<LogId>) -> Result<(), CheckpointError> {
        let mut signed = self.signed.lock().await;
        let view = self.store.view();
        let mut moved = Vec::new();
        for log in logs {
            if let (Ok(()), Some(head)) = (check_sealed(&view, log), view.heads.get(&log)) {
                let anchor = Anchor { size: head.frontier.size(), root: head.frontier.root() };
                moved.push((origin(&view, log).to_string(), anchor));
            }
        }
        advance(&mut signed.anchors, moved).await
    }

    /// Signs every log that has grown since its last signature by at least `records`.
    pub async fn sign_grown(&self, records: u64) {
        let view = self.store.view();
        for (log, head) in &view.heads {
            if check_sealed(&view, *log).is_err() {
                continue;
            }
            let before = {
                let signed = self.signed.lock().await;
                let anchored = || signed.anchors.of(origin(&view, *log).as_str()).map(|anchor| anchor.size);
                signed.newest.get(log).map(|newest| newest.size).or_else(anchored).unwrap_or(0)
            };
            if head.frontier.size() >= before + records.max(1)
                && let Err(error) = self.sign(*log).await
            {
                tracing::error!(log = %origin(&view, *log), %error, "no checkpoint");
            }
        }
    }

    /// Signs on the given cadence until told to stop, then once more.
    pub async fn run(self: Arc<Self>, cadence: Cadence, stop: CancellationToken) {
        const POLL: Duration = Duration::from_secs(1);
        let mut since = tokio::time::Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(POLL) => {}
            }
            if since.elapsed() >= cadence.interval {
                since = tokio::time::Instant::now();
                self.sign_grown(1).await;
            } else {
                self.sign_grown(cadence.records).await;
            }
        }
        self.sign_grown(1).await;
    }
}

fn check_sealed(view: &State, log: LogId) -> Result<(), CheckpointError> {
    match view.sealed.get(&LogId::Org).or_else(|| view.sealed.get(&log)) {
        Some(flaw) => Err(CheckpointError::Sealed(flaw.clone())),
        None => Ok(()),
    }
}

/// Writes and syncs off the runtime.
async fn advance(anchors: &mut Anchors, moved: Vec<(String, Anchor)>) -> Result<(), CheckpointError> {
    if moved.is_empty() {
        return Ok(());
    }
    let mut after = anchors.clone();
    let (after, written) = tokio::task::spawn_blocking(move || {
        let written = after.advance(moved);
        (after, written)
    })
    .await?;
    // Also kept if the file could not be written: what was about to be vouched for is never contradicted.
    *anchors = after;
    Ok(written?)
}
