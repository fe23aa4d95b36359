//! `strongroom report backups` and `strongroom report clock`: what operators owe to auditors.

use strongroom_proto::audit::record::RecordOutcome;

use super::document::{Cell, Control, Section, row};
use super::evidence::{Entry, Evidence, Log, Period};

pub(super) const BACKUP_CONTROLS: &[Control] = &[
    Control { standard: "SOC 2", ids: "A1.2, A1.3", about: "backups are made, and recovery is tested" },
    Control { standard: "ISO/IEC 27001:2022", ids: "A.8.13", about: "backups and tests of them" },
    Control { standard: "CIS Controls v8.1", ids: "11.1 to 11.5", about: "automated backups and tested recovery" },
    Control { standard: "PCI DSS 4.0.1", ids: "10.3.3, 12.10.2", about: "copies of the trail, and an exercised plan" },
];

pub(super) const CLOCK_CONTROLS: &[Control] = &[
    Control { standard: "SOC 2", ids: "CC7.2", about: "what would make records misleading is noticed" },
    Control { standard: "ISO/IEC 27001:2022", ids: "A.8.17", about: "clocks are synchronised" },
    Control { standard: "CIS Controls v8.1", ids: "8.4", about: "time is synchronised" },
    Control { standard: "PCI DSS 4.0.1", ids: "10.6", about: "time is consistent and correct" },
];

fn within(evidence: &Evidence, period: Period) -> impl Iterator<Item = (&Log, &Entry)> {
    evidence.all().filter(move |(_, entry)| period.has(entry.at()))
}

/// Backups, drills and restores of the period, and how long it once was between two backups.
pub(super) fn backups(evidence: &Evidence, period: Period) -> Vec<Section> {
    let of = |events: &'static [&'static str]| {
        within(evidence, period).map(|(_, entry)| entry).filter(|entry| events.contains(&entry.record.event.as_str()))
    };
    let made: Vec<&Entry> = of(&["backup.made"]).collect();
    let gaps = made.windows(2).filter_map(|pair| match pair {
        [one, other] => Some(other.at().duration_since(one.at()).as_hours()),
        _ => None,
    });
    let longest = gaps.max().map(|hours| format!("{hours} h"));
    let last = |event: &'static str| evidence.happened(event).last().map(|(_, entry)| entry.at());
    let summary = vec![
        row!["backups made", made.len()],
        row!["backups failed", of(&["backup.failed"]).count()],
        row!["last backup", last("backup.made")],
        row!["longest time between two backups", longest],
        row!["drills passed", of(&["drill.passed"]).count()],
        row!["drills failed", of(&["drill.failed"]).count()],
        row!["last drill passed", last("drill.passed")],
    ];
    let rows = of(&["backup.made", "backup.failed"]).map(|entry| {
        row![
            entry.at(),
            entry.record.event.clone(),
            entry.number("size"),
            entry.fact("sha256"),
            entry.text("reason"),
            entry.record.seq
        ]
    });
    let drills = of(&["drill.passed", "drill.failed"]).map(|entry| {
        row![
            entry.at(),
            entry.record.event.clone(),
            entry.fact("made_at"),
            entry.number("compared"),
            entry.fact("backup_sha256"),
            entry.fact("evidence_sha256"),
            entry.record.seq,
        ]
    });
    let moves = of(&["store.restored", "store.recover", "store.recovered"]).map(|entry| {
        let facts: Vec<String> =
            entry.record.detail.keys().filter_map(|name| Some(format!("{name} {}", entry.fact(name)?))).collect();
        row![entry.at(), entry.record.event.clone(), facts.join(", "), entry.record.seq]
    });
    vec![
        Section::new("summary", "In short", &["what", "value"], summary),
        Section::new("backups", "Backups", &["at", "event", "size", "sha256", "reason", "record"], rows.collect()),
        Section::new(
            "drills",
            "Drills: a backup that was really restored",
            &["at", "event", "made_at", "compared", "backup_sha256", "evidence_sha256", "record"],
            drills.collect(),
        ),
        Section::new("restores", "Restores and moves", &["at", "event", "facts", "record"], moves.collect()),
    ]
}

/// Codes that were computed while the clock stood behind the log, and the starts and stops of the agent.
pub(super) fn clock(evidence: &Evidence, period: Period) -> Vec<Section> {
    let behind: Vec<(&Log, &Entry, u64)> = within(evidence, period)
        .filter_map(|(log, entry)| Some((log, entry, entry.number("clock_behind_s")?)))
        .collect();
    let worst = behind.iter().map(|(.., seconds)| *seconds).max();
    let releases = within(evidence, period).filter(|(_, entry)| entry.happened("code.release")).count();
    let summary = vec![
        row!["codes released", releases],
        row!["of them while the clock stood behind the log", behind.len()],
        row!["at most behind, in seconds", worst.map_or(Cell::Empty, Cell::Count)],
    ];
    let rows = behind.iter().map(|(log, entry, seconds)| {
        let account = entry.record.target.account.map(|id| evidence.account(id));
        row![entry.at(), log.name(), account, evidence.actor(entry), *seconds, entry.record.seq]
    });
    let runs = within(evidence, period).filter(|(_, entry)| {
        let events = ["agent.start", "agent.stop", "token.lost", "token.back", "store.restored"];
        events.contains(&entry.record.event.as_str()) && entry.record.outcome != RecordOutcome::Denied
    });
    let runs =
        runs.map(|(_, entry)| row![entry.at(), entry.record.event.clone(), entry.fact("version"), entry.record.seq]);
    vec![
        Section::new("summary", "In short", &["what", "value"], summary),
        Section::new("behind", "Codes while the clock was behind", &["at", "vault", "account", "who", "behind_s", "record"], rows.collect())
            .note("A time in the log is never before that of the record before it. Such a code may not be taken by the client's login, and its time in the log is the latest known, not the clock's."),
        Section::new("runs", "Starts, stops and failures", &["at", "event", "version", "record"], runs.collect())
            .note("Between a stop and the next start nothing was released and nothing recorded."),
    ]
}
