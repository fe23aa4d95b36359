//! `agent.*`: the daemon itself. Needs no session.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::method;
use crate::ids::{Instance, Slug};

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
    /// Users of the system and keys whose logins are held back now, because proofs of theirs failed again and again.
    #[serde(default)]
    pub held_back: u64,
    /// Whether certificates log people in here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub certificates: bool,
    /// What an operator should have done by now, in sentences: a backup, a drill.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overdue: Vec<String>,
    /// Copies of the logs for others, as the configuration has them. Only in sessions of org admins and auditors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<Stream>,
    /// Alerts that nobody has answered, as far as the caller may see them; absent for whoever may see none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alerts: Option<OpenAlerts>,
    /// The processes that serve the token. Empty from an agent that does not say.
    #[serde(default)]
    pub workers: Vec<Worker>,
    /// Why none of them serves; absent while one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_trouble: Option<TokenTrouble>,
    /// The second token, if one has joined. While either serves, codes are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_token: Option<SecondToken>,
}

/// Alerts that nobody has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenAlerts {
    /// How many.
    pub open: u64,
    /// How many of them the caller has not listed yet.
    pub unseen: u64,
    /// How often the one that escalated most often has.
    pub level: u64,
}

/// How far a copy of the logs has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// Its name in the configuration.
    pub name: Slug,
    /// Whether it has a connection.
    pub connected: bool,
    /// Records that its receiver has not taken.
    pub records_behind: u64,
    /// How long ago the oldest of them was made, in seconds.
    pub behind_s: u64,
    /// What went wrong last; absent since records were taken again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// How the second token is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondToken {
    /// Whether it answered its last canary operation; failing too while the agent's configuration does not name it.
    pub health: Health,
    /// The processes that serve it.
    pub workers: Vec<Worker>,
    /// Why none of them serves; absent while one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<TokenTrouble>,
    /// Whether every seed has reached it. How many have not is no stranger's business.
    pub complete: bool,
    /// Whether the agent speaks with this token's key just now: clients need it pinned.
    pub speaks: bool,
}

/// A process that serves the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// Whether it serves.
    pub health: Health,
    /// How long it has been so, in seconds.
    pub for_s: u64,
    /// How often it was replaced in this run of the agent.
    pub restarts: u64,
    /// Its resident memory at the last check, in KiB; 0 before the first.
    pub resident_kib: u64,
    /// Calls that wait for it.
    pub in_flight: u64,
}

/// Why no worker serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenTrouble {
    /// The token is away, hangs or fails; fresh workers are started with growing pauses until one serves.
    Recovering,
    /// The token refused the PIN: nothing is tried until an operator restarts the agent.
    PinRefused,
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
