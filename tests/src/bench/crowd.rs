//! Fills a store with people, vaults, grants and a history, by the agent's own commands where there are any.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use strongroom_agent::commands::identity::NewIdentity;
use strongroom_agent::commands::{Caller, organisation, vault};
use strongroom_agent::keystore::VaultKey;
use strongroom_agent::state::LogId;
use strongroom_agent::state::rows::{
    Account, AccountNames, Grant, Holder, Identity, IdentityNames, Key, KeyNames, Org, VaultNames,
};
use strongroom_agent::store::Refused;
use strongroom_agent::store::sqlite::Store;
use strongroom_agent::store::tx::Draft;
use strongroom_proto::audit::record::{Actor, From, GrantRef};
use strongroom_proto::error::Failure;
use strongroom_proto::ids::{AccountId, GrantId, IdentityId, OrgId, SessionId, VaultId};
use strongroom_proto::words::{
    Algorithm, Assurance, IdentityKind, IdentityStatus, OrgRole, OtpKind, Scheme, VaultRole,
};

use crate::organisation::slug;

/// Rows of one commit.
const BATCH: usize = 1_000;

/// How large it is.
pub(super) struct Size {
    identities: usize,
    vaults: usize,
    accounts_each: usize,
    grants_each: usize,
    records: usize,
}

impl Size {
    pub(super) const FULL: Self =
        Self { identities: 10_000, vaults: 1_000, accounts_each: 10, grants_each: 100, records: 1_000_000 };
    /// A middling organisation with a long past.
    pub(super) const fn of_trail(records: usize) -> Self {
        Self { identities: 100, vaults: 20, accounts_each: 10, grants_each: 20, records }
    }

    pub(super) const QUICK: Self = Self { identities: 20, vaults: 3, accounts_each: 2, grants_each: 5, records: 500 };
}

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} identities, {} vaults, {} grants, {} records",
            self.identities,
            self.vaults,
            self.vaults * self.grants_each,
            self.records
        )
    }
}

/// Who and what there is, to be picked from.
pub(super) struct Crowd {
    people: Vec<IdentityId>,
    callers: Vec<Caller>,
    vaults: Vec<Vault>,
}

struct Vault {
    id: VaultId,
    accounts: Vec<AccountId>,
    /// Each with the place of its holder.
    grants: Vec<(GrantId, usize)>,
}

impl Crowd {
    /// Fills a store. `millis` is its clock, which is moved on by as much as each record takes of ninety days.
    pub(super) async fn fill(store: &Store, org: OrgId, size: &Size, millis: &AtomicI64) -> anyhow::Result<Self> {
        let mut crowd = Self { people: Vec::new(), callers: Vec::new(), vaults: Vec::new() };
        crowd.found(store, org).await?;
        crowd.enrol(store, size.identities).await?;
        crowd.log_in();
        for place in 0..size.vaults {
            crowd.make_vault(store, place, size).await?;
        }
        let written: u64 = store.view().heads.values().map(|head| head.frontier.size()).sum();
        let left = size.records.saturating_sub(usize::try_from(written)?);
        let each = left.div_ceil(size.vaults).max(1);
        let step_ms = 90 * 86_400_000 / i64::try_from(size.vaults)?;
        for place in 0..size.vaults {
            millis.fetch_add(step_ms, Ordering::Relaxed);
            crowd.work(store, place, each).await?;
        }
        Ok(crowd)
    }

    pub(super) fn len(&self) -> usize {
        self.vaults.iter().map(|vault| vault.grants.len()).sum()
    }

    fn at(&self, place: usize) -> (&Vault, &(GrantId, usize)) {
        let each = self.vaults[0].grants.len();
        let vault = &self.vaults[place / each];
        (vault, &vault.grants[place % each])
    }

    pub(super) fn grant(&self, place: usize) -> GrantId {
        self.at(place).1.0
    }

    /// Somebody, a vault and an account: what they may take, or what is another vault's.
    pub(super) fn right(&self, place: usize, stranger: bool) -> (usize, VaultId, AccountId) {
        let (vault, (_, holder)) = self.at(place);
        let holder = if stranger { self.people.len() - 1 } else { *holder };
        (holder, vault.id, vault.accounts[place % vault.accounts.len()])
    }

    /// Somebody in a session.
    pub(super) fn caller(&self, who: usize) -> &Caller {
        &self.callers[who]
    }

    fn log_in(&mut self) {
        let caller = |(who, identity): (usize, &IdentityId)| {
            let (assurance, key, session) = (Assurance::SoftwareKey, fingerprint(who), SessionId::random());
            let actor = Actor { assurance, identity: *identity, key, session };
            Caller { actor, from: From { client: "bench/1".to_owned(), pid: None, uid: None } }
        };
        self.callers = self.people.iter().enumerate().map(caller).collect();
    }

    async fn found(&mut self, store: &Store, org: OrgId) -> anyhow::Result<()> {
        let org = Org {
            id: org,
            created_at: Timestamp::UNIX_EPOCH,
            sole_admin_ended: false,
            recovery_recipients: Vec::new(),
            agent_key: "key".to_owned(),
        };
        let id = IdentityId::random();
        self.people.push(id);
        let admin = NewIdentity {
            id,
            names: IdentityNames { slug: slug("admin"), name: "Admin".to_owned(), principals: Vec::new() },
            kind: IdentityKind::Technician,
            roles: vec![OrgRole::Admin],
            until: None,
            service: None,
            key: key(0, id),
        };
        done(store.submit(move |tx| organisation::found(tx, &org, &admin)).await)
    }

    async fn enrol(&mut self, store: &Store, count: usize) -> anyhow::Result<()> {
        let places: Vec<(usize, IdentityId)> = (1..count).map(|place| (place, IdentityId::random())).collect();
        self.people.extend(places.iter().map(|(_, id)| *id));
        for some in places.chunks(BATCH) {
            let some = some.to_vec();
            let enrol = store.submit(move |tx| {
                for (place, id) in &some {
                    tx.put(Identity {
                        id: *id,
                        kind: IdentityKind::Technician,
                        status: IdentityStatus::Active,
                        roles: Vec::new(),
                        created_at: tx.now,
                        until: None,
                        enrolled_by: None,
                        vetted: true,
                        service: None,
                        certificates: false,
                        names: IdentityNames {
                            slug: slug(&format!("person-{place}")),
                            name: format!("Person {place}"),
                            principals: Vec::new(),
                        },
                    })?;
                    tx.put(key(*place, *id))?;
                }
                let mut receipt = None;
                for (place, id) in &some {
                    let mut draft = Draft::new("identity.enrol").detail("kind", "technician").detail("roles", "");
                    draft.target.identity = Some(*id);
                    draft.target.key = Some(fingerprint(*place));
                    receipt = Some(tx.append(LogId::Org, draft)?);
                }
                receipt.map(|receipt| ((), receipt)).ok_or_else(|| Failure::not_found().into())
            });
            done(enrol.await)?;
        }
        Ok(())
    }

    async fn make_vault(&mut self, store: &Store, place: usize, size: &Size) -> anyhow::Result<()> {
        let id = VaultId::random();
        let new = vault::NewVault {
            id,
            names: VaultNames { slug: slug(&format!("vault-{place}")), name: format!("Client {place}") },
            scheme: Scheme::Derived,
            min_assurance: None,
            key: VaultKey { vault: id, number: 1, scheme: Scheme::Derived, label: "none".to_owned(), kcv: [0; 8] },
        };
        let admin = self.caller(0).clone();
        done(store.submit(move |tx| vault::create(tx, &admin, &new)).await)?;
        let accounts: Vec<AccountId> = (0..size.accounts_each).map(|_| AccountId::random()).collect();
        // The last of the people holds nothing.
        let holders = self.people.len() - 1;
        let grants: Vec<(GrantId, usize)> =
            (0..size.grants_each).map(|number| (GrantId::random(), (place * 31 + number * 97) % holders)).collect();
        let people: Vec<IdentityId> = grants.iter().map(|(_, holder)| self.people[*holder]).collect();
        let made = Vault { id, accounts: accounts.clone(), grants: grants.clone() };
        self.vaults.push(made);
        let admin = self.caller(0).clone();
        let fill = store.submit(move |tx| {
            for (number, account) in accounts.iter().enumerate() {
                tx.put(Account {
                    id: *account,
                    vault: id,
                    kind: OtpKind::Totp,
                    algorithm: Algorithm::Sha1,
                    digits: 6,
                    period_s: 30,
                    next_counter: 0,
                    revision: 1,
                    created_at: tx.now,
                    seed_by: None,
                    names: AccountNames {
                        slug: slug(&format!("account-{number}")),
                        issuer: "Issuer".to_owned(),
                        label: "admin@example.com".to_owned(),
                    },
                })?;
            }
            for ((grant, _), identity) in grants.iter().zip(&people) {
                tx.put(Grant {
                    id: *grant,
                    vault: id,
                    holder: Holder::Identity(*identity),
                    role: VaultRole::Viewer,
                    accounts: None,
                    from: tx.now,
                    until: None,
                    hours: None,
                    given_by: admin.identity(),
                    given_at: tx.now,
                    request: None,
                    exclusive: false,
                    pending: false,
                    ended_at: None,
                })?;
            }
            let mut receipt = None;
            for account in &accounts {
                let mut draft = admin.draft(&tx.state, "account.create").detail("revision", 1);
                draft.target.account = Some(*account);
                tx.append(LogId::Vault(id), draft)?;
            }
            let from = tx.now.to_string();
            for ((grant, _), identity) in grants.iter().zip(&people) {
                let draft = admin.draft(&tx.state, "grant.give").detail("role", "viewer");
                let mut draft = draft.detail("from", from.as_str());
                draft.target.grant = Some(*grant);
                draft.target.identity = Some(*identity);
                receipt = Some(tx.append(LogId::Vault(id), draft)?);
            }
            receipt.map(|receipt| ((), receipt)).ok_or_else(|| Failure::not_found().into())
        });
        done(fill.await)
    }

    /// So many releases in one vault, as the agent records them.
    async fn work(&self, store: &Store, place: usize, count: usize) -> anyhow::Result<()> {
        let vault = &self.vaults[place];
        let (id, accounts, grants) = (vault.id, vault.accounts.clone(), vault.grants.clone());
        let callers: Vec<Caller> = grants.iter().map(|(_, holder)| self.caller(*holder).clone()).collect();
        let releases = store.submit(move |tx| {
            let mut receipt = None;
            for turn in 0..count {
                let (grant, caller) = (grants[turn % grants.len()].0, &callers[turn % callers.len()]);
                let draft = caller.draft(&tx.state, "code.release").text("account.name", "account");
                let mut draft = draft.detail("step", 58_000_000 + turn);
                draft.target.account = Some(accounts[turn % accounts.len()]);
                draft.grant = Some(GrantRef { id: grant, version: 1 });
                receipt = Some(tx.append(LogId::Vault(id), draft)?);
            }
            receipt.map(|receipt| ((), receipt)).ok_or_else(|| Failure::not_found().into())
        });
        done(releases.await)
    }
}

fn done<T>(outcome: Result<T, Refused>) -> anyhow::Result<()> {
    outcome.map(|_| ()).map_err(|refused| anyhow::anyhow!("the store refused: {refused:?}"))
}

fn fingerprint(who: usize) -> String {
    format!("SHA256:{who:043}")
}

fn key(place: usize, identity: IdentityId) -> Key {
    Key {
        fingerprint: fingerprint(place),
        identity,
        public_key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJjJ7f7QyZ4Z5m0".to_owned(),
        algorithm: "ssh-ed25519".to_owned(),
        active: true,
        confirmed: true,
        added_by: None,
        attested: false,
        attestation: None,
        certified: false,
        added_at: Timestamp::UNIX_EPOCH,
        names: KeyNames { comment: "somebody@laptop".to_owned() },
    }
}
