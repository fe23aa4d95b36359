//! The other process of a drill: opens the restored store with the restored token and says, under a key that only this drill
//! knows, what it makes of each seed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strongroom_proto::ids::{AccountId, Instance};

use crate::config::Config;
use crate::keystore::worker::{PinForWorkers, Workers};
use crate::keystore::{Keystore, SealedSeed, SeedContext, VaultKey};
use crate::run::{Opened, open};
use crate::state::State;
use crate::store::sqlite::Clock;

/// What a drill asks.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The key of the digests, 64 hex digits.
    pub nonce: String,
    /// Which accounts, at which moving factors.
    pub accounts: Vec<Asked>,
}

/// One account at one moving factor.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Which.
    pub account: AccountId,
    /// The counter or time step.
    pub counter: u64,
}

/// Answers with a digest per account. `work` holds `data/` and `token/`.
///
/// # Errors
/// If token and store do not open, or the store does not match its logs.
pub async fn answer(config: Config, work: &Path, question: &Question) -> anyhow::Result<BTreeMap<AccountId, String>> {
    let mut config = config;
    config.data_dir = work.join("data");
    config.anchors = None;
    config.token.move_storage(work.join("token"));
    // The real one has no part in a drill.
    config.second_token = None;
    let nonce = hex::decode(&question.nonce).ok().and_then(|nonce| nonce.try_into().ok()).context("the nonce")?;
    let clock: Clock = Arc::new(Timestamp::now);
    let pin = PinForWorkers::for_command(&config.pin)?;
    let Opened { workers, second, store, .. } = open(&config, pin, Instance::random(), clock).await?;
    let view = store.view();
    if let Some(flaw) = view.sealed.values().next() {
        bail!("the restored store does not match its logs: {flaw}");
    }
    let mut answers = BTreeMap::new();
    for asked in &question.accounts {
        // An account whose code cannot be made is one that is missing in the answer.
        match worker_digest(&workers, &view, asked, &nonce).await {
            Ok(digest) => drop(answers.insert(asked.account, digest)),
            Err(error) => tracing::error!(account = %asked.account, %error, "no code"),
        }
    }
    workers.close().await;
    if let Some(second) = second {
        second.close().await;
    }
    store.close().await;
    Ok(answers)
}

async fn worker_digest(workers: &Workers, state: &State, asked: &Asked, nonce: &[u8; 32]) -> anyhow::Result<String> {
    let (key, context, sealed) = sealed_of(state, asked)?;
    Ok(digest(nonce, asked, workers.otp_mac(key, context, sealed, asked.counter).await?.expose()))
}

fn sealed_of(state: &State, asked: &Asked) -> anyhow::Result<(VaultKey, SeedContext, SealedSeed)> {
    let account = state.accounts.get(&asked.account).context("no such account")?;
    let seed = state.seeds.get(&asked.account).context("no seed for this token")?;
    let key = state.vault_keys.get(&(account.vault, seed.sealed.key_number)).context("no vault key")?;
    Ok((key.key.clone(), account.seed_context(state.org_id()), seed.sealed.clone()))
}

/// What a token makes of an account's seed, as a keyed digest.
pub(super) fn digest_of(
    keystore: &dyn Keystore,
    state: &State,
    asked: &Asked,
    nonce: &[u8; 32],
) -> anyhow::Result<String> {
    let (key, context, sealed) = sealed_of(state, asked)?;
    Ok(digest(nonce, asked, keystore.otp_mac(&key, &context, &sealed, asked.counter)?.expose()))
}

/// HMAC-SHA-256 under the drill's key: equal for equal codes, and says nothing about them once the key is gone.
pub(super) fn digest(nonce: &[u8; 32], asked: &Asked, mac: &[u8]) -> String {
    // HMAC takes keys of every length (RFC 2104 §2): the error cannot occur.
    let Ok(mut digest) = Hmac::<sha2::Sha256>::new_from_slice(nonce) else { return String::new() };
    digest.update(asked.account.as_bytes());
    digest.update(&asked.counter.to_be_bytes());
    digest.update(mac);
    hex::encode(digest.finalize().into_bytes())
}
