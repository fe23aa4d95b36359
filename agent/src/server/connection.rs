//! One connection: frames in, one call at a time, replies out.

use std::sync::Arc;

use futures_util::StreamExt as _;
use interprocess::local_socket::tokio::Stream;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::frame::{FrameError, Lines};
use strongroom_proto::rpc::{Id, REQUEST_LEN_MAX};
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Duration, Instant, sleep, sleep_until, timeout};
use tokio_util::codec::FramedRead;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::frames::{Held, Reply, parse};
use super::{Limits, Peer, Service, socket_os};

/// Looks at the peer's queue this often without a pause: most peers read at once.
const EAGER_LOOKS: u32 = 3;
const PAUSE_MIN: Duration = Duration::from_micros(50);
const PAUSE_MAX: Duration = Duration::from_millis(5);

/// Serves a connection to its end.
pub(super) async fn run<S: Service>(
    stream: Stream,
    service: Arc<S>,
    peer: Peer,
    shutdown: CancellationToken,
    limits: Limits,
) {
    let close = CancellationToken::new();
    let login_deadline = Instant::now() + limits.login_deadline;
    let mut open = Open::new(service, peer, close.clone());
    let mut frames = FramedRead::new(&stream, Lines::new(REQUEST_LEN_MAX));
    let mut unread: Option<Unread> = None;
    loop {
        let drain_deadline = unread.as_ref().map_or(login_deadline, |unread| unread.deadline);
        let line = tokio::select! {
            biased;
            () = close.cancelled() => break,
            () = shutdown.cancelled() => break,
            () = sleep_until(login_deadline), if !open.authenticated() => break,
            () = drained(&stream, drain_deadline), if unread.is_some() => {
                unread = None;
                continue;
            }
            line = frames.next() => line,
        };
        // A peer that sends ahead has not read yet: its next call waits, so that at most one reply is ever held.
        if let Some(unread) = unread.take() {
            drained(&stream, unread.deadline).await;
        }
        let reply = match line {
            Some(Ok(line)) => open.answer(line, limits.call_deadline).await,
            Some(Err(FrameError::TooLong { .. })) => {
                Reply::failure(Id::Null, Failure::new(ErrorKind::TooLarge, "A frame is longer than 64 KiB.")).ending()
            }
            Some(Err(FrameError::NotText)) => {
                Reply::failure(Id::Null, Failure::new(ErrorKind::Parse, "A frame is not UTF-8 text.")).ending()
            }
            Some(Err(FrameError::Truncated | FrameError::Read(_))) | None => break,
        };
        let mut writer = &stream;
        let written = tokio::select! {
            biased;
            () = close.cancelled() => false,
            written = timeout(limits.write_deadline, writer.write_all(reply.frame.as_bytes())) => {
                matches!(written, Ok(Ok(())))
            }
        };
        let deadline = Instant::now() + limits.drain_deadline;
        unread = reply.held.map(|held| Unread { _held: held, deadline });
        if reply.end || !written {
            break;
        }
    }
    // Closing does not take back what lies in the peer's queue, so whatever is held waits here too: also when the
    // connection was ended from within, and when a write was given up half-way.
    if let Some(unread) = unread {
        drained(&stream, unread.deadline).await;
    }
}

/// What is held until the peer has read.
struct Unread {
    _held: Held,
    deadline: Instant,
}

/// Waits until the peer has read everything, is gone, or the deadline has passed. If the system does not tell, the
/// deadline decides.
async fn drained(stream: &Stream, deadline: Instant) {
    let mut pause = PAUSE_MIN;
    let mut looks = 0;
    while !matches!(socket_os::unread(stream), Ok(0)) && Instant::now() < deadline {
        looks += 1;
        if looks <= EAGER_LOOKS {
            tokio::task::yield_now().await;
        } else {
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

/// A connection that the service knows of; tells it of the end however the end comes.
struct Open<S: Service> {
    service: Arc<S>,
    connection: Option<S::Connection>,
}

impl<S: Service> Open<S> {
    fn new(service: Arc<S>, peer: Peer, close: CancellationToken) -> Self {
        let connection = Some(service.open(peer, close));
        Self { service, connection }
    }

    fn authenticated(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| self.service.authenticated(connection))
    }

    async fn answer(&mut self, line: Zeroizing<String>, deadline: Duration) -> Reply {
        let request = match parse(&line) {
            Ok(request) => request,
            Err(failure) => return Reply::failure(Id::Null, failure),
        };
        drop(line);
        let id = request.id.clone();
        let Some(connection) = &mut self.connection else {
            return Reply::failure(id, Failure::new(ErrorKind::Internal, "The connection has ended.")).ending();
        };
        match timeout(deadline, self.service.call(connection, request)).await {
            Ok(reply) => reply,
            Err(_) => Reply::failure(id, Failure::new(ErrorKind::Expired, "The call took too long.")),
        }
    }
}

impl<S: Service> Drop for Open<S> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.service.closed(connection);
        }
    }
}
