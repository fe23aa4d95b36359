//! Commands on recertifications: a campaign is begun, each grant is kept or ended by somebody whom it does not serve, and what
//! nobody confirmed ends when its time is over.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{CampaignId, GrantId, Slug, VaultId};
use strongroom_proto::method::Receipt;

use super::grant::{about_holder, end_now};
use super::{Caller, find_vault};
use crate::access::Operation;
use crate::state::LogId;
use crate::state::campaign::{Campaign, CampaignNames, Decision, Totals, VaultReview};
use crate::state::rows::Grant;
use crate::store::tx::{Draft, Refusal, Tx};

/// Longest campaign.
const LONGEST: SignedDuration = SignedDuration::from_hours(366 * 24);

/// A campaign that is to begin.
#[derive(Clone, Debug)]
pub struct NewCampaign {
    /// Its title.
    pub title: String,
    /// Over these vaults; absent means all.
    pub vaults: Option<Vec<Slug>>,
    /// When it ends by itself.
    pub due_at: Timestamp,
}

/// Begins a campaign.
///
/// # Errors
/// The refusal; `invalid_params` for a due date that is past or more than a year ahead, `conflict` if another campaign is open
/// over one of the vaults, or there is none.
pub fn start(tx: &mut Tx<'_>, caller: &Caller, new: &NewCampaign) -> Result<(Campaign, Receipt), Refusal> {
    const EVENT: &str = "review.start";
    let now = tx.now;
    let draft = caller.draft(&tx.state, EVENT).text("title", new.title.as_str());
    let _terms = caller
        .may(&tx.state, Operation::CampaignManage, now)
        .map_err(|denial| caller.refused(&tx.state, denial, None, draft.clone()))?;
    if new.due_at <= now || new.due_at.duration_since(now) > LONGEST {
        return Err(Failure::new(ErrorKind::InvalidParams, "due_at is after now, by at most 366 days.").into());
    }
    let vaults: Vec<VaultId> = match &new.vaults {
        None => {
            let kept = tx.state.vaults.values().filter(|vault| vault.destroyed_at.is_none());
            kept.map(|vault| vault.id).collect()
        }
        Some(slugs) => {
            let found = slugs.iter().map(|slug| find_vault(tx, caller, EVENT, slug).map(|vault| vault.id));
            let mut vaults = found.collect::<Result<Vec<_>, _>>()?;
            vaults.sort_unstable();
            vaults.dedup();
            vaults
        }
    };
    if vaults.is_empty() {
        return Err(Failure::new(ErrorKind::Conflict, "There is no vault to review.").into());
    }
    let open = tx.state.open_campaigns.keys().filter_map(|id| tx.state.campaigns.get(id));
    if let Some(other) = open.into_iter().find(|other| other.vaults.iter().any(|vault| vaults.contains(vault))) {
        let message = format!("Another recertification, “{}”, is open over some of these vaults.", other.names.title);
        return Err(Failure::new(ErrorKind::Conflict, message).into());
    }
    let campaign = Campaign {
        id: CampaignId::random(),
        started_at: now,
        started_by: caller.identity(),
        due_at: new.due_at,
        vaults,
        ended_at: None,
        closed_at: None,
        totals: None,
        names: CampaignNames { title: new.title.clone() },
    };
    let grants: usize = campaign.vaults.iter().map(|vault| tx.state.undecided(&campaign, *vault, now).count()).sum();
    let draft = draft
        .detail("campaign", campaign.id.to_string())
        .detail("due_at", campaign.due_at.to_string())
        .detail("vaults", campaign.vaults.len())
        .detail("grants", grants);
    tx.put(campaign.clone())?;
    let receipt = tx.append(LogId::Org, draft)?;
    Ok((campaign, receipt))
}

/// Keeps or ends grants, all or none.
///
/// # Errors
/// The refusal; `denied` for what serves the caller, `conflict` if the campaign is over, or a grant is no part of it or was decided.
pub fn decide(
    tx: &mut Tx<'_>,
    caller: &Caller,
    id: CampaignId,
    grants: &[GrantId],
    kept: bool,
    note: Option<&str>,
) -> Result<(Vec<VaultId>, Receipt), Refusal> {
    const EVENT: &str = "review.decide";
    let now = tx.now;
    let mut by_vault: BTreeMap<VaultId, Vec<Grant>> = BTreeMap::new();
    for grant in grants {
        let found = tx.state.grants.get(grant).cloned();
        let found = found.ok_or_else(|| caller.nothing_there(&tx.state, EVENT, &grant.to_string()))?;
        let own = tx.state.serves(found.holder, caller.identity());
        let mut draft = about_holder(&tx.state, caller.draft(&tx.state, EVENT), found.holder);
        draft.target.grant = Some(found.id);
        let _terms = caller
            .may_in(&tx.state, found.vault, Operation::ReviewDecide { own }, now)
            .map_err(|denial| caller.refused(&tx.state, denial, Some(found.vault), draft))?;
        let several = by_vault.entry(found.vault).or_default();
        if several.iter().all(|other| other.id != found.id) {
            several.push(found);
        }
    }
    let conflict = |message: String| Refusal::from(Failure::new(ErrorKind::Conflict, message));
    let campaign = tx.state.campaigns.get(&id).cloned();
    let campaign = campaign.ok_or_else(|| caller.nothing_there(&tx.state, EVENT, &id.to_string()))?;
    if !campaign.is_open(now) {
        return Err(conflict("This recertification is over.".to_owned()));
    }
    let vaults: Vec<VaultId> = by_vault.keys().copied().collect();
    let mut receipt = None;
    for (vault, grants) in by_vault {
        let open: Vec<GrantId> = tx.state.undecided(&campaign, vault, now).map(|grant| grant.id).collect();
        let decided = |grant: &&Grant| !campaign.vaults.contains(&vault) || !open.contains(&grant.id);
        if let Some(grant) = grants.iter().find(decided) {
            return Err(conflict(format!("{} is no part of this recertification, or was decided.", grant.id)));
        }
        let mut review = vault_review(tx, &campaign, vault);
        let identity = caller.identity();
        review.decisions.extend(grants.iter().map(|grant| Decision { grant: grant.id, identity, at: now, kept }));
        tx.put(review)?;
        for grant in grants {
            let event = if kept { "review.keep" } else { "grant.end" };
            let draft = about_holder(&tx.state, caller.draft(&tx.state, event), grant.holder);
            let mut draft =
                draft.detail("campaign", id.to_string()).detail("role", grant.role.as_str()).maybe_text("reason", note);
            draft.target.grant = Some(grant.id);
            receipt = Some(if kept {
                tx.append(LogId::Vault(vault), draft)?
            } else {
                end_now(tx, grant, now, draft.detail("cause", EVENT))?
            });
        }
    }
    let receipt = receipt.ok_or_else(|| Failure::new(ErrorKind::InvalidParams, "Name at least one grant."))?;
    Ok((vaults, receipt))
}

fn vault_review(tx: &Tx<'_>, campaign: &Campaign, vault: VaultId) -> VaultReview {
    tx.state.vault_reviews.get(&(campaign.id, vault)).cloned().unwrap_or_else(|| VaultReview {
        campaign: campaign.id,
        vault,
        decisions: Vec::new(),
        unconfirmed: None,
    })
}

/// Ends a campaign before its time: what nobody has confirmed by now ends ([`settle`]).
///
/// # Errors
/// The refusal; `conflict` if it is over.
pub fn close(tx: &mut Tx<'_>, caller: &Caller, id: CampaignId) -> Result<((), Receipt), Refusal> {
    const EVENT: &str = "review.close";
    let now = tx.now;
    let draft = caller.draft(&tx.state, EVENT).detail("campaign", id.to_string());
    let _terms = caller
        .may(&tx.state, Operation::CampaignManage, now)
        .map_err(|denial| caller.refused(&tx.state, denial, None, draft.clone()))?;
    let campaign = tx.state.campaigns.get(&id).cloned();
    let campaign = campaign.ok_or_else(|| caller.nothing_there(&tx.state, EVENT, &id.to_string()))?;
    if !campaign.is_open(now) {
        return Err(Failure::new(ErrorKind::Conflict, "This recertification is over.").into());
    }
    tx.put(Campaign { ended_at: Some(now), ..campaign })?;
    let receipt = tx.append(LogId::Org, draft)?;
    Ok(((), receipt))
}

/// A vault of a campaign whose time is over, in which it has not been settled.
#[must_use]
pub fn unsettled(tx: &Tx<'_>, campaign: &Campaign) -> Option<VaultId> {
    let settled = |vault: &VaultId| {
        let review = tx.state.vault_reviews.get(&(campaign.id, *vault));
        review.is_some_and(|review| review.unconfirmed.is_some()) || tx.check_whole(LogId::Vault(*vault)).is_err()
    };
    campaign.vaults.iter().copied().find(|vault| !settled(vault))
}

/// Settles the next step of a campaign whose time is over: ends what nobody confirmed in one vault, or writes down what came of it
/// all. True once that is done.
///
/// # Errors
/// `conflict` if it is still open, or settled; else only if it cannot be written down.
pub fn settle(tx: &mut Tx<'_>, id: CampaignId) -> Result<(bool, Receipt), Refusal> {
    let campaign = tx.state.campaigns.get(&id).cloned().filter(|campaign| campaign.is_due(tx.now));
    let campaign = campaign.ok_or_else(|| Failure::new(ErrorKind::Conflict, "There is nothing to settle."))?;
    match unsettled(tx, &campaign) {
        Some(vault) => Ok((false, settle_vault(tx, &campaign, vault)?)),
        None => Ok((true, write_down(tx, campaign)?)),
    }
}

fn settle_vault(tx: &mut Tx<'_>, campaign: &Campaign, vault: VaultId) -> Result<Receipt, Refusal> {
    let now = tx.now;
    let log = LogId::Vault(vault);
    let unconfirmed: Vec<Grant> = tx.state.undecided(campaign, vault, now).cloned().collect();
    let mut review = vault_review(tx, campaign, vault);
    review.unconfirmed = Some(unconfirmed.iter().map(|grant| grant.id).collect());
    let kept = review.decisions.iter().filter(|decision| decision.kept).count();
    let result = Draft::new("review.result")
        .detail("campaign", campaign.id.to_string())
        .detail("kept", kept)
        .detail("ended", review.decisions.len() - kept)
        .detail("unconfirmed", unconfirmed.len());
    tx.put(review)?;
    for grant in unconfirmed {
        let draft = about_holder(&tx.state, Draft::new("grant.end"), grant.holder);
        let mut draft = draft
            .detail("campaign", campaign.id.to_string())
            .detail("role", grant.role.as_str())
            .detail("cause", "review.result");
        draft.target.grant = Some(grant.id);
        end_now(tx, grant, now, draft)?;
    }
    Ok(tx.append(log, result)?)
}

fn write_down(tx: &mut Tx<'_>, campaign: Campaign) -> Result<Receipt, Refusal> {
    let mut totals = Totals::default();
    for vault in &campaign.vaults {
        match tx.state.vault_reviews.get(&(campaign.id, *vault)) {
            Some(VaultReview { decisions, unconfirmed: Some(unconfirmed), .. }) => {
                let kept = decisions.iter().filter(|decision| decision.kept).count() as u64;
                totals.kept += kept;
                totals.ended += decisions.len() as u64 - kept;
                totals.unconfirmed += unconfirmed.len() as u64;
            }
            _ => totals.sealed_vaults += 1,
        }
    }
    let draft = Draft::new("review.result")
        .detail("campaign", campaign.id.to_string())
        .detail("kept", totals.kept)
        .detail("ended", totals.ended)
        .detail("unconfirmed", totals.unconfirmed)
        .detail("sealed_vaults", totals.sealed_vaults);
    tx.put(Campaign { closed_at: Some(tx.now), totals: Some(totals), ..campaign })?;
    Ok(tx.append(LogId::Org, draft)?)
}
