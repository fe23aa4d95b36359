//! The file of trusted agents: one `name keytype base64` per line, `#` begins a comment. The name is the path of a
//! socket or `*`; blanks, `%` and control characters in it are written `%20`.
//!
//! Order: the system's file, which only root can write, then the user's, then, if the program asks a person, trust on
//! first use. A file that says anything about a socket decides it: the next one is not asked.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ssh_key::PublicKey;

use super::{PinVerdict, Pins};

const FILE_LEN_MAX: u64 = 1024 * 1024;
const GROUP_OR_OTHERS_WRITE: u32 = 0o022;
const ROOT: u32 = 0;

/// An agent that nobody has pinned yet, shown to the person who decides.
#[derive(Clone, Copy, Debug)]
pub struct Newcomer<'a> {
    /// Where it listens.
    pub socket: &'a Path,
    /// As `keytype base64`.
    pub agent_key: &'a str,
    /// `SHA256:…`.
    pub fingerprint: &'a str,
}

type Ask = Box<dyn Fn(Newcomer<'_>) -> bool + Send + Sync>;

/// The two files, and what to do about an agent in neither.
pub struct KnownAgents {
    system: Option<PathBuf>,
    user: Option<PathBuf>,
    ask: Option<Ask>,
}

/// Why a file of trusted agents cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KnownAgentsError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Others could have written the file.
    #[error("{path} must be writable by {owner} only")]
    Writable {
        /// The file.
        path: PathBuf,
        /// Who may write it.
        owner: &'static str,
    },
    /// A line is malformed.
    #[error("{path} line {line} is not \"name keytype base64\"")]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// The file cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

impl KnownAgents {
    /// Where root pins agents for everybody on the machine.
    pub const SYSTEM_FILE: &'static str = "/etc/strongroom/known_agents";

    /// Reads these files; a missing file is an empty one. Without [`Self::ask`] an unknown agent stays unknown.
    #[must_use]
    pub fn new(system: Option<PathBuf>, user: Option<PathBuf>) -> Self {
        Self { system, user, ask: None }
    }

    /// Asks about an unknown agent; a yes is written to the user's file. Only for a person at a terminal, or a script
    /// that was told to accept.
    #[must_use]
    pub fn ask(mut self, ask: impl Fn(Newcomer<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.ask = Some(Box::new(ask));
        self
    }

    fn decide(&self, newcomer: Newcomer<'_>) -> Result<PinVerdict, KnownAgentsError> {
        for (path, owner) in [(&self.system, Owner::Root), (&self.user, Owner::User)] {
            let Some(path) = path else { continue };
            let verdict = look_up(path, owner, newcomer)?;
            if verdict != PinVerdict::Unknown {
                return Ok(verdict);
            }
        }
        match (&self.ask, &self.user) {
            (Some(ask), Some(user)) if ask(newcomer) => {
                append(user, newcomer)?;
                Ok(PinVerdict::Pinned)
            }
            _ => Ok(PinVerdict::Unknown),
        }
    }
}

impl Pins for KnownAgents {
    fn check(&self, socket: &Path, agent_key: &str, fingerprint: &str) -> PinVerdict {
        let newcomer = Newcomer { socket, agent_key, fingerprint };
        self.decide(newcomer).unwrap_or_else(|error| PinVerdict::Unusable(error.to_string()))
    }
}

#[derive(Clone, Copy)]
enum Owner {
    Root,
    User,
}

fn look_up(path: &Path, owner: Owner, newcomer: Newcomer<'_>) -> Result<PinVerdict, KnownAgentsError> {
    let Some(text) = read(path, owner)? else { return Ok(PinVerdict::Unknown) };
    let name = name_of(newcomer.socket);
    let mut verdict = PinVerdict::Unknown;
    for (place, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let malformed = || KnownAgentsError::Line { path: path.to_owned(), line: place + 1 };
        let mut words = line.split_ascii_whitespace();
        let (Some(pinned), Some(kind), Some(key)) = (words.next(), words.next(), words.next()) else {
            return Err(malformed());
        };
        let key = format!("{kind} {key}");
        PublicKey::from_openssh(&key).map_err(|_| malformed())?;
        if pinned != "*" && pinned != name {
            continue;
        }
        if key == newcomer.agent_key {
            return Ok(PinVerdict::Pinned);
        }
        verdict = PinVerdict::Mismatch;
    }
    Ok(verdict)
}

/// Reads a file of pins, after checking on the open file that nobody else could have written it.
fn read(path: &Path, owner: Owner) -> Result<Option<String>, KnownAgentsError> {
    let failed = |source| KnownAgentsError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let metadata = file.metadata().map_err(failed)?;
    let (owned, owner) = match owner {
        Owner::Root => (metadata.uid() == ROOT, "root"),
        Owner::User => (true, "you"),
    };
    if !owned || metadata.mode() & GROUP_OR_OTHERS_WRITE != 0 {
        return Err(KnownAgentsError::Writable { path: path.to_owned(), owner });
    }
    let mut text = String::new();
    file.take(FILE_LEN_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(Some(text))
}

/// Adds a line: a new file takes the place of the old one, so that a reader sees either. The lock keeps two programs
/// from losing each other's line.
fn append(path: &Path, newcomer: Newcomer<'_>) -> Result<(), KnownAgentsError> {
    let failed = |source| KnownAgentsError::Write { path: path.to_owned(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let private = |path: &Path| OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path);
    let lock = private(&suffixed(path, ".lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    let mut text = read(path, Owner::User)?.unwrap_or_default();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&format!("{} {}\n", name_of(newcomer.socket), newcomer.agent_key));
    let draft = suffixed(path, ".new");
    let mut file = private(&draft).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&draft, path).map_err(failed)
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    PathBuf::from(path)
}

/// A socket's path as one word.
fn name_of(socket: &Path) -> String {
    let mut name = String::new();
    for character in socket.to_string_lossy().chars() {
        if character.is_whitespace() || character.is_control() || character == '%' {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                name.push_str(&format!("%{byte:02X}"));
            }
        } else {
            name.push(character);
        }
    }
    name
}

#[cfg(test)]
#[path = "known_agents_tests.rs"]
mod tests;
