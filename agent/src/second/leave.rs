//! `strongroom-agent token-leave`: one of two tokens leaves the store. The other one has every seed, so nothing is lost and no
//! recovery key is needed.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use strongroom_proto::agent_key::AgentKey;
use strongroom_proto::ids::Instance;

use super::is_agent_key;
use super::plan::{Plan, What};
use crate::backup::recover::{Approval, committed};
use crate::commands::second as command;
use crate::config::Config;
use crate::keystore::worker::{Launcher, PinForWorkers, Workers};
use crate::keystore::{KeystoreError, PROBE_FACTOR, TokenId, VaultKey};
use crate::run::{Unlocked, unlock};
use crate::state::State;
use crate::state::second::SecondToken;
use crate::store::sqlite::{Clock, keep_second, promote_second};

/// Which token leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Which {
    /// The one of `[token]`: the second one takes its place.
    First,
    /// The one of `[second_token]`.
    Second,
}

impl Which {
    const fn what(self) -> What {
        match self {
            Self::First => What::LeaveFirst,
            Self::Second => What::LeaveSecond,
        }
    }
}

/// An opened store with whichever tokens are there.
struct Leaving<'a> {
    config: &'a Config,
    unlocked: Unlocked,
    second: Option<Workers>,
}

impl<'a> Leaving<'a> {
    async fn open(config: &'a Config) -> anyhow::Result<Self> {
        let pin = PinForWorkers::for_command(&config.pin).context("the PIN cannot be read")?;
        let clock: Clock = Arc::new(Timestamp::now);
        let mut unlocked = unlock(config, pin, Instance::random(), clock).await?;
        let mut second = unlocked.second.take();
        if let (None, Some(row), Some((token, pin))) = (&second, &unlocked.store.view().second, config.second()) {
            let launcher = Launcher::for_token(PinForWorkers::Source(pin.clone()), token);
            match Workers::start_one(launcher, token, false).await {
                Ok(workers) if *workers.token() == row.token => second = Some(workers),
                Ok(workers) => {
                    tracing::warn!(found = %workers.token(), "[second_token] is another token than the one that joined");
                    workers.close().await;
                }
                Err(error) => tracing::warn!(%error, "the second token is not here"),
            }
        }
        Ok(Self { config, unlocked, second })
    }

    async fn close(self) {
        for workers in self.unlocked.first.iter().chain(&self.second) {
            workers.close().await;
        }
        self.unlocked.store.close().await;
    }

    fn plan<'p>(&'p self, which: Which, row: &'p SecondToken, key: &'p str) -> anyhow::Result<Plan<'p>> {
        Ok(Plan {
            planned_at: Timestamp::from_second(Timestamp::now().as_second())?,
            what: which.what(),
            organisation: self.unlocked.meta.org,
            first_token: &self.unlocked.meta.token,
            second_token: row.token.as_str(),
            second_agent_key: key,
        })
    }

    /// Ends what an earlier run was killed over. True if there was something.
    fn finish_killed(&self, view: &State) -> anyhow::Result<bool> {
        let Some(meta) = self.unlocked.meta.second.as_ref().filter(|_| view.second.is_none()) else { return Ok(false) };
        let second_is_home = match (&self.unlocked.first, &self.second) {
            (Ok(first), _) => !is_agent_key(view, first)?,
            (Err(_), Some(second)) => is_agent_key(view, second)?,
            (Err(_), None) => bail!("neither of the two tokens is here"),
        };
        let path = self.config.store_path();
        if second_is_home {
            promote_second(&path, meta)?
        } else {
            keep_second(&path, None)?
        }
        Ok(true)
    }

    async fn second_leaves(&self, row: &SecondToken, signed: command::Signed) -> anyhow::Result<String> {
        if self.unlocked.first.is_err() {
            bail!("the first token is away: without the second one nothing would serve this store");
        }
        let store = &self.unlocked.store;
        let keys: Vec<VaultKey> = store.view().second_keys.values().map(|row| row.key.clone()).collect();
        // Before the store forgets them: whenever this is killed, running it again knows what to destroy.
        let destroyed = match &self.second {
            Some(workers) => destroy(workers, &keys).await?,
            None => 0,
        };
        let token = row.token.clone();
        committed(store.submit(move |tx| command::second_left(tx, &token, destroyed, &signed)).await)?;
        keep_second(&self.config.store_path(), None)?;
        Ok(format!(
            "{} has left this store; {destroyed} of its {} vault keys were destroyed.\n{}Take [second_token] out of the \
             configuration, and the line of its key out of clients' known_agents.\n",
            row.token,
            keys.len(),
            if self.second.is_some() {
                ""
            } else {
                "It was not here: whoever has it and its PIN, and a copy of the store, has the seeds. Initialise it anew.\n"
            },
        ))
    }

    async fn first_leaves(&self, row: &SecondToken, signed: command::Signed) -> anyhow::Result<String> {
        let second = self.second.as_ref().context("the second token is not here, and it is to be the only one")?;
        let meta = self.unlocked.meta.second.as_ref().context("the second token has not joined")?;
        let store = &self.unlocked.store;
        let view = store.view();
        command::is_complete(&view).map_err(|lack| anyhow::anyhow!("{lack}"))?;
        // It is alone from here on: does it hold what the store says?
        for account in view.accounts.values() {
            let (key, sealed) = view.second_seal(account.id).context("a seed is missing in the second token")?;
            second.otp_mac(key, account.seed_context(view.org_id()), sealed, PROBE_FACTOR).await?;
        }
        let keys: Vec<VaultKey> = view.vault_keys.values().map(|row| row.key.clone()).collect();
        let (token, first): (TokenId, String) = (row.token.clone(), self.unlocked.meta.token.clone());
        committed(store.submit(move |tx| command::first_left(tx, &token, &first, &signed)).await)?;
        promote_second(&self.config.store_path(), meta)?;
        let destroyed = match &self.unlocked.first {
            Ok(first) => match destroy(first, &keys).await {
                Ok(destroyed) => format!("{destroyed} of its {} vault keys were destroyed", keys.len()),
                Err(error) => format!("its vault keys were NOT all destroyed ({error:#}): initialise it anew"),
            },
            Err(_) => "it was not here: whoever has it and its PIN, and a copy of the store, has the seeds".to_owned(),
        };
        Ok(format!(
            "{} has left this store; {destroyed}.\n{} is the only token now: put its section in the place of [token], and take \
             [second_token] out. Take the line of the old key out of clients' known_agents.\n",
            self.unlocked.meta.token, row.token
        ))
    }
}

/// Destroys vault keys; one that is gone already is what was wanted.
async fn destroy(workers: &Workers, keys: &[VaultKey]) -> anyhow::Result<u64> {
    for key in keys {
        match workers.destroy_vault_key(key.clone()).await {
            Ok(()) | Err(KeystoreError::KeyMissing { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(keys.len() as u64)
}

const NO_SECOND: &str = "no second token has joined this store";

/// Writes down what two people have to sign.
///
/// # Errors
/// If no second token has joined or begun to, or the store cannot be opened.
pub async fn plan_leave(config: &Config, which: Which) -> anyhow::Result<String> {
    let leaving = Leaving::open(config).await?;
    let view = leaving.unlocked.store.view();
    let text = match &view.second {
        Some(row) => fingerprint(row).and_then(|key| Ok(leaving.plan(which, row, &key)?.text())),
        None => Err(anyhow::anyhow!(NO_SECOND)),
    };
    leaving.close().await;
    text
}

/// Lets a token leave. A run that was killed is taken up again by the same command.
///
/// # Errors
/// If the approvals are not believed, the other token does not hold everything, or the store fails.
pub async fn leave(config: &Config, which: Which, plan: &str, approvals: &[Approval]) -> anyhow::Result<String> {
    let leaving = Leaving::open(config).await?;
    let left = leave_with(&leaving, which, plan, approvals).await;
    leaving.close().await;
    left
}

async fn leave_with(leaving: &Leaving<'_>, which: Which, plan: &str, approvals: &[Approval]) -> anyhow::Result<String> {
    let view = leaving.unlocked.store.view();
    if leaving.finish_killed(&view)? {
        return Ok("The earlier run was at its end: the token has left this store.\n".to_owned());
    }
    let row = view.second.as_ref().context(NO_SECOND)?;
    let key = fingerprint(row)?;
    let signed = leaving.plan(which, row, &key)?.signed(&view, plan, approvals)?;
    match which {
        Which::Second => leaving.second_leaves(row, signed).await,
        Which::First => leaving.first_leaves(row, signed).await,
    }
}

fn fingerprint(row: &SecondToken) -> anyhow::Result<String> {
    Ok(AgentKey::from_openssh(&row.agent_key).context("the second token's agent key is malformed")?.fingerprint())
}
