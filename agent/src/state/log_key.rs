//! Statements by which one key of the logs vouched for the next.

use serde::{Deserialize, Serialize};
use strongroom_proto::audit::log_key::LogKey;

use super::LogId;
use super::rows::row;

/// A statement as both tokens signed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogKeyRow {
    /// What they said.
    pub statement: LogKey,
}

row!(LogKeyRow, "log_key", decides: true,
key: |row| format!("{} {}", row.statement.old, row.statement.new).into_bytes(), log: |_| LogId::Org, names: Nothing,
place: |row, state| {
    state.log_keys.insert((row.statement.old.clone(), row.statement.new.clone()), row.statement);
},
displace: |_, _| {});
