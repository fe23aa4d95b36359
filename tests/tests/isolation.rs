//! What is not yours does not exist, in every method that names it; and nobody acts for themselves.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use strongroom_proto::client::Client;
use strongroom_proto::words::{Algorithm, OrgRole, OtpKind, VaultRole};
use strongroom_tests::organisation::{Organisation, create_vault, give, import, row};
use strongroom_tests::people::Person;
use strongroom_tests::raw::Raw;
use strongroom_tests::schemes::scheme;
use strongroom_tests::seeds::RFC_SHA1;

struct House {
    organisation: Organisation,
    admin: Client,
    manager: Person,
}

impl House {
    /// Two clients; the manager manages acme only.
    async fn found() -> Self {
        let organisation = Organisation::found();
        let mut admin = organisation.admin.connect().await;
        let manager = organisation.enrol(&mut admin, "manager", &[]).await;
        let other = organisation.enrol(&mut admin, "other-manager", &[]).await;
        for (vault, person) in [("acme", &manager), ("bluewater", &other)] {
            create_vault(&mut admin, vault, scheme()).await;
            give(&mut admin, vault, &person.slug, VaultRole::Manager).await;
            let rows = ["one", "two", "hotp"].map(|name| {
                let kind = if name == "hotp" { OtpKind::Hotp } else { OtpKind::Totp };
                row(name, kind, Algorithm::Sha1, 6, RFC_SHA1)
            });
            import(&mut person.connect().await, vault, rows.to_vec()).await;
        }
        Self { organisation, admin, manager }
    }

    async fn enrol(&mut self, slug: &str, roles: &[OrgRole]) -> Person {
        self.organisation.enrol(&mut self.admin, slug, roles).await
    }

    async fn raw(&self, person: &Person) -> Raw {
        Raw::connect(person, &self.organisation.launch.socket).await
    }
}

/// Every method that names a vault, with the name left open.
fn naming_a_vault(vault: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("account.list", json!({"vault": vault})),
        ("account.import_begin", json!({"vault": vault, "source": "test"})),
        ("grant.list", json!({"vault": vault})),
        ("grant.give", json!({"vault": vault, "identity": "manager", "role": "viewer"})),
        ("grant.give", json!({"vault": vault, "identity": "nobody-there", "role": "manager"})),
        ("grant.give", json!({"vault": vault, "identity": "manager", "role": "viewer", "accounts": ["one"]})),
        ("vault.rename", json!({"vault": vault, "to": "else"})),
        ("vault.freeze", json!({"vault": vault, "reason": "why not"})),
        ("vault.thaw", json!({"vault": vault, "reason": "why not"})),
        ("audit.read", json!({"vault": vault})),
        ("audit.search", json!({"vault": vault, "event": "code.release"})),
        ("audit.search", json!({"vault": vault, "account": "one", "identity": "manager", "ticket": "t"})),
        ("audit.leaves", json!({"vault": vault, "from": 0, "limit": 10})),
        ("audit.checkpoint", json!({"vault": vault})),
        ("audit.export", json!({"vault": vault})),
    ]
}

/// Every method that names an account.
fn naming_an_account(account: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("account.show", json!({"account": account})),
        ("account.remove", json!({"account": account, "reason": "why not"})),
        ("code.release", json!({"account": account})),
        ("code.release", json!({"account": account, "min_remaining_s": 61})),
        ("code.release", json!({"account": account, "reason": "r", "ticket": "t", "min_remaining_s": 1})),
    ]
}

/// Asks for what is hidden and for what is not there: the answers have to be the same bytes.
fn same_bytes(raw: &mut Raw, hidden: Vec<(&'static str, Value)>, nothing: Vec<(&'static str, Value)>) {
    for ((method, params), (_, of_nothing)) in hidden.into_iter().zip(nothing) {
        let (one, other) = (raw.call(method, &params), raw.call(method, &of_nothing));
        assert_eq!(one, other, "{method} {params} tells that it exists");
        assert!(one.contains("\"kind\":\"not_found\""), "{method} {params}: {one}");
    }
}

#[tokio::test]
async fn an_unassigned_vault_answers_like_a_nonexistent_one_in_every_method() {
    let mut house = House::found().await;
    let outsider = house.enrol("outsider", &[]).await;
    let grant = give(&mut house.admin, "bluewater", "manager", VaultRole::Auditor).await;
    house.admin.call(&strongroom_proto::method::grant::End { grant, reason: None }).await.unwrap();
    // Somebody without any grant, and somebody who manages another client.
    for person in [outsider, house.manager.clone()] {
        let mut raw = house.raw(&person).await;
        same_bytes(&mut raw, naming_a_vault("bluewater"), naming_a_vault("nowhere"));
        same_bytes(&mut raw, naming_an_account("bluewater/one"), naming_an_account("nowhere/one"));
        same_bytes(&mut raw, naming_an_account("bluewater/hotp"), naming_an_account("bluewater/none"));
        let theirs = give(&mut house.admin, "bluewater", "outsider", VaultRole::Eligible).await;
        let own = person.slug == "outsider";
        let missing = json!({"grant": "00000000-0000-4000-8000-000000000000"});
        if !own {
            assert_eq!(raw.call("grant.end", &json!({"grant": theirs})), raw.call("grant.end", &missing));
        }
        house.admin.call(&strongroom_proto::method::grant::End { grant: theirs, reason: None }).await.unwrap();
        let sessions = house.organisation.admin.connect().await;
        drop(sessions);
        for list in ["vault.list", "account.list", "grant.list"] {
            let line = raw.call(list, &json!({}));
            assert!(!line.contains("bluewater"), "{list}: {line}");
        }
        let stranger = json!({"session": "00000000-0000-4000-8000-000000000000"});
        let admins = house.organisation.admin.connect().await;
        let all = house.raw(&house.organisation.admin).await.result("session.list", &json!({}));
        let admin_session = all["items"].as_array().unwrap().iter().find(|item| item["identity"] == "admin").unwrap();
        let named = json!({"session": admin_session["session"]});
        assert_eq!(raw.call("session.end", &named), raw.call("session.end", &stranger));
        drop(admins);
    }
}

#[tokio::test]
async fn the_log_says_what_was_asked_for_without_telling_the_client_of_it() {
    let mut house = House::found().await;
    let outsider = house.enrol("outsider", &[]).await;
    let mut raw = house.raw(&outsider).await;
    raw.refusal("code.release", &json!({"account": "bluewater/one"}));
    let mut admin = house.raw(&house.organisation.admin.clone()).await;
    let org = admin.result("audit.read", &json!({"limit": 5}));
    let denied = org["items"].as_array().unwrap().iter().any(|item| {
        item["record"].as_str().unwrap().contains("\"event\":\"code.release\"")
            && item["record"].as_str().unwrap().contains("\"outcome\":\"denied\"")
    });
    assert!(denied, "{org}");
    give(&mut house.admin, "bluewater", "manager", VaultRole::Auditor).await;
    let mut auditor = house.raw(&house.manager.clone()).await;
    let log = auditor.result("audit.read", &json!({"vault": "bluewater", "limit": 50}));
    assert!(!log.to_string().contains("denied"), "the client's own log is not filled by strangers: {log}");
}

#[tokio::test]
async fn nobody_acts_for_themselves_and_admins_take_no_codes() {
    let mut house = House::found().await;
    let mut admin = house.raw(&house.organisation.admin.clone()).await;
    let mut manager = house.raw(&house.manager.clone()).await;
    assert_eq!(admin.refusal("code.release", &json!({"account": "acme/one"})), "denied");
    assert_eq!(manager.refusal("code.release", &json!({"account": "acme/one"})), "denied");
    for role in ["viewer", "eligible", "manager", "auditor"] {
        let own = |identity: &str| json!({"vault": "acme", "identity": identity, "role": role});
        assert_eq!(admin.refusal("grant.give", &own("admin")), "denied", "{role}");
        assert_eq!(manager.refusal("grant.give", &own("manager")), "denied", "{role}");
    }
    assert_eq!(
        manager.refusal("grant.give", &json!({"vault": "acme", "identity": "other-manager", "role": "manager"})),
        "denied"
    );

    // A key belongs to one identity for ever.
    let tech = house.enrol("tech", &[]).await;
    let enrol =
        |slug: &str| json!({"identity": slug, "name": "Puppet", "kind": "technician", "public_key": tech.public_key()});
    assert_eq!(admin.refusal("identity.enrol", &enrol("puppet")), "conflict");
    assert_eq!(
        admin.refusal("identity.key_add", &json!({"identity": "manager", "public_key": tech.public_key()})),
        "conflict"
    );
    admin.result("identity.revoke", &json!({"identity": "tech", "reason": "left"}));
    assert_eq!(admin.refusal("identity.enrol", &enrol("puppet")), "conflict");
    assert_eq!(admin.refusal("identity.enrol", &enrol("tech")), "conflict");
    let spare = Person::quick("spare", house.organisation.root(), &house.organisation.launch.socket);
    let own_key = json!({"identity": "admin", "public_key": spare.public_key()});
    assert_eq!(admin.refusal("identity.key_add", &own_key), "denied");
    assert_eq!(admin.refusal("identity.revoke", &json!({"identity": "admin", "reason": "tired"})), "denied");
}

#[tokio::test]
async fn being_the_only_admin_ends_for_ever_when_a_second_one_has_logged_in() {
    let mut house = House::found().await;
    let mut admin = house.raw(&house.organisation.admin.clone()).await;
    let sole = |raw: &mut Raw| raw.result("session.whoami", &json!({}))["sole_admin"].as_bool().unwrap();
    assert!(sole(&mut admin));
    let second = house.enrol("second", &[OrgRole::Admin]).await;
    assert!(sole(&mut admin), "enrolled is not yet active");
    let mut second_raw = house.raw(&second).await;
    assert!(!sole(&mut admin) && !sole(&mut second_raw));
    admin.result("identity.revoke", &json!({"identity": "second", "reason": "left"}));
    assert!(!sole(&mut admin), "it does not come back");
    house.organisation.running().stop();
    house.organisation.start();
    let mut admin = house.raw(&house.organisation.admin.clone()).await;
    assert!(!sole(&mut admin), "nor after a restart");
}

#[tokio::test]
async fn grants_count_from_their_beginning_until_their_end() {
    let mut house = House::found().await;
    let tech = house.enrol("tech", &[]).await;
    let mut raw = house.raw(&tech).await;
    let mut manager = house.raw(&house.manager.clone()).await;
    let (from, until) =
        (Timestamp::now() + Duration::from_millis(700), Timestamp::now() + Duration::from_millis(1_700));
    let given = json!({"vault": "acme", "identity": "tech", "role": "viewer", "from": from.to_string(), "until": until.to_string()});
    manager.result("grant.give", &given);
    let code = json!({"account": "acme/hotp"});
    let nothing = raw.call("code.release", &json!({"account": "acme/none"}));
    assert_eq!(raw.call("code.release", &code), nothing, "it has not begun");
    tokio::time::sleep(Duration::try_from(from.duration_since(Timestamp::now())).unwrap_or_default()).await;
    raw.result("code.release", &code);
    tokio::time::sleep(Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default()).await;
    assert_eq!(raw.call("code.release", &code), nothing, "it is over");
    assert_eq!(raw.result("vault.list", &json!({}))["items"], json!([]));
    let past = json!({"vault": "acme", "identity": "tech", "role": "viewer", "until": "2020-01-01T00:00:00Z"});
    assert_eq!(manager.refusal("grant.give", &past), "invalid_params");
}

#[tokio::test]
async fn a_viewer_of_one_account_sees_that_account_and_its_records_only() {
    let mut house = House::found().await;
    let tech = house.enrol("tech", &[]).await;
    let whole = house.enrol("whole", &[]).await;
    let mut manager = house.raw(&house.manager.clone()).await;
    let scoped = json!({"vault": "acme", "identity": "tech", "role": "viewer", "accounts": ["one"]});
    manager.result("grant.give", &scoped);
    give(&mut house.admin, "acme", "whole", VaultRole::Viewer).await;
    let mut colleague = house.raw(&whole).await;
    colleague.result("code.release", &json!({"account": "acme/one"}));
    colleague.result("code.release", &json!({"account": "acme/two"}));

    let mut raw = house.raw(&tech).await;
    let released = raw.result("code.release", &json!({"account": "acme/one"}));
    assert_eq!(released["window_taken_by"][0]["identity"], "whole");
    same_bytes(&mut raw, naming_an_account("acme/two"), naming_an_account("acme/none"));
    let listed = raw.result("account.list", &json!({}));
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(raw.result("vault.list", &json!({}))["items"][0]["accounts"], 1);
    let log = raw.result("audit.read", &json!({"vault": "acme", "from": 0}));
    let own = listed["items"][0]["id"].as_str().unwrap();
    let records: Vec<&str> =
        log["items"].as_array().unwrap().iter().map(|item| item["record"].as_str().unwrap()).collect();
    assert_eq!(records.iter().filter(|record| record.contains("\"code.release\"")).count(), 2, "{records:?}");
    assert!(records.iter().all(|record| record.contains(&format!("\"account\":\"{own}\""))), "{records:?}");
    assert_eq!(raw.refusal("audit.export", &json!({"vault": "acme"})), "denied");
    assert_eq!(raw.refusal("account.remove", &json!({"account": "acme/one", "reason": "no"})), "denied");
}

#[tokio::test]
async fn a_frozen_vault_gives_nothing_until_an_admin_thaws_it() {
    let mut house = House::found().await;
    let tech = house.enrol("tech", &[]).await;
    for vault in ["acme", "bluewater"] {
        give(&mut house.admin, vault, "tech", VaultRole::Viewer).await;
    }
    let mut raw = house.raw(&tech).await;
    let mut manager = house.raw(&house.manager.clone()).await;
    assert_eq!(raw.refusal("vault.freeze", &json!({"vault": "acme", "reason": "no"})), "denied");
    manager.result("vault.freeze", &json!({"vault": "acme", "reason": "laptop stolen"}));
    for account in ["acme/one", "acme/hotp"] {
        assert_eq!(raw.refusal("code.release", &json!({"account": account})), "frozen");
    }
    raw.result("code.release", &json!({"account": "bluewater/one"}));
    house.organisation.running().stop();
    house.organisation.start();
    let mut raw = house.raw(&tech).await;
    let mut manager = house.raw(&house.manager.clone()).await;
    assert_eq!(raw.refusal("code.release", &json!({"account": "acme/one"})), "frozen", "also after a restart");
    assert_eq!(manager.refusal("vault.thaw", &json!({"vault": "acme", "reason": "found"})), "denied");
    let mut admin = house.raw(&house.organisation.admin.clone()).await;
    admin.result("vault.thaw", &json!({"vault": "acme", "reason": "found"}));
    assert_eq!(raw.result("code.release", &json!({"account": "acme/hotp"}))["counter"], 0);
}
