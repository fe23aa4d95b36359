//! `review.*`.

use jiff::Timestamp;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{CampaignId, GrantId, VaultId};
use strongroom_proto::method::Changed;
use strongroom_proto::method::review as wire;

use super::{Agent, Answer, Connection};
use crate::access::Operation;
use crate::commands::request::slug;
use crate::commands::review::{self as command, NewCampaign};
use crate::commands::{Caller, NAME_LEN_MAX, REASON_LEN_MAX, check_some_text, check_text};
use crate::state::campaign::{Campaign, Decision};
use crate::state::rows::{Grant, Holder};
use crate::state::{LogId, State};

/// Grants that one decision names.
const DECIDE_MAX: usize = 100;
/// People that one grant lists.
const SERVES_MAX: usize = 100;

pub(super) async fn start(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::Start,
) -> Result<Answer<wire::Started>, Failure> {
    let caller = connection.caller(agent)?;
    check_some_text("title", &params.title, NAME_LEN_MAX)?;
    let new = NewCampaign { title: params.title, vaults: params.vaults, due_at: params.due_at };
    let durable = agent.store.submit(move |tx| command::start(tx, &caller, &new)).await?;
    let (campaign, receipt) = durable.into_parts();
    let view = agent.store.view();
    let now = agent.now();
    let grants = campaign.vaults.iter().map(|vault| view.undecided(&campaign, *vault, now).count() as u64).sum();
    Ok(wire::Started { campaign: campaign.id, vaults: campaign.vaults.len() as u64, grants, receipt }.into())
}

pub(super) async fn list(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::List,
) -> Result<Answer<wire::ListResult>, Failure> {
    let caller = connection.caller(agent)?;
    let view = agent.store.view();
    let now = agent.now();
    let all = caller.may(&view, Operation::CampaignSee, now).is_ok();
    let mut found: Vec<&Campaign> = if params.all {
        view.campaigns.values().collect()
    } else {
        view.open_campaigns.keys().filter_map(|id| view.campaigns.get(id)).collect()
    };
    found.sort_by_key(|campaign| std::cmp::Reverse((campaign.started_at, campaign.id)));
    let items = found.into_iter().filter_map(|campaign| {
        let seen = campaign.vaults.iter().filter(|vault| all || sees(&view, &caller, **vault, now));
        let vaults: Vec<wire::VaultState> =
            seen.filter_map(|vault| vault_state(&view, campaign, *vault, now)).collect();
        if vaults.is_empty() { None } else { item(&view, campaign, vaults, now) }
    });
    Ok(wire::ListResult { items: items.collect() }.into())
}

/// Who oversees a vault sees what is decided on its grants.
fn sees(view: &State, caller: &Caller, vault: VaultId, now: Timestamp) -> bool {
    caller.may_in(view, vault, Operation::GrantSee, now).is_ok()
}

fn item(view: &State, campaign: &Campaign, vaults: Vec<wire::VaultState>, now: Timestamp) -> Option<wire::Item> {
    Some(wire::Item {
        campaign: campaign.id,
        title: campaign.names.title.clone(),
        started_at: campaign.started_at,
        started_by: slug(view, campaign.started_by)?,
        due_at: campaign.due_at,
        open: campaign.is_open(now),
        closed_at: campaign.closed_at,
        vaults,
    })
}

fn vault_state(view: &State, campaign: &Campaign, vault: VaultId, now: Timestamp) -> Option<wire::VaultState> {
    let review = view.vault_reviews.get(&(campaign.id, vault));
    let count = |kept| {
        let decisions = review.map_or(&[][..], |review| &review.decisions);
        decisions.iter().filter(|decision| decision.kept == kept).count() as u64
    };
    let unconfirmed = review.and_then(|review| review.unconfirmed.as_ref());
    Some(wire::VaultState {
        vault: view.vaults.get(&vault)?.names.slug.clone(),
        open: if unconfirmed.is_some() { 0 } else { view.undecided(campaign, vault, now).count() as u64 },
        kept: count(true),
        ended: count(false),
        unconfirmed: unconfirmed.map_or(0, |unconfirmed| unconfirmed.len() as u64),
    })
}

pub(super) async fn show(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::Show,
) -> Result<Answer<wire::Shown>, Failure> {
    const EVENT: &str = "review.show";
    let caller = connection.caller(agent)?;
    let view = agent.store.view();
    let now = agent.now();
    let Some(vault) = view.vault(&params.vault).map(|vault| vault.id) else {
        return Err(agent.nothing_there(&caller, params.vault.to_string(), EVENT).await);
    };
    if let Err(denial) = caller.may_in(&view, vault, Operation::GrantSee, now) {
        return Err(agent.refuse(&caller, denial, Some(vault), EVENT).await);
    }
    let found = view.campaigns.get(&params.campaign).filter(|campaign| campaign.vaults.contains(&vault));
    let campaign = found.ok_or_else(|| {
        Failure::new(ErrorKind::NotFound, format!("There is no such recertification of {}.", params.vault))
    })?;
    let review = view.vault_reviews.get(&(campaign.id, vault));
    let decisions = review.map_or(&[][..], |review| &review.decisions);
    let unconfirmed = review.and_then(|review| review.unconfirmed.as_deref());
    let waiting = match unconfirmed {
        Some(ended) => ended.iter().filter_map(|grant| view.grants.get(grant)).collect::<Vec<_>>(),
        None => view.undecided(campaign, vault, now).collect(),
    };
    let open = campaign.is_open(now);
    let mut items: Vec<wire::GrantState> = waiting
        .into_iter()
        .filter_map(|grant| {
            let own = view.serves(grant.holder, caller.identity());
            let may = caller.may_in(&view, vault, Operation::ReviewDecide { own }, now).is_ok();
            let state = described(&view, grant)?;
            let kept = unconfirmed.map(|_| false);
            Some(wire::GrantState { kept, yours: open && unconfirmed.is_none() && may, ..state })
        })
        .collect();
    let decided = |decision: &Decision| {
        let state = described(&view, view.grants.get(&decision.grant)?)?;
        let (kept, decided_by, decided_at) = (Some(decision.kept), slug(&view, decision.identity), Some(decision.at));
        Some(wire::GrantState { kept, decided_by, decided_at, ..state })
    };
    items.extend(decisions.iter().filter_map(decided));
    Ok(wire::Shown { items }.into())
}

fn described(view: &State, grant: &Grant) -> Option<wire::GrantState> {
    let (identity, group) = match grant.holder {
        Holder::Identity(identity) => (slug(view, identity), None),
        Holder::Group(group) => (None, view.groups.get(&group).map(|group| group.names.slug.clone())),
    };
    let accounts = grant.accounts.as_ref().map(|accounts| {
        accounts.iter().filter_map(|id| view.accounts.get(id)).map(|account| account.names.slug.clone()).collect()
    });
    let mut serves: Vec<_> =
        view.served_by(grant).into_iter().filter_map(|identity| slug(view, identity)).take(SERVES_MAX).collect();
    serves.sort_unstable();
    Some(wire::GrantState {
        grant: grant.id,
        identity,
        group,
        serves,
        role: grant.role,
        accounts,
        until: grant.until,
        given_by: slug(view, grant.given_by)?,
        given_at: grant.given_at,
        kept: None,
        decided_by: None,
        decided_at: None,
        yours: false,
    })
}

pub(super) async fn decide(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::Decide,
) -> Result<Answer<Changed>, Failure> {
    let caller = connection.caller(agent)?;
    check_text("note", params.note.as_deref().unwrap_or_default(), REASON_LEN_MAX)?;
    if params.grants.is_empty() || params.grants.len() > DECIDE_MAX {
        return Err(Failure::new(ErrorKind::InvalidParams, format!("Name 1 to {DECIDE_MAX} grants.")));
    }
    let ends = !params.keep;
    let note = params.note.filter(|note| !note.is_empty());
    let grants: Vec<GrantId> = params.grants;
    let durable = agent
        .store
        .submit(move |tx| command::decide(tx, &caller, params.campaign, &grants, params.keep, note.as_deref()))
        .await?;
    let (vaults, receipt) = durable.into_parts();
    if ends {
        agent.anchor(vaults.into_iter().map(LogId::Vault).collect()).await;
    }
    Ok(Changed { receipt }.into())
}

pub(super) async fn close(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::Close,
) -> Result<Answer<wire::Closed>, Failure> {
    let caller = connection.caller(agent)?;
    let id = params.campaign;
    let durable = agent.store.submit(move |tx| command::close(tx, &caller, id)).await?;
    let receipt = durable.into_parts().1;
    settle(agent, id).await?;
    let totals = agent.store.view().campaigns.get(&id).and_then(|campaign| campaign.totals).unwrap_or_default();
    let (kept, ended, unconfirmed) = (totals.kept, totals.ended, totals.unconfirmed);
    Ok(wire::Closed { kept, ended, unconfirmed, receipt }.into())
}

/// Settles a campaign whose time is over, one vault a commit, so that releases interleave. Whoever comes second finds it done.
pub(crate) async fn settle(agent: &Agent, id: CampaignId) -> Result<(), Failure> {
    loop {
        match agent.store.submit(move |tx| command::settle(tx, id)).await {
            Ok(durable) if *durable.value() => break,
            Ok(_) => {}
            Err(refused) => {
                let closed = agent.store.view().campaigns.get(&id).is_none_or(|campaign| campaign.closed_at.is_some());
                if closed {
                    break;
                }
                return Err(refused.into());
            }
        }
    }
    let vaults = agent.store.view().campaigns.get(&id).map(|campaign| campaign.vaults.clone()).unwrap_or_default();
    agent.anchor(std::iter::once(LogId::Org).chain(vaults.into_iter().map(LogId::Vault)).collect()).await;
    Ok(())
}
