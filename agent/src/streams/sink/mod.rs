//! Where messages go. Each sink says how many bytes the other side has not taken yet, as far as the kernel knows; none of them
//! ever waits without a deadline.

mod command;
mod file;
mod os;
mod socket;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::command::CommandSink;
use self::file::FileSink;
use self::socket::SocketSink;
use super::section::{Format, StreamConfig, Target};
use super::window::Doubt;

/// How long a connection may take to be made.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long one write may take: a receiver that does not read for so long is given up.
const WRITE_WITHIN: Duration = Duration::from_secs(30);
/// What was written so lately may still lie in the receiver's memory.
const DOUBT_TIME: Duration = Duration::from_secs(5);

/// How messages are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// Each behind its length and a space (RFC 6587 §3.4.1).
    Octets,
    /// Each followed by LF; none holds one.
    Lines,
}

impl Framing {
    fn frame(self, message: &str, out: &mut Vec<u8>) {
        match self {
            Self::Octets => {
                out.extend_from_slice(message.len().to_string().as_bytes());
                out.push(b' ');
                out.extend_from_slice(message.as_bytes());
            }
            Self::Lines => {
                out.extend_from_slice(message.as_bytes());
                out.push(b'\n');
            }
        }
    }
}

/// What a stream keeps from one connection to the next.
pub(super) struct Place {
    target: Target,
    framing: Framing,
    doubt: Doubt,
    /// Held while the file system works: one that hangs holds one thread, not one more with each try.
    disk: Arc<Semaphore>,
}

impl Place {
    pub(super) fn new(config: &StreamConfig) -> Self {
        let is_file = matches!(config.to, Target::File(_));
        // In a file each message has a line of its own, whatever its form.
        let framing = if config.format == Format::Rfc5424 && !is_file { Framing::Octets } else { Framing::Lines };
        // What is synced to a disk is in no buffer.
        let doubt = if is_file {
            Doubt { bytes: 0, time: Duration::ZERO }
        } else {
            Doubt { bytes: config.resend, time: DOUBT_TIME }
        };
        Self { target: config.to.clone(), framing, doubt, disk: Arc::new(Semaphore::new(1)) }
    }

    /// How long what was written stays in doubt.
    pub(super) const fn doubt(&self) -> Doubt {
        self.doubt
    }

    /// Connects, opens or starts.
    ///
    /// # Errors
    /// The system's own, or `TimedOut` after 10 s.
    pub(super) async fn connect(&self) -> io::Result<Sink> {
        let connecting = async {
            Ok(match &self.target {
                Target::Unix(path) => Kind::Socket(SocketSink::unix(path).await?),
                Target::Tcp { host, port } => Kind::Socket(SocketSink::tcp(host, *port).await?),
                Target::File(path) => Kind::File(FileSink::open(path, Arc::clone(&self.disk)).await?),
                Target::Command(command) => Kind::Command(CommandSink::start(command)?),
            })
        };
        let kind = within(CONNECT_WITHIN, connecting).await?;
        Ok(Sink { kind, framing: self.framing, written: 0 })
    }
}

/// An open connection.
pub(super) struct Sink {
    kind: Kind,
    framing: Framing,
    written: u64,
}

enum Kind {
    Socket(SocketSink),
    File(FileSink),
    Command(CommandSink),
}

impl Sink {
    /// Writes messages in order.
    ///
    /// # Errors
    /// The system's own, or `TimedOut` after 30 s. Then some of them, or a part of one, may have been written.
    pub(super) async fn write(&mut self, messages: &[String]) -> io::Result<()> {
        if let Kind::Socket(socket) = &self.kind
            && socket.is_datagram()
        {
            within(WRITE_WITHIN, socket.send(messages)).await?;
            self.written += messages.iter().map(|message| message.len() as u64).sum::<u64>();
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(messages.iter().map(|message| message.len() + 8).sum());
        for message in messages {
            self.framing.frame(message, &mut bytes);
        }
        let len = bytes.len() as u64;
        let writing = async {
            match &mut self.kind {
                Kind::Socket(socket) => socket.write(&bytes).await,
                Kind::File(file) => file.append(bytes).await,
                Kind::Command(command) => command.write(&bytes).await,
            }
        };
        within(WRITE_WITHIN, writing).await?;
        self.written += len;
        Ok(())
    }

    /// Bytes written, and those of them that the other side has taken. On TCP that means its kernel, on Unix sockets and pipes
    /// the receiver itself.
    ///
    /// # Errors
    /// What says that the other side is gone.
    pub(super) fn taken(&mut self) -> io::Result<(u64, u64)> {
        let waiting = match &mut self.kind {
            Kind::Socket(socket) => socket.waiting()?,
            Kind::File(_) => 0,
            Kind::Command(command) => command.waiting()?,
        };
        Ok((self.written, self.written.saturating_sub(waiting)))
    }

    /// Ends the connection in order, as far as that takes no time.
    pub(super) async fn close(self) {
        match self.kind {
            Kind::Command(command) => command.close().await,
            Kind::Socket(_) | Kind::File(_) => {}
        }
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(limit, work).await.unwrap_or_else(|_| {
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("the receiver did not move for {} s", limit.as_secs())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_count_bytes_not_characters() {
        let framed = |framing: Framing| {
            let mut out = Vec::new();
            framing.frame("é", &mut out);
            framing.frame("ab", &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(framed(Framing::Octets), "2 é2 ab");
        assert_eq!(framed(Framing::Lines), "é\nab\n");
    }
}
