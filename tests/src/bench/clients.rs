//! Technicians who take codes and log in, over the real socket.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use strongroom_proto::client::Client;
use strongroom_proto::method::code::Release;
use strongroom_proto::words::{Algorithm, OtpKind, Scheme, VaultRole};

use super::figures::Latency;
use crate::organisation::{Organisation, create_vault, give, import, row};
use crate::people::Person;
use crate::seeds::RFC_SHA1;

/// Technicians; more clients share them.
const PEOPLE: usize = 8;
/// Accounts of each vault, so that clients need not meet in one.
const ACCOUNTS: usize = 64;

/// The people of a benchmark: an organisation with one vault per scheme.
pub(super) struct Team {
    technicians: Vec<Person>,
}

impl Team {
    pub(super) async fn enrol(organisation: &Organisation) -> Self {
        let mut admin = organisation.admin.connect().await;
        let manager = organisation.enrol(&mut admin, "manager", &[]).await;
        let mut technicians = Vec::new();
        for number in 0..PEOPLE {
            technicians.push(organisation.enrol(&mut admin, &format!("tech-{number}"), &[]).await);
        }
        for scheme in Scheme::ALL {
            let vault = scheme.to_string();
            create_vault(&mut admin, &vault, *scheme).await;
            give(&mut admin, &vault, "manager", VaultRole::Manager).await;
            for technician in &technicians {
                give(&mut admin, &vault, &technician.slug, VaultRole::Viewer).await;
            }
            let rows = (0..ACCOUNTS)
                .map(|number| row(&account(number), OtpKind::Totp, Algorithm::Sha1, 6, RFC_SHA1))
                .collect();
            import(&mut manager.connect().await, &vault, rows).await;
        }
        Self { technicians }
    }

    /// Logged-in clients, each with an account of its own.
    pub(super) async fn clients(&self, scheme: Scheme, count: usize) -> anyhow::Result<Vec<Taker>> {
        let mut clients = Vec::with_capacity(count);
        for (number, technician) in self.technicians.iter().cycle().take(count).enumerate() {
            let account = format!("{scheme}/{}", account(number % ACCOUNTS)).parse()?;
            let release = Release { account, reason: None, ticket: None, min_remaining_s: None, step_up: None };
            clients.push(Taker { client: technician.try_connect().await?, release });
        }
        Ok(clients)
    }

    /// Logs in and out again.
    pub(super) async fn logins(&self, count: usize) -> anyhow::Result<Latency> {
        let mut times = Vec::with_capacity(count);
        for technician in self.technicians.iter().cycle().take(count) {
            let begun = Instant::now();
            let client = technician.try_connect().await?;
            times.push(begun.elapsed());
            drop(client);
        }
        Ok(Latency::of(times))
    }
}

fn account(number: usize) -> String {
    format!("account-{number}")
}

/// Somebody who takes codes, one after the other.
pub(super) struct Taker {
    client: Client,
    release: Release,
}

impl Taker {
    pub(super) const fn new(client: Client, release: Release) -> Self {
        Self { client, release }
    }

    /// The same client, taking another code.
    pub(super) fn with(self, release: Release) -> Self {
        Self { release, ..self }
    }

    pub(super) async fn take(&mut self) -> anyhow::Result<()> {
        let released = self.client.call(&self.release).await.context("a code was refused")?;
        anyhow::ensure!(released.code.len() == 6, "a code has six digits");
        Ok(())
    }

    pub(super) async fn latency(&mut self, count: usize) -> anyhow::Result<Latency> {
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let begun = Instant::now();
            self.take().await?;
            times.push(begun.elapsed());
        }
        Ok(Latency::of(times))
    }
}

/// Codes per second that the first `count` of them take together.
pub(super) async fn releases_per_s(takers: &mut Vec<Taker>, count: usize, time: Duration) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let running: Vec<_> = takers
        .drain(..count)
        .map(|mut taker| {
            tokio::spawn(async move {
                let mut taken = 0_u32;
                while begun.elapsed() < time {
                    taker.take().await?;
                    taken += 1;
                }
                anyhow::Ok((taker, taken))
            })
        })
        .collect();
    let mut total = 0;
    for task in running {
        let (taker, taken) = task.await??;
        takers.push(taker);
        total += taken;
    }
    Ok(f64::from(total) / begun.elapsed().as_secs_f64())
}
