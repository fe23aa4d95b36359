//! Reports over small logs that are written by hand: records in, rows out.

use jiff::Timestamp;
use serde_json::{Value, json};
use strongroom_proto::audit::opening::Opening;
use strongroom_proto::audit::record::Record;
use strongroom_proto::ids::Slug;
use strongroom_proto::method::audit::Item;

use super::document::{Cell, Section};
use super::evidence::{Entry, Evidence, Lists, Log, Period};
use super::{access, exceptions, hygiene, offboarding, operations, recertification, releases, unused};

/// The id of person, account, grant or vault number so-and-so.
fn id(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

const ADMIN: u32 = 1;
const JANA: u32 = 2;
const M365: u32 = 10;
const NAS: u32 = 11;
const GRANT: u32 = 20;

/// A record: its second on a day, event, outcome, actor, and whatever else it has. `texts` become commitments.
fn record(seq: u64, second: u64, event: &str, actor: Option<u32>, more: Value, texts: &[(&str, &str)]) -> Entry {
    let names = [(ADMIN, "admin"), (JANA, "jana")];
    let mut texts = texts.to_vec();
    if let Some((_, name)) = names.iter().find(|(number, _)| Some(*number) == actor) {
        texts.push(("actor.name", name));
    }
    let openings: Vec<Opening> = texts.iter().map(|(field, value)| Opening::new(field, [7; 16], value)).collect();
    let h: serde_json::Map<String, Value> =
        openings.iter().map(|opening| (opening.field.clone(), json!(opening.commitment().unwrap()))).collect();
    let at: Timestamp = "2026-11-20T08:00:00Z".parse().unwrap();
    let mut value = json!({
        "agent": id(90), "event": event, "log": "strongroom/o/v", "outcome": "ok", "seq": seq, "h": h, "v": 1,
        "ts": (at + jiff::SignedDuration::from_secs(i64::try_from(second).unwrap())).to_string(),
    });
    if let Some(actor) = actor {
        value["actor"] = json!({
            "assurance": "software-key", "identity": id(actor), "key": "SHA256:abc", "session": id(91),
        });
    }
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let record: Record = serde_json::from_value(value).unwrap();
    Entry::read(&Item { seq, record: serde_json::to_string(&record).unwrap(), openings }).unwrap()
}

fn log(vault: Option<&str>, entries: Vec<Entry>) -> Log {
    let vault = vault.map(|vault| Slug::new(vault).unwrap());
    let size = entries.len() as u64;
    Log { vault, origin: "strongroom/o/v".to_owned(), size, root: "00".repeat(32), complete: true, entries }
}

fn evidence(logs: Vec<Log>) -> Evidence {
    Evidence::new("2026-12-01T00:00Z".parse().unwrap(), logs, Lists::default())
}

fn all() -> Period {
    Period { from: "2026-11-01T00:00Z".parse().unwrap(), to: "2026-12-01T00:00Z".parse().unwrap() }
}

fn rows(sections: &[Section], key: &str) -> Vec<Vec<String>> {
    let section = sections.iter().find(|section| section.key == key).unwrap();
    section.rows.iter().map(|row| row.iter().map(Cell::text).collect()).collect()
}

/// One column of a section.
fn column(sections: &[Section], key: &str, name: &str) -> Vec<String> {
    let section = sections.iter().find(|section| section.key == key).unwrap();
    let place = section.columns.iter().position(|column| column.key == name).unwrap();
    rows(sections, key).into_iter().map(|row| row[place].clone()).collect()
}

fn release(seq: u64, second: u64, account: u32, more: Value, texts: &[(&str, &str)]) -> Entry {
    let mut all = json!({ "target": { "account": id(account) }, "grant": { "id": id(GRANT), "version": 1 } });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let name = if account == M365 { "m365" } else { "nas" };
    record(seq, second, "code.release", Some(JANA), all, &[texts, &[("account.name", name)]].concat())
}

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

fn given(seq: u64, more: Value, texts: &[(&str, &str)]) -> Entry {
    let mut detail = json!({ "role": "viewer" });
    detail.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let about = json!({ "target": { "grant": id(GRANT), "identity": id(JANA) }, "detail": detail });
    record(seq, seq, "grant.give", Some(ADMIN), about, &[texts, &[("target.name", "jana")]].concat())
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
