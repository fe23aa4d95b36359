//! `strongroom review`: recertification. Is every right still needed?

use std::time::Duration;

use clap::Subcommand;
use jiff::Timestamp;
use serde::Serialize;
use strongroom_proto::ids::{CampaignId, GrantId, Slug};
use strongroom_proto::method::review::{Close, Decide, GrantState, Item, List, Show, Start};

use super::context::Context;
use super::error::CliError;
use super::output::table;
use super::vault::words;
use super::when;

/// `strongroom review`
#[derive(Debug, Subcommand)]
pub(super) enum Review {
    /// Ask of every grant whether it is still needed; what nobody confirms in time ends (admins)
    Start {
        /// What to call it, for example "Spring 2027"
        #[arg(value_name = "TITLE")]
        title: String,
        /// How long there is to decide, for example 14d
        #[arg(long = "for", id = "length", value_name = "TIME", value_parser = when::duration, default_value = "14d")]
        length: Duration,
        /// Only this client; may be repeated
        #[arg(long = "vault", value_name = "VAULT")]
        vaults: Vec<Slug>,
    },
    /// List recertifications and how far each client is
    #[command(name = "ls", visible_alias = "list")]
    List {
        /// Those that are over too
        #[arg(long)]
        all: bool,
    },
    /// Show the grants of one client, those to decide on first
    Show {
        /// Which recertification
        #[arg(value_name = "ID")]
        campaign: CampaignId,
        /// Which client
        #[arg(value_name = "VAULT")]
        vault: Slug,
    },
    /// Keep or end grants (managers, admins; not what serves themselves)
    Decide {
        /// In which recertification
        #[arg(value_name = "ID")]
        campaign: CampaignId,
        /// Which grants
        #[arg(value_name = "GRANT", required = true)]
        grants: Vec<GrantId>,
        /// They are still needed
        #[arg(long, conflicts_with = "end", required_unless_present = "end")]
        keep: bool,
        /// They end now
        #[arg(long)]
        end: bool,
        /// Why, for the record
        #[arg(short, long)]
        note: Option<String>,
    },
    /// End a recertification before its time: what nobody has confirmed ends now (admins)
    Close {
        /// Which
        #[arg(value_name = "ID")]
        campaign: CampaignId,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Serialize)]
struct Started<'a> {
    campaign: CampaignId,
    title: &'a str,
    vaults: u64,
    grants: u64,
    due_at: Timestamp,
}

#[derive(Serialize)]
struct Decided<'a> {
    campaign: CampaignId,
    grants: &'a [GrantId],
    kept: bool,
}

#[derive(Serialize)]
struct Closed {
    campaign: CampaignId,
    kept: u64,
    ended: u64,
    unconfirmed: u64,
}

pub(super) async fn review(context: &Context, command: Review) -> Result<(), CliError> {
    match command {
        Review::Start { title, length, vaults } => start(context, title, length, vaults).await,
        Review::List { all } => {
            let list = context.log_in().await?.call(&List { all }).await?;
            context.out.answer("strongroom.reviews/1", &list, &text(&list.items, context.out.terminal))
        }
        Review::Show { campaign, vault } => {
            let shown = context.log_in().await?.call(&Show { campaign, vault }).await?;
            context.out.answer("strongroom.review/1", &shown, &grants_text(&shown.items, context.out.terminal))
        }
        Review::Decide { campaign, grants, keep, note, .. } => {
            let call = Decide { campaign, grants: grants.clone(), keep, note };
            let changed = context.log_in().await?.call(&call).await?;
            let done = if keep { "Kept" } else { "Ended" };
            let sentence = format!("{done} {} grants", grants.len());
            let body = Decided { campaign, grants: &grants, kept: keep };
            context.out.changed("strongroom.review_decided/1", body, &changed.receipt, &sentence)
        }
        Review::Close { campaign, yes } => {
            context.confirm(yes, "Every grant that nobody has confirmed ends now.")?;
            let closed = context.log_in().await?.call(&Close { campaign }).await?;
            let (kept, ended, unconfirmed) = (closed.kept, closed.ended, closed.unconfirmed);
            let sentence =
                format!("{kept} grants were kept, {ended} ended, and {unconfirmed} that nobody confirmed ended now");
            let body = Closed { campaign, kept, ended, unconfirmed };
            context.out.changed("strongroom.review_closed/1", body, &closed.receipt, &sentence)
        }
    }
}

async fn start(context: &Context, title: String, length: Duration, vaults: Vec<Slug>) -> Result<(), CliError> {
    let due_at = Timestamp::now().checked_add(length).map_err(|_| CliError::usage("--for is too long."))?;
    let vaults = (!vaults.is_empty()).then_some(vaults);
    let call = Start { title: title.clone(), vaults, due_at };
    let started = context.log_in().await?.call(&call).await?;
    let (campaign, vaults, grants) = (started.campaign, started.vaults, started.grants);
    let due = when::utc(due_at);
    let sentence = format!("{campaign}: {grants} grants in {vaults} vaults wait for a decision until {due}");
    let body = Started { campaign, title: &title, vaults, grants, due_at };
    context.out.changed("strongroom.review_started/1", body, &started.receipt, &sentence)
}

fn text(items: &[Item], terminal: bool) -> String {
    let rows: Vec<Vec<String>> = items
        .iter()
        .flat_map(|item| {
            item.vaults.iter().map(|state| {
                vec![
                    item.campaign.to_string(),
                    item.title.clone(),
                    if item.open { when::utc(item.due_at) } else { "over".to_owned() },
                    state.vault.to_string(),
                    state.open.to_string(),
                    state.kept.to_string(),
                    state.ended.to_string(),
                    state.unconfirmed.to_string(),
                ]
            })
        })
        .collect();
    table(&["ID", "TITLE", "UNTIL", "VAULT", "OPEN", "KEPT", "ENDED", "UNCONFIRMED"], &rows, terminal)
}

fn grants_text(items: &[GrantState], terminal: bool) -> String {
    let row = |item: &GrantState| {
        let holder = match (&item.identity, &item.group) {
            (Some(identity), _) => identity.to_string(),
            (None, Some(group)) => format!("group {group}: {}", words(&item.serves)),
            (None, None) => "-".to_owned(),
        };
        let state = match (item.kept, &item.decided_by) {
            (None, _) if item.yours => "you decide".to_owned(),
            (None, _) => "open".to_owned(),
            (Some(true), Some(who)) => format!("kept by {who}"),
            (Some(true), None) => "kept".to_owned(),
            (Some(false), Some(who)) => format!("ended by {who}"),
            (Some(false), None) => "ended, unconfirmed".to_owned(),
        };
        vec![
            item.grant.to_string(),
            holder,
            item.role.to_string(),
            item.accounts.as_deref().map_or_else(|| "all".to_owned(), words),
            item.until.map_or_else(|| "standing".to_owned(), when::utc),
            item.given_by.to_string(),
            state,
        ]
    };
    let heading = ["GRANT", "WHO", "ROLE", "ACCOUNTS", "UNTIL", "GIVEN BY", "STATE"];
    table(&heading, &items.iter().map(row).collect::<Vec<_>>(), terminal)
}
