//! Writes an export folder. It appears as a whole or not at all: everything is written beside its place, made durable and
//! then renamed.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use super::{
    CHECKPOINT_FILE, ExportError, KEY_FILE, LOG_FILE, LOG_KEYS_FILE, OLDER_FOLDER, OPENINGS_FILE, OpeningLine,
    README_FILE, STATE_FILE, gone,
};
use crate::audit::checkpoint::SignedCheckpoint;
use crate::audit::log_key::LogKey;
use crate::audit::merkle::Hash;
use crate::audit::opening::Opening;
use crate::audit::record::RECORD_LEN_MAX;

/// What `README.txt` tells people.
const README: &str = include_str!("folder_readme.txt");

/// A folder being written. Dropped before [`ExportWriter::finish`], it leaves nothing behind.
pub struct ExportWriter {
    target: PathBuf,
    /// Where the files are until the folder is complete; `None` once it is.
    partial: Option<PathBuf>,
    log: Target,
    openings: Target,
    size: u64,
}

impl ExportWriter {
    /// Begins an export into `target`, which must not exist yet or be an empty folder. Only the owner can read it.
    ///
    /// # Errors
    /// [`ExportError`] if the path names no folder, is taken, or cannot be written.
    pub fn create(target: &Path) -> Result<Self, ExportError> {
        let name = target.file_name().ok_or_else(|| ExportError::NoName { path: target.to_owned() })?;
        refuse_taken(target)?;
        let mut partial_name = std::ffi::OsString::from(".");
        partial_name.push(name);
        partial_name.push(format!(".partial-{}", uuid::Uuid::new_v4().simple()));
        let partial = target.with_file_name(partial_name);
        make_folder(&partial)?;
        let files = Target::create(partial.join(LOG_FILE))
            .and_then(|log| Ok((log, Target::create(partial.join(OPENINGS_FILE))?)));
        match files {
            Ok((log, openings)) => {
                Ok(Self { target: target.to_owned(), partial: Some(partial), log, openings, size: 0 })
            }
            Err(error) => {
                let _ = fs::remove_dir_all(&partial);
                Err(error)
            }
        }
    }

    /// How many records have been appended: the place of the next.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Begins a log whose first records were pruned: with their hashes, and the state snapshot that stands for what they had said.
    ///
    /// # Errors
    /// [`ExportError::Write`] if the system refuses; [`ExportError::Begun`] if records are there already.
    pub fn begin_pruned(&mut self, leaves: &[Hash], state: &str) -> Result<(), ExportError> {
        if self.size > 0 {
            return Err(ExportError::Begun);
        }
        for leaf in leaves {
            self.log.line(&gone::line(leaf))?;
        }
        self.size = leaves.len() as u64;
        self.partial.as_ref().map_or(Ok(()), |partial| write_file(partial.join(STATE_FILE), state))
    }

    /// Appends the next record, verbatim, and its openings.
    ///
    /// # Errors
    /// [`ExportError::Record`] if the record would not be one line; [`ExportError::Write`] if the system refuses.
    pub fn append(&mut self, record: &str, openings: &[Opening]) -> Result<(), ExportError> {
        if record.len() > RECORD_LEN_MAX || record.contains('\n') || record.is_empty() {
            return Err(ExportError::Record { seq: self.size });
        }
        self.log.line(record)?;
        for opening in openings {
            let line = serde_json::to_string(&OpeningLine::new(self.size, opening));
            self.openings.line(&line.map_err(|error| self.openings.failed(error.into()))?)?;
        }
        self.size += 1;
        Ok(())
    }

    /// Adds what keys of these logs said of each other; before [`ExportWriter::finish`].
    ///
    /// # Errors
    /// [`ExportError::Write`] if the system refuses.
    pub fn log_keys(&mut self, statements: &[LogKey]) -> Result<(), ExportError> {
        let Some(partial) = self.partial.as_ref().filter(|_| !statements.is_empty()) else { return Ok(()) };
        let path = partial.join(LOG_KEYS_FILE);
        let lines = statements.iter().map(|statement| serde_json::to_string(statement).map(|line| line + "\n"));
        let text: String = lines.collect::<Result<_, _>>().map_err(|error| write_failed(&path)(error.into()))?;
        write_file(path, &text)
    }

    /// Adds checkpoints, key and instructions, makes everything durable and puts the folder in its place.
    ///
    /// # Errors
    /// [`ExportError::Checkpoint`] or [`ExportError::TwoHistories`] if the agent's checkpoints are wrong in themselves,
    /// [`ExportError::Write`] or [`ExportError::Exists`] if the folder cannot be put there.
    pub fn finish(mut self, checkpoint: &str, older: &[String], public_key: &str) -> Result<(), ExportError> {
        let Some(partial) = self.partial.clone() else { return Ok(()) };
        SignedCheckpoint::parse(checkpoint).map_err(ExportError::Checkpoint)?;
        self.log.finish()?;
        self.openings.finish()?;
        for (name, text) in [(CHECKPOINT_FILE, checkpoint), (KEY_FILE, public_key), (README_FILE, README)] {
            write_file(partial.join(name), text)?;
        }
        let older = by_size(older)?;
        if !older.is_empty() {
            let folder = partial.join(OLDER_FOLDER);
            make_folder(&folder)?;
            for (size, text) in older {
                write_file(folder.join(size.to_string()), text)?;
            }
            sync_folder(&folder)?;
        }
        sync_folder(&partial)?;
        // Renaming over an empty folder is atomic, and the system refuses a folder that is not empty (rename(2)).
        refuse_taken(&self.target)?;
        fs::rename(&partial, &self.target).map_err(write_failed(&self.target))?;
        self.partial = None;
        sync_folder(self.target.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new(".")))
    }
}

impl Drop for ExportWriter {
    fn drop(&mut self) {
        if let Some(partial) = &self.partial {
            // An unfinished export is worth nothing, and its name says what it is if this fails.
            let _ = fs::remove_dir_all(partial);
        }
    }
}

/// A file being written line by line.
struct Target {
    path: PathBuf,
    writer: BufWriter<File>,
}

impl Target {
    fn create(path: PathBuf) -> Result<Self, ExportError> {
        let file = new_file(&path)?;
        Ok(Self { path, writer: BufWriter::with_capacity(64 * 1024, file) })
    }

    fn line(&mut self, text: &str) -> Result<(), ExportError> {
        let written = self.writer.write_all(text.as_bytes()).and_then(|()| self.writer.write_all(b"\n"));
        written.map_err(|source| self.failed(source))
    }

    fn finish(&mut self) -> Result<(), ExportError> {
        let written = self.writer.flush().and_then(|()| self.writer.get_ref().sync_all());
        written.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> ExportError {
        ExportError::Write { path: self.path.clone(), source }
    }
}

/// Older checkpoints by size, each size once.
fn by_size(older: &[String]) -> Result<BTreeMap<u64, &str>, ExportError> {
    let mut checkpoints = BTreeMap::new();
    for text in older {
        let note = SignedCheckpoint::parse(text).map_err(ExportError::Checkpoint)?.unverified().clone();
        match checkpoints.insert(note.size, (note.root, text.as_str())) {
            Some((root, _)) if root != note.root => return Err(ExportError::TwoHistories { size: note.size }),
            _ => {}
        }
    }
    Ok(checkpoints.into_iter().map(|(size, (_, text))| (size, text)).collect())
}

fn refuse_taken(target: &Path) -> Result<(), ExportError> {
    let exists = || ExportError::Exists { path: target.to_owned() };
    match fs::symlink_metadata(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(write_failed(target)(source)),
        Ok(metadata) if !metadata.is_dir() => Err(exists()),
        Ok(_) => match fs::read_dir(target).map_err(write_failed(target))?.next() {
            None => Ok(()),
            Some(_) => Err(exists()),
        },
    }
}

fn make_folder(path: &Path) -> Result<(), ExportError> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(write_failed(path))
}

fn new_file(path: &Path) -> Result<File, ExportError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(write_failed(path))
}

fn write_file(path: PathBuf, text: &str) -> Result<(), ExportError> {
    let mut file = new_file(&path)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(write_failed(&path))
}

/// Makes the names in a folder durable.
fn sync_folder(path: &Path) -> Result<(), ExportError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(write_failed(path))
}

fn write_failed(path: &Path) -> impl FnOnce(io::Error) -> ExportError {
    move |source| ExportError::Write { path: path.to_owned(), source }
}
