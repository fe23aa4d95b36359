//! A second token on one store: a device in another rack, or a spare in the safe.
//!
//! Keys never travel between tokens. The second one has vault keys of its own, and every seed is sealed there once more. It
//! gets them as encrypted copies: at its joining from the recovery copies, later from copies to an import recipient whose
//! private half only it opens. There is no other way, so a seed reaches a token that was away for days exactly as it reaches
//! one that is there.
//!
//! * `plan`: what two people sign before a token joins or leaves.
//! * `join`, `leave`: commands at the host, with the agent stopped.
//! * `catch_up`: the running agent's part.

pub(crate) mod catch_up;
mod join;
mod leave;
mod plan;

use anyhow::{Context as _, bail};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use strongroom_proto::agent_key::AgentKey;
use tokio::sync::{Mutex, Notify};

pub use self::join::{Joined, join, plan_join};
pub use self::leave::{Which, leave, plan_leave};
use crate::config::Config;
use crate::keystore::worker::Workers;
use crate::keystore::{KeystoreError, PROBE_FACTOR, SealedSeed, Seed, SeedContext, VaultKey};
use crate::recovery::{Recipient, RecoveryError, recovery_copy};
use crate::state::State;
use crate::state::second::ImportCopy;
use crate::store::sqlite::{Meta, keep_second};

/// The second token of a running agent.
pub struct SecondWorkers {
    /// Its workers.
    pub workers: Workers,
    /// Rung when a seed is on its way to it.
    pub wake: Notify,
    /// Held by whoever makes or destroys keys in it.
    pub alone: Mutex<()>,
}

impl SecondWorkers {
    /// Puts the workers of a token that has joined to use.
    #[must_use]
    pub fn new(workers: Workers) -> Self {
        Self { workers, wake: Notify::new(), alone: Mutex::new(()) }
    }
}

/// Encrypts a seed for the second token, if one has joined.
///
/// # Errors
/// As [`recovery_copy`].
pub(crate) fn import_copy(
    view: &State,
    context: &SeedContext,
    seed: &Seed,
) -> Result<Option<ImportCopy>, RecoveryError> {
    let Some(second) = view.joined() else { return Ok(None) };
    let copy = recovery_copy(context, seed, &[Recipient::parse(&second.recipient)?])?;
    Ok(Some(ImportCopy {
        account: context.account,
        vault: context.vault,
        revision: context.revision,
        copy: BASE64_STANDARD.encode(copy),
    }))
}

/// A seal and its key in one of the tokens.
type Seal = (VaultKey, SealedSeed);

/// Whether both tokens make the same of a seed.
async fn agree(
    (first, one): (&Workers, Seal),
    (second, other): (&Workers, Seal),
    context: &SeedContext,
) -> Result<bool, KeystoreError> {
    let here = first.otp_mac(one.0, context.clone(), one.1, PROBE_FACTOR).await?;
    let there = second.otp_mac(other.0, context.clone(), other.1, PROBE_FACTOR).await?;
    // Nobody's code: the time that the comparison takes tells nothing.
    Ok(here.expose() == there.expose())
}

/// The seal of an account in the first token.
fn first_seal(view: &State, context: &SeedContext) -> Option<Seal> {
    let sealed = view.seeds.get(&context.account)?.sealed.clone();
    let key = view.vault_keys.get(&(context.vault, sealed.key_number))?.key.clone();
    Some((key, sealed))
}

/// Tidies up after a `token-leave` that was killed at its last step, or refuses to start before it was run again.
///
/// # Errors
/// What to do.
pub(crate) fn check_settled(config: &Config, view: &State, meta: &Meta, first: Option<&Workers>) -> anyhow::Result<()> {
    if meta.second.is_none() || view.second.is_some() {
        return Ok(());
    }
    match first {
        // The second token has left: what would let it unlock the rows goes too.
        Some(first) if is_agent_key(view, first)? => Ok(keep_second(&config.store_path(), None)?),
        _ => bail!("strongroom-agent token-leave was interrupted: run it again before the agent is started"),
    }
}

/// Whether this token holds the key that the organisation's records name.
fn is_agent_key(view: &State, workers: &Workers) -> anyhow::Result<bool> {
    let key = AgentKey::from_point(workers.identity_key()).context("the agent identity key is malformed")?;
    Ok(key.openssh() == view.org.agent_key)
}
