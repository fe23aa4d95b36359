//! Counts releases in the logs, as they grow.

use std::collections::BTreeMap;

use strongroom_proto::audit::record::{Record, RecordOutcome};
use strongroom_proto::ids::{Instance, VaultId};

use crate::state::{LogId, State};
use crate::store::StoreError;
use crate::store::sqlite::{Page, Readers};

/// Records that are read together.
const PAGE_LEN: u32 = 500;

/// How far the logs have been read, and what this run of the agent released by them.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    vaults: BTreeMap<VaultId, Place>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    next: u64,
    released: u64,
    /// Codes of counters that were recorded and then not computed.
    failed: u64,
}

impl Recorded {
    /// Begins behind what the logs hold now: nothing of it is of this run. A vault that is made later begins at its first record.
    pub(super) fn from_now(view: &State) -> Self {
        let ends = view.heads.iter().filter_map(|(log, head)| match log {
            LogId::Vault(vault) => Some((*vault, Place { next: head.frontier.size(), ..Place::default() })),
            LogId::Org => None,
        });
        Self { vaults: ends.collect() }
    }

    /// Reads the new records of these vaults. Blocks.
    ///
    /// # Errors
    /// As [`Readers::records`].
    pub(super) fn read_on(
        &mut self,
        readers: &Readers,
        instance: Instance,
        vaults: &[VaultId],
    ) -> Result<(), StoreError> {
        for vault in vaults {
            let place = self.vaults.entry(*vault).or_default();
            loop {
                let records = readers.records(LogId::Vault(*vault), Page::From(place.next), PAGE_LEN)?;
                for stored in &records {
                    place.next = stored.seq + 1;
                    // Every other record is passed over without being read whole.
                    if !stored.record.contains("\"event\":\"code.") {
                        continue;
                    }
                    let record: Record = serde_json::from_str(&stored.record)
                        .map_err(|_| StoreError::Read(format!("record {} is none", stored.seq)))?;
                    if record.agent == instance {
                        place.released +=
                            u64::from(record.event == "code.release" && record.outcome == RecordOutcome::Ok);
                        place.failed += u64::from(record.event == "code.failed");
                    }
                }
                if records.len() < PAGE_LEN as usize {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Releases of this run whose code was computed.
    pub(super) fn releases(&self, vault: VaultId) -> u64 {
        self.vaults.get(&vault).map_or(0, |place| place.released.saturating_sub(place.failed))
    }
}
