//! What the worker process costs: the same operation asked of workers and of the module in this process, in turns within one
//! run; and how many workers are best here.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use strongroom_agent::keystore::pkcs11::{TokenConfig, TokenProfile};
use strongroom_agent::keystore::worker::{Launcher, PinForWorkers, Workers};
use strongroom_agent::keystore::{SealedSeed, Seed, SeedContext, VaultKey};
use strongroom_agent::pin::PinSource;
use strongroom_proto::ids::{AccountId, OrgId, VaultId};
use strongroom_proto::words::{Algorithm, OtpKind, Scheme};
use tokio::sync::mpsc;

use super::figures::{Latency, median};
use super::floors::Floors;
use super::say;
use crate::organisation::PIN;
use crate::seeds::RFC_SHA1;
use crate::token::TestToken;
use crate::tools;

/// The argument that makes this program the child whose environment names the token.
pub(super) const CHILD: &str = "--measure-workers";
const FOLDER: &str = "STRONGROOM_BENCH_WORKERS";
/// Numbers of workers that are compared.
const NUMBERS: [u8; 3] = [1, 2, 4];
/// Calls at once in a crowd.
const CROWD: usize = 32;
const SCHEMES: [Scheme; 2] = [Scheme::Resident, Scheme::Derived];

/// Prints the table.
pub(super) fn run(quick: bool) -> anyhow::Result<()> {
    let (rounds, count) = if quick { (2, 50) } else { (9, 4000) };
    let folder = tempfile::tempdir()?;
    let floor_folder = folder.path().join("floors");
    std::fs::create_dir(&floor_folder)?;
    let mut floors = Floors::start(&floor_folder, None)?;
    let mut asked = Asked::start(folder.path())?;
    let mut text = format!("{rounds} rounds of {count} operations; medians over the rounds\n\n");
    let _ = writeln!(text, "{:<26}{:>12}{:>12}{:>12}{:>16}", "", "p50, µs", "per second", "", "time ÷ in-process");
    for scheme in SCHEMES {
        let mut inside = Vec::new();
        let mut rows = vec![(Vec::new(), Vec::new(), Vec::new()); NUMBERS.len()];
        for round in 0..=rounds {
            let floor = floors.token(scheme, count)?;
            let in_process_per_s = 1e6 / floor.p50_us;
            for (number, row) in NUMBERS.into_iter().zip(&mut rows) {
                let p50_us = asked.ask(number, scheme, count / 4, 1)?.0;
                let per_s = asked.ask(number, scheme, count, CROWD)?.1;
                if round > 0 {
                    row.0.push(p50_us);
                    row.1.push(per_s);
                    row.2.push(in_process_per_s / per_s);
                }
            }
            if round > 0 {
                inside.push(floor);
            }
        }
        let floor = Latency::median(&inside);
        let _ =
            writeln!(text, "{:<26}{:>12.1}{:>12.0}", format!("{scheme}, in-process"), floor.p50_us, 1e6 / floor.p50_us);
        for (number, (p50_us, per_s, ratio)) in NUMBERS.iter().zip(rows) {
            let name = format!("{scheme}, {number} worker{}", if *number == 1 { "" } else { "s" });
            let (p50_us, per_s, ratio) =
                (median(p50_us.into_iter()), median(per_s.into_iter()), median(ratio.into_iter()));
            let _ = writeln!(text, "{name:<26}{p50_us:>12.1}{per_s:>12.0}{:>12}{ratio:>16.2}", "");
        }
    }
    let _ = writeln!(
        text,
        "\np50: one call at a time, the way to the worker and back included. Per second: {CROWD} calls at once."
    );
    say(&text);
    Ok(())
}

/// The child process, asked round by round.
struct Asked {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    _token: TestToken,
}

impl Asked {
    fn start(folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.join("workers");
        std::fs::create_dir(&folder)?;
        let token = TestToken::make(&folder, PIN);
        tools::write_private(&folder.join("pin"), &token.pin);
        let mut child = Command::new(std::env::current_exe()?)
            .arg(CHILD)
            .envs(token.environment.iter().cloned())
            .env(FOLDER, &folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let questions = child.stdin.take().context("the child has a standard input")?;
        let answers = BufReader::new(child.stdout.take().context("the child has a standard output")?);
        Ok(Self { child, questions, answers, _token: token })
    }

    /// p50 in µs and operations per second.
    fn ask(&mut self, workers: u8, scheme: Scheme, count: usize, at_once: usize) -> anyhow::Result<(f64, f64)> {
        writeln!(self.questions, "{workers} {scheme} {count} {at_once}")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let figures: Vec<f64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        match figures.as_slice() {
            [p50_us, per_s] => Ok((*p50_us, *per_s)),
            _ => anyhow::bail!("the workers could not be measured: {line:?}"),
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The child: an agent's runtime with workers, and nothing else of an agent.
pub(super) fn serve() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let folder = PathBuf::from(std::env::var_os(FOLDER).context("the workers are measured by a parent")?);
    let token = TestToken::at(&folder, PIN);
    let config = TokenConfig {
        module: token.module.clone(),
        storage: token.storage.clone(),
        ..TokenConfig::new(TokenProfile::find(&token.kind.profile())?, &token.label)
    };
    let pin = PinSource::File(folder.join("pin"));
    let mut teams = Vec::new();
    for (place, number) in NUMBERS.into_iter().enumerate() {
        let mut config = config.clone();
        config.profile.workers = number;
        let launcher = || Launcher::for_token(PinForWorkers::Source(pin.clone()), &config);
        if place == 0 {
            runtime.block_on(async {
                Workers::start_one(launcher(), &config, true).await?.close().await;
                anyhow::Ok(())
            })?;
        }
        let (events, _) = mpsc::unbounded_channel();
        let workers = runtime.block_on(Workers::start(launcher(), &config, events))?;
        let sealed = [Scheme::Resident, Scheme::Derived].map(|scheme| runtime.block_on(Sealed::make(&workers, scheme)));
        teams.push((number, workers, sealed.into_iter().collect::<anyhow::Result<Vec<_>>>()?));
    }
    for line in std::io::stdin().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let [number, scheme, count, at_once] = words.as_slice() else { anyhow::bail!("not a question: {line:?}") };
        let (number, count, at_once): (u8, usize, usize) = (number.parse()?, count.parse()?, at_once.parse()?);
        let (_, workers, sealed) = teams.iter().find(|(there, ..)| *there == number).context("no such team")?;
        let sealed = sealed.iter().find(|sealed| sealed.key.scheme.as_str() == *scheme).context("no such scheme")?;
        // Spawned as an agent's calls are: on the runtime's own thread.
        let measured =
            runtime.block_on(runtime.spawn(measure(workers.clone(), Arc::new(sealed.clone()), count, at_once)));
        let (p50_us, per_s) = measured??;
        say(&format!("{p50_us} {per_s}"));
    }
    Ok(())
}

async fn measure(workers: Workers, sealed: Arc<Sealed>, count: usize, at_once: usize) -> anyhow::Result<(f64, f64)> {
    let begun = Instant::now();
    let callers: Vec<_> = (0..at_once)
        .map(|caller| {
            let (workers, sealed) = (workers.clone(), Arc::clone(&sealed));
            tokio::spawn(async move {
                let mut times = Vec::new();
                for counter in (caller..count).step_by(at_once) {
                    let begun = Instant::now();
                    let Sealed { key, context, sealed } = sealed.as_ref().clone();
                    workers.otp_mac(key, context, sealed, counter as u64).await?;
                    times.push(begun.elapsed());
                }
                anyhow::Ok(times)
            })
        })
        .collect();
    let mut times = Vec::with_capacity(count);
    for caller in callers {
        times.extend(caller.await??);
    }
    let per_s = count as f64 / begun.elapsed().as_secs_f64();
    Ok((Latency::of(times).p50_us, per_s))
}

/// A seed on the token.
#[derive(Clone)]
struct Sealed {
    key: VaultKey,
    context: SeedContext,
    sealed: SealedSeed,
}

impl Sealed {
    async fn make(workers: &Workers, scheme: Scheme) -> anyhow::Result<Self> {
        let key = workers.create_vault_key(VaultId::random(), 1, scheme).await?;
        let context = SeedContext {
            store: OrgId::random(),
            vault: key.vault,
            account: AccountId::random(),
            kind: OtpKind::Totp,
            algorithm: Algorithm::Sha1,
            digits: 6,
            period_s: 30,
            revision: 1,
        };
        let sealed = workers.seal(key.clone(), context.clone(), &Seed::new(RFC_SHA1.to_vec())?).await?;
        Ok(Self { key, context, sealed })
    }
}
