//! TCP and Unix sockets.

use std::io;
use std::path::Path;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UnixDatagram, UnixStream};

use super::os;

/// A connected socket.
pub(super) enum SocketSink {
    Tcp(TcpStream),
    Stream(UnixStream),
    Datagram(UnixDatagram),
}

impl SocketSink {
    pub(super) async fn tcp(host: &str, port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self::Tcp(stream))
    }

    /// Datagrams as `/dev/log` takes them or, where the socket is one of streams, a stream.
    pub(super) async fn unix(path: &Path) -> io::Result<Self> {
        let datagram = UnixDatagram::unbound()?;
        match datagram.connect(path) {
            Ok(()) => Ok(Self::Datagram(datagram)),
            Err(error) if error.raw_os_error() == Some(libc::EPROTOTYPE) => {
                Ok(Self::Stream(UnixStream::connect(path).await?))
            }
            Err(error) => Err(error),
        }
    }

    pub(super) const fn is_datagram(&self) -> bool {
        matches!(self, Self::Datagram(_))
    }

    pub(super) async fn send(&self, messages: &[String]) -> io::Result<()> {
        let Self::Datagram(socket) = self else { return Err(io::ErrorKind::Unsupported.into()) };
        for message in messages {
            socket.send(message.as_bytes()).await?;
        }
        Ok(())
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes).await,
            Self::Stream(stream) => stream.write_all(bytes).await,
            Self::Datagram(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Bytes that the other side has not taken. What it says to us is thrown away; its end is an error.
    pub(super) fn waiting(&self) -> io::Result<u64> {
        let mut said = [0; 512];
        let heard = match self {
            Self::Tcp(stream) => stream.try_read(&mut said),
            Self::Stream(stream) => stream.try_read(&mut said),
            // A datagram socket learns of its receiver's end by the next write.
            Self::Datagram(_) => Ok(said.len()),
        };
        match heard {
            Ok(0) => {
                return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the receiver closed the connection"));
            }
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        match self {
            Self::Tcp(stream) => os::unsent(stream),
            Self::Stream(stream) => os::unsent(stream),
            Self::Datagram(socket) => os::unsent(socket),
        }
    }
}
