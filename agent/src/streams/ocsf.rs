//! Records as events of the Open Cybersecurity Schema Framework, version 1.8 (<https://schema.ocsf.io/1.8.0>). What has no place
//! there, the record's own bytes first of all, stands under `unmapped`.

use serde_json::{Map, Value, json};
use strongroom_proto::audit::record::{Record, RecordOutcome};
use strongroom_proto::words::Assurance;

use super::message::{Item, alarms, quoted};

/// The version of the schema.
const VERSION: &str = "1.8.0";
/// `activity_id` of what none of a class's activities fits.
const OTHER: u64 = 99;
const PRODUCT: &str = "Strongroom";

/// Classes by number; the thousands are the category.
const ACCOUNT_CHANGE: u64 = 3001;
const AUTHENTICATION: u64 = 3002;
const ENTITY_MANAGEMENT: u64 = 3004;
const USER_ACCESS: u64 = 3005;
const GROUP_MANAGEMENT: u64 = 3006;
const EVENT_LOG_ACTIVITY: u64 = 1008;
const APPLICATION_LIFECYCLE: u64 = 6002;
const API_ACTIVITY: u64 = 6003;

/// One event, on one line.
pub(super) fn message(item: &Item<'_>) -> String {
    let mut event = item.record.map_or_else(unread, |record| event(item, record));
    let metadata = json!({
        "version": VERSION,
        "product": { "name": PRODUCT, "vendor_name": PRODUCT, "version": env!("CARGO_PKG_VERSION") },
        "uid": item.leaf,
        "sequence": item.seq,
        "log_name": item.log,
        "event_code": item.record.map(|record| record.event.as_str()),
        "tenant_uid": item.record.and_then(|record| tenant(item, record)),
        "original_time": item.record.map(|record| format!("{:.6}", record.ts)),
        "labels": item.resent.then_some(["resent"]),
    });
    event.insert("metadata".to_owned(), without_nulls(metadata));
    // A map of plain values: it ends with a brace, before which the record is put in as it is.
    let mut text = quoted(&event);
    text.pop();
    text.push_str(",\"unmapped\":{\"origin\":");
    text.push_str(&quoted(item.log));
    text.push_str(&format!(",\"leaf\":{},\"size\":{}", quoted(item.leaf), item.size));
    if !item.openings.is_empty() {
        text.push_str(",\"openings\":");
        text.push_str(&quoted(item.openings));
    }
    text.push_str(",\"record\":");
    text.push_str(item.bytes);
    text.push_str("}}");
    text
}

/// What this agent cannot read is passed on as an event of which only the place is known.
fn unread() -> Map<String, Value> {
    let event = json!({
        "class_uid": 0, "category_uid": 0, "activity_id": 0, "type_uid": 0, "severity_id": 0, "status_id": 0, "time": 0,
    });
    as_map(event)
}

fn event(item: &Item<'_>, record: &Record) -> Map<String, Value> {
    let (class, activity, own) = classify(item, record);
    let (severity, status) = match record.outcome {
        _ if alarms(record) => (5, status(record.outcome)),
        RecordOutcome::Ok => (1, 1),
        RecordOutcome::Denied => (3, 2),
        RecordOutcome::Failed => (4, 2),
    };
    let reason = ["alert", "kind", "reason", "cause"].iter().find_map(|name| record.detail.get(*name)?.as_str());
    let common = json!({
        "class_uid": class,
        "category_uid": class / 1000,
        "activity_id": activity,
        "activity_name": record.event,
        "type_uid": class * 100 + activity,
        "severity_id": severity,
        "status_id": status,
        "status": if status == 1 { "Success" } else { "Failure" },
        "status_detail": reason,
        "time": record.ts.as_millisecond(),
        "message": record.event,
        "actor": actor(item, record),
    });
    let mut event = as_map(without_nulls(common));
    event.extend(as_map(without_nulls(own)));
    event
}

const fn status(outcome: RecordOutcome) -> u64 {
    if matches!(outcome, RecordOutcome::Ok) { 1 } else { 2 }
}

/// Class, activity and what the class asks for beside the rest.
fn classify(item: &Item<'_>, record: &Record) -> (u64, u64, Value) {
    let (family, verb) = record.event.split_once('.').unwrap_or((&record.event, ""));
    let target = &record.target;
    match (family, verb) {
        ("code", "release") => {
            let comment = opened(item, "ticket").or_else(|| opened(item, "reason"));
            (ENTITY_MANAGEMENT, 2, json!({ "entity": account(item, record), "comment": comment }))
        }
        ("session", "login" | "throttled") => (AUTHENTICATION, 1, authentication(item, record)),
        ("session", "end") => (AUTHENTICATION, 2, authentication(item, record)),
        ("grant", "give" | "end") => access(item, record, if verb == "give" { 1 } else { 2 }),
        ("group", "member_add" | "member_remove") => {
            let activity = if verb == "member_add" { 3 } else { 4 };
            (GROUP_MANAGEMENT, activity, json!({ "group": group(item, record), "user": user_or_unknown(item, record) }))
        }
        // The class of groups knows members and privileges only.
        ("group", _) => {
            let group =
                json!({ "uid": record.detail.get("group"), "name": opened(item, "group.name"), "type": "group" });
            (ENTITY_MANAGEMENT, crud(verb), json!({ "entity": named(without_nulls(group)) }))
        }
        ("identity" | "emergency", _) if target.identity.is_some() => {
            let activity = match verb {
                "enrol" | "admin" => 1,
                "resume" => 2,
                "suspend" => 5,
                "revoke" => 6,
                "roles" => 7,
                "hold" => 9,
                "key_add" => 10,
                "key_remove" => 11,
                _ => OTHER,
            };
            (ACCOUNT_CHANGE, activity, json!({ "user": user(item, record) }))
        }
        ("account", _) => {
            let activity = match verb {
                "create" | "import" => 1,
                "show" | "export" => 2,
                "remove" => 4,
                _ => 3,
            };
            (ENTITY_MANAGEMENT, activity, json!({ "entity": account(item, record) }))
        }
        ("audit", "export") | ("log", _) | ("audit", _) => {
            let activity = match (family, verb) {
                ("audit", "export") => 3,
                ("log", "open") => 6,
                ("log", "prune") => 2,
                _ => OTHER,
            };
            (EVENT_LOG_ACTIVITY, activity, json!({ "log_name": item.log, "log_provider": PRODUCT }))
        }
        ("agent", "start" | "stop") => {
            let app = json!({
                "name": "strongroom-agent", "vendor_name": PRODUCT, "uid": record.agent,
                "version": record.detail.get("version"),
            });
            (APPLICATION_LIFECYCLE, if verb == "start" { 3 } else { 4 }, json!({ "app": without_nulls(app) }))
        }
        _ => (API_ACTIVITY, crud(verb), api(item, record)),
    }
}

/// What a verb does, in the four activities of calls in general.
fn crud(verb: &str) -> u64 {
    match verb {
        "create" | "make" | "propose" | "start" | "set" | "made" | "key_made" | "key_create" | "second_key" => 1,
        "show" | "show_org" | "list" | "report" => 2,
        "remove" | "end" | "destroy" | "cancel" | "clear" | "dismiss" => 4,
        "rename" | "update" | "freeze" | "thaw" | "rotate_key" | "reseal" | "confirm" | "reject" | "approve"
        | "deny" => 3,
        _ => OTHER,
    }
}

fn api(item: &Item<'_>, record: &Record) -> Value {
    let resource =
        record.target.vault.map(|vault| json!([{ "uid": vault, "type": "vault", "name": opened(item, "vault.name") }]));
    let resource = resource.map(|resources| resources.as_array().cloned().unwrap_or_default());
    let resources: Option<Vec<Value>> = resource.map(|list| list.into_iter().map(without_nulls).collect());
    let service = json!({ "name": PRODUCT });
    let api = json!({ "operation": record.event, "service": service });
    json!({ "api": api, "src_endpoint": source(record), "resources": resources })
}

/// Where a call came from: the machine knows a program and a user of the system, no address.
fn source(record: &Record) -> Value {
    let from = record.from.as_ref();
    let client = from.map(|from| from.client.as_str()).filter(|client| !client.is_empty());
    let uid = from.and_then(|from| from.uid).map(|uid| format!("uid {uid}"));
    without_nulls(json!({ "svc_name": client.unwrap_or("strongroom-agent"), "uid": uid }))
}

fn authentication(item: &Item<'_>, record: &Record) -> Value {
    let assurance = record.actor.as_ref().map(|actor| actor.assurance);
    let session = record.detail.get("session").cloned();
    let session = session.or_else(|| record.actor.as_ref().map(|actor| json!(actor.session)));
    let subject = match (record.target.identity, &record.actor) {
        (Some(_), _) => user(item, record),
        (None, Some(_)) => actor(item, record).get("user").cloned().unwrap_or(Value::Null),
        (None, None) => {
            let uid = record.target.key.clone().or_else(|| Some(format!("uid {}", record.from.as_ref()?.uid?)));
            named(without_nulls(json!({ "uid": uid, "name": opened(item, "asked") })))
        }
    };
    json!({
        "user": subject,
        "service": { "name": "strongroom-agent", "uid": record.agent },
        "auth_protocol": "SSH signature",
        "auth_protocol_id": OTHER,
        // A key that asks for its owner's presence is one factor; one that verifies its owner is two.
        "is_mfa": assurance.map(|assurance| assurance == Assurance::HardwareVerified),
        "session": session.map(|session| json!({ "uid": session })),
    })
}

/// A grant to somebody, or to a group.
fn access(item: &Item<'_>, record: &Record, activity: u64) -> (u64, u64, Value) {
    let role = record.detail.get("role").cloned().unwrap_or_else(|| json!("unknown"));
    let resource = tenant(item, record).map(|vault| json!([{ "uid": vault, "type": "vault" }]));
    if record.target.identity.is_none() && record.detail.contains_key("group") {
        let own = json!({ "group": group(item, record), "privileges": [role] });
        return (GROUP_MANAGEMENT, activity, own);
    }
    let user = user_or_unknown(item, record);
    (USER_ACCESS, activity, json!({ "user": user, "privileges": [role], "resources": resource }))
}

fn group(item: &Item<'_>, record: &Record) -> Value {
    named(without_nulls(json!({ "uid": record.detail.get("group"), "name": opened(item, "group.name") })))
}

fn user(item: &Item<'_>, record: &Record) -> Value {
    without_nulls(json!({
        "uid": record.target.identity, "name": opened(item, "target.name"), "credential_uid": record.target.key,
    }))
}

fn user_or_unknown(item: &Item<'_>, record: &Record) -> Value {
    named(user(item, record))
}

/// An object of the schema needs a name or an id: what was refused may have had neither.
fn named(object: Value) -> Value {
    match object {
        Value::Object(map) if !map.contains_key("uid") && !map.contains_key("name") => {
            let mut map = map;
            map.insert("name".to_owned(), "unknown".into());
            Value::Object(map)
        }
        other => other,
    }
}

/// The account that a record is about or, if it names none, the vault.
fn account(item: &Item<'_>, record: &Record) -> Value {
    let (uid, kind) = match record.target.account {
        Some(account) => (Some(account.to_string()), "mfa_seed"),
        None => (tenant(item, record), "vault"),
    };
    let revision = record.detail.get("revision").map(ToString::to_string);
    named(without_nulls(json!({
        "uid": uid, "type": kind, "name": opened(item, "account.name"), "version": revision,
    })))
}

fn actor(item: &Item<'_>, record: &Record) -> Value {
    let client = record.from.as_ref().map(|from| from.client.as_str()).filter(|client| !client.is_empty());
    let process = record.from.as_ref().and_then(|from| from.pid).map(|pid| json!({ "pid": pid }));
    let user = record.actor.as_ref().map(|actor| {
        without_nulls(json!({
            "uid": actor.identity, "name": opened(item, "actor.name"), "credential_uid": actor.key,
        }))
    });
    let session = record.actor.as_ref().map(|actor| json!({ "uid": actor.session }));
    without_nulls(json!({
        "user": user, "session": session, "process": process, "app_name": client.unwrap_or("strongroom-agent"),
    }))
}

/// The vault: of the log, or the one that the organisation's log names.
fn tenant(item: &Item<'_>, record: &Record) -> Option<String> {
    let last = item.log.rsplit('/').next().filter(|last| *last != "org");
    last.map(str::to_owned).or_else(|| record.target.vault.map(|vault| vault.to_string()))
}

fn opened(item: &Item<'_>, field: &str) -> Option<String> {
    item.openings.iter().find(|opening| opening.field == field).map(|opening| opening.value.clone())
}

fn as_map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Members without a value are left out.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => map.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        other => other,
    }
}

#[cfg(test)]
#[path = "ocsf_tests.rs"]
mod tests;
