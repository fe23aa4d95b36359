//! `strongroom report unused`: rights that nobody uses, and people who no longer come.

use jiff::{SignedDuration, Timestamp};
use strongroom_proto::ids::Slug;
use strongroom_proto::method::grant::Item;
use strongroom_proto::words::{IdentityStatus, VaultRole};

use super::access::holders;
use super::document::{Control, Section, row};
use super::evidence::Evidence;

pub(super) const CONTROLS: &[Control] = &[
    Control { standard: "SOC 2", ids: "CC6.3", about: "rights that are not needed are found and ended" },
    Control { standard: "ISO/IEC 27001:2022", ids: "A.5.18", about: "rights are looked at again and again" },
    Control { standard: "CIS Controls v8.1", ids: "5.3", about: "dormant accounts are found" },
    Control {
        standard: "PCI DSS 4.0.1",
        ids: "7.2.4, 8.2.6",
        about: "access is reviewed, and who has been away for 90 days is found",
    },
];

/// When a grant was last of use: a code for a viewer, anything that it allowed for the others.
fn last_use(evidence: &Evidence, grant: &Item) -> Option<Timestamp> {
    let holders = holders(evidence, grant);
    let log = evidence.vault_logs().find(|log| log.vault.as_ref() == Some(&grant.vault))?;
    let used = log.entries.iter().rev().find(|entry| {
        let by_grant = entry.record.grant.as_ref().is_some_and(|by| by.id == grant.grant);
        let by_hand = grant.role != VaultRole::Viewer && holders.contains(&evidence.actor(entry));
        entry.happened(&entry.record.event) && (by_grant || by_hand)
    });
    used.map(super::evidence::Entry::at)
}

/// Standing grants that are older than `days` and were not used within them.
pub(super) fn sections(evidence: &Evidence, days: u32) -> Vec<Section> {
    let before = evidence.now.checked_sub(SignedDuration::from_hours(24 * i64::from(days))).unwrap_or(Timestamp::MIN);
    let readable = |vault: &Slug| evidence.vault_logs().any(|log| log.vault.as_ref() == Some(vault) && log.complete);
    let standing = evidence
        .lists
        .grants
        .iter()
        .filter(|grant| grant.until.is_none() && !grant.pending && grant.from < before && readable(&grant.vault));
    let rows = standing.filter_map(|grant| {
        let last = last_use(evidence, grant);
        let unused = last.is_none_or(|at| at < before);
        let whose = grant.identity.as_ref().or(grant.group.as_ref()).map(ToString::to_string);
        unused.then(|| {
            row![
                grant.vault.to_string(),
                whose,
                if grant.group.is_some() { "group" } else { "identity" },
                grant.role.as_str(),
                grant.from,
                last,
                grant.given_by.to_string(),
                grant.grant.to_string(),
            ]
        })
    });
    let columns = ["vault", "who", "kind", "role", "since", "last_used", "given_by", "grant"];
    let grants = Section::new("unused", "Standing grants that were not used", &columns, rows.collect())
        .note("A viewer uses a grant by taking a code, a manager or auditor by anything recorded in that vault. Only vaults whose whole log was read.");
    let away = evidence
        .lists
        .identities
        .iter()
        .filter(|item| item.status == IdentityStatus::Active && item.last_login.is_none_or(|at| at < before));
    let rows = away.map(|item| {
        row![item.identity.to_string(), item.name.clone(), item.kind.as_str(), item.last_login, item.until]
    });
    let columns = ["who", "name", "kind", "last_login", "until"];
    vec![grants, Section::new("away", "People and scripts that did not log in", &columns, rows.collect())]
}
