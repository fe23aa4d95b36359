//! The anchor file: the newest checkpointed size and root of every log, kept outside the store and synced. A store that was
//! put back from an old copy falls short of it and is refused.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use strongroom_proto::audit::merkle::Hash;

/// Longest anchor file that is read, in bytes: some 500,000 logs.
const FILE_LEN_MAX: u64 = 128 * 1024 * 1024;

/// The size and root that a log had at its last checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Number of records.
    pub size: u64,
    /// Merkle root over them.
    pub root: Hash,
}

/// All anchors, and where they are kept.
#[derive(Clone, Debug)]
pub struct Anchors {
    path: PathBuf,
    by_origin: BTreeMap<String, Anchor>,
}

/// Why the anchor file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// It cannot be read or written.
    #[error("the anchor file {path} cannot be used")]
    File {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A line is malformed.
    #[error("line {line} of the anchor file {path} is malformed")]
    Line {
        /// Which file.
        path: String,
        /// Which line, from 1.
        line: usize,
    },
}

impl Anchors {
    /// Reads the anchors; a missing file has none.
    ///
    /// # Errors
    /// [`AnchorError`] if it cannot be read or a line is malformed: a damaged anchor must not pass for none.
    pub fn read(path: &Path) -> Result<Self, AnchorError> {
        let file_error = |source| AnchorError::File { path: path.display().to_string(), source };
        let mut text = String::new();
        match File::open(path) {
            Ok(file) => {
                file.take(FILE_LEN_MAX).read_to_string(&mut text).map_err(file_error)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(file_error(error)),
        }
        let mut by_origin = BTreeMap::new();
        for (place, line) in text.lines().enumerate() {
            let malformed = || AnchorError::Line { path: path.display().to_string(), line: place + 1 };
            let (origin, anchor) = parse_line(line).ok_or_else(malformed)?;
            by_origin.insert(origin, anchor);
        }
        Ok(Self { path: path.to_owned(), by_origin })
    }

    /// The anchor of a log.
    #[must_use]
    pub fn of(&self, origin: &str) -> Option<Anchor> {
        self.by_origin.get(origin).copied()
    }

    /// The origins of all anchored logs.
    pub fn origins(&self) -> impl Iterator<Item = &str> {
        self.by_origin.keys().map(String::as_str)
    }

    /// Moves anchors forward and writes the file anew: a temporary file, synced, renamed, folder synced.
    ///
    /// # Errors
    /// [`AnchorError::File`].
    pub fn advance(&mut self, moved: impl IntoIterator<Item = (String, Anchor)>) -> Result<(), AnchorError> {
        self.by_origin.extend(moved);
        let file_error = |source| AnchorError::File { path: self.path.display().to_string(), source };
        let mut text = String::new();
        for (origin, anchor) in &self.by_origin {
            text.push_str(&format!("{origin} {} {}\n", anchor.size, hex::encode(anchor.root)));
        }
        let temporary = self.path.with_extension("new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(file_error)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(file_error)?;
        std::fs::rename(&temporary, &self.path).map_err(file_error)?;
        if let Some(folder) = self.path.parent() {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(file_error)?;
        }
        Ok(())
    }
}

fn parse_line(line: &str) -> Option<(String, Anchor)> {
    let mut parts = line.split(' ');
    let (origin, size, root) = (parts.next()?, parts.next()?, parts.next()?);
    let root: Hash = hex::decode(root).ok()?.try_into().ok()?;
    let complete = !origin.is_empty() && parts.next().is_none();
    complete.then_some((origin.to_owned(), Anchor { size: size.parse().ok()?, root }))
}
