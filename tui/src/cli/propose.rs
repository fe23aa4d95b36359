//! `strongroom vault rotate-key`, `destroy` and `hand-over`: proposals that a second person confirms.

use std::io::{BufRead as _, Write as _};
use std::path::Path;

use serde::Serialize;
use strongroom_proto::ids::{CeremonyId, Slug};
use strongroom_proto::method::ceremony::{Propose, Proposed};
use strongroom_proto::words::{CeremonyKind, Scheme};

use super::context::Context;
use super::error::CliError;

/// Longest `.pub` file that is read, in bytes.
const KEY_FILE_LEN_MAX: u64 = 8 * 1024;

/// What every proposal says.
#[derive(Debug, clap::Args)]
pub(super) struct Why {
    /// Why, for the record and for who confirms
    #[arg(short, long)]
    reason: String,
    /// Ticket number
    #[arg(short, long)]
    ticket: Option<String>,
}

/// `strongroom.ceremony_proposed/1`: members are only ever added.
#[derive(Serialize)]
struct Waiting<'a> {
    ceremony: CeremonyId,
    digest: &'a str,
    expires_at: jiff::Timestamp,
    may_confirm: &'a [Slug],
}

fn proposal(vault: Slug, kind: CeremonyKind, why: Why) -> Propose {
    let Why { reason, ticket } = why;
    Propose { vault, kind, scheme: None, name: None, recipient: None, reason, ticket, step_up: None }
}

pub(super) async fn rotate_key(
    context: &Context,
    vault: Slug,
    scheme: Option<Scheme>,
    why: Why,
) -> Result<(), CliError> {
    propose(context, Propose { scheme, ..proposal(vault, CeremonyKind::RotateKey, why) }).await
}

pub(super) async fn destroy(context: &Context, vault: Slug, name: Option<Slug>, why: Why) -> Result<(), CliError> {
    let name = match name {
        Some(name) => name,
        None => ask_name(context, &vault)?,
    };
    if name != vault {
        return Err(CliError::usage(format!("{name} is not {vault}: nothing was proposed.")));
    }
    propose(context, Propose { name: Some(name), ..proposal(vault, CeremonyKind::Destroy, why) }).await
}

pub(super) async fn hand_over(context: &Context, vault: Slug, to: &str, why: Why) -> Result<(), CliError> {
    let recipient = Some(recipient(to)?);
    propose(context, Propose { recipient, ..proposal(vault, CeremonyKind::HandOver, why) }).await
}

/// An age recipient, a line of a `.pub` file, or the path of one.
fn recipient(to: &str) -> Result<String, CliError> {
    use std::io::Read as _;
    if to.starts_with("age1") || to.starts_with("ssh-") {
        return Ok(to.to_owned());
    }
    let mut text = String::new();
    std::fs::File::open(Path::new(to)).and_then(|file| file.take(KEY_FILE_LEN_MAX).read_to_string(&mut text)).map_err(
        |error| {
            CliError::caused(&format!("{to} is no key and cannot be read"), &error)
                .hint("give age1…, an ssh-ed25519 key, or the path of its .pub file")
        },
    )?;
    if text.contains("PRIVATE KEY") {
        return Err(CliError::usage(format!("{to} is a private key: give the client's .pub file.")));
    }
    // The comment names somebody and is no part of the key.
    let words: Vec<&str> = text.split_whitespace().take(2).collect();
    Ok(words.join(" "))
}

/// Lets a person type the vault's name: a key that was pressed too often destroys nothing.
fn ask_name(context: &Context, vault: &Slug) -> Result<Slug, CliError> {
    if !context.may_ask() {
        let message = "Destroying a vault needs its name typed once more.";
        return Err(CliError::usage(message).hint(format!("--name {vault}")));
    }
    let mut stderr = std::io::stderr().lock();
    let mut line = String::new();
    let question = format!(
        "The key of {vault} will be destroyed: every seed in it is lost for ever.\nType the vault's name to go on: "
    );
    write!(stderr, "{question}")
        .and_then(|()| stderr.flush())
        .and_then(|()| std::io::stdin().lock().read_line(&mut line))
        .map_err(|error| CliError::caused("cannot ask", &error))?;
    Slug::new(line.trim()).map_err(|_| CliError::cancelled())
}

async fn propose(context: &Context, wanted: Propose) -> Result<(), CliError> {
    let (mut client, signer) = context.log_in_to_sign().await?;
    let (vault, kind) = (wanted.vault.clone(), wanted.kind);
    let Proposed { ceremony, digest, expires_at, may_confirm, receipt } =
        client.call_signed(wanted, signer.as_ref()).await?;
    let body = Waiting { ceremony, digest: &digest, expires_at, may_confirm: &may_confirm };
    let sentence = format!("Proposed {kind} of {vault}: {ceremony}");
    context.out.changed("strongroom.ceremony_proposed/1", body, &receipt, &sentence)?;
    let names: Vec<&str> = may_confirm.iter().map(Slug::as_str).collect();
    if names.is_empty() {
        context.out.say("Nobody else may confirm it: it needs another admin, or a manager of this vault.");
    } else {
        context.out.say(&format!("It waits 24 hours for one of: {}", names.join(", ")));
        context.out.say(&format!("They call: strongroom ceremony confirm {ceremony}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipient_is_a_key_or_the_file_of_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("client.pub");
        std::fs::write(&path, "ssh-ed25519 AAAA client@example\n").unwrap();
        assert_eq!(recipient(path.to_str().unwrap()).unwrap(), "ssh-ed25519 AAAA");
        assert_eq!(recipient("age1abc").unwrap(), "age1abc");
        std::fs::write(&path, "-----BEGIN OPENSSH PRIVATE KEY-----\n").unwrap();
        assert!(recipient(path.to_str().unwrap()).is_err());
        assert!(recipient("/nonexistent.pub").is_err());
    }
}
