//! `strongroom audit`: the trail. `show` reads it from the agent, `export` takes it home, `verify` needs neither agent nor
//! token.

mod export;
mod show;
mod verify;

use clap::Subcommand;

use super::context::Context;
use super::error::CliError;

/// `strongroom audit`
#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Show the newest records of a client's log, or of the organisation's
    Show(show::Show),
    /// Check an exported log offline: complete, unaltered, by the pinned key
    Verify(verify::Verify),
    /// Export a whole log as a folder that anybody can verify
    Export(export::Export),
}

pub(super) async fn audit(context: &Context, command: Audit) -> Result<(), CliError> {
    match command {
        Audit::Show(arguments) => show::show(context, arguments).await,
        Audit::Verify(arguments) => verify::verify(context, &arguments),
        Audit::Export(arguments) => export::export(context, arguments).await,
    }
}
