//! Opens the local socket, after asking the operating system who stands behind it. The pin decides in the end; these
//! checks keep a stranger's socket from being talked to at all.

use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use interprocess::local_socket::tokio::Stream;
use interprocess::local_socket::traits::StreamCommon as _;
use interprocess::local_socket::traits::tokio::Stream as _;
use interprocess::local_socket::{GenericFilePath, ToFsName as _};
use tokio::time::{Instant, sleep, timeout_at};

use super::Client;

/// How long a connection may take: a local one takes microseconds, a full backlog a little more.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before another try when the agent's backlog is full.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
const ROOT: u32 = 0;
const GROUP_OR_OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is no socket.
    #[error("no agent is running: there is no socket at {path}")]
    NotRunning {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// There is a socket and nobody listens: an agent ended without cleaning up.
    #[error("no agent is running: nobody listens at {path}")]
    Refused {
        /// The stale socket.
        path: PathBuf,
    },
    /// The caller may not open the socket.
    #[error("this user may not reach the agent at {path}: join the group of its folder")]
    Forbidden {
        /// The socket.
        path: PathBuf,
    },
    /// Somebody who should not stands behind the path.
    #[error("{path} is not trustworthy: {reason}")]
    NotYours {
        /// The socket.
        path: PathBuf,
        /// What is wrong, for people.
        reason: String,
    },
    /// The agent does not accept connections.
    #[error("the agent at {path} does not answer")]
    Timeout {
        /// The socket.
        path: PathBuf,
    },
    /// Anything else.
    #[error("cannot connect to {path}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

impl Client {
    /// Connects to the agent at a path, within five seconds. The socket and its peer must belong to this user, to root
    /// or to the owner of the socket's folder, and nobody else may be able to replace the socket.
    ///
    /// # Errors
    /// Each [`ConnectError`] under its condition.
    pub async fn connect(socket: &Path) -> Result<Self, ConnectError> {
        let path = || socket.to_owned();
        let failed = |source| ConnectError::Io { path: path(), source };
        let own = own_uid().map_err(failed)?;
        let folder_owner = check_path(socket, own)?;
        let stream = open(socket).await?;
        let peer = stream.peer_creds().map_err(failed)?.euid();
        match peer {
            Some(uid) if uid == own || uid == ROOT || uid == folder_owner => {}
            _ => {
                let peer = peer.map_or_else(|| "an unknown user".to_owned(), |uid| format!("user {uid}"));
                return Err(ConnectError::NotYours { path: path(), reason: format!("{peer} listens there") });
            }
        }
        Ok(Self::from_stream(stream, socket))
    }
}

/// The effective user of this process, read from a socket pair: the one place where the standard library tells it.
fn own_uid() -> io::Result<u32> {
    let (one, _other) = tokio::net::UnixStream::pair()?;
    Ok(one.peer_cred()?.uid())
}

/// Checks type, owner and folder of the socket; returns the folder's owner.
fn check_path(socket: &Path, own: u32) -> Result<u32, ConnectError> {
    let path = || socket.to_owned();
    let sorted = |source: io::Error| match source.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => ConnectError::NotRunning { path: path() },
        ErrorKind::PermissionDenied => ConnectError::Forbidden { path: path() },
        _ => ConnectError::Io { path: path(), source },
    };
    let not_yours = |reason: String| ConnectError::NotYours { path: path(), reason };
    let folder = socket.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = std::fs::metadata(folder).map_err(sorted)?;
    let entry = std::fs::symlink_metadata(socket).map_err(sorted)?;
    if !entry.file_type().is_socket() {
        return Err(not_yours("it is no socket".to_owned()));
    }
    if folder.mode() & GROUP_OR_OTHERS_WRITE != 0 && folder.mode() & STICKY == 0 {
        return Err(not_yours("others may replace it: its folder must not be writable by group or others".to_owned()));
    }
    if ![own, ROOT, folder.uid()].contains(&entry.uid()) {
        return Err(not_yours(format!("it belongs to user {}", entry.uid())));
    }
    Ok(folder.uid())
}

async fn open(socket: &Path) -> Result<Stream, ConnectError> {
    let path = || socket.to_owned();
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    loop {
        let name =
            socket.to_fs_name::<GenericFilePath>().map_err(|source| ConnectError::Io { path: path(), source })?;
        let Ok(opened) = timeout_at(deadline, Stream::connect(name)).await else {
            return Err(ConnectError::Timeout { path: path() });
        };
        let source = match opened {
            Ok(stream) => return Ok(stream),
            Err(source) => source,
        };
        match source.kind() {
            ErrorKind::NotFound => return Err(ConnectError::NotRunning { path: path() }),
            ErrorKind::ConnectionRefused => return Err(ConnectError::Refused { path: path() }),
            ErrorKind::PermissionDenied => return Err(ConnectError::Forbidden { path: path() }),
            // A full backlog answers at once with EAGAIN on Unix sockets (unix(7)).
            ErrorKind::WouldBlock if Instant::now() + RETRY_PAUSE < deadline => sleep(RETRY_PAUSE).await,
            ErrorKind::WouldBlock => return Err(ConnectError::Timeout { path: path() }),
            _ => return Err(ConnectError::Io { path: path(), source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use tokio::net::UnixListener;

    #[tokio::test]
    async fn missing_stale_and_foreign_paths_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("agent.sock");
        assert!(matches!(Client::connect(&socket).await, Err(ConnectError::NotRunning { .. })));

        std::fs::write(&socket, "").unwrap();
        assert!(matches!(Client::connect(&socket).await, Err(ConnectError::NotYours { .. })));
        std::fs::remove_file(&socket).unwrap();

        let listener = UnixListener::bind(&socket).unwrap();
        assert!(Client::connect(&socket).await.is_ok());
        let link = folder.path().join("link.sock");
        std::os::unix::fs::symlink(&socket, &link).unwrap();
        assert!(matches!(Client::connect(&link).await, Err(ConnectError::NotYours { .. })), "links are not followed");

        drop(listener);
        assert!(matches!(Client::connect(&socket).await, Err(ConnectError::Refused { .. })));
    }

    #[tokio::test]
    async fn a_socket_that_others_may_replace_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("agent.sock");
        let _listener = UnixListener::bind(&socket).unwrap();
        let mode = |mode| std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o777);
        assert!(matches!(Client::connect(&socket).await, Err(ConnectError::NotYours { .. })));
        mode(0o1777);
        assert!(Client::connect(&socket).await.is_ok());
    }
}
