//! `strongroom identity`: people and scripts, and their keys.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;
use strongroom_proto::ids::{IdentityId, Slug};
use strongroom_proto::method::identity::{self, Enrol, KeyAdd, KeyRemove, Revoke};
use strongroom_proto::words::{IdentityKind, OrgRole};

use super::context::Context;
use super::error::CliError;
use super::output::table;
use super::vault::words;
use super::when;

/// Longest public key file that is read, in bytes.
const KEY_FILE_LEN_MAX: u64 = 16 * 1024;

/// `strongroom identity`
#[derive(Debug, Subcommand)]
pub(super) enum Identity {
    /// Enrol a person or script with its first key (admins)
    Enrol {
        /// The new identity, for example jana
        #[arg(value_name = "SLUG")]
        slug: Slug,
        /// The display name
        #[arg(long)]
        name: String,
        /// The SSH public key
        #[arg(long, value_name = "FILE.pub")]
        key: PathBuf,
        /// technician or service
        #[arg(long, default_value = "technician")]
        kind: IdentityKind,
        /// A role over the organisation: admin or auditor; may be repeated
        #[arg(long)]
        role: Vec<OrgRole>,
    },
    /// List identities
    #[command(name = "list", visible_alias = "ls")]
    List,
    /// Keys of an identity: add, rm
    #[command(subcommand)]
    Key(Key),
    /// End an identity for good: its sessions, grants and keys, at once (admins)
    Revoke {
        /// Whom
        #[arg(value_name = "SLUG")]
        slug: Slug,
        /// Why, for the record
        #[arg(short, long)]
        reason: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// `strongroom identity key`
#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Add a key (admins, not to themselves)
    Add {
        /// Whose
        #[arg(value_name = "SLUG")]
        slug: Slug,
        /// The SSH public key
        #[arg(value_name = "FILE.pub")]
        file: PathBuf,
    },
    /// Remove a key; sessions opened with it end (admins, and everybody their own)
    #[command(name = "rm")]
    Remove {
        /// Whose
        #[arg(value_name = "SLUG")]
        slug: Slug,
        /// Which, as strongroom identity list shows it
        #[arg(value_name = "SHA256:...")]
        fingerprint: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Serialize)]
struct Enrolled<'a> {
    identity: &'a Slug,
    id: IdentityId,
    fingerprint: &'a str,
}

#[derive(Serialize)]
struct KeyChanged<'a> {
    identity: &'a Slug,
    fingerprint: &'a str,
}

#[derive(Serialize)]
struct Revoked<'a> {
    identity: &'a Slug,
    sessions: u64,
    grants: u64,
    vaults: u64,
    drained: bool,
}

pub(super) async fn identity(context: &Context, command: Identity) -> Result<(), CliError> {
    match command {
        Identity::Enrol { slug, name, key, kind, role } => {
            let public_key = read_public_key(&key)?;
            let call = Enrol { identity: slug.clone(), name, kind, roles: role, public_key };
            let enrolled = context.log_in().await?.call(&call).await?;
            let fingerprint = &enrolled.fingerprint;
            let body = Enrolled { identity: &slug, id: enrolled.id, fingerprint };
            let sentence = format!("Enrolled {slug} with key {fingerprint}");
            context.out.changed("strongroom.identity_enrolled/1", body, &enrolled.receipt, &sentence)
        }
        Identity::List => {
            let list = context.log_in().await?.call(&identity::List {}).await?;
            context.out.answer("strongroom.identities/1", &list, &text(&list.items, context.out.terminal))
        }
        Identity::Key(Key::Add { slug, file }) => {
            let public_key = read_public_key(&file)?;
            let added = context.log_in().await?.call(&KeyAdd { identity: slug.clone(), public_key }).await?;
            let fingerprint = &added.fingerprint;
            let body = KeyChanged { identity: &slug, fingerprint };
            let sentence = format!("Added key {fingerprint} to {slug}");
            context.out.changed("strongroom.key_added/1", body, &added.receipt, &sentence)
        }
        Identity::Key(Key::Remove { slug, fingerprint, yes }) => {
            context.confirm(yes, &format!("{slug} can no longer log in with {fingerprint}."))?;
            let call = KeyRemove { identity: slug.clone(), fingerprint: fingerprint.clone() };
            let changed = context.log_in().await?.call(&call).await?;
            let body = KeyChanged { identity: &slug, fingerprint: &fingerprint };
            let sentence = format!("Removed key {fingerprint} from {slug}");
            context.out.changed("strongroom.key_removed/1", body, &changed.receipt, &sentence)
        }
        Identity::Revoke { slug, reason, yes } => revoke(context, &slug, reason, yes).await,
    }
}

async fn revoke(context: &Context, slug: &Slug, reason: String, yes: bool) -> Result<(), CliError> {
    context.confirm(yes, &format!("{slug} will lose all sessions, grants and keys for good."))?;
    let revoked = context.log_in().await?.call(&Revoke { identity: slug.clone(), reason }).await?;
    let identity::Revoked { sessions, grants, vaults, drained, receipt } = revoked;
    if !drained {
        context.out.say("A client of theirs has not read its last reply yet: a code in it can still be used.");
    }
    let body = Revoked { identity: slug, sessions, grants, vaults, drained };
    let sentence = format!("Revoked {slug}: ended {sessions} sessions and {grants} grants in {vaults} vaults");
    context.out.changed("strongroom.identity_revoked/1", body, &receipt, &sentence)
}

/// Reads the one line of a `.pub` file. A private key is refused here, before it could leave this machine.
fn read_public_key(path: &Path) -> Result<String, CliError> {
    let failed = |error: std::io::Error| CliError::caused(&format!("cannot read {}", path.display()), &error);
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = zeroize::Zeroizing::new(String::new());
    file.take(KEY_FILE_LEN_MAX).read_to_string(&mut text).map_err(failed)?;
    if text.contains("PRIVATE KEY") {
        return Err(CliError::usage(format!("{} is a private key.", path.display()))
            .hint(format!("give its public half: {}.pub", path.display())));
    }
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    match (lines.next(), lines.next()) {
        (Some(line), None) => Ok(line.to_owned()),
        _ => Err(CliError::usage(format!("{} does not hold exactly one public key.", path.display()))),
    }
}

fn text(items: &[identity::Item], terminal: bool) -> String {
    let mut rows = Vec::new();
    for item in items {
        let last_login = item.last_login.map_or_else(|| "never".to_owned(), when::utc);
        let who = [
            item.identity.to_string(),
            item.name.clone(),
            item.kind.to_string(),
            item.status.to_string(),
            if item.roles.is_empty() { "-".to_owned() } else { words(&item.roles) },
            last_login,
        ];
        let mut keys: Vec<String> =
            item.keys.iter().filter(|key| key.active).map(|key| key.fingerprint.clone()).collect();
        if keys.is_empty() {
            keys.push("-".to_owned());
        }
        rows.extend(keys.into_iter().map(|key| who.iter().cloned().chain([key]).collect()));
    }
    table(&["IDENTITY", "NAME", "KIND", "STATUS", "ROLES", "LAST LOGIN", "KEY"], &rows, terminal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, CliError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, text).unwrap();
        read_public_key(&path)
    }

    #[test]
    fn a_private_key_never_leaves() {
        let private = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
        let error = read(private).unwrap_err();
        assert_eq!(error.code, 2);
        assert!(error.hint.unwrap().ends_with("key.pub"));
    }

    #[test]
    fn a_public_key_file_has_one_line() {
        assert_eq!(read("# a comment\nssh-ed25519 AAAA jana\r\n").unwrap(), "ssh-ed25519 AAAA jana");
        assert_eq!(read("").unwrap_err().code, 2);
        assert_eq!(read("ssh-ed25519 AAAA\nssh-ed25519 BBBB\n").unwrap_err().code, 2);
    }
}
