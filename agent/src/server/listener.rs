//! The listening socket: one agent per path, in a folder that nobody else can write, and never a living agent displaced.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use interprocess::local_socket::tokio::Listener;
use interprocess::local_socket::{GenericFilePath, ListenerOptions, ToFsName as _};
use interprocess::os::unix::local_socket::ListenerOptionsExt as _;

/// Longest path of a Unix socket on Linux, in bytes (unix(7): 108 with its end).
const PATH_LEN_MAX: usize = 107;
const FOLDER_MODE: u32 = 0o750;
const SOCKET_MODE: u32 = 0o660;
const LOCK_MODE: u32 = 0o600;
const GROUP_OR_OTHERS_WRITE: u32 = 0o022;

/// A socket that listens, before anybody is served.
pub struct BoundListener {
    listener: Listener,
    name: SocketName,
    lock: File,
}

/// Why the agent cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The path does not fit a socket address.
    #[error("the socket path {path} has {len} bytes and may have {PATH_LEN_MAX}: choose a shorter one")]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        len: usize,
    },
    /// Others could replace the socket.
    #[error("the socket's folder {folder} must belong to this user and be writable by its owner only")]
    Folder {
        /// The folder.
        folder: PathBuf,
    },
    /// Another agent holds the lock or answers at the socket.
    #[error("another agent already serves {path}")]
    AnotherAgent {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is no socket lies at the path; it is not removed.
    #[error("{path} exists and is no socket: remove it or choose another path")]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {operation} {path}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

impl BoundListener {
    /// Listens at a path. The folder is made with mode 0750 if it is missing; beside the socket lies a lock file that
    /// keeps a second agent out. A socket that nobody serves any more is replaced, only while the lock is held.
    ///
    /// # Errors
    /// Each [`BindError`] under its condition.
    pub async fn bind(path: &Path) -> Result<Self, BindError> {
        let len = path.as_os_str().as_bytes().len();
        if len > PATH_LEN_MAX {
            return Err(BindError::TooLong { path: path.to_owned(), len });
        }
        check_folder(path)?;
        let lock = lock(path)?;
        remove_stale(path).await?;
        let failed = |source| BindError::Io { operation: "listen at", path: path.to_owned(), source };
        // The library's own ways of replacing and removing a socket do not look whose it is; ours do.
        let listener = ListenerOptions::new()
            .name(path.to_fs_name::<GenericFilePath>().map_err(failed)?)
            .mode(SOCKET_MODE)
            .reclaim_name(false)
            .create_tokio()
            .map_err(failed)?;
        // The umask has cut the mode at bind, never widened it; the folder is ours alone, so the path is still ours too.
        fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
        let entry = fs::symlink_metadata(path).map_err(failed)?;
        Ok(Self { listener, name: SocketName { path: path.to_owned(), inode: inode(&entry) }, lock })
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.name.path
    }

    pub(super) fn into_parts(self) -> (Listener, SocketName, File) {
        (self.listener, self.name, self.lock)
    }
}

fn check_folder(path: &Path) -> Result<(), BindError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |operation, source| BindError::Io { operation, path: folder.to_owned(), source };
    match DirBuilder::new().mode(FOLDER_MODE).create(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed("make the folder", error)),
    }
    let entry = fs::metadata(folder).map_err(|error| failed("look at the folder", error))?;
    if entry.uid() == crate::os::user() && entry.mode() & GROUP_OR_OTHERS_WRITE == 0 {
        Ok(())
    } else {
        Err(BindError::Folder { folder: folder.to_owned() })
    }
}

/// Takes the lock for the life of the agent. The file stays when the agent ends: removing it would let two agents lock
/// two different files of one name.
fn lock(path: &Path) -> Result<File, BindError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let failed = |source| BindError::Io { operation: "lock", path: name.clone(), source };
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .mode(LOCK_MODE)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&name)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BindError::AnotherAgent { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Removes a socket that nobody serves. It is asked first: an agent that lost its lock file still answers.
async fn remove_stale(path: &Path) -> Result<(), BindError> {
    let failed = |operation, source| BindError::Io { operation, path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Ok(entry) if entry.file_type().is_socket() => {}
        Ok(_) => return Err(BindError::NotASocket { path: path.to_owned() }),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at", error)),
    }
    match tokio::net::UnixStream::connect(path).await {
        // A full backlog answers EAGAIN: somebody is there, only busy.
        Ok(_) => Err(BindError::AnotherAgent { path: path.to_owned() }),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(BindError::AnotherAgent { path: path.to_owned() }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|source| failed("remove the stale socket", source))
        }
        Err(error) => Err(failed("probe", error)),
    }
}

/// The socket's name in the file system; removed at the end if it is still ours.
pub(super) struct SocketName {
    path: PathBuf,
    inode: (u64, u64),
}

fn inode(entry: &Metadata) -> (u64, u64) {
    (entry.dev(), entry.ino())
}

impl Drop for SocketName {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|entry| inode(&entry) == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[tokio::test]
    async fn the_socket_is_for_owner_and_group_and_goes_with_the_agent() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("strongroom/agent.sock");
        let bound = BoundListener::bind(&path).await.unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o660, 0o750));
        drop(bound);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_second_agent_is_refused_while_the_first_lives() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("agent.sock");
        let first = BoundListener::bind(&path).await.unwrap();
        assert!(matches!(BoundListener::bind(&path).await, Err(BindError::AnotherAgent { .. })));
        fs::remove_file(root.path().join("agent.sock.lock")).unwrap();
        assert!(matches!(BoundListener::bind(&path).await, Err(BindError::AnotherAgent { .. })), "the probe finds it");
        assert!(tokio::net::UnixStream::connect(&path).await.is_ok(), "the first is not displaced");
        drop(first);
        assert!(BoundListener::bind(&path).await.is_ok());
    }

    #[tokio::test]
    async fn a_stale_socket_is_taken_over_and_other_things_are_not_removed() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("agent.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let bound = BoundListener::bind(&path).await.unwrap();
        assert!(tokio::net::UnixStream::connect(&path).await.is_ok());
        drop(bound);

        fs::write(&path, "precious").unwrap();
        assert!(matches!(BoundListener::bind(&path).await, Err(BindError::NotASocket { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn a_foreign_name_is_left_in_place_at_the_end() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("agent.sock");
        let bound = BoundListener::bind(&path).await.unwrap();
        fs::remove_file(&path).unwrap();
        let other = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(bound);
        assert!(path.exists());
        drop(other);
    }

    #[tokio::test]
    async fn unsafe_folders_and_long_paths_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let long = root.path().join("x".repeat(PATH_LEN_MAX));
        assert!(matches!(BoundListener::bind(&long).await, Err(BindError::TooLong { .. })));
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o770)).unwrap();
        let refused = BoundListener::bind(&root.path().join("agent.sock")).await;
        assert!(matches!(refused, Err(BindError::Folder { .. })));
    }
}
