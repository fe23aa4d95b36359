//! Bytes to calls: the listening socket, its connections, their frames and limits. What a call means is the service's
//! business; this folder doesn't know identities, vaults or codes.

mod connection;
mod frames;
mod listener;
mod peer;
mod socket_os;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use interprocess::local_socket::tokio::Stream;
use interprocess::local_socket::traits::tokio::Listener as _;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::rpc::{Id, Request};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use frames::{Held, Reply};
pub use listener::{BindError, BoundListener};
pub use peer::Peer;

/// What answers the calls of all connections.
pub trait Service: Send + Sync + 'static {
    /// What belongs to one connection.
    type Connection: Send + 'static;

    /// A connection has been accepted. Cancelling `close` ends it: no further frame is read, and a reply that is being
    /// written is abandoned. A call that is running is not interrupted, but its reply is not written; so a service that
    /// ends the connection by its own reply sets [`Reply::end`] instead.
    fn open(&self, peer: Peer, close: CancellationToken) -> Self::Connection;

    /// True once somebody has logged in: the login deadline no longer applies.
    fn authenticated(&self, connection: &Self::Connection) -> bool;

    /// Answers one call. Dropped without an answer when the call deadline passes.
    fn call(&self, connection: &mut Self::Connection, request: Request) -> impl Future<Output = Reply> + Send;

    /// The connection has ended; called exactly once for each [`Self::open`], also after a panic.
    fn closed(&self, connection: Self::Connection);
}

/// What connections may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Connections at once of one uid.
    pub connections_per_uid: usize,
    /// A connection without a login ends after this long. Somebody may have to find and touch a key.
    pub login_deadline: Duration,
    /// A call is answered with `expired` after this long.
    pub call_deadline: Duration,
    /// A peer that does not take its reply loses the connection after this long.
    pub write_deadline: Duration,
    /// What a reply holds is let go after this long even if the peer has not read it.
    pub drain_deadline: Duration,
    /// At shutdown, running calls get this long.
    pub shutdown_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            connections_per_uid: 64,
            login_deadline: Duration::from_secs(120),
            call_deadline: Duration::from_secs(30),
            write_deadline: Duration::from_secs(30),
            drain_deadline: Duration::from_secs(2),
            shutdown_grace: Duration::from_secs(5),
        }
    }
}

/// Pause after an accept error that passes by itself.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts and serves connections until `shutdown` is cancelled; then stops accepting, removes the socket, lets running
/// calls finish within the grace time and closes everything.
///
/// # Errors
/// The accept error that no waiting cures. The connections are closed all the same.
pub async fn serve<S: Service>(
    bound: BoundListener,
    service: Arc<S>,
    shutdown: CancellationToken,
    limits: Limits,
) -> io::Result<()> {
    let (listener, name, lock) = bound.into_parts();
    let stop = shutdown.child_token();
    let slots = Arc::new(Semaphore::new(limits.connections));
    let uids = Arc::new(Uids::default());
    let mut tasks = JoinSet::new();
    let outcome = loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break Ok(()),
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                note(ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => match AcceptFault::of(&error) {
                AcceptFault::Ignore => continue,
                AcceptFault::Wait => {
                    tracing::warn!(%error, "cannot accept connections for now");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
                AcceptFault::Fatal => break Err(error),
            },
        };
        let peer = match Peer::of(&stream) {
            Ok(peer) => peer,
            Err(error) => {
                tracing::warn!(%error, "refused a connection whose peer the system does not tell");
                continue;
            }
        };
        let slot = Arc::clone(&slots).try_acquire_owned();
        let uid_slot = Uids::take(&uids, peer.uid, limits.connections_per_uid);
        let (Ok(slot), Some(uid_slot)) = (slot, uid_slot) else {
            tracing::warn!(uid = peer.uid, "refused a connection: too many are open");
            refuse(stream).await;
            continue;
        };
        let (service, stop) = (Arc::clone(&service), stop.clone());
        tasks.spawn(async move {
            connection::run(stream, service, peer, stop, limits).await;
            drop((slot, uid_slot));
        });
    };
    drop(listener);
    drop(name);
    stop.cancel();
    let finishing = async {
        while let Some(ended) = tasks.join_next().await {
            note(ended);
        }
    };
    if tokio::time::timeout(limits.shutdown_grace, finishing).await.is_err() {
        tracing::warn!(connections = tasks.len(), "calls did not finish in time at shutdown");
        tasks.shutdown().await;
    }
    drop(lock);
    outcome
}

fn note(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("a connection ended by a fault of the agent");
    }
}

async fn refuse(stream: Stream) {
    let failure = Failure::new(ErrorKind::RateLimited, "Too many connections are open; try again later.");
    let reply = Reply::failure(Id::Null, failure);
    let mut writer = &stream;
    // A fresh socket has room for a line; a peer that prevents that gets none.
    let _ = tokio::time::timeout(ACCEPT_PAUSE, writer.write_all(reply.frame.as_bytes())).await;
}

/// What an accept error asks for (accept(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AcceptFault {
    /// It concerns one connection that is gone.
    Ignore,
    /// Something is used up that comes back.
    Wait,
    /// The listening socket itself is broken.
    Fatal,
}

impl AcceptFault {
    fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ECONNABORTED | libc::EINTR | libc::EPROTO | libc::EPERM) => Self::Ignore,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EAGAIN) => Self::Wait,
            _ => Self::Fatal,
        }
    }
}

/// Open connections per uid.
#[derive(Default)]
struct Uids(Mutex<HashMap<u32, usize>>);

struct UidSlot(Arc<Uids>, u32);

impl Uids {
    fn take(uids: &Arc<Self>, uid: u32, max: usize) -> Option<UidSlot> {
        let mut counts = uids.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(uid).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(UidSlot(Arc::clone(uids), uid))
    }
}

impl Drop for UidSlot {
    fn drop(&mut self) {
        let mut counts = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests;
