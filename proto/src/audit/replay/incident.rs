//! Incidents, told from the organisation's log.

use std::collections::{BTreeMap, BTreeSet};

use super::{Said, Unsaid};
use crate::ids::{IdentityId, IncidentId, VaultId};
use serde::{Deserialize, Serialize};

/// An incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affair {
    /// The vaults that it is about.
    pub vaults: BTreeSet<VaultId>,
    /// The people that it is about.
    pub people: BTreeSet<IdentityId>,
    /// True once it was closed.
    pub closed: bool,
}

/// Every incident there has been.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affairs(pub BTreeMap<IncidentId, Affair>);

impl Affairs {
    pub(super) fn open(&mut self, said: &Said<'_>) -> Result<(), Unsaid> {
        let (vaults, people) = (said.list("vaults")?, said.list("people")?);
        let (vaults, people) = (vaults.into_iter().collect(), people.into_iter().collect());
        self.0.insert(said.must("incident")?, Affair { vaults, people, closed: false });
        Ok(())
    }

    pub(super) fn close(&mut self, said: &Said<'_>) -> Result<(), Unsaid> {
        let affair = self.0.get_mut(&said.must("closes")?);
        affair.ok_or_else(|| said.unsaid("which incident"))?.closed = true;
        Ok(())
    }
}
