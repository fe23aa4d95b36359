//! Recertification: a campaign asks of every standing right whether it is still needed. What nobody confirms ends with it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strongroom_proto::ids::{CampaignId, GrantId, IdentityId, VaultId};

use super::rows::{Grant, index, row};
use super::{LogId, State};

/// A campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Campaign {
    /// For ever.
    pub id: CampaignId,
    /// Since when: grants given later are no part of it.
    pub started_at: Timestamp,
    /// By whom.
    pub started_by: IdentityId,
    /// When it ends by itself.
    pub due_at: Timestamp,
    /// Over which vaults.
    pub vaults: Vec<VaultId>,
    /// When somebody ended it before.
    pub ended_at: Option<Timestamp>,
    /// When its last vault was done.
    pub closed_at: Option<Timestamp>,
    /// What came of it, once it is closed.
    pub totals: Option<Totals>,
    /// Its title.
    #[serde(skip)]
    pub names: CampaignNames,
}

/// What people call a campaign.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CampaignNames {
    /// For the screen.
    pub title: String,
}

/// How many grants had which end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Somebody said that they are needed.
    pub kept: u64,
    /// Somebody ended them.
    pub ended: u64,
    /// Nobody confirmed them: they ended by themselves.
    pub unconfirmed: u64,
    /// Vaults that do not match their log, in which nothing was done.
    pub sealed_vaults: u64,
}

impl Campaign {
    /// True while it can be decided on.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.ended_at.is_none() && self.closed_at.is_none() && now < self.due_at
    }

    /// True if its time is over and what nobody confirmed has to end.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.closed_at.is_none() && !self.is_open(now)
    }
}

/// One vault's part of a campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultReview {
    /// Of which campaign.
    pub campaign: CampaignId,
    /// Which vault.
    pub vault: VaultId,
    /// What was decided, oldest first.
    pub decisions: Vec<Decision>,
    /// What nobody confirmed and ended; absent until the campaign is over here.
    pub unconfirmed: Option<Vec<GrantId>>,
}

/// What somebody said of a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Of which.
    pub grant: GrantId,
    /// Who.
    pub identity: IdentityId,
    /// When.
    pub at: Timestamp,
    /// Whether it is still needed.
    pub kept: bool,
}

impl State {
    /// The grants of a vault on which a campaign has to decide and nobody has: standing ones and timed ones that were given
    /// before it began. What a request gave ends by itself.
    pub fn undecided<'a>(
        &'a self,
        campaign: &'a Campaign,
        vault: VaultId,
        now: Timestamp,
    ) -> impl Iterator<Item = &'a Grant> {
        let review = self.vault_reviews.get(&(campaign.id, vault));
        let decided = move |grant: GrantId| {
            review.is_some_and(|review| review.decisions.iter().any(|decision| decision.grant == grant))
        };
        self.grants_of_vault(vault)
            .filter(move |grant| !grant.pending && grant.request.is_none() && grant.given_at <= campaign.started_at)
            .filter(move |grant| grant.until.is_none_or(|until| now < until) && !decided(grant.id))
    }
}

row!(Campaign, "campaign", decides: true,
key: |campaign| campaign.id.as_bytes().to_vec(), log: |_| LogId::Org, names: CampaignNames,
place: |campaign, state| {
    index(&mut state.open_campaigns, campaign.id, campaign.closed_at.is_none());
    state.campaigns.insert(campaign.id, campaign);
},
displace: |_, _| {});

row!(VaultReview, "vault_review", decides: true,
key: |review| [review.campaign.as_bytes().as_slice(), review.vault.as_bytes()].concat(),
log: |review| LogId::Vault(review.vault), names: Nothing,
place: |review, state| { state.vault_reviews.insert((review.campaign, review.vault), review); },
displace: |_, _| {});
