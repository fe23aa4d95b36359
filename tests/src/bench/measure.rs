//! The usual table: floors and agent in turns, on the disk as it is and on a modelled one.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use strongroom_proto::words::Scheme;

use super::clients::{Taker, Team, releases_per_s};
use super::figures::{Latency, median};
use super::floors::Floors;
use super::{disk, say};
use crate::organisation::{Organisation, Setup};

/// Clients at once.
const CROWDS: [usize; 3] = [1, 8, 64];

/// How much is measured.
struct Plan {
    rounds: usize,
    /// Equal operations of a round.
    operations: usize,
    /// How long a crowd takes codes in a round.
    crowd: Duration,
    logins: usize,
}

impl Plan {
    const FULL: Self = Self { rounds: 9, operations: 400, crowd: Duration::from_millis(500), logins: 40 };
    const QUICK: Self = Self { rounds: 2, operations: 10, crowd: Duration::from_millis(50), logins: 3 };
}

pub(super) async fn run(quick: bool) -> anyhow::Result<()> {
    let plan = if quick { Plan::QUICK } else { Plan::FULL };
    let folder = tempfile::tempdir()?;
    let shim = disk::shim(folder.path())?;
    let build = if cfg!(debug_assertions) { "DEBUG BUILD: the figures mean nothing" } else { "release build" };
    say(&format!("Strongroom benchmark, SoftHSM, {} cores, {build}", std::thread::available_parallelism()?));
    say(&format!("{} rounds of {} operations; medians over the rounds\n", plan.rounds, plan.operations));
    say(&table("the disk as it is", &plan, None).await?);
    say(&table("with 1 ms added to every fsync", &plan, Some(&shim)).await?);
    Ok(())
}

/// What all rounds gave.
#[derive(Default)]
struct Rounds {
    token: [Vec<Latency>; 2],
    append: Vec<Latency>,
    release: [Vec<Latency>; 2],
    ratio: [Vec<f64>; 2],
    crowds: [Vec<f64>; CROWDS.len()],
    login: Vec<Latency>,
    login_cpu_ms: Vec<f64>,
}

const SCHEMES: [Scheme; 2] = [Scheme::Resident, Scheme::Derived];

/// The environment that loads a library before others.
fn preloaded(shim: Option<&Path>) -> Vec<(OsString, OsString)> {
    shim.map(|shim| (OsString::from("LD_PRELOAD"), shim.as_os_str().to_owned())).into_iter().collect()
}

async fn table(disk: &str, plan: &Plan, shim: Option<&Path>) -> anyhow::Result<String> {
    let mut organisation = Organisation::found_with(&Setup { environment: preloaded(shim), ..Setup::default() });
    let team = Team::enrol(&organisation).await;
    let mut takers = Vec::new();
    for scheme in SCHEMES {
        takers.push(team.clients(scheme, 1).await?.pop().context("one client was asked for")?);
    }
    let mut crowd = team.clients(Scheme::Resident, CROWDS.into_iter().max().unwrap_or(1)).await?;
    takers.first_mut().context("two schemes")?.take().await?;
    let record_len = newest_record_len(&organisation.store())?;
    let floor_folder = organisation.root().join("floors");
    std::fs::create_dir_all(&floor_folder)?;
    let mut floors = Floors::start(&floor_folder, shim)?;
    let pid = organisation.running().pid();

    let load_before = load()?;
    let mut rounds = Rounds::default();
    // The first round warms up, among others both write-ahead logs: they grow once and are overwritten from then on.
    for round in 0..=plan.rounds {
        let keep = round > 0;
        one_round(plan, &mut floors, record_len, &mut takers, &mut rounds, keep).await?;
        for (count, figures) in CROWDS.into_iter().zip(&mut rounds.crowds) {
            figures.push(releases_per_s(&mut crowd, count, plan.crowd).await?);
        }
        let before = cpu_ms(pid)?;
        rounds.login.push(team.logins(plan.logins).await?);
        // The ends of these sessions are recorded too: they belong to a login's cost.
        tokio::time::sleep(Duration::from_millis(20)).await;
        rounds.login_cpu_ms.push((cpu_ms(pid)? - before) / plan.logins as f64);
    }
    Ok(rounds.print(disk, record_len, &format!("{load_before} before, {} after", load()?)))
}

/// Each scheme's floor, its releases and the commit's floor, next to each other in time.
async fn one_round(
    plan: &Plan,
    floors: &mut Floors,
    record_len: usize,
    takers: &mut [Taker],
    rounds: &mut Rounds,
    keep: bool,
) -> anyhow::Result<()> {
    for (place, (scheme, taker)) in SCHEMES.into_iter().zip(takers).enumerate() {
        let token = floors.token(scheme, plan.operations)?;
        let append = floors.commits(plan.operations, record_len)?;
        let release = taker.latency(plan.operations).await?;
        if keep {
            rounds.token[place].push(token);
            rounds.append.push(append);
            rounds.release[place].push(release);
            rounds.ratio[place].push(release.p50_us / (token.p50_us + append.p50_us));
        }
    }
    Ok(())
}

impl Rounds {
    fn print(&self, disk: &str, record_len: usize, load: &str) -> String {
        let mut text = format!("== {disk} (load {load}) ==\n\n");
        let _ = writeln!(text, "{:<46}{:>10}{:>10}", "floor, µs", "p50", "p99");
        let mut line = |name: &str, latency: Latency| {
            let _ = writeln!(text, "{name:<46}{:>10.0}{:>10.0}", latency.p50_us, latency.p99_us);
        };
        for (scheme, token) in SCHEMES.iter().zip(&self.token) {
            line(&format!("one {scheme} operation on the token"), Latency::median(token));
        }
        line(&format!("one durable append: a commit of {record_len} bytes"), Latency::median(&self.append));
        let _ = writeln!(text, "\n{:<46}{:>10}{:>10}{:>16}", "release, 1 client, µs", "p50", "p99", "p50 ÷ floors");
        for ((scheme, release), ratio) in SCHEMES.iter().zip(&self.release).zip(&self.ratio) {
            let latency = Latency::median(release);
            let ratio = median(ratio.iter().copied());
            let name = scheme.to_string();
            let _ = writeln!(text, "{name:<46}{:>10.0}{:>10.0}{ratio:>16.2}", latency.p50_us, latency.p99_us);
        }
        let _ = writeln!(text, "\n{:<46}{:>10}", "releases per second, resident", "");
        for (count, rates) in CROWDS.iter().zip(&self.crowds) {
            let name = if *count == 1 { "1 client".to_owned() } else { format!("{count} clients") };
            let _ = writeln!(text, "{name:<46}{:>10.0}", median(rates.iter().copied()));
        }
        let login = Latency::median(&self.login);
        let cpu_ms = self.login_cpu_ms.iter().sum::<f64>() / self.login_cpu_ms.len() as f64;
        let _ = writeln!(text, "\n{:<46}{:>10}{:>10}", "login with ed25519, µs", "p50", "p99");
        let _ = writeln!(text, "{:<46}{:>10.0}{:>10.0}", "connect, open, prove", login.p50_us, login.p99_us);
        let _ = writeln!(text, "{:<46}{:>10.2}", "agent's CPU per login and logout, ms", cpu_ms);
        text
    }
}

/// The length of the newest release record: the durable append is measured with as many bytes.
fn newest_record_len(store: &Path) -> anyhow::Result<usize> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = rusqlite::Connection::open_with_flags(store, flags)?;
    let sql = "SELECT length(record) FROM audit WHERE record LIKE '%\"code.release\"%' ORDER BY log, seq DESC LIMIT 1";
    let len: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    Ok(usize::try_from(len)?)
}

/// User and system time of a process so far (proc(5): fields 14 and 15 of its `stat`).
fn cpu_ms(pid: u32) -> anyhow::Result<f64> {
    /// The kernel counts in hundredths of a second on every Linux that we know.
    const TICK_MS: f64 = 10.0;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(')').context("stat names the program in parentheses")?.1;
    let mut fields = after_name.split_whitespace().skip(11).map(str::parse::<f64>);
    match (fields.next(), fields.next()) {
        (Some(Ok(user)), Some(Ok(system))) => Ok((user + system) * TICK_MS),
        _ => anyhow::bail!("/proc/{pid}/stat has no times"),
    }
}

fn load() -> anyhow::Result<String> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    Ok(text.split_whitespace().next().unwrap_or("?").to_owned())
}
