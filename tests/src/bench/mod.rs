//! The benchmark: floors of the token and the disk, and a real agent over its real socket, measured in turns within one
//! run, because machines change their pace from minute to minute. It measures and judges nothing.

mod clients;
mod crowd;
mod disk;
mod figures;
mod floors;
mod measure;
mod people;
mod scale;
mod soak;
mod trail;
mod workers;

use std::io::Write as _;
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

/// What was asked for on the command line.
#[derive(Clone, Copy, Debug, Default)]
struct Options {
    /// Few and short rounds: shows that it runs, not how fast.
    quick: bool,
    /// A large organisation instead of the usual table.
    scale: bool,
    /// An organisation of thousands, instead of the usual table.
    people: bool,
    /// What the worker process costs, instead of the usual table.
    workers: bool,
    /// A trail of so many records, instead of the usual table.
    trail: Option<u64>,
    /// So many releases in a row, instead of the usual table.
    soak: Option<u64>,
}

/// Runs the benchmark, or the child process that measures the floors.
///
/// # Errors
/// If something could not be set up or the agent refused a call. A slow figure is no error.
pub fn main(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let mut options = Options::default();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            floors::CHILD => return floors::serve(),
            workers::CHILD => return workers::serve(),
            // What the agent calls itself by to start a worker.
            "hsm-worker" => {
                let _code = strongroom_agent::keystore::worker::serve::run();
                return Ok(());
            }
            "--workers" => options.workers = true,
            "--soak" => {
                let number = arguments.next().context("--soak needs a number of releases")?;
                options.soak = Some(number.replace('_', "").parse().context("--soak needs a number of releases")?);
            }
            trail::CHILD => return trail::verify(arguments.next().context("which folder")?.as_ref()),
            "--trail" => {
                let number = arguments.next().context("--trail needs a number of records")?;
                options.trail = Some(number.replace('_', "").parse().context("--trail needs a number of records")?);
            }
            "--quick" => options.quick = true,
            "--people" => options.people = true,
            "--scale" => options.scale = true,
            other => bail!("{other} is not known: --quick, --people, --scale, --workers, --soak N, --trail N"),
        }
    }
    if !options.quick && options.trail.is_none() {
        build_agent()?;
    }
    if options.workers {
        return workers::run(options.quick);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let Some(releases) = options.soak {
        runtime.block_on(soak::run(releases))
    } else if let Some(records) = options.trail {
        runtime.block_on(trail::run(records, records.min(1_000_000)))
    } else if options.people {
        runtime.block_on(people::run(options.quick))
    } else if options.scale {
        runtime.block_on(scale::run(options.quick))
    } else {
        runtime.block_on(measure::run(options.quick))
    }
}

/// The agent is another package's program, so running this one does not build it. Naming both packages keeps the
/// features, and with them the compiled dependencies, the same.
fn build_agent() -> anyhow::Result<()> {
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet", "-p", "strongroom-tests", "-p", "strongroom-agent", "--bin", "strongroom-agent"]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    build.current_dir(crate::agent::repository(""));
    ensure!(build.status().context("cargo is needed to build the agent")?.success(), "the agent could not be built");
    Ok(())
}

fn say(text: &str) {
    let mut out = std::io::stdout();
    // Whoever reads may have gone: then there is nobody left to tell.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
}
