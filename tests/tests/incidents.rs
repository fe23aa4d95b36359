//! An incident stops what it is about at once, keeps together what follows, tells each only what concerns them, and says at its
//! end what has to be replaced.

use std::path::Path;

use serde_json::Value;
use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::client::Client;
use strongroom_proto::error::ErrorKind;
use strongroom_proto::ids::{IncidentId, Slug};
use strongroom_proto::method::identity::Revoke;
use strongroom_proto::method::incident::{Close, List, Open, Opened, Show};
use strongroom_proto::method::session::Whoami;
use strongroom_proto::method::vault::{Freeze, List as Vaults, Thaw};
use strongroom_proto::words::{Algorithm, IncidentCause, OrgRole, OtpKind, VaultRole};
use strongroom_tests::clients::Clients;
use strongroom_tests::organisation::{give, import, row, slug};
use strongroom_tests::people::Person;
use strongroom_tests::refused::{code, kind};
use strongroom_tests::seeds::RFC_SHA1;
use strongroom_tests::trail::read_log;

/// Two clients, somebody who takes codes of both, and those who oversee one or all.
struct House {
    clients: Clients,
    /// Viewer of both: the one that incidents are about.
    jana: Person,
    /// Manager of acme.
    mara: Person,
    /// Manager of bluewater.
    bob: Person,
    auditor: Person,
}

impl House {
    async fn open() -> Self {
        let mut clients = Clients::found().await;
        let mut people = Vec::new();
        for (name, roles) in [("jana", &[][..]), ("mara", &[]), ("bob", &[]), ("auditor", &[OrgRole::Auditor])] {
            people.push(clients.organisation.enrol(&mut clients.admin, name, roles).await);
        }
        for (vault, who, role) in [
            ("acme", "jana", VaultRole::Viewer),
            ("bluewater", "jana", VaultRole::Viewer),
            ("acme", "mara", VaultRole::Manager),
            ("bluewater", "bob", VaultRole::Manager),
        ] {
            give(&mut clients.admin, vault, who, role).await;
        }
        let [jana, mara, bob, auditor] = people.try_into().unwrap();
        Self { clients, jana, mara, bob, auditor }
    }

    async fn begin(&mut self, vaults: &[&str], people: &[&str]) -> Opened {
        self.clients.admin.call(&open(vaults, people)).await.unwrap()
    }

    async fn frozen(&mut self) -> Vec<Slug> {
        let items = self.clients.admin.call(&Vaults {}).await.unwrap().items;
        items.into_iter().filter(|item| item.frozen).map(|item| item.vault).collect()
    }
}

fn open(vaults: &[&str], people: &[&str]) -> Open {
    let slugs = |names: &[&str]| names.iter().map(|name| slug(name)).collect();
    Open { reason: "a laptop was stolen".to_owned(), vaults: slugs(vaults), people: slugs(people) }
}

fn close(incident: IncidentId) -> Close {
    Close { incident, note: "it was found".to_owned(), window_h: None, thaw: false, resume: false }
}

async fn listed(client: &mut Client) -> usize {
    client.call(&List::default()).await.unwrap().items.len()
}

#[tokio::test]
async fn an_incident_stops_all_of_it_or_nothing_and_outlives_a_restart() {
    let mut house = House::open().await;
    let (mut jana, mut tech) = (house.jana.connect().await, house.clients.tech.connect().await);
    // One part that is refused: nothing is frozen, and nobody is suspended.
    let admin = &mut house.clients.admin;
    assert_eq!(kind(admin.call(&open(&["acme"], &["jana", "admin"])).await), Some(ErrorKind::Denied));
    assert_eq!(kind(admin.call(&open(&["acme", "nowhere"], &["jana"])).await), Some(ErrorKind::NotFound));
    assert_eq!(kind(admin.call(&open(&["acme"], &["nobody"])).await), Some(ErrorKind::NotFound));
    assert_eq!(kind(admin.call(&open(&[], &[])).await), Some(ErrorKind::InvalidParams));
    for person in [&house.mara, &house.auditor, &house.clients.tech] {
        assert_eq!(kind(person.connect().await.call(&open(&["acme"], &["jana"])).await), Some(ErrorKind::Denied));
    }
    assert_eq!([code(&mut jana, "acme/quick").await, code(&mut tech, "acme/quick").await], [None, None]);

    let opened = house.begin(&["acme"], &["jana"]).await;
    assert_eq!((&opened.froze[..], &opened.suspended[..]), (&[slug("acme")][..], &[slug("jana")][..]));
    assert!(opened.drained && opened.sessions == 1);
    assert_eq!(code(&mut tech, "acme/quick").await, Some(ErrorKind::Frozen));
    assert_eq!(code(&mut tech, "bluewater/vpn").await, None, "others work on");
    assert!(house.jana.try_connect().await.is_err());

    // What it froze and suspended once is not done twice; what somebody else ended in between stays ended.
    let second = house.begin(&["acme", "bluewater"], &["jana"]).await;
    assert_eq!((&second.froze[..], second.suspended.len()), (&[slug("bluewater")][..], 0));
    house.clients.organisation.running().kill();
    house.clients.organisation.start();
    house.clients.admin = house.clients.organisation.admin.connect().await;
    assert_eq!(listed(&mut house.clients.admin).await, 2);
    let notices = house.clients.admin.call(&Whoami {}).await.unwrap().session.notices;
    assert!(notices.contains(&"2 incidents wait to be closed: strongroom incident ls".to_owned()), "{notices:?}");
    assert_eq!(code(&mut house.clients.tech.connect().await, "acme/quick").await, Some(ErrorKind::Frozen));
    let thaw = Close { thaw: true, resume: true, ..close(opened.incident) };
    let closed = house.clients.admin.call(&thaw).await.unwrap();
    assert!(closed.thawed.is_empty() && closed.resumed.is_empty(), "another incident is about them");
    assert_eq!((&closed.frozen[..], &closed.suspended[..]), (&[slug("acme")][..], &[slug("jana")][..]));
    assert_eq!(kind(house.clients.admin.call(&thaw).await), Some(ErrorKind::Conflict));
    let closed = house.clients.admin.call(&close(second.incident)).await.unwrap();
    assert_eq!((closed.thawed.len(), closed.frozen.len(), closed.suspended.len()), (0, 2, 1), "nobody asked for it");
    assert_eq!(house.frozen().await, [slug("acme"), slug("bluewater")]);
    assert_eq!(listed(&mut house.clients.admin).await, 0);
    house.clients.organisation.running().stop();
    let output = house.clients.organisation.launch.command(&["audit", "check-state"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn closing_lists_the_seeds_to_replace_and_thaws_what_it_froze_if_asked() {
    let mut house = House::open().await;
    // Somebody who left knows a seed; jana took a code of another client; tech took one of acme.
    let lena = house.clients.organisation.enrol(&mut house.clients.admin, "lena", &[]).await;
    give(&mut house.clients.admin, "acme", "lena", VaultRole::Manager).await;
    let old = row("old", OtpKind::Totp, Algorithm::Sha1, 6, RFC_SHA1);
    import(&mut lena.connect().await, "acme", vec![old]).await;
    let revoke = Revoke { identity: slug("lena"), reason: "left".to_owned() };
    house.clients.admin.call(&revoke).await.unwrap();
    assert_eq!(code(&mut house.jana.connect().await, "bluewater/vpn").await, None);
    let mut tech = house.clients.tech.connect().await;
    for _ in 0..2 {
        assert_eq!(code(&mut tech, "acme/counter").await, None);
    }
    let opened = house.begin(&["acme"], &["jana"]).await;
    assert_eq!(code(&mut tech, "bluewater/vpn").await, None);

    let flawed = Close { window_h: Some(0), ..close(opened.incident) };
    assert_eq!(kind(house.clients.admin.call(&flawed).await), Some(ErrorKind::InvalidParams));
    assert_eq!(kind(house.mara.connect().await.call(&close(opened.incident)).await), Some(ErrorKind::Denied));
    let done = Close { window_h: Some(1), thaw: true, resume: true, ..close(opened.incident) };
    let closed = house.clients.admin.call(&done).await.unwrap();
    let rotate: Vec<(String, Vec<IncidentCause>, u64)> =
        closed.rotate.iter().map(|one| (one.account.to_string(), one.causes.clone(), one.releases)).collect();
    let expected = [
        ("acme/counter".to_owned(), vec![IncidentCause::Exposed], 2),
        ("acme/old".to_owned(), vec![IncidentCause::Listed], 0),
        ("bluewater/vpn".to_owned(), vec![IncidentCause::Taken], 1),
    ];
    assert_eq!(rotate, expected);
    assert_eq!((closed.total, &closed.thawed[..], &closed.resumed[..]), (3, &[slug("acme")][..], &[slug("jana")][..]));
    assert!(closed.frozen.is_empty() && closed.suspended.is_empty());
    assert_eq!(code(&mut house.jana.connect().await, "acme/quick").await, None);

    // Each client's log has its own part of the list, and nothing of the other's.
    let mut auditor = house.auditor.connect().await;
    for (vault, accounts) in [("acme", 2), ("bluewater", 1)] {
        let log = read_log(&mut auditor, Some(vault)).await;
        let said = log.iter().find(|entry| entry.is("incident.rotate", RecordOutcome::Ok)).unwrap();
        assert_eq!(said.record.detail["accounts"].as_str().unwrap().split(' ').count(), accounts, "{vault}");
        assert_eq!(said.record.detail["incident"], opened.incident.to_string().as_str());
    }
    let log = read_log(&mut auditor, Some("bluewater")).await;
    let others = log.iter().rfind(|entry| entry.is("code.release", RecordOutcome::Ok)).unwrap();
    assert!(!others.record.detail.contains_key("incident"), "it is about neither this vault nor who took that");
    // It is over: what follows names it no more.
    let log = read_log(&mut auditor, Some("acme")).await;
    assert!(!log.last().unwrap().record.detail.contains_key("incident"));
}

/// The objects of a timeline.
fn timeline(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("timeline.ndjson")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn events(timeline: &[Value]) -> Vec<&str> {
    timeline.iter().map(|line| line["record"]["event"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn each_sees_and_takes_home_what_concerns_them_and_it_verifies() {
    let mut house = House::open().await;
    let before = Freeze { vault: slug("bluewater"), reason: "a migration".to_owned() };
    house.clients.admin.call(&before).await.unwrap();
    let incident = house.begin(&["acme", "bluewater"], &["jana"]).await.incident;
    let mut tech = house.clients.tech.connect().await;
    assert_eq!(code(&mut tech, "acme/quick").await, Some(ErrorKind::Frozen));
    let thaw = Thaw { vault: slug("bluewater"), reason: "the migration is over".to_owned() };
    house.clients.admin.call(&thaw).await.unwrap();
    let id = incident.to_string();

    // A technician has no part in it; a manager sees their own client's, and no people.
    assert_eq!(listed(&mut tech).await, 0);
    assert_eq!(kind(tech.call(&Show { incident }).await), Some(ErrorKind::NotFound));
    let seen = house.mara.connect().await.call(&Show { incident }).await.unwrap();
    assert_eq!(seen.vaults.iter().map(|state| state.vault.as_str()).collect::<Vec<_>>(), ["acme"]);
    assert!(seen.people.is_empty() && !seen.exports_org && seen.vaults[0].exports);
    assert_eq!(seen.reason.as_deref(), Some("a laptop was stolen"));
    // Bluewater was frozen before: the reason stands nowhere in its log.
    let seen = house.bob.connect().await.call(&Show { incident }).await.unwrap();
    assert!(seen.reason.is_none() && !seen.vaults[0].froze && !seen.vaults[0].frozen);
    let text = house.clients.organisation.admin.succeed(&["incident", "show", &id]);
    assert!(
        text.contains("client    acme: frozen by the incident") && text.contains("person    jana: suspended"),
        "{text}"
    );

    // An auditor takes all of it home: each folder verifies, and the timeline holds what the logs hold.
    let root = house.clients.organisation.root().to_owned();
    let all = root.join("all");
    let text = house.auditor.succeed(&["incident", "export", &id, &all.display().to_string(), "--json"]);
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&body["schema"], body["logs"].as_array().unwrap().len()), (&"strongroom.incident_export/1".into(), 3));
    let key = body["logs"][0]["key"].as_str().unwrap();
    for folder in ["org", "vaults/acme", "vaults/bluewater"] {
        house.auditor.succeed(&["audit", "verify", &all.join(folder).display().to_string(), "--key", key]);
    }
    let lines = timeline(&all);
    let found = events(&lines);
    for event in ["incident.open", "identity.suspend", "vault.freeze", "code.release", "vault.thaw"] {
        assert!(found.contains(&event), "{event} is missing: {found:?}");
    }
    assert_eq!(found[0], "incident.open");
    for line in &lines {
        let folder = line["vault"].as_str().map_or_else(|| all.join("org"), |vault| all.join("vaults").join(vault));
        let log = std::fs::read_to_string(folder.join("log.ndjson")).unwrap();
        let seq = usize::try_from(line["seq"].as_u64().unwrap()).unwrap();
        let recorded: Value = serde_json::from_str(log.lines().nth(seq).unwrap()).unwrap();
        assert_eq!(recorded, line["record"]);
    }
    let page = std::fs::read_to_string(all.join("timeline.md")).unwrap();
    assert!(page.contains("| acme |") && page.contains("| vault.freeze | ok | admin |"), "{page}");
    assert!(page.contains("a laptop was stolen") && page.contains("Person jana: suspended"), "{page}");
    let again = house.auditor.call(&["incident", "export", &id, &all.display().to_string()]);
    assert!(!again.status.success(), "it overwrites nothing");

    // A manager takes home their client's log and nothing of another.
    let own = root.join("own");
    let text = house.mara.succeed(&["incident", "export", &id, &own.display().to_string()]);
    assert!(text.contains("left out, because you may not export it: the organisation's log"), "{text}");
    assert!(own.join("vaults/acme").exists() && !own.join("vaults/bluewater").exists() && !own.join("org").exists());
    let page = std::fs::read_to_string(own.join("timeline.md")).unwrap();
    let found = std::fs::read_to_string(own.join("timeline.ndjson")).unwrap();
    assert!(!found.is_empty() && !page.contains("bluewater") && !found.contains("bluewater"), "{page}");
    assert!(!house.clients.tech.call(&["incident", "export", &id, "none"]).status.success());
    let text = house.clients.organisation.admin.succeed(&["incident", "close", &id, "--note", "found"]);
    assert!(text.contains("Still FROZEN: acme\nStill SUSPENDED: jana\n"), "{text}");
}
