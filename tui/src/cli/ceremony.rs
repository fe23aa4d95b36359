//! `strongroom ceremony`: what two people do to a vault together, seen, confirmed, taken back and run. They are proposed with
//! `strongroom vault rotate-key`, `destroy` and `hand-over`.

use std::fs::File;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Subcommand;
use serde::Serialize;
use strongroom_proto::ids::{CeremonyId, Slug};
use strongroom_proto::method::ceremony::{Cancel, Certificate, Confirm, Item, List, Ran, Run, Show, Shown};
use strongroom_proto::words::{CeremonyKind, CeremonyStatus};
use zeroize::Zeroizing;

use super::context::Context;
use super::error::CliError;
use super::output::{clean, table};
use super::when;
use crate::login::ask_hidden;

/// Longest recovery key that is read, with the comments that `age-keygen` writes around it.
const KEY_LEN_MAX: usize = 4096;

/// `strongroom ceremony`
#[derive(Debug, Subcommand)]
pub(super) enum Ceremony {
    /// List the ceremonies of the vaults that you manage or audit
    #[command(name = "ls", visible_alias = "list")]
    List {
        /// Only this client
        #[arg(value_name = "VAULT")]
        vault: Option<Slug>,
    },
    /// Show one ceremony, and its certificate once it is done
    Show {
        /// Which
        #[arg(value_name = "ID")]
        ceremony: CeremonyId,
    },
    /// Confirm what a colleague proposed; your key signs exactly what is shown
    Confirm {
        /// Which
        #[arg(value_name = "ID")]
        ceremony: CeremonyId,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Take a ceremony back that has not begun
    Cancel {
        /// Which
        #[arg(value_name = "ID")]
        ceremony: CeremonyId,
        /// Why, for the record
        #[arg(short, long)]
        reason: Option<String>,
    },
    /// Run a confirmed ceremony, or go on with one that was interrupted
    Run(RunArguments),
}

/// `strongroom ceremony run`
#[derive(Debug, clap::Args)]
pub(super) struct RunArguments {
    /// Which
    #[arg(value_name = "ID")]
    ceremony: CeremonyId,
    /// Read the offline recovery key: - is standard input, asked for without echo on a terminal
    #[arg(long, value_name = "-", value_parser = ["-"])]
    recovery_key: Option<String>,
    /// Where the certificate (destroy) or the client's file (hand-over) goes; a new file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Serialize)]
struct Touched {
    ceremony: CeremonyId,
}

/// `strongroom.ceremony_run/1`: members are only ever added.
#[derive(Serialize)]
struct Done<'a> {
    ceremony: CeremonyId,
    status: CeremonyStatus,
    accounts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<&'a Certificate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<&'a Path>,
}

pub(super) async fn ceremony(context: &Context, command: Ceremony) -> Result<(), CliError> {
    match command {
        Ceremony::List { vault } => {
            let list = context.log_in().await?.call(&List { vault }).await?;
            context.out.answer("strongroom.ceremonies/1", &list, &text(&list.items, context.out.terminal))
        }
        Ceremony::Show { ceremony } => {
            let shown = context.log_in().await?.call(&Show { ceremony }).await?;
            context.out.answer("strongroom.ceremony/1", &shown, &sheet(&shown))
        }
        Ceremony::Confirm { ceremony, yes } => confirm(context, ceremony, yes).await,
        Ceremony::Cancel { ceremony, reason } => {
            let changed = context.log_in().await?.call(&Cancel { ceremony, reason }).await?;
            let sentence = format!("Cancelled {ceremony}");
            context.out.changed("strongroom.ceremony_cancelled/1", Touched { ceremony }, &changed.receipt, &sentence)
        }
        Ceremony::Run(arguments) => run(context, arguments).await,
    }
}

async fn confirm(context: &Context, ceremony: CeremonyId, yes: bool) -> Result<(), CliError> {
    let (mut client, signer) = context.log_in_to_sign().await?;
    let shown = client.call(&Show { ceremony }).await?;
    // Computed from what is shown: an agent that shows one thing and has another signed is found out.
    let digest = shown.item.content().digest().filter(|digest| *digest == shown.item.digest);
    let digest = digest.ok_or_else(|| CliError::failure("The agent shows another ceremony than it wants signed."))?;
    context.out.say_lines(&sheet(&shown));
    context.confirm(yes, "You confirm this with your key; it cannot be taken back once it has run.")?;
    let changed = client.call_signed(Confirm { ceremony, digest, step_up: None }, signer.as_ref()).await?;
    let sentence = format!("Confirmed {ceremony}; either of you runs it: strongroom ceremony run {ceremony}");
    context.out.changed("strongroom.ceremony_confirmed/1", Touched { ceremony }, &changed.receipt, &sentence)
}

async fn run(context: &Context, arguments: RunArguments) -> Result<(), CliError> {
    let recovery_key = match &arguments.recovery_key {
        Some(_) => Some(read_key(context)?),
        None => None,
    };
    let ceremony = arguments.ceremony;
    let mut client = context.log_in().await?;
    let item = client.call(&Show { ceremony }).await?.item;
    if item.kind == CeremonyKind::HandOver && arguments.out.is_none() {
        return Err(CliError::usage("The client's file needs a place: it is given out once.").hint("--out FILE"));
    }
    // Made before the ceremony runs: a file that cannot be written must not cost the only copy.
    let out = arguments.out.as_deref().map(|path| new_file(path).map(|file| (path, file))).transpose()?;
    let ran = loop {
        let ran = client.call(&Run { ceremony, recovery_key: recovery_key.clone() }).await;
        match ran {
            Ok(ran) if ran.status == CeremonyStatus::Running => {
                context.out.say(&format!("{} of {} accounts are done", ran.done, ran.accounts));
            }
            Ok(ran) => break ran,
            Err(error) => {
                if let Some((path, _)) = out {
                    let _ = std::fs::remove_file(path);
                }
                return Err(error.into());
            }
        }
    };
    let kept = keep(out, &ran)?;
    let sentence = match item.kind {
        CeremonyKind::RotateKey => {
            format!("Rotated the key of {}: {} accounts, every one checked", item.vault, ran.accounts)
        }
        CeremonyKind::Destroy => format!("Destroyed {}: {} seeds are gone for ever", item.vault, ran.accounts),
        CeremonyKind::HandOver => format!("Handed {} accounts of {} over", ran.accounts, item.vault),
    };
    let body = Done {
        ceremony,
        status: ran.status,
        accounts: ran.accounts,
        certificate: ran.certificate.as_ref(),
        out: kept.as_deref(),
    };
    context.out.changed("strongroom.ceremony_run/1", body, &ran.receipt, &sentence)
}

fn new_file(path: &Path) -> Result<File, CliError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| CliError::caused(&format!("{} cannot be made", path.display()), &error))
}

/// Writes what the ceremony gave; of a destruction the text, and the signature beside it.
fn keep(out: Option<(&Path, File)>, ran: &Ran) -> Result<Option<PathBuf>, CliError> {
    let Some((path, mut file)) = out else { return Ok(None) };
    let broken = |error: std::io::Error| CliError::caused(&format!("{} cannot be written", path.display()), &error);
    if let Some(sealed) = &ran.file {
        let bytes = BASE64.decode(sealed).map_err(|error| CliError::caused("the agent's file is no base64", &error))?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(broken)?;
    } else if let Some(certificate) = &ran.certificate {
        file.write_all(certificate.text.as_bytes()).and_then(|()| file.sync_all()).map_err(broken)?;
        let mut signature = path.as_os_str().to_owned();
        signature.push(".sig");
        let mut beside = new_file(Path::new(&signature))?;
        beside.write_all(certificate.signature.as_bytes()).and_then(|()| beside.sync_all()).map_err(broken)?;
    }
    Ok(Some(path.to_owned()))
}

fn read_key(context: &Context) -> Result<Zeroizing<String>, CliError> {
    if std::io::stdin().is_terminal() {
        if !context.may_ask() {
            return Err(CliError::usage("There is nobody to ask for the recovery key."));
        }
        return ask_hidden("Recovery key (AGE-SECRET-KEY-1…, not shown): ").map_err(|error| match error.kind() {
            // The prompt takes Ctrl-C as a key.
            std::io::ErrorKind::Interrupted => CliError::cancelled(),
            _ => CliError::caused("cannot read the recovery key", &error),
        });
    }
    let mut text = Zeroizing::new(String::with_capacity(KEY_LEN_MAX + 64));
    std::io::stdin()
        .lock()
        .take(KEY_LEN_MAX as u64 + 1)
        .read_to_string(&mut text)
        .map_err(|_| CliError::failure("The recovery key on standard input cannot be read as text."))?;
    if text.len() > KEY_LEN_MAX {
        return Err(CliError::failure("What stands on standard input is longer than a recovery key."));
    }
    Ok(text)
}

fn text(items: &[Item], terminal: bool) -> String {
    let row = |item: &Item| {
        vec![
            item.ceremony.to_string(),
            item.vault.to_string(),
            item.kind.to_string(),
            item.status.to_string(),
            item.proposer.to_string(),
            item.confirmer.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            when::utc(item.expires_at),
        ]
    };
    let head = ["CEREMONY", "VAULT", "KIND", "STATUS", "PROPOSED BY", "CONFIRMED BY", "UNTIL"];
    table(&head, &items.iter().map(row).collect::<Vec<_>>(), terminal)
}

/// All that a confirmer signs, line by line.
fn sheet(shown: &Shown) -> String {
    let item = &shown.item;
    let mut lines = vec![
        ("ceremony", item.ceremony.to_string()),
        ("vault", item.vault.to_string()),
        ("what", item.kind.to_string()),
    ];
    lines.extend(item.scheme.map(|scheme| ("scheme", scheme.to_string())));
    lines.extend(item.recipient.clone().map(|recipient| ("recipient", recipient)));
    lines.push(("proposed by", item.proposer.to_string()));
    lines.extend(item.confirmer.as_ref().map(|confirmer| ("confirmed by", confirmer.to_string())));
    lines.push(("reason", item.reason.clone()));
    lines.extend(item.ticket.clone().map(|ticket| ("ticket", ticket)));
    lines.push(("since", when::utc(item.created_at)));
    lines.push(("until", when::utc(item.expires_at)));
    lines.push(("status", item.status.to_string()));
    let mut text: String = lines.iter().map(|(word, value)| format!("{word:<13} {}\n", clean(value))).collect();
    if let Some(certificate) = &shown.certificate {
        text.push_str(&format!("\n{}{}", certificate.text, certificate.signature));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheet_says_everything_that_is_signed() {
        let id = "00000000-0000-4000-8000-000000000001";
        let item = Item {
            ceremony: id.parse().unwrap(),
            vault: Slug::new("acme").unwrap(),
            vault_id: id.parse().unwrap(),
            kind: CeremonyKind::HandOver,
            scheme: None,
            recipient: Some("age1client".into()),
            proposer: Slug::new("ada").unwrap(),
            proposer_id: id.parse().unwrap(),
            confirmer: None,
            reason: "leaves\u{1b}[31m us".into(),
            ticket: Some("INC-7".into()),
            created_at: "2026-11-22T00:00:00Z".parse().unwrap(),
            expires_at: "2026-11-23T00:00:00Z".parse().unwrap(),
            digest: String::new(),
            status: CeremonyStatus::Proposed,
        };
        let text = sheet(&Shown { item, certificate: None });
        for part in ["acme", "hand-over", "age1client", "ada", "leaves", "INC-7", "proposed"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains('\u{1b}'), "nothing that was typed elsewhere colours the sheet");
    }
}
