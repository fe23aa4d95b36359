//! The real commands on a state in memory, and what each success tells the model.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use proptest::sample::Index;
use strongroom_proto::audit::replay::{LogState, Office, Says};
use strongroom_proto::error::Failure;
use strongroom_proto::ids::{
    AccountId, GrantId, IdentityId, IncidentId, Instance, OrgId, PendingId, RequestId, SessionId, Slug, VaultId,
};
use strongroom_proto::method::{Receipt, grant as grant_wire, request as request_wire};
use strongroom_proto::policy::{BreakGlass, Requests, VaultPolicy};
use strongroom_proto::words::{Algorithm, Assurance, IdentityKind, OrgRole, OtpKind, Scheme, VaultRole};

use super::Step;
use super::model::{Model, Right};
use crate::access::{Release, Scope};
use crate::audit::state_check::{Records, check};
use crate::commands::identity::NewIdentity;
use crate::commands::incident::Closing;
use crate::commands::step_up::Signed;
use crate::commands::{
    Caller, alert, grant, group, identity, incident, organisation, pending, request, session, vault,
};
use crate::keystore::{StoreKeys, VaultKey};
use crate::state::alert::{AlertPlace, Escalation};
use crate::state::group::GroupNames;
use crate::state::pending::PendingChange;
use crate::state::rows::{Account, AccountNames, IdentityNames, Key, KeyNames, Org, Policy, VaultNames};
use crate::state::{LogId, State};
use crate::store::StoreError;
use crate::store::sealer::Sealer;
use crate::store::tx::{Draft, Placed, Refusal, Tx};

/// Two admins, a manager of both vaults, and three people who hold what histories give them.
pub(super) const PEOPLE: usize = 6;
const START_S: i64 = 1_795_262_400;
const ESCALATION: Escalation = Escalation { after: SignedDuration::from_secs(60), levels: 2 };

pub(super) struct World {
    state: State,
    /// The records of every log.
    trail: Trail,
    sealer: Sealer,
    instance: Instance,
    /// The wall clock, which goes where it likes.
    wall_s: i64,
    /// The newest commit: no decision is made before it.
    latest_s: i64,
    model: Model,
    people: Vec<IdentityId>,
    vaults: Vec<VaultId>,
    accounts: Vec<[AccountId; 2]>,
    grants: Vec<GrantId>,
    requests: Vec<RequestId>,
    pendings: Vec<PendingId>,
    /// Who has approved which request.
    approved: BTreeMap<RequestId, BTreeSet<usize>>,
}

/// A grant to be given; to the group if there is no `who`.
struct Wanted {
    who: Option<usize>,
    vault: usize,
    role: VaultRole,
    account: Option<usize>,
    in_s: i64,
    for_s: Option<i64>,
}

fn name(text: &str) -> Slug {
    Slug::new(text).unwrap()
}

fn person_name(place: usize) -> Slug {
    name(&format!("person-{place}"))
}

fn vault_name(place: usize) -> Slug {
    name(&format!("vault-{place}"))
}

fn account_name(place: usize) -> Slug {
    name(&format!("account-{place}"))
}

fn signed() -> Signed {
    Signed { nonce: String::new(), params_sha256: String::new(), signature: String::new() }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn new_identity(place: usize, roles: Vec<OrgRole>) -> NewIdentity {
    NewIdentity {
        id: IdentityId::random(),
        names: IdentityNames { slug: person_name(place), name: "Somebody".to_owned(), principals: Vec::new() },
        kind: IdentityKind::Technician,
        roles,
        until: None,
        service: None,
        key: Key {
            fingerprint: format!("SHA256:{place}"),
            identity: IdentityId::random(),
            public_key: "ssh-ed25519 AAAA".to_owned(),
            algorithm: "ssh-ed25519".to_owned(),
            active: true,
            confirmed: true,
            added_by: None,
            attested: false,
            attestation: None,
            certified: false,
            added_at: Timestamp::UNIX_EPOCH,
            names: KeyNames::default(),
        },
    }
}

/// Records by log, in their order.
#[derive(Default)]
struct Trail(BTreeMap<LogId, Vec<String>>);

impl Records for Trail {
    fn from(&self, log: LogId, place: u64) -> Result<Vec<String>, StoreError> {
        let all = self.0.get(&log).map_or(&[][..], Vec::as_slice);
        Ok(all[usize::try_from(place).unwrap()..].to_vec())
    }

    fn state_text(&self, _: LogId, _: u64) -> Result<Option<String>, StoreError> {
        Ok(None)
    }
}

impl World {
    /// Two admins of whom both have been active, a manager, two vaults of two accounts each, an empty group, and
    /// somebody who may ask for access. The other two have been enrolled by the first admin, and nobody else stands behind them.
    pub(super) fn founded() -> Self {
        let org = Org {
            id: OrgId::random(),
            created_at: Timestamp::UNIX_EPOCH,
            sole_admin_ended: false,
            recovery_recipients: Vec::new(),
            agent_key: "key".to_owned(),
        };
        let admin = new_identity(0, vec![OrgRole::Admin]);
        let mut world = Self {
            state: State::empty(org.clone()),
            trail: Trail::default(),
            sealer: Sealer::new(org.id, StoreKeys::random().unwrap()),
            instance: Instance::random(),
            wall_s: START_S,
            latest_s: START_S,
            model: Model::default(),
            people: vec![admin.id],
            vaults: Vec::new(),
            accounts: Vec::new(),
            grants: Vec::new(),
            requests: Vec::new(),
            pendings: Vec::new(),
            approved: BTreeMap::new(),
        };
        world.run(|tx, _| organisation::found(tx, &org, &admin)).unwrap();
        world.log_in(0);
        for place in 1..PEOPLE {
            let roles = if place == 1 { vec![OrgRole::Admin] } else { Vec::new() };
            let new = new_identity(place, roles);
            world.people.push(new.id);
            world.vouch(place, 0);
            world.run(|tx, people| identity::enrol(tx, &caller(people, 0), &new)).unwrap();
        }
        world.log_in(1);
        world
            .run(|tx, people| {
                let names = GroupNames { slug: name("group"), name: "Group".to_owned() };
                group::create(tx, &caller(people, 0), &names)
            })
            .unwrap();
        for place in 0..2 {
            world.make_vault(place);
        }
        world
    }

    fn log_in(&mut self, who: usize) {
        self.run(|tx, people| session::begin(tx, &caller(people, who), None, None)).unwrap();
    }

    fn make_vault(&mut self, place: usize) {
        let id = VaultId::random();
        let accounts = [AccountId::random(), AccountId::random()];
        self.vaults.push(id);
        self.accounts.push(accounts);
        let new = vault::NewVault {
            id,
            names: VaultNames { slug: vault_name(place), name: "Client".to_owned() },
            scheme: Scheme::Derived,
            min_assurance: None,
            key: VaultKey { vault: id, number: 1, scheme: Scheme::Derived, label: "key".to_owned(), kcv: [0; 8] },
        };
        self.run(|tx, people| vault::create(tx, &caller(people, 0), &new)).unwrap();
        // The second vault asks for two approvals and gives for one person alone; the first knows break-glass.
        let rules = if place == 0 {
            VaultPolicy { break_glass: Some(BreakGlass::default()), ..VaultPolicy::default() }
        } else {
            VaultPolicy {
                requests: Requests { approvals: 2, exclusive: true, ..Requests::default() },
                ..VaultPolicy::default()
            }
        };
        self.run(|tx, _| {
            tx.put(Policy { vault: id, scheme: Scheme::Derived, frozen: false, rules })?;
            for (number, account) in accounts.into_iter().enumerate() {
                tx.put(Account {
                    id: account,
                    vault: id,
                    kind: OtpKind::Totp,
                    algorithm: Algorithm::Sha1,
                    digits: 6,
                    period_s: 30,
                    next_counter: 0,
                    revision: 1,
                    created_at: tx.now,
                    seed_by: None,
                    names: AccountNames { slug: account_name(number), issuer: String::new(), label: String::new() },
                })?;
            }
            let whole = serde_json::to_string(&tx.state.policies[&id].rules).unwrap();
            for account in accounts {
                let mut draft = Draft::new("account.create").detail("revision", 1);
                draft.target.account = Some(account);
                tx.append(LogId::Vault(id), draft)?;
            }
            Ok(((), tx.append(LogId::Vault(id), Draft::new("policy.set").detail("after", whole))?))
        })
        .unwrap();
        // Admin 0 gives, admin 1 confirms: two people stand behind the manager and those who may ask.
        let mut roles = vec![(2, VaultRole::Manager)];
        roles.push((3, VaultRole::Eligible));
        for (who, role) in roles {
            let given = self
                .give(0, &Wanted { who: Some(who), vault: place, role, account: None, in_s: 0, for_s: None })
                .unwrap();
            if let Some(pending) = given.pending {
                self.confirm(1, pending).unwrap();
            }
        }
    }

    fn now_s(&self) -> i64 {
        self.wall_s.max(self.latest_s)
    }

    /// Runs a command as the store's writer does; a refusal leaves its denial.
    fn run<T>(
        &mut self,
        command: impl FnOnce(&mut Tx<'_>, &[IdentityId]) -> Result<(T, Receipt), Refusal>,
    ) -> Result<T, Failure> {
        let wall = at(self.wall_s);
        let people = self.people.clone();
        let mut tx = Tx::new(self.state.clone(), &self.sealer, self.instance, wall);
        let Refusal { failure, record, also } = match command(&mut tx, &people) {
            Ok((value, _)) => {
                let (state, _, records) = tx.finish().unwrap();
                self.commit(state, records);
                return Ok(value);
            }
            Err(refusal) => refusal,
        };
        if let Some((log, draft)) = record {
            let mut tx = Tx::new(self.state.clone(), &self.sealer, self.instance, wall);
            tx.append(log, *draft).unwrap();
            if let Some(also) = also {
                also(&mut tx).unwrap();
            }
            let (state, _, records) = tx.finish().unwrap();
            self.commit(state, records);
        }
        Err(failure)
    }

    fn commit(&mut self, state: State, records: Vec<Placed>) {
        self.state = state;
        self.latest_s = self.now_s();
        for record in records {
            self.trail.0.entry(record.log).or_default().push(record.record);
        }
    }

    /// The records alone say what the state says.
    pub(super) fn compare_with_logs(&self, step: &Step) {
        let checked = check(&self.state, &self.trail).unwrap();
        assert_eq!(checked.differences, [], "after {step:?}");
    }

    /// A replay that was written down at any place and goes on from there ends where one from the first record does.
    pub(super) fn compare_with_snapshots(&self, cut: &Index) {
        let mut begun = BTreeMap::new();
        for (log, records) in &self.trail.0 {
            let says = match log {
                LogId::Org => Says::Org(Office::default()),
                LogId::Vault(vault) => Says::of_vault(&begun[vault]),
            };
            let told = |mut state: LogState, records: &[String]| {
                records.iter().for_each(|record| state.take(record).unwrap());
                state
            };
            let all = told(LogState::begin(says.clone(), &records[0]).unwrap(), &records[1..]);
            let cut = 1 + cut.index(records.len());
            let before = told(LogState::begin(says, &records[0]).unwrap(), &records[1..cut]);
            let text = before.to_text().unwrap();
            let read = LogState::from_text(&text).unwrap();
            assert_eq!(read.to_text().unwrap(), text);
            assert_eq!(read.size, cut as u64);
            let rest = told(read, &records[cut..]);
            assert_eq!(rest.to_text().unwrap(), all.to_text().unwrap());
            if let Says::Org(office) = all.says {
                begun = office.vaults;
            }
        }
    }

    fn give(&mut self, by: usize, wanted: &Wanted) -> Result<grant::Given, Failure> {
        let Wanted { who, vault, role, account, in_s, for_s } = *wanted;
        let from = self.now_s() + in_s;
        let wanted = grant_wire::Give {
            vault: vault_name(vault),
            identity: who.map(person_name),
            group: who.is_none().then(|| name("group")),
            role,
            accounts: account.map(|account| vec![account_name(account)]),
            from: Some(at(from)),
            until: for_s.map(|seconds| at(from + seconds)),
            hours: None,
            reason: None,
            ticket: None,
        };
        let id = GrantId::random();
        let given = self.run(|tx, people| grant::give(tx, &caller(people, by), id, &wanted))?;
        assert_ne!(who, Some(by), "somebody gave themselves a grant");
        assert!(who.is_some() || !self.model.members.contains(&by), "somebody gave their own group a grant");
        self.pendings.extend(given.pending);
        self.grants.push(id);
        if let (Some(who), true) = (who, given.in_force) {
            self.vouch(who, by);
        }
        if role == VaultRole::Viewer {
            let right = Right {
                who,
                vault,
                account,
                from,
                until: for_s.map(|seconds| from + seconds),
                exclusive: false,
                waits: !given.in_force,
                ended: false,
                hands: BTreeSet::from([by]),
            };
            self.model.grants.insert(self.grants.len() - 1, right);
        }
        Ok(given)
    }

    fn vouch(&mut self, who: usize, by: usize) {
        self.model.vouched.entry(who).or_default().insert(by);
    }

    fn confirm(&mut self, by: usize, id: PendingId) -> Result<(), Failure> {
        let digest = self.state.pendings.get(&id).unwrap().digest.clone();
        let confirm = |tx: &mut Tx<'_>, people: &[IdentityId]| {
            pending::confirm(tx, &caller(people, by), id, &digest, false, &signed())
        };
        let pending = self.run(confirm)?;
        assert_ne!(pending.proposer, self.people[by], "somebody confirmed what they did");
        assert_ne!(pending.identity, Some(self.people[by]), "somebody confirmed what serves them");
        if let Some(who) = pending.identity {
            self.vouch(self.place(who), by);
        }
        match pending.change {
            PendingChange::Grant { grant, .. } => {
                let place = self.grants.iter().position(|known| *known == grant).unwrap();
                if let Some(right) = self.model.grants.get_mut(&place) {
                    right.waits = false;
                    right.hands.insert(by);
                }
            }
            PendingChange::Member { .. } => {
                let who = self.place(pending.identity.unwrap());
                self.model.members.insert(who);
            }
            _ => {}
        }
        Ok(())
    }

    fn place(&self, id: IdentityId) -> usize {
        self.people.iter().position(|known| *known == id).unwrap()
    }

    /// Tries a step, and tells the model if it was done.
    pub(super) fn take(&mut self, step: &Step) {
        match *step {
            Step::Give { by, who, vault, account, in_s, for_s } => {
                let role = VaultRole::Viewer;
                let _refused = self.give(by, &Wanted { who, vault, role, account, in_s, for_s });
            }
            Step::End { by, which } => self.end(by, which),
            Step::Confirm { by, which } => {
                if let Some(id) = pick(&self.pendings, which) {
                    let _refused = self.confirm(by, id);
                }
            }
            Step::Reject { by, which } => self.reject(by, which),
            Step::Ask { by, vault, account, for_s, glass } => self.ask(by, vault, account, for_s, glass),
            Step::Approve { by, which } => self.approve(by, which),
            Step::Deny { by, which } => {
                if let Some(id) = pick(&self.requests, which) {
                    let _refused = self.run(|tx, people| request::deny(tx, &caller(people, by), id, "no"));
                }
            }
            Step::Cancel { by, which } => {
                if let Some(id) = pick(&self.requests, which)
                    && self.run(|tx, people| request::cancel(tx, &caller(people, by), id)).is_ok()
                {
                    self.end_of_request(id);
                }
            }
            Step::Join { by, who } => self.join(by, who),
            Step::Leave { by, who } => {
                let leave = |tx: &mut Tx<'_>, people: &[IdentityId]| {
                    group::member_remove(tx, &caller(people, by), &name("group"), &person_name(who))
                };
                if self.run(leave).is_ok() {
                    self.model.members.remove(&who);
                }
            }
            Step::Suspend { by, who } => {
                if self.run(|tx, people| identity::suspend(tx, &caller(people, by), &person_name(who), "x")).is_ok() {
                    self.model.suspended.insert(who);
                }
            }
            Step::Resume { by, who } => {
                if self.run(|tx, people| identity::resume(tx, &caller(people, by), &person_name(who), "x")).is_ok() {
                    self.model.suspended.remove(&who);
                }
            }
            Step::Revoke { by, who } => {
                if self.run(|tx, people| identity::revoke(tx, &caller(people, by), &person_name(who), "x")).is_ok() {
                    assert_ne!(by, who, "somebody revoked themselves");
                    self.model.revoked.insert(who);
                    self.model.members.remove(&who);
                    // What was theirs alone has ended for good; nobody is checked out by somebody who left.
                    for right in self.model.grants.values_mut().filter(|right| right.who == Some(who)) {
                        right.ended = true;
                    }
                }
            }
            Step::Freeze { by, vault } => {
                if self
                    .run(|tx, people| vault::set_frozen(tx, &caller(people, by), &vault_name(vault), true, "x"))
                    .is_ok()
                {
                    self.model.frozen.insert(vault);
                }
            }
            Step::Thaw { by, vault } => {
                if self
                    .run(|tx, people| vault::set_frozen(tx, &caller(people, by), &vault_name(vault), false, "x"))
                    .is_ok()
                {
                    self.model.frozen.remove(&vault);
                }
            }
            Step::OpenIncident { by, vault, who } => self.open_incident(by, vault, who),
            Step::CloseIncident { by, which, undo } => self.close_incident(by, which, undo),
            Step::See { by, which } => {
                if let Some(place) = pick(&self.alerts(), which) {
                    let _refused = self.run(|tx, people| alert::seen(tx, &caller(people, by), &[place]));
                }
            }
            Step::Answer { by, which } => self.answer(by, which),
            Step::Clock { seconds } => self.wall_s += seconds,
            Step::Sweep => {
                let _nothing = self.run(|tx, _| request::sweep(tx, 10));
                let _nothing = self.run(|tx, _| pending::sweep(tx, 10));
                let _nothing = self.run(|tx, _| alert::escalate(tx, ESCALATION, 10));
            }
        }
    }

    fn open_incident(&mut self, by: usize, vault: usize, who: usize) {
        let id = IncidentId::random();
        let (vaults, people_of) = ([vault_name(vault)], [person_name(who)]);
        let open = |tx: &mut Tx<'_>, people: &[IdentityId]| {
            incident::open(tx, &caller(people, by), id, &vaults, &people_of, "x")
        };
        if self.run(open).is_ok() {
            self.model.frozen.insert(vault);
            assert!(by != who || !self.state.incidents[&id].suspended.contains(&self.people[who]), "by their own hand");
            if !self.model.revoked.contains(&who) {
                self.model.suspended.insert(who);
            }
        }
    }

    fn close_incident(&mut self, by: usize, which: Index, undo: bool) {
        let all: Vec<IncidentId> = self.state.incidents.keys().copied().collect();
        let Some(incident) = pick(&all, which) else { return };
        let before = self.state.clone();
        let closing = Closing {
            incident,
            note: "x".to_owned(),
            thaw: undo,
            resume: undo,
            since: at(START_S),
            rotate: vec![(self.vaults[0], self.accounts[0][0])],
        };
        let Ok(closed) = self.run(|tx, people| incident::close(tx, &caller(people, by), &closing)) else { return };
        assert!(undo || (closed.thawed.is_empty() && closed.resumed.is_empty()), "nobody asked for it");
        let of = &closed.incident;
        for vault in closed.thawed {
            assert!(before.policies[&vault].frozen && of.froze.contains(&vault), "it was not this incident's to thaw");
            self.model.frozen.remove(&self.vaults.iter().position(|known| *known == vault).unwrap());
        }
        for who in closed.resumed {
            assert!(of.suspended.contains(&who) && who != self.people[by], "nor to resume");
            self.model.suspended.remove(&self.place(who));
        }
    }

    fn alerts(&self) -> Vec<AlertPlace> {
        self.state.alerts.keys().copied().collect()
    }

    fn answer(&mut self, by: usize, which: Index) {
        let Some(place) = pick(&self.alerts(), which) else { return };
        let vault = match place.0 {
            LogId::Org => None,
            LogId::Vault(id) => Some(vault_name(self.vaults.iter().position(|known| *known == id).unwrap())),
        };
        let before = self.state.alerts.get(&place).unwrap().clone();
        let ack = |tx: &mut Tx<'_>, people: &[IdentityId]| {
            alert::ack(tx, &caller(people, by), vault.as_ref(), place.1, "looked")
        };
        if self.run(ack).is_ok() {
            assert!(before.acked.is_none(), "an alert was answered twice");
            assert_ne!(before.actor, Some(self.people[by]), "somebody answered what they did");
            assert!(self.state.open_alerts.get(&place).is_none(), "it is still open");
        }
    }

    fn end(&mut self, by: usize, which: Index) {
        let Some(id) = pick(&self.grants, which) else { return };
        if self.run(|tx, people| grant::end(tx, &caller(people, by), id, None)).is_ok() {
            let place = self.grants.iter().position(|known| *known == id).unwrap();
            if let Some(right) = self.model.grants.get_mut(&place) {
                right.ended = true;
            }
        }
    }

    fn reject(&mut self, by: usize, which: Index) {
        let Some(id) = pick(&self.pendings, which) else { return };
        if let Ok(pending) = self.run(|tx, people| pending::reject(tx, &caller(people, by), id, "no")) {
            match pending.change {
                PendingChange::Grant { grant, .. } => {
                    let place = self.grants.iter().position(|known| *known == grant).unwrap();
                    if let Some(right) = self.model.grants.get_mut(&place) {
                        right.ended = true;
                    }
                }
                PendingChange::Member { .. } => {
                    let who = self.place(pending.identity.unwrap());
                    self.model.members.remove(&who);
                }
                _ => {}
            }
        }
    }

    fn ask(&mut self, by: usize, vault: usize, account: Option<usize>, for_s: u64, glass: bool) {
        let wanted = request_wire::Make {
            vault: vault_name(vault),
            accounts: account.map(|account| vec![account_name(account)]),
            duration_s: for_s,
            reason: "x".to_owned(),
            ticket: None,
            break_glass: glass,
        };
        if let Ok(made) = self.run(|tx, people| request::make(tx, &caller(people, by), &wanted)) {
            self.requests.push(made.id);
            if let Some(grant) = made.grant {
                // Nobody stands behind it but those who said that the requester may ask.
                self.granted(made.id, grant, BTreeSet::new());
            }
        }
    }

    fn approve(&mut self, by: usize, which: Index) {
        let Some(id) = pick(&self.requests, which) else { return };
        let digest = self.state.requests.get(&id).unwrap().digest.clone();
        let approve =
            |tx: &mut Tx<'_>, people: &[IdentityId]| request::approve(tx, &caller(people, by), id, &digest, &signed());
        let Ok(outcome) = self.run(approve) else { return };
        assert_ne!(outcome.request.requester, self.people[by], "somebody approved for themselves");
        let hands = self.approved.entry(id).or_default();
        assert!(hands.insert(by), "somebody approved twice");
        if let Some(grant) = outcome.request.grant {
            let needed = if outcome.request.vault == self.vaults[1] { 2 } else { 1 };
            assert!(hands.len() >= needed, "too few approved");
            let hands = hands.clone();
            self.granted(id, grant, hands);
        }
    }

    fn granted(&mut self, id: RequestId, grant: GrantId, hands: BTreeSet<usize>) {
        let request = self.state.requests.get(&id).unwrap();
        let vault = self.vaults.iter().position(|known| *known == request.vault).unwrap();
        let only = request.accounts.as_ref().map(|accounts| accounts[0]);
        let account = only.map(|only| self.accounts[vault].iter().position(|known| *known == only).unwrap());
        let from = self.latest_s;
        let right = Right {
            who: Some(self.place(request.requester)),
            vault,
            account,
            from,
            until: Some(from + i64::try_from(request.duration_s).unwrap()),
            exclusive: request.exclusive,
            waits: false,
            ended: false,
            hands,
        };
        self.grants.push(grant);
        self.model.grants.insert(self.grants.len() - 1, right);
    }

    fn end_of_request(&mut self, id: RequestId) {
        let grant = self.state.requests.get(&id).unwrap().grant;
        let place = self.grants.iter().position(|known| Some(*known) == grant);
        if let Some(right) = place.and_then(|place| self.model.grants.get_mut(&place)) {
            right.ended = true;
        }
    }

    fn join(&mut self, by: usize, who: usize) {
        let join = |tx: &mut Tx<'_>, people: &[IdentityId]| {
            group::member_add(tx, &caller(people, by), &name("group"), &person_name(who))
        };
        if let Ok(added) = self.run(join) {
            assert_ne!(by, who, "somebody put themselves into a group");
            self.pendings.extend(added.pending);
            if added.in_force {
                self.vouch(who, by);
                self.model.members.insert(who);
            }
        }
    }

    /// Everybody tries every account: the real decision is the model's.
    pub(super) fn compare(&self, step: &Step) {
        let now_s = self.now_s();
        for who in 0..PEOPLE {
            for vault in 0..self.vaults.len() {
                for account in 0..2 {
                    let release = Release {
                        identity: self.people[who],
                        uid: None,
                        vault: self.vaults[vault],
                        account: self.accounts[vault][account],
                        step: Some(1),
                        reason: None,
                        ticket: None,
                        signed: false,
                    };
                    let real = caller(&self.people, who).may_release(&self.state, &release, at(self.wall_s));
                    let given = self.model.gives(who, vault, account, now_s);
                    assert_eq!(real.is_ok(), given, "{who} {vault} {account} after {step:?}: {real:?}");
                    if let Ok(terms) = real {
                        assert!(matches!(&terms.scope, Scope::Whole | Scope::Only(_)) && terms.grant.is_some());
                        let hands = self.model.hands(who, vault, account, now_s);
                        // Behind the admins of the first hour stood nobody else: their rights are still given by another.
                        let needed = if who < 2 { 1 } else { 2 };
                        assert!(
                            hands.len() >= needed,
                            "{who} gets a code by the hand of {hands:?} alone, after {step:?}"
                        );
                    }
                }
            }
        }
    }
}

fn pick<T: Copy>(all: &[T], which: Index) -> Option<T> {
    if all.is_empty() { None } else { Some(*which.get(all)) }
}

fn caller(people: &[IdentityId], who: usize) -> Caller {
    Caller {
        actor: strongroom_proto::audit::record::Actor {
            assurance: Assurance::SoftwareKey,
            identity: people[who],
            key: format!("SHA256:{who}"),
            session: SessionId::random(),
        },
        from: strongroom_proto::audit::record::From { client: "tests/1".to_owned(), pid: None, uid: None },
    }
}
