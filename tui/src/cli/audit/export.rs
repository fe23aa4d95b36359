//! `strongroom audit export`: fetches a whole log and writes it as a folder, then checks the folder like a stranger would.

use std::path::{Path, PathBuf};

use serde::Serialize;
use strongroom_proto::audit::export::{ExportError, ExportWriter, Pin, Verified, verify_folder};
use strongroom_proto::audit::pruned::Pruned;
use strongroom_proto::client::Client;
use strongroom_proto::ids::Slug;
use strongroom_proto::method::audit::{Export as ExportCall, Item, PAGE_LEN_MAX, Read};

use super::super::context::Context;
use super::super::error::CliError;
use super::pruned::{leaves, sentence, state};

/// `strongroom audit export`
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("log").required(true).args(["vault", "org"])))]
pub(in super::super) struct Export {
    /// The log of this client
    #[arg(value_name = "VAULT")]
    vault: Option<Slug>,
    /// The log of the organisation
    #[arg(long)]
    org: bool,
    /// The new folder
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// `strongroom.export/1`: members are only ever added.
#[derive(Serialize)]
struct Body<'a> {
    log: &'a str,
    size: u64,
    root: String,
    key: String,
    out: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    pruned: Option<Pruned>,
}

pub(super) async fn export(context: &Context, arguments: Export) -> Result<(), CliError> {
    let out = arguments.out.as_path();
    // Refused before anybody logs in, and before the agent records an export that would not happen.
    drop(ExportWriter::create(out).map_err(not_written)?);
    let mut client = context.log_in().await?;
    let (log, verified) = export_log(&mut client, arguments.vault, out, |_| {}).await?;
    let key = verified.key.fingerprint();
    let pruned = verified.pruned.as_ref().map(|pruned| sentence(pruned) + "\n").unwrap_or_default();
    let text = format!(
        "Exported {} records of {log} to {}.\n{pruned}Check it anywhere: strongroom audit verify {} --key {key}\n",
        verified.size,
        out.display(),
        out.display(),
    );
    let pruned = verified.pruned;
    let body = Body { pruned, log: &log, size: verified.size, root: hex::encode(verified.root), key, out };
    context.out.answer("strongroom.export/1", body, if context.out.quiet { "" } else { &text })
}

/// Fetches a whole log into a new folder and checks that like a stranger would. Gives its origin, and what was verified; the
/// sink sees each record before that.
///
/// # Errors
/// What the agent answers; `unverified` if the folder is not what its checkpoint says.
pub(in super::super) async fn export_log(
    client: &mut Client,
    vault: Option<Slug>,
    out: &Path,
    sink: impl FnMut(&Item),
) -> Result<(String, Verified), CliError> {
    let mut writer = ExportWriter::create(out).map_err(not_written)?;
    let exported = client.call(&ExportCall { vault: vault.clone() }).await?;
    if let Some(pruned) = &exported.pruned {
        begin(client, vault.as_ref(), pruned, &mut writer).await?;
    }
    fetch(client, vault, exported.size, &mut writer, sink).await?;
    writer.log_keys(&exported.log_keys).map_err(not_written)?;
    writer.finish(&exported.checkpoint, &exported.checkpoints, &exported.public_key).map_err(not_written)?;
    let pin = client.agent_key().map(Pin::parse).transpose();
    let pin = pin.map_err(|error| CliError::caused("The agent's key cannot be pinned", &error))?;
    let verified = verify_folder(out, pin.as_ref(), None).map_err(|error| {
        CliError::unverified(&error)
            .hint(format!("the agent or its store is broken; keep {} as evidence", out.display()))
    })?;
    Ok((exported.log, verified))
}

/// Begins the log with what is left of its pruned records.
pub(in super::super) async fn begin(
    client: &mut Client,
    vault: Option<&Slug>,
    pruned: &Pruned,
    writer: &mut ExportWriter,
) -> Result<(), CliError> {
    let state = state(client, vault, pruned).await?;
    writer.begin_pruned(&leaves(client, vault, pruned.until).await?, &state).map_err(not_written)
}

/// Fetches the records from the first that is there up to the checkpoint's size, in order and without gaps.
async fn fetch(
    client: &mut Client,
    vault: Option<Slug>,
    size: u64,
    writer: &mut ExportWriter,
    mut sink: impl FnMut(&Item),
) -> Result<(), CliError> {
    while writer.size() < size {
        let missing = u32::try_from(size - writer.size()).unwrap_or(PAGE_LEN_MAX);
        let from = writer.size();
        let read =
            Read { vault: vault.clone(), from: Some(from), before: None, limit: Some(missing.min(PAGE_LEN_MAX)) };
        let page = client.call(&read).await?;
        for item in page.items.iter().take_while(|item| item.seq < size) {
            if item.seq != writer.size() {
                return Err(gap(writer.size(), size));
            }
            writer.append(&item.record, &item.openings).map_err(not_written)?;
            sink(item);
        }
        if writer.size() == from {
            return Err(gap(from, size));
        }
    }
    Ok(())
}

fn gap(seq: u64, size: u64) -> CliError {
    CliError::failure(format!("The agent left out record {seq} of {size}; nothing was written."))
        .hint("a whole log goes to admins, managers and auditors only")
}

fn not_written(error: ExportError) -> CliError {
    CliError::caused("The export was not written", &error)
}

#[cfg(test)]
mod tests {
    use super::super::super::scripted::agent;
    use super::*;
    use serde_json::{Value, json};

    fn page(seqs: &[u64]) -> Value {
        let item = |seq| json!({ "seq": seq, "record": format!("{{\"seq\":{seq}}}"), "openings": [] });
        json!({ "log": "l", "size": 9, "items": seqs.iter().map(item).collect::<Vec<_>>(), "next": 1 })
    }

    async fn fetched(pages: Vec<Value>, size: u64) -> (Result<(), CliError>, u64, Vec<Value>) {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = ExportWriter::create(&folder.path().join("out")).unwrap();
        let (mut client, asked) = agent(pages);
        let outcome = fetch(&mut client, None, size, &mut writer, |_| {}).await;
        drop(client);
        (outcome, writer.size(), asked.await.unwrap())
    }

    #[tokio::test]
    async fn records_are_fetched_up_to_the_checkpoint_and_no_further() {
        let (outcome, size, asked) = fetched(vec![page(&[0, 1]), page(&[2, 3, 4, 5])], 4).await;
        assert_eq!((outcome, size), (Ok(()), 4));
        assert_eq!(asked[0][1], json!({ "from": 0, "limit": 4 }));
        assert_eq!(asked[1][1], json!({ "from": 2, "limit": 2 }));
    }

    #[tokio::test]
    async fn a_record_that_is_left_out_stops_the_export() {
        for pages in
            [vec![page(&[0, 2])], vec![page(&[1])], vec![page(&[0]), page(&[])], vec![page(&[0]), page(&[0, 1])]]
        {
            let (outcome, ..) = fetched(pages, 3).await;
            let error = outcome.unwrap_err();
            assert!(error.message.contains("left out record"), "{}", error.message);
        }
    }
}
