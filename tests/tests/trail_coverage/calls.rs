//! Every method, called once with success.

use serde_json::{Value, json};
use strongroom_proto::method::ceremony::{Confirm as ConfirmCeremony, Propose};
use strongroom_proto::method::pending::Confirm;
use strongroom_proto::method::request::Approve;
use strongroom_proto::words::CeremonyKind;
use strongroom_tests::ceremony::proposal;
use strongroom_tests::people::Person;
use strongroom_tests::raw::Raw;

use crate::house::{Caller, House, step};

const SEED: &str = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTA=";

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// Calls everything.
pub(crate) async fn call_everything(house: &mut House) {
    vaults_and_accounts(house).await;
    policies_and_changes(house).await;
    requests(house).await;
    people(house).await;
    groups(house).await;
    reviews(house).await;
    ceremonies(house).await;
    trail(house).await;
    leavers(house).await;
    sessions(house).await;
}

async fn vaults_and_accounts(house: &mut House) {
    step!(house, admin, "agent.status", {});
    step!(house, admin, "vault.list", {});
    house.admin.raw.result("vault.create", &json!({"vault": "bluewater", "name": "B", "scheme": "derived"}));
    house.watch("bluewater");
    house.left("vault.create", "").await;
    step!(house, admin, "vault.rename", {"vault": "bluewater", "name": "Bluewater Ltd"});
    step!(house, manager, "vault.freeze", {"vault": "acme", "reason": "an incident"});
    step!(house, admin, "vault.thaw", {"vault": "acme", "reason": "it is over"});
    import(house, "", false, &["one", "two"]).await;
    import(house, "replace", true, &["one"]).await;
    step!(house, viewer, "account.list", {});
    step!(house, viewer, "account.show", {"account": "acme/one"});
    step!(house, viewer, "code.release", {"account": "acme/one", "reason": "a look", "ticket": "T-1"});
    step!(house, manager, "account.remove", {"account": "acme/two", "reason": "scrapped"});
    step!(house, manager, "canary.set", {"account": "acme/nas"});
    step!(house, manager, "canary.list", {});
    step!(house, manager, "canary.clear", {"account": "acme/nas"});
}

async fn import(house: &mut House, case: &'static str, replace: bool, accounts: &[&str]) {
    let begin = json!({"vault": "acme", "source": "test", "replace": replace});
    let import = step_import(house, "account.import_begin", &begin).await["import"].clone();
    let row = |account: &&str| json!({"account": account, "kind": "totp", "algorithm": "SHA1", "digits": 6, "period_s": 30, "seed": SEED});
    let rows: Vec<Value> = accounts.iter().map(row).collect();
    step_import(house, "account.import_rows", &json!({"import": import, "rows": rows})).await;
    house.manager.raw.result("account.import_commit", &json!({"import": import}));
    house.left("account.import_commit", case).await;
}

async fn step_import(house: &mut House, method: &'static str, params: &Value) -> Value {
    let result = house.manager.raw.result(method, params);
    house.left(method, "").await;
    result
}

/// What a second person has to confirm: a policy that gets weaker, and a key.
async fn policies_and_changes(house: &mut House) {
    let replaces = step!(house, viewer, "policy.show", {"vault": "acme"})["policy"].clone();
    let mut policy = replaces.clone();
    policy["break_glass"] = json!({"longest_min": 30});
    let set = step!(house, admin, "policy.set", {"vault": "acme", "replaces": replaces, "policy": policy});
    let replaces = step!(house, admin, "policy.show_org", {})["policy"].clone();
    let mut policy = replaces.clone();
    policy["confirm_within_h"] = json!(100);
    step!(house, admin, "policy.set_org", {"replaces": replaces, "policy": policy});

    step!(house, otto, "pending.list", {});
    let shown = step!(house, otto, "pending.show", {"pending": set["pending"]});
    let (pending, digest) = (text(&set["pending"]).parse().unwrap(), text(&shown["digest"]));
    house.otto.signed(Confirm { pending, digest, in_person: false, step_up: None }).await.unwrap();
    house.left("pending.confirm", "").await;

    let socket = &house.people.organisation.launch.socket;
    let spare = Person::new("spare", house.people.organisation.root(), socket);
    let added = step!(house, admin, "identity.key_add", {"identity": "tech", "public_key": (spare.public_key())});
    step!(house, otto, "pending.reject", {"pending": added["pending"], "reason": "not theirs"});
}

async fn requests(house: &mut House) {
    let ask = json!({"vault": "acme", "accounts": ["m365"], "duration_s": 600, "reason": "a migration"});
    let request = |result: &Value| text(&result["request"]);
    let first = house.eligible.raw.result("request.make", &ask);
    house.left("request.make", "").await;
    step!(house, manager, "request.list", {});
    let shown = step!(house, manager, "request.show", {"request": (request(&first))});
    let approve = Approve { request: request(&first).parse().unwrap(), digest: text(&shown["digest"]), step_up: None };
    house.manager.signed(approve).await.unwrap();
    house.left("request.approve", "").await;
    step!(house, eligible, "request.cancel", "given back", {"request": (request(&first))});
    let second = house.eligible.raw.result("request.make", &ask);
    house.prepared().await;
    step!(house, manager, "request.deny", {"request": (request(&second)), "reason": "not today"});
    let third = house.eligible.raw.result("request.make", &ask);
    house.prepared().await;
    step!(house, eligible, "request.cancel", {"request": (request(&third))});
    let mut glass = ask.clone();
    glass["break_glass"] = json!(true);
    let taken = house.eligible.raw.result("request.make", &glass);
    house.left("request.make", "break-glass").await;
    let listed = step!(house, manager, "alert.list", {"vault": "acme"});
    step!(house, manager, "alert.list", "again", {"vault": "acme"});
    let seq = listed["items"][0]["seq"].clone();
    step!(house, manager, "alert.ack", {"vault": "acme", "seq": seq, "note": "a real incident"});
    step!(house, manager, "request.review", {"request": (request(&taken)), "justified": true, "note": "a real incident"});
}

async fn people(house: &mut House) {
    step!(house, admin, "identity.list", {});
    let socket = house.people.organisation.launch.socket.clone();
    let [nina, other] = ["nina", "nina-two"].map(|name| Person::new(name, house.people.organisation.root(), &socket));
    let enrol = json!({
        "identity": "nina", "name": "Nina", "kind": "technician", "public_key": nina.public_key(),
    });
    house.admin.raw.result("identity.enrol", &enrol);
    house.left("identity.enrol", "").await;
    step!(house, admin, "grant.list", {});
    let give = step!(house, manager, "grant.give", {"vault": "acme", "identity": "nina", "role": "eligible"});
    step!(house, manager, "grant.end", {"grant": give["grant"], "reason": "done"});
    let key = json!({"identity": "nina", "public_key": other.public_key()});
    let added = house.admin.raw.result("identity.key_add", &key);
    house.prepared().await;
    step!(house, admin, "identity.key_remove", {"identity": "nina", "fingerprint": added["fingerprint"]});
    step!(house, admin, "identity.update", {"identity": "nina", "name": "Nina N."});
    step!(house, admin, "identity.roles", {"identity": "nina", "add": ["auditor"]});
    step!(house, admin, "identity.certificates", {"identity": "nina", "principals": []});
    step!(house, admin, "identity.report", {"identity": "nina"});
    // Somebody whose session ends with it.
    let _session = nina.connect().await;
    house.prepared().await;
    step!(house, admin, "identity.suspend", {"identity": "nina", "reason": "a phone was lost"});
    step!(house, admin, "identity.resume", {"identity": "nina", "reason": "it was found"});
    // The same by an incident, with the vault.
    let _again = nina.connect().await;
    house.prepared().await;
    let opened = step!(house, admin, "incident.open", {"reason": "stolen", "vaults": ["acme"], "people": ["nina"]});
    let incident = opened["incident"].clone();
    step!(house, manager, "incident.list", {});
    step!(house, manager, "incident.show", {"incident": incident});
    let close = json!({"incident": incident, "note": "it was found", "thaw": true, "resume": true});
    step!(house, admin, "incident.close", close);
}

async fn groups(house: &mut House) {
    step!(house, admin, "group.create", {"group": "first-line", "name": "First line"});
    step!(house, admin, "group.list", {});
    step!(house, admin, "group.member_add", {"group": "first-line", "identity": "nina"});
    step!(house, admin, "group.member_remove", {"group": "first-line", "identity": "nina"});
    step!(house, admin, "group.remove", {"group": "first-line", "reason": "merged"});
}

async fn reviews(house: &mut House) {
    let due_at = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1)).to_string();
    let started = step!(house, admin, "review.start", {"title": "Autumn", "vaults": ["acme"], "due_at": due_at});
    let campaign = started["campaign"].clone();
    step!(house, manager, "review.list", {});
    let shown = step!(house, manager, "review.show", {"campaign": campaign, "vault": "acme"});
    let grant = |who: &str| {
        shown["items"].as_array().unwrap().iter().find(|item| item["identity"] == who).unwrap()["grant"].clone()
    };
    let (tech, eligible, leaver, manager) = (grant("tech"), grant("eligible"), grant("leaver"), grant("manager"));
    step!(house, manager, "review.decide", {"campaign": campaign, "grants": [tech], "keep": true});
    step!(house, manager, "review.decide", "end", {"campaign": campaign, "grants": [eligible], "keep": false});
    let keep = json!({"campaign": campaign, "grants": [leaver, manager], "keep": true});
    house.admin.raw.result("review.decide", &keep);
    house.prepared().await;
    step!(house, admin, "review.close", {"campaign": campaign});
}

async fn ceremonies(house: &mut House) {
    let rotate = || proposal("acme", CeremonyKind::RotateKey);
    let propose = async |caller: &mut Caller, proposal: Propose| caller.signed(proposal).await.unwrap();
    let first = propose(&mut house.admin, rotate()).await;
    house.left("ceremony.propose", "").await;
    step!(house, manager, "ceremony.list", {});
    step!(house, manager, "ceremony.cancel", {"ceremony": (first.ceremony), "reason": "another day"});
    let second = propose(&mut house.admin, rotate()).await;
    house.prepared().await;
    step!(house, manager, "ceremony.show", {"ceremony": (second.ceremony)});
    let confirm = ConfirmCeremony { ceremony: second.ceremony, digest: second.digest, step_up: None };
    house.manager.signed(confirm).await.unwrap();
    house.left("ceremony.confirm", "").await;
    step!(house, admin, "ceremony.run", {"ceremony": (second.ceremony)});
}

async fn trail(house: &mut House) {
    step!(house, manager, "audit.read", {"vault": "acme"});
    // Reading is recorded once per connection and hour: somebody else searches.
    step!(house, viewer, "audit.search", {"vault": "acme", "event": "code.release"});
    step!(house, manager, "audit.leaves", {"vault": "acme", "from": 0, "limit": 10});
    step!(house, manager, "audit.checkpoint", {"vault": "acme"});
    step!(house, manager, "audit.snapshot", {"vault": "acme", "from": 0});
    step!(house, manager, "audit.export", {"vault": "acme"});
}

async fn leavers(house: &mut House) {
    step!(house, manager, "rotation.list", {});
    step!(house, admin, "identity.revoke", {"identity": "leaver", "reason": "left"});
    step!(house, admin, "audit.erase", {"identity": "leaver", "reason": "asked for it"});
    step!(house, manager, "rotation.dismiss", {"account": "acme/old", "reason": "is shut down this week"});
}

async fn sessions(house: &mut House) {
    let open = json!({
        "protocol": 1, "client": "tests/1", "identity": "nina", "public_key": house.eligible.person.public_key(),
        "client_nonce": "0".repeat(64),
    });
    Raw::unknown(&house.people.organisation.launch.socket).result("session.open", &open);
    house.left("session.open", "").await;
    let socket = house.people.organisation.launch.socket.clone();
    let again = Raw::connect(&house.viewer.person, &socket).await;
    house.left("session.prove", "").await;
    let me = step!(house, viewer, "session.whoami", {});
    let challenge = json!({"method": "pending.confirm", "params_sha256": "0".repeat(64)});
    house.viewer.raw.result("session.challenge", &challenge);
    house.left("session.challenge", "").await;
    step!(house, viewer, "session.list", {});
    step!(house, admin, "session.end", {"session": me["session"]});
    drop(again);
}
