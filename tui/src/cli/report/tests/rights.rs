//! Rights, accounts and what is wrong with either.

use super::super::{access, hygiene, unused};
use super::*;

#[test]
fn changes_of_rights_say_who_and_why() {
    let end =
        json!({ "target": { "grant": id(GRANT), "identity": id(JANA) }, "detail": { "cause": "identity.revoke" } });
    let acme = vec![
        given(0, json!({ "in_force": 0, "pending": id(50) }), &[("reason", "on call"), ("ticket", "T-2")]),
        record(
            1,
            1,
            "pending.confirm",
            Some(ADMIN),
            json!({ "target": { "grant": id(GRANT), "identity": id(JANA) } }),
            &[],
        ),
        record(2, 2, "grant.end", Some(ADMIN), end, &[]),
        record(3, 3, "grant.give", Some(JANA), json!({ "outcome": "denied" }), &[]),
    ];
    let sections = access::changes(&evidence(vec![log(Some("acme"), acme)]), all());
    assert_eq!(column(&sections, "changes", "change"), ["given, waits", "confirmed", "ended"]);
    assert_eq!(column(&sections, "changes", "role"), ["viewer"; 3]);
    assert_eq!(column(&sections, "changes", "why"), ["on call", "", "identity.revoke"]);
}

/// The lists of an organisation: jana's grant by herself, one of a group, two accounts.
fn lists() -> Lists {
    let at = "2026-01-01T00:00:00Z";
    let grant = |more: Value| {
        let mut value = json!({
            "grant": id(GRANT), "vault": "acme", "role": "viewer", "from": at, "given_by": "admin", "exclusive": false, "pending": false,
        });
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(value).unwrap()
    };
    let account = |number: u32, name: &str, more: Value| {
        let mut value = json!({
            "account": format!("acme/{name}"), "id": id(number), "issuer": "", "label": "", "kind": "totp", "algorithm": "SHA1",
            "digits": 6, "period_s": 30, "access": "open",
        });
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(value).unwrap()
    };
    let member = |who: &str, pending: bool| json!({ "identity": who, "since": at, "pending": pending });
    let group = json!({
        "group": "first-line", "id": id(70), "name": "First line", "members": [member("jack", false), member("june", true)], "grants": 1,
    });
    let vault = json!({
        "vault": "acme", "id": id(80), "name": "Acme", "roles": [], "accounts": 2, "frozen": false, "min_assurance": "software-key",
        "signed_release": false, "scheme": "derived", "log": "strongroom/o/v",
    });
    let rotation =
        json!({ "account": "acme/nas", "account_id": id(NAS), "identity": "mara", "cause": "imported", "since": at });
    Lists {
        vaults: vec![serde_json::from_value(vault).unwrap()],
        accounts: vec![account(M365, "m365", json!({})), account(NAS, "nas", json!({ "period_s": 300 }))],
        grants: vec![
            grant(json!({ "identity": "jana" })),
            grant(
                json!({ "grant": id(21), "group": "first-line", "role": "manager", "until": "2027-01-01T00:00:00Z" }),
            ),
        ],
        groups: vec![serde_json::from_value(group).unwrap()],
        rotations: vec![serde_json::from_value(rotation).unwrap()],
        ..Lists::default()
    }
}

#[test]
fn the_matrix_has_everybody_also_those_behind_a_group() {
    let acme = vec![given(0, json!({}), &[("reason", "on call")])];
    let evidence = Evidence::new("2026-12-01T00:00Z".parse().unwrap(), vec![log(Some("acme"), acme)], lists());
    let sections = access::now(&evidence);
    assert_eq!(
        rows(&sections, "matrix"),
        [["jack", "manager via first-line until 2027-01-01 00:00:00Z"], ["jana", "viewer"],]
    );
    assert_eq!(column(&sections, "grants", "reason"), ["on call", ""]);
    assert_eq!(column(&sections, "grants", "group"), ["", "first-line"]);
}

#[test]
fn a_standing_grant_is_unused_until_it_gives_a_code() {
    let now: Timestamp = "2026-12-01T00:00Z".parse().unwrap();
    let of = |entries| unused::sections(&Evidence::new(now, vec![log(Some("acme"), entries)], lists()), 90);
    let refused = release(0, 1, M365, json!({ "outcome": "denied" }), &[]);
    assert_eq!(column(&of(vec![refused]), "unused", "who"), ["jana"], "the other one has an end");
    assert!(rows(&of(vec![release(0, 1, M365, json!({}), &[])]), "unused").is_empty());
    let before = json!({ "ts": "2026-08-01T00:00:00Z" });
    assert_eq!(column(&of(vec![release(0, 1, M365, before, &[])]), "unused", "last_used"), ["2026-08-01 00:00:00Z"]);
}

#[test]
fn what_is_wrong_with_a_seed_stands_beside_it() {
    let created = |seq: u64, account: u32, at: &str| {
        let about = json!({ "target": { "account": id(account) }, "detail": { "recovery_recipients": 1 }, "ts": at });
        record(seq, 0, "account.create", Some(ADMIN), about, &[])
    };
    let acme = vec![
        created(0, NAS, "2024-01-01T00:00:00Z"),
        created(1, M365, "2026-11-01T00:00:00Z"),
        release(2, 1, M365, json!({}), &[]),
    ];
    let evidence = Evidence::new("2026-12-01T00:00Z".parse().unwrap(), vec![log(Some("acme"), acme)], lists());
    let sections = hygiene::sections(&evidence, 365);
    let flags = column(&sections, "accounts", "flags");
    assert_eq!(flags, ["", "a window of more than 120 s; an old seed; never released; known to mara"]);
    assert_eq!(column(&sections, "accounts", "seed_days"), ["30", "1065"]);
    assert_eq!(column(&sections, "flags", "accounts"), ["1"; 4]);
}
