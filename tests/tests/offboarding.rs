//! Somebody leaves: what they took, knew and vouched for is told, what they knew is on a list until it is replaced, and a
//! recertification ends what nobody needs any more.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::client::Client;
use strongroom_proto::error::ErrorKind;
use strongroom_proto::ids::{CampaignId, GrantId};
use strongroom_proto::method::account::Remove;
use strongroom_proto::method::group::{Create, MemberAdd};
use strongroom_proto::method::identity::{Report, Revoke};
use strongroom_proto::method::review::{Close, Decide, GrantState, List as Reviews, Show, Start};
use strongroom_proto::method::session::Whoami;
use strongroom_proto::method::{grant, rotation};
use strongroom_proto::words::{Algorithm, IdentityStatus, OrgRole, OtpKind, RotationCause, Scheme, VaultRole};
use strongroom_tests::organisation::{Organisation, create_vault, give, import, import_as, row, slug};
use strongroom_tests::people::Person;
use strongroom_tests::refused::{code, kind, release};
use strongroom_tests::seeds::{RFC_SHA1, base32};
use strongroom_tests::tools::oathtool;
use strongroom_tests::trail::read_log;

async fn notices(person: &Person) -> Vec<String> {
    person.connect().await.call(&Whoami {}).await.unwrap().session.notices
}

#[tokio::test]
async fn a_leaver_is_reported_on_and_what_they_knew_is_listed_until_it_is_replaced() {
    let organisation = Organisation::found();
    let mut admin = organisation.admin.connect().await;
    create_vault(&mut admin, "acme", Scheme::Derived).await;
    let [mara, mike, jana] = [
        organisation.enrol(&mut admin, "mara", &[]).await,
        organisation.enrol(&mut admin, "mike", &[]).await,
        organisation.enrol(&mut admin, "jana", &[]).await,
    ];
    let auditor = organisation.enrol(&mut admin, "auditor", &[OrgRole::Auditor]).await;
    for (person, role) in [(&mara, VaultRole::Manager), (&mike, VaultRole::Manager), (&jana, VaultRole::Viewer)] {
        give(&mut admin, "acme", &person.slug, role).await;
    }
    give(&mut admin, "acme", "mara", VaultRole::Viewer).await;
    let seed = |account| row(account, OtpKind::Totp, Algorithm::Sha1, 6, RFC_SHA1);
    import(&mut mara.connect().await, "acme", vec![seed("m365"), seed("firewall"), seed("nas")]).await;
    import(&mut mike.connect().await, "acme", vec![seed("backup")]).await;
    let mut client = mara.connect().await;
    for account in ["acme/m365", "acme/m365", "acme/backup"] {
        assert_eq!(code(&mut client, account).await, None);
    }

    // Before: what they know would have to be replaced. Only who oversees everybody reads it, and that is on record.
    let report = Report { identity: slug("mara"), days: None };
    for stranger in [&jana, &mike] {
        assert_eq!(kind(stranger.connect().await.call(&report).await), Some(ErrorKind::Denied));
    }
    let mut reader = auditor.connect().await;
    let before = reader.call(&report).await.unwrap();
    let taken: Vec<_> = before.codes.iter().map(|codes| (codes.account.as_str(), codes.releases)).collect();
    assert_eq!(taken, [("backup", 1), ("m365", 2)]);
    let known: Vec<_> = before.knows.iter().map(|seed| (seed.account.to_string(), seed.cause, seed.listed)).collect();
    let imported = |account: &str| (format!("acme/{account}"), RotationCause::Imported, false);
    assert_eq!(known, ["firewall", "m365", "nas"].map(imported));
    assert_eq!((before.grants.len(), before.keys.len(), before.status), (2, 1, IdentityStatus::Active));
    assert!(before.logins >= 2 && before.codes.iter().all(|codes| codes.first <= codes.last));
    assert_eq!(kind(reader.call(&Report { days: Some(0), ..report.clone() }).await), Some(ErrorKind::InvalidParams));
    let nobody = Report { identity: slug("nobody"), days: None };
    assert_eq!(kind(reader.call(&nobody).await), Some(ErrorKind::NotFound));
    assert_eq!(kind(jana.connect().await.call(&nobody).await), Some(ErrorKind::Denied), "strangers learn no names");
    let log = read_log(&mut reader, None).await;
    assert!(log.iter().any(|entry| entry.is("identity.report", RecordOutcome::Ok)));

    // After: the list, which clears itself as accounts go, or by somebody's word.
    let revoked = admin.call(&Revoke { identity: slug("mara"), reason: "left".to_owned() }).await.unwrap();
    assert_eq!((revoked.rotate, revoked.grants), (3, 2));
    let mut manager = mike.connect().await;
    let list = rotation::List::default();
    let listed = manager.call(&list).await.unwrap();
    assert_eq!(listed.total, 3);
    assert!(listed.items.iter().all(|item| item.identity == slug("mara") && item.cause == RotationCause::Imported));
    assert_eq!(notices(&mike).await.len(), 1, "who has to act is told");
    assert_eq!(jana.connect().await.call(&list).await.unwrap().total, 0, "viewers do not see it");
    let remove = Remove { account: "acme/nas".parse().unwrap(), reason: "scrapped".to_owned() };
    manager.call(&remove).await.unwrap();
    let dismiss =
        |account: &str| rotation::Dismiss { account: account.parse().unwrap(), reason: "scrapped".to_owned() };
    assert_eq!(kind(jana.connect().await.call(&dismiss("acme/m365")).await), Some(ErrorKind::Denied));
    manager.call(&dismiss("acme/m365")).await.unwrap();
    assert_eq!(kind(manager.call(&dismiss("acme/m365")).await), Some(ErrorKind::NotFound));
    // A new seed for the account that it is: its grants and history stay, the old seed is gone.
    let mut viewer = jana.connect().await;
    let old = viewer.call(&release("acme/firewall")).await.unwrap().code;
    let new = row("firewall", OtpKind::Totp, Algorithm::Sha1, 6, b"another secret of 20");
    assert_eq!(kind(import_as(&mut manager, "acme", vec![new.clone()], false).await), Some(ErrorKind::Conflict));
    assert_eq!(kind(import_as(&mut viewer, "acme", vec![new.clone()], true).await), Some(ErrorKind::Denied));
    import_as(&mut manager, "acme", vec![new], true).await.unwrap();
    let fresh = viewer.call(&release("acme/firewall")).await.unwrap();
    let at = fresh.valid_from.unwrap().as_second();
    let expected = oathtool(&base32(b"another secret of 20"), "sha1", 6, at);
    assert!(*fresh.code == expected && *fresh.code != *old);
    let left: Vec<_> = manager.call(&list).await.unwrap().items.iter().map(|item| item.account.to_string()).collect();
    assert_eq!(left, Vec::<String>::new());
    let after = reader.call(&report).await.unwrap();
    assert_eq!(after.status, IdentityStatus::Revoked);
    assert!(after.grants.iter().all(|grant| grant.ended_at.is_some()) && after.grants.len() == 2);
    let known: Vec<_> = after.knows.iter().map(|seed| (seed.account.to_string(), seed.listed)).collect();
    assert_eq!(known, [("acme/m365".to_owned(), false)], "what was dismissed is still known");
    let due = read_log(&mut manager, Some("acme")).await;
    let due: Vec<_> = due.iter().filter(|entry| entry.is("rotation.due", RecordOutcome::Ok)).collect();
    assert_eq!(due.len(), 1);
    assert_eq!(due[0].record.detail["accounts"].as_str().unwrap().split(' ').count(), 3);
}

/// A vault with a manager, three viewers of whom two are in a group, and a grant by request.
struct Review {
    organisation: Organisation,
    admin: Client,
    mara: Person,
    jana: Person,
    jack: Person,
    group_grant: GrantId,
}

impl Review {
    async fn open() -> Self {
        let organisation = Organisation::found();
        let mut admin = organisation.admin.connect().await;
        for vault in ["acme", "bluewater"] {
            create_vault(&mut admin, vault, Scheme::Derived).await;
        }
        let [mara, jana, jack] = [
            organisation.enrol(&mut admin, "mara", &[]).await,
            organisation.enrol(&mut admin, "jana", &[]).await,
            organisation.enrol(&mut admin, "jack", &[]).await,
        ];
        give(&mut admin, "acme", "mara", VaultRole::Manager).await;
        give(&mut admin, "acme", "jana", VaultRole::Viewer).await;
        give(&mut admin, "bluewater", "jack", VaultRole::Viewer).await;
        let group = slug("first-line");
        admin.call(&Create { group: group.clone(), name: "First line".to_owned() }).await.unwrap();
        admin.call(&MemberAdd { group: group.clone(), identity: slug("jack") }).await.unwrap();
        let give = grant::Give {
            vault: slug("acme"),
            identity: None,
            group: Some(group),
            role: VaultRole::Viewer,
            accounts: None,
            from: None,
            until: None,
            hours: None,
            reason: None,
            ticket: None,
        };
        let group_grant = admin.call(&give).await.unwrap().grant;
        let rows = vec![row("m365", OtpKind::Totp, Algorithm::Sha1, 6, RFC_SHA1)];
        import(&mut mara.connect().await, "acme", rows).await;
        Self { organisation, admin, mara, jana, jack, group_grant }
    }

    async fn start(&mut self, title: &str, vaults: Option<&[&str]>, seconds: i64) -> CampaignId {
        let vaults = vaults.map(|vaults| vaults.iter().map(|vault| slug(vault)).collect());
        let due_at = Timestamp::now() + SignedDuration::from_secs(seconds);
        self.admin.call(&Start { title: title.to_owned(), vaults, due_at }).await.unwrap().campaign
    }
}

async fn shown(client: &mut Client, campaign: CampaignId) -> Vec<GrantState> {
    client.call(&Show { campaign, vault: slug("acme") }).await.unwrap().items
}

fn of<'a>(items: &'a [GrantState], who: &str) -> &'a GrantState {
    items.iter().find(|item| item.identity == Some(slug(who))).unwrap()
}

#[tokio::test]
async fn what_nobody_confirms_ends_and_what_was_decided_stays() {
    let mut house = Review::open().await;
    let early = Start { title: "late".to_owned(), vaults: None, due_at: Timestamp::now() };
    assert_eq!(kind(house.admin.call(&early).await), Some(ErrorKind::InvalidParams));
    let campaign = house.start("Autumn", None, 3600).await;
    let again = Start { due_at: Timestamp::now() + SignedDuration::from_secs(60), ..early.clone() };
    assert_eq!(kind(house.admin.call(&again).await), Some(ErrorKind::Conflict), "one at a time over a vault");
    assert_eq!(kind(house.mara.connect().await.call(&again).await), Some(ErrorKind::Denied));
    let told = notices(&house.mara).await;
    assert!(told.iter().any(|notice| notice.contains("Autumn") && notice.contains("2 grants")), "{told:?}");

    // Managers see their vaults and decide on what does not serve themselves.
    let mut manager = house.mara.connect().await;
    let lists = manager.call(&Reviews { all: false }).await.unwrap().items;
    assert_eq!(
        lists[0].vaults.iter().map(|state| (state.vault.as_str(), state.open)).collect::<Vec<_>>(),
        [("acme", 3)]
    );
    assert!(house.jana.connect().await.call(&Reviews { all: true }).await.unwrap().items.is_empty());
    let items = shown(&mut manager, campaign).await;
    let hers = of(&items, "mara").grant;
    assert!(!of(&items, "mara").yours && of(&items, "jana").yours);
    let group = items.iter().find(|item| item.group.is_some()).unwrap();
    assert_eq!((group.grant, group.serves.clone()), (house.group_grant, vec![slug("jack")]));
    let jana = of(&items, "jana").grant;
    let decide = |grants: &[GrantId], keep| Decide { campaign, grants: grants.to_vec(), keep, note: None };
    assert_eq!(kind(manager.call(&decide(&[hers], true)).await), Some(ErrorKind::Denied), "not for oneself");
    assert_eq!(kind(manager.call(&decide(&[jana, hers], true)).await), Some(ErrorKind::Denied));
    assert_eq!(kind(house.jana.connect().await.call(&decide(&[jana], true)).await), Some(ErrorKind::Denied));
    assert_eq!(kind(house.jack.connect().await.call(&decide(&[hers], false)).await), Some(ErrorKind::Denied));
    assert_eq!(kind(manager.call(&decide(&[], true)).await), Some(ErrorKind::InvalidParams));
    manager.call(&decide(&[jana], true)).await.unwrap();
    assert_eq!(kind(manager.call(&decide(&[jana], false)).await), Some(ErrorKind::Conflict), "decided is decided");
    let later = give(&mut house.admin, "acme", "jana", VaultRole::Eligible).await;
    assert_eq!(kind(manager.call(&decide(&[later], false)).await), Some(ErrorKind::Conflict), "given since");

    // Ended at once by somebody's word; the rest when it is over.
    assert_eq!(code(&mut house.jack.connect().await, "acme/m365").await, None);
    manager.call(&decide(&[house.group_grant], false)).await.unwrap();
    assert_eq!(code(&mut house.jack.connect().await, "acme/m365").await, Some(ErrorKind::NotFound));
    assert_eq!(kind(manager.call(&Close { campaign }).await), Some(ErrorKind::Denied));
    let closed = house.admin.call(&Close { campaign }).await.unwrap();
    assert_eq!((closed.kept, closed.ended, closed.unconfirmed), (1, 1, 2), "mara's and bluewater's");
    assert_eq!(code(&mut house.jana.connect().await, "acme/m365").await, None);
    assert_eq!(kind(manager.call(&Show { campaign, vault: slug("acme") }).await), Some(ErrorKind::NotFound));
    let items = shown(&mut house.admin, campaign).await;
    assert_eq!((of(&items, "jana").kept, of(&items, "jana").decided_by.clone()), (Some(true), Some(slug("mara"))));
    assert_eq!((of(&items, "mara").kept, of(&items, "mara").decided_by.clone()), (Some(false), None));
    assert_eq!(kind(house.admin.call(&decide(&[later], true)).await), Some(ErrorKind::Conflict), "it is over");
    assert_eq!(kind(house.admin.call(&Close { campaign }).await), Some(ErrorKind::Conflict));
    let auditor = house.organisation.enrol(&mut house.admin, "auditor", &[OrgRole::Auditor]).await;
    let log = read_log(&mut auditor.connect().await, Some("acme")).await;
    let ended = log.iter().filter(|entry| entry.is("grant.end", RecordOutcome::Ok));
    let causes: Vec<_> = ended.map(|entry| entry.record.detail["cause"].as_str().unwrap()).collect();
    assert_eq!(causes, ["review.decide", "review.result"]);
}

#[tokio::test]
async fn a_recertification_ends_by_itself_also_while_nobody_is_there() {
    let mut house = Review::open().await;
    let campaign = house.start("Short", Some(&["acme"]), 2).await;
    house.organisation.running().stop();
    tokio::time::sleep(Duration::from_secs(3)).await;
    house.organisation.start();
    // Once its time is over nobody keeps anything, settled or not.
    let mut manager = house.mara.connect().await;
    let decide = Decide { campaign, grants: vec![house.group_grant], keep: true, note: None };
    assert_ne!(kind(manager.call(&decide).await), None);
    let mut admin = house.organisation.admin.connect().await;
    let settled = async {
        loop {
            let items = admin.call(&Reviews { all: true }).await.unwrap().items;
            if items[0].closed_at.is_some() {
                return items;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let items = tokio::time::timeout(Duration::from_secs(40), settled).await.unwrap();
    assert_eq!((items[0].vaults[0].unconfirmed, items[0].vaults[0].kept), (3, 0));
    assert_eq!(code(&mut house.jana.connect().await, "acme/m365").await, Some(ErrorKind::NotFound));
    assert!(!notices(&house.mara).await.iter().any(|notice| notice.contains("Short")));
}
