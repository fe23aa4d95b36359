//! `strongroom audit`: the trail. `show` reads it from the agent, `export` takes it home, `verify` needs neither agent nor
//! token.

pub(super) mod export;
mod prove;
pub(super) mod pruned;
mod search;
mod show;
mod tail;
mod verify;
mod who_could;

use clap::Subcommand;

use serde::Serialize;
use strongroom_proto::ids::{PendingId, Slug};
use strongroom_proto::method::audit::Erase;

pub(super) use self::export::export_log;
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
    /// Erase the names of somebody who has left; the records stay (admins, two people)
    Erase {
        /// Who: somebody who was revoked
        #[arg(value_name = "NAME")]
        leaver: Slug,
        /// Why: stays on record
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Hand over one record with the proof that it is in its log
    Prove(prove::Prove),
    /// Tell from exported logs who could have taken a code at a time, and who did
    WhoCould(who_could::WhoCould),
}

pub(super) async fn audit(context: &Context, command: Audit) -> Result<(), CliError> {
    match command {
        Audit::Show(arguments) => show::show(context, arguments).await,
        Audit::Tail(arguments) => tail::tail(context, arguments).await,
        Audit::Erase { leaver, reason } => erase(context, leaver, reason).await,
        Audit::Prove(arguments) => prove::prove(context, arguments).await,
        Audit::WhoCould(arguments) => who_could::who_could(context, &arguments),
        Audit::Verify(arguments) => verify::verify(context, &arguments),
        Audit::Export(arguments) => export::export(context, arguments).await,
    }
}

/// `strongroom.erasing/1`: members are only ever added.
#[derive(Serialize)]
struct Erased<'a> {
    identity: &'a Slug,
    in_force: bool,
    pending: Option<PendingId>,
}

async fn erase(context: &Context, identity: Slug, reason: String) -> Result<(), CliError> {
    let erasing = context.log_in().await?.call(&Erase { identity: identity.clone(), reason }).await?;
    let sentence = match erasing.pending {
        Some(pending) if !erasing.in_force => {
            format!("Nothing is erased yet: a second person has to confirm it (strongroom pending confirm {pending})")
        }
        _ => {
            format!("The names of {identity} go from the trail within a minute; backups keep them until they are gone")
        }
    };
    let body = Erased { identity: &identity, in_force: erasing.in_force, pending: erasing.pending };
    context.out.changed("strongroom.erasing/1", body, &erasing.receipt, &sentence)
}
