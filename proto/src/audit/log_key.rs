//! The way from one key of an organisation's logs to the next. A client pins the key that it was given once; when another
//! token takes over, both keys sign one statement, and with it a checkpoint by the new key counts for whoever pinned the old one.
//! Without the old key there is no statement: then a new pin has to come from somewhere else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::checkpoint::Origin;
use super::merkle::Hash;
use crate::agent_key::AgentKey;
use crate::ids::OrgId;

/// Most statements that anybody has to read: an organisation gets a new token every few years.
pub const STATEMENTS_MAX: usize = 64;
/// Longest line of one, in bytes.
pub const STATEMENT_LEN_MAX: usize = 2048;

/// Two keys that say of each other that both sign the logs of an organisation. Read from outside it proves nothing before
/// [`LogKey::check`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogKey {
    /// When it was signed.
    pub at: Timestamp,
    /// The key that comes in, as OpenSSH text.
    pub new: String,
    /// Its signature over [`LogKey::text`], ASN.1 DER in base64.
    pub new_signature: String,
    /// The key that was there, as OpenSSH text.
    pub old: String,
    /// Its signature over the same text.
    pub old_signature: String,
    /// Whose logs.
    pub organisation: OrgId,
}

/// Why a statement proves nothing. Outside data causes every one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogKeyError {
    /// A key is none.
    #[error("it names what is no key of an agent")]
    Key,
    /// It is about the logs of somebody else.
    #[error("it is about the logs of another organisation")]
    Organisation,
    /// One of the two did not sign it.
    #[error("it is not signed by the key {0} that it names")]
    Unsigned(Which),
}

/// One of the two keys of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The key that was there.
    Old,
    /// The key that comes in.
    New,
}

impl std::fmt::Display for Which {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(if *self == Self::Old { "that was there" } else { "that comes in" })
    }
}

impl LogKey {
    /// The text that both keys sign: five ASCII lines, each ended by LF. No checkpoint and no SSHSIG begins like it.
    #[must_use]
    pub fn text(organisation: OrgId, old: &AgentKey, new: &AgentKey, at: Timestamp) -> String {
        let (old, new) = (old.openssh(), new.openssh());
        format!("strongroom-log-key-v1\norganisation {organisation}\nold {old}\nnew {new}\nat {at}\n")
    }

    /// SHA-256 of [`LogKey::text`]: what a token signs with plain `CKM_ECDSA`.
    #[must_use]
    pub fn digest(organisation: OrgId, old: &AgentKey, new: &AgentKey, at: Timestamp) -> Hash {
        Sha256::digest(Self::text(organisation, old, new, at)).into()
    }

    /// Puts a statement together; the signatures are in ASN.1 DER.
    #[must_use]
    pub fn new(organisation: OrgId, keys: [&AgentKey; 2], at: Timestamp, signatures: [&[u8]; 2]) -> Self {
        let ([old, new], [old_signature, new_signature]) =
            (keys.map(AgentKey::openssh), signatures.map(|s| BASE64.encode(s)));
        Self { at, new, new_signature, old, old_signature, organisation }
    }

    /// The old and the new key, if both signed this for this organisation.
    ///
    /// # Errors
    /// [`LogKeyError`] under its condition.
    pub fn check(&self, organisation: OrgId) -> Result<[AgentKey; 2], LogKeyError> {
        let key = |text: &str| AgentKey::from_openssh(text).map_err(|_| LogKeyError::Key);
        let keys @ [old, new] = [key(&self.old)?, key(&self.new)?];
        if self.organisation != organisation {
            return Err(LogKeyError::Organisation);
        }
        let text = Self::text(organisation, &old, &new, self.at);
        for (which, key, signature) in [(Which::Old, old, &self.old_signature), (Which::New, new, &self.new_signature)]
        {
            let unsigned = LogKeyError::Unsigned(which);
            let signature = BASE64.decode(signature).map_err(|_| unsigned)?;
            key.verify(text.as_bytes(), &signature).map_err(|_| unsigned)?;
        }
        Ok(keys)
    }
}

/// The organisation that a log belongs to; `None` if its origin names none.
#[must_use]
pub fn organisation_of(origin: &Origin) -> Option<OrgId> {
    origin.as_str().strip_prefix("strongroom/")?.split_once('/')?.0.parse().ok()
}

/// Keys and which of them vouched for which, from statements that hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    from: BTreeMap<String, Vec<AgentKey>>,
    to: BTreeMap<String, Vec<AgentKey>>,
}

impl Ways {
    /// Checks statements and takes them together.
    ///
    /// # Errors
    /// The first that does not hold, and why.
    pub fn collect(statements: &[LogKey], organisation: OrgId) -> Result<Self, (usize, LogKeyError)> {
        let mut ways = Self::default();
        for (place, statement) in statements.iter().enumerate() {
            let [old, new] = statement.check(organisation).map_err(|error| (place, error))?;
            ways.from.entry(old.fingerprint()).or_default().push(new);
            ways.to.entry(new.fingerprint()).or_default().push(old);
        }
        Ok(ways)
    }

    /// The keys from a pinned fingerprint to a key, both included, if each vouched for the next. Never backwards: a key that
    /// has left must not be able to come back by what it once signed.
    #[must_use]
    pub fn between(&self, pinned: &str, key: &AgentKey) -> Option<Vec<String>> {
        let goal = key.fingerprint();
        let mut reached = BTreeSet::from([pinned.to_owned()]);
        let mut waiting = VecDeque::from([vec![pinned.to_owned()]]);
        while let Some(way) = waiting.pop_front() {
            let last = way.last()?;
            if *last == goal {
                return Some(way);
            }
            for next in self.from.get(last).into_iter().flatten() {
                if reached.insert(next.fingerprint()) {
                    waiting.push_back([way.clone(), vec![next.fingerprint()]].concat());
                }
            }
        }
        None
    }

    /// A key and all that lead to it, directly or by way of others: whose older checkpoints belong to the same logs.
    #[must_use]
    pub fn before(&self, key: &AgentKey) -> Vec<AgentKey> {
        let mut found = vec![*key];
        let mut place = 0;
        while let Some(at) = found.get(place) {
            let earlier = self.to.get(&at.fingerprint()).cloned().unwrap_or_default();
            found.extend(earlier.into_iter().filter(|key| !found.contains(key)).collect::<Vec<_>>());
            place += 1;
        }
        found
    }
}

/// Reads statements from the lines of a file; one that is not there has none.
///
/// # Errors
/// The system's own; `InvalidData` if there are too many, or a line is none.
pub fn read(path: &Path) -> io::Result<Vec<LogKey>> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let metadata = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        metadata => metadata?,
    };
    if !metadata.is_file() || metadata.len() > (STATEMENTS_MAX * STATEMENT_LEN_MAX) as u64 {
        return Err(invalid());
    }
    let text = std::fs::read_to_string(path)?;
    let statements = text.lines().map(|line| serde_json::from_str(line).map_err(|_| invalid()));
    let statements: Vec<LogKey> = statements.collect::<Result<_, _>>()?;
    if statements.len() > STATEMENTS_MAX { Err(invalid()) } else { Ok(statements) }
}

#[cfg(test)]
#[path = "log_key_tests.rs"]
mod tests;
