//! One session, from its login to its end.

use super::super::session;
use super::*;

#[test]
fn a_session_is_told_from_login_to_end_and_nothing_of_others() {
    let other = json!({ "actor": {
        "assurance": "software-key", "identity": id(ADMIN), "key": "SHA256:abc", "session": id(92),
    }});
    let ended = json!({ "detail": { "session": id(91), "cause": "ended by an admin" }, "actor": other["actor"] });
    let org = vec![
        record(
            0,
            0,
            "session.login",
            Some(JANA),
            json!({ "from": { "client": "strongroom/0.1.0", "uid": 1000 } }),
            &[],
        ),
        record(1, 5, "session.login", Some(ADMIN), other.clone(), &[]),
        record(2, 40, "session.end", Some(ADMIN), ended, &[]),
    ];
    let acme = vec![
        release(0, 1, M365, json!({ "detail": { "step": 7, "nonce": "00ff" } }), &[("ticket", "T-1")]),
        release(1, 2, M365, json!({}), &[]),
        record(2, 3, "code.withheld", None, json!({ "detail": { "release": 1 } }), &[]),
        release(3, 4, NAS, json!({ "outcome": "denied", "detail": { "kind": "frozen" } }), &[]),
        record(4, 6, "grant.give", Some(ADMIN), other, &[]),
    ];
    let evidence = evidence(vec![log(None, org), log(Some("acme"), acme)]);
    let sections = session::sections(&evidence, id(91).parse().unwrap());
    let events = ["session.login", "code.release", "code.release", "code.release", "session.end"];
    assert_eq!(column(&sections, "timeline", "event"), events);
    assert_eq!(column(&sections, "timeline", "code"), ["", "given", "withheld", "", ""]);
    assert_eq!(column(&sections, "timeline", "facts"), ["", "step=7", "", "kind=frozen", ""], "no nonces");
    let summary = rows(&sections, "session");
    assert_eq!(summary.len(), 1);
    assert_eq!(
        (summary[0][0].as_str(), summary[0][3].as_str(), summary[0][4].as_str()),
        ("jana", "strongroom/0.1.0", "1000")
    );
    assert_eq!(summary[0][8..], ["ended by an admin", "40", "5", "1", "1"]);

    let nobody = session::sections(&evidence, id(93).parse().unwrap());
    assert!(rows(&nobody, "session").is_empty() && rows(&nobody, "timeline").is_empty());
}
