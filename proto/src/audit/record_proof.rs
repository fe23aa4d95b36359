//! The proof that one record is in a log: C2SP [tlog-proof](https://c2sp.org/tlog-proof), a text of the record's place, the hashes
//! beside its way to the root, and a checkpoint. It hands over one record and tells of the others only how many there are.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::checkpoint::{Checkpoint, CheckpointRefused, NOTE_LEN_MAX, NoteError, SignedCheckpoint};
use super::merkle::{Hash, LOG_SIZE_MAX, ProofError, inclusion_proof, leaf_hash, verify_inclusion};
use super::record::{RECORD_VERSION, Record};
use crate::agent_key::AgentKey;

const HEADING: &str = "c2sp.org/tlog-proof@v1";
/// Most hashes of a proof: the height of the largest tree.
const HASHES_MAX: usize = 53;
/// Longest text of a proof, in bytes.
pub const PROOF_LEN_MAX: usize = NOTE_LEN_MAX + HASHES_MAX * 45 + 100;

/// A proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordProof {
    /// The place of the record.
    pub index: u64,
    /// The hashes beside its way to the root, lowest first.
    pub hashes: Vec<Hash>,
    /// The checkpoint, a signed note.
    pub checkpoint: String,
}

/// A text that is no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofTextError {
    /// It does not begin as a proof does.
    #[error("a proof begins with the line {HEADING}")]
    Heading,
    /// The second line is not the place.
    #[error("a proof's second line is 'index' and a plain decimal number")]
    Index,
    /// A hash is none, or there are too many.
    #[error("a proof has at most {HASHES_MAX} lines of 32 bytes in base64, and an empty line behind them")]
    Hashes,
    /// It is too long.
    #[error("a proof is at most {PROOF_LEN_MAX} bytes long")]
    TooLong,
}

/// Why a record is not proved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordRefused {
    /// The checkpoint is none.
    #[error("the proof's checkpoint is none")]
    Note(#[from] NoteError),
    /// The key does not vouch for the checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointRefused),
    /// The hashes do not lead from the record to the checkpoint's root.
    #[error("the record is not in the log at this place")]
    Tree(#[from] ProofError),
    /// The record is not one of this log and place.
    #[error("the record is none of this log at this place: {what} is another")]
    Record {
        /// What does not fit.
        what: &'static str,
    },
}

/// A record that is in a log.
#[derive(Clone, Debug)]
pub struct Proved {
    /// The log as of the checkpoint.
    pub checkpoint: Checkpoint,
    /// The record.
    pub record: Record,
}

impl RecordProof {
    /// Makes the proof for the record at a place from all leaf hashes that the checkpoint covers. `None` if it covers others, or
    /// the place is beyond them.
    #[must_use]
    pub fn make(leaves: &[Hash], index: u64, checkpoint: &str) -> Option<Self> {
        let hashes = inclusion_proof(leaves, usize::try_from(index).ok()?)?;
        Some(Self { index, hashes, checkpoint: checkpoint.to_owned() })
    }

    /// Checks that a record, as its bytes, is in the log that the key vouches for, at the place that the proof and the record
    /// itself name.
    ///
    /// # Errors
    /// [`RecordRefused`] with what is not shown.
    pub fn verify(&self, record: &str, key: &AgentKey) -> Result<Proved, RecordRefused> {
        let signed = SignedCheckpoint::parse(&self.checkpoint)?;
        let checkpoint = signed.verify(key)?.clone();
        verify_inclusion(&leaf_hash(record.as_bytes()), self.index, checkpoint.size, &checkpoint.root, &self.hashes)?;
        let other = |what| RecordRefused::Record { what };
        let record: Record = serde_json::from_str(record).map_err(|_| other("its form"))?;
        if record.v != RECORD_VERSION {
            return Err(other("v"));
        }
        if record.log != checkpoint.origin.as_str() {
            return Err(other("log"));
        }
        if record.seq != self.index {
            return Err(other("seq"));
        }
        Ok(Proved { checkpoint, record })
    }
}

impl fmt::Display for RecordProof {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{HEADING}\nindex {}", self.index)?;
        for hash in &self.hashes {
            writeln!(formatter, "{}", BASE64.encode(hash))?;
        }
        write!(formatter, "\n{}", self.checkpoint)
    }
}

impl FromStr for RecordProof {
    type Err = ProofTextError;

    fn from_str(text: &str) -> Result<Self, ProofTextError> {
        if text.len() > PROOF_LEN_MAX {
            return Err(ProofTextError::TooLong);
        }
        let rest =
            text.strip_prefix(HEADING).and_then(|rest| rest.strip_prefix('\n')).ok_or(ProofTextError::Heading)?;
        let (index, mut rest) =
            rest.strip_prefix("index ").and_then(|rest| rest.split_once('\n')).ok_or(ProofTextError::Index)?;
        let plain = index.bytes().all(|byte| byte.is_ascii_digit()) && (index == "0" || !index.starts_with('0'));
        let index = index.parse().ok().filter(|index| plain && *index < LOG_SIZE_MAX).ok_or(ProofTextError::Index)?;
        let mut hashes = Vec::new();
        loop {
            let (line, after) = rest.split_once('\n').ok_or(ProofTextError::Hashes)?;
            rest = after;
            if line.is_empty() {
                return Ok(Self { index, hashes, checkpoint: rest.to_owned() });
            }
            let hash =
                BASE64.decode(line).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(ProofTextError::Hashes)?;
            hashes.push(hash);
            if hashes.len() > HASHES_MAX {
                return Err(ProofTextError::Hashes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof() -> RecordProof {
        RecordProof { index: 2, hashes: vec![[1; 32], [2; 32]], checkpoint: "a\n3\nx\n\n— a y\n".to_owned() }
    }

    #[test]
    fn the_text_is_the_published_form() {
        let (one, two) = (BASE64.encode([1; 32]), BASE64.encode([2; 32]));
        let text = format!("c2sp.org/tlog-proof@v1\nindex 2\n{one}\n{two}\n\na\n3\nx\n\n— a y\n");
        assert_eq!(proof().to_string(), text);
        assert_eq!(text.parse(), Ok(proof()));
        let alone = RecordProof { hashes: Vec::new(), ..proof() };
        assert_eq!(alone.to_string().parse(), Ok(alone));
    }

    #[test]
    fn a_text_of_another_form_is_refused_by_its_flaw() {
        let text = proof().to_string();
        for (from, to, flaw) in [
            ("@v1", "@v2", ProofTextError::Heading),
            ("index 2", "index 02", ProofTextError::Index),
            ("index 2", "index -2", ProofTextError::Index),
            ("index 2", "index 9007199254740992", ProofTextError::Index),
            ("index 2", "index", ProofTextError::Index),
            ("AQEB", "AQE", ProofTextError::Hashes),
            ("\n\na", "\na", ProofTextError::Hashes),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text);
            assert_eq!(changed.parse::<RecordProof>(), Err(flaw), "{changed}");
        }
        let many = RecordProof { hashes: vec![[1; 32]; 54], ..proof() };
        assert_eq!(many.to_string().parse::<RecordProof>(), Err(ProofTextError::Hashes));
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(text in ".{0,200}", tail in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = text.parse::<RecordProof>();
            let _ = format!("{HEADING}\nindex 1\n{text}\n{}", String::from_utf8_lossy(&tail)).parse::<RecordProof>();
        }
    }
}
