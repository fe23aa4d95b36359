//! How far each log is pruned. The row decides: it is part of its log's state digest, and the digest stands in the `log.prune` that
//! moved it. Records that are missing at or above it are missing; so nobody gains anything by moving it in the store.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strongroom_proto::audit::pruned::Pruned;
use strongroom_proto::ids::VaultId;

use super::rows::row;
use super::{LogId, State};

/// How far a log is pruned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Which vault's log; none for the organisation's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<VaultId>,
    /// What its `log.prune` says.
    #[serde(flatten)]
    pub pruned: Pruned,
}

impl Retention {
    /// The row of a log.
    #[must_use]
    pub const fn new(log: LogId, pruned: Pruned) -> Self {
        let vault = match log {
            LogId::Org => None,
            LogId::Vault(vault) => Some(vault),
        };
        Self { vault, pruned }
    }

    fn of(&self) -> LogId {
        self.vault.map_or(LogId::Org, LogId::Vault)
    }
}

impl State {
    /// The first record of a log that was not pruned.
    #[must_use]
    pub fn kept_from(&self, log: LogId) -> u64 {
        self.pruned.get(&log).map_or(0, |pruned| pruned.until)
    }

    /// When a log was pruned last.
    #[must_use]
    pub fn pruned_at(&self, log: LogId) -> Option<Timestamp> {
        self.pruned.get(&log).map(|pruned| pruned.at)
    }
}

row!(Retention, "retention", decides: true,
key: |retention| retention.of().to_bytes().to_vec(), log: |retention| retention.of(), names: Nothing,
place: |retention, state| { state.pruned.insert(retention.of(), retention.pruned); },
displace: |_, _| {});
