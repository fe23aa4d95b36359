//! `strongroom report offboarding`: who left, how fast everything of theirs ended, and which seeds they knew.

use std::collections::BTreeSet;

use jiff::Timestamp;
use strongroom_proto::ids::{AccountId, IdentityId};

use super::document::{Control, Section, row};
use super::evidence::{Entry, Evidence, Log, Period};
use super::releases::withheld;

pub(super) const CONTROLS: &[Control] = &[
    Control { standard: "SOC 2", ids: "CC6.2, CC6.3", about: "access ends when somebody leaves" },
    Control { standard: "ISO/IEC 27001:2022", ids: "A.5.11, A.5.18", about: "return of assets and removal of rights" },
    Control { standard: "CIS Controls v8.1", ids: "6.2", about: "rights are revoked at once, and the trail is kept" },
    Control { standard: "PCI DSS 4.0.1", ids: "8.2.5", about: "access of terminated users is revoked immediately" },
];

/// The ends of somebody's sessions: theirs by themselves, or ended by somebody.
fn session_ends(evidence: &Evidence, who: IdentityId) -> impl Iterator<Item = &Entry> {
    evidence.happened("session.end").map(|(_, entry)| entry).filter(move |entry| {
        let whose = entry.record.target.identity.or_else(|| entry.actor());
        whose == Some(who)
    })
}

/// What somebody still did after a moment: codes that left, and logins.
fn after(evidence: &Evidence, who: IdentityId, at: Timestamp) -> (u64, u64) {
    let (mut codes, mut logins) = (0, 0);
    for log in &evidence.logs {
        let gone = withheld(&log.entries);
        for entry in log.entries.iter().filter(|entry| entry.at() > at && entry.actor() == Some(who)) {
            codes += u64::from(entry.happened("code.release") && !gone.contains(&entry.record.seq));
            logins += u64::from(entry.happened("session.login"));
        }
    }
    (codes, logins)
}

/// Everybody who was revoked in the period.
pub(super) fn sections(evidence: &Evidence, period: Period) -> Vec<Section> {
    let revoked: Vec<(IdentityId, &Entry)> = evidence
        .happened("identity.revoke")
        .filter(|(_, entry)| period.has(entry.at()))
        .filter_map(|(_, entry)| Some((entry.record.target.identity?, entry)))
        .collect();
    let rows = revoked.iter().map(|(who, entry)| {
        // The revocation ends sessions in its own commit; one that had ended before has nothing to do with it.
        let last = session_ends(evidence, *who).map(Entry::at).filter(|at| *at >= entry.at()).max();
        let took = last.map(|last| format!("{:.3} s", last.duration_since(entry.at()).as_secs_f64()));
        let (codes, logins) = after(evidence, *who, entry.at());
        row![
            entry.at(),
            evidence.person(*who),
            evidence.actor(entry),
            entry.text("reason"),
            entry.number("vaults"),
            entry.number("grants"),
            took.unwrap_or_else(|| "no session was open".to_owned()),
            codes,
            logins,
            entry.record.seq,
        ]
    });
    let columns = [
        "at",
        "who",
        "by",
        "reason",
        "vaults",
        "grants_ended",
        "to_last_session_end",
        "codes_after",
        "logins_after",
        "record",
    ];
    let people = Section::new("revoked", "Identities revoked", &columns, rows.collect())
        .note("Measured between the records: from the revocation to the end of the last session. Codes and logins afterwards must be 0.");
    vec![people, rotation(evidence, &revoked)]
}

/// The seeds that leavers knew, and what became of each.
fn rotation(evidence: &Evidence, revoked: &[(IdentityId, &Entry)]) -> Section {
    let leavers: BTreeSet<IdentityId> = revoked.iter().map(|(who, _)| *who).collect();
    let mut rows = Vec::new();
    for log in evidence.vault_logs() {
        for due in log.entries.iter().filter(|entry| entry.happened("rotation.due")) {
            let Some(who) = due.record.target.identity.filter(|who| leavers.contains(who)) else { continue };
            let accounts = due.fact("accounts").unwrap_or_default();
            for id in accounts.split(' ').filter_map(|id| id.parse::<AccountId>().ok()) {
                let closed = closed(log, due, id);
                let state = match closed.map(|entry| entry.record.event.as_str()) {
                    Some("account.replace") => "replaced",
                    Some("account.remove") => "removed",
                    Some(_) => "kept, somebody answers for it",
                    None => "OPEN",
                };
                rows.push(row![
                    log.name(),
                    evidence.account(id),
                    evidence.person(who),
                    due.fact("cause"),
                    due.at(),
                    state,
                    closed.map(Entry::at),
                    closed.map(|entry| evidence.actor(entry)),
                    closed.and_then(|entry| entry.text("reason")),
                ]);
            }
        }
    }
    let columns = ["vault", "account", "leaver", "cause", "since", "state", "closed_at", "closed_by", "reason"];
    Section::new("rotation", "Seeds that they knew", &columns, rows)
}

/// What took an account off the rotation list.
fn closed<'a>(log: &'a Log, due: &Entry, account: AccountId) -> Option<&'a Entry> {
    let closing = ["account.replace", "account.remove", "rotation.dismiss"];
    log.entries.iter().find(|entry| {
        entry.record.seq > due.record.seq
            && entry.record.target.account == Some(account)
            && closing.iter().any(|event| entry.happened(event))
    })
}
