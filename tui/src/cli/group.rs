//! `strongroom group`: people who hold the same grants.

use clap::Subcommand;
use serde::Serialize;
use strongroom_proto::ids::{GroupId, PendingId, Slug};
use strongroom_proto::method::group::{self, Create, MemberAdd, MemberRemove, Remove};

use super::context::Context;
use super::error::CliError;
use super::output::table;
use super::pending::waits;

/// `strongroom group`
#[derive(Debug, Subcommand)]
pub(super) enum Group {
    /// List groups and who is in them
    #[command(name = "list", visible_alias = "ls")]
    List,
    /// Make a group, empty (admins)
    Create {
        /// The new group, for example first-line
        #[arg(value_name = "GROUP")]
        group: Slug,
        /// The display name
        #[arg(long)]
        name: String,
    },
    /// Remove a group: its grants and memberships end (admins)
    #[command(name = "rm")]
    Remove {
        /// Which
        #[arg(value_name = "GROUP")]
        group: Slug,
        /// Why, for the record
        #[arg(short, long)]
        reason: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Put somebody into a group: they gain its grants (admins, not themselves)
    Add {
        /// Into which
        #[arg(value_name = "GROUP")]
        group: Slug,
        /// Whom
        #[arg(value_name = "IDENTITY")]
        identity: Slug,
    },
    /// Take somebody out of a group (admins, and everybody themselves)
    Drop {
        /// Out of which
        #[arg(value_name = "GROUP")]
        group: Slug,
        /// Whom
        #[arg(value_name = "IDENTITY")]
        identity: Slug,
    },
}

#[derive(Serialize)]
struct Created<'a> {
    group: &'a Slug,
    id: GroupId,
}

#[derive(Serialize)]
struct Removed<'a> {
    group: &'a Slug,
    members: u64,
    grants: u64,
}

#[derive(Serialize)]
struct Added<'a> {
    group: &'a Slug,
    identity: &'a Slug,
    in_force: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<PendingId>,
}

#[derive(Serialize)]
struct Dropped<'a> {
    group: &'a Slug,
    identity: &'a Slug,
}

pub(super) async fn group(context: &Context, command: Group) -> Result<(), CliError> {
    match command {
        Group::List => {
            let list = context.log_in().await?.call(&group::List {}).await?;
            context.out.answer("strongroom.groups/1", &list, &text(&list.items, context.out.terminal))
        }
        Group::Create { group, name } => {
            let created = context.log_in().await?.call(&Create { group: group.clone(), name }).await?;
            let body = Created { group: &group, id: created.id };
            let sentence = format!("Made the group {group}");
            context.out.changed("strongroom.group_created/1", body, &created.receipt, &sentence)
        }
        Group::Remove { group, reason, yes } => {
            context.confirm(yes, &format!("Everybody in {group} will lose what it gives them."))?;
            let removed = context.log_in().await?.call(&Remove { group: group.clone(), reason }).await?;
            let (members, grants) = (removed.members, removed.grants);
            let body = Removed { group: &group, members, grants };
            let sentence = format!("Removed {group}: ended {members} memberships and {grants} grants");
            context.out.changed("strongroom.group_removed/1", body, &removed.receipt, &sentence)
        }
        Group::Add { group, identity } => {
            let call = MemberAdd { group: group.clone(), identity: identity.clone() };
            let added = context.log_in().await?.call(&call).await?;
            let (in_force, pending) = (added.in_force, added.pending);
            let sentence = waits(&format!("{identity} is in {group}"), in_force, pending);
            let body = Added { group: &group, identity: &identity, in_force, pending };
            context.out.changed("strongroom.group_member_added/1", body, &added.receipt, &sentence)
        }
        Group::Drop { group, identity } => {
            let call = MemberRemove { group: group.clone(), identity: identity.clone() };
            let changed = context.log_in().await?.call(&call).await?;
            let body = Dropped { group: &group, identity: &identity };
            let sentence = format!("{identity} is no longer in {group}");
            context.out.changed("strongroom.group_member_removed/1", body, &changed.receipt, &sentence)
        }
    }
}

fn text(items: &[group::Item], terminal: bool) -> String {
    let member = |member: &group::Member| {
        if member.pending { format!("{} (waits)", member.identity) } else { member.identity.to_string() }
    };
    let row = |item: &group::Item| {
        let members: Vec<String> = item.members.iter().map(member).collect();
        let members = if members.is_empty() { "-".to_owned() } else { members.join(",") };
        vec![item.group.to_string(), item.name.clone(), item.grants.to_string(), members]
    };
    table(&["GROUP", "NAME", "GRANTS", "MEMBERS"], &items.iter().map(row).collect::<Vec<_>>(), terminal)
}
