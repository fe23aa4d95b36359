//! The log of one vault: grants, accounts, its policy.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Alarms, Begun, Office, Pendings, Said, Unsaid, happened};
use crate::audit::record::Record;
use crate::ids::{AccountId, GrantId, GroupId, IdentityId};
use crate::policy::{Hours, VaultPolicy};
use crate::words::{Scheme, VaultRole};

/// A grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// Whose, if it is one person's or script's.
    pub identity: Option<IdentityId>,
    /// Whose, if it is a group's.
    pub group: Option<GroupId>,
    /// Which right.
    pub role: VaultRole,
    /// Only these accounts.
    pub accounts: Option<Vec<AccountId>>,
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub until: Option<Timestamp>,
    /// Only in these hours.
    pub hours: Option<Hours>,
    /// True while it waits for a second person.
    pub waits: bool,
    /// True once it was ended.
    pub ended: bool,
}

impl Given {
    /// True if it covers an account.
    #[must_use]
    pub fn covers(&self, account: AccountId) -> bool {
        self.accounts.as_ref().is_none_or(|accounts| accounts.contains(&account))
    }
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Which seed, from 1.
    pub revision: u64,
    /// The counter of its next code, once one was taken.
    pub next_counter: Option<u64>,
}

/// A vault, told from its log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientVault {
    /// Every grant there has been.
    pub grants: BTreeMap<GrantId, Given>,
    /// The accounts that there are.
    pub accounts: BTreeMap<AccountId, Kept>,
    /// True while nothing is released.
    pub frozen: bool,
    /// True once it was destroyed.
    pub destroyed: bool,
    /// How new seeds are sealed; unknown once a token has left that had sealed them.
    pub scheme: Option<Scheme>,
    /// Its policy.
    pub policy: VaultPolicy,
    /// The alerts in its log.
    #[serde(default)]
    pub alerts: Alarms,
    pendings: Pendings,
}

impl ClientVault {
    /// A vault as the organisation's log says that it began.
    #[must_use]
    pub fn new(begun: &Begun) -> Self {
        Self {
            grants: BTreeMap::new(),
            accounts: BTreeMap::new(),
            frozen: false,
            destroyed: false,
            scheme: None,
            policy: begun.policy.clone(),
            alerts: Alarms::default(),
            pendings: Pendings::default(),
        }
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// As [`Office::take`].
    pub fn take(&mut self, record: &Record) -> Result<(), Unsaid> {
        let said = Said(record);
        self.alerts.take(&said)?;
        if !happened(record) {
            return Ok(());
        }
        self.pendings.note(&said)?;
        match record.event.as_str() {
            "log.open" => {
                self.scheme = Some(said.must("scheme")?);
                self.policy.min_assurance = said.must("min_assurance")?;
            }
            "grant.give" => self.give(&said)?,
            "grant.end" => self.grant(&said)?.ended = true,
            "vault.freeze" => self.frozen = true,
            "vault.thaw" => self.frozen = false,
            "ceremony.run" if said.text("ceremony_kind") == Some("destroy") => self.frozen = true,
            "vault.key_create" => self.scheme = Some(said.must("scheme")?),
            "vault.token_left" if said.text("now").is_some() => self.scheme = None,
            "vault.destroy" => self.destroy(),
            "account.create" | "account.replace" => {
                let revision = said.0.detail.get("revision").and_then(Value::as_u64);
                let revision = revision.ok_or_else(|| said.unsaid("revision"))?;
                self.accounts.insert(account(&said)?, Kept { revision, next_counter: None });
            }
            "account.remove" => {
                self.accounts.remove(&account(&said)?);
            }
            "code.release" => {
                if let Some(counter) = said.0.detail.get("counter").and_then(Value::as_u64) {
                    let kept = self.accounts.get_mut(&account(&said)?);
                    kept.ok_or_else(|| said.unsaid("an account that there is"))?.next_counter = Some(counter + 1);
                }
            }
            "policy.set" if !said.waits() => {
                self.policy = said.json("after")?.ok_or_else(|| said.unsaid("after"))?;
            }
            "pending.confirm" => self.confirm(&said)?,
            "pending.reject" | "pending.lapse" => {
                if let Some(grant) = self.pendings.decided(&said)?.and_then(|waiting| waiting.target.grant) {
                    let grant = self.grants.get_mut(&grant).ok_or_else(|| said.unsaid("which grant"))?;
                    grant.ended |= grant.waits;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Who holds a right to take codes of an account at a time, as far as grants say: policies and hours may have stood in the way.
    #[must_use]
    pub fn could_release(&self, office: &Office, account: AccountId, at: Timestamp) -> Vec<IdentityId> {
        let serves = |identity: &&IdentityId| {
            office.is_active(**identity, at)
                && office.has_key(**identity)
                && self.grants.values().any(|grant| {
                    grant.role == VaultRole::Viewer && grant.covers(account) && grant.serves(office, **identity, at)
                })
        };
        if self.frozen || self.destroyed || !self.accounts.contains_key(&account) {
            return Vec::new();
        }
        office.people.keys().filter(serves).copied().collect()
    }

    fn grant(&mut self, said: &Said<'_>) -> Result<&mut Given, Unsaid> {
        let grant = said.0.target.grant;
        grant.and_then(|grant| self.grants.get_mut(&grant)).ok_or_else(|| said.unsaid("which grant"))
    }

    fn give(&mut self, said: &Said<'_>) -> Result<(), Unsaid> {
        let id = said.0.target.grant.ok_or_else(|| said.unsaid("which grant"))?;
        let group = said.maybe("group")?;
        let grant = Given {
            identity: said.0.target.identity.filter(|_| group.is_none()),
            group,
            role: said.must("role")?,
            accounts: said.text("accounts").map(|_| said.list("accounts")).transpose()?,
            from: said.must("from")?,
            until: said.maybe("until")?,
            hours: said.json("hours")?,
            waits: said.waits(),
            ended: false,
        };
        self.grants.insert(id, grant);
        Ok(())
    }

    fn destroy(&mut self) {
        self.destroyed = true;
        self.accounts.clear();
        let others = self.grants.values_mut().filter(|grant| grant.role != VaultRole::Auditor);
        others.for_each(|grant| grant.ended = true);
    }

    fn confirm(&mut self, said: &Said<'_>) -> Result<(), Unsaid> {
        let Some(waiting) = self.pendings.decided(said)?.cloned() else { return Ok(()) };
        match said.text("change") {
            Some("grant") => self.grant(said)?.waits = false,
            Some("vault-policy") => self.policy = waiting.policy(said)?,
            _ => return Err(said.unsaid("what change")),
        }
        Ok(())
    }
}

fn account(said: &Said<'_>) -> Result<AccountId, Unsaid> {
    said.0.target.account.ok_or_else(|| said.unsaid("which account"))
}
