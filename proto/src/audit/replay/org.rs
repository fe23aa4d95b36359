//! The log of the organisation: people, keys, groups, the organisation's policy, and which vaults there are.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Affairs, Alarms, Pendings, Said, Unsaid, happened, within};
use crate::audit::record::Record;
use crate::ids::{GroupId, IdentityId, VaultId};
use crate::policy::{OrgPolicy, VaultPolicy};
use crate::words::{IdentityKind, IdentityStatus, OrgRole};

/// Somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Person or script.
    pub kind: IdentityKind,
    /// Whether they may log in.
    pub status: IdentityStatus,
    /// Their roles over the organisation.
    pub roles: BTreeSet<OrgRole>,
    /// When their access ends by itself.
    pub until: Option<Timestamp>,
    /// Whether certificates log them in.
    pub certificates: bool,
}

impl Person {
    /// True if they may act at a time.
    #[must_use]
    pub fn is_active(&self, at: Timestamp) -> bool {
        matches!(self.status, IdentityStatus::Active | IdentityStatus::Held)
            && self.until.is_none_or(|until| at < until)
    }
}

/// A key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonKey {
    /// Whose.
    pub identity: IdentityId,
    /// False once it was removed.
    pub active: bool,
    /// False while it waits for a second person.
    pub confirmed: bool,
    /// True once it logged in by certificate.
    pub certified: bool,
}

/// A vault as it began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// What the organisation's policy said of new vaults then.
    pub policy: VaultPolicy,
    /// True once it was destroyed.
    pub destroyed: bool,
}

/// The organisation, told from its log.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Office {
    /// Everybody there has been.
    pub people: BTreeMap<IdentityId, Person>,
    /// Every key there has been, by fingerprint.
    pub keys: BTreeMap<String, PersonKey>,
    /// Every group there has been; true once it was removed.
    pub groups: BTreeMap<GroupId, bool>,
    /// Who is in which group; true while it waits for a second person.
    #[serde(with = "super::snapshot::members")]
    pub members: BTreeMap<(GroupId, IdentityId), bool>,
    /// Every vault there has been.
    pub vaults: BTreeMap<VaultId, Begun>,
    /// The organisation's policy.
    pub policy: OrgPolicy,
    /// True once a second admin was active.
    pub sole_admin_ended: bool,
    /// Every incident there has been.
    #[serde(default)]
    pub incidents: Affairs,
    /// The alerts in its log.
    #[serde(default)]
    pub alerts: Alarms,
    pendings: Pendings,
}

impl Office {
    /// Takes the next record.
    ///
    /// # Errors
    /// [`Unsaid`] if it does not say what its event must: then nothing that is told from it can be believed.
    pub fn take(&mut self, record: &Record) -> Result<(), Unsaid> {
        let said = Said(record);
        self.alerts.take(&said)?;
        if !happened(record) {
            return Ok(());
        }
        self.pendings.note(&said)?;
        match record.event.as_str() {
            "identity.enrol" | "emergency.admin" => self.enrol(&said),
            "identity.key_add" => self.add_key(&said, !said.waits()),
            "identity.key_remove" => {
                self.key(&said, record.target.key.as_deref())?.active = false;
                Ok(())
            }
            "identity.roles" => self.roles(&said),
            "identity.update" => {
                let until = said.maybe("until")?;
                let person = self.person(&said)?;
                person.until = until.or(person.until);
                Ok(())
            }
            "identity.certificates" => {
                let allowed = said.flag("allowed");
                // What waits changes nothing yet; a withdrawal never waits.
                if !said.waits() {
                    self.person(&said)?.certificates = allowed;
                }
                Ok(())
            }
            "identity.suspend" => self.status(&said, IdentityStatus::Suspended),
            "identity.resume" => self.status(&said, IdentityStatus::Active),
            "identity.hold" if self.person(&said)?.status == IdentityStatus::Active => {
                self.status(&said, IdentityStatus::Held)
            }
            "identity.revoke" => self.revoke(&said),
            "session.login" => self.log_in(&said),
            "group.create" => {
                self.groups.insert(said.must("group")?, false);
                Ok(())
            }
            "group.remove" => {
                let group = said.must("group")?;
                self.groups.insert(group, true);
                self.members.retain(|(of, _), _| *of != group);
                Ok(())
            }
            "group.member_add" => {
                let place = self.place(&said)?;
                self.members.insert(place, said.waits());
                Ok(())
            }
            "group.member_remove" => {
                let place = self.place(&said)?;
                self.members.remove(&place);
                Ok(())
            }
            "policy.set" if !said.waits() => {
                self.policy = said.json("after")?.ok_or_else(|| said.unsaid("after"))?;
                Ok(())
            }
            "vault.create" => {
                let vault = record.target.vault.ok_or_else(|| said.unsaid("which vault"))?;
                self.vaults.insert(vault, Begun { policy: self.policy.vault.clone(), destroyed: false });
                Ok(())
            }
            "vault.destroy" => {
                let vault = record.target.vault.and_then(|vault| self.vaults.get_mut(&vault));
                vault.ok_or_else(|| said.unsaid("which vault"))?.destroyed = true;
                Ok(())
            }
            "incident.open" => self.incidents.open(&said),
            "incident.close" => self.incidents.close(&said),
            "pending.confirm" => self.confirm(&said),
            "pending.reject" | "pending.lapse" => self.undo(&said),
            _ => Ok(()),
        }
    }

    /// True if somebody may act at a time.
    #[must_use]
    pub fn is_active(&self, identity: IdentityId, at: Timestamp) -> bool {
        self.people.get(&identity).is_some_and(|person| person.is_active(at))
    }

    /// True if somebody has a key that logs in, by itself or with a certificate.
    #[must_use]
    pub fn has_key(&self, identity: IdentityId) -> bool {
        let by_certificate = self.people.get(&identity).is_some_and(|person| person.certificates);
        by_certificate || self.keys.values().any(|key| key.identity == identity && key.active && key.confirmed)
    }

    /// The groups that somebody is in.
    pub fn groups_of(&self, identity: IdentityId) -> impl Iterator<Item = GroupId> {
        let own = self.members.iter().filter(move |((_, member), waits)| *member == identity && !**waits);
        own.map(|((group, _), _)| *group)
    }

    fn person(&mut self, said: &Said<'_>) -> Result<&mut Person, Unsaid> {
        let identity = said.0.target.identity;
        identity.and_then(|identity| self.people.get_mut(&identity)).ok_or_else(|| said.unsaid("whom"))
    }

    fn key(&mut self, said: &Said<'_>, fingerprint: Option<&str>) -> Result<&mut PersonKey, Unsaid> {
        fingerprint.and_then(|key| self.keys.get_mut(key)).ok_or_else(|| said.unsaid("which key"))
    }

    fn place(&self, said: &Said<'_>) -> Result<(GroupId, IdentityId), Unsaid> {
        let identity = said.0.target.identity.ok_or_else(|| said.unsaid("whom"))?;
        Ok((said.must("group")?, identity))
    }

    fn enrol(&mut self, said: &Said<'_>) -> Result<(), Unsaid> {
        let identity = said.0.target.identity.ok_or_else(|| said.unsaid("whom"))?;
        let new = Person {
            kind: said.must("kind")?,
            status: IdentityStatus::Active,
            roles: said.list("roles")?.into_iter().collect(),
            until: said.maybe("until")?,
            certificates: false,
        };
        // Somebody who is there already was made an admin at the host.
        self.people.entry(identity).and_modify(|known| known.roles.extend(&new.roles)).or_insert(new);
        self.add_key(said, true)
    }

    fn add_key(&mut self, said: &Said<'_>, confirmed: bool) -> Result<(), Unsaid> {
        let (Some(identity), Some(key)) = (said.0.target.identity, said.0.target.key.clone()) else {
            return Err(said.unsaid("whose which key"));
        };
        self.keys.insert(key, PersonKey { identity, active: true, confirmed, certified: false });
        Ok(())
    }

    fn roles(&mut self, said: &Said<'_>) -> Result<(), Unsaid> {
        let mut roles: BTreeSet<OrgRole> = said.list("roles")?.into_iter().collect();
        let added: Vec<OrgRole> = said.list("roles_added")?;
        if !added.is_empty() && !said.waits() {
            roles.extend(added);
        }
        self.person(said)?.roles = roles;
        Ok(())
    }

    fn status(&mut self, said: &Said<'_>, status: IdentityStatus) -> Result<(), Unsaid> {
        self.person(said)?.status = status;
        Ok(())
    }

    fn revoke(&mut self, said: &Said<'_>) -> Result<(), Unsaid> {
        self.status(said, IdentityStatus::Revoked)?;
        let own = self.keys.values_mut().filter(|key| Some(key.identity) == said.0.target.identity);
        own.for_each(|key| key.active = false);
        Ok(())
    }

    fn log_in(&mut self, said: &Said<'_>) -> Result<(), Unsaid> {
        let actor = said.0.actor.as_ref().ok_or_else(|| said.unsaid("who"))?;
        self.sole_admin_ended |= said.flag("sole_admin_ended");
        if said.text("ca").is_some() {
            let new = PersonKey { identity: actor.identity, active: true, confirmed: false, certified: false };
            self.keys.entry(actor.key.clone()).or_insert(new).certified = true;
        }
        Ok(())
    }

    fn confirm(&mut self, said: &Said<'_>) -> Result<(), Unsaid> {
        let Some(waiting) = self.pendings.decided(said)?.cloned() else { return Ok(()) };
        match said.text("change") {
            Some("key") => self.key(said, waiting.target.key.as_deref())?.confirmed = true,
            Some("member") => {
                let place = waiting.group.zip(waiting.target.identity).ok_or_else(|| said.unsaid("whom"))?;
                self.members.insert(place, false);
            }
            Some("roles") => {
                let added: Vec<OrgRole> = said.list("roles")?;
                self.person(said)?.roles.extend(added);
            }
            // Names stand in no record: their erasure changes nothing that is replayed.
            Some("erasure") => {}
            Some("certificates") => self.person(said)?.certificates = true,
            Some("org-policy") => self.policy = waiting.policy(said)?,
            _ => return Err(said.unsaid("what change")),
        }
        Ok(())
    }

    fn undo(&mut self, said: &Said<'_>) -> Result<(), Unsaid> {
        let Some(waiting) = self.pendings.decided(said)?.cloned() else { return Ok(()) };
        match said.text("change") {
            Some("key") => {
                let key = self.key(said, waiting.target.key.as_deref())?;
                key.active &= key.confirmed;
            }
            Some("member") => {
                let place = waiting.group.zip(waiting.target.identity).ok_or_else(|| said.unsaid("whom"))?;
                if self.members.get(&place) == Some(&true) {
                    self.members.remove(&place);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl super::Given {
    /// True if this grant gives its right to somebody at a time, its hours aside.
    #[must_use]
    pub fn serves(&self, office: &Office, identity: IdentityId, at: Timestamp) -> bool {
        let holds = match (self.identity, self.group) {
            (Some(holder), _) => holder == identity,
            (None, Some(group)) => office.groups_of(identity).any(|own| own == group),
            (None, None) => false,
        };
        holds && !self.waits && !self.ended && within(at, self.from, self.until)
    }
}
