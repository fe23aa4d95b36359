//! The archive: tar in age. What is in it was written by somebody else until its signature and hashes say otherwise: names
//! come from a closed list, sizes from the signed manifest, and nothing is unpacked anywhere but into an empty folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use jiff::Timestamp;
use strongroom_proto::audit::export::Pin;
use strongroom_proto::sshsig::SshSigError;

use super::files::Hashing;
use super::manifest::{FileLine, Manifest};
use super::token_files;
use crate::recovery::{OpenError, OpeningReader, RecoveryIdentity};

/// The manifest: first in the archive.
pub const MANIFEST: &str = "manifest.json";
/// Its signature: second.
pub const SIGNATURE: &str = "manifest.json.sig";
/// The agent's configuration.
pub const CONFIG: &str = "agent.toml";
/// The agent key as clients pin it.
pub const KNOWN_AGENTS: &str = "known_agents";
/// How far each log was vouched for.
pub const ANCHORS: &str = "anchors";
/// The copy of the store.
pub const STORE: &str = "store.sqlite";
/// What is to be known about the token's keys.
pub const TOKEN_NOTE: &str = "token/README.txt";
/// The folder of the token's files.
pub const TOKEN_FOLDER: &str = "token/";

/// Longest manifest, in bytes: some 100,000 files.
const MANIFEST_LEN_MAX: u64 = 32 * 1024 * 1024;
const SIGNATURE_LEN_MAX: u64 = 16 * 1024;

/// Why an archive is not believed. Outside data can cause every one of these.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It could not be read.
    #[error("the backup could not be read: {0}")]
    Read(io::Error),
    /// It does not open.
    #[error(transparent)]
    Sealed(OpenError),
    /// The manifest is missing or malformed.
    #[error("the backup's manifest is missing or malformed")]
    Manifest,
    /// It is of another format.
    #[error("the backup has the format {0}, which this agent does not know")]
    Format(String),
    /// The manifest's signature does not hold.
    #[error("the backup's manifest: {0}")]
    Signature(#[from] SshSigError),
    /// Another key signed.
    #[error("the backup was signed by {found}, not by the pinned agent key {pinned}")]
    Pin {
        /// Who signed.
        found: String,
        /// Who should have.
        pinned: String,
    },
    /// A name that no backup has.
    #[error("the backup holds \"{0}\", which no backup holds")]
    Name(String),
    /// A file that the manifest does not name there, or names otherwise.
    #[error("the file {0} of the backup is not the one that its manifest names")]
    File(String),
    /// A file of the manifest is not there.
    #[error("the backup lacks {0}, which its manifest names")]
    Missing(String),
}

impl From<io::Error> for ArchiveError {
    /// Takes back what the decryption put into an error of the reading.
    fn from(error: io::Error) -> Self {
        match OpenError::from(error) {
            OpenError::File(error) => Self::Read(error),
            other => Self::Sealed(other),
        }
    }
}

impl From<OpenError> for ArchiveError {
    fn from(error: OpenError) -> Self {
        io::Error::from(error).into()
    }
}

/// Appends a file to the archive.
///
/// # Errors
/// Those of what is written to.
pub(super) fn append(
    tar: &mut tar::Builder<impl Write>,
    name: &str,
    len: u64,
    at: Timestamp,
    content: impl Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o600);
    header.set_size(len);
    header.set_mtime(u64::try_from(at.as_second()).unwrap_or(0));
    tar.append_data(&mut header, name, content)
}

/// Whether a backup can hold a file of this name.
fn is_name(name: &str) -> bool {
    [CONFIG, KNOWN_AGENTS, ANCHORS, STORE, TOKEN_NOTE].contains(&name)
        || name.strip_prefix(TOKEN_FOLDER).is_some_and(token_files::is_name)
}

/// Reads manifest and configuration, which come first, and no further.
///
/// # Errors
/// Every [`ArchiveError`].
pub fn peek(path: &Path, identity: &RecoveryIdentity, pin: Option<&Pin>) -> Result<(Manifest, Vec<u8>), ArchiveError> {
    let mut config = Vec::new();
    let manifest = walk(path, identity, pin, &mut |line, content| {
        // The manifest is signed, so its sizes are the agent's word; a configuration is small.
        if line.name == CONFIG && line.size <= SIGNATURE_LEN_MAX * 4 {
            content.read_to_end(&mut config)?;
        }
        Ok(Go::Stop)
    })?;
    Ok((manifest, config))
}

/// Unpacks everything into an empty private folder; `token/` becomes a folder in it. What is there is only to be used if
/// this succeeds: the end of the archive proves that it is whole.
///
/// # Errors
/// Every [`ArchiveError`].
pub fn unpack(
    path: &Path,
    identity: &RecoveryIdentity,
    pin: Option<&Pin>,
    into: &Path,
) -> Result<Manifest, ArchiveError> {
    walk(path, identity, pin, &mut |line, content| {
        // The name was checked against the list: it has no dots and at most two folders.
        let target = into.join(&line.name);
        if let Some(folder) = target.parent() {
            super::files::make_private_dir(folder)?;
        }
        let mut file = super::files::create_new(&target)?;
        io::copy(content, &mut file)?;
        file.sync_all()?;
        Ok(Go::On)
    })
}

#[derive(PartialEq, Eq)]
enum Go {
    On,
    Stop,
}

type Taker<'a> = &'a mut dyn FnMut(&FileLine, &mut dyn Read) -> io::Result<Go>;

fn walk(
    path: &Path,
    identity: &RecoveryIdentity,
    pin: Option<&Pin>,
    take: Taker<'_>,
) -> Result<Manifest, ArchiveError> {
    let mut archive = tar::Archive::new(OpeningReader::new(identity, File::open(path)?)?);
    // Raw: our names are short and need no extension, so none is obeyed.
    let mut entries = archive.entries()?.raw(true);
    let bytes = short(entries.next(), MANIFEST, MANIFEST_LEN_MAX)?;
    let signature = short(entries.next(), SIGNATURE, SIGNATURE_LEN_MAX)?;
    let manifest = Manifest::verified(&bytes, &signature, pin)?;
    // Found by name at once: a manifest may name 100,000 files.
    let lines: BTreeMap<&str, &FileLine> = manifest.files.iter().map(|line| (line.name.as_str(), line)).collect();
    let mut seen = BTreeSet::new();
    for entry in entries {
        let mut entry = entry?;
        let name = name_of(&entry)?;
        let unlike = || ArchiveError::File(name.clone());
        let line = *lines.get(name.as_str()).ok_or_else(unlike)?;
        if !is_name(&name) {
            return Err(ArchiveError::Name(name));
        }
        if !seen.insert(name.clone()) || entry.size() != line.size {
            return Err(unlike());
        }
        let mut content = Hashing::new(&mut entry);
        let go = take(line, &mut content)?;
        io::copy(&mut content, &mut io::sink())?;
        if content.finish() != (line.sha256.clone(), line.size) {
            return Err(unlike());
        }
        if go == Go::Stop {
            return Ok(manifest);
        }
    }
    if let Some(line) = manifest.files.iter().find(|line| !seen.contains(&line.name)) {
        return Err(ArchiveError::Missing(line.name.clone()));
    }
    // To the very end: only the last chunk says that nothing was cut off.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    Ok(manifest)
}

fn name_of<R: Read>(entry: &tar::Entry<'_, R>) -> Result<String, ArchiveError> {
    let bytes = entry.path_bytes();
    let name = String::from_utf8_lossy(&bytes).chars().take(200).collect::<String>();
    if entry.header().entry_type() == tar::EntryType::Regular { Ok(name) } else { Err(ArchiveError::Name(name)) }
}

/// Reads one of the two small files at the beginning.
fn short<R: Read>(
    entry: Option<io::Result<tar::Entry<'_, R>>>,
    name: &str,
    len_max: u64,
) -> Result<Vec<u8>, ArchiveError> {
    let mut entry = entry.ok_or(ArchiveError::Manifest)??;
    if name_of(&entry)? != name || entry.size() > len_max {
        return Err(ArchiveError::Manifest);
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes)?;
    Ok(bytes)
}
