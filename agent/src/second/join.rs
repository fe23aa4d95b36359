//! `strongroom-agent token-join`: a second token takes every seed from its recovery copy, each compared with what the first
//! token makes of it, before it counts.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use jiff::Timestamp;
use strongroom_proto::agent_key::AgentKey;
use strongroom_proto::ids::{Instance, VaultId};

use super::plan::{Plan, What};
use super::{agree, catch_up, first_seal};
use crate::backup::recover::{Approval, committed};
use crate::commands::second as command;
use crate::config::Config;
use crate::keystore::batch::{BATCH_MAX, CopiedSeed, CopyKey};
use crate::keystore::worker::{Launcher, PinForWorkers, Workers};
use crate::recovery::RecoveryIdentity;
use crate::run::{Unlocked, unlock};
use crate::state::State;
use crate::state::rows::Account;
use crate::state::second::{SecondSeed, SecondToken};
use crate::store::sqlite::{Clock, SecondMeta, Snapshot, Store, keep_second};

const NOT_CONFIGURED: &str = "the configuration names no second token: fill in [second_token] first";

/// A token that has joined.
#[derive(Clone, Debug)]
pub struct Joined {
    /// Accounts whose codes it was seen to make.
    pub accounts: u64,
    /// The line that clients' `known_agents` need beside the one they have.
    pub known_agents: String,
}

/// Opens the configured second token, after making its own two keys if it has none.
async fn second_token(config: &Config) -> anyhow::Result<Workers> {
    let (token, pin) = config.second().context(NOT_CONFIGURED)?;
    let launcher = Launcher::for_token(PinForWorkers::Source(pin.clone()), token);
    Workers::start_one(launcher, token, true).await.context("the second token cannot be opened")
}

/// Writes down what two people have to sign. The agent may be running.
///
/// # Errors
/// If there is no second token, or it is the first one.
pub async fn plan_join(config: &Config) -> anyhow::Result<String> {
    let meta = Snapshot::open(&config.store_path())?.meta()?;
    let second = second_token(config).await?;
    let key = AgentKey::from_point(second.identity_key()).context("the agent identity key is malformed")?;
    let token = second.token().clone();
    second.close().await;
    if token.as_str() == meta.token {
        bail!("[second_token] names the first token: {token}");
    }
    let planned_at = Timestamp::from_second(Timestamp::now().as_second())?;
    let plan = Plan {
        planned_at,
        what: What::Join,
        organisation: meta.org,
        first_token: &meta.token,
        second_token: token.as_str(),
        second_agent_key: &key.fingerprint(),
    };
    Ok(plan.text())
}

/// Lets the configured second token join. A run that was killed is taken up again by the same command.
///
/// # Errors
/// If the approvals are not believed, recovery copies are missing, or a token or the store fails.
pub async fn join(
    config: &Config,
    identity: &RecoveryIdentity,
    plan: &str,
    approvals: &[Approval],
) -> anyhow::Result<Joined> {
    config.second().context(NOT_CONFIGURED)?;
    let pin = PinForWorkers::for_command(&config.pin).context("the PIN cannot be read")?;
    let clock: Clock = Arc::new(Timestamp::now);
    let Unlocked { first, store, meta, .. } = unlock(config, pin, Instance::random(), clock).await?;
    let first = first.context("the first token has to be there: every code is compared with its own")?;
    let second = second_token(config).await?;
    let joining = Joining { config, identity, first, second, store, first_token: meta.token };
    let joined = joining.join(plan, approvals).await;
    joining.second.close().await;
    joining.first.close().await;
    joining.store.close().await;
    joined
}

struct Joining<'a> {
    config: &'a Config,
    identity: &'a RecoveryIdentity,
    first: Workers,
    second: Workers,
    store: Store,
    first_token: String,
}

impl Joining<'_> {
    async fn join(&self, plan: &str, approvals: &[Approval]) -> anyhow::Result<Joined> {
        let view = self.store.view();
        let token = self.second.token().clone();
        let key = AgentKey::from_point(self.second.identity_key()).context("the agent identity key is malformed")?;
        self.check(&view)?;
        let signed = Plan {
            planned_at: Timestamp::now(),
            what: What::Join,
            organisation: view.org.id,
            first_token: &self.first_token,
            second_token: token.as_str(),
            second_agent_key: &key.fingerprint(),
        }
        .signed(&view, plan, approvals)?;
        if view.second.is_none() {
            let import = self.second.make_import_identity(view.org.id).await?;
            let row = SecondToken {
                token: token.clone(),
                agent_key: key.openssh(),
                recipient: import.recipient,
                sealed_identity: BASE64_STANDARD.encode(import.sealed),
                joined: false,
                since: Timestamp::UNIX_EPOCH,
            };
            let first = self.first_token.clone();
            committed(self.store.submit(move |tx| command::begin(tx, &row, &first, &signed)).await)?;
        }
        let living: Vec<VaultId> =
            view.vaults.values().filter(|vault| vault.destroyed_at.is_none()).map(|vault| vault.id).collect();
        for vault in living {
            self.take_vault(vault).await?;
        }
        let accounts = self.compare_all().await?;
        let sealed_store_keys = self.second.seal_store_keys(view.org.id, self.store.sealer().keys()).await?;
        // Before it counts as joined: from then on the agent starts with it alone.
        let meta = SecondMeta { token: token.as_str().to_owned(), sealed_store_keys };
        keep_second(&self.config.store_path(), Some(&meta))?;
        committed(self.store.submit(move |tx| command::joined(tx, &token, accounts)).await)?;
        let known_agents = format!("{} {}", self.config.socket.display(), key.openssh());
        Ok(Joined { accounts, known_agents })
    }

    /// Before anything is changed: is this a store, a token and a recovery key that fit?
    fn check(&self, view: &State) -> anyhow::Result<()> {
        let token = self.second.token();
        if let Some((_, flaw)) = view.sealed.iter().next() {
            bail!("the store does not match its logs ({flaw}): restore a backup first");
        }
        match &view.second {
            Some(other) if other.token == *token && other.joined => bail!("{token} has joined already"),
            Some(other) if other.token != *token => {
                bail!("{} is the second token of this store: let it leave first (token-leave second)", other.token)
            }
            _ => {}
        }
        if token.as_str() == self.first_token {
            bail!("[second_token] names the first token: {token}");
        }
        let recipient = self.identity.recipient().to_string();
        if !view.org.recovery_recipients.contains(&recipient) {
            bail!("{recipient} is not among this organisation's recovery recipients");
        }
        let has_copy =
            |account: &&Account| view.recovery.get(&account.id).is_some_and(|copy| copy.revision == account.revision);
        let missing: Vec<String> = view
            .accounts
            .values()
            .filter(|account| !has_copy(account))
            .filter_map(|account| {
                Some(format!("{}/{}", view.vaults.get(&account.vault)?.names.slug, account.names.slug))
            })
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let shown: Vec<&str> = missing.iter().take(20).map(String::as_str).collect();
        bail!(
            "{} accounts have no recovery copy, so their seeds cannot reach another token: {}. Enrol them anew at their \
             services and import them again, or remove them. Nothing was changed",
            missing.len(),
            shown.join(", ")
        )
    }

    /// Makes the vault's key there and seals what an earlier run has not.
    async fn take_vault(&self, vault: VaultId) -> anyhow::Result<()> {
        let key = catch_up::vault_key(&self.store, &self.second, vault).await?;
        let view = self.store.view();
        let left: Vec<Account> = view
            .accounts_of(vault)
            .filter(|account| view.second_seeds.get(&account.id).is_none_or(|seed| seed.revision != account.revision))
            .cloned()
            .collect();
        for batch in left.chunks(BATCH_MAX) {
            let mut copies = Vec::with_capacity(batch.len());
            for account in batch {
                let row = view.recovery.get(&account.id).context("a recovery copy is gone")?;
                let copy = BASE64_STANDARD.decode(&row.copy).context("a recovery copy is malformed")?;
                copies.push(CopiedSeed { context: account.seed_context(view.org_id()), copy });
            }
            let sealed = self.second.seal_copies(copies, key.clone(), &CopyKey::Recovery(self.identity)).await;
            let sealed = sealed.map_err(|error| named(&view, error))?;
            let mut rows = Vec::with_capacity(batch.len());
            for (account, sealed) in batch.iter().zip(sealed) {
                self.compare(&view, account, (key.clone(), sealed.clone())).await?;
                let row = SecondSeed { account: account.id, vault, revision: account.revision, sealed };
                rows.push((row, None));
            }
            let token = self.second.token().clone();
            committed(self.store.submit(move |tx| command::sealed(tx, vault, &token, &rows)).await)?;
        }
        Ok(())
    }

    async fn compare(&self, view: &State, account: &Account, seal: super::Seal) -> anyhow::Result<()> {
        let context = account.seed_context(view.org_id());
        let name = &account.names.slug;
        let own = first_seal(view, &context).with_context(|| format!("{name} has no seed in the first token"))?;
        if agree((&self.first, own), (&self.second, seal), &context).await? {
            return Ok(());
        }
        bail!("the recovery copy of {name} holds another seed than the first token: nothing was taken from it")
    }

    /// Once more, everything as the store has it now. Says how many accounts.
    async fn compare_all(&self) -> anyhow::Result<u64> {
        let view = self.store.view();
        for account in view.accounts.values() {
            let sealed = view.second_seeds.get(&account.id).map(|seed| seed.sealed.clone());
            let seal = sealed.and_then(|sealed| {
                Some((view.second_keys.get(&(account.vault, sealed.key_number))?.key.clone(), sealed))
            });
            let seal = seal.with_context(|| format!("{} did not reach the second token", account.names.slug))?;
            self.compare(&view, account, seal).await?;
        }
        Ok(view.accounts.len() as u64)
    }
}

/// Puts an account's name in the place of its id.
fn named(view: &State, error: crate::keystore::KeystoreError) -> anyhow::Error {
    if let crate::keystore::KeystoreError::NotRecovered { account, .. } = &error {
        let found = view.accounts.values().find(|row| row.id.to_string() == *account);
        if let Some(row) = found {
            let name = &row.names.slug;
            return anyhow::anyhow!(
                "the recovery copy of {name} does not open with this key, or is of another account"
            );
        }
    }
    error.into()
}
