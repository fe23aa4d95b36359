//! `strongroom report recertification`: what became of "is every right still needed?".

use super::document::{Control, Section, row};
use super::evidence::{Entry, Evidence, Period};

pub(super) const CONTROLS: &[Control] = &[
    Control { standard: "SOC 2", ids: "CC6.2, CC6.3", about: "rights are reviewed by those who answer for them" },
    Control { standard: "ISO/IEC 27001:2022", ids: "A.5.18", about: "rights are reviewed at intervals" },
    Control {
        standard: "CIS Controls v8.1",
        ids: "5.1, 6.8",
        about: "accounts and roles are validated again and again",
    },
    Control {
        standard: "PCI DSS 4.0.1",
        ids: "7.2.4, 7.2.5.1",
        about: "all access is reviewed at least every six months, and acknowledged",
    },
];

fn of<'a>(evidence: &'a Evidence, event: &'a str, campaign: &'a str) -> impl Iterator<Item = (String, &'a Entry)> {
    let those = evidence.happened(event).filter(move |(_, entry)| entry.fact("campaign").as_deref() == Some(campaign));
    those.map(|(log, entry)| (log.name(), entry))
}

/// Campaigns that were begun or ended in the period, their vaults and each decision.
pub(super) fn sections(evidence: &Evidence, period: Period) -> Vec<Section> {
    let mut campaigns: Vec<(String, &Entry)> = Vec::new();
    for (_, entry) in evidence.all().filter(|(_, entry)| period.has(entry.at())) {
        let about = entry.happened("review.start") || entry.happened("review.result");
        if let Some(campaign) = entry.fact("campaign").filter(|_| about)
            && campaigns.iter().all(|(known, _)| *known != campaign)
        {
            campaigns.push((campaign, entry));
        }
    }
    let (mut overview, mut vaults, mut decisions) = (Vec::new(), Vec::new(), Vec::new());
    for (campaign, _) in &campaigns {
        let start = of(evidence, "review.start", campaign).next().map(|(_, entry)| entry);
        let results: Vec<_> = of(evidence, "review.result", campaign).collect();
        let whole = results.iter().find(|(log, _)| log == super::evidence::ORG).map(|(_, entry)| *entry);
        let closed = of(evidence, "review.close", campaign).next();
        let count = |entry: Option<&Entry>, name: &str| entry.and_then(|entry| entry.number(name));
        overview.push(row![
            start.and_then(|entry| entry.text("title")),
            start.map(|entry| evidence.actor(entry)),
            start.map(Entry::at),
            start.and_then(|entry| entry.fact("due_at")),
            whole.map(Entry::at),
            if whole.is_none() {
                "open, or not readable"
            } else if closed.is_some() {
                "closed early"
            } else {
                "over"
            },
            count(start, "grants"),
            count(whole, "kept"),
            count(whole, "ended"),
            count(whole, "unconfirmed"),
            campaign.clone(),
        ]);
        for (log, entry) in results.iter().filter(|(log, _)| log != super::evidence::ORG) {
            let entry = Some(*entry);
            vaults.push(row![
                log.clone(),
                entry.map(Entry::at),
                count(entry, "kept"),
                count(entry, "ended"),
                count(entry, "unconfirmed"),
                campaign.clone(),
            ]);
        }
        let kept = of(evidence, "review.keep", campaign).map(|(log, entry)| (log, entry, "kept"));
        let ended = of(evidence, "grant.end", campaign).map(|(log, entry)| {
            (
                log,
                entry,
                if entry.fact("cause").as_deref() == Some("review.decide") {
                    "ended"
                } else {
                    "ended, nobody confirmed it"
                },
            )
        });
        for (log, entry, decision) in kept.chain(ended) {
            decisions.push(row![
                entry.at(),
                log,
                evidence.target(entry),
                entry.fact("role"),
                decision,
                evidence.actor(entry),
                entry.text("reason"),
                entry.record.target.grant.map(|grant| grant.to_string()),
                entry.record.seq,
            ]);
        }
    }
    let columns = [
        "title",
        "started_by",
        "started_at",
        "due_at",
        "ended_at",
        "state",
        "grants",
        "kept",
        "ended",
        "unconfirmed",
        "campaign",
    ];
    vec![
        Section::new("campaigns", "Recertifications", &columns, overview),
        Section::new("vaults", "By client", &["vault", "ended_at", "kept", "ended", "unconfirmed", "campaign"], vaults),
        Section::new(
            "decisions",
            "Decisions",
            &["at", "vault", "who", "role", "decision", "by", "note", "grant", "record"],
            decisions,
        ),
    ]
}
