//! Incidents: what was stopped because of one, and whose records belong to it while it is open.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strongroom_proto::audit::record::{Actor, Target};
use strongroom_proto::ids::{IdentityId, IncidentId, VaultId};

use super::alert::Answer;
use super::rows::{index, row};
use super::{LogId, State};

/// An incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// For ever.
    pub id: IncidentId,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// By whom.
    pub opened_by: IdentityId,
    /// The vaults that it is about.
    pub vaults: Vec<VaultId>,
    /// The people that it is about.
    pub people: Vec<IdentityId>,
    /// Those of the vaults that it froze: the others were frozen already.
    pub froze: Vec<VaultId>,
    /// Those of the people whom it suspended.
    pub suspended: Vec<IdentityId>,
    /// Who closed it, and when; absent while it is open.
    pub closed: Option<Answer>,
    /// What people wrote.
    #[serde(skip)]
    pub names: IncidentNames,
}

/// What people wrote to an incident.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentNames {
    /// Why it was opened.
    pub reason: String,
    /// What came of it.
    pub note: Option<String>,
}

impl Incident {
    /// True if a record belongs to it: it stands in the log of one of its vaults, or is by or about one of its people or
    /// about one of its vaults.
    fn holds(&self, log: LogId, actor: Option<&Actor>, target: &Target) -> bool {
        let people = [actor.map(|actor| actor.identity), target.identity];
        let vaults = match log {
            LogId::Org => target.vault,
            LogId::Vault(vault) => Some(vault),
        };
        vaults.is_some_and(|vault| self.vaults.contains(&vault))
            || people.into_iter().flatten().any(|identity| self.people.contains(&identity))
    }
}

impl State {
    /// The open incidents that a record belongs to, as records name them: separated by spaces.
    #[must_use]
    pub fn incidents_of(&self, log: LogId, actor: Option<&Actor>, target: &Target) -> Option<String> {
        let open = self.open_incidents.keys().filter_map(|id| self.incidents.get(id));
        let held = open.filter(|incident| incident.holds(log, actor, target));
        let ids: Vec<String> = held.map(|incident| incident.id.to_string()).collect();
        (!ids.is_empty()).then(|| ids.join(" "))
    }
}

row!(Incident, "incident", decides: true,
key: |incident| incident.id.as_bytes().to_vec(), log: |_| LogId::Org, names: IncidentNames,
place: |incident, state| {
    index(&mut state.open_incidents, incident.id, incident.closed.is_none());
    state.incidents.insert(incident.id, incident);
},
displace: |incident, state| {
    state.open_incidents.remove(&incident.id);
    state.incidents.remove(&incident.id);
});
