//! How a worker process comes to be, and who gives it the PIN.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::process::{Child, Command};
use zeroize::{Zeroize as _, Zeroizing};

use super::keeper::KeeperLink;
use super::wire::{FromKeeper, PinFrom};
use crate::keystore::pkcs11::TokenConfig;
use crate::pin::PinSource;

/// The running program itself, also after an upgrade replaced its file.
pub(super) const OURSELVES: &str = "/proc/self/exe";
/// What a pipe holds at least (pipe(7)), in bytes.
pub(super) const PIPE_LEN: usize = 64 * 1024;
/// The hidden subcommand.
pub(super) const SUBCOMMAND: &str = "hsm-worker";
/// What a worker gets from the environment besides what the profile names.
const ENVIRONMENT: [&str; 3] = ["STRONGROOM_LOG", "CREDENTIALS_DIRECTORY", "TZ"];

/// Where workers get the PIN.
#[derive(Clone, Debug)]
pub enum PinForWorkers {
    /// Each reads the file or the credential itself: the agent never has it.
    Source(PinSource),
    /// This process has asked for it at the terminal, for a command that ends soon.
    Typed(SecretString),
    /// The keeper, this process's parent, has asked for it and starts the workers.
    Keeper(Arc<KeeperLink>),
}

impl PinForWorkers {
    /// Decides for a command that ends soon: a PIN that must be typed is asked for now.
    ///
    /// # Errors
    /// If there is no terminal to ask at.
    pub fn for_command(source: &PinSource) -> Result<Self, crate::pin::PinError> {
        match source {
            PinSource::Prompt => source.read().map(Self::Typed),
            source => Ok(Self::Source(source.clone())),
        }
    }
}

/// Starts worker processes.
#[derive(Clone, Debug)]
pub struct Launcher {
    pin: PinForWorkers,
    token: TokenConfig,
}

impl Launcher {
    /// A launcher for workers of one token.
    #[must_use]
    pub fn for_token(pin: PinForWorkers, token: &TokenConfig) -> Self {
        Self { pin, token: token.clone() }
    }

    /// What a worker is told about the PIN.
    pub(super) fn pin(&self) -> PinFrom {
        match &self.pin {
            PinForWorkers::Source(source) => PinFrom::Source(source.clone()),
            PinForWorkers::Typed(_) | PinForWorkers::Keeper(_) => PinFrom::Pipe,
        }
    }

    /// Starts a worker and gives the agent's end of its socket.
    pub(super) async fn launch(&self) -> io::Result<(Process, UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        let process = match &self.pin {
            PinForWorkers::Source(_) => Process::Child(spawn(theirs.into(), None, &self.token)?),
            PinForWorkers::Typed(pin) => Process::Child(spawn(theirs.into(), Some(pin), &self.token)?),
            PinForWorkers::Keeper(keeper) => {
                let keeper = Arc::clone(keeper);
                let asked = Arc::clone(&keeper);
                let pid = tokio::task::spawn_blocking(move || asked.launch(theirs.into())).await??;
                Process::Kept { keeper, pid }
            }
        };
        Ok((process, ours))
    }
}

/// The variables that a worker gets: the named ones and nothing else, so that nothing else decides what it loads.
pub(super) fn environment(named: &[String]) -> Vec<(OsString, OsString)> {
    let named = named.iter().map(String::as_str).chain(ENVIRONMENT);
    named.filter_map(|name| Some((name.into(), std::env::var_os(name)?))).collect()
}

/// A pipe that holds the PIN and the token that it is for, and nothing after it.
pub(super) fn pin_pipe(pin: &SecretString, token: &TokenConfig) -> io::Result<OwnedFd> {
    let (reader, mut writer) = io::pipe()?;
    let mut said = FromKeeper { pin: pin.expose_secret().to_owned(), token: token.clone() };
    let mut text = Zeroizing::new(Vec::with_capacity(PIPE_LEN));
    let written = serde_json::to_writer(&mut *text, &said);
    said.pin.zeroize();
    written?;
    if text.len() > PIPE_LEN {
        return Err(io::Error::other("the token's configuration is too long"));
    }
    // A pipe takes so much without a reader.
    writer.write_all(&text)?;
    Ok(reader.into())
}

fn spawn(socket: OwnedFd, pin: Option<&SecretString>, token: &TokenConfig) -> io::Result<Child> {
    let stdout = pin.map_or_else(|| Ok(Stdio::null()), |pin| pin_pipe(pin, token).map(Stdio::from))?;
    Command::new(OURSELVES)
        .arg(SUBCOMMAND)
        .env_clear()
        .envs(environment(&token.profile.worker.environment))
        .stdin(Stdio::from(socket))
        .stdout(stdout)
        // A group of its own: Ctrl-C at the agent's terminal is the agent's to deal with.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// A worker process.
#[derive(Debug)]
pub(super) enum Process {
    /// A child of ours.
    Child(Child),
    /// A child of the keeper's.
    Kept { keeper: Arc<KeeperLink>, pid: u32 },
}

impl Process {
    pub(super) fn pid(&self) -> u32 {
        match self {
            Self::Child(child) => child.id().unwrap_or(0),
            Self::Kept { pid, .. } => *pid,
        }
    }

    /// Ends it at once.
    pub(super) async fn kill(self) {
        match self {
            Self::Child(mut child) => {
                if let Err(error) = child.kill().await {
                    tracing::warn!(%error, "a worker could not be killed");
                }
            }
            Self::Kept { keeper, pid } => {
                let killed = tokio::task::spawn_blocking(move || keeper.kill(pid)).await;
                if !matches!(killed, Ok(Ok(()))) {
                    tracing::warn!(pid, "a worker could not be killed");
                }
            }
        }
    }

    /// Waits for a worker whose socket was closed, and ends it if it takes too long.
    pub(super) async fn ended(self, patience: Duration) {
        match self {
            Self::Child(mut child) => {
                if tokio::time::timeout(patience, child.wait()).await.is_err() {
                    Self::Child(child).kill().await;
                }
            }
            // The keeper reaps it. One that has not ended by then hangs.
            Self::Kept { .. } => {
                tokio::time::sleep(patience).await;
                self.kill().await;
            }
        }
    }
}
