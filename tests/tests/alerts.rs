//! What raises an alarm is told to those whom it concerns and to nobody else; it stands on record who was told, who answered, and
//! that nobody did in time.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::client::Client;
use strongroom_proto::error::ErrorKind;
use strongroom_proto::ids::IdentityId;
use strongroom_proto::method::agent::{OpenAlerts, Status};
use strongroom_proto::method::alert::{Ack, Item, List};
use strongroom_proto::method::audit::Read;
use strongroom_proto::method::canary::Set as SetCanary;
use strongroom_proto::method::policy::{Set, Show};
use strongroom_proto::method::request::Make;
use strongroom_proto::method::session::Whoami;
use strongroom_proto::policy::BreakGlass;
use strongroom_proto::words::{OrgRole, VaultRole};
use strongroom_tests::clients::Clients;
use strongroom_tests::organisation::{give, slug};
use strongroom_tests::people::Person;
use strongroom_tests::refused::{code, kind};
use strongroom_tests::trail::{Entry, read_log};

/// How long an escalation may take to show.
const PATIENCE: Duration = Duration::from_secs(30);

/// Two clients, and who has to do with only one of them.
struct House {
    clients: Clients,
    /// Manager of acme.
    mara: Person,
    /// May ask for access to acme.
    jana: Person,
    /// Manager of bluewater.
    bob: Person,
    auditor: Person,
}

impl House {
    async fn open() -> Self {
        let mut clients = Clients::found().await;
        let mut people = Vec::new();
        for (name, roles) in [("mara", &[][..]), ("jana", &[]), ("bob", &[]), ("auditor", &[OrgRole::Auditor])] {
            people.push(clients.organisation.enrol(&mut clients.admin, name, roles).await);
        }
        for (vault, who, role) in [
            ("acme", "mara", VaultRole::Manager),
            ("acme", "jana", VaultRole::Eligible),
            ("bluewater", "bob", VaultRole::Manager),
        ] {
            give(&mut clients.admin, vault, who, role).await;
        }
        let [mara, jana, bob, auditor] = people.try_into().unwrap();
        let mut house = Self { clients, mara, jana, bob, auditor };
        let admin = &mut house.clients.admin;
        let replaces = admin.call(&Show { vault: slug("acme") }).await.unwrap().policy;
        let mut policy = replaces.clone();
        policy.break_glass = Some(BreakGlass { longest_min: 5 });
        let set = Set { vault: slug("acme"), replaces, policy, dry_run: false };
        assert!(admin.call(&set).await.unwrap().in_force);
        house
    }

    /// Somebody breaks the glass of acme.
    async fn break_glass(&self, who: &Person) {
        let glass = Make {
            vault: slug("acme"),
            accounts: None,
            duration_s: 120,
            reason: "the domain controller is down".to_owned(),
            ticket: None,
            break_glass: true,
        };
        who.connect().await.call(&glass).await.unwrap();
    }

    /// Starts the agent anew with further lines in its configuration.
    async fn restart_with(&mut self, lines: &str) {
        let organisation = &mut self.clients.organisation;
        organisation.running().stop();
        let mut text = std::fs::read_to_string(&organisation.launch.config).unwrap();
        let _ = write!(text, "\n{lines}");
        std::fs::write(&organisation.launch.config, text).unwrap();
        organisation.start();
        self.clients.admin = organisation.admin.connect().await;
    }

    async fn log(&self, vault: Option<&str>) -> Vec<Entry> {
        read_log(&mut self.auditor.connect().await, vault).await
    }
}

async fn alerts(client: &mut Client) -> Vec<Item> {
    client.call(&List::default()).await.unwrap().items
}

async fn counted(client: &mut Client) -> Option<OpenAlerts> {
    client.call(&Status {}).await.unwrap().alerts
}

async fn id(person: &Person) -> IdentityId {
    person.connect().await.call(&Whoami {}).await.unwrap().identity_id
}

fn ack(vault: Option<&str>, seq: u64) -> Ack {
    Ack { vault: vault.map(slug), seq, note: "the restore went well".to_owned() }
}

fn of<'a>(log: &'a [Entry], event: &str) -> Vec<&'a Entry> {
    log.iter().filter(|entry| entry.is(event, RecordOutcome::Ok)).collect()
}

#[tokio::test]
async fn an_alert_is_told_to_those_of_its_log_and_answered_once() {
    let house = House::open().await;
    let mut mara = house.mara.connect().await;
    let mut bob = house.bob.connect().await;
    let mut tech = house.clients.tech.connect().await;
    assert_eq!(counted(&mut mara).await, Some(OpenAlerts { open: 0, unseen: 0, level: 0 }));
    assert!(alerts(&mut mara).await.is_empty());
    house.break_glass(&house.jana).await;

    // Nobody of another client, and nobody without a say in this one, learns that there is anything.
    let log = house.log(Some("acme")).await;
    let seq = of(&log, "request.break_glass")[0].record.seq;
    assert!(alerts(&mut bob).await.is_empty());
    assert_eq!(kind(bob.call(&List { vault: Some(slug("acme")), all: true }).await), Some(ErrorKind::NotFound));
    assert_eq!(kind(bob.call(&ack(Some("acme"), seq)).await), Some(ErrorKind::NotFound));
    assert_eq!(kind(bob.call(&ack(Some("acme"), 0)).await), Some(ErrorKind::NotFound), "the same answer");
    assert_eq!(kind(bob.call(&ack(None, seq)).await), Some(ErrorKind::NotFound), "nor of the organisation");
    assert_eq!(counted(&mut bob).await, Some(OpenAlerts { open: 0, unseen: 0, level: 0 }));
    assert!(alerts(&mut tech).await.is_empty());
    assert_eq!(kind(tech.call(&ack(Some("acme"), seq)).await), Some(ErrorKind::Denied));
    let mut asker = house.jana.connect().await;
    assert!(alerts(&mut asker).await.is_empty());
    assert_eq!(counted(&mut asker).await, None);
    assert_eq!(kind(asker.call(&ack(Some("acme"), seq)).await), Some(ErrorKind::Denied));
    assert!(of(&house.log(Some("acme")).await, "alert.seen").is_empty(), "so nobody was told");

    // Who has a say is told, and it stands on record once.
    assert_eq!(counted(&mut mara).await, Some(OpenAlerts { open: 1, unseen: 1, level: 0 }));
    for _ in 0..2 {
        let items = alerts(&mut mara).await;
        assert_eq!(items.len(), 1);
        let item = &items[0];
        assert_eq!(
            (item.vault.clone(), item.seq, item.event.as_str()),
            (Some(slug("acme")), seq, "request.break_glass")
        );
        assert_eq!((item.identity.clone(), item.level, item.yours), (Some(slug("jana")), 0, true));
        assert_eq!(item.seen.iter().map(|seen| seen.identity.clone()).collect::<Vec<_>>(), [slug("mara")]);
    }
    assert_eq!(counted(&mut mara).await, Some(OpenAlerts { open: 1, unseen: 0, level: 0 }));
    let seen = alerts(&mut house.auditor.connect().await).await[0].seen.clone();
    assert_eq!(seen.iter().map(|seen| seen.identity.to_string()).collect::<Vec<_>>(), ["mara", "auditor"]);
    let text = house.clients.organisation.admin.succeed(&["alert", "ls"]);
    assert!(
        text.starts_with(&format!("acme/{seq}\t")) && text.contains("\tjana\t") && text.ends_with("\topen\n"),
        "{text}"
    );
    let log = house.log(Some("acme")).await;
    let told: Vec<IdentityId> =
        of(&log, "alert.seen").iter().map(|entry| entry.record.actor.as_ref().unwrap().identity).collect();
    assert_eq!(told, [id(&house.mara).await, id(&house.auditor).await, id(&house.clients.organisation.admin).await]);
    assert!(of(&log, "alert.seen").iter().all(|entry| entry.record.detail["alert_seqs"] == seq.to_string().as_str()));

    // Answered once, with a note that stands in the record as a commitment only.
    assert_eq!(kind(mara.call(&ack(Some("acme"), seq + 1)).await), Some(ErrorKind::NotFound), "no alarm there");
    house.mara.succeed(&["alert", "ack", &format!("acme/{seq}"), "--note", "the restore went well"]);
    let again = house.mara.call(&["alert", "ack", &format!("acme/{seq}"), "--note", "x"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("mara has answered that on"), "{again:?}");
    assert_eq!(kind(house.auditor.connect().await.call(&ack(Some("acme"), seq)).await), Some(ErrorKind::Conflict));
    assert!(alerts(&mut mara).await.is_empty());
    let all = mara.call(&List { vault: Some(slug("acme")), all: true }).await.unwrap().items;
    assert_eq!((all[0].acked_by.clone(), all[0].note.as_deref()), (Some(slug("mara")), Some("the restore went well")));
    let read = Read { vault: Some(slug("acme")), from: None, before: None, limit: None };
    let page = house.auditor.connect().await.call(&read).await.unwrap().items;
    let answer = page.iter().find(|item| item.record.contains("\"alert.ack\"")).unwrap();
    assert!(!answer.record.contains("restore"));
    assert!(answer.openings.iter().any(|opening| opening.field == "note" && opening.value == "the restore went well"));
}

#[tokio::test]
async fn nobody_answers_what_they_did_themselves() {
    let mut house = House::open().await;
    // A manager who may also take codes in an emergency.
    give(&mut house.clients.admin, "acme", "mara", VaultRole::Eligible).await;
    house.break_glass(&house.mara).await;
    let mut mara = house.mara.connect().await;
    let item = alerts(&mut mara).await[0].clone();
    assert!(!item.yours);
    assert_eq!(kind(mara.call(&ack(Some("acme"), item.seq)).await), Some(ErrorKind::Denied));
    house.clients.manager.connect().await.call(&ack(Some("acme"), item.seq)).await.unwrap();
}

#[tokio::test]
async fn what_nobody_answers_escalates_and_a_restart_forgets_nothing() {
    let mut house = House::open().await;
    house.restart_with("[alerts]\nescalate_after_s = 1\nlevels = 2\n").await;
    let mut manager = house.clients.manager.connect().await;
    manager.call(&SetCanary { account: "acme/quick".parse().unwrap() }).await.unwrap();
    assert_eq!(code(&mut house.clients.tech.connect().await, "acme/quick").await, None);

    // A tripwire's record stands in the organisation's log: managers do not see it.
    assert!(alerts(&mut manager).await.is_empty());
    let begun = Instant::now();
    loop {
        let open = counted(&mut house.clients.admin).await.unwrap();
        assert_eq!((open.open, open.unseen), (1, 1));
        if open.level == 2 {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "it does not escalate");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let status = house.clients.organisation.admin.succeed(&["status", "--alerts"]);
    assert!(status.contains("alerts        1 open, 1 new to you, ESCALATED to level 2"), "{status}");
    let notices = house.clients.organisation.admin.connect().await.call(&Whoami {}).await.unwrap().session.notices;
    assert!(notices.iter().any(|notice| notice.starts_with("1 alert waits for an answer")), "{notices:?}");

    house.clients.organisation.running().kill();
    house.clients.organisation.start();
    house.clients.admin = house.clients.organisation.admin.connect().await;
    let item = alerts(&mut house.clients.admin).await[0].clone();
    assert_eq!((item.vault, item.event.as_str(), item.level, item.yours), (None, "identity.hold", 2, true));
    assert_eq!(item.identity, Some(slug("tech")));
    // No further than so many levels, and not at all once somebody has answered.
    house.clients.admin.call(&ack(None, item.seq)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let log = house.log(None).await;
    let levels: Vec<u64> =
        of(&log, "alert.escalate").iter().map(|entry| entry.record.detail["level"].as_u64().unwrap()).collect();
    assert!(levels == [1, 2] || levels == [2], "{levels:?}");
    assert!(of(&log, "alert.escalate").iter().all(|entry| entry.record.detail["alert_seq"] == item.seq));
    assert_eq!(counted(&mut house.clients.admin).await.unwrap().open, 0);
    house.clients.organisation.running().stop();
    let output = house.clients.organisation.launch.command(&["audit", "check-state"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
