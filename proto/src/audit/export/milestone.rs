//! Checkpoints along the log, each of which must be the root of its first records. When the newest disagrees, they narrow
//! down where the change is.

use std::fs;
use std::path::Path;

use super::{OLDER_FOLDER, OLDER_LEN_MAX, Records, VerifyError, read};
use crate::agent_key::AgentKey;
use crate::audit::checkpoint::{Checkpoint, CheckpointRefused, NOTE_LEN_MAX, SignedCheckpoint};
use crate::audit::merkle::{Frontier, Hash};

/// One checkpoint on the way.
struct Milestone {
    size: u64,
    root: Hash,
    file: String,
}

/// The checkpoints by size, and how far the log has agreed with them.
pub(super) struct Milestones {
    /// Those still ahead, the nearest last.
    ahead: Vec<Milestone>,
    /// The largest size that a checkpoint has confirmed.
    intact: u64,
    /// The first checkpoint that disagreed.
    broken: Option<Milestone>,
    /// True once the newest checkpoint agreed.
    arrived: bool,
    /// The older ones of the folder, each vouched for.
    notes: Vec<SignedCheckpoint>,
}

impl Milestones {
    /// Collects the folder's checkpoints and the one that the reader kept; the key signed each, or one before it. `newest` is verified
    /// already.
    pub(super) fn collect(
        folder: &Path,
        key: &AgentKey,
        before: &[AgentKey],
        newest: &Checkpoint,
        kept: Option<&str>,
    ) -> Result<Self, VerifyError> {
        let (mut ahead, mut notes) = (Vec::new(), Vec::new());
        for name in older_names(folder)? {
            let file = format!("{OLDER_FOLDER}/{name}");
            let text = read::short_text(folder, &file, NOTE_LEN_MAX)?;
            let (milestone, note) = older(&text, file, (key, before), newest)?;
            if milestone.size.to_string() != name {
                return Err(VerifyError::Misnamed { file: milestone.file, size: milestone.size });
            }
            ahead.push(milestone);
            notes.push(note);
        }
        if let Some(text) = kept {
            ahead.push(older(text, "the checkpoint that you kept".to_owned(), (key, before), newest)?.0);
        }
        // The newest checkpoint is judged last of those with its size: an older twin that disagrees is found first.
        ahead.sort_by_key(|milestone| std::cmp::Reverse(milestone.size));
        ahead.insert(0, Milestone { size: newest.size, root: newest.root, file: super::CHECKPOINT_FILE.to_owned() });
        Ok(Self { ahead, intact: 0, broken: None, arrived: false, notes })
    }

    /// The older checkpoints of the folder.
    pub(super) fn notes(&self) -> &[SignedCheckpoint] {
        &self.notes
    }

    /// Compares the log as far as it has been read with the checkpoints of that size.
    pub(super) fn reach(&mut self, log: &Frontier) {
        while let Some(milestone) = self.ahead.pop_if(|milestone| milestone.size == log.size()) {
            let agrees = log.root() == milestone.root;
            self.arrived = self.ahead.is_empty() && agrees;
            if agrees && self.broken.is_none() {
                self.intact = milestone.size;
            } else if !agrees && self.broken.is_none() {
                self.broken = Some(milestone);
            }
        }
    }

    /// Says where the log disagrees, if anywhere.
    pub(super) fn judge(self) -> Result<(), VerifyError> {
        let Some(Milestone { size, file, .. }) = self.broken else { return Ok(()) };
        // A tree of no records that has another root, or two checkpoints of one size that differ, leave no range.
        if self.arrived || size == self.intact {
            return Err(VerifyError::TwoHistories { file, size });
        }
        Err(VerifyError::Changed { records: Records { first: self.intact, last: size - 1 }, file })
    }
}

/// Reads a checkpoint that must be an earlier state of the same log.
fn older(
    text: &str,
    file: String,
    (key, before): (&AgentKey, &[AgentKey]),
    newest: &Checkpoint,
) -> Result<(Milestone, SignedCheckpoint), VerifyError> {
    let note = vouched(text, &file, key, before)?;
    let Checkpoint { origin, size, root } = note.unverified().clone();
    if origin != newest.origin {
        return Err(VerifyError::ForeignCheckpoint { file, found: origin, expected: newest.origin.clone() });
    }
    if size > newest.size {
        return Err(VerifyError::RolledBack { file, size, newest: newest.size });
    }
    Ok((Milestone { size, root, file }, note))
}

/// Reads a checkpoint that the key must have signed, or one of those that vouched for it.
pub(super) fn vouched(
    text: &str,
    file: &str,
    key: &AgentKey,
    before: &[AgentKey],
) -> Result<SignedCheckpoint, VerifyError> {
    let note = SignedCheckpoint::parse(text).map_err(|source| VerifyError::Note { file: file.to_owned(), source })?;
    let refused = match note.verify(key) {
        Ok(_) => return Ok(note),
        // A false signature by the key itself is not made good by another one's.
        Err(refused @ CheckpointRefused::Forged { .. }) => refused,
        Err(_) if before.iter().any(|key| note.verify(key).is_ok()) => return Ok(note),
        Err(refused) => refused,
    };
    Err(VerifyError::Unsigned { file: file.to_owned(), source: refused })
}

/// The names in `checkpoints/`; none if there is no such folder.
fn older_names(folder: &Path) -> Result<Vec<String>, VerifyError> {
    let failed = |source| VerifyError::Read { file: OLDER_FOLDER.to_owned(), source };
    let entries = match fs::read_dir(folder.join(OLDER_FOLDER)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
        if names.len() > OLDER_LEN_MAX {
            return Err(VerifyError::TooManyOlder);
        }
    }
    names.sort_unstable();
    Ok(names)
}
