//! Has the first token's key vouch for the second one's while both are here: later one of them may be the only one, and whoever
//! pinned the other has to be led to it.

use anyhow::Context as _;
use jiff::Timestamp;
use strongroom_proto::agent_key::AgentKey;
use strongroom_proto::audit::checkpoint::der_from_raw;
use strongroom_proto::audit::log_key::LogKey;

use crate::commands::organisation;
use crate::handler::Agent;
use crate::keystore::worker::Workers;

/// Signs the statement and records it, if there is none yet and both tokens serve. True if there is a new one.
///
/// # Errors
/// If a token does not sign, or the store refuses.
pub async fn vouch(agent: &Agent, now: Timestamp) -> anyhow::Result<bool> {
    let Some(second) = &agent.second else { return Ok(false) };
    let (first, second) = (&agent.workers, &second.workers);
    let view = agent.store.view();
    let Some(joined) = view.joined() else { return Ok(false) };
    let keys = (view.org.agent_key.clone(), joined.agent_key.clone());
    if view.log_keys.contains_key(&keys) || !first.serves() || !second.serves() {
        return Ok(false);
    }
    let (old, new) = (key_of(first)?, key_of(second)?);
    if keys != (old.openssh(), new.openssh()) {
        return Ok(false);
    }
    let organisation = view.org_id();
    let digest = LogKey::digest(organisation, &old, &new, now);
    let [by_old, by_new] = [first.sign(digest).await?, second.sign(digest).await?].map(|raw| der_from_raw(&raw));
    let statement = LogKey::new(organisation, [&old, &new], now, [&by_old, &by_new]);
    statement.check(organisation).context("a token signed wrong")?;
    let recorded = agent.store.submit(move |tx| organisation::log_key(tx, &statement)).await;
    recorded.map_err(|refused| anyhow::anyhow!("it could not be recorded: {refused:?}"))?;
    Ok(true)
}

fn key_of(workers: &Workers) -> anyhow::Result<AgentKey> {
    AgentKey::from_point(workers.identity_key()).context("the agent identity key is malformed")
}
