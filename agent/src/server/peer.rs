//! Who is at the other end, as the operating system says.

use std::io;

use interprocess::local_socket::tokio::Stream;
use interprocess::local_socket::traits::StreamCommon as _;

/// The process that connected (`SO_PEERCRED`, unix(7)): recorded and used for limits, never as identity. Through
/// `ssh -L` it is sshd, and a pid can be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Effective user at the time of the connection.
    pub uid: u32,
    /// Effective group at the time of the connection.
    pub gid: u32,
    /// The process.
    pub pid: i32,
}

impl Peer {
    pub(super) fn of(stream: &Stream) -> io::Result<Self> {
        let credentials = stream.peer_creds()?;
        match (credentials.euid(), credentials.egid(), credentials.pid()) {
            (Some(uid), Some(gid), Some(pid)) => Ok(Self { uid, gid, pid }),
            _ => Err(io::Error::new(io::ErrorKind::Unsupported, "the system tells no peer credentials")),
        }
    }
}
