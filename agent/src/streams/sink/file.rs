//! A file that is appended to and synced before anything counts as sent. Opened anew when it was rotated away.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// An open file. `None` while a write that outlived its deadline still has it.
pub(super) struct FileSink {
    path: PathBuf,
    file: Option<File>,
    disk: Arc<Semaphore>,
}

impl FileSink {
    pub(super) async fn open(path: &Path, disk: Arc<Semaphore>) -> io::Result<Self> {
        let mut sink = Self { path: path.to_owned(), file: None, disk };
        sink.append(Vec::new()).await?;
        Ok(sink)
    }

    /// Appends and syncs. The file system may hang: the work then keeps its thread and the permit, and nobody waits for it.
    pub(super) async fn append(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        let permit = Arc::clone(&self.disk).acquire_owned().await.map_err(io::Error::other)?;
        let (path, file) = (self.path.clone(), self.file.take());
        let work = spawn_blocking(move || {
            let _permit = permit;
            append(&path, file, &bytes)
        });
        self.file = Some(work.await.map_err(io::Error::other)??);
        Ok(())
    }
}

fn append(path: &Path, file: Option<File>, bytes: &[u8]) -> io::Result<File> {
    let mut file = match file {
        Some(file) if is_at(path, &file) => file,
        _ => open(path)?,
    };
    file.write_all(bytes)?;
    file.sync_data()?;
    Ok(file)
}

/// True if the path still leads to this file: logrotate renames it.
fn is_at(path: &Path, file: &File) -> bool {
    let (Ok(there), Ok(open)) = (std::fs::metadata(path), file.metadata()) else { return false };
    (there.dev(), there.ino()) == (open.dev(), open.ino())
}

fn open(path: &Path) -> io::Result<File> {
    let existed = path.exists();
    let mut file = File::options().read(true).append(true).create(true).mode(0o600).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} is no file", path.display())));
    }
    // A write that was cut off must not swallow the next message.
    if file.metadata()?.len() > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    if !existed && let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_opened_anew_when_it_was_rotated_away_and_half_a_line_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trail");
        std::fs::write(&path, "whole\nhal").unwrap();
        let mut sink = FileSink::open(&path, Arc::new(Semaphore::new(1))).await.unwrap();
        sink.append(b"one\n".to_vec()).await.unwrap();
        std::fs::rename(&path, folder.path().join("trail.1")).unwrap();
        sink.append(b"two\n".to_vec()).await.unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join("trail.1")).unwrap(), "whole\nhal\none\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let pipe = FileSink::open(Path::new("/dev/null"), Arc::new(Semaphore::new(1))).await;
        assert!(pipe.is_err(), "a device keeps nothing");
    }
}
