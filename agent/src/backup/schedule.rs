//! Backups by the running agent: made on schedule, recorded, thinned out. Evidence of drills is picked up and recorded too, and
//! what is overdue is said.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::drill::{all_evidence, newest_good};
use super::make::{Made, Maker, after, retain};
use super::names::backups_in;
use crate::commands::recovery::{self, DrillSeen};
use crate::config::Config;
use crate::handler::Agent;

/// How often the agent looks whether something is due, and how soon after its start.
const TICK: Duration = Duration::from_secs(60);
const FIRST_TICK: Duration = Duration::from_secs(2);
/// How long a failed backup waits for its next try.
const RETRY_AFTER: SignedDuration = SignedDuration::from_mins(15);
/// What was recorded of drills, by SHA-256 of the evidence, one a line.
const RECORDED: &str = "drills.recorded";

/// Makes backups until told to stop. Without a folder there is nothing to do but to say what is overdue.
pub async fn run(agent: Arc<Agent>, config: Config, token: String, stop: CancellationToken) {
    let Some(folder) = config.backup.folder.clone() else { return };
    let mut not_before = Timestamp::UNIX_EPOCH;
    let mut pause = FIRST_TICK;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = TICK;
        let now = Timestamp::now();
        if now >= not_before && backup_due(&config, &folder, now) {
            match make(&agent, &config, &token, &folder).await {
                Ok(made) => done(&agent, &config, &folder, made).await,
                Err(error) => {
                    not_before = now.checked_add(RETRY_AFTER).unwrap_or(now);
                    failed(&agent, &format!("{error:#}")).await;
                }
            }
        }
        record_drills(&agent, &config, &folder).await;
        let overdue = overdue(&config, &agent.checkpointer.key(), Timestamp::now());
        for sentence in &overdue {
            tracing::warn!("{sentence}");
        }
        agent.set_overdue(overdue);
    }
}

fn backup_due(config: &Config, folder: &Path, now: Timestamp) -> bool {
    let every = SignedDuration::from_hours(i64::try_from(config.backup.every_h).unwrap_or(24));
    match backups_in(folder, now) {
        // One from within the next day was made by a clock that had run ahead.
        Ok(found) => found.last().is_none_or(|(at, _)| now.duration_since(*at).abs() >= every),
        Err(_) => true,
    }
}

async fn make(agent: &Arc<Agent>, config: &Config, token: &str, folder: &Path) -> anyhow::Result<Made> {
    let (agent, config, token) = (Arc::clone(agent), config.clone(), token.to_owned());
    let (folder, handle) = (folder.to_owned(), tokio::runtime::Handle::current());
    tokio::task::spawn_blocking(move || {
        let voice = agent.voices.current();
        let sign = |digest: &[u8; 32]| Ok(handle.block_on(voice.workers.sign(*digest))?);
        let maker = Maker {
            config: &config,
            sealer: agent.store.sealer(),
            token: &token,
            token_is_here: agent.workers.serves(),
            agent_key: voice.key,
            instance: Some(agent.instance),
            sign: &sign,
        };
        maker.make(&folder)
    })
    .await?
}

async fn done(agent: &Arc<Agent>, config: &Config, folder: &Path, made: Made) {
    tracing::info!(file = %made.path.display(), bytes = made.size, "backup made");
    let entry = (made.sha256.clone(), made.size);
    if let Err(refused) = agent.store.submit(move |tx| recovery::backup(tx, Ok(&entry))).await {
        tracing::error!(?refused, "the backup could not be recorded");
    }
    let (command, copied) = (config.backup.command.clone(), made.clone());
    let outcome = tokio::task::spawn_blocking(move || after(&copied, command.as_deref())).await;
    if let Err(error) = outcome.map_err(anyhow::Error::from).and_then(|ran| ran) {
        // What was copied nowhere takes the place of nothing.
        failed(agent, &format!("{error:#}")).await;
        return;
    }
    match retain(config, folder, &made) {
        Ok(removed) => {
            for path in removed {
                tracing::info!(file = %path.display(), "old backup removed");
            }
        }
        Err(error) => tracing::error!(%error, "old backups could not be removed"),
    }
}

async fn failed(agent: &Agent, reason: &str) {
    tracing::error!(%reason, "backup failed");
    let reason = reason.to_owned();
    if let Err(refused) = agent.store.submit(move |tx| recovery::backup(tx, Err(&reason))).await {
        tracing::error!(?refused, "the failed backup could not be recorded");
    }
}

/// Records each drill whose evidence this agent's key signed, once.
async fn record_drills(agent: &Agent, config: &Config, folder: &Path) {
    let path: PathBuf = config.data_dir.join(RECORDED);
    let mut recorded: BTreeSet<String> =
        fs::read_to_string(&path).unwrap_or_default().lines().map(str::to_owned).collect();
    for (evidence, sha256) in all_evidence(folder, &agent.checkpointer.key()) {
        if recorded.contains(&sha256) {
            continue;
        }
        let seen = DrillSeen {
            passed: evidence.passed,
            evidence_sha256: sha256.clone(),
            backup_sha256: evidence.backup_sha256,
            made_at: evidence.made_at,
            compared: evidence.compared,
        };
        let submitted = agent.store.submit(move |tx| recovery::drill(tx, &seen)).await;
        if let Err(refused) = submitted {
            tracing::error!(?refused, "a drill could not be recorded");
            return;
        }
        recorded.insert(sha256);
        let lines: String = recorded.iter().map(|line| format!("{line}\n")).collect();
        let new = path.with_extension("new");
        if let Err(error) = fs::write(&new, lines).and_then(|()| fs::rename(&new, &path)) {
            tracing::error!(%error, "a drill will be recorded once more");
        }
    }
}

/// What is overdue, in sentences; empty if nothing is, or if no backups are set up.
#[must_use]
pub fn overdue(config: &Config, key: &strongroom_proto::agent_key::AgentKey, now: Timestamp) -> Vec<String> {
    let Some(folder) = &config.backup.folder else { return Vec::new() };
    let mut sentences = Vec::new();
    // Twice the interval: a backup that is just being made is not late.
    let late =
        SignedDuration::from_hours(i64::try_from(config.backup.every_h.saturating_mul(2)).unwrap_or(i64::MAX / 3600));
    match backups_in(folder, now).ok().and_then(|found| found.last().map(|(at, _)| *at)) {
        None => sentences.push("there is no backup yet".to_owned()),
        Some(at) if now.duration_since(at) > late => sentences.push(format!("the newest backup is of {at}")),
        Some(_) => {}
    }
    let days = config.backup.drill_within_days;
    let within = SignedDuration::from_hours(i64::try_from(days.saturating_mul(24)).unwrap_or(i64::MAX / 3600));
    match newest_good(folder, key) {
        None => sentences
            .push("no drill has shown yet that a backup brings the codes back: strongroom-agent drill".to_owned()),
        Some(at) if now.duration_since(at) > within => {
            sentences
                .push(format!("the last good drill is of {at}, more than {days} days ago: strongroom-agent drill"));
        }
        Some(_) => {}
    }
    sentences
}
