//! Reading logs over the protocol, as an auditor would.

use strongroom_proto::audit::merkle::leaf_hash;
use strongroom_proto::audit::record::{Record, RecordOutcome};
use strongroom_proto::client::Client;
use strongroom_proto::ids::IdentityId;
use strongroom_proto::method::audit::Read;

use crate::organisation::slug;

/// A record as it was read, with its leaf hash in hex.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it says.
    pub record: Record,
    /// The leaf that a receipt names.
    pub leaf: String,
}

impl Entry {
    /// True if it says that this happened.
    #[must_use]
    pub fn is(&self, event: &str, outcome: RecordOutcome) -> bool {
        self.record.event == event && self.record.outcome == outcome
    }

    /// True if this identity acted.
    #[must_use]
    pub fn by(&self, identity: IdentityId) -> bool {
        self.record.actor.as_ref().is_some_and(|actor| actor.identity == identity)
    }
}

/// Reads a whole log, oldest first; `None` is the org log.
///
/// # Panics
/// If the agent refuses, or places are not dense.
pub async fn read_log(reader: &mut Client, vault: Option<&str>) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut from = Some(0);
    while let Some(place) = from {
        let read = Read { vault: vault.map(slug), from: Some(place), before: None, limit: Some(500) };
        let page = reader.call(&read).await.unwrap_or_else(|error| panic!("read {vault:?}: {error}"));
        for item in page.items {
            let record: Record = serde_json::from_str(&item.record).expect("a record is what its format says");
            assert_eq!(record.seq, entries.len() as u64, "the log has a gap");
            entries.push(Entry { record, leaf: hex::encode(leaf_hash(item.record.as_bytes())) });
        }
        from = page.next;
    }
    entries
}
