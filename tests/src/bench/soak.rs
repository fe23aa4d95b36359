//! Many releases in a row: what the memory of agent and workers does meanwhile.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use strongroom_proto::method::agent::Status;
use strongroom_proto::words::Scheme;

use super::clients::{Team, releases_per_s};
use super::say;
use crate::organisation::Organisation;
use crate::workers::workers_of;

/// Clients at once.
const CLIENTS: usize = 64;
/// How often a line is printed.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Takes at least so many codes, all resident: the scheme whose operations SoftHSM leaks 240 bytes at.
pub(super) async fn run(releases: u64) -> anyhow::Result<()> {
    let mut organisation = Organisation::found();
    let team = Team::enrol(&organisation).await;
    let mut takers = team.clients(Scheme::Resident, CLIENTS).await?;
    let mut watcher = organisation.admin.connect().await;
    let pid = organisation.running().pid();
    say(&format!("{releases} releases by {CLIENTS} clients; memory in MiB\n"));
    say(&format!("{:>12}{:>12}{:>10}{:>22}{:>12}", "releases", "per second", "agent", "workers", "renewed"));
    let (begun, mut taken) = (Instant::now(), 0);
    while taken < releases {
        let rate = releases_per_s(&mut takers, CLIENTS, LINE_EVERY).await?;
        taken += (rate * LINE_EVERY.as_secs_f64()) as u64;
        let status = watcher.call(&Status {}).await?;
        let renewed: u64 = status.workers.iter().map(|worker| worker.restarts).sum();
        let mut workers = Vec::new();
        for worker in workers_of(pid) {
            workers.push(format!("{:.0}", resident_mib(worker.0)?));
        }
        let (agent, workers) = (resident_mib(pid)?, workers.join(" + "));
        say(&format!("{taken:>12}{rate:>12.0}{agent:>10.0}{workers:>22}{renewed:>12}"));
    }
    say(&format!("\n{taken} releases in {:.0} s", begun.elapsed().as_secs_f64()));
    Ok(())
}

/// Resident memory of a process (proc(5), `VmRSS` of its `status`).
pub(super) fn resident_mib(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("status has VmRSS")?;
    let kib: f64 = line.split_whitespace().next().context("VmRSS has a number")?.parse()?;
    Ok(kib / 1024.0)
}
