//! Every method, called by a viewer of the vault and by somebody who may not know of it: neither has the right.

use serde_json::{Value, json};
use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::method::STEPPED_UP;
use strongroom_proto::method::ceremony::{Confirm as ConfirmCeremony, Propose};
use strongroom_proto::method::pending::Confirm;
use strongroom_proto::method::request::Approve;
use strongroom_proto::words::CeremonyKind;
use strongroom_tests::ceremony::proposal;
use strongroom_tests::people::Person;
use strongroom_tests::raw::Raw;
use strongroom_tests::refused::signed_kind;

use crate::house::{Caller, House};
use crate::table::{Log, REFUSALS, Refused};

/// Things that calls can be about; each exists and concerns neither caller.
struct Things {
    request: Value,
    pending: Value,
    ceremony: Value,
    campaign: Value,
    grant: Value,
    session: Value,
    key: String,
}

impl Things {
    async fn make(house: &mut House) -> Self {
        let ask = json!({"vault": "acme", "duration_s": 600, "reason": "a migration"});
        let request = house.eligible.raw.result("request.make", &ask)["request"].clone();
        let policy = house.manager.raw.result("policy.show", &json!({"vault": "acme"}))["policy"].clone();
        let mut weaker = policy.clone();
        weaker["break_glass"] = json!({"longest_min": 30});
        let set = json!({"vault": "acme", "replaces": policy, "policy": weaker});
        let pending = house.admin.raw.result("policy.set", &set)["pending"].clone();
        let rotate = proposal("acme", CeremonyKind::RotateKey);
        let ceremony = json!(house.admin.signed(rotate).await.unwrap().ceremony);
        let due_at = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1)).to_string();
        let start = json!({"title": "Autumn", "vaults": ["acme"], "due_at": due_at});
        let campaign = house.admin.raw.result("review.start", &start)["campaign"].clone();
        let session = house.admin.raw.result("session.whoami", &json!({}))["session"].clone();
        let create = json!({"group": "first-line", "name": "First line"});
        house.admin.raw.result("group.create", &create);
        let grant = house.grant_of("manager");
        let organisation = &house.people.organisation;
        let key = Person::new("spare", organisation.root(), &organisation.launch.socket).public_key();
        Self { request, pending, ceremony, campaign, grant, session, key }
    }

    /// The parameters of a call without a signature.
    fn params(&self, method: &str) -> Value {
        let reason = "because";
        let identity = |more: Value| {
            let mut params = json!({"identity": "manager"});
            params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            params
        };
        let due_at = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1)).to_string();
        let import = "00000000-0000-4000-8000-000000000001";
        match method {
            "session.end" => json!({"session": self.session}),
            "session.challenge" => json!({"method": "pending.confirm", "params_sha256": "0".repeat(64)}),
            "vault.create" => json!({"vault": "mine", "name": "Mine"}),
            "vault.rename" => json!({"vault": "acme", "name": "Mine"}),
            "vault.freeze" | "vault.thaw" => json!({"vault": "acme", "reason": reason}),
            "account.list" | "grant.list" | "request.list" | "rotation.list" | "ceremony.list" | "alert.list" => {
                json!({"vault": "acme"})
            }
            // A viewer sees every account: this one does not exist.
            "account.show" => json!({"account": "acme/none"}),
            "account.import_begin" => json!({"vault": "acme", "source": "test"}),
            "account.import_rows" => json!({"import": import, "rows": []}),
            "account.import_commit" => json!({"import": import}),
            "account.remove" | "rotation.dismiss" => json!({"account": "acme/m365", "reason": reason}),
            "code.release" | "canary.set" | "canary.clear" => json!({"account": "acme/m365"}),
            "grant.give" => json!({"vault": "acme", "identity": "eligible", "role": "viewer"}),
            "grant.end" => json!({"grant": self.grant}),
            "identity.enrol" => {
                json!({"identity": "puppet", "name": "P", "kind": "technician", "public_key": self.key})
            }
            "identity.key_add" => identity(json!({"public_key": self.key})),
            "identity.key_remove" => identity(json!({"fingerprint": "SHA256:0"})),
            "identity.revoke" | "identity.suspend" | "identity.resume" | "audit.erase" => {
                identity(json!({"reason": reason}))
            }
            "identity.update" => identity(json!({"name": "M"})),
            "identity.roles" => identity(json!({"add": ["admin"]})),
            "identity.certificates" => identity(json!({"principals": []})),
            "identity.report" => identity(json!({})),
            "group.create" => json!({"group": "mine", "name": "Mine"}),
            "group.remove" => json!({"group": "first-line", "reason": reason}),
            "group.member_add" | "group.member_remove" => json!({"group": "first-line", "identity": "eligible"}),
            "request.make" => json!({"vault": "acme", "duration_s": 600, "reason": reason}),
            "request.show" | "request.cancel" => json!({"request": self.request}),
            "request.deny" => json!({"request": self.request, "reason": reason}),
            "request.review" => json!({"request": self.request, "justified": true, "note": reason}),
            "review.start" => json!({"title": "Mine", "vaults": ["acme"], "due_at": due_at}),
            "review.show" => json!({"campaign": self.campaign, "vault": "acme"}),
            "review.decide" => json!({"campaign": self.campaign, "grants": [self.grant], "keep": false}),
            "review.close" => json!({"campaign": self.campaign}),
            "incident.open" => json!({"reason": reason, "vaults": ["acme"]}),
            "incident.show" => json!({"incident": import}),
            "incident.close" => json!({"incident": import, "note": reason}),
            "alert.ack" => json!({"vault": "acme", "seq": 0, "note": reason}),
            "pending.show" => json!({"pending": self.pending}),
            "pending.reject" => json!({"pending": self.pending, "reason": reason}),
            "policy.show" | "audit.read" | "audit.search" | "audit.checkpoint" | "audit.export" => {
                json!({"vault": "acme"})
            }
            "policy.set" => json!({"vault": "acme", "replaces": {}, "policy": {"signed_release": true}}),
            "policy.set_org" => json!({"replaces": {}, "policy": {"confirm_within_h": 1}}),
            "ceremony.show" | "ceremony.cancel" | "ceremony.run" => json!({"ceremony": self.ceremony}),
            "audit.snapshot" => json!({"vault": "acme", "from": 0}),
            "audit.leaves" => json!({"vault": "acme", "from": 0, "limit": 1}),
            _ => json!({}),
        }
    }

    /// Makes a call that has to be signed, with a digest that nobody has shown the caller.
    async fn signed(&self, caller: &mut Caller, method: &str) -> String {
        let digest = "0".repeat(64);
        let id = |value: &Value| value.as_str().unwrap().to_owned();
        let kind = match method {
            "request.approve" => {
                let request = id(&self.request).parse().unwrap();
                signed_kind(caller.signed(Approve { request, digest, step_up: None }).await)
            }
            "pending.confirm" => {
                let pending = id(&self.pending).parse().unwrap();
                signed_kind(caller.signed(Confirm { pending, digest, in_person: false, step_up: None }).await)
            }
            "ceremony.confirm" => {
                let ceremony = id(&self.ceremony).parse().unwrap();
                signed_kind(caller.signed(ConfirmCeremony { ceremony, digest, step_up: None }).await)
            }
            "ceremony.propose" => {
                signed_kind(caller.signed::<Propose>(proposal("acme", CeremonyKind::RotateKey)).await)
            }
            other => panic!("{other} is not signed"),
        };
        kind.map_or_else(String::new, |kind| kind.as_str().to_owned())
    }
}

/// Tries everything as both.
pub(crate) async fn refuse_everything(house: &mut House) {
    let things = Things::make(house).await;
    house.prepared().await;
    for refusal in REFUSALS {
        for (who, expected) in [("viewer", &refusal.viewer), ("stranger", &refusal.stranger)] {
            if let Refused::Allowed(why) = expected {
                assert!(!why.is_empty(), "{}", refusal.method);
                continue;
            }
            if refusal.method == "code.release" && who == "viewer" {
                // The one thing that viewers may: not while the vault is frozen.
                house.manager.raw.result("vault.freeze", &json!({"vault": "acme", "reason": "an incident"}));
                house.prepared().await;
            }
            let answer = attempt(house, &things, who, refusal.method).await;
            assert_left(house, refusal.method, who, expected, &answer).await;
        }
    }
    import_too_late(house).await;
}

/// A right that ends between the beginning of an import and its commit: the commit is refused, and recorded.
async fn import_too_late(house: &mut House) {
    let begin = json!({"vault": "acme", "source": "test"});
    let import = house.leaver.raw.result("account.import_begin", &begin)["import"].clone();
    let seed = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTA=";
    let row =
        json!({"account": "late", "kind": "totp", "algorithm": "SHA1", "digits": 6, "period_s": 30, "seed": seed});
    house.leaver.raw.result("account.import_rows", &json!({"import": import, "rows": [row]}));
    let grant = house.grant_of("leaver");
    house.admin.raw.result("grant.end", &json!({"grant": grant}));
    house.prepared().await;
    let answer = house.leaver.raw.call("account.import_commit", &json!({"import": import}));
    let denied = Refused::Denied(Log::Org, "account.import");
    assert_left(house, "account.import_commit", "former manager", &denied, &answer).await;
}

/// What was answered: the kind of the refusal, or the result.
async fn attempt(house: &mut House, things: &Things, who: &str, method: &'static str) -> String {
    if method == "session.open" || method == "session.prove" {
        return prove_wrongly(house, method);
    }
    let caller = if who == "viewer" { &mut house.viewer } else { &mut house.stranger };
    if STEPPED_UP.contains(&method) && method != "code.release" {
        return things.signed(caller, method).await;
    }
    caller.raw.call(method, &things.params(method))
}

/// Opens a session under a name that nobody has, or proves it with a signature that is none.
fn prove_wrongly(house: &House, method: &str) -> String {
    let mut raw = Raw::unknown(&house.people.organisation.launch.socket);
    let open = json!({
        "protocol": 1, "client": "tests/1", "identity": "nobody", "public_key": house.stranger.person.public_key(),
        "client_nonce": "0".repeat(64),
    });
    let opened = raw.call("session.open", &open);
    if method == "session.open" {
        return opened;
    }
    let armor = "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n";
    raw.call("session.prove", &json!({"signature": armor}))
}

async fn assert_left(house: &mut House, method: &str, who: &str, expected: &Refused, answer: &str) {
    let news = house.news().await;
    let left: Vec<_> = news.iter().map(|(log, record)| (*log, record.event.as_str(), record.outcome)).collect();
    let (expected, why) = match expected {
        Refused::Denied(log, event) => (vec![(*log, *event, RecordOutcome::Denied)], ""),
        Refused::Nothing(why) | Refused::Allowed(why) => (vec![], *why),
    };
    // A denial says why it is one.
    let says_why = news.iter().all(|(_, record)| record.detail.contains_key("kind"));
    if left != expected || !says_why {
        house.faults.push(format!("{method} by the {who} ({why}) left {left:?}: {answer}"));
    }
}
