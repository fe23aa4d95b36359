//! Every event of AUDIT-FORMAT.md's catalogue has the fields that its OCSF class requires. The lists are written down from files of
//! the schema's repository (ocsf-schema, `events/` and `objects/`): `requirement: required`, and `at_least_one`. Those files were
//! of several states up to the development of 1.9, not the tag of 1.8.0: where they differ, the stricter one stands here.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use strongroom_proto::audit::opening::Opening;

use super::super::message::tests::{RECORD, with_item};
use super::*;

/// Of every class, by `base_event.json`.
const BASE: [&str; 7] = ["activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid"];

/// Class, its required attributes, of which groups one each, and its activities.
type Class = (u64, &'static [&'static str], &'static [&'static [&'static str]], &'static [u64]);

const CLASSES: [Class; 8] = [
    (3001, &["user"], &[&["user.uid", "user.name"]], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 99]),
    (3002, &["user"], &[&["user.uid", "user.name"], &["service", "dst_endpoint"]], &[1, 2, 99]),
    (3004, &["entity"], &[&["entity.uid", "entity.name"]], &[1, 2, 3, 4, 99]),
    (3005, &["user", "privileges"], &[&["user.uid", "user.name"]], &[1, 2, 99]),
    (3006, &["group"], &[&["privileges", "user"], &["group.uid", "group.name"]], &[1, 2, 3, 4, 99]),
    (1008, &[], &[&["log_file", "log_name", "log_provider", "log_type", "log_type_id"]], &[1, 2, 3, 4, 5, 6, 7, 99]),
    (6002, &["app", "app.name"], &[], &[1, 2, 3, 4, 99]),
    (
        6003,
        &["actor", "api", "api.operation", "src_endpoint"],
        &[
            &["actor.process", "actor.user", "actor.session", "actor.app_name"],
            &["src_endpoint.ip", "src_endpoint.uid", "src_endpoint.name", "src_endpoint.svc_name"],
        ],
        &[1, 2, 3, 4, 99],
    ),
];

fn at<'a>(event: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(event, |value, name| value.get(name)).filter(|value| !value.is_null())
}

#[track_caller]
fn check(event: &Value, name: &str) -> u64 {
    let number = |path: &str| at(event, path).and_then(Value::as_u64).unwrap_or_else(|| panic!("{name}: {path}"));
    for required in BASE {
        assert!(at(event, required).is_some(), "{name}: {required}");
    }
    let (class, activity) = (number("class_uid"), number("activity_id"));
    let (_, required, groups, activities) = CLASSES.iter().find(|known| known.0 == class).unwrap();
    for path in *required {
        assert!(at(event, path).is_some(), "{name}: class {class} requires {path}: {event}");
    }
    for group in *groups {
        assert!(group.iter().any(|path| at(event, path).is_some()), "{name}: class {class} needs one of {group:?}");
    }
    assert!(activities.contains(&activity), "{name}: class {class} has no activity {activity}");
    assert_eq!(number("type_uid"), class * 100 + activity, "{name}");
    assert_eq!(number("category_uid"), class / 1000, "{name}");
    assert!((1..=6).contains(&number("severity_id")) && (1..=2).contains(&number("status_id")), "{name}");
    // `metadata.json` and `product.json`.
    assert_eq!(at(event, "metadata.version").unwrap(), "1.8.0", "{name}");
    assert!(at(event, "metadata.product.name").is_some(), "{name}");
    let keeps = |path: &str| at(event, path).is_some();
    assert!(["unmapped.origin", "unmapped.leaf", "unmapped.size", "unmapped.record"].into_iter().all(keeps), "{name}");
    class
}

/// A record of an event as the catalogue describes it: with the targets and details of its row.
fn record(event: &str, log: &str, targets: &str, details: &str, outcome: &str, acted: bool) -> String {
    let id = "00000000-0000-4000-8000-000000000004";
    let mut record: Value = serde_json::from_str(RECORD).unwrap();
    let words = |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let mut target = Map::new();
    for name in
        words(targets).iter().filter(|name| ["account", "grant", "identity", "key", "vault"].contains(&name.as_str()))
    {
        target.insert(name.clone(), id.into());
    }
    let is_name = |name: &&String| name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_');
    let detail: Map<String, Value> =
        words(details).iter().filter(is_name).map(|name| (name.clone(), "x".into())).collect();
    let map = record.as_object_mut().unwrap();
    map.insert("event".into(), event.into());
    map.insert("log".into(), log.into());
    map.insert("outcome".into(), outcome.into());
    map.insert("target".into(), Value::Object(target));
    map.insert("detail".into(), Value::Object(detail));
    if !acted {
        map.remove("actor");
        map.remove("from");
    }
    record.to_string()
}

fn ocsf(bytes: &str, openings: &[Opening]) -> Value {
    serde_json::from_str(&with_item(bytes, openings, false, message)).unwrap()
}

#[test]
fn every_event_of_the_catalogue_has_what_its_class_requires() {
    let document = include_str!("../../../proto/AUDIT-FORMAT.md");
    let catalogue = document.split_once("| event | log | target | detail | h | meaning |").unwrap().1;
    let (mut events, mut classes) = (0, BTreeSet::new());
    for line in catalogue.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.split(" | ").collect();
        for event in cells[0].split('`').skip(1).step_by(2) {
            for (outcome, acted) in [("ok", true), ("denied", true), ("failed", false), ("ok", false)] {
                let bytes = record(event, cells[1], cells[2], cells[3], outcome, acted);
                classes.insert(check(&ocsf(&bytes, &[]), event));
                // A refusal names less: neither target nor details.
                classes.insert(check(&ocsf(&record(event, "", "", "", outcome, acted), &[]), event));
            }
            events += 1;
        }
    }
    assert!(events >= 100, "the catalogue was read: {events}");
    assert_eq!(classes, CLASSES.iter().map(|class| class.0).collect(), "every class is in use");
}

#[test]
fn a_release_is_a_reading_of_a_seed() {
    let openings = [
        Opening::new("actor.name", [0; 16], "tech"),
        Opening::new("account.name", [0; 16], "m365-admin"),
        Opening::new("ticket", [0; 16], "INC-7"),
    ];
    let event = ocsf(RECORD, &openings);
    assert_eq!(check(&event, "code.release"), 3004);
    assert_eq!(at(&event, "type_uid").unwrap(), 300_402);
    assert_eq!(at(&event, "time").unwrap(), 1_795_287_600_100_u64);
    assert_eq!(
        at(&event, "entity").unwrap(),
        &json!({ "name": "m365-admin", "type": "mfa_seed", "uid": "00000000-0000-4000-8000-000000000004" })
    );
    assert_eq!(
        (at(&event, "comment").unwrap(), at(&event, "actor.user.name").unwrap()),
        (&json!("INC-7"), &json!("tech"))
    );
    assert_eq!(at(&event, "metadata.tenant_uid").unwrap(), "v");
    assert_eq!(
        (at(&event, "metadata.sequence").unwrap(), at(&event, "metadata.event_code").unwrap()),
        (&json!(41), &json!("code.release"))
    );
    let bare = ocsf(RECORD, &[]);
    assert!(at(&bare, "comment").is_none() && at(&bare, "entity.name").is_none(), "{bare}");
}

#[test]
fn the_records_bytes_survive_the_mapping() {
    let line = with_item(RECORD, &[], true, message);
    assert!(line.contains(RECORD), "9007199254740991 and all: {line}");
    assert!(line.contains("\"labels\":[\"resent\"]"), "{line}");
    // What is no record of a version that this agent knows is passed on all the same.
    let odd: Value = serde_json::from_str(&with_item("{\"v\":2}", &[], false, message)).unwrap();
    assert_eq!((at(&odd, "class_uid").unwrap(), at(&odd, "unmapped.record.v").unwrap()), (&json!(0), &json!(2)));
}

#[test]
fn logins_grants_and_groups_have_classes_of_their_own() {
    let of = |event: &str, targets: &str, details: &str| ocsf(&record(event, "", targets, details, "ok", true), &[]);
    let login = of("session.login", "", "");
    assert_eq!((check(&login, "login"), at(&login, "is_mfa").unwrap()), (3002, &json!(true)));
    assert_eq!(at(&login, "user.uid").unwrap(), "00000000-0000-4000-8000-000000000001");
    assert_eq!(at(&of("grant.give", "`identity`", "`role`"), "type_uid").unwrap(), 300_501);
    assert_eq!(at(&of("grant.end", "`grant`", "`role`, `group`"), "type_uid").unwrap(), 300_602);
    assert_eq!(at(&of("group.member_add", "`identity`", "`group`"), "type_uid").unwrap(), 300_603);
    assert_eq!(at(&of("identity.revoke", "`identity`", ""), "type_uid").unwrap(), 300_106);
    assert_eq!(at(&of("audit.export", "", ""), "type_uid").unwrap(), 100_803);
    assert_eq!(at(&of("agent.stop", "", ""), "type_uid").unwrap(), 600_204);
    assert_eq!(at(&of("policy.set", "", ""), "class_uid").unwrap(), 6003);
}
