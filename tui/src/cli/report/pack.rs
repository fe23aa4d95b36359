//! `strongroom report pack`: what a client is sent once a month. The exported log of its own vault, the checkpoint of the pack
//! before, and a summary. It is made from that one log and nothing else, so that nothing of another client can be in it.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use strongroom_proto::audit::checkpoint::SignedCheckpoint;
use strongroom_proto::audit::export::{CHECKPOINT_FILE, ExportError, ExportWriter, Pin, verify_folder};
use strongroom_proto::ids::Slug;
use strongroom_proto::method::audit::Export;

use super::super::audit;
use super::super::context::Context;
use super::super::error::CliError;
use super::document::{Control, Document};
use super::evidence::{Entry, Evidence, Lists, Log, Period};
use super::output_file::write_new;
use super::render::{Format, render};
use super::{access, exceptions, gather, releases};

/// The checkpoint of the pack before, inside a pack.
const PREVIOUS_FILE: &str = "previous-checkpoint";
/// Longest checkpoint, in bytes.
const CHECKPOINT_LEN_MAX: u64 = 32 * 1024;

const CONTROLS: &[Control] = &[
    Control {
        standard: "SOC 2",
        ids: "CC6.1, CC7.2, C1.1",
        about: "what was done with the client's credentials, and evidence of it",
    },
    Control {
        standard: "ISO/IEC 27001:2022",
        ids: "A.5.19, A.5.20, A.5.22, A.5.28",
        about: "a supplier shows its client what it did",
    },
    Control { standard: "CIS Controls v8.1", ids: "15.x", about: "a service provider can be looked at" },
    Control { standard: "PCI DSS 4.0.1", ids: "8.2.2, 8.2.3, 12.8.5", about: "each use of a shared login, by client" },
];

/// `strongroom report pack`
#[derive(Debug, clap::Args)]
pub(in super::super) struct Pack {
    /// The client whose pack it is
    #[arg(value_name = "VAULT")]
    vault: Slug,
    /// The new folder
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The pack before, or its checkpoint: the log must have grown from it
    #[arg(long, value_name = "DIR")]
    previous: Option<PathBuf>,
    /// From when the summary counts [default: the last record of the pack before, else everything]
    #[arg(long, value_name = "TIME", value_parser = super::super::when::timestamp)]
    from: Option<Timestamp>,
}

/// `strongroom.pack/1`: members are only ever added.
#[derive(Serialize)]
struct Body<'a> {
    log: &'a str,
    size: u64,
    root: String,
    key: String,
    previous_size: Option<u64>,
    out: &'a Path,
}

/// A folder that is taken away again unless it was put in its place.
struct Making {
    path: PathBuf,
    kept: bool,
}

impl Drop for Making {
    fn drop(&mut self) {
        if !self.kept {
            // Its name says what it is if this fails.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

pub(super) async fn pack(context: &Context, arguments: Pack) -> Result<(), CliError> {
    let previous = arguments.previous.as_deref().map(previous_checkpoint).transpose()?;
    let mut making = making(&arguments.dir)?;
    let mut writer = ExportWriter::create(&making.path).map_err(not_written)?;
    let mut client = context.log_in().await?;
    let exported = client.call(&Export { vault: Some(arguments.vault.clone()) }).await?;
    let checkpoint = gather::vouched(&client, &exported.checkpoint, &exported.public_key)?;
    let mut entries = Vec::new();
    if let Some(pruned) = &exported.pruned {
        audit::export::begin(&mut client, Some(&arguments.vault), pruned, &mut writer).await?;
    }
    let complete = gather::fetch(&mut client, Some(&arguments.vault), &checkpoint, exported.pruned.as_ref(), |item| {
        entries.extend(Entry::read(item));
        writer.append(&item.record, &item.openings).map_err(not_written)
    })
    .await?;
    if !complete {
        return Err(CliError::failure("The agent left out records of this log; nothing was written.")
            .hint("a whole log goes to admins, managers and auditors only"));
    }
    writer.log_keys(&exported.log_keys).map_err(not_written)?;
    writer.finish(&exported.checkpoint, &exported.checkpoints, &exported.public_key).map_err(not_written)?;

    let pin = client.agent_key().map(Pin::parse).transpose();
    let pin = pin.map_err(|error| CliError::caused("The agent's key cannot be pinned", &error))?;
    let verified =
        verify_folder(&making.path, pin.as_ref(), previous.as_deref()).map_err(|error| CliError::unverified(&error))?;
    let previous_size = previous.as_deref().and_then(size_of);
    let period = period(&entries, arguments.from, previous_size);
    let log = Log {
        vault: Some(arguments.vault.clone()),
        origin: exported.log.clone(),
        size: verified.size,
        root: hex::encode(verified.root),
        complete,
        pruned: verified.pruned,
        entries,
    };
    let evidence = Evidence::new(Timestamp::now(), vec![log], Lists::default());
    let key = verified.key.fingerprint();
    let document = summary(&evidence, period, &arguments.vault, previous_size, &key);
    for (name, format) in [("summary.md", Format::Markdown), ("summary.html", Format::Html)] {
        write_new(&making.path.join(name), &render(&document, format)?)?;
    }
    if let Some(previous) = &previous {
        write_new(&making.path.join(PREVIOUS_FILE), previous)?;
    }
    // Renaming over a folder that is not empty is refused by the system (rename(2)).
    std::fs::rename(&making.path, &arguments.dir)
        .map_err(|error| CliError::caused(&format!("The pack was not put at {}", arguments.dir.display()), &error))?;
    making.kept = true;

    let dir = arguments.dir.display();
    let against = if previous.is_some() { format!(" --against {dir}/{PREVIOUS_FILE}") } else { String::new() };
    let text = format!(
        "Packed {} records of {} into {dir}.\nThe client checks it: strongroom audit verify {dir} --key {key}{against}\n\
         and keeps its checkpoint for the next one.\n",
        verified.size, exported.log,
    );
    let body = Body {
        log: &exported.log,
        size: verified.size,
        root: hex::encode(verified.root),
        key,
        previous_size,
        out: &arguments.dir,
    };
    context.out.answer("strongroom.pack/1", body, if context.out.quiet { "" } else { &text })
}

/// What happened in this vault since the pack before. Pure, and from this vault's log alone.
fn summary(evidence: &Evidence, period: Period, vault: &Slug, previous: Option<u64>, key: &str) -> Document {
    let mut sections = releases::sections(evidence, period);
    sections.retain(|section| section.key == "people" || section.key == "accounts");
    sections.extend(access::changes(evidence, period));
    let all = exceptions::sections(evidence, period);
    sections.extend(all.into_iter().filter(|section| ["break_glass", "weaker", "shared_use"].contains(&section.key)));
    let mut document =
        Document::new("pack", format!("{vault}: what was done"), CONTROLS, evidence, Some(period), sections);
    let grown = previous.map_or_else(
        || "This is the first pack.".to_owned(),
        |size| format!("The pack before ended with {size} records; this log was shown to have grown from it."),
    );
    document.notes.push(format!(
        "{grown} Check it yourself, offline: strongroom audit verify DIR --key {key} --against OLD-CHECKPOINT, or verify.py. \
         Compare the key with the one that you were given on another way, and keep the file named checkpoint for the next time."
    ));
    document
}

/// From the end of the pack before, or the beginning, to the newest record.
fn period(entries: &[Entry], from: Option<Timestamp>, previous_size: Option<u64>) -> Period {
    let first =
        previous_size.and_then(|size| entries.iter().find(|entry| entry.record.seq >= size)).or(entries.first());
    let from = from.or(first.map(Entry::at)).unwrap_or(Timestamp::UNIX_EPOCH);
    let nanosecond = jiff::SignedDuration::from_nanos(1);
    let to = entries.last().and_then(|entry| entry.at().checked_add(nanosecond).ok()).unwrap_or(from);
    Period { from, to: to.max(from) }
}

fn size_of(note: &str) -> Option<u64> {
    SignedCheckpoint::parse(note).ok().map(|signed| signed.unverified().size)
}

/// Reads the checkpoint of the pack before, given as its folder or as the file.
fn previous_checkpoint(path: &Path) -> Result<String, CliError> {
    use std::io::Read as _;
    let file = if path.is_dir() { path.join(CHECKPOINT_FILE) } else { path.to_owned() };
    let failed = |error: std::io::Error| CliError::caused(&format!("cannot read {}", file.display()), &error);
    let mut text = String::new();
    std::fs::File::open(&file).map_err(failed)?.take(CHECKPOINT_LEN_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// A name beside the new folder under which the pack is made: it appears as a whole or not at all.
fn making(dir: &Path) -> Result<Making, CliError> {
    let taken = match std::fs::read_dir(dir) {
        Ok(mut inside) => inside.next().is_some(),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    };
    let name = dir.file_name().filter(|_| !taken);
    let name =
        name.ok_or_else(|| CliError::usage(format!("{} is taken, or no name for a new folder.", dir.display())))?;
    let mut partial = std::ffi::OsString::from(".");
    partial.push(name);
    partial.push(format!(".pack-{}", std::process::id()));
    Ok(Making { path: dir.with_file_name(partial), kept: false })
}

fn not_written(error: ExportError) -> CliError {
    CliError::caused("The pack was not written", &error)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{JANA, M365, record, release};
    use super::*;

    #[test]
    fn a_summary_begins_where_the_pack_before_ended() {
        let entries = vec![
            record(0, 0, "log.open", None, serde_json::json!({}), &[]),
            release(1, 10, M365, serde_json::json!({}), &[]),
            record(2, 20, "audit.export", Some(JANA), serde_json::json!({}), &[]),
        ];
        let at = |second: usize| entries[second / 10].at();
        let whole = period(&entries, None, None);
        assert_eq!((whole.from, whole.has(at(20))), (at(0), true), "the newest record is part of it");
        let since = period(&entries, None, Some(2));
        assert_eq!((since.has(at(10)), since.has(at(20))), (false, true));
        let asked = period(&entries, Some(at(10)), Some(2));
        assert!(asked.has(at(10)));
        let nothing = period(&[], None, None);
        assert_eq!(nothing.from, nothing.to);
        assert!(period(&entries, Some(Timestamp::MAX), None).from == Timestamp::MAX, "nothing is newer than that");
    }

    #[test]
    fn a_pack_takes_no_name_that_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "x").unwrap();
        for taken in [folder.path().to_owned(), folder.path().join("file"), PathBuf::from("/"), PathBuf::from("..")] {
            assert!(making(&taken).is_err(), "{}", taken.display());
        }
        let free = making(&folder.path().join("new")).unwrap();
        assert_eq!(free.path.parent(), Some(folder.path()));
    }
}
