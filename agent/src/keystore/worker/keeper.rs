//! The keeper: with `pin = "prompt"` a process that does nothing but keep the PIN and start workers.
//!
//! It asks for the PIN, starts the agent as its child, and answers two questions on a socket: start a worker on this
//! socket; kill that worker. The PIN goes into a pipe that only the new worker reads, and with it
//! which module it is for: an agent that was taken over cannot have a module of its own loaded beside the PIN. So workers can be replaced at night
//! without anybody at the terminal, and the agent, which parses what strangers send, never has the PIN.

use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use secrecy::SecretString;

use super::launch::{OURSELVES, SUBCOMMAND, environment, pin_pipe};
use crate::keystore::pkcs11::TokenConfig;

/// The hidden argument that tells an agent that its standard input is a keeper's socket.
pub const ARGUMENT: &str = "--under-keeper";
/// How long the keeper may take to start a process.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long workers may take to end after the agent has.
const LAST_CALL: Duration = Duration::from_secs(5);

const LAUNCH: u8 = b'L';
const KILL: u8 = b'K';

/// The agent's end of the keeper's socket.
#[derive(Debug)]
pub struct KeeperLink(Mutex<UnixStream>);

impl KeeperLink {
    /// Takes the socket from standard input, where the keeper put it.
    ///
    /// # Errors
    /// If standard input is no such thing.
    pub fn from_stdin() -> io::Result<Self> {
        let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        socket.set_read_timeout(Some(PATIENCE))?;
        // Asks the kernel: only a socket has a peer.
        socket.peer_addr()?;
        Ok(Self(Mutex::new(socket)))
    }

    /// Has a worker started that talks through `socket`. Gives its process id.
    ///
    /// # Errors
    /// If the keeper is gone or could not start a process.
    pub fn launch(&self, socket: OwnedFd) -> io::Result<u32> {
        let mut keeper = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let passed = [socket.as_fd()];
        ancillary.push(SendAncillaryMessage::ScmRights(&passed));
        let question = question(LAUNCH, 0);
        sendmsg(&*keeper, &[IoSlice::new(&question)], &mut ancillary, SendFlags::NOSIGNAL)?;
        match answer(&mut keeper)? {
            0 => Err(io::Error::other("the keeper could not start a worker")),
            pid => Ok(pid),
        }
    }

    /// Has a worker killed.
    ///
    /// # Errors
    /// If the keeper is gone.
    pub fn kill(&self, pid: u32) -> io::Result<()> {
        let mut keeper = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keeper.write_all(&question(KILL, pid))?;
        answer(&mut keeper).map(drop)
    }
}

fn question(word: u8, pid: u32) -> [u8; 5] {
    let [a, b, c, d] = pid.to_be_bytes();
    [word, a, b, c, d]
}

fn answer(keeper: &mut UnixStream) -> io::Result<u32> {
    let mut bytes = [0; 4];
    if let Err(error) = keeper.read_exact(&mut bytes) {
        // A late answer must not be taken for the next one: the wrong worker would be killed.
        let _closed = keeper.shutdown(std::net::Shutdown::Both);
        return Err(error);
    }
    Ok(u32::from_be_bytes(bytes))
}

/// Runs the agent as a child with the given arguments, keeps the PIN and starts workers until the agent ends.
///
/// # Errors
/// If the agent cannot be started.
pub fn keep(pin: &SecretString, arguments: &[std::ffi::OsString], token: &TokenConfig) -> io::Result<ExitStatus> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut agent =
        Command::new(OURSELVES).args(arguments).arg(ARGUMENT).stdin(Stdio::from(OwnedFd::from(theirs))).spawn()?;
    crate::os::forward_stop_signals(agent.id());
    let mut workers: HashMap<u32, Child> = HashMap::new();
    // Ends when the agent does: its end of the socket closes.
    while let Some((question, passed)) = next(&ours)? {
        workers.retain(|_, worker| matches!(worker.try_wait(), Ok(None)));
        let pid = match (question, passed) {
            ((LAUNCH, _), Some(socket)) => launch(pin, socket, token, &mut workers).unwrap_or(0),
            ((KILL, pid), None) => workers.remove(&pid).map_or(0, |mut worker| {
                let _gone = worker.kill().and_then(|()| worker.wait());
                pid
            }),
            _ => break,
        };
        (&ours).write_all(&pid.to_be_bytes())?;
    }
    let status = agent.wait();
    // Their sockets closed with the agent. One that has not ended by then hangs.
    let begun = Instant::now();
    while begun.elapsed() < LAST_CALL && workers.values_mut().any(|worker| matches!(worker.try_wait(), Ok(None))) {
        std::thread::sleep(Duration::from_millis(10));
    }
    for worker in workers.values_mut() {
        let _gone = worker.kill().and_then(|()| worker.wait());
    }
    status
}

fn launch(
    pin: &SecretString,
    socket: OwnedFd,
    token: &TokenConfig,
    workers: &mut HashMap<u32, Child>,
) -> io::Result<u32> {
    let worker = Command::new(OURSELVES)
        .arg(SUBCOMMAND)
        .env_clear()
        .envs(environment(&token.profile.worker.environment))
        .stdin(Stdio::from(socket))
        .stdout(Stdio::from(pin_pipe(pin, token)?))
        .process_group(0)
        .spawn()?;
    let pid = worker.id();
    workers.insert(pid, worker);
    Ok(pid)
}

type Question = (u8, u32);

/// The next question and the descriptor that came with it; `None` when the agent is gone.
fn next(agent: &UnixStream) -> io::Result<Option<(Question, Option<OwnedFd>)>> {
    let mut bytes = [0; 5];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::WAITALL;
    let received = loop {
        match recvmsg(agent, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    if received.bytes < bytes.len() {
        return Ok(None);
    }
    let passed = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut passed) => passed.next(),
        _ => None,
    });
    let [word, a, b, c, d] = bytes;
    Ok(Some(((word, u32::from_be_bytes([a, b, c, d])), passed)))
}
