//! With which token's identity key the agent speaks to clients and signs checkpoints. With a second token there are two keys,
//! and clients have pinned both; a run speaks with one of them at a time, so that a session hears one key from its login to
//! its end.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use strongroom_proto::agent_key::AgentKey;
use strongroom_proto::ids::Instance;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use crate::identity::AgentProof;
use crate::keystore::worker::{TokenState, Workers};

/// How long a token must be away before the agent speaks with the other one's key, and back before it speaks with the first
/// one's again: sessions end at a change, so not for a hiccup.
const STEADY_FOR: Duration = Duration::from_secs(30);

/// One token's identity key, and what was made with it for this run.
pub struct Voice {
    /// Signs.
    pub workers: Workers,
    /// What clients have pinned.
    pub key: AgentKey,
    /// Proves the agent to clients.
    pub proof: AgentProof,
}

/// The voice of this run, and the tokens that it could have.
pub struct Voices {
    current: RwLock<Arc<Voice>>,
    tokens: Vec<Workers>,
    instance: Instance,
}

impl Voices {
    /// Takes the first of these tokens that signs.
    ///
    /// # Errors
    /// The last one's, if none does.
    pub async fn begin(tokens: Vec<Workers>, instance: Instance, now: Timestamp) -> anyhow::Result<Self> {
        let mut refused = None;
        for workers in &tokens {
            match voice(workers, instance, now).await {
                Ok(voice) => return Ok(Self { current: RwLock::new(Arc::new(voice)), tokens, instance }),
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(error) => Err(error),
            None => bail!("there is no token to speak with"),
        }
    }

    /// The voice of now.
    #[must_use]
    pub fn current(&self) -> Arc<Voice> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Renews the endorsement of the session key when half of its life is over. If the token has been away for a while and
    /// another one serves, or the first one has come back for a while, the agent speaks with that one's key from now on: true
    /// then, and every session must end.
    ///
    /// # Errors
    /// If a token that serves does not sign. What was endorsed stays.
    pub async fn tend(&self, now: Timestamp) -> anyhow::Result<bool> {
        let voice = self.current();
        let token = voice.workers.token();
        let first = self.tokens.first().filter(|first| first.token() != token && is_steady(first));
        let others = || self.tokens.iter().find(|other| other.token() != token && other.serves());
        if let Some(other) = first.or_else(|| others().filter(|_| is_silent(&voice.workers))) {
            let made = self::voice(other, self.instance, now).await?;
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(made);
            return Ok(true);
        }
        if is_silent(&voice.workers) {
            return Ok(false);
        }
        // Off the runtime: it waits for the token.
        spawn_blocking(move || voice.proof.renew_if_due(now)).await??;
        Ok(false)
    }
}

/// Whether a token has been away for so long that it will not sign soon.
fn is_silent(workers: &Workers) -> bool {
    match workers.state() {
        TokenState::Serving => false,
        TokenState::Recovering { down_for, .. } => down_for >= STEADY_FOR,
        TokenState::PinRefused => true,
    }
}

/// Whether a token has served for so long that it may be spoken with again.
fn is_steady(workers: &Workers) -> bool {
    workers.workers().iter().any(|worker| worker.serving && worker.for_s >= STEADY_FOR.as_secs())
}

async fn voice(workers: &Workers, instance: Instance, now: Timestamp) -> anyhow::Result<Voice> {
    let key = AgentKey::from_point(workers.identity_key()).context("the agent identity key is malformed")?;
    let (signer, runtime, point) = (workers.clone(), Handle::current(), workers.identity_key().to_vec());
    let sign = move |digest: &[u8; 32]| runtime.block_on(signer.sign(*digest));
    let proof = spawn_blocking(move || AgentProof::new(&point, sign, instance, now)).await??;
    Ok(Voice { workers: workers.clone(), key, proof })
}
