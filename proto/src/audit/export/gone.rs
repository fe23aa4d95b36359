//! Records of a folder that were pruned before it was made: their hashes stand in their places, and a state snapshot says what they
//! had said. Both count only if the log itself says, in records behind them, that exactly these were pruned.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{Records, STATE_FILE, STATE_LEN_MAX, Verified, VerifyError, read};
use crate::audit::checkpoint::Origin;
use crate::audit::merkle::{Hash, leaf_hash};
use crate::audit::pruned::Pruned;
use crate::audit::replay::LogState;

/// What stands before and behind the hash in its line.
const LINE: (&str, &str) = ("{\"leaf\":\"", "\"}");

/// The line that stands in the place of a pruned record.
pub(super) fn line(leaf: &Hash) -> String {
    format!("{}{}{}", LINE.0, BASE64.encode(leaf), LINE.1)
}

/// The hash that stands in a line; `None` if the line is anything else.
pub(super) fn leaf(line: &[u8]) -> Option<Hash> {
    let hash = line.strip_prefix(LINE.0.as_bytes())?.strip_suffix(LINE.1.as_bytes())?;
    BASE64.decode(hash).ok()?.try_into().ok()
}

/// What a record says of pruning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// A `log.snapshot` names a text: its size in records, and its SHA-256.
    Snapshot(u64, String),
    /// A `log.prune`.
    Pruned(Pruned),
}

/// The state snapshot of a folder.
struct Snapshot {
    state: LogState,
    sha256: String,
}

fn snapshot(folder: &Path) -> Result<Snapshot, VerifyError> {
    let text = read::short_text(folder, STATE_FILE, STATE_LEN_MAX)?;
    let state = LogState::from_text(&text).map_err(VerifyError::State)?;
    Ok(Snapshot { sha256: LogState::sha256(&text), state })
}

/// What a folder has in the place of its pruned records, while the rest is read.
pub(super) struct Gone {
    snapshot: Snapshot,
    /// True once a record has named the snapshot.
    named: bool,
    /// The newest `log.prune` that allows for what is gone.
    allowed: Option<Pruned>,
}

impl Gone {
    /// Takes up the state snapshot behind so many hashes, the first of which is `first`.
    pub(super) fn open(folder: &Path, count: u64, first: &Hash, origin: &Origin) -> Result<Self, VerifyError> {
        let snapshot = snapshot(folder)?;
        let state = &snapshot.state;
        // Its first record is there in full: the snapshot is bound to the tree at both ends.
        if state.size != count || state.log != origin.as_str() || leaf_hash(state.genesis.as_bytes()) != *first {
            return Err(VerifyError::OtherState { size: state.size, pruned: count });
        }
        Ok(Self { snapshot, named: false, allowed: None })
    }

    /// What the pruned records had said.
    pub(super) fn state(&self) -> &LogState {
        &self.snapshot.state
    }

    /// Takes what a record says of pruning.
    pub(super) fn take(&mut self, said: Says) {
        let Snapshot { state, sha256 } = &self.snapshot;
        match said {
            Says::Snapshot(size, named) => self.named |= size == state.size && named == *sha256,
            Says::Pruned(pruned) if pruned.until == state.size && pruned.snapshot == *sha256 => {
                self.allowed = Some(pruned);
            }
            Says::Pruned(_) => {}
        }
    }

    /// The pruning, if the log says that it happened.
    pub(super) fn finish(self) -> Result<Pruned, VerifyError> {
        let last = self.snapshot.state.size.saturating_sub(1);
        let allowed = self.allowed.filter(|_| self.named);
        allowed.ok_or(VerifyError::NotPruned { records: Records { first: 0, last } })
    }
}

/// What the pruned records of a folder had said, once [`super::verify_folder`] has verified it; nothing if all records are there.
///
/// # Errors
/// [`VerifyError`] if the text cannot be read; [`VerifyError::Unsteady`] if it is not any more the one that was verified.
pub fn pruned_state(folder: &Path, verified: &Verified) -> Result<Option<LogState>, VerifyError> {
    let Some(pruned) = &verified.pruned else { return Ok(None) };
    let Snapshot { state, sha256 } = snapshot(folder)?;
    if sha256 == pruned.snapshot { Ok(Some(state)) } else { Err(VerifyError::Unsteady) }
}

/// True if a line of a verified folder's log stands for a record that was pruned.
#[must_use]
pub fn is_pruned_line(line: &str) -> bool {
    leaf(line.as_bytes()).is_some()
}
