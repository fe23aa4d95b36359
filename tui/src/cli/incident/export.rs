//! `strongroom incident export`: the logs that an incident is about, each as a folder that anybody can verify, and beside them
//! a timeline of what belongs to it. Nothing is in the timeline that is not in one of these folders.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use strongroom_proto::client::Client;
use strongroom_proto::ids::{IncidentId, Slug};
use strongroom_proto::method::incident::{Item, Show};

use super::super::audit::export_log;
use super::super::context::Context;
use super::super::error::CliError;
use super::super::report::write_new;
use super::timeline::{Line, markdown, ndjson};

/// The folders of logs beneath the export, and the timeline's two files.
const ORG_FOLDER: &str = "org";
const VAULTS_FOLDER: &str = "vaults";
const NDJSON_FILE: &str = "timeline.ndjson";
const MARKDOWN_FILE: &str = "timeline.md";

/// A log of the export.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Exported {
    /// In whose log; absent for the organisation's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) vault: Option<Slug>,
    /// Its folder beneath the export.
    pub(super) folder: PathBuf,
    /// How many records it has.
    pub(super) size: u64,
    /// Their root, in hex.
    pub(super) root: String,
    /// The key that signed.
    pub(super) key: String,
}

/// `strongroom.incident_export/1`: members are only ever added.
#[derive(Serialize)]
struct Body<'a> {
    incident: IncidentId,
    out: &'a Path,
    logs: &'a [Exported],
    /// Logs that the caller may not export.
    left_out: &'a [String],
    records: usize,
}

pub(super) async fn export(
    context: &Context,
    incident: IncidentId,
    out: &Path,
    also: Vec<Slug>,
) -> Result<(), CliError> {
    let mut client = context.log_in().await?;
    let item = client.call(&Show { incident }).await?;
    let (wanted, left_out) = wanted(&item, also);
    if wanted.is_empty() {
        return Err(CliError::failure("You may export none of the logs that this incident is about.")
            .hint("auditors, and managers of the clients, may"));
    }
    make_folder(out)?;
    make_folder(&out.join(VAULTS_FOLDER))?;
    let (mut logs, mut lines) = (Vec::new(), Vec::new());
    for vault in wanted {
        logs.push(log(&mut client, vault, out, incident, &mut lines).await?);
    }
    lines.sort_by(|one: &Line, other: &Line| one.order().cmp(&other.order()));
    write_new(&out.join(NDJSON_FILE), &ndjson(&lines)?)?;
    write_new(&out.join(MARKDOWN_FILE), &markdown(&item, &logs, &left_out, &lines))?;
    let mut text =
        format!("Exported {} records of incident {incident} to {}.\n", lines.len(), out.join(MARKDOWN_FILE).display());
    for log in &logs {
        let folder = out.join(&log.folder);
        text.push_str(&format!("  strongroom audit verify {} --key {}\n", folder.display(), log.key));
    }
    for name in &left_out {
        text.push_str(&format!("  left out, because you may not export it: {name}\n"));
    }
    let body = Body { incident, out, logs: &logs, left_out: &left_out, records: lines.len() };
    context.out.answer("strongroom.incident_export/1", body, if context.out.quiet { "" } else { &text })
}

/// The logs to be exported, the organisation's first, and those that are not.
fn wanted(item: &Item, also: Vec<Slug>) -> (Vec<Option<Slug>>, Vec<String>) {
    let (mut wanted, mut left_out) = (Vec::new(), Vec::new());
    if item.exports_org {
        wanted.push(None);
    } else {
        left_out.push("the organisation's log".to_owned());
    }
    for state in &item.vaults {
        if state.exports {
            wanted.push(Some(state.vault.clone()));
        } else {
            left_out.push(state.vault.to_string());
        }
    }
    for vault in also {
        let known = item.vaults.iter().any(|state| state.vault == vault);
        if !known && !wanted.contains(&Some(vault.clone())) {
            wanted.push(Some(vault));
        }
    }
    (wanted, left_out)
}

async fn log(
    client: &mut Client,
    vault: Option<Slug>,
    out: &Path,
    incident: IncidentId,
    lines: &mut Vec<Line>,
) -> Result<Exported, CliError> {
    let folder = match &vault {
        Some(vault) => Path::new(VAULTS_FOLDER).join(vault.as_str()),
        None => PathBuf::from(ORG_FOLDER),
    };
    let name = vault.clone();
    let (_, verified) = export_log(client, vault.clone(), &out.join(&folder), |item| {
        lines.extend(Line::of(item, name.as_ref(), incident));
    })
    .await?;
    let (size, root) = (verified.size, hex::encode(verified.root));
    Ok(Exported { vault, folder, size, root, key: verified.key.fingerprint() })
}

/// Makes a folder that only its owner reads and that was not there before.
fn make_folder(path: &Path) -> Result<(), CliError> {
    let made = std::fs::DirBuilder::new().mode(0o700).create(path);
    made.map_err(|error| CliError::caused(&format!("The folder {} cannot be made", path.display()), &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_may_not_be_exported_is_said_and_not_asked_for() {
        let vault = |vault: &str, exports: bool| json!({"vault": vault, "log": "l", "froze": true, "frozen": true, "exports": exports});
        let item: Item = serde_json::from_value(json!({
            "incident": "00000000-0000-4000-8000-000000000001", "opened_at": "2026-11-21T19:00:00Z", "opened_by": "ada",
            "vaults": [vault("acme", true), vault("bluewater", false)], "exports_org": false,
        }))
        .unwrap();
        let slug = |text: &str| Slug::new(text).unwrap();
        let (logs, left_out) = wanted(&item, vec![slug("other"), slug("acme"), slug("other"), slug("bluewater")]);
        assert_eq!(logs, [Some(slug("acme")), Some(slug("other"))]);
        assert_eq!(left_out, ["the organisation's log", "bluewater"]);
    }
}
