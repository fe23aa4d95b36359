//! `strongroom canary`: decoys. Whoever takes a code of one has no business there.

use clap::Subcommand;
use serde::Serialize;
use strongroom_proto::ids::AccountAddress;
use strongroom_proto::method::canary::{Clear, Item, List, Set};

use super::context::Context;
use super::error::CliError;
use super::output::table;
use super::when;

/// `strongroom canary`
#[derive(Debug, Subcommand)]
pub(super) enum Canary {
    /// Make an account a decoy: whoever takes a code of it is on hold at once (managers, admins)
    Set {
        /// Which
        #[arg(value_name = "CLIENT/ACCOUNT")]
        account: AccountAddress,
    },
    /// Make a decoy an ordinary account again (managers, admins)
    Clear {
        /// Which
        #[arg(value_name = "CLIENT/ACCOUNT")]
        account: AccountAddress,
    },
    /// List the decoys of the clients that you manage
    #[command(name = "ls", visible_alias = "list")]
    List,
}

#[derive(Serialize)]
struct Touched<'a> {
    account: &'a AccountAddress,
}

pub(super) async fn canary(context: &Context, command: Canary) -> Result<(), CliError> {
    match command {
        Canary::Set { account } => {
            let changed = context.log_in().await?.call(&Set { account: account.clone() }).await?;
            let sentence = format!("{account} is a canary: tell nobody");
            context.out.changed("strongroom.canary_set/1", Touched { account: &account }, &changed.receipt, &sentence)
        }
        Canary::Clear { account } => {
            let changed = context.log_in().await?.call(&Clear { account: account.clone() }).await?;
            let sentence = format!("{account} is an ordinary account");
            context.out.changed(
                "strongroom.canary_cleared/1",
                Touched { account: &account },
                &changed.receipt,
                &sentence,
            )
        }
        Canary::List => {
            let list = context.log_in().await?.call(&List {}).await?;
            context.out.answer("strongroom.canaries/1", &list, &text(&list.items, context.out.terminal))
        }
    }
}

fn text(items: &[Item], terminal: bool) -> String {
    let row = |item: &Item| {
        vec![
            item.account.to_string(),
            when::utc(item.since),
            item.set_by.to_string(),
            item.tripped_at.map_or_else(|| "never".to_owned(), when::utc),
        ]
    };
    table(&["ACCOUNT", "SINCE", "BY", "TRIPPED"], &items.iter().map(row).collect::<Vec<_>>(), terminal)
}
