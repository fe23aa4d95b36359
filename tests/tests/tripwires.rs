//! What stops somebody who may take codes from taking too much of them: decoys, the harvest tripwire, limits, hours, windows that
//! are given once, suspension; and what scripts and contractors are held to.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::client::Client;
use strongroom_proto::error::ErrorKind;
use strongroom_proto::method::account::{List as Accounts, Remove};
use strongroom_proto::method::audit::Read;
use strongroom_proto::method::canary::{Clear, List as Canaries, Set as SetCanary};
use strongroom_proto::method::code::Release;
use strongroom_proto::method::grant::Give;
use strongroom_proto::method::identity::{Enrol, Resume, Suspend, Update};
use strongroom_proto::method::policy::{Set, Show};
use strongroom_proto::method::rotation::Dismiss;
use strongroom_proto::method::session::Whoami;
use strongroom_proto::policy::{Harvest, Hours, ServiceLimits, VaultPolicy};
use strongroom_proto::words::{Access, Algorithm, IdentityKind, OrgRole, OtpKind, Scheme, VaultRole};
use strongroom_tests::organisation::{Organisation, create_vault, give, import, row, slug};
use strongroom_tests::people::Person;
use strongroom_tests::refused::{code, kind, release, signed_kind};
use strongroom_tests::seeds::RFC_SHA1;
use strongroom_tests::trail::read_log;

const ACCOUNTS: [&str; 5] = ["dc01", "firewall", "hotp", "m365", "nas"];

/// A vault with five accounts, a manager and two viewers.
struct House {
    organisation: Organisation,
    admin: Client,
    mara: Person,
    jana: Person,
    jack: Person,
}

impl House {
    async fn open() -> Self {
        let organisation = Organisation::found();
        let mut admin = organisation.admin.connect().await;
        create_vault(&mut admin, "acme", Scheme::Derived).await;
        let [mara, jana, jack] = [
            organisation.enrol(&mut admin, "mara", &[]).await,
            organisation.enrol(&mut admin, "jana", &[]).await,
            organisation.enrol(&mut admin, "jack", &[]).await,
        ];
        give(&mut admin, "acme", "mara", VaultRole::Manager).await;
        for viewer in [&jana, &jack] {
            give(&mut admin, "acme", &viewer.slug, VaultRole::Viewer).await;
        }
        let rows = ACCOUNTS.map(|account| {
            let kind = if account == "hotp" { OtpKind::Hotp } else { OtpKind::Totp };
            row(account, kind, Algorithm::Sha1, 6, RFC_SHA1)
        });
        import(&mut mara.connect().await, "acme", rows.to_vec()).await;
        Self { organisation, admin, mara, jana, jack }
    }

    /// Changes the policy as the only admin there has been.
    async fn policy(&mut self, change: impl FnOnce(&mut VaultPolicy)) {
        let replaces = self.admin.call(&Show { vault: slug("acme") }).await.unwrap().policy;
        let mut policy = replaces.clone();
        change(&mut policy);
        let set = Set { vault: slug("acme"), replaces, policy, dry_run: false };
        assert!(self.admin.call(&set).await.unwrap().in_force);
    }

    async fn resume(&mut self, who: &str) {
        let resume = Resume { identity: slug(who), reason: "looked".to_owned() };
        self.admin.call(&resume).await.unwrap();
    }
}

async fn codes(client: &mut Client, accounts: &[&str]) -> Vec<Option<ErrorKind>> {
    let mut outcomes = Vec::new();
    for account in accounts {
        outcomes.push(code(client, &format!("acme/{account}")).await);
    }
    outcomes
}

/// An hour of the day that is not now, every day.
fn another_hour() -> Hours {
    let hour = |hours| (Timestamp::now() + SignedDuration::from_hours(hours)).strftime("%H:00").to_string();
    let hours = serde_json::json!({
        "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "from": hour(6), "until": hour(7), "zone": "UTC",
    });
    serde_json::from_value(hours).unwrap()
}

#[tokio::test]
async fn whoever_takes_a_code_of_a_decoy_gets_no_other() {
    let mut house = House::open().await;
    let decoy = "acme/dc01".parse::<strongroom_proto::ids::AccountAddress>().unwrap();
    let set = SetCanary { account: decoy.clone() };
    let mut manager = house.mara.connect().await;
    let mut thief = house.jana.connect().await;
    let before = thief.call(&Accounts::default()).await.unwrap().items;
    manager.call(&set).await.unwrap();
    assert_eq!(kind(manager.call(&set).await), Some(ErrorKind::Conflict));

    // To a viewer it looks like any other account, and asking tells nothing.
    assert_eq!(kind(thief.call(&set).await), Some(ErrorKind::Denied));
    assert_eq!(kind(thief.call(&Clear { account: decoy.clone() }).await), Some(ErrorKind::Denied));
    assert_eq!(kind(thief.call(&Clear { account: "acme/m365".parse().unwrap() }).await), Some(ErrorKind::Denied));
    assert!(thief.call(&Canaries {}).await.unwrap().items.is_empty());
    let seen = thief.call(&Accounts::default()).await.unwrap().items;
    assert_eq!(serde_json::to_value(&seen).unwrap(), serde_json::to_value(&before).unwrap());
    let read = Read { vault: Some(slug("acme")), from: Some(0), before: None, limit: None };
    let trail = thief.call(&read).await.unwrap().items;
    assert!(trail.iter().all(|item| !item.record.contains("canary")), "viewers read this log");

    // Its first code is given, on every connection nothing after it, and whoever has to look is told.
    let mut other = house.jana.connect().await;
    assert_eq!(codes(&mut thief, &["m365", "dc01", "m365"]).await, [None, None, Some(ErrorKind::Frozen)]);
    assert_eq!(code(&mut other, "acme/nas").await, Some(ErrorKind::Frozen));
    let refused = other.call(&release("acme/nas")).await.err().map(|error| error.to_string());
    assert!(refused.is_some_and(|refused| !refused.contains("canary")), "the thief is not told what it was");
    let notices = house.organisation.admin.connect().await.call(&Whoami {}).await.unwrap().session.notices;
    assert!(notices.iter().any(|notice| notice.starts_with("jana is on hold")), "{notices:?}");
    let items = manager.call(&Canaries {}).await.unwrap().items;
    assert!(items.len() == 1 && items[0].tripped_at.is_some());
    let auditor = house.organisation.enrol(&mut house.admin, "auditor", &[OrgRole::Auditor]).await;
    let log = read_log(&mut auditor.connect().await, None).await;
    let held = log.iter().find(|entry| entry.is("identity.hold", RecordOutcome::Ok)).unwrap();
    assert_eq!(held.record.detail["cause"], "canary");

    // A restart forgets neither hold nor decoy; an admin ends the one, a manager the other.
    house.organisation.running().stop();
    house.organisation.start();
    house.admin = house.organisation.admin.connect().await;
    assert_eq!(code(&mut house.jana.connect().await, "acme/nas").await, Some(ErrorKind::Frozen));
    house.resume("jana").await;
    let mut thief = house.jana.connect().await;
    assert_eq!(codes(&mut thief, &["nas", "dc01", "nas"]).await, [None, None, Some(ErrorKind::Frozen)]);
    let mut manager = house.mara.connect().await;
    let remove = Remove { account: decoy, reason: "gone".to_owned() };
    manager.call(&remove).await.unwrap();
    assert!(manager.call(&Canaries {}).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn a_harvest_is_stopped_and_a_limit_holds_across_restarts() {
    let mut house = House::open().await;
    house.policy(|policy| policy.harvest = Some(Harvest { accounts: 3, within_min: 10 })).await;
    let mut thief = house.jana.connect().await;
    // The same account again and again is work, one account too many is a harvest.
    assert_eq!(codes(&mut thief, &["dc01", "dc01", "m365", "nas", "m365"]).await, [None; 5]);
    house.organisation.running().kill();
    house.organisation.start();
    house.admin = house.organisation.admin.connect().await;
    let mut thief = house.jana.connect().await;
    assert_eq!(codes(&mut thief, &["firewall", "dc01"]).await, [Some(ErrorKind::Frozen); 2]);
    assert_eq!(codes(&mut house.jack.connect().await, &["firewall"]).await, [None], "others work on");
    house.resume("jana").await;
    assert_eq!(codes(&mut thief, &["firewall", "dc01", "nas"]).await, [None; 3], "it counts anew");

    house.policy(|policy| (policy.harvest, policy.releases_per_hour) = (None, Some(5))).await;
    let mut other = house.jack.connect().await;
    assert_eq!(codes(&mut other, &["hotp", "hotp", "hotp", "hotp", "hotp"]).await[..4], [None; 4]);
    assert_eq!(code(&mut other, "acme/m365").await, Some(ErrorKind::RateLimited));
    house.organisation.running().stop();
    house.organisation.start();
    assert_eq!(code(&mut house.jack.connect().await, "acme/m365").await, Some(ErrorKind::RateLimited));
}

#[tokio::test]
async fn hours_windows_reasons_and_tickets_are_asked_for() {
    let mut house = House::open().await;
    let mut client = house.jana.connect().await;
    house.policy(|policy| policy.hours = Some(another_hour())).await;
    assert_eq!(code(&mut client, "acme/m365").await, Some(ErrorKind::Denied));
    let items = client.call(&Accounts::default()).await.unwrap().items;
    assert!(items.iter().all(|item| item.access == Access::Closed), "and the list says so");
    house.policy(|policy| (policy.hours, policy.exclusive_window) = (None, true)).await;
    // At the end of a window the two calls would fall into different ones.
    let mut other = house.jack.connect().await;
    let fresh = Release { min_remaining_s: Some(15), ..release("acme/m365") };
    client.call(&fresh).await.unwrap();
    assert_eq!(code(&mut other, "acme/m365").await, Some(ErrorKind::Conflict));
    assert_eq!(code(&mut client, "acme/m365").await, None, "whoever has it may look again");
    house.organisation.running().stop();
    house.organisation.start();
    house.admin = house.organisation.admin.connect().await;
    let (mut client, mut other) = (house.jana.connect().await, house.jack.connect().await);
    client.call(&fresh).await.unwrap();
    assert_eq!(code(&mut other, "acme/m365").await, Some(ErrorKind::Conflict));

    house.policy(|policy| (policy.exclusive_window, policy.reason_required) = (false, true)).await;
    assert_eq!(code(&mut client, "acme/nas").await, Some(ErrorKind::InvalidParams));
    let reasoned = Release { reason: Some("restore".to_owned()), ..release("acme/nas") };
    client.call(&reasoned).await.unwrap();
    house.policy(|policy| policy.ticket_required = true).await;
    assert_eq!(kind(client.call(&reasoned).await), Some(ErrorKind::InvalidParams));
    client.call(&Release { ticket: Some("T-1".to_owned()), ..reasoned }).await.unwrap();
}

#[tokio::test]
async fn a_suspension_cuts_off_at_once_and_ends_by_somebody_elses_hand() {
    let mut house = House::open().await;
    let mut client = house.jana.connect().await;
    assert_eq!(code(&mut client, "acme/m365").await, None);
    let suspend = Suspend { identity: slug("jana"), reason: "laptop lost".to_owned() };
    let suspended = house.admin.call(&suspend).await.unwrap();
    assert!(suspended.sessions == 1 && suspended.drained);
    assert!(client.call(&Whoami {}).await.is_err(), "its session is gone");
    assert!(house.jana.try_connect().await.is_err());
    assert_eq!(kind(house.admin.call(&suspend).await), Some(ErrorKind::Conflict));
    let own = Suspend { identity: slug("admin"), reason: "x".to_owned() };
    assert_eq!(kind(house.admin.call(&own).await), Some(ErrorKind::Denied));
    assert_eq!(kind(house.mara.connect().await.call(&suspend).await), Some(ErrorKind::Denied));
    house.organisation.running().stop();
    house.organisation.start();
    house.admin = house.organisation.admin.connect().await;
    assert!(house.jana.try_connect().await.is_err());
    house.resume("jana").await;
    assert_eq!(code(&mut house.jana.connect().await, "acme/m365").await, None, "its grants stayed");
}

#[tokio::test]
async fn scripts_take_codes_of_their_accounts_and_contractors_end_on_their_day() {
    let mut house = House::open().await;
    let (root, socket) = (house.organisation.root().to_owned(), house.organisation.launch.socket.clone());
    let enrol = |person: &Person, kind, until, service| Enrol {
        identity: slug(&person.slug),
        name: person.slug.clone(),
        kind,
        roles: vec![],
        public_key: person.public_key(),
        until,
        service,
        attestation: None,
    };
    let give = |who: &str, role, accounts: Option<Vec<_>>| Give {
        vault: slug("acme"),
        identity: Some(slug(who)),
        group: None,
        role,
        accounts,
        from: None,
        until: None,
        hours: None,
        reason: None,
        ticket: None,
    };
    let robot = Person::new("robot", &root, &socket);
    let limits = ServiceLimits { releases_per_hour: Some(2), ..ServiceLimits::default() };
    house.admin.call(&enrol(&robot, IdentityKind::Service, None, Some(limits.clone()))).await.unwrap();
    for flawed in [give("robot", VaultRole::Viewer, None), give("robot", VaultRole::Manager, None)] {
        assert_eq!(kind(house.admin.call(&flawed).await), Some(ErrorKind::InvalidParams));
    }
    house.admin.call(&give("robot", VaultRole::Viewer, Some(vec![slug("nas")]))).await.unwrap();
    // A viewer of one account learns of no other by what is refused.
    let narrow = house.organisation.enrol(&mut house.admin, "narrow", &[]).await;
    house.admin.call(&give("narrow", VaultRole::Viewer, Some(vec![slug("nas")]))).await.unwrap();
    let mut client = narrow.connect().await;
    for account in ["acme/m365", "acme/nothing"] {
        let account: strongroom_proto::ids::AccountAddress = account.parse().unwrap();
        let dismiss = Dismiss { account: account.clone(), reason: "x".to_owned() };
        assert_eq!(kind(client.call(&SetCanary { account: account.clone() }).await), Some(ErrorKind::NotFound));
        assert_eq!(kind(client.call(&Clear { account }).await), Some(ErrorKind::NotFound));
        assert_eq!(kind(client.call(&dismiss).await), Some(ErrorKind::NotFound));
    }
    let mut script = robot.connect().await;
    let expected = [None, Some(ErrorKind::NotFound), None, Some(ErrorKind::RateLimited)];
    assert_eq!(codes(&mut script, &["nas", "m365", "nas", "nas"]).await, expected);
    let read = strongroom_proto::method::audit::Checkpoint { vault: Some(slug("acme")) };
    assert_eq!(kind(script.call(&read).await), Some(ErrorKind::Denied), "scripts read no trail");
    // Bound to another user of the system, or to another hour, it gets nothing.
    let mut bind = async |service: ServiceLimits| {
        let update = Update { identity: slug("robot"), name: None, until: None, service: Some(service) };
        house.admin.call(&update).await.unwrap();
    };
    bind(ServiceLimits { uid: Some(4_000_000), ..ServiceLimits::default() }).await;
    assert_eq!(code(&mut script, "acme/nas").await, Some(ErrorKind::Denied));
    bind(ServiceLimits { hours: Some(another_hour()), ..ServiceLimits::default() }).await;
    assert_eq!(code(&mut script, "acme/nas").await, Some(ErrorKind::Denied));
    bind(ServiceLimits::default()).await;
    assert_eq!(code(&mut script, "acme/nas").await, None);

    let carl = Person::new("carl", &root, &socket);
    let endless = enrol(&carl, IdentityKind::Contractor, None, None);
    assert_eq!(kind(house.admin.call(&endless).await), Some(ErrorKind::InvalidParams));
    let until = Some(Timestamp::now() + SignedDuration::from_secs(4));
    house.admin.call(&Enrol { until, ..endless }).await.unwrap();
    house.admin.call(&give("carl", VaultRole::Viewer, None)).await.unwrap();
    let mut client = carl.connect().await;
    assert_eq!(code(&mut client, "acme/m365").await, None);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_ne!(code(&mut client, "acme/m365").await, None, "the session was open and is of no use");
    assert!(carl.try_connect().await.is_err());
}

#[tokio::test]
async fn a_signed_release_is_proved_later_with_ssh_keygen_alone() {
    let mut house = House::open().await;
    house.policy(|policy| policy.signed_release = true).await;
    let mut client = house.jana.connect().await;
    assert_eq!(code(&mut client, "acme/m365").await, Some(ErrorKind::NeedsSignature));
    let wanted = Release { ticket: Some("T-7".to_owned()), ..release("acme/m365") };
    assert_eq!(
        signed_kind(client.call_signed(wanted.clone(), &house.jack.signer()).await),
        Some(ErrorKind::Unauthenticated)
    );
    client.call_signed(wanted, &house.jana.signer()).await.unwrap();

    // From here on only the record, its openings and public keys are used.
    let read =
        strongroom_proto::method::audit::Read { vault: Some(slug("acme")), from: None, before: None, limit: Some(10) };
    let items = house.mara.connect().await.call(&read).await.unwrap().items;
    let item = items.iter().find(|item| item.record.contains("\"signature\"")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&item.record).unwrap();
    assert_eq!((record["event"].as_str(), record["outcome"].as_str()), (Some("code.release"), Some("ok")));
    let opening = |field: &str| &item.openings.iter().find(|opening| opening.field == field).unwrap().value;
    let text = |path: &[&str]| {
        let value = path.iter().fold(&record, |value, member| &value[member]);
        value.as_str().unwrap_or_else(|| panic!("{path:?}")).to_owned()
    };
    let params = format!("{{\"account\":\"{}\",\"ticket\":\"{}\"}}", opening("account.address"), opening("ticket"));
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("params"), params).unwrap();
    let digest = strongroom_tests::tools::run("sha256sum", &[&path("params")])[..64].to_owned();
    assert_eq!(text(&["detail", "params_sha256"]), digest, "the digest covers what was asked for");
    std::fs::write(path("agent.pub"), house.organisation.agent_key()).unwrap();
    let listed = strongroom_tests::tools::run("ssh-keygen", &["-lf", &path("agent.pub")]);
    let agent = listed.split(' ').nth(1).unwrap();
    let signed = format!(
        "strongroom-step-up-v1\nagent {agent}\ninstance {}\nnonce {}\nkey {}\nidentity {}\npurpose code.release {digest}\n",
        text(&["agent"]),
        text(&["detail", "nonce"]),
        text(&["actor", "key"]),
        opening("actor.name"),
    );
    std::fs::write(path("text"), &signed).unwrap();
    std::fs::write(path("other"), signed.replace("identity jana", "identity jack")).unwrap();
    std::fs::write(path("signature"), text(&["detail", "signature"])).unwrap();
    std::fs::write(path("allowed"), format!("somebody {}", house.jana.public_key())).unwrap();
    let verifies = |text: &str| {
        let command = format!(
            "ssh-keygen -Y verify -f {} -I somebody -n strongroom-step-up@v1 -s {} < {}",
            path("allowed"),
            path("signature"),
            path(text)
        );
        std::process::Command::new("sh").args(["-c", &command]).output().unwrap().status.success()
    };
    assert!(verifies("text"));
    assert!(!verifies("other"), "and nobody else's call");
    whole_log(&house, &path, &listed).await;
}

/// The same for a whole exported log, by `strongroom audit verify --signatures`: every signature, and none that is missing.
async fn whole_log(house: &House, path: &impl Fn(&str) -> String, listed: &str) {
    let export = path("export");
    house.mara.succeed(&["audit", "export", "acme", "--out", &export]);
    let agent = listed.split(' ').nth(1).unwrap();
    let verify = |more: &[&str]| {
        let program = strongroom_tests::tools::program("strongroom");
        let mut command = std::process::Command::new(program);
        command.args(["audit", "verify", &export, "--key", agent, "--json", "--signatures"]).args(more);
        let output = command.env_clear().env("HOME", "/nonexistent").output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let key = strongroom_tests::tools::run(
        "ssh-keygen",
        &["-lf", &house.jana.key.with_extension("pub").display().to_string()],
    );
    let key = key.split(' ').nth(1).unwrap();
    for more in [&[][..], &["--signers", &path("allowed")]] {
        let (code, said, complaint) = verify(more);
        assert_eq!(code, 0, "{complaint}");
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        let signatures = &said["signatures"];
        assert_eq!((&signatures["proved"], &signatures["keys"][key]), (&1.into(), &1.into()), "{signatures}");
        assert_eq!(signatures["signers_given"], !more.is_empty());
    }
    std::fs::write(path("strangers"), house.jack.public_key()).unwrap();
    let (code, _, complaint) = verify(&["--signers", &path("strangers")]);
    assert!(code == 1 && complaint.contains(key) && complaint.contains("none of the signers"), "{complaint}");
    std::fs::write(path("strangers"), "somebody without a key\n").unwrap();
    let (code, _, complaint) = verify(&["--signers", &path("strangers")]);
    assert!(code != 0 && complaint.contains("line 1 holds no public key"), "{complaint}");
    // Whoever withholds the name withholds the text; what is left says so.
    std::fs::remove_file(format!("{export}/openings.ndjson")).unwrap();
    let said: serde_json::Value = serde_json::from_str(&verify(&[]).1).unwrap();
    assert_eq!((&said["signatures"]["proved"], &said["signatures"]["withheld"]), (&0.into(), &1.into()));
}
