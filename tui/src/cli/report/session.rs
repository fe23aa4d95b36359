//! `strongroom report session`: everything that one session did, from its login to its end, in every log that the reader may read.

use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::ids::SessionId;

use super::document::{Control, Section, row};
use super::evidence::{Entry, Evidence, Log};
use super::releases::withheld;

pub(super) const CONTROLS: &[Control] = &[
    Control { standard: "SOC 2", ids: "CC6.1, CC7.2", about: "what somebody did with their access can be followed" },
    Control { standard: "ISO/IEC 27001:2022", ids: "A.8.2, A.8.15", about: "use of privileged access is logged" },
    Control { standard: "CIS Controls v8.1", ids: "8.5, 8.11", about: "detailed logs that are looked at" },
    Control { standard: "PCI DSS 4.0.1", ids: "10.2.1", about: "all actions of an individual can be reconstructed" },
];

/// Facts that bind a record and say nothing to a reader of the timeline.
const BINDING: [&str; 5] = ["nonce", "params_sha256", "signature", "session", "cause"];

/// The records of a session in the order of time: what it did, and its end by somebody else's hand.
fn records(evidence: &Evidence, session: SessionId) -> Vec<(&Log, &Entry)> {
    let ended = session.to_string();
    let mut found: Vec<(&Log, &Entry)> = evidence
        .all()
        .filter(|(_, entry)| {
            entry.record.actor.as_ref().is_some_and(|actor| actor.session == session)
                || (entry.record.event == "session.end" && entry.fact("session").as_ref() == Some(&ended))
        })
        .collect();
    // Stable: within a log, records of one moment stay in their order.
    found.sort_by_key(|(_, entry)| entry.at());
    found
}

/// The session from login to end, and each thing that it did.
pub(super) fn sections(evidence: &Evidence, session: SessionId) -> Vec<Section> {
    let found = records(evidence, session);
    vec![summary(evidence, session, &found), timeline(evidence, &found)]
}

fn summary(evidence: &Evidence, session: SessionId, found: &[(&Log, &Entry)]) -> Section {
    let columns = [
        "who",
        "key",
        "assurance",
        "program",
        "user",
        "process",
        "from",
        "until",
        "ended",
        "lasted_s",
        "records",
        "codes",
        "refused",
    ];
    let own = found.iter().find_map(|(_, entry)| {
        let actor = entry.record.actor.as_ref().filter(|actor| actor.session == session)?;
        Some((entry, actor))
    });
    let rows = own.map(|(first, actor)| {
        let login = found.iter().find(|(_, entry)| entry.happened("session.login")).map(|(_, entry)| entry.at());
        let end = found
            .iter()
            .find(|(_, entry)| entry.record.event == "session.end" && entry.record.outcome == RecordOutcome::Ok);
        let lasted =
            login.zip(end).and_then(|(from, (_, end))| u64::try_from(end.at().duration_since(from).as_secs()).ok());
        let origin = first.record.from.as_ref();
        let codes = found.iter().filter(|(log, entry)| left(log, entry)).count();
        let refused = found.iter().filter(|(_, entry)| entry.record.outcome == RecordOutcome::Denied).count();
        row![
            evidence.person(actor.identity),
            actor.key.clone(),
            actor.assurance.to_string(),
            origin.map(|origin| origin.client.clone()),
            origin.and_then(|origin| origin.uid).map(u64::from),
            origin.and_then(|origin| origin.pid).map(u64::from),
            login,
            end.map(|(_, entry)| entry.at()),
            end.and_then(|(_, entry)| entry.fact("cause")),
            lasted,
            found.len(),
            codes,
            refused,
        ]
    });
    Section::new("session", "The session", &columns, rows.into_iter().collect()).note(
        "Without a login or an end here, the session is still open, or the organisation's log could not be read. \
            Program, user and process are what the connection said of itself.",
    )
}

/// True if a record is of a code that left the agent.
fn left(log: &Log, entry: &Entry) -> bool {
    entry.happened("code.release") && !withheld(&log.entries).contains(&entry.record.seq)
}

fn timeline(evidence: &Evidence, found: &[(&Log, &Entry)]) -> Section {
    let rows = found.iter().map(|(log, entry)| {
        let outcome = match entry.record.outcome {
            RecordOutcome::Ok => "ok",
            RecordOutcome::Denied => "denied",
            RecordOutcome::Failed => "failed",
        };
        let account = entry.record.target.account.map(|id| evidence.account(id));
        let about = account.or_else(|| evidence.target(entry)).or_else(|| entry.text("asked").map(str::to_owned));
        let code = (entry.record.event == "code.release" && entry.record.outcome == RecordOutcome::Ok)
            .then(|| if left(log, entry) { "given" } else { "withheld" });
        let facts = entry.record.detail.keys().filter(|name| !BINDING.contains(&name.as_str()));
        let facts: Vec<String> =
            facts.filter_map(|name| entry.fact(name).map(|value| format!("{name}={value}"))).collect();
        row![
            entry.at(),
            log.name(),
            entry.record.event.clone(),
            outcome,
            about,
            code,
            entry.text("reason"),
            entry.text("ticket"),
            entry.fact("cause"),
            facts.join(" "),
            entry.record.seq,
        ]
    });
    let columns = ["at", "log", "event", "outcome", "about", "code", "reason", "ticket", "cause", "facts", "record"];
    Section::new("timeline", "What it did", &columns, rows.collect())
}
