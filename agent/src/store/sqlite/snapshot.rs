//! A copy of the store made beside a running agent, and looking into a store file without becoming its agent.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rusqlite::{Connection, params};
use strongroom_proto::agent_key::AgentKey;
use strongroom_proto::audit::checkpoint::Origin;
use strongroom_proto::audit::merkle::{Frontier, Hash, leaf_hash};
use strongroom_proto::audit::pruned::Pruned;

use super::file::{Meta, StoreKeysCopy, connect_reader, read_meta, read_store_keys_copy};
use super::load;
use super::prune::state_text;
use super::read::texts;
use crate::audit::anchor::Anchors;
use crate::state::rows::Org;
use crate::state::{LogId, State};
use crate::store::StoreError;
use crate::store::sealer::Sealer;

/// How far a log had come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEnd {
    /// The log.
    pub origin: Origin,
    /// Number of records.
    pub size: u64,
    /// Merkle root over them.
    pub root: Hash,
}

/// A store file that is only looked at: no lock is taken, nothing is written, and an agent may be running with it.
pub struct Snapshot {
    connection: Connection,
}

impl Snapshot {
    /// Opens a store file for looking at.
    ///
    /// # Errors
    /// [`StoreError::Read`] if there is none or it cannot be read.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::Read(format!("{} does not exist", path.display())));
        }
        Ok(Self { connection: connect_reader(path)? })
    }

    /// What is needed to unlock the rows.
    ///
    /// # Errors
    /// [`StoreError::Open`] if it is missing or malformed.
    pub fn meta(&self) -> Result<Meta, StoreError> {
        read_meta(&self.connection)
    }

    /// The recovery copy of the store keys, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn store_keys_copy(&self) -> Result<Option<StoreKeysCopy>, StoreError> {
        read_store_keys_copy(&self.connection)
    }

    /// The agent identity key as the organisation's row says it, unverified.
    ///
    /// # Errors
    /// [`StoreError::Read`] if there is none.
    pub fn agent_key(&self) -> Result<AgentKey, StoreError> {
        let body: String = self
            .connection
            .query_row("SELECT body FROM entity WHERE kind = 'org'", [], |row| row.get(0))
            .map_err(read)?;
        serde_json::from_str::<Org>(&body)
            .ok()
            .and_then(|org| AgentKey::from_openssh(&org.agent_key).ok())
            .ok_or_else(|| StoreError::Read("the organisation's row has no agent key".to_owned()))
    }

    /// Reads and verifies everything as of one moment, as an agent does at its start.
    ///
    /// # Errors
    /// [`StoreError::Read`]. What does not match is in the state's `sealed`.
    pub fn load(&self, sealer: &Sealer, anchors: &Anchors) -> Result<State, StoreError> {
        let org = self.meta()?.org;
        self.connection.execute_batch("BEGIN").map_err(read)?;
        let state = load::load(&self.connection, None, sealer, org, anchors);
        self.connection.execute_batch("COMMIT").map_err(read)?;
        state
    }

    /// Reads the bytes of records from a place on, as many as come at once.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn texts(&self, log: LogId, from: u64) -> Result<Vec<String>, StoreError> {
        texts(&self.connection, log, from).map_err(read)
    }

    /// The state snapshot of a log over its first `size` records, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn state_text(&self, log: LogId, size: u64) -> Result<Option<String>, StoreError> {
        state_text(&self.connection, log, size).map_err(read)
    }

    /// Recomputes size and root of every log from its records alone, and from the hashes of those that a later record of the
    /// log says were pruned. Needs no keys: what it says is what the records say, and nothing about the rows.
    ///
    /// # Errors
    /// [`StoreError::Read`]; [`StoreError::Sealed`] if a log has a gap, or a record differs from its leaf.
    pub fn log_ends(&self) -> Result<Vec<LogEnd>, StoreError> {
        let org = self.meta()?.org;
        let mut ends = Vec::new();
        let mut logs = self.connection.prepare("SELECT log FROM log_head ORDER BY log").map_err(read)?;
        let logs: Vec<[u8; 16]> =
            logs.query_map([], |row| row.get(0)).map_err(read)?.collect::<Result<_, _>>().map_err(read)?;
        for log in logs.into_iter().map(LogId::from_bytes) {
            let origin = log.origin(org);
            let mut frontier = Frontier::new();
            let (mut gone, mut pruned) = (0, None);
            let mut statement = self
                .connection
                .prepare_cached("SELECT seq, leaf, record FROM audit WHERE log = ?1 ORDER BY seq")
                .map_err(read)?;
            let mut rows = statement.query(params![log.to_bytes()]).map_err(read)?;
            while let Some(row) = rows.next().map_err(read)? {
                let seq: i64 = row.get(0).map_err(read)?;
                let leaf: Hash = row.get(1).map_err(read)?;
                let record: Option<String> = row.get(2).map_err(read)?;
                let is_gone = record.is_none() && gone == frontier.size();
                pruned = record.as_deref().and_then(Pruned::read_text).or(pruned);
                gone += u64::from(is_gone);
                if u64::try_from(seq) != Ok(frontier.size())
                    || (!is_gone && record.is_none_or(|record| leaf_hash(record.as_bytes()) != leaf))
                {
                    let flaw = format!("{origin}: record {} is missing or altered", frontier.size());
                    return Err(StoreError::Sealed(flaw));
                }
                frontier.push(leaf);
            }
            let until = pruned.map_or(0, |pruned| pruned.until);
            if gone > until {
                return Err(StoreError::Sealed(format!("{origin}: record {until} is missing or altered")));
            }
            ends.push(LogEnd { origin, size: frontier.size(), root: frontier.root() });
        }
        Ok(ends)
    }
}

/// Writes a consistent copy of a store to a new private file, beside whatever else is done to it. `VACUUM INTO` is one
/// statement in one read transaction: unlike the incremental copy it ends also under load, and it leaves out deleted pages.
///
/// # Errors
/// [`StoreError::Read`] if `to` exists or the copy fails.
pub fn snapshot(path: &Path, to: &Path) -> Result<(), StoreError> {
    let file = |error: std::io::Error| StoreError::Read(format!("{}: {error}", to.display()));
    // SQLite takes an empty file for a new one, and would make it readable by others.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(file)?;
    let connection = connect_reader(path)?;
    // The copy is another file; the store itself stays as it is.
    connection.execute_batch("PRAGMA query_only = OFF").map_err(read)?;
    let name = to.to_str().ok_or_else(|| StoreError::Read(format!("{}: not UTF-8", to.display())))?;
    connection.execute("VACUUM INTO ?1", params![name]).map_err(read)?;
    Ok(())
}

fn read(error: rusqlite::Error) -> StoreError {
    StoreError::Read(error.to_string())
}
