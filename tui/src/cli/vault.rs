//! `strongroom vault`: the clients.

use clap::Subcommand;
use serde::Serialize;
use strongroom_proto::ids::{Slug, VaultId};
use strongroom_proto::method::vault::{self, Create, Freeze, Rename, Thaw};
use strongroom_proto::words::{Assurance, Scheme};

use super::context::Context;
use super::error::CliError;
use super::output::table;
use super::propose::{self, Why};

/// `strongroom vault`
#[derive(Debug, Subcommand)]
pub(super) enum Vault {
    /// List the clients you see
    #[command(name = "ls", visible_alias = "list")]
    List,
    /// Make a vault and its key in the token (admins)
    Create {
        /// The new vault, for example acme
        #[arg(value_name = "SLUG")]
        vault: Slug,
        /// The client's display name
        #[arg(long)]
        name: String,
        /// How seeds are sealed: resident or derived [default: the token profile's]
        #[arg(long)]
        scheme: Option<Scheme>,
        /// The weakest login that may take codes: software-key, hardware-touch or hardware-verified
        #[arg(long, value_name = "ASSURANCE")]
        min_assurance: Option<Assurance>,
    },
    /// Change a vault's slug or display name (admins)
    #[command(group(clap::ArgGroup::new("change").required(true).multiple(true).args(["to", "name"])))]
    Rename {
        /// Which vault
        #[arg(value_name = "VAULT")]
        vault: Slug,
        /// The new slug
        #[arg(long, value_name = "SLUG")]
        to: Option<Slug>,
        /// The new display name
        #[arg(long)]
        name: Option<String>,
    },
    /// Stop all releases of a vault at once (admins, the vault's managers)
    Freeze {
        /// Which vault
        #[arg(value_name = "VAULT")]
        vault: Slug,
        /// Why, for the record
        #[arg(short, long)]
        reason: String,
    },
    /// Propose a new vault key: every seed is sealed anew and the old key destroyed (two people)
    RotateKey {
        /// Which vault
        #[arg(value_name = "VAULT")]
        vault: Slug,
        /// How seeds are sealed afterwards: resident or derived [default: as now]
        #[arg(long)]
        scheme: Option<Scheme>,
        #[command(flatten)]
        why: Why,
    },
    /// Propose to destroy a vault's key, and with it every seed for ever (two people)
    Destroy {
        /// Which vault
        #[arg(value_name = "VAULT")]
        vault: Slug,
        /// The vault's name once more, where nobody can type it
        #[arg(long, value_name = "VAULT")]
        name: Option<Slug>,
        #[command(flatten)]
        why: Why,
    },
    /// Propose to give a client its seeds, encrypted to the client's own key (two people)
    HandOver {
        /// Which vault
        #[arg(value_name = "VAULT")]
        vault: Slug,
        /// The client's key: age1…, ssh-ed25519 …, or the path of a .pub file
        #[arg(long, value_name = "KEY")]
        to: String,
        #[command(flatten)]
        why: Why,
    },
    /// Lift a freeze (admins)
    Thaw {
        /// Which vault
        #[arg(value_name = "VAULT")]
        vault: Slug,
        /// Why, for the record
        #[arg(short, long)]
        reason: String,
    },
}

#[derive(Serialize)]
struct Created<'a> {
    vault: &'a Slug,
    id: VaultId,
}

#[derive(Serialize)]
struct Touched<'a> {
    vault: &'a Slug,
}

pub(super) async fn vault(context: &Context, command: Vault) -> Result<(), CliError> {
    let command = match command {
        Vault::RotateKey { vault, scheme, why } => return propose::rotate_key(context, vault, scheme, why).await,
        Vault::Destroy { vault, name, why } => return propose::destroy(context, vault, name, why).await,
        Vault::HandOver { vault, to, why } => return propose::hand_over(context, vault, &to, why).await,
        other => other,
    };
    let mut client = context.log_in().await?;
    match command {
        // Handled above: these sign what they call.
        Vault::RotateKey { .. } | Vault::Destroy { .. } | Vault::HandOver { .. } => Ok(()),
        Vault::List => {
            let list = client.call(&vault::List {}).await?;
            context.out.answer("strongroom.vaults/1", &list, &text(&list.items, context.out.terminal))
        }
        Vault::Create { vault, name, scheme, min_assurance } => {
            let call = Create { vault: vault.clone(), name, scheme, min_assurance };
            let created = client.call(&call).await?;
            let body = Created { vault: &vault, id: created.id };
            context.out.changed("strongroom.vault_created/1", body, &created.receipt, &format!("Created {vault}"))
        }
        Vault::Rename { vault, to, name } => {
            let changed = client.call(&Rename { vault: vault.clone(), to: to.clone(), name }).await?;
            let now = to.as_ref().unwrap_or(&vault);
            let sentence = format!("Renamed {vault}; it is addressed as {now}");
            context.out.changed("strongroom.vault_renamed/1", Touched { vault: now }, &changed.receipt, &sentence)
        }
        Vault::Freeze { vault, reason } => {
            let changed = client.call(&Freeze { vault: vault.clone(), reason }).await?;
            let sentence = format!("Froze {vault}: nothing is released");
            context.out.changed("strongroom.vault_frozen/1", Touched { vault: &vault }, &changed.receipt, &sentence)
        }
        Vault::Thaw { vault, reason } => {
            let changed = client.call(&Thaw { vault: vault.clone(), reason }).await?;
            let sentence = format!("Thawed {vault}: codes are released again");
            context.out.changed("strongroom.vault_thawed/1", Touched { vault: &vault }, &changed.receipt, &sentence)
        }
    }
}

fn text(items: &[vault::Item], terminal: bool) -> String {
    let row = |item: &vault::Item| {
        vec![
            item.vault.to_string(),
            item.name.clone(),
            item.accounts.to_string(),
            if item.roles.is_empty() { "-".to_owned() } else { words(&item.roles) },
            state(item).to_owned(),
        ]
    };
    table(&["VAULT", "NAME", "ACCOUNTS", "YOUR ROLES", "STATE"], &items.iter().map(row).collect::<Vec<_>>(), terminal)
}

fn state(item: &vault::Item) -> &'static str {
    match (item.destroyed_at, item.frozen) {
        (Some(_), _) => "DESTROYED",
        (None, true) => "FROZEN",
        (None, false) => "open",
    }
}

/// Words of a vocabulary with commas between.
pub(super) fn words<T: ToString>(words: &[T]) -> String {
    words.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongroom_proto::words::VaultRole;

    #[test]
    fn a_vault_is_a_line_with_its_state_in_words() {
        let item = vault::Item {
            vault: Slug::new("acme").unwrap(),
            id: "00000000-0000-4000-8000-000000000001".parse().unwrap(),
            name: "Acme Dental Group".into(),
            roles: vec![VaultRole::Viewer, VaultRole::Manager],
            accounts: 7,
            frozen: true,
            min_assurance: Assurance::SoftwareKey,
            signed_release: false,
            scheme: Scheme::Resident,
            log: "strongroom/o/v".into(),
            destroyed_at: None,
        };
        assert_eq!(text(&[item], false), "acme\tAcme Dental Group\t7\tviewer,manager\tFROZEN\n");
    }
}
