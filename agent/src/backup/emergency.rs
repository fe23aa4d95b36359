//! `strongroom-agent emergency-admin`: when the last admin is lost. At the host, with the agent stopped, by whoever holds the
//! recovery key; loud in the log.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use strongroom_proto::ids::{Instance, Slug};

use crate::commands::recovery;
use crate::config::Config;
use crate::handler::key_row;
use crate::keystore::worker::PinForWorkers;
use crate::recovery::RecoveryIdentity;
use crate::run::{Opened, open};
use crate::state::rows::IdentityNames;
use crate::store::Refused;
use crate::store::sqlite::Clock;

/// Makes an admin. Holding the private half of one of the organisation's recovery recipients is the proof.
///
/// # Errors
/// If the organisation has no recovery recipients or the key is none of theirs, if an agent is running, or the command's own.
pub async fn emergency_admin(
    config: &Config,
    slug: Slug,
    key_line: &str,
    identity: &RecoveryIdentity,
) -> anyhow::Result<String> {
    let key = key_row(key_line).map_err(|failure| anyhow::anyhow!("the admin's key: {failure}"))?;
    let clock: Clock = Arc::new(Timestamp::now);
    let pin = PinForWorkers::for_command(&config.pin).context("the PIN cannot be read")?;
    let Opened { workers, second, store, .. } = open(config, pin, Instance::random(), clock).await?;
    // What follows needs the store's keys only.
    workers.close().await;
    if let Some(second) = second {
        second.close().await;
    }
    let recipients = store.view().org.recovery_recipients.clone();
    let recipient = identity.recipient().to_string();
    if recipients.is_empty() {
        bail!("this organisation has no recovery recipients: nobody can prove to be in charge of it");
    }
    if !recipients.contains(&recipient) {
        bail!("{recipient} is not among this organisation's recovery recipients");
    }
    let fingerprint = key.fingerprint.clone();
    let names = IdentityNames { name: slug.to_string(), slug: slug.clone(), principals: Vec::new() };
    let made = store.submit(move |tx| recovery::emergency_admin(tx, &names, &key, &recipient)).await;
    store.close().await;
    match made {
        Ok(_) => Ok(format!(
            "{slug} is an admin with the key {fingerprint}. The log of the organisation says so (emergency.admin): tell the others.\n"
        )),
        Err(Refused::Denied(failure)) => bail!("{failure}"),
        Err(Refused::Store(error)) => Err(error.into()),
    }
}
