//! Requests on a real agent: asked for, approved by distinct people with their keys, ended by themselves or early; and
//! break-glass, which nags until somebody else has looked.

use std::time::Duration;

use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::client::{Client, LoginError};
use strongroom_proto::error::ErrorKind;
use strongroom_proto::ids::RequestId;
use strongroom_proto::method::grant::End;
use strongroom_proto::method::policy::{Set, Show as ShowPolicy};
use strongroom_proto::method::request::{Approve, Approved, Cancel, Deny, List, Make, Review, Show};
use strongroom_proto::method::session::Whoami;
use strongroom_proto::policy::{BreakGlass, Requests, TicketPattern, VaultPolicy};
use strongroom_proto::words::{Algorithm, OrgRole, OtpKind, RequestStatus, Scheme, VaultRole};
use strongroom_tests::organisation::{Organisation, create_vault, give, import, row, slug};
use strongroom_tests::pending;
use strongroom_tests::people::Person;
use strongroom_tests::refused::{code, kind, signed_kind};
use strongroom_tests::seeds::RFC_SHA1;
use strongroom_tests::trail::read_log;

fn ask(account: &str, seconds: u64) -> Make {
    Make {
        vault: slug("acme"),
        accounts: Some(vec![slug(account)]),
        duration_s: seconds,
        reason: "Mailbox migration".to_owned(),
        ticket: Some("T-4711".to_owned()),
        break_glass: false,
    }
}

async fn approve(person: &Person, request: RequestId) -> Result<Approved, LoginError> {
    let mut client = person.connect().await;
    let item = client.call(&Show { request, wait_s: None }).await?.item;
    let digest = item.content().digest().unwrap();
    assert_eq!(digest, item.digest, "what is shown is what is to be signed");
    client.call_signed(Approve { request, digest, step_up: None }, &person.signer()).await
}

/// A vault with two accounts, two managers, and two people who may ask.
struct House {
    organisation: Organisation,
    admin: Client,
    managers: [Person; 2],
    askers: [Person; 2],
}

impl House {
    async fn open() -> Self {
        let organisation = Organisation::found();
        let mut admin = organisation.admin.connect().await;
        create_vault(&mut admin, "acme", Scheme::Derived).await;
        let managers =
            [organisation.enrol(&mut admin, "mara", &[]).await, organisation.enrol(&mut admin, "mike", &[]).await];
        let askers =
            [organisation.enrol(&mut admin, "jana", &[]).await, organisation.enrol(&mut admin, "jack", &[]).await];
        for manager in &managers {
            give(&mut admin, "acme", &manager.slug, VaultRole::Manager).await;
        }
        for asker in &askers {
            give(&mut admin, "acme", &asker.slug, VaultRole::Eligible).await;
        }
        let rows = ["m365", "firewall"].map(|account| row(account, OtpKind::Totp, Algorithm::Sha1, 6, RFC_SHA1));
        import(&mut managers[0].connect().await, "acme", rows.to_vec()).await;
        Self { organisation, admin, managers, askers }
    }

    /// Changes the policy as the only admin there has been.
    async fn policy(&mut self, change: impl FnOnce(&mut VaultPolicy)) {
        let replaces = self.admin.call(&ShowPolicy { vault: slug("acme") }).await.unwrap().policy;
        let mut policy = replaces.clone();
        change(&mut policy);
        let set = Set { vault: slug("acme"), replaces, policy, dry_run: false };
        assert!(self.admin.call(&set).await.unwrap().in_force);
    }
}

#[tokio::test]
async fn access_is_asked_for_approved_by_distinct_people_and_ends() {
    let mut house = House::open().await;
    let two = Requests { approvals: 2, ..Requests::default() };
    house.policy(|policy| policy.requests = two).await;
    let [jana, jack] = house.askers.clone();
    let [mara, mike] = house.managers.clone();
    let mut client = jana.connect().await;
    assert_eq!(code(&mut client, "acme/m365").await, Some(ErrorKind::NeedsApproval));

    let made = client.call(&ask("m365", 3600)).await.unwrap();
    assert_eq!((made.status, made.needed, made.grant), (RequestStatus::Waiting, 2, None));
    assert_eq!(made.may_decide, [slug("admin"), slug("mara"), slug("mike")].to_vec());
    let request = made.request;
    // Whom it concerns is told at login.
    let notices = mara.connect().await.call(&Whoami {}).await.unwrap().session.notices;
    assert_eq!(notices, ["1 request waits for your decision: strongroom request ls"]);
    // Nobody approves for themselves or without the right, unseen or twice.
    assert_eq!(signed_kind(approve(&jana, request).await), Some(ErrorKind::Denied));
    let unseen = Approve { request, digest: "0".repeat(64), step_up: None };
    let refused = jack.connect().await.call_signed(unseen.clone(), &jack.signer()).await;
    assert_eq!(signed_kind(refused), Some(ErrorKind::Denied));
    let refused = mara.connect().await.call_signed(unseen, &mara.signer()).await;
    assert_eq!(signed_kind(refused), Some(ErrorKind::Conflict));
    let first = approve(&mara, request).await.unwrap();
    assert_eq!((first.status, first.missing), (RequestStatus::Waiting, 1));
    assert_eq!(signed_kind(approve(&mara, request).await), Some(ErrorKind::Conflict));
    assert_eq!(code(&mut client, "acme/m365").await, Some(ErrorKind::NeedsApproval), "one is not enough");

    // Whoever waits hears of it.
    let waiting = tokio::spawn({
        let jana = jana.clone();
        async move { jana.connect().await.call(&Show { request, wait_s: Some(20) }).await.unwrap().item.status }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let second = approve(&mike, request).await.unwrap();
    assert_eq!((second.status, second.missing), (RequestStatus::Approved, 0));
    assert_eq!(waiting.await.unwrap(), RequestStatus::Approved);
    assert_eq!(code(&mut client, "acme/m365").await, None);
    assert_eq!(code(&mut client, "acme/firewall").await, Some(ErrorKind::NeedsApproval), "what was asked for, no more");

    // Given up early, it is over at once.
    client.call(&Cancel { request }).await.unwrap();
    assert_eq!(code(&mut client, "acme/m365").await, Some(ErrorKind::NeedsApproval));
    assert_eq!(kind(client.call(&Cancel { request }).await), Some(ErrorKind::Conflict));

    // Denied and cancelled ones never come to anything.
    let denied = client.call(&ask("m365", 3600)).await.unwrap().request;
    mara.connect().await.call(&Deny { request: denied, reason: "use your own".to_owned() }).await.unwrap();
    assert_eq!(signed_kind(approve(&mike, denied).await), Some(ErrorKind::Conflict));
    let item = client.call(&Show { request: denied, wait_s: None }).await.unwrap().item;
    assert_eq!((item.status, item.answer.as_deref()), (RequestStatus::Denied, Some("use your own")));
    let cancelled = client.call(&ask("m365", 3600)).await.unwrap().request;
    assert_eq!(kind(jack.connect().await.call(&Cancel { request: cancelled }).await), Some(ErrorKind::NotFound));
    client.call(&Cancel { request: cancelled }).await.unwrap();
    assert_eq!(signed_kind(approve(&mara, cancelled).await), Some(ErrorKind::Conflict));

    // An approval of somebody who has lost the right to give it does not count.
    let third = client.call(&ask("m365", 3600)).await.unwrap().request;
    approve(&mara, third).await.unwrap();
    let grants = house.admin.call(&strongroom_proto::method::grant::List::default()).await.unwrap().items;
    let hers = grants.iter().find(|grant| grant.identity == Some(slug("mara"))).unwrap().grant;
    house.admin.call(&End { grant: hers, reason: None }).await.unwrap();
    let outcome = approve(&mike, third).await.unwrap();
    assert_eq!((outcome.status, outcome.missing), (RequestStatus::Waiting, 1));

    // The trail shows who approved, with signatures.
    let log = read_log(&mut mike.connect().await, Some("acme")).await;
    let approvals: Vec<_> = log.iter().filter(|entry| entry.is("request.approve", RecordOutcome::Ok)).collect();
    assert_eq!(approvals.len(), 4);
    assert!(approvals.iter().all(|entry| entry.record.detail.contains_key("signature")));
}

#[tokio::test]
async fn the_policy_says_how_long_with_which_ticket_and_who_else_is_kept_out() {
    let mut house = House::open().await;
    let rules = Requests { longest_h: 2, exclusive: true, ticket_required: true, ..Requests::default() };
    house
        .policy(|policy| {
            policy.requests = rules;
            policy.ticket_pattern = Some(TicketPattern::new("T-[0-9]+").unwrap());
        })
        .await;
    let [jana, jack] = house.askers.clone();
    let [mara, _] = house.managers.clone();
    let mut client = jana.connect().await;
    for flawed in [
        ask("m365", 2 * 3600 + 1),
        ask("m365", 59),
        Make { ticket: None, ..ask("m365", 60) },
        Make { ticket: Some("4711".to_owned()), ..ask("m365", 60) },
        Make { accounts: Some(vec![]), ..ask("m365", 60) },
        Make { reason: " ".to_owned(), ..ask("m365", 60) },
    ] {
        assert_eq!(kind(client.call(&flawed).await), Some(ErrorKind::InvalidParams), "{flawed:?}");
    }
    assert_eq!(kind(client.call(&ask("nothing", 60)).await), Some(ErrorKind::NotFound));
    let glass = Make { break_glass: true, ..ask("m365", 60) };
    assert_eq!(kind(client.call(&glass).await), Some(ErrorKind::Denied), "this policy knows no break-glass");

    // Checked out by one, kept from the other, also from a standing viewer.
    let hers = client.call(&ask("m365", 3600)).await.unwrap().request;
    approve(&mara, hers).await.unwrap();
    assert_eq!(code(&mut client, "acme/m365").await, None);
    let viewer = house.organisation.enrol(&mut house.admin, "viewer", &[]).await;
    give(&mut house.admin, "acme", "viewer", VaultRole::Viewer).await;
    let mut viewing = viewer.connect().await;
    assert_eq!(code(&mut viewing, "acme/m365").await, Some(ErrorKind::Conflict));
    assert_eq!(code(&mut viewing, "acme/firewall").await, None);
    let his = jack.connect().await.call(&ask("m365", 3600)).await.unwrap().request;
    assert_eq!(signed_kind(approve(&mara, his).await), Some(ErrorKind::Conflict));
    client.call(&Cancel { request: hers }).await.unwrap();
    approve(&mara, his).await.unwrap();
    assert_eq!(code(&mut jack.connect().await, "acme/m365").await, None);
}

#[tokio::test]
async fn admins_decide_only_once_a_request_has_escalated_or_nobody_else_may() {
    let mut house = House::open().await;
    let never = Requests { escalate_after_min: 24 * 60, ..Requests::default() };
    house.policy(|policy| policy.requests = never).await;
    let [jana, _] = house.askers.clone();
    let request = jana.connect().await.call(&ask("m365", 60)).await.unwrap();
    assert_eq!(request.may_decide, [slug("mara"), slug("mike")]);
    assert_eq!(signed_kind(approve(&house.organisation.admin, request.request).await), Some(ErrorKind::Denied));
    let grants = house.admin.call(&strongroom_proto::method::grant::List::default()).await.unwrap().items;
    for grant in grants.iter().filter(|grant| grant.role == VaultRole::Manager) {
        house.admin.call(&End { grant: grant.grant, reason: None }).await.unwrap();
    }
    assert_eq!(approve(&house.organisation.admin, request.request).await.unwrap().status, RequestStatus::Approved);
}

#[tokio::test]
async fn break_glass_gives_at_once_and_nags_until_somebody_else_has_looked() {
    let mut house = House::open().await;
    house.policy(|policy| policy.break_glass = Some(BreakGlass { longest_min: 5 })).await;
    let [jana, _] = house.askers.clone();
    let [mara, _] = house.managers.clone();
    let mut client = jana.connect().await;
    let glass = |seconds| Make { break_glass: true, accounts: None, ..ask("m365", seconds) };
    assert_eq!(kind(client.call(&glass(301)).await), Some(ErrorKind::InvalidParams));
    assert_eq!(kind(mara.connect().await.call(&glass(300)).await), Some(ErrorKind::Denied), "managers take no codes");
    let made = client.call(&glass(300)).await.unwrap();
    assert_eq!(made.status, RequestStatus::Approved);
    assert_eq!(code(&mut client, "acme/m365").await, None);

    let notices = |person: &Person| {
        let person = person.clone();
        async move { person.connect().await.call(&Whoami {}).await.unwrap().session.notices }
    };
    for person in [&jana, &mara, &house.organisation.admin] {
        let notices = notices(person).await;
        assert!(notices.iter().any(|notice| notice.contains("break-glass")), "{}: {notices:?}", person.slug);
    }
    let review = |justified| Review { request: made.request, justified, note: "firewall was down".to_owned() };
    assert_eq!(kind(client.call(&review(true)).await), Some(ErrorKind::Denied), "not by who took it");
    let mut reviewer = mara.connect().await;
    reviewer.call(&review(true)).await.unwrap();
    assert_eq!(kind(reviewer.call(&review(false)).await), Some(ErrorKind::Conflict), "once");
    for person in [&jana, &mara] {
        assert_eq!(notices(person).await, Vec::<String>::new(), "{}", person.slug);
    }
    // A frozen vault gives nothing in an emergency either.
    let freeze = strongroom_proto::method::vault::Freeze { vault: slug("acme"), reason: "incident".to_owned() };
    house.admin.call(&freeze).await.unwrap();
    assert_eq!(kind(client.call(&glass(300)).await), Some(ErrorKind::Frozen));
}

#[tokio::test]
async fn revoking_somebody_ends_what_they_asked_for_and_what_waits_for_them() {
    let mut house = House::open().await;
    let [jana, _] = house.askers.clone();
    let [mara, _] = house.managers.clone();
    let second = house.organisation.enrol(&mut house.admin, "second", &[OrgRole::Admin]).await;
    drop(second.connect().await);
    let request = jana.connect().await.call(&ask("m365", 60)).await.unwrap().request;
    let spare = Person::new("spare", house.organisation.root(), &house.organisation.launch.socket);
    let add = strongroom_proto::method::identity::KeyAdd {
        identity: slug("jana"),
        public_key: spare.public_key(),
        attestation: None,
    };
    let key = house.admin.call(&add).await.unwrap().pending.unwrap();
    let revoke = strongroom_proto::method::identity::Revoke { identity: slug("jana"), reason: "left".to_owned() };
    let revoked = house.admin.call(&revoke).await.unwrap();
    assert_eq!((revoked.grants, revoked.requests, revoked.vaults), (1, 1, 1));
    assert_eq!(signed_kind(approve(&mara, request).await), Some(ErrorKind::Conflict));
    assert_eq!(signed_kind(pending::confirm(&second, key).await), Some(ErrorKind::Conflict));
    assert!(spare.called("jana").try_connect().await.is_err());
    let open = mara.connect().await.call(&List { vault: None, all: false }).await.unwrap().items;
    assert!(open.is_empty(), "{open:?}");
}
