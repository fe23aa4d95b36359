//! `strongroom audit prove`: one record with the proof that it is in its log, for somebody who may not see the others.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use strongroom_proto::agent_key::AgentKey;
use strongroom_proto::audit::checkpoint::SignedCheckpoint;
use strongroom_proto::audit::export::{KEY_FILE, LOG_FILE, Pin};
use strongroom_proto::audit::opening::Opening;
use strongroom_proto::audit::record::RECORD_LEN_MAX;
use strongroom_proto::audit::record_proof::{PROOF_LEN_MAX, Proved, RecordProof};
use strongroom_proto::ids::Slug;
use strongroom_proto::method::audit::{Checkpoint, Item, Read};

use super::super::context::Context;
use super::super::error::CliError;
use super::super::output::clean;
use super::pruned;
use super::show::line;

/// The file of the record's bytes.
pub(super) const RECORD_FILE: &str = "record.json";
/// The file of the proof.
pub(super) const PROOF_FILE: &str = "record.tlog-proof";
/// The file of the values behind the record's commitments.
const OPENINGS_FILE: &str = "openings.json";
/// Longest file of openings that is read, in bytes: those of the longest record are much shorter.
const OPENINGS_LEN_MAX: usize = 256 * 1024;
/// Longest `log.pub` that is read, in bytes.
const KEY_LEN_MAX: usize = 4096;

/// `strongroom audit prove`
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("log").args(["vault", "org"]).required(true)))]
pub(in super::super) struct Prove {
    /// The log of this client
    #[arg(value_name = "VAULT")]
    vault: Option<Slug>,
    /// The log of the organisation
    #[arg(long)]
    org: bool,
    /// Which record: its number in the log
    #[arg(long, value_name = "NUMBER")]
    record: u64,
    /// The new folder
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// `strongroom.proved/1`: members are only ever added.
#[derive(Serialize)]
struct Body {
    log: String,
    seq: u64,
    size: u64,
    event: String,
    key: String,
    pinned: bool,
    opened: usize,
    withheld: usize,
}

pub(super) async fn prove(context: &Context, arguments: Prove) -> Result<(), CliError> {
    let Prove { vault, record: seq, out, .. } = arguments;
    if out.exists() {
        return Err(CliError::usage(format!("{} exists already.", out.display())));
    }
    let mut client = context.log_in().await?;
    let signed = client.call(&Checkpoint { vault: vault.clone() }).await?;
    let broken = || CliError::failure("The agent's checkpoint is none: the agent or its store is broken.");
    let checkpoint = SignedCheckpoint::parse(&signed.checkpoint).map_err(|_| broken())?;
    let size = checkpoint.unverified().size;
    let read = Read { vault: vault.clone(), from: Some(seq), before: None, limit: Some(1) };
    let item = client.call(&read).await?.items.into_iter().find(|item| item.seq == seq && seq < size);
    let item = item.ok_or_else(|| CliError::failure(format!("There is no record {seq} that you may see.")))?;
    let leaves = pruned::leaves(&mut client, vault.as_ref(), size).await?;
    let proof = RecordProof::make(&leaves, seq, &signed.checkpoint).ok_or_else(broken)?;
    write(&out, &item, &proof, &signed.public_key)
        .map_err(|error| CliError::caused("The proof was not written", &error))?;
    let pin = client.agent_key().map(Pin::parse).transpose();
    let pin = pin.map_err(|error| CliError::caused("The agent's key cannot be pinned", &error))?;
    let (body, text) = check(&out, pin.as_ref())?;
    let check = format!("Check it anywhere: strongroom audit verify {} --key {}\n", out.display(), body.key);
    context.out.answer("strongroom.proved/1", body, &format!("{text}{check}"))
}

fn write(out: &Path, item: &Item, proof: &RecordProof, public_key: &str) -> std::io::Result<()> {
    DirBuilder::new().mode(0o700).create(out)?;
    let openings = serde_json::to_string_pretty(&item.openings)?;
    for (name, text) in [
        (RECORD_FILE, item.record.clone()),
        (PROOF_FILE, proof.to_string()),
        (KEY_FILE, public_key.to_owned()),
        (OPENINGS_FILE, openings),
    ] {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(out.join(name))?;
        file.write_all(text.as_bytes())?;
    }
    Ok(())
}

/// True if a folder holds one record with its proof.
pub(super) fn is_proof(folder: &Path) -> bool {
    folder.join(PROOF_FILE).exists()
}

/// `strongroom audit verify` of such a folder.
pub(super) fn verify(context: &Context, folder: &Path, pin: Option<&Pin>) -> Result<(), CliError> {
    let (body, text) = check(folder, pin)?;
    super::verify::warn_unpinned(context, body.pinned);
    context.out.answer("strongroom.proved/1", body, if context.out.quiet { "" } else { &text })
}

/// Reads a file that somebody else wrote: a plain one, no longer than it may be. `None` if there is none.
fn plain_text(folder: &Path, name: &str, len_max: usize) -> Result<Option<String>, CliError> {
    let path = folder.join(name);
    let failed = |error: io::Error| CliError::caused(&format!("NOT VERIFIED: cannot read {name}"), &error);
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // A link could lead out of the folder, a pipe never end.
        Ok(found) if !found.is_file() => {
            return Err(CliError::failure(format!("NOT VERIFIED: {name} is no plain file.")));
        }
        found => found.map(drop).map_err(failed)?,
    }
    let mut text = String::new();
    let file = fs::File::open(&path).map_err(failed)?;
    file.take(len_max as u64 + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() > len_max {
        return Err(CliError::failure(format!("NOT VERIFIED: {name} is longer than {len_max} bytes.")));
    }
    Ok(Some(text))
}

fn check(folder: &Path, pin: Option<&Pin>) -> Result<(Body, String), CliError> {
    let refused = |what: &str| CliError::failure(format!("NOT VERIFIED: {what}"));
    // A proof of one record beside a forged log would have the log pass for verified.
    if folder.join(LOG_FILE).exists() {
        return Err(refused(
            "the folder holds a whole log and the proof of one record: check each in a folder of its own.",
        ));
    }
    let key = plain_text(folder, KEY_FILE, KEY_LEN_MAX)?.ok_or_else(|| refused("log.pub is missing."))?;
    let key = AgentKey::from_text(&key).map_err(|error| CliError::caused("NOT VERIFIED: log.pub is no key", &error))?;
    if pin.is_some_and(|pin| pin.fingerprint() != key.fingerprint()) {
        return Err(refused("it was signed by another key than the pinned one."));
    }
    let text = plain_text(folder, PROOF_FILE, PROOF_LEN_MAX)?.ok_or_else(|| refused("the proof is missing."))?;
    let proof: RecordProof =
        text.parse().map_err(|error| CliError::caused("NOT VERIFIED: the proof is none", &error))?;
    let bytes = plain_text(folder, RECORD_FILE, RECORD_LEN_MAX)?.ok_or_else(|| refused("the record is missing."))?;
    let Proved { checkpoint, record } =
        proof.verify(&bytes, &key).map_err(|error| CliError::caused("NOT VERIFIED", &error))?;
    let openings: Vec<Opening> = match plain_text(folder, OPENINGS_FILE, OPENINGS_LEN_MAX)? {
        Some(text) => serde_json::from_str(&text).map_err(|_| refused("openings.json holds no openings."))?,
        None => Vec::new(),
    };
    for opening in &openings {
        let committed = record.h.get(&opening.field);
        if committed.is_none() || committed != opening.commitment().as_ref() {
            return Err(refused(&format!("the value of {} is not the one that was recorded.", clean(&opening.field))));
        }
    }
    let body = Body {
        log: record.log.clone(),
        seq: record.seq,
        size: checkpoint.size,
        event: record.event.clone(),
        key: key.fingerprint(),
        pinned: pin.is_some(),
        opened: openings.len(),
        withheld: record.h.len().saturating_sub(openings.len()),
    };
    let pinned = if body.pinned { "pinned" } else { "UNPINNED" };
    let shown = line(&Item { seq: record.seq, record: bytes, openings });
    let text = format!(
        "Verified: this is record {} of the {} that the log had then, unaltered.\n{shown}log     {}\nkey     {} ({pinned})\nvalues  {} shown and fitting, {} withheld\n",
        body.seq,
        body.size,
        clean(&body.log),
        body.key,
        body.opened,
        body.withheld
    );
    Ok((body, text))
}
