//! `strongroom audit verify`: an exported folder, offline. Settings play no part: the pin comes from the command line
//! alone, because a reader must know what they pinned.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use strongroom_proto::audit::export::{Pin, Verified, verify_folder};

use super::super::context::Context;
use super::super::error::CliError;
use super::super::output::clean;
use super::super::when;
use super::prove;

/// Longest file with a key or a checkpoint, in bytes.
const SHORT_FILE_LEN_MAX: u64 = 16 * 1024;

/// `strongroom audit verify`
#[derive(Debug, clap::Args)]
pub(in super::super) struct Verify {
    /// The exported folder, or that of one record
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The key that must have signed: SHA256:..., or a file with the public key
    #[arg(long, value_name = "PIN")]
    key: Option<PathBuf>,
    /// A checkpoint kept from before: the log must have grown from it
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
}

/// `strongroom.verified/1`: members are only ever added.
#[derive(Serialize)]
struct Body {
    log: String,
    size: u64,
    root: String,
    key: String,
    pinned: bool,
    first_at: Option<Timestamp>,
    last_at: Option<Timestamp>,
    older_checkpoints: usize,
    opened: u64,
    withheld: u64,
}

pub(super) fn verify(context: &Context, arguments: &Verify) -> Result<(), CliError> {
    let pin = arguments.key.as_deref().map(pin).transpose()?;
    if prove::is_proof(&arguments.folder) {
        if arguments.against.is_some() {
            return Err(CliError::usage("--against is for whole logs: this folder holds one record."));
        }
        return prove::verify(context, &arguments.folder, pin.as_ref());
    }
    let kept = arguments.against.as_deref().map(short_file).transpose()?;
    let verified = verify_folder(&arguments.folder, pin.as_ref(), kept.as_deref())
        .map_err(|error| CliError::unverified(&error))?;
    warn_unpinned(context, verified.pinned);
    let text = if context.out.quiet { String::new() } else { text(&verified) };
    context.out.answer("strongroom.verified/1", body(&verified), &text)
}

pub(super) fn warn_unpinned(context: &Context, pinned: bool) {
    if !pinned {
        context.out.say(
            "warning: unpinned: the key was found inside the folder, so anybody could have made it; \
             pin the agent's key with --key",
        );
    }
}

/// A fingerprint as it stands, else the content of a file.
pub(super) fn pin(value: &Path) -> Result<Pin, CliError> {
    let text = match value.to_str() {
        Some(text) if text.starts_with("SHA256:") => text.to_owned(),
        _ => short_file(value)?,
    };
    Pin::parse(&text).map_err(|error| {
        CliError::usage(format!("The pin is no key: {}", super::super::error::chain(&error)))
            .hint("give the agent's fingerprint SHA256:..., or a file with its public key")
    })
}

fn short_file(path: &Path) -> Result<String, CliError> {
    let failed = |error: std::io::Error| CliError::caused(&format!("cannot read {}", path.display()), &error);
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(SHORT_FILE_LEN_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

fn body(verified: &Verified) -> Body {
    Body {
        log: verified.origin.to_string(),
        size: verified.size,
        root: hex::encode(verified.root),
        key: verified.key.fingerprint(),
        pinned: verified.pinned,
        first_at: verified.first_at,
        last_at: verified.last_at,
        older_checkpoints: verified.older_checkpoints,
        opened: verified.opened,
        withheld: verified.withheld,
    }
}

fn text(verified: &Verified) -> String {
    let time = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), when::utc);
    let pinned = if verified.pinned { "pinned" } else { "UNPINNED" };
    let body = body(verified);
    clean_lines(&[
        format!("Verified: {} records, complete and unaltered.", body.size),
        format!("log          {}", body.log),
        format!("from, to     {}, {}", time(body.first_at), time(body.last_at)),
        format!("root         {}", body.root),
        format!("key          {} ({pinned})", body.key),
        format!("checkpoints  {} older ones agree", body.older_checkpoints),
        format!("values       {} shown and fitting, {} withheld", body.opened, body.withheld),
    ])
}

fn clean_lines(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{}\n", clean(line))).collect()
}
