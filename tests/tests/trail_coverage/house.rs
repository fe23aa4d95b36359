//! An organisation with everybody whom the calls need, connected before the first of them, and somebody who watches the logs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use strongroom_proto::audit::record::{Record, RecordOutcome};
use strongroom_proto::client::{Client, LoginError};
use strongroom_proto::ids::IdentityId;
use strongroom_proto::method::audit::Read;
use strongroom_proto::method::session::Whoami;
use strongroom_proto::method::{NAMES, SteppedUp};
use strongroom_proto::words::{Algorithm, OrgRole, OtpKind, Scheme, VaultRole};
use strongroom_tests::ceremony::TwoPeople;
use strongroom_tests::organisation::{give, import, row, slug};
use strongroom_tests::people::Person;
use strongroom_tests::raw::Raw;
use strongroom_tests::seeds::RFC_SHA1;

use crate::table::{LINES, Line, Log};

/// Somebody who calls: by the bytes, and over a client that signs.
pub(crate) struct Caller {
    pub(crate) person: Person,
    pub(crate) raw: Raw,
    pub(crate) client: Client,
}

impl Caller {
    async fn of(person: &Person, house: &TwoPeople) -> Self {
        let raw = Raw::connect(person, &house.organisation.launch.socket).await;
        Self { person: person.clone(), raw, client: person.connect().await }
    }

    /// Signs a call and makes it.
    pub(crate) async fn signed<M: SteppedUp>(&mut self, params: M) -> Result<M::Result, LoginError> {
        self.client.call_signed(params, &self.person.signer()).await
    }
}

/// The organisation, its people and what was seen of its logs.
pub(crate) struct House {
    pub(crate) people: TwoPeople,
    /// The first admin.
    pub(crate) admin: Caller,
    /// The second admin: confirms.
    pub(crate) otto: Caller,
    /// Manager of acme.
    pub(crate) manager: Caller,
    /// Another manager of acme, who imported an account.
    pub(crate) leaver: Caller,
    /// Viewer of acme.
    pub(crate) viewer: Caller,
    /// May ask for access in acme.
    pub(crate) eligible: Caller,
    /// Has no right in any vault.
    pub(crate) stranger: Caller,
    /// Every record that the calls left.
    pub(crate) seen: Vec<Record>,
    watcher: Client,
    watcher_id: IdentityId,
    /// Each log that is watched, with how much of it has been read.
    sizes: BTreeMap<Option<&'static str>, u64>,
    called: BTreeSet<(&'static str, &'static str)>,
    /// What was not as the tables say: all of it is shown at the end.
    pub(crate) faults: Vec<String>,
}

impl House {
    /// Founds it: one vault `acme` with the accounts `m365`, `nas` and `old`, the last of them brought in by a leaver.
    pub(crate) async fn open() -> Self {
        let mut people = TwoPeople::found(&[("acme", Scheme::Derived)]).await;
        let watcher = people.auditor().await;
        let mut enrolled = Vec::new();
        for (name, roles) in [("otto", &[OrgRole::Admin][..]), ("leaver", &[]), ("eligible", &[]), ("stranger", &[])] {
            enrolled.push(people.organisation.enrol(&mut people.admin, name, roles).await);
        }
        give(&mut people.admin, "acme", "leaver", VaultRole::Manager).await;
        give(&mut people.admin, "acme", "eligible", VaultRole::Eligible).await;
        let seed = |account| row(account, OtpKind::Totp, Algorithm::Sha1, 6, RFC_SHA1);
        let first = people.organisation.admin.clone();
        let (manager, tech) = (people.manager.clone(), people.tech.clone());
        let mut house = Self {
            admin: Caller::of(&first, &people).await,
            otto: Caller::of(&enrolled[0], &people).await,
            manager: Caller::of(&manager, &people).await,
            leaver: Caller::of(&enrolled[1], &people).await,
            viewer: Caller::of(&tech, &people).await,
            eligible: Caller::of(&enrolled[2], &people).await,
            stranger: Caller::of(&enrolled[3], &people).await,
            seen: Vec::new(),
            watcher: watcher.connect().await,
            watcher_id: IdentityId::random(),
            sizes: BTreeMap::from([(None, 0), (Some("acme"), 0)]),
            called: BTreeSet::new(),
            faults: Vec::new(),
            people,
        };
        import(&mut house.manager.client, "acme", vec![seed("m365"), seed("nas")]).await;
        import(&mut house.leaver.client, "acme", vec![seed("old")]).await;
        house.watcher_id = house.watcher.call(&Whoami {}).await.unwrap().identity_id;
        house.news().await;
        house.seen.clear();
        house
    }

    /// Has another vault's log watched from its beginning.
    pub(crate) fn watch(&mut self, vault: &'static str) {
        self.sizes.insert(Some(vault), 0);
    }

    /// What the logs have gained since the last look, without the reading itself.
    pub(crate) async fn news(&mut self) -> Vec<(Log, Record)> {
        let mut news = Vec::new();
        for (vault, size) in &mut self.sizes {
            let mut from = Some(*size);
            while let Some(place) = from {
                let read = Read { vault: vault.map(slug), from: Some(place), before: None, limit: Some(500) };
                let page = self.watcher.call(&read).await.unwrap();
                for item in page.items {
                    let record: Record = serde_json::from_str(&item.record).unwrap();
                    *size = record.seq + 1;
                    let own = record.actor.as_ref().is_some_and(|actor| actor.identity == self.watcher_id);
                    if !own {
                        news.push((if vault.is_some() { Log::Vault } else { Log::Org }, record));
                    }
                }
                from = page.next;
            }
        }
        self.seen.extend(news.iter().map(|(_, record)| record.clone()));
        news
    }

    /// Asserts that a successful call of a method left exactly what its line says.
    pub(crate) async fn left(&mut self, method: &'static str, case: &'static str) {
        let of = |line: &&Line| line.method == method && line.case == case;
        let line = LINES.iter().find(of).unwrap_or_else(|| panic!("no line for {method} {case}"));
        assert_eq!(line.leaves.is_empty(), !line.silent.is_empty(), "{method}: silence has its reason");
        let news = self.news().await;
        let left: Vec<_> = news.iter().map(|(log, record)| (*log, record.event.as_str(), record.outcome)).collect();
        let expected: Vec<_> = line.leaves.iter().map(|(log, event)| (*log, *event, RecordOutcome::Ok)).collect();
        if left != expected {
            self.faults.push(format!("{method} {case} left {left:?}"));
        }
        self.called.insert((line.method, line.case));
    }

    /// Forgets what preparations left.
    pub(crate) async fn prepared(&mut self) {
        self.news().await;
    }

    /// Asserts that every line was called.
    pub(crate) fn assert_all_seen(&self) {
        let lines: BTreeSet<_> = LINES.iter().map(|line| (line.method, line.case)).collect();
        assert_eq!(self.called, lines);
        assert!(NAMES.iter().all(|name| self.called.iter().any(|(method, _)| method == name)));
    }

    /// The id of a grant that somebody holds in acme.
    pub(crate) fn grant_of(&mut self, who: &str) -> Value {
        let items = self.admin.raw.result("grant.list", &json!({"vault": "acme"}))["items"].clone();
        let items = items.as_array().unwrap().clone();
        items.into_iter().find(|item| item["identity"] == who).unwrap()["grant"].clone()
    }
}

/// Makes a call as somebody of the house, asserts what it left and gives its result.
macro_rules! step {
    ($house:ident, $who:ident, $method:literal, $params:tt) => {
        step!($house, $who, $method, "", $params)
    };
    ($house:ident, $who:ident, $method:literal, $case:literal, $params:tt) => {{
        let params = serde_json::json!($params);
        let result = $house.$who.raw.result($method, &params);
        $house.left($method, $case).await;
        result
    }};
}
pub(crate) use step;
