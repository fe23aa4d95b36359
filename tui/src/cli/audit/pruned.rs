//! What a client fetches of records that were pruned: their hashes, and the state snapshot that stands for what they had said.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use strongroom_proto::audit::export::STATE_LEN_MAX;
use strongroom_proto::audit::merkle::Hash;
use strongroom_proto::audit::pruned::Pruned;
use strongroom_proto::audit::replay::LogState;
use strongroom_proto::client::Client;
use strongroom_proto::ids::Slug;
use strongroom_proto::method::audit::{LEAVES_LEN_MAX, Leaves, Snapshot};

use super::super::error::CliError;
use super::super::when;

/// Fetches the leaf hashes below a size.
pub(in super::super) async fn leaves(
    client: &mut Client,
    vault: Option<&Slug>,
    size: u64,
) -> Result<Vec<Hash>, CliError> {
    let wrong = || CliError::failure("The agent gave other hashes than it was asked for.");
    let mut leaves: Vec<Hash> = Vec::new();
    while (leaves.len() as u64) < size {
        let from = leaves.len() as u64;
        let limit = u32::try_from(size - from).unwrap_or(LEAVES_LEN_MAX).min(LEAVES_LEN_MAX);
        let page = client.call(&Leaves { vault: vault.cloned(), from, limit }).await?;
        let bytes = BASE64.decode(&page.leaves).map_err(|_| wrong())?;
        let (hashes, rest) = bytes.as_chunks::<32>();
        if hashes.is_empty() || !rest.is_empty() || hashes.len() > limit as usize {
            return Err(wrong());
        }
        leaves.extend(hashes);
    }
    Ok(leaves)
}

/// Fetches the state snapshot of a pruned log.
pub(in super::super) async fn state(
    client: &mut Client,
    vault: Option<&Slug>,
    pruned: &Pruned,
) -> Result<String, CliError> {
    let mut text = String::new();
    loop {
        let from = text.len() as u64;
        let piece = client.call(&Snapshot { vault: vault.cloned(), from }).await?;
        text.push_str(&piece.text);
        match piece.next {
            // The agent must go forward, or this would never end.
            Some(next) if next == text.len() as u64 && next > from && text.len() <= STATE_LEN_MAX => {}
            _ => break,
        }
    }
    if LogState::sha256(&text) == pruned.snapshot {
        return Ok(text);
    }
    Err(CliError::failure("The agent's state snapshot is not the one that its log names.")
        .hint("if the log was pruned just now, try again; else the agent or its store is broken"))
}

/// One sentence about what is not there.
pub(in super::super) fn sentence(pruned: &Pruned) -> String {
    let Pruned { at, record, until, .. } = pruned;
    let last = until.saturating_sub(1);
    format!(
        "Records 0 to {last} were pruned on {} (record {record}): their hashes are there, they are not.",
        when::utc(*at)
    )
}
