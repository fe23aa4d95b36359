//! The worker processes of a running agent, as the system shows them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::tools;

/// A worker process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerProcess(pub u32);

/// The workers that a process has started: those among its children that bear the worker's subcommand.
#[must_use]
pub fn workers_of(parent: u32) -> Vec<WorkerProcess> {
    let tasks = std::fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let children = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let pids: Vec<u32> = children.flat_map(|line| numbers(&line)).collect();
    pids.into_iter().filter(|pid| arguments(*pid).iter().any(|word| word == "hsm-worker")).map(WorkerProcess).collect()
}

/// The children of a process that serve as agents.
#[must_use]
pub fn agents_of(parent: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let children = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    children.flat_map(|line| numbers(&line)).filter(|pid| arguments(*pid).iter().any(|word| word == "run")).collect()
}

fn numbers(line: &str) -> Vec<u32> {
    line.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

fn arguments(pid: u32) -> Vec<String> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// Waits until a process has this many workers.
///
/// # Panics
/// If it does not within 20 s.
#[must_use]
pub fn await_workers(parent: u32, count: usize) -> Vec<WorkerProcess> {
    let begun = Instant::now();
    loop {
        let workers = workers_of(parent);
        if workers.len() == count {
            return workers;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{} workers, not {count}", workers.len());
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl WorkerProcess {
    /// Sends it a signal.
    ///
    /// # Panics
    /// If it is gone.
    pub fn signal(self, name: &str) {
        tools::run("kill", &[&format!("-{name}"), &self.0.to_string()]);
    }

    /// One of its files in `/proc`.
    ///
    /// # Panics
    /// If it is gone, or the file is not for this user.
    #[must_use]
    pub fn read(self, file: &str) -> String {
        let path = PathBuf::from(format!("/proc/{}/{file}", self.0));
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_running(self) -> bool {
        std::fs::read_to_string(format!("/proc/{}/stat", self.0)).is_ok_and(|stat| !stat.contains(") Z "))
    }
}
