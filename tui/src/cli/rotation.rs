//! `strongroom rotation`: seeds that somebody knew who has left.

use clap::Subcommand;
use serde::Serialize;
use strongroom_proto::ids::{AccountAddress, Slug};
use strongroom_proto::method::rotation::{Dismiss, Item, List, ListResult};

use super::context::Context;
use super::error::CliError;
use super::output::table;
use super::when;

/// `strongroom rotation`
#[derive(Debug, Subcommand)]
pub(super) enum Rotation {
    /// List accounts that need a new seed because somebody who knew the old one has left
    #[command(name = "ls", visible_alias = "list")]
    List {
        /// Only this client
        #[arg(value_name = "VAULT")]
        vault: Option<Slug>,
    },
    /// Take an account off the list without a new seed: you answer for that (managers, admins)
    Dismiss {
        /// Which
        #[arg(value_name = "CLIENT/ACCOUNT")]
        account: AccountAddress,
        /// Why its seed may stay, for the record
        #[arg(short, long)]
        reason: String,
    },
}

#[derive(Serialize)]
struct Touched<'a> {
    account: &'a AccountAddress,
}

pub(super) async fn rotation(context: &Context, command: Rotation) -> Result<(), CliError> {
    match command {
        Rotation::List { vault } => {
            let list = context.log_in().await?.call(&List { vault }).await?;
            context.out.answer("strongroom.rotations/1", &list, &text(&list, context.out.terminal))
        }
        Rotation::Dismiss { account, reason } => {
            let changed = context.log_in().await?.call(&Dismiss { account: account.clone(), reason }).await?;
            let sentence = format!("{account} keeps its seed");
            let body = Touched { account: &account };
            context.out.changed("strongroom.rotation_dismissed/1", body, &changed.receipt, &sentence)
        }
    }
}

fn text(list: &ListResult, terminal: bool) -> String {
    let row = |item: &Item| {
        vec![item.account.to_string(), item.identity.to_string(), item.cause.to_string(), when::utc(item.since)]
    };
    let rows: Vec<_> = list.items.iter().map(row).collect();
    let more = list.total.saturating_sub(list.items.len() as u64);
    let rest = if more == 0 { String::new() } else { format!("and {more} more\n") };
    table(&["ACCOUNT", "KNOWN TO", "BECAUSE", "SINCE"], &rows, terminal) + &rest
}
