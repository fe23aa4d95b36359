//! What a log had said up to a place, written down: a replay goes on from there, and the records before it need not be there any
//! more. AUDIT-FORMAT.md describes the text; its SHA-256 stands in a record of the log, and so beneath the next checkpoint.
//!
//! Only what records hold in clear gets into it: no names, reasons or other personal text.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Begun, ClientVault, Office, Unsaid};
use crate::audit::record::Record;
use crate::audit::signed_call::SignedReleases;

/// The version of the text.
pub const SNAPSHOT_VERSION: u32 = 1;

/// What the records of one log say, from the first to a place.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LogState {
    /// Every key of the agent that the log has named: signatures over calls were made for one of them.
    pub agent_keys: Vec<String>,
    /// The bytes of the first record.
    pub genesis: String,
    /// When the last of these records was made.
    pub last_at: Timestamp,
    /// The origin of the log.
    pub log: String,
    /// What there is.
    pub says: Says,
    /// Whether each release has to be signed.
    pub signed_releases: SignedReleases,
    /// How many records this is told from: the place of the next.
    pub size: u64,
    /// The version of this text.
    pub v: u32,
}

/// What there is, by the kind of the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Says {
    /// The log of the organisation.
    Org(Office),
    /// The log of a vault.
    Vault(ClientVault),
}

/// Why a state cannot be told, or its text cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// A line of the log is no record of it at that place.
    #[error("record {seq} is none of this log")]
    NoRecord {
        /// Its place.
        seq: u64,
    },
    /// A record does not say what it must.
    #[error(transparent)]
    Unsaid(#[from] Unsaid),
    /// The text is not of this form.
    #[error("a state snapshot cannot be read: {0}")]
    Text(String),
    /// The text is of a newer version.
    #[error("a state snapshot has version {0}, which this program does not read")]
    Version(u32),
}

impl Says {
    /// What a vault's log says before its first record.
    #[must_use]
    pub fn of_vault(begun: &Begun) -> Self {
        Self::Vault(ClientVault::new(begun))
    }

    fn take(&mut self, record: &Record) -> Result<(), Unsaid> {
        match self {
            Self::Org(office) => office.take(record),
            Self::Vault(vault) => vault.take(record),
        }
    }

    /// The organisation, if this is its log.
    #[must_use]
    pub fn into_office(self) -> Option<Office> {
        match self {
            Self::Org(office) => Some(office),
            Self::Vault(_) => None,
        }
    }

    /// The vault, if this is a vault's log.
    #[must_use]
    pub fn into_vault(self) -> Option<ClientVault> {
        match self {
            Self::Vault(vault) => Some(vault),
            Self::Org(_) => None,
        }
    }
}

impl LogState {
    /// Begins a log with its first record.
    ///
    /// # Errors
    /// [`SnapshotError`] if it is none, or does not say what it must.
    pub fn begin(says: Says, first: &str) -> Result<Self, SnapshotError> {
        let record: Record = serde_json::from_str(first).map_err(|_| SnapshotError::NoRecord { seq: 0 })?;
        let mut state = Self {
            agent_keys: Vec::new(),
            genesis: first.to_owned(),
            last_at: record.ts,
            log: record.log.clone(),
            says,
            signed_releases: SignedReleases::default(),
            size: 0,
            v: SNAPSHOT_VERSION,
        };
        state.take_record(&record)?;
        Ok(state)
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// [`SnapshotError`] if it is not the next record of this log, or does not say what it must.
    pub fn take(&mut self, text: &str) -> Result<(), SnapshotError> {
        let no_record = SnapshotError::NoRecord { seq: self.size };
        self.take_record(&serde_json::from_str(text).map_err(|_| no_record)?)
    }

    fn take_record(&mut self, record: &Record) -> Result<(), SnapshotError> {
        if record.seq != self.size || record.log != self.log {
            return Err(SnapshotError::NoRecord { seq: self.size });
        }
        self.says.take(record)?;
        // What it would say of an unsigned release is for who checks signatures.
        let _ = self.signed_releases.take(record);
        self.agent_keys.extend(named_agent_key(record).filter(|key| !self.agent_keys.contains(key)));
        self.last_at = record.ts;
        self.size += 1;
        Ok(())
    }

    /// The text: compact JSON, members ascending at every level. Two replays of the same records give the same bytes.
    ///
    /// # Errors
    /// [`SnapshotError::Text`] if it cannot be written down.
    pub fn to_text(&self) -> Result<String, SnapshotError> {
        // A value sorts the members of structures too.
        let value = serde_json::to_value(self).map_err(|error| SnapshotError::Text(error.to_string()))?;
        Ok(value.to_string())
    }

    /// Reads a text. Whether it is the one that was recorded, only its SHA-256 says.
    ///
    /// # Errors
    /// [`SnapshotError::Text`] or [`SnapshotError::Version`].
    pub fn from_text(text: &str) -> Result<Self, SnapshotError> {
        let failed = |error: serde_json::Error| SnapshotError::Text(error.to_string());
        #[derive(Deserialize)]
        struct Versioned {
            v: u32,
        }
        match serde_json::from_str::<Versioned>(text).map_err(failed)?.v {
            SNAPSHOT_VERSION => serde_json::from_str(text).map_err(failed),
            other => Err(SnapshotError::Version(other)),
        }
    }

    /// SHA-256 of a text in lower-case hex, as records name it.
    #[must_use]
    pub fn sha256(text: &str) -> String {
        hex::encode(Sha256::digest(text))
    }
}

/// The agent's key that a record names: the log's first one, and those of each change of voice.
pub(crate) fn named_agent_key(record: &Record) -> Option<String> {
    let names = matches!(record.event.as_str(), "log.open" | "agent.voice");
    names.then(|| record.detail.get("agent_key").and_then(Value::as_str).map(str::to_owned)).flatten()
}

/// Memberships as a list: a pair is no name of a JSON member.
pub(super) mod members {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::ids::{GroupId, IdentityId};

    #[derive(Serialize, Deserialize)]
    struct Member {
        group: GroupId,
        identity: IdentityId,
        waits: bool,
    }

    pub(in super::super) fn serialize<S: Serializer>(
        members: &BTreeMap<(GroupId, IdentityId), bool>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let member = |((group, identity), waits): (&(GroupId, IdentityId), &bool)| Member {
            group: *group,
            identity: *identity,
            waits: *waits,
        };
        members.iter().map(member).collect::<Vec<_>>().serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<(GroupId, IdentityId), bool>, D::Error> {
        let members = Vec::<Member>::deserialize(deserializer)?;
        Ok(members.into_iter().map(|member| ((member.group, member.identity), member.waits)).collect())
    }
}
