//! Leavers, recertifications, and what operators owe.

use super::super::{offboarding, operations, recertification};
use super::*;

#[test]
fn a_revocation_is_measured_to_the_last_session_and_codes_after_it_are_counted() {
    let about = |number: u32| json!({ "target": { "identity": id(number) } });
    let mut ended = about(JANA);
    ended["ts"] = json!("2026-11-20T08:00:11.250000Z");
    let org = vec![
        record(0, 5, "session.end", Some(JANA), json!({}), &[]),
        record(
            1,
            10,
            "identity.revoke",
            Some(ADMIN),
            json!({ "target": { "identity": id(JANA) }, "detail": { "grants": 2, "vaults": 1 } }),
            &[("reason", "left"), ("target.name", "jana")],
        ),
        record(2, 11, "session.end", Some(ADMIN), ended, &[]),
    ];
    let ids = format!("{} {}", id(M365), id(NAS));
    let acme = vec![
        release(0, 9, M365, json!({}), &[]),
        record(
            1,
            10,
            "rotation.due",
            Some(ADMIN),
            json!({ "target": { "identity": id(JANA) }, "detail": { "accounts": ids, "cause": "imported" } }),
            &[],
        ),
        record(2, 20, "account.replace", Some(ADMIN), json!({ "target": { "account": id(M365) } }), &[]),
    ];
    let seen = evidence(vec![log(None, org), log(Some("acme"), acme)]);
    let sections = offboarding::sections(&seen, all());
    assert_eq!(rows(&sections, "revoked")[0][1..9], ["jana", "admin", "left", "1", "2", "1.250 s", "0", "0"]);
    assert_eq!(column(&sections, "rotation", "state"), ["replaced", "OPEN"]);

    let late = evidence(vec![
        log(None, vec![record(0, 1, "identity.revoke", Some(ADMIN), about(JANA), &[])]),
        log(Some("acme"), vec![release(0, 2, M365, json!({}), &[])]),
    ]);
    assert_eq!(column(&offboarding::sections(&late, all()), "revoked", "codes_after"), ["1"], "a broken promise shows");
}

#[test]
fn a_recertification_is_told_from_both_logs() {
    let campaign = |more: Value| {
        let mut detail = json!({ "campaign": id(40) });
        detail.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "detail": detail, "target": { "grant": id(GRANT), "identity": id(JANA) } })
    };
    let counts = json!({ "kept": 1, "ended": 0, "unconfirmed": 1 });
    let org = vec![
        record(
            0,
            0,
            "review.start",
            Some(ADMIN),
            campaign(json!({ "grants": 2, "due_at": "2026-12-01T00:00:00Z" })),
            &[("title", "Autumn")],
        ),
        record(1, 9, "review.result", None, campaign(counts.clone()), &[]),
    ];
    let acme = vec![
        record(0, 1, "review.keep", Some(ADMIN), campaign(json!({ "role": "viewer" })), &[("reason", "needed")]),
        record(1, 8, "grant.end", None, campaign(json!({ "role": "viewer", "cause": "review.result" })), &[]),
        record(2, 8, "review.result", None, campaign(counts), &[]),
    ];
    let sections = recertification::sections(&evidence(vec![log(None, org), log(Some("acme"), acme)]), all());
    assert_eq!(rows(&sections, "campaigns")[0][5..10], ["over", "2", "1", "0", "1"]);
    assert_eq!(column(&sections, "vaults", "unconfirmed"), ["1"]);
    assert_eq!(column(&sections, "decisions", "decision"), ["kept", "ended, nobody confirmed it"]);
}

#[test]
fn backups_and_clock_are_counted() {
    let org = vec![
        record(0, 0, "backup.made", None, json!({ "detail": { "size": 9, "sha256": "ab" } }), &[]),
        record(1, 3600 * 5, "backup.failed", None, json!({ "outcome": "failed" }), &[("reason", "disk full")]),
        record(2, 3600 * 30, "backup.made", None, json!({}), &[]),
        record(3, 3600 * 31, "drill.passed", None, json!({ "detail": { "compared": 12 } }), &[]),
    ];
    let behind = json!({ "detail": { "clock_behind_s": 75 } });
    let acme = vec![release(0, 1, M365, behind, &[]), release(1, 2, M365, json!({}), &[])];
    let evidence = evidence(vec![log(None, org), log(Some("acme"), acme)]);
    let sections = operations::backups(&evidence, all());
    let values = column(&sections, "summary", "value");
    assert_eq!(values, ["2", "1", "2026-11-21 14:00:00Z", "30 h", "1", "0", "2026-11-21 15:00:00Z"]);
    assert_eq!(rows(&sections, "backups")[1][4], "disk full");
    let sections = operations::clock(&evidence, all());
    assert_eq!(column(&sections, "summary", "value"), ["2", "1", "75"]);
}
