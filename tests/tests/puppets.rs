//! No puppets: every detour by which one admin could come to a code alone is tried on a real agent, and ends in front of a
//! second person.

use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::client::Client;
use strongroom_proto::error::ErrorKind;
use strongroom_proto::ids::PendingId;
use strongroom_proto::method::ceremony::Propose;
use strongroom_proto::method::group::{Create as CreateGroup, MemberAdd};
use strongroom_proto::method::identity::{Enrol, KeyAdd, Resume, Revoke, Roles, Suspend};
use strongroom_proto::method::pending::{List as Pendings, Reject};
use strongroom_proto::method::policy::{Set, Show};
use strongroom_proto::method::session::Whoami;
use strongroom_proto::method::{Method, grant};
use strongroom_proto::policy::BreakGlass;
use strongroom_proto::words::{
    Algorithm, CeremonyKind, IdentityKind, OrgRole, OtpKind, PendingKind, PendingStatus, Scheme, VaultRole,
};
use strongroom_tests::ceremony::{proposal, propose};
use strongroom_tests::organisation::{Organisation, create_vault, give, import, row, slug};
use strongroom_tests::pending::{confirm, confirm_unseen, waiting};
use strongroom_tests::people::Person;
use strongroom_tests::refused::{self, kind, signed_kind};
use strongroom_tests::seeds::RFC_SHA1;
use strongroom_tests::trail::read_log;

async fn code(client: &mut Client) -> Option<ErrorKind> {
    refused::code(client, "acme/m365").await
}

fn to(identity: Option<&str>, group: Option<&str>, role: VaultRole) -> grant::Give {
    grant::Give {
        vault: slug("acme"),
        identity: identity.map(slug),
        group: group.map(slug),
        role,
        accounts: None,
        from: None,
        until: None,
        hours: None,
        reason: None,
        ticket: None,
    }
}

/// An organisation in which two admins have been active, and one of them is up to something.
struct House {
    organisation: Organisation,
    founder: Client,
    manager: Person,
    tech: Person,
    rogue: Person,
    attacker: Client,
}

impl House {
    async fn open() -> Self {
        let organisation = Organisation::found();
        let mut founder = organisation.admin.connect().await;
        create_vault(&mut founder, "acme", Scheme::Derived).await;
        let manager = organisation.enrol(&mut founder, "manager", &[]).await;
        let tech = organisation.enrol(&mut founder, "tech", &[]).await;
        give(&mut founder, "acme", "manager", VaultRole::Manager).await;
        give(&mut founder, "acme", "tech", VaultRole::Viewer).await;
        let seed = row("m365", OtpKind::Totp, Algorithm::Sha1, 6, RFC_SHA1);
        import(&mut manager.connect().await, "acme", vec![seed]).await;
        let rogue = organisation.enrol(&mut founder, "rogue", &[OrgRole::Admin]).await;
        let attacker = rogue.connect().await;
        Self { organisation, founder, manager, tech, rogue, attacker }
    }

    fn person(&self, name: &str) -> Person {
        Person::new(name, self.organisation.root(), &self.organisation.launch.socket)
    }

    /// Somebody whom the attacker has invented, with a key of the attacker's.
    async fn invent(&mut self, name: &str, roles: &[OrgRole]) -> (Person, Option<PendingId>) {
        let puppet = self.person(name);
        let enrol = Enrol {
            identity: slug(name),
            name: "A Colleague".to_owned(),
            kind: IdentityKind::Technician,
            roles: roles.to_vec(),
            public_key: puppet.public_key(),
            attestation: None,
            until: None,
            service: None,
        };
        let enrolled = self.attacker.call(&enrol).await.unwrap();
        (puppet, enrolled.pending)
    }

    async fn attempt<M: Method>(&mut self, call: &M) -> Option<ErrorKind> {
        kind(self.attacker.call(call).await)
    }
}

#[tokio::test]
async fn an_admin_alone_gets_no_code_by_any_detour() {
    let mut house = House::open().await;
    assert!(!house.attacker.call(&Whoami {}).await.unwrap().sole_admin);
    assert_eq!(code(&mut house.attacker).await, Some(ErrorKind::Denied), "admins take no codes");
    let own = to(Some("rogue"), None, VaultRole::Viewer);
    assert_eq!(house.attempt(&own).await, Some(ErrorKind::Denied), "nor give themselves the right");

    // A key of their own on a real colleague.
    let second_key = house.person("second-key");
    let add = KeyAdd { identity: slug("tech"), public_key: second_key.public_key(), attestation: None };
    let added = house.attacker.call(&add).await.unwrap();
    assert!(!added.in_force);
    let key = added.pending.unwrap();
    let disguised = second_key.called("tech");
    assert!(disguised.try_connect().await.is_err(), "the key logs nobody in");
    assert_eq!(signed_kind(confirm(&house.rogue, key).await), Some(ErrorKind::Denied), "nobody confirms their own");
    assert_eq!(signed_kind(confirm(&house.tech, key).await), Some(ErrorKind::Denied), "nor what serves them");

    // An invented colleague, and everything that could be given to one.
    let (puppet, none) = house.invent("puppet", &[]).await;
    assert_eq!(none, None);
    let mut client = puppet.connect().await;
    let given = house.attacker.call(&to(Some("puppet"), None, VaultRole::Viewer)).await.unwrap();
    assert!(!given.in_force);
    assert_eq!(code(&mut client).await, Some(ErrorKind::NotFound), "to them the vault does not exist");
    for role in [VaultRole::Manager, VaultRole::Eligible, VaultRole::Auditor] {
        assert!(!house.attacker.call(&to(Some("puppet"), None, role)).await.unwrap().in_force, "{role}");
    }
    let grant = given.pending.unwrap();
    assert_eq!(signed_kind(confirm(&puppet, grant).await), Some(ErrorKind::NotFound));
    assert_eq!(signed_kind(confirm(&house.rogue, grant).await), Some(ErrorKind::Denied));

    // Another admin of their making could confirm all of it.
    let (second, roles) = house.invent("second", &[OrgRole::Admin]).await;
    let roles = roles.expect("roles take a second person");
    assert!(second.connect().await.call(&Whoami {}).await.unwrap().session.roles.is_empty());
    let promote = Roles { identity: slug("puppet"), add: vec![OrgRole::Admin], remove: vec![] };
    let promoted = house.attacker.call(&promote).await.unwrap().pending.unwrap();
    for pending in [key, grant, roles, promoted] {
        for person in [&second, &puppet] {
            let digest = "0".repeat(64);
            let refused = signed_kind(confirm_unseen(person, pending, &digest).await);
            assert!(matches!(refused, Some(ErrorKind::Denied | ErrorKind::NotFound)), "{}: {refused:?}", person.slug);
        }
    }
    // A manager has no say in who is an admin.
    let digest = waiting(&mut house.founder).await.into_iter().find(|item| item.pending == roles).unwrap().digest;
    assert_eq!(signed_kind(confirm_unseen(&house.manager, roles, &digest).await), Some(ErrorKind::Denied));

    // A group that holds the right.
    let group = CreateGroup { group: slug("team"), name: "Team".to_owned() };
    house.attacker.call(&group).await.unwrap();
    assert!(house.attacker.call(&to(None, Some("team"), VaultRole::Viewer)).await.unwrap().in_force);
    let member = |who: &str| MemberAdd { group: slug("team"), identity: slug(who) };
    assert_eq!(house.attempt(&member("rogue")).await, Some(ErrorKind::Denied), "nobody joins by their own hand");
    assert!(!house.attacker.call(&member("puppet")).await.unwrap().in_force);
    assert_eq!(code(&mut client).await, Some(ErrorKind::NotFound));

    // A policy that asks for less.
    let policy = house.attacker.call(&Show { vault: slug("acme") }).await.unwrap().policy;
    let mut weaker = policy.clone();
    weaker.break_glass = Some(BreakGlass::default());
    let set = Set { vault: slug("acme"), replaces: policy.clone(), policy: weaker, dry_run: false };
    let set = house.attacker.call(&set).await.unwrap();
    assert!(!set.in_force && set.pending.is_some());
    assert_eq!(house.attacker.call(&Show { vault: slug("acme") }).await.unwrap().policy, policy);

    // A ceremony with the puppet as the second person.
    let handed = Propose { name: Some(slug("acme")), ..proposal("acme", CeremonyKind::Destroy) };
    let ceremony = propose(&house.rogue, handed).await.unwrap().ceremony;
    let call = strongroom_proto::method::ceremony::Confirm { ceremony, digest: "0".repeat(64), step_up: None };
    let confirmed = puppet.connect().await.call_signed(call, &puppet.signer()).await;
    assert_eq!(signed_kind(confirmed), Some(ErrorKind::NotFound));

    // The colleague's key under another name; the colleague's name once more.
    let stolen = KeyAdd { identity: slug("puppet"), public_key: house.tech.public_key(), attestation: None };
    assert_eq!(house.attempt(&stolen).await, Some(ErrorKind::Conflict));

    // Without the others there is nobody to ask, and still nobody who could do it alone.
    for other in ["admin", "manager"] {
        house.attacker.call(&Revoke { identity: slug(other), reason: "in the way".to_owned() }).await.unwrap();
    }
    assert!(!house.attacker.call(&Whoami {}).await.unwrap().sole_admin);
    assert!(!house.attacker.call(&to(Some("second"), None, VaultRole::Viewer)).await.unwrap().in_force);
    assert!(disguised.try_connect().await.is_err());
    assert_eq!(code(&mut client).await, Some(ErrorKind::NotFound));
    // Suspending and resuming vouches for nobody.
    house.attacker.call(&Suspend { identity: slug("puppet"), reason: "x".to_owned() }).await.unwrap();
    house.attacker.call(&Resume { identity: slug("puppet"), reason: "x".to_owned() }).await.unwrap();
    assert_eq!(code(&mut puppet.connect().await).await, Some(ErrorKind::NotFound));
    // Who really holds the right still does.
    assert_eq!(code(&mut house.tech.connect().await).await, None);
}

#[tokio::test]
async fn what_a_second_person_confirms_takes_effect_and_is_proved_by_their_signature() {
    let mut house = House::open().await;
    let (puppet, _) = house.invent("newcomer", &[]).await;
    let given = house.attacker.call(&to(Some("newcomer"), None, VaultRole::Viewer)).await.unwrap();
    let mut client = puppet.connect().await;
    assert_eq!(code(&mut client).await, Some(ErrorKind::NotFound));

    // A digest of something else is refused; the right one takes effect at once.
    let pending = given.pending.unwrap();
    let wrong = confirm_unseen(&house.manager, pending, &"0".repeat(64)).await;
    assert_eq!(signed_kind(wrong), Some(ErrorKind::Conflict));
    confirm(&house.manager, pending).await.unwrap();
    assert_eq!(code(&mut client).await, None);
    assert_eq!(signed_kind(confirm(&house.manager, pending).await), Some(ErrorKind::Conflict), "once");
    // From now on two people stand behind them.
    assert!(house.attacker.call(&to(Some("newcomer"), None, VaultRole::Eligible)).await.unwrap().in_force);

    // Whom somebody else enrolled needs no further word: the giver is the second person.
    let (_, _) = house.invent("trainee", &[]).await;
    let mut manager = house.manager.connect().await;
    assert!(manager.call(&to(Some("trainee"), None, VaultRole::Viewer)).await.unwrap().in_force);

    // What is rejected never takes effect, and its key may be proposed anew for the same person only.
    let spare = house.person("spare");
    let add = KeyAdd { identity: slug("tech"), public_key: spare.public_key(), attestation: None };
    let rejected = house.attacker.call(&add).await.unwrap().pending.unwrap();
    manager.call(&Reject { pending: rejected, reason: "nobody asked".to_owned() }).await.unwrap();
    assert_eq!(signed_kind(confirm(&house.manager, rejected).await), Some(ErrorKind::Conflict));
    let elsewhere = KeyAdd { identity: slug("newcomer"), public_key: spare.public_key(), attestation: None };
    assert_eq!(house.attempt(&elsewhere).await, Some(ErrorKind::Conflict));
    let again = house.attacker.call(&add).await.unwrap().pending.unwrap();
    confirm(&house.manager, again).await.unwrap();
    assert!(spare.called("tech").try_connect().await.is_ok());

    // A proposer who was revoked stands behind nothing any more.
    let promote = Roles { identity: slug("tech"), add: vec![OrgRole::Auditor], remove: vec![] };
    let orphan = house.attacker.call(&promote).await.unwrap().pending.unwrap();
    house.founder.call(&Revoke { identity: slug("rogue"), reason: "left".to_owned() }).await.unwrap();
    assert_eq!(signed_kind(confirm(&house.organisation.admin, orphan).await), Some(ErrorKind::Conflict));

    // The vault's own log says who gave and who confirmed, with a signature that names this change.
    let log = read_log(&mut manager, Some("acme")).await;
    let confirmed = log.iter().find(|entry| entry.is("pending.confirm", RecordOutcome::Ok)).unwrap();
    assert_eq!(confirmed.record.detail["pending"], pending.to_string());
    assert!(confirmed.record.detail["signature"].as_str().unwrap().starts_with("-----BEGIN SSH SIGNATURE-----"));
}

#[tokio::test]
async fn while_there_is_one_admin_changes_take_effect_and_wait_for_a_later_look() {
    let organisation = Organisation::found();
    let mut founder = organisation.admin.connect().await;
    create_vault(&mut founder, "acme", Scheme::Derived).await;
    let tech = organisation.enrol(&mut founder, "tech", &[]).await;
    assert!(founder.call(&to(Some("tech"), None, VaultRole::Viewer)).await.unwrap().in_force);
    let second = organisation.enrol(&mut founder, "second", &[OrgRole::Admin]).await;
    assert_eq!(tech.connect().await.call(&Whoami {}).await.unwrap().session.roles, []);

    // The second admin finds what was done before there was one, and says that it was right.
    let mut client = second.connect().await;
    let items = waiting(&mut client).await;
    let found: Vec<_> = items.iter().map(|item| (item.kind, item.in_force, item.yours)).collect();
    // Their own roles are not theirs to confirm.
    assert_eq!(found, [(PendingKind::Roles, true, false), (PendingKind::Grant, true, true)]);
    confirm(&second, items[1].pending).await.unwrap();
    assert_eq!(waiting(&mut client).await.len(), 1);
    let all = client.call(&Pendings { all: true }).await.unwrap().items;
    assert!(all.iter().any(|item| item.status == PendingStatus::Confirmed && item.decided_by == Some(slug("second"))));
    // And from then on there are two.
    let spare = Person::new("spare", organisation.root(), &organisation.launch.socket);
    let add = KeyAdd { identity: slug("tech"), public_key: spare.public_key(), attestation: None };
    assert!(!founder.call(&add).await.unwrap().in_force);
}
