//! Reading files that somebody else wrote: plain files only, every length limited, lines one at a time.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use super::VerifyError;

/// Opens a plain file of the folder. Links and devices are refused: a link could lead out of the folder, a pipe never end.
pub(super) fn open(folder: &Path, file: &str) -> Result<File, VerifyError> {
    let path = folder.join(file);
    let failed = |source| VerifyError::Read { file: file.to_owned(), source };
    if !fs::symlink_metadata(&path).map_err(failed)?.is_file() {
        return Err(VerifyError::NotPlain { file: file.to_owned() });
    }
    File::open(&path).map_err(failed)
}

/// Reads a file that is always short.
pub(super) fn short_text(folder: &Path, file: &str, len_max: usize) -> Result<String, VerifyError> {
    let mut bytes = Vec::new();
    let mut reader = open(folder, file)?.take(len_max as u64 + 1);
    reader.read_to_end(&mut bytes).map_err(|source| VerifyError::Read { file: file.to_owned(), source })?;
    let text = String::from_utf8(bytes).ok().filter(|text| text.len() <= len_max);
    text.ok_or_else(|| VerifyError::NoShortText { file: file.to_owned(), len_max })
}

/// The lines of a file, one in memory at a time.
pub(super) struct Lines {
    reader: BufReader<File>,
    file: &'static str,
    len_max: usize,
    /// The number of the line read last, from 1.
    number: u64,
    buffer: Vec<u8>,
}

impl Lines {
    pub(super) fn open(folder: &Path, file: &'static str, len_max: usize) -> Result<Self, VerifyError> {
        let reader = BufReader::with_capacity(64 * 1024, open(folder, file)?);
        Ok(Self { reader, file, len_max, number: 0, buffer: Vec::new() })
    }

    /// The number of the line read last, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The next line without its line feed; `None` at the end. Every line, the last one too, must have its line feed.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, VerifyError> {
        let file = || self.file.to_owned();
        self.buffer.clear();
        let mut limited = (&mut self.reader).take(self.len_max as u64 + 1);
        limited.read_until(b'\n', &mut self.buffer).map_err(|source| VerifyError::Read { file: file(), source })?;
        if self.buffer.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        match self.buffer.strip_suffix(b"\n") {
            Some(line) => Ok(Some(line)),
            None if self.buffer.len() > self.len_max => {
                Err(VerifyError::LineTooLong { file: file(), line: self.number, len_max: self.len_max })
            }
            None => Err(VerifyError::Cut { file: file(), line: self.number }),
        }
    }
}
