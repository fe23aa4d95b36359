//! `strongroom report exceptions`: everything that went past the rule, and who looked at it.

use strongroom_proto::audit::record::RecordOutcome;

use super::approvals;
use super::document::{Control, Section, row};
use super::evidence::{Entry, Evidence, Log, Period};
use super::releases::withheld;

pub(super) const CONTROLS: &[Control] = &[
    Control { standard: "SOC 2", ids: "CC6.1, CC7.2, CC7.3", about: "exceptions are found, looked at and closed" },
    Control {
        standard: "ISO/IEC 27001:2022",
        ids: "A.5.3, A.5.24 to A.5.28, A.8.2",
        about: "separation of duties, and what was done about its exceptions",
    },
    Control { standard: "CIS Controls v8.1", ids: "8.11, 17.x", about: "reviews of logs, and incidents" },
    Control {
        standard: "PCI DSS 4.0.1",
        ids: "8.2.2, 8.3.4, 8.5.1, 10.4.1",
        about: "each use of a shared login with its justification and approver; lock-outs; bypasses",
    },
];

/// All of it, for the period.
pub(super) fn sections(evidence: &Evidence, period: Period) -> Vec<Section> {
    vec![
        alone(evidence, period),
        break_glass(evidence, period),
        weaker(evidence, period),
        throttled(evidence, period),
        holds(evidence, period),
        decoys(evidence, period),
        shared_use(evidence, period),
    ]
}

fn within(evidence: &Evidence, period: Period) -> impl Iterator<Item = (&Log, &Entry)> {
    evidence.all().filter(move |(_, entry)| period.has(entry.at()))
}

/// What an admin did alone because there was no other, and what the recovery key did at the host.
fn alone(evidence: &Evidence, period: Period) -> Section {
    let done = within(evidence, period).filter(|(_, entry)| {
        let record = &entry.record;
        let alone = record.detail.contains_key("sole_admin") || record.detail.contains_key("unconfirmed");
        record.outcome == RecordOutcome::Ok && (alone || record.event == "emergency.admin")
    });
    let rows = done.map(|(log, entry)| {
        let second = approvals::confirmers(evidence, entry).join(", ");
        row![
            entry.at(),
            log.name(),
            entry.record.event.clone(),
            evidence.actor(entry),
            evidence.target(entry),
            second,
            entry.record.seq
        ]
    });
    let columns = ["at", "log", "event", "by", "about", "confirmed_by", "record"];
    Section::new("alone", "Done by one person alone", &columns, rows.collect()).note(
        "While there has only ever been one admin, nobody can confirm what that admin does; it is marked instead.",
    )
}

fn break_glass(evidence: &Evidence, period: Period) -> Section {
    let taken = within(evidence, period).filter(|(_, entry)| entry.happened("request.break_glass"));
    let rows = taken.map(|(log, entry)| {
        let request = entry.fact("request");
        let review = evidence.happened("request.review").find(|(_, review)| review.fact("request") == request);
        let review = review.map(|(_, review)| review);
        let state = match review.and_then(|review| review.number("justified")) {
            Some(0) => "not justified",
            Some(_) => "justified",
            None => "NOT REVIEWED",
        };
        row![
            entry.at(),
            log.name(),
            evidence.actor(entry),
            entry.fact("accounts").map_or_else(|| "all".to_owned(), |ids| evidence.accounts(&ids)),
            entry.number("duration_s").map(|seconds| format!("{} min", seconds / 60)),
            entry.text("reason"),
            entry.text("ticket"),
            state,
            review.map(|review| evidence.actor(review)),
            review.map(Entry::at),
            review.and_then(|review| review.text("note")),
            entry.record.seq,
        ]
    });
    let columns = [
        "at",
        "vault",
        "who",
        "accounts",
        "duration",
        "reason",
        "ticket",
        "review",
        "reviewed_by",
        "reviewed_at",
        "note",
        "record",
    ];
    Section::new("break_glass", "Access taken at once, by break-glass", &columns, rows.collect())
}

fn weaker(evidence: &Evidence, period: Period) -> Section {
    let set = within(evidence, period)
        .filter(|(_, entry)| entry.happened("policy.set") && entry.fact("weaker").is_some_and(|keys| !keys.is_empty()));
    let rows = set.map(|(log, entry)| {
        let second = approvals::confirmers(evidence, entry).join(", ");
        let state = match (entry.number("in_force"), second.is_empty()) {
            (Some(0), true) => "waits, or never confirmed",
            (Some(0), false) => "confirmed",
            _ => "in force at once",
        };
        row![entry.at(), log.name(), evidence.actor(entry), entry.fact("weaker"), state, second, entry.record.seq]
    });
    let columns = ["at", "policy_of", "by", "weaker", "state", "confirmed_by", "record"];
    Section::new("weaker", "Policies that became weaker", &columns, rows.collect())
}

fn throttled(evidence: &Evidence, period: Period) -> Section {
    let held = within(evidence, period).filter(|(_, entry)| entry.record.event == "session.throttled");
    let rows = held.map(|(_, entry)| {
        let uid = entry.record.from.as_ref().and_then(|from| from.uid).map(|uid| format!("user id {uid}"));
        row![entry.at(), entry.record.target.key.clone().or(uid), entry.number("attempts"), entry.record.seq]
    });
    Section::new("throttled", "Logins held back", &["at", "key_or_user", "attempts", "record"], rows.collect())
}

fn holds(evidence: &Evidence, period: Period) -> Section {
    let held = within(evidence, period)
        .filter(|(_, entry)| entry.happened("identity.hold") || entry.happened("identity.suspend"));
    let rows = held.map(|(log, entry)| {
        let ended = log.entries.iter().find(|later| {
            later.happened("identity.resume")
                && later.record.seq > entry.record.seq
                && later.record.target.identity == entry.record.target.identity
        });
        row![
            entry.at(),
            evidence.target(entry),
            entry.fact("cause").unwrap_or_else(|| "suspended".to_owned()),
            if entry.record.event == "identity.suspend" { evidence.actor(entry) } else { "(agent)".to_owned() },
            entry.text("reason"),
            ended.map(Entry::at),
            ended.map(|ended| evidence.actor(ended)),
            ended.and_then(|ended| ended.text("reason").map(str::to_owned)),
            entry.record.seq,
        ]
    });
    let columns = ["at", "who", "cause", "by", "reason", "ended_at", "ended_by", "ended_because", "record"];
    Section::new("holds", "People on hold or suspended", &columns, rows.collect())
}

/// Decoys are told to those who may list them; the organisation's log is read by nobody else.
fn decoys(evidence: &Evidence, period: Period) -> Section {
    let listed = evidence
        .lists
        .canaries
        .iter()
        .map(|item| row![item.account.to_string(), item.since, item.set_by.to_string(), item.tripped_at, "now"]);
    let cleared = within(evidence, period).filter(|(_, entry)| entry.happened("canary.clear"));
    let cleared = cleared.map(|(_, entry)| {
        row![
            entry.text("account.address"),
            Option::<u64>::None,
            evidence.actor(entry),
            Option::<u64>::None,
            format!("cleared, record {}", entry.record.seq)
        ]
    });
    let columns = ["account", "since", "set_by", "tripped_at", "state"];
    Section::new("decoys", "Decoys", &columns, listed.chain(cleared).collect())
        .note("Keep this section from whoever takes codes: a decoy that is known is none.")
}

/// One line for each code of a shared login: who, when, justification, approver.
pub(super) fn shared_use(evidence: &Evidence, period: Period) -> Section {
    let grants = approvals::by_grant(evidence);
    let mut rows = Vec::new();
    for log in evidence.vault_logs() {
        let gone = withheld(&log.entries);
        for entry in log.entries.iter().filter(|entry| entry.happened("code.release") && period.has(entry.at())) {
            let by = entry.record.grant.as_ref().map(|grant| grant.id);
            let behind = by.and_then(|id| grants.get(&id)).cloned().unwrap_or_default();
            let given = |own: Option<&str>, grants: &str| own.map_or_else(|| grants.to_owned(), str::to_owned);
            rows.push(row![
                entry.at(),
                log.name(),
                entry.record.target.account.map(|id| evidence.account(id)),
                evidence.actor(entry),
                entry.record.actor.as_ref().map(|actor| actor.assurance.as_str()),
                given(entry.text("reason"), &behind.reason),
                given(entry.text("ticket"), &behind.ticket),
                behind.how,
                behind.approvers.clone(),
                if gone.contains(&entry.record.seq) { "withheld" } else { "given" },
                entry.record.seq,
            ]);
        }
    }
    let columns = [
        "at",
        "vault",
        "account",
        "who",
        "proved_by",
        "justification",
        "ticket",
        "access",
        "approved_by",
        "code",
        "record",
    ];
    Section::new("shared_use", "Each use of a shared login", &columns, rows)
        .note("The login at the client is shared; who used it is not. Justification and ticket are those given with the code, else those of the grant or request behind it.")
}
