//! The rules of two people as a table of attacks: each is refused with its kind, and none leaves a confirmed ceremony behind.

use ssh_key::HashAlg;
use strongroom_proto::client::{CallError, Client, LoginError, Signer as _};
use strongroom_proto::encoding;
use strongroom_proto::error::ErrorKind;
use strongroom_proto::ids::CeremonyId;
use strongroom_proto::login::{LOGIN_NAMESPACE, STEP_UP_NAMESPACE, step_up_text};
use strongroom_proto::method::agent::Status;
use strongroom_proto::method::ceremony::{Cancel, Confirm, Propose, Run, Show};
use strongroom_proto::method::grant::{End, Item, List as Grants};
use strongroom_proto::method::identity::{KeyAdd, KeyRemove, Revoke};
use strongroom_proto::method::session::{Challenge, StepUp};
use strongroom_proto::method::vault::{Freeze, Thaw};
use strongroom_proto::words::{Algorithm, CeremonyKind, CeremonyStatus, OrgRole, OtpKind, Scheme, VaultRole};
use strongroom_tests::ceremony::{RecoveryPair, TwoPeople, confirm, proposal, propose};
use strongroom_tests::organisation::{give, import, row, slug};
use strongroom_tests::pending;
use strongroom_tests::people::Person;
use strongroom_tests::seeds::RFC_SHA1;
use strongroom_tests::trail::read_log;

/// What a forger puts into the text and around it. The default is the truth.
#[derive(Default)]
struct Forged<'a> {
    namespace: Option<&'a str>,
    method: Option<&'a str>,
    nonce: Option<String>,
    identity: Option<&'a str>,
    signer: Option<&'a Person>,
    /// The call that was signed, if it is another one.
    signed: Option<Confirm>,
}

fn unsigned(ceremony: CeremonyId, digest: &str) -> Confirm {
    Confirm { ceremony, digest: digest.to_owned(), step_up: None }
}

/// Confirms with a signature made by hand; gives the call as it was sent and the refusal.
async fn forge(
    people: &TwoPeople,
    client: &mut Client,
    call: Confirm,
    forged: Forged<'_>,
) -> (Confirm, Option<ErrorKind>) {
    let signed = forged.signed.clone().unwrap_or_else(|| call.clone());
    let params_sha256 = encoding::digest(&signed).unwrap();
    let challenge = Challenge { method: "ceremony.confirm".to_owned(), params_sha256: params_sha256.clone() };
    let nonce = client.call(&challenge).await.unwrap().nonce;
    let agent = ssh_key::PublicKey::from_openssh(&people.organisation.agent_key()).unwrap();
    let instance = client.call(&Status {}).await.unwrap().instance;
    let key = ssh_key::PublicKey::from_openssh(&people.manager.public_key()).unwrap();
    let text = step_up_text(
        &agent.fingerprint(HashAlg::Sha256).to_string(),
        instance,
        forged.nonce.as_deref().unwrap_or(&nonce),
        &key.fingerprint(HashAlg::Sha256).to_string(),
        &slug(forged.identity.unwrap_or("manager")),
        forged.method.unwrap_or("ceremony.confirm"),
        &params_sha256,
    );
    let signer = forged.signer.unwrap_or(&people.manager).signer();
    let signature = signer.sign(forged.namespace.unwrap_or(STEP_UP_NAMESPACE), text.as_bytes()).unwrap();
    let nonce = forged.nonce.unwrap_or(nonce);
    let call = Confirm { step_up: Some(StepUp { nonce, signature }), ..call };
    let kind = kind_of(client.call(&call).await);
    (call, kind)
}

fn kind_of<T>(result: Result<T, CallError>) -> Option<ErrorKind> {
    match result {
        Ok(_) => None,
        Err(CallError::Failure(failure)) => Some(failure.kind),
        Err(other) => panic!("{other}"),
    }
}

fn login_kind<T>(result: Result<T, LoginError>) -> Option<ErrorKind> {
    match result {
        Err(LoginError::Call(error)) => kind_of::<T>(Err(error)),
        Err(other) => panic!("{other}"),
        Ok(_) => None,
    }
}

async fn status(person: &Person, ceremony: CeremonyId) -> CeremonyStatus {
    person.connect().await.call(&Show { ceremony }).await.unwrap().item.status
}

#[tokio::test]
async fn a_signature_is_good_for_one_call_of_one_person_and_nothing_else() {
    let people = TwoPeople::found(&[("acme", Scheme::Derived), ("blue", Scheme::Derived)]).await;
    let admin = &people.organisation.admin;
    let first = propose(admin, proposal("acme", CeremonyKind::RotateKey)).await.unwrap();
    let second = propose(admin, proposal("blue", CeremonyKind::RotateKey)).await.unwrap();
    let call = || unsigned(first.ceremony, &first.digest);
    let other = || unsigned(second.ceremony, &second.digest);
    let mut client = people.manager.connect().await;
    let refused = Some(ErrorKind::Unauthenticated);
    for (attack, forged) in [
        ("a login's namespace", Forged { namespace: Some(LOGIN_NAMESPACE), ..Forged::default() }),
        ("another method's purpose", Forged { method: Some("ceremony.cancel"), ..Forged::default() }),
        ("a nonce of one's own", Forged { nonce: Some("ab".repeat(32)), ..Forged::default() }),
        ("another name", Forged { identity: Some("admin"), ..Forged::default() }),
        ("another person's key", Forged { signer: Some(admin), ..Forged::default() }),
        ("a signature for another ceremony", Forged { signed: Some(other()), ..Forged::default() }),
        ("a signature over other content", {
            Forged { signed: Some(unsigned(first.ceremony, &second.digest)), ..Forged::default() }
        }),
    ] {
        assert_eq!(forge(&people, &mut client, call(), forged).await.1, refused, "{attack}");
    }
    assert_eq!(kind_of(client.call(&call()).await), Some(ErrorKind::InvalidParams), "no signature");
    let moved = unsigned(first.ceremony, &second.digest);
    let (_, kind) = forge(&people, &mut client, moved, Forged::default()).await;
    assert_eq!(kind, Some(ErrorKind::Conflict), "well signed, but not what was proposed");
    for name in [&first, &second] {
        assert_eq!(status(admin, name.ceremony).await, CeremonyStatus::Proposed);
    }

    // The true one is taken once: not again, not on another connection, not for the other ceremony.
    let (sent, kind) = forge(&people, &mut client, call(), Forged::default()).await;
    assert_eq!(kind, None);
    assert_eq!(kind_of(client.call(&sent).await), refused, "replayed");
    let mut fresh = people.manager.connect().await;
    assert_eq!(kind_of(fresh.call(&sent).await), refused, "replayed on another connection");
    let replay = Confirm { step_up: sent.step_up.clone(), ..other() };
    assert_eq!(kind_of(fresh.call(&replay).await), refused, "replayed for another ceremony");
    let (_, kind) = forge(&people, &mut client, call(), Forged::default()).await;
    assert_eq!(kind, Some(ErrorKind::Conflict), "confirmed already");
    assert_eq!(status(admin, second.ceremony).await, CeremonyStatus::Proposed);
    let mut auditor = people.organisation.admin.connect().await;
    let log = read_log(&mut auditor, None).await;
    let recorded = log.iter().filter(|entry| entry.record.event == "session.step_up").count();
    assert_eq!(recorded, 10, "every refused signature is on record");
}

#[tokio::test]
async fn nobody_holds_a_ceremony_alone_or_without_the_right() {
    let people = TwoPeople::found(&[("acme", Scheme::Derived)]).await;
    let admin = &people.organisation.admin;
    assert_eq!(
        login_kind(propose(&people.tech, proposal("acme", CeremonyKind::RotateKey)).await),
        Some(ErrorKind::Denied)
    );
    let proposed = propose(admin, proposal("acme", CeremonyKind::RotateKey)).await.unwrap();
    assert_eq!(proposed.may_confirm, [slug("manager")], "the one admin alone is nobody's second person");
    assert_eq!(login_kind(confirm(admin, proposed.ceremony).await), Some(ErrorKind::Denied), "one's own");
    let mut tech = people.tech.connect().await;
    let read = unsigned(proposed.ceremony, &proposed.digest);
    assert_eq!(login_kind(tech.call_signed(read, &people.tech.signer()).await), Some(ErrorKind::Denied));
    let run = Run { ceremony: proposed.ceremony, recovery_key: None };
    assert_eq!(kind_of(admin.connect().await.call(&run).await), Some(ErrorKind::NeedsApproval));
    let second = propose(admin, proposal("acme", CeremonyKind::Destroy)).await;
    assert_eq!(login_kind(second), Some(ErrorKind::Conflict), "one at a time");
    confirm(&people.manager, proposed.ceremony).await.unwrap();
    assert_eq!(kind_of(tech.call(&run).await), Some(ErrorKind::Denied));
}

#[tokio::test]
async fn a_ceremony_dies_with_the_right_of_either_of_its_people() {
    let mut people = TwoPeople::found(&[("acme", Scheme::Derived)]).await;
    let vault = || proposal("acme", CeremonyKind::RotateKey);
    let witness = people.organisation.enrol(&mut people.admin, "witness", &[]).await;
    give(&mut people.admin, "acme", "witness", VaultRole::Manager).await;
    let deputy = people.organisation.enrol(&mut people.admin, "deputy", &[OrgRole::Admin]).await;

    // The proposer is revoked before the confirmation.
    let proposed = propose(&deputy, vault()).await.unwrap();
    let revoke = Revoke { identity: slug("deputy"), reason: "left".to_owned() };
    people.admin.call(&revoke).await.unwrap();
    assert_eq!(login_kind(confirm(&people.manager, proposed.ceremony).await), Some(ErrorKind::Denied));

    // The confirmer loses the grant between confirmation and run; a dead ceremony is in nobody's way.
    let second = people.agree(vault()).await;
    let list = Grants { vault: Some(slug("acme")), identity: None };
    let grants = people.admin.call(&list).await.unwrap().items;
    let is_theirs = |grant: &&Item| grant.role == VaultRole::Manager && grant.identity == Some(slug("manager"));
    let grant = grants.iter().find(is_theirs).unwrap().grant;
    people.admin.call(&End { grant, reason: None }).await.unwrap();
    let run = |ceremony| Run { ceremony, recovery_key: None };
    assert_eq!(kind_of(people.admin.call(&run(second)).await), Some(ErrorKind::Denied));
    give(&mut people.admin, "acme", "manager", VaultRole::Manager).await;
    people.admin.call(&Cancel { ceremony: second, reason: None }).await.unwrap();
    assert_eq!(kind_of(people.admin.call(&run(second)).await), Some(ErrorKind::Conflict), "cancelled");

    // The key that confirmed is removed: it may be in other hands.
    let third = people.agree(vault()).await;
    let spare = Person::new("manager-spare", people.organisation.root(), &people.organisation.launch.socket);
    let add = KeyAdd { identity: slug("manager"), public_key: spare.public_key(), attestation: None };
    let pending = people.admin.call(&add).await.unwrap().pending.expect("a second admin has been active");
    pending::confirm(&witness, pending).await.unwrap();
    let key = ssh_key::PublicKey::from_openssh(&people.manager.public_key()).unwrap();
    let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
    people.admin.call(&KeyRemove { identity: slug("manager"), fingerprint }).await.unwrap();
    assert_eq!(kind_of(people.admin.call(&run(third)).await), Some(ErrorKind::Denied));
}

#[tokio::test]
async fn a_right_that_is_given_back_does_not_bring_an_old_ceremony_back() {
    let mut people = TwoPeople::found(&[("acme", Scheme::Derived)]).await;
    let deputy = people.organisation.enrol(&mut people.admin, "deputy", &[OrgRole::Admin]).await;
    let old = people.agree(proposal("acme", CeremonyKind::RotateKey)).await;
    let list = Grants { vault: Some(slug("acme")), identity: None };
    let grants = people.admin.call(&list).await.unwrap().items;
    let grant = grants.iter().find(|grant| grant.role == VaultRole::Manager).unwrap().grant;
    people.admin.call(&End { grant, reason: None }).await.unwrap();

    let new = propose(&people.organisation.admin, proposal("acme", CeremonyKind::RotateKey)).await.unwrap().ceremony;
    assert_eq!(status(&people.organisation.admin, old).await, CeremonyStatus::Cancelled);
    confirm(&deputy, new).await.unwrap();
    give(&mut people.admin, "acme", "manager", VaultRole::Manager).await;
    let run = |ceremony| Run { ceremony, recovery_key: None };
    assert_eq!(kind_of(people.admin.call(&run(old)).await), Some(ErrorKind::Conflict));
    people.finish(new).await;
    assert_eq!(kind_of(people.admin.call(&run(old)).await), Some(ErrorKind::Conflict));
    let mut manager = people.manager.connect().await;
    let buried = read_log(&mut manager, Some("acme")).await;
    let buried = buried.iter().find(|entry| entry.record.event == "ceremony.cancel").unwrap();
    assert_eq!(buried.record.detail["ceremony"], old.to_string());
    assert_eq!(buried.record.detail["dead"], 1);
}

#[tokio::test]
async fn a_hand_over_stands_still_while_its_vault_is_frozen() {
    let people = TwoPeople::found(&[("acme", Scheme::Derived)]).await;
    let mut manager = people.manager.connect().await;
    let seed = row("a0", OtpKind::Hotp, Algorithm::Sha1, 6, RFC_SHA1);
    import(&mut manager, "acme", vec![seed]).await;
    let recipient = RecoveryPair::new().recipient();
    let wanted = || Propose { recipient: Some(recipient.clone()), ..proposal("acme", CeremonyKind::HandOver) };
    let freeze = || Freeze { vault: slug("acme"), reason: "a test".to_owned() };
    let thaw = || Thaw { vault: slug("acme"), reason: "a test".to_owned() };
    let mut admin = people.organisation.admin.connect().await;

    admin.call(&freeze()).await.unwrap();
    assert_eq!(login_kind(propose(&people.organisation.admin, wanted()).await), Some(ErrorKind::Frozen));
    admin.call(&thaw()).await.unwrap();
    let id = propose(&people.organisation.admin, wanted()).await.unwrap().ceremony;
    admin.call(&freeze()).await.unwrap();
    assert_eq!(login_kind(confirm(&people.manager, id).await), Some(ErrorKind::Frozen));
    admin.call(&thaw()).await.unwrap();
    confirm(&people.manager, id).await.unwrap();
    admin.call(&freeze()).await.unwrap();
    let run = Run { ceremony: id, recovery_key: Some(people.recovery.secret().into()) };
    assert_eq!(kind_of(admin.call(&run).await), Some(ErrorKind::Frozen));
    admin.call(&thaw()).await.unwrap();
    assert!(people.finish(id).await.file.is_some());
}

#[tokio::test]
async fn a_destruction_that_died_before_it_destroyed_anything_can_be_cancelled_by_an_admin() {
    let mut people = TwoPeople::found(&[("acme", Scheme::Derived)]).await;
    let mut manager = people.manager.connect().await;
    import(&mut manager, "acme", vec![row("a0", OtpKind::Hotp, Algorithm::Sha1, 6, RFC_SHA1)]).await;
    if !people.organisation.token.breaks("whose files can be moved away") {
        return;
    }
    let ceremony = people.agree(proposal("acme", CeremonyKind::Destroy)).await;
    // It begins, and the token is away before anything is signed or destroyed.
    let (tokens, away) = (people.organisation.tokens(), people.organisation.tokens().with_extension("away"));
    std::fs::rename(&tokens, &away).unwrap();
    let run = Run { ceremony, recovery_key: None };
    assert_eq!(kind_of(people.admin.call(&run).await), Some(ErrorKind::HsmUnavailable));
    std::fs::rename(&away, &tokens).unwrap();
    people.organisation.running().stop();
    people.organisation.start();

    let mut admin = people.organisation.admin.connect().await;
    let cancel = Cancel { ceremony, reason: None };
    assert_eq!(kind_of(admin.call(&cancel).await), Some(ErrorKind::Conflict), "it is alive: run it again");
    let grants = admin.call(&Grants { vault: Some(slug("acme")), identity: None }).await.unwrap().items;
    let grant = grants.iter().find(|grant| grant.role == VaultRole::Manager).unwrap().grant;
    admin.call(&End { grant, reason: None }).await.unwrap();
    let deputy = people.organisation.enrol(&mut admin, "deputy", &[]).await;
    give(&mut admin, "acme", "deputy", VaultRole::Manager).await;
    assert_eq!(
        login_kind(propose(&deputy, proposal("acme", CeremonyKind::RotateKey)).await),
        Some(ErrorKind::Conflict)
    );
    assert_eq!(kind_of(deputy.connect().await.call(&cancel).await), Some(ErrorKind::Denied), "not an admin");
    admin.call(&cancel).await.unwrap();
    assert_eq!(status(&people.organisation.admin, ceremony).await, CeremonyStatus::Cancelled);
    assert_eq!(people.tech.call(&["code", "acme/a0"]).status.code().map(|code| code != 0), Some(true), "still frozen");
    admin.call(&Thaw { vault: slug("acme"), reason: "a test".to_owned() }).await.unwrap();
    people.tech.succeed(&["code", "acme/a0"]);
}
