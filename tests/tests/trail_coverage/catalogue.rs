//! What records carry stands in the catalogue of AUDIT-FORMAT.md: every event, every fact and every commitment by name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use strongroom_proto::audit::record::{Record, RecordOutcome};

/// Facts and commitments that the text above the table promises of every event.
const GENERAL: [&str; 8] =
    ["alert_level", "incident", "kind", "sole_admin", "pending", "in_force", "actor.name", "asked"];

/// What the rows of the catalogue name, by event.
fn rows() -> BTreeMap<String, BTreeSet<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/AUDIT-FORMAT.md");
    let document = std::fs::read_to_string(path).unwrap();
    let catalogue = document.split_once("## Events").unwrap().1;
    let mut rows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in catalogue.lines().filter(|line| line.starts_with("| `")) {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let words = |column: &str| column.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
        let mut named = words(columns[4]);
        named.extend(words(columns[5]));
        // Signatures and plain words in brackets are values, which do no harm here.
        for event in words(columns[1]) {
            rows.entry(event).or_default().extend(named.clone());
        }
    }
    // "as `identity.enrol`": that row's names are this one's, too.
    let plain = rows.clone();
    for named in rows.values_mut() {
        let others: Vec<_> = named.iter().filter_map(|word| plain.get(word)).flatten().cloned().collect();
        named.extend(others);
    }
    rows
}

/// Asserts that the catalogue has what these records carry.
pub(crate) fn assert_documented(records: &[Record]) {
    let rows = rows();
    assert!(rows.len() > 80, "the catalogue is read: {}", rows.len());
    let mut missing = BTreeSet::new();
    for record in records {
        let Some(named) = rows.get(&record.event) else {
            missing.insert(record.event.clone());
            continue;
        };
        for field in record.detail.keys().chain(record.h.keys()) {
            let refused = record.outcome != RecordOutcome::Ok && field == "reason";
            if !named.contains(field) && !GENERAL.contains(&field.as_str()) && !refused {
                missing.insert(format!("{}: {field}", record.event));
            }
        }
    }
    assert!(missing.is_empty(), "not in the catalogue: {missing:#?}");
}
