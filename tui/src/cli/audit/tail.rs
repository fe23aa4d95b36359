//! `strongroom audit tail`: the newest records, and then each as it comes.

use std::time::Duration;

use strongroom_proto::ids::Slug;
use strongroom_proto::method::audit::{PAGE_LEN_MAX, Read};

use super::super::context::Context;
use super::super::error::CliError;
use super::search::{Filter, newest};
use super::show::{body_item, line};

/// How often it is looked for new records.
const PAUSE: Duration = Duration::from_secs(1);

/// `strongroom audit tail`
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("log").args(["vault", "org"]).required(true)))]
pub(in super::super) struct Tail {
    /// The log of this client
    #[arg(value_name = "VAULT")]
    vault: Option<Slug>,
    /// The log of the organisation
    #[arg(long)]
    org: bool,
    /// Begin with this many records
    #[arg(long, value_name = "NUMBER", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=500))]
    lines: u32,
}

pub(super) async fn tail(context: &Context, arguments: Tail) -> Result<(), CliError> {
    let mut client = context.log_in().await?;
    let trail = newest(&mut client, arguments.vault.clone(), &Filter::default(), arguments.lines).await?;
    let mut items = trail.items;
    // Records that one may not see are passed over: the place to go on from is the log's end, not that of what was shown.
    let mut from = items.last().map_or(trail.size, |last| last.seq + 1).max(trail.size);
    loop {
        for item in &items {
            if context.out.json {
                context.out.write_json("strongroom.audit_record/1", body_item(item)?)?;
            } else {
                context.out.write(&line(item))?;
            }
        }
        if items.is_empty() {
            tokio::time::sleep(PAUSE).await;
        }
        let read = Read { vault: arguments.vault.clone(), from: Some(from), before: None, limit: Some(PAGE_LEN_MAX) };
        let page = client.call(&read).await?;
        from = page.next.unwrap_or(page.size).max(from);
        items = page.items;
    }
}
