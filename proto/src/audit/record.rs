//! The audit record. A record *is* its bytes: compact JSON, ASCII keys in order, no floats, integers below 2^53, at most
//! 8 KiB; made once, stored, hashed and exported verbatim. Nobody serialises it a second time, because canonical-JSON
//! libraries disagree on large integers.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{AccountId, GrantId, IdentityId, Instance, SessionId, VaultId};
use crate::words::Assurance;

/// The format version in every record.
pub const RECORD_VERSION: u32 = 1;
/// Longest record, in bytes.
pub const RECORD_LEN_MAX: usize = 8 * 1024;

/// One audit event. Fields stand in the order of their keys: that order is the format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Who acted; absent for the agent itself and for unknown callers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
    /// The run of the agent that wrote the record.
    pub agent: Instance,
    /// Facts that belong to this event only: texts and integers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub detail: BTreeMap<String, Value>,
    /// What happened: `family.event`, for example `code.release`.
    pub event: String,
    /// Where the call came from; absent for the agent itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<From>,
    /// The grant that allowed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantRef>,
    /// Commitments to personal and free text, base64 by field ([`crate::audit::opening`]).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub h: BTreeMap<String, String>,
    /// The origin of the log that holds the record.
    pub log: String,
    /// Whether it happened.
    pub outcome: RecordOutcome,
    /// The place in the log, dense from 0.
    pub seq: u64,
    /// The digest of the log's state after this record, 64 hex digits; absent if the record changed no state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// What it was about.
    #[serde(default, skip_serializing_if = "Target::is_empty")]
    pub target: Target,
    /// When, UTC with six decimals; never before the record before.
    #[serde(with = "micros")]
    pub ts: Timestamp,
    /// [`RECORD_VERSION`].
    pub v: u32,
}

/// Whether the event happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordOutcome {
    /// It happened.
    Ok,
    /// It was refused; `detail.kind` says why.
    Denied,
    /// It was allowed and failed; `detail.kind` says why.
    Failed,
}

/// Who acted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// How they had proved themselves.
    pub assurance: Assurance,
    /// The identity.
    pub identity: IdentityId,
    /// The fingerprint of the key.
    pub key: String,
    /// The session.
    pub session: SessionId,
}

/// Where a call came from. Through an SSH forward these are sshd's: recorded, never an identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct From {
    /// Program and version as it called itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub client: String,
    /// Process id of the peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// User id of the peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
}

/// The grant that allowed an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantRef {
    /// Its id.
    pub id: GrantId,
    /// Its version at that time.
    pub version: u64,
}

/// What an event was about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// An account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    /// A grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// An identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityId>,
    /// A key, by fingerprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// A vault; only in the org log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<VaultId>,
}

impl Target {
    /// True if nothing is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A record that cannot be written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The record is longer than [`RECORD_LEN_MAX`].
    #[error("the record is longer than 8 KiB")]
    TooLong,
    /// A detail is neither text nor an integer below 2^53.
    #[error("a record holds texts and integers below 2^53 only")]
    Value,
}

impl Record {
    /// Writes the record down, once and for all.
    ///
    /// # Errors
    /// [`RecordError::Value`] if a detail is no text or safe integer, [`RecordError::TooLong`] beyond 8 KiB.
    pub fn to_bytes(&self) -> Result<String, RecordError> {
        const SAFE_INTEGER_MAX: u64 = (1 << 53) - 1;
        let plain = |value: &Value| match value {
            Value::String(_) => true,
            Value::Number(number) => number.as_u64().is_some_and(|integer| integer <= SAFE_INTEGER_MAX),
            _ => false,
        };
        if !self.detail.values().all(plain) || self.seq > SAFE_INTEGER_MAX {
            return Err(RecordError::Value);
        }
        let text = serde_json::to_string(self).map_err(|_| RecordError::Value)?;
        if text.len() > RECORD_LEN_MAX { Err(RecordError::TooLong) } else { Ok(text) }
    }
}

/// RFC 3339 in UTC with exactly six decimals.
mod micros {
    use jiff::Timestamp;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{at:.6}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        Timestamp::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Record {
        let id = "00000000-0000-4000-8000-000000000001";
        Record {
            actor: Some(Actor {
                assurance: Assurance::SoftwareKey,
                identity: id.parse().unwrap(),
                key: "SHA256:abc".into(),
                session: id.parse().unwrap(),
            }),
            agent: id.parse().unwrap(),
            detail: BTreeMap::from([("step".into(), Value::from(59_012_345_u64))]),
            event: "code.release".into(),
            from: Some(From { client: "strongroom/0.1.0".into(), pid: Some(7), uid: Some(1000) }),
            grant: None,
            h: BTreeMap::new(),
            log: "strongroom/org/vault".into(),
            outcome: RecordOutcome::Ok,
            seq: 41,
            state: None,
            target: Target { account: Some(id.parse().unwrap()), ..Target::default() },
            ts: "2026-11-21T19:00:00.1Z".parse().unwrap(),
            v: RECORD_VERSION,
        }
    }

    #[test]
    fn the_bytes_of_a_record_are_fixed() {
        let id = "00000000-0000-4000-8000-000000000001";
        assert_eq!(
            sample().to_bytes().unwrap(),
            format!(
                r#"{{"actor":{{"assurance":"software-key","identity":"{id}","key":"SHA256:abc","session":"{id}"}},"agent":"{id}","detail":{{"step":59012345}},"event":"code.release","from":{{"client":"strongroom/0.1.0","pid":7,"uid":1000}},"log":"strongroom/org/vault","outcome":"ok","seq":41,"target":{{"account":"{id}"}},"ts":"2026-11-21T19:00:00.100000Z","v":1}}"#
            )
        );
    }

    #[test]
    fn a_record_refuses_what_readers_would_disagree_on() {
        for bad in [Value::from(1.5), Value::from(1_u64 << 53), Value::from(-1), Value::Null, Value::from(vec![1])] {
            let mut record = sample();
            record.detail.insert("x".into(), bad);
            assert_eq!(record.to_bytes(), Err(RecordError::Value));
        }
        let mut record = sample();
        record.detail.insert("x".into(), "y".repeat(RECORD_LEN_MAX).into());
        assert_eq!(record.to_bytes(), Err(RecordError::TooLong));
    }
}
