//! `agent.*`: the daemon itself. Needs no session.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::method;
use crate::ids::Instance;

/// Asks how the agent is. Allowed without a session; says nothing about vaults.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {}
method!(Status => "agent.status" -> StatusResult);

/// How the agent is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StatusResult {
    /// The agent's version.
    pub version: String,
    /// The protocol version.
    pub protocol: u32,
    /// This run.
    pub instance: Instance,
    /// Since when.
    pub started_at: Timestamp,
    /// The agent's clock.
    pub now: Timestamp,
    /// `ready`, or the reason why nothing is released.
    pub state: State,
    /// Whether the token answered its last canary operation.
    pub token: Health,
    /// Whether the store can commit, and every vault matches its log.
    pub store: Health,
    /// What an operator should have done by now, in sentences: a backup, a drill.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overdue: Vec<String>,
}

/// Whether codes are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Codes are given.
    Ready,
    /// The token does not answer.
    HsmUnavailable,
    /// The store failed twice, or its state does not match its log: nothing is released until an operator looks.
    Sealed,
}

/// Whether a part answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It does.
    Ok,
    /// It does not.
    Failing,
}
