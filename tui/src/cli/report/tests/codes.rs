//! Codes that were taken, and what went past the rule.

use super::super::{exceptions, releases};
use super::*;

#[test]
fn releases_are_counted_by_outcome_and_within_the_period() {
    let entries = vec![
        release(0, 1, M365, json!({}), &[("reason", "locked out"), ("ticket", "T-1")]),
        release(1, 2, M365, json!({}), &[]),
        release(2, 3, NAS, json!({ "outcome": "denied", "detail": { "kind": "frozen" } }), &[]),
        release(3, 4, NAS, json!({ "outcome": "failed" }), &[]),
        record(4, 5, "code.withheld", Some(JANA), json!({ "detail": { "release": 1, "kind": "late" } }), &[]),
        release(5, 60 * 60 * 24 * 30, M365, json!({}), &[]),
    ];
    let org = vec![record(0, 9, "code.release", Some(JANA), json!({ "outcome": "denied" }), &[("asked", "other/x")])];
    let sections = releases::sections(&evidence(vec![log(None, org), log(Some("acme"), entries)]), all());
    let last = "2026-11-20 08:00:02Z".to_owned();
    let counts = |counts: [&str; 6], last: &str| [&counts.map(str::to_owned)[..], &[last.to_owned()]].concat();
    let jana = counts(["2", "1", "1", "1", "1", "1"], &last);
    assert_eq!(rows(&sections, "clients"), [[vec!["acme".to_owned()], jana.clone()].concat()]);
    assert_eq!(rows(&sections, "people"), [[vec!["jana".to_owned()], jana].concat()]);
    assert_eq!(column(&sections, "accounts", "account"), ["acme/m365", "acme/nas"]);
    assert_eq!(column(&sections, "releases", "released"), ["2", "0"]);
    assert_eq!(rows(&sections, "unknown")[0][1..3], ["jana", "other/x"]);
}

#[test]
fn a_value_that_does_not_fit_its_commitment_is_nobodys_word() {
    let good = release(0, 1, M365, json!({}), &[("reason", "locked out")]);
    let item = Item {
        seq: 0,
        record: serde_json::to_string(&good.record).unwrap(),
        openings: vec![Opening::new("reason", [7; 16], "something else"), Opening::new("ticket", [7; 16], "T-1")],
    };
    let entry = Entry::read(&item).unwrap();
    assert_eq!((entry.text("reason"), entry.text("ticket")), (None, None));
    assert_eq!(good.text("reason"), Some("locked out"));
}

#[test]
fn each_use_of_a_shared_login_names_its_justification_and_approver() {
    let plain = vec![
        given(0, json!({ "pending": id(50) }), &[("reason", "on call")]),
        record(1, 1, "pending.confirm", Some(ADMIN), json!({ "detail": { "pending": id(50) } }), &[]),
        release(2, 2, M365, json!({}), &[]),
        release(3, 3, M365, json!({}), &[("reason", "locked out"), ("ticket", "T-9")]),
        record(4, 4, "code.withheld", Some(JANA), json!({ "detail": { "release": 3 } }), &[]),
    ];
    let sections = exceptions::sections(&evidence(vec![log(Some("acme"), plain)]), all());
    assert_eq!(column(&sections, "shared_use", "justification"), ["on call", "locked out"]);
    assert_eq!(column(&sections, "shared_use", "approved_by"), ["admin, admin", "admin, admin"]);
    assert_eq!(column(&sections, "shared_use", "code"), ["given", "withheld"]);

    let request = |more: &Value| {
        let mut detail = json!({ "request": id(60) });
        detail.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "detail": detail })
    };
    let glass = vec![
        given(0, json!({ "request": id(60), "request_kind": "break-glass" }), &[]),
        record(1, 1, "request.break_glass", Some(JANA), request(&json!({ "duration_s": 600 })), &[("reason", "fire")]),
        release(2, 2, M365, json!({}), &[]),
    ];
    let open = exceptions::sections(&evidence(vec![log(Some("acme"), glass)]), all());
    assert_eq!(rows(&open, "shared_use")[0][5..9], ["fire", "", "break-glass", ""]);
    assert_eq!(column(&open, "break_glass", "review"), ["NOT REVIEWED"]);
    let reviewed = vec![
        record(0, 1, "request.break_glass", Some(JANA), request(&json!({ "accounts": id(M365) })), &[]),
        record(1, 2, "request.review", Some(ADMIN), request(&json!({ "justified": 0 })), &[("note", "no fire")]),
    ];
    let reviewed = exceptions::sections(&evidence(vec![log(Some("acme"), reviewed)]), all());
    assert_eq!(rows(&reviewed, "break_glass")[0][7..11], ["not justified", "admin", "2026-11-20 08:00:02Z", "no fire"]);
}

#[test]
fn exceptions_are_found_wherever_they_stand() {
    let org = vec![
        record(0, 0, "identity.enrol", Some(ADMIN), json!({ "detail": { "sole_admin": 1 } }), &[]),
        record(
            1,
            1,
            "identity.hold",
            Some(JANA),
            json!({ "target": { "identity": id(JANA) }, "detail": { "cause": "canary" } }),
            &[],
        ),
        record(
            2,
            2,
            "identity.resume",
            Some(ADMIN),
            json!({ "target": { "identity": id(JANA) } }),
            &[("reason", "asked")],
        ),
        record(
            3,
            3,
            "session.throttled",
            None,
            json!({ "outcome": "denied", "target": { "key": "SHA256:x" }, "detail": { "attempts": 12 } }),
            &[],
        ),
        record(
            4,
            4,
            "policy.set",
            Some(ADMIN),
            json!({ "detail": { "weaker": "harvest", "pending": id(51), "in_force": 0 } }),
            &[],
        ),
        record(5, 5, "policy.set", Some(ADMIN), json!({ "detail": { "weaker": "" } }), &[]),
    ];
    let sections = exceptions::sections(&evidence(vec![log(None, org)]), all());
    assert_eq!(column(&sections, "alone", "event"), ["identity.enrol"]);
    assert_eq!(
        rows(&sections, "holds")[0][1..8],
        ["jana", "canary", "(agent)", "", "2026-11-20 08:00:02Z", "admin", "asked"]
    );
    assert_eq!(rows(&sections, "throttled")[0][1..3], ["SHA256:x", "12"]);
    assert_eq!(column(&sections, "weaker", "state"), ["waits, or never confirmed"]);
}
