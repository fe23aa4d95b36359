//! A real agent process: started, killed, stopped, started again.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::tools;

/// How long an agent may take to listen or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// How the agent is started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Its configuration.
    pub config: PathBuf,
    /// Its socket.
    pub socket: PathBuf,
    /// Where its standard error goes; appended to.
    pub log: PathBuf,
    /// What the token's module needs in the environment.
    pub token_environment: Vec<(OsString, OsString)>,
    /// Further environment: a fault at the real boundary, another clock, a log level.
    pub environment: Vec<(OsString, OsString)>,
}

/// A running agent. Killed when dropped.
pub struct AgentProcess {
    child: Child,
    launch: Launch,
}

impl Launch {
    /// A command of `strongroom-agent` in this environment.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(tools::program("strongroom-agent"));
        command.arg("--config").arg(&self.config).args(arguments).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let environment = self.token_environment.iter().chain(&self.environment);
        command.envs(environment.map(|(name, value)| (name, value)));
        command
    }

    /// Starts the agent and waits until it listens.
    ///
    /// # Panics
    /// If it does not within 20 s; the message has its log.
    #[must_use]
    pub fn start(&self) -> AgentProcess {
        let log = File::options().create(true).append(true).open(&self.log).expect("the log can be written");
        let child = self
            .command(&["run"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the agent can be started");
        let mut agent = AgentProcess { child, launch: self.clone() };
        agent.wait_until_listening();
        agent
    }
}

impl AgentProcess {
    fn wait_until_listening(&mut self) {
        let begun = Instant::now();
        loop {
            if std::os::unix::net::UnixStream::connect(&self.launch.socket).is_ok() {
                return;
            }
            if let Some(status) = self.child.try_wait().expect("the agent can be waited for") {
                panic!("the agent ended with {status}: {}", self.log());
            }
            assert!(begun.elapsed() < PATIENCE, "the agent does not listen: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to standard error.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.launch.log).unwrap_or_default()
    }

    /// Kills it without warning.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub fn kill(&mut self) {
        self.child.kill().expect("the agent can be killed");
        self.child.wait().expect("the agent can be waited for");
    }

    /// Asks it to end and waits.
    ///
    /// # Panics
    /// If it does not end within 20 s.
    pub fn stop(&mut self) -> ExitStatus {
        tools::run("kill", &["-TERM", &self.pid().to_string()]);
        self.wait()
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// If it does not within 20 s.
    pub fn wait(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the agent can be waited for") {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "the agent does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// True while it runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The path of a file in the repository.
#[must_use]
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository").join(path)
}
