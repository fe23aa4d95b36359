//! `strongroom audit`: the trail. `show` reads it from the agent, `export` takes it home, `verify` needs neither agent nor
//! token.

mod export;
mod search;
mod show;
mod tail;
mod verify;

use clap::Subcommand;

use super::context::Context;
use super::error::CliError;

/// `strongroom audit`
#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Show or search records: of a client's log, the organisation's, or all that you may read
    Show(show::Show),
    /// Show the newest records, and then each as it comes, until it is ended (Ctrl-C)
    Tail(tail::Tail),
    /// Check an exported log offline: complete, unaltered, by the pinned key
    Verify(verify::Verify),
    /// Export a whole log as a folder that anybody can verify
    Export(export::Export),
}

pub(super) async fn audit(context: &Context, command: Audit) -> Result<(), CliError> {
    match command {
        Audit::Show(arguments) => show::show(context, arguments).await,
        Audit::Tail(arguments) => tail::tail(context, arguments).await,
        Audit::Verify(arguments) => verify::verify(context, &arguments),
        Audit::Export(arguments) => export::export(context, arguments).await,
    }
}
