//! `strongroom audit`: the trail. `show` reads it from the agent, `export` takes it home, `verify` needs neither agent nor
//! token.

mod export;
mod prove;
mod search;
mod show;
mod tail;
mod verify;
mod who_could;

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
    /// Check an exported log, or one proved record, offline: complete, unaltered, by the pinned key
    Verify(verify::Verify),
    /// Export a whole log as a folder that anybody can verify
    Export(export::Export),
    /// Hand over one record with the proof that it is in its log
    Prove(prove::Prove),
    /// Tell from exported logs who could have taken a code at a time, and who did
    WhoCould(who_could::WhoCould),
}

pub(super) async fn audit(context: &Context, command: Audit) -> Result<(), CliError> {
    match command {
        Audit::Show(arguments) => show::show(context, arguments).await,
        Audit::Tail(arguments) => tail::tail(context, arguments).await,
        Audit::Prove(arguments) => prove::prove(context, arguments).await,
        Audit::WhoCould(arguments) => who_could::who_could(context, &arguments),
        Audit::Verify(arguments) => verify::verify(context, &arguments),
        Audit::Export(arguments) => export::export(context, arguments).await,
    }
}
