//! `strongroom report releases`: which codes were taken, by client, person and account.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use strongroom_proto::audit::record::RecordOutcome;

use super::document::{Cell, Control, Section, row};
use super::evidence::{Entry, Evidence, Period};

pub(super) const CONTROLS: &[Control] = &[
    Control { standard: "SOC 2", ids: "CC6.1, CC7.2", about: "use of secrets is recorded and looked at" },
    Control {
        standard: "ISO/IEC 27001:2022",
        ids: "A.5.17, A.8.15, A.8.16",
        about: "use of authentication information is logged and watched",
    },
    Control {
        standard: "CIS Controls v8.1",
        ids: "3.14, 8.5, 8.11",
        about: "access to sensitive data in detail, reviewed",
    },
    Control {
        standard: "PCI DSS 4.0.1",
        ids: "10.2.1, 10.2.2, 10.4.1",
        about: "who used which shared credential, when, with what outcome",
    },
];

/// Counts of one line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    released: u64,
    denied: u64,
    failed: u64,
    withheld: u64,
    with_reason: u64,
    with_ticket: u64,
    last: Option<Timestamp>,
}

impl Tally {
    fn add(&mut self, entry: &Entry, withheld: bool) {
        match entry.record.outcome {
            RecordOutcome::Ok => {
                self.released += 1;
                self.withheld += u64::from(withheld);
                // The commitment shows that one was given, also where its value was erased.
                self.with_reason += u64::from(entry.record.h.contains_key("reason"));
                self.with_ticket += u64::from(entry.record.h.contains_key("ticket"));
                self.last = self.last.max(Some(entry.at()));
            }
            RecordOutcome::Denied => self.denied += 1,
            RecordOutcome::Failed => self.failed += 1,
        }
    }

    fn cells(&self) -> Vec<Cell> {
        row![self.released, self.denied, self.failed, self.withheld, self.with_reason, self.with_ticket, self.last]
    }
}

const TALLIED: [&str; 7] = ["released", "denied", "failed", "withheld", "with_reason", "with_ticket", "last_at"];

/// The places of releases that were authorised and never left the agent.
pub(super) fn withheld(entries: &[Entry]) -> BTreeSet<u64> {
    let events = ["code.withheld", "code.failed"];
    let gone = entries.iter().filter(|entry| events.contains(&entry.record.event.as_str()));
    gone.filter_map(|entry| entry.number("release")).collect()
}

/// Counts releases of the period.
pub(super) fn sections(evidence: &Evidence, period: Period) -> Vec<Section> {
    let mut lines: BTreeMap<(String, String, String), Tally> = BTreeMap::new();
    for log in evidence.vault_logs() {
        let gone = withheld(&log.entries);
        for entry in log.entries.iter().filter(|entry| entry.record.event == "code.release" && period.has(entry.at())) {
            let account = entry.record.target.account.map_or_else(|| "(none)".to_owned(), |id| evidence.account(id));
            let line = lines.entry((log.name(), evidence.actor(entry), account)).or_default();
            line.add(entry, gone.contains(&entry.record.seq));
        }
    }
    vec![
        summary("clients", "By client", "vault", lines.iter().map(|((vault, ..), tally)| (vault.clone(), *tally))),
        summary("people", "By person", "who", lines.iter().map(|((_, who, _), tally)| (who.clone(), *tally))),
        summary("accounts", "By account", "account", {
            lines.iter().map(|((vault, _, account), tally)| (format!("{vault}/{account}"), *tally))
        }),
        detail(&lines),
        unknown(evidence, period),
    ]
}

fn summary(key: &'static str, title: &'static str, by: &str, lines: impl Iterator<Item = (String, Tally)>) -> Section {
    let mut sums: BTreeMap<String, Tally> = BTreeMap::new();
    for (name, tally) in lines {
        let sum = sums.entry(name).or_default();
        *sum = Tally {
            released: sum.released + tally.released,
            denied: sum.denied + tally.denied,
            failed: sum.failed + tally.failed,
            withheld: sum.withheld + tally.withheld,
            with_reason: sum.with_reason + tally.with_reason,
            with_ticket: sum.with_ticket + tally.with_ticket,
            last: sum.last.max(tally.last),
        };
    }
    let rows = sums.into_iter().map(|(name, tally)| [row![name], tally.cells()].concat()).collect();
    let columns: Vec<&str> = std::iter::once(by).chain(TALLIED).collect();
    Section::new(key, title, &columns, rows).chart(0, 1)
}

fn detail(lines: &BTreeMap<(String, String, String), Tally>) -> Section {
    let rows = lines.iter().map(|((vault, who, account), tally)| {
        [row![vault.clone(), who.clone(), account.clone()], tally.cells()].concat()
    });
    let columns: Vec<&str> = ["vault", "who", "account"].into_iter().chain(TALLIED).collect();
    Section::new("releases", "By client, person and account", &columns, rows.collect())
        .note("A release was authorised and recorded before the code left; withheld ones never left. Reasons and tickets are counted where they were given.")
}

/// Attempts in the organisation's log: on what the caller may not know of, or what does not exist.
fn unknown(evidence: &Evidence, period: Period) -> Section {
    let org = evidence.logs.iter().filter(|log| log.vault.is_none()).flat_map(|log| &log.entries);
    let denied = org.filter(|entry| entry.is("code.release", RecordOutcome::Denied) && period.has(entry.at()));
    let rows = denied.map(|entry| {
        let vault =
            entry.record.target.vault.and_then(|id| {
                evidence.lists.vaults.iter().find(|item| item.id == id).map(|item| item.vault.to_string())
            });
        row![entry.at(), evidence.actor(entry), entry.text("asked"), vault, entry.record.seq]
    });
    Section::new(
        "unknown",
        "Attempts on what the caller may not know of",
        &["at", "who", "asked", "vault", "record"],
        rows.collect(),
    )
}
