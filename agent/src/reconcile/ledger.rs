//! The agent's side of the comparison: which uses of vault keys end in a record, and which end in none.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use strongroom_proto::ids::VaultId;

/// Uses of one vault's keys that no record of a release stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unrecorded {
    /// Under way: their record may still come.
    pub open: u64,
    /// Refused at the commit, failed on the way, or made to compare two tokens.
    pub other: u64,
}

/// What the agent asked its tokens for in this run.
#[derive(Debug, Default)]
pub struct Ledger {
    vaults: Mutex<BTreeMap<VaultId, Unrecorded>>,
}

/// One use that is under way. Dropped, it counts as one that no record stands for.
#[derive(Debug)]
#[must_use = "a use ends with its record or without one"]
pub struct Use {
    ledger: Arc<Ledger>,
    vault: VaultId,
    recorded: bool,
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<VaultId, Unrecorded>> {
        self.vaults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a use that is about to begin.
    pub fn begin(self: &Arc<Self>, vault: VaultId) -> Use {
        self.lock().entry(vault).or_default().open += 1;
        Use { ledger: Arc::clone(self), vault, recorded: false }
    }

    /// Notes uses that are about to begin and for which there will be no record of a release.
    pub fn other(&self, vault: VaultId, count: u64) {
        self.lock().entry(vault).or_default().other += count;
    }

    /// What there is now.
    #[must_use]
    pub fn unrecorded(&self) -> BTreeMap<VaultId, Unrecorded> {
        self.lock().clone()
    }
}

impl Use {
    /// The record of this use is durable.
    pub fn recorded(mut self) {
        self.recorded = true;
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        let mut vaults = self.ledger.lock();
        let entry = vaults.entry(self.vault).or_default();
        entry.open = entry.open.saturating_sub(1);
        entry.other += u64::from(!self.recorded);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_open_until_it_ends_with_its_record_or_without() {
        let (ledger, vault) = (Arc::new(Ledger::default()), VaultId::random());
        let now = || ledger.unrecorded().get(&vault).copied().unwrap_or_default();
        let (recorded, refused) = (ledger.begin(vault), ledger.begin(vault));
        assert_eq!(now(), Unrecorded { open: 2, other: 0 });
        recorded.recorded();
        assert_eq!(now(), Unrecorded { open: 1, other: 0 });
        drop(refused);
        ledger.other(vault, 2);
        assert_eq!(now(), Unrecorded { open: 0, other: 3 });
    }
}
