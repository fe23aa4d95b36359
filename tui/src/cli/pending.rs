//! `strongroom pending`: what one person did and a second has to confirm.

use clap::Subcommand;
use serde::Serialize;
use strongroom_proto::ids::PendingId;
use strongroom_proto::method::pending::{Confirm, Item, List, Reject, Show, Shown};
use strongroom_proto::words::{PendingKind, PendingStatus};

use super::context::Context;
use super::error::CliError;
use super::output::{clean, table};
use super::policy::difference;
use super::when;

/// `strongroom pending`
#[derive(Debug, Subcommand)]
pub(super) enum Pending {
    /// List what waits for a second person
    #[command(name = "ls", visible_alias = "list")]
    List {
        /// What was decided in the last 90 days too
        #[arg(long)]
        all: bool,
    },
    /// Show one change, and who could confirm it
    Show {
        /// Which
        #[arg(value_name = "ID")]
        pending: PendingId,
    },
    /// Confirm what somebody else did; your key signs exactly what is shown
    Confirm {
        /// Which
        #[arg(value_name = "ID")]
        pending: PendingId,
        /// Of a FIDO key: you have seen its hardware
        #[arg(long)]
        in_person: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Reject it, or take your own back
    Reject {
        /// Which
        #[arg(value_name = "ID")]
        pending: PendingId,
        /// Why, for the record
        #[arg(short, long)]
        reason: String,
    },
}

#[derive(Serialize)]
struct Touched {
    pending: PendingId,
}

pub(super) async fn pending(context: &Context, command: Pending) -> Result<(), CliError> {
    match command {
        Pending::List { all } => {
            let list = context.log_in().await?.call(&List { all }).await?;
            context.out.answer("strongroom.pendings/1", &list, &text(&list.items, context.out.terminal))
        }
        Pending::Show { pending } => {
            let shown = context.log_in().await?.call(&Show { pending }).await?;
            context.out.answer("strongroom.pending/1", &shown, &sheet(&shown))
        }
        Pending::Confirm { pending, in_person, yes } => confirm(context, pending, in_person, yes).await,
        Pending::Reject { pending, reason } => {
            let changed = context.log_in().await?.call(&Reject { pending, reason }).await?;
            let sentence = format!("Rejected {pending}");
            context.out.changed("strongroom.pending_rejected/1", Touched { pending }, &changed.receipt, &sentence)
        }
    }
}

async fn confirm(context: &Context, pending: PendingId, in_person: bool, yes: bool) -> Result<(), CliError> {
    let (mut client, signer) = context.log_in_to_sign().await?;
    let shown = client.call(&Show { pending }).await?;
    // Computed from what is shown: an agent that shows one thing and has another signed is found out.
    let digest = shown.item.content().digest().filter(|digest| *digest == shown.item.digest);
    let digest = digest.ok_or_else(|| CliError::failure("The agent shows another change than it wants signed."))?;
    context.out.say_lines(&sheet(&shown));
    let consequence = if shown.item.in_force {
        "You say with your key that this was right."
    } else {
        "You confirm this with your key."
    };
    context.confirm(yes, consequence)?;
    let call = Confirm { pending, digest, in_person, step_up: None };
    let changed = client.call_signed(call, signer.as_ref()).await?;
    let sentence = format!("Confirmed: {}", shown.item.summary);
    context.out.changed("strongroom.pending_confirmed/1", Touched { pending }, &changed.receipt, &sentence)
}

/// The sentence of something that may have to wait for a second person.
pub(super) fn waits(what: &str, in_force: bool, pending: Option<PendingId>) -> String {
    match pending {
        Some(pending) if !in_force => {
            format!("Waits for a second person until {what}: strongroom pending confirm {pending}")
        }
        _ => what.to_owned(),
    }
}

fn text(items: &[Item], terminal: bool) -> String {
    let row = |item: &Item| {
        let status = match (item.status, item.in_force) {
            (PendingStatus::Waiting, true) => "in force".to_owned(),
            (status, _) => status.to_string(),
        };
        vec![
            item.pending.to_string(),
            item.summary.clone(),
            item.proposer.to_string(),
            when::utc(item.created_at),
            status,
            if item.yours { "you" } else { "-" }.to_owned(),
        ]
    };
    let heading = ["ID", "WHAT", "BY", "SINCE", "STATUS", "CAN CONFIRM"];
    table(&heading, &items.iter().map(row).collect::<Vec<_>>(), terminal)
}

fn sheet(Shown { item, may_confirm }: &Shown) -> String {
    let mut lines =
        vec![("pending", item.pending.to_string()), ("what", item.summary.clone()), ("kind", item.kind.to_string())];
    lines.extend(item.vault.as_ref().map(|vault| ("vault", vault.to_string())));
    lines.push(("by", item.proposer.to_string()));
    lines.push(("since", when::utc(item.created_at)));
    lines.push(("until", when::utc(item.expires_at)));
    lines.push(("status", item.status.to_string()));
    if item.in_force {
        lines.push(("in force", "already, by the only admin there was: your word is a review".to_owned()));
    }
    lines.extend(item.decided_by.as_ref().map(|who| ("decided by", who.to_string())));
    lines.extend(item.differences.iter().map(|one| ("changes", difference(one))));
    if item.kind == PendingKind::Key {
        lines.push(("compare", "ask the owner for: ssh-keygen -l -f KEY.pub".to_owned()));
    }
    let names: Vec<String> = may_confirm.iter().map(ToString::to_string).collect();
    let names = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
    lines.push(("can confirm", names));
    lines.iter().map(|(name, value)| format!("{name:<12} {}\n", clean(value))).collect()
}
