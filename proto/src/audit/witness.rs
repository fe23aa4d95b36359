//! Witnesses: somebody else's signature under our checkpoints. A witness signs a checkpoint only if it was shown that the log
//! grew from the last one that it signed, so a log that was rewritten or told to two readers in two ways gets no signature.
//! The wire is C2SP tlog-witness (`add-checkpoint`), the signature C2SP tlog-cosignature (`cosignature/v1`, Ed25519).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use ring::signature::{ED25519, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};

use super::checkpoint::{NOTE_LEN_MAX, SignedCheckpoint};
use super::merkle::Hash;

/// Longest answer that is read, in bytes.
pub const ANSWER_LEN_MAX: usize = 16 * 1024;
/// Longest verifier key that is read, in bytes.
const KEY_LEN_MAX: usize = 512;
/// Most hashes of a consistency proof (C2SP tlog-witness).
const PROOF_LEN_MAX: usize = 63;
/// Ed25519 with a timestamp (C2SP signed-note, signature types).
const COSIGNATURE_TYPE: u8 = 0x04;
/// 8 bytes of time, 64 of Ed25519.
const COSIGNATURE_LEN: usize = 8 + 64;

/// The key of a witness, as C2SP signed-note writes verifier keys: `name+id+base64`.
#[derive(Clone, PartialEq, Eq)]
pub struct WitnessKey {
    name: String,
    id: [u8; 4],
    public: [u8; 32],
}

/// A text that is no key of a witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WitnessKeyError {
    /// Not three parts with `+` between them, or a part is malformed.
    #[error("a witness's key is NAME+ID+BASE64, as the witness publishes it")]
    Malformed,
    /// Another type of key.
    #[error("this is no key for cosignature/v1 (Ed25519, type 4)")]
    Type,
    /// The id is not that of the name and the key: a typing error, or a part of another key.
    #[error("the id in this key is not that of its name and bytes")]
    Id,
}

impl WitnessKey {
    /// Reads a verifier key.
    ///
    /// # Errors
    /// [`WitnessKeyError`] under its condition.
    pub fn parse(text: &str) -> Result<Self, WitnessKeyError> {
        let malformed = || WitnessKeyError::Malformed;
        if text.len() > KEY_LEN_MAX {
            return Err(malformed());
        }
        // Base64 may hold a plus sign, a name and an id never.
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(malformed());
        };
        let plain = |character: char| !character.is_whitespace() && !character.is_control();
        if name.is_empty() || !name.chars().all(plain) {
            return Err(malformed());
        }
        let id: [u8; 4] = hex::decode(id).ok().and_then(|id| id.try_into().ok()).ok_or_else(malformed)?;
        let key = BASE64.decode(key).map_err(|_| malformed())?;
        let (kind, public) = key.split_first().ok_or_else(malformed)?;
        if *kind != COSIGNATURE_TYPE {
            return Err(WitnessKeyError::Type);
        }
        let public: [u8; 32] = public.try_into().map_err(|_| malformed())?;
        if Self::id_of(name, &public) != id {
            return Err(WitnessKeyError::Id);
        }
        Ok(Self { name: name.to_owned(), id, public })
    }

    fn id_of(name: &str, public: &[u8; 32]) -> [u8; 4] {
        let [a, b, c, d, ..] =
            <Hash>::from(Sha256::digest([name.as_bytes(), b"\n", &[COSIGNATURE_TYPE], public].concat()));
        [a, b, c, d]
    }

    /// What the witness calls itself.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When this witness signed a checkpoint; `None` if it did not.
    ///
    /// # Errors
    /// [`Forged`] if a line says that it did, and that is not true.
    pub fn signed_at(&self, checkpoint: &SignedCheckpoint) -> Result<Option<Timestamp>, Forged> {
        let body = checkpoint.unverified().body();
        let mut at = None;
        for (name, id, signature) in checkpoint.lines() {
            if name == self.name && id == self.id {
                at = Some(self.check(&body, signature).ok_or_else(|| Forged(self.name.clone()))?);
            }
        }
        Ok(at)
    }

    fn check(&self, body: &str, signature: &[u8]) -> Option<Timestamp> {
        if signature.len() != COSIGNATURE_LEN {
            return None;
        }
        let (time, signature) = signature.split_first_chunk::<8>()?;
        let time = u64::from_be_bytes(*time);
        let text = format!("cosignature/v1\ntime {time}\n{body}");
        UnparsedPublicKey::new(&ED25519, &self.public).verify(text.as_bytes(), signature).ok()?;
        Timestamp::from_second(i64::try_from(time).ok()?).ok()
    }
}

impl fmt::Debug for WitnessKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}+{}", self.name, hex::encode(self.id))
    }
}

/// A signature line that claims a witness and is not by it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature of the witness {0} is false, or the checkpoint's text was changed")]
pub struct Forged(pub String);

/// What is posted: the size that the witness knows, the proof from there, and the checkpoint (C2SP tlog-witness,
/// "add-checkpoint").
#[must_use]
pub fn request(known: u64, proof: &[Hash], checkpoint: &str) -> String {
    let mut text = format!("old {known}\n");
    for hash in proof.iter().take(PROOF_LEN_MAX) {
        text.push_str(&BASE64.encode(hash));
        text.push('\n');
    }
    text.push('\n');
    text.push_str(checkpoint);
    text
}

/// What a witness answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Signature lines, not yet checked.
    Signed(String),
    /// It knows the log at this size, and not at the one it was told.
    Knows(u64),
    /// It refuses.
    Refused(Refusal),
}

/// Why a witness refuses. Statuses that it may answer besides count as [`Refusal::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 403: no key that it trusts signed the checkpoint.
    #[error("it trusts none of the checkpoint's keys (403)")]
    Key,
    /// 404: it does not know this log.
    #[error("it does not know this log (404)")]
    Log,
    /// 422: the proof does not hold: the log was rewritten.
    #[error("the log did not grow from what it has signed (422)")]
    Proof,
    /// 400: it cannot read the request, or the size is below the one named.
    #[error("it does not take the request (400)")]
    Request,
    /// Any other status, or an answer that is none.
    #[error("it answered {0}")]
    Other(u16),
}

/// Reads an answer.
#[must_use]
pub fn answer(status: u16, body: &str) -> Answer {
    let refused = match status {
        200 if body.len() <= ANSWER_LEN_MAX && body.ends_with('\n') => return Answer::Signed(body.to_owned()),
        409 => match body.trim_end_matches('\n').parse() {
            Ok(size) => return Answer::Knows(size),
            Err(_) => Refusal::Other(status),
        },
        403 => Refusal::Key,
        404 => Refusal::Log,
        422 => Refusal::Proof,
        400 => Refusal::Request,
        _ => Refusal::Other(status),
    };
    Answer::Refused(refused)
}

/// Puts the lines of this witness beneath the checkpoint. Lines of others, which it has no business to send, stay out. `None` if
/// there is no line of it that holds.
#[must_use]
pub fn cosigned(checkpoint: &str, lines: &str, key: &WitnessKey) -> Option<(String, Timestamp)> {
    let mut text = checkpoint.to_owned();
    let mut at = None;
    for line in lines.split_inclusive('\n') {
        let alone = format!("{}{line}", checkpoint.get(..checkpoint.rfind("\n\n")? + 2)?);
        let Ok(Ok(Some(signed))) = SignedCheckpoint::parse(&alone).map(|alone| key.signed_at(&alone)) else { continue };
        text.push_str(line);
        at = Some(signed);
    }
    at.filter(|_| text.len() <= NOTE_LEN_MAX).map(|at| (text, at))
}

/// A note with the signature lines of another one beneath its own, if both are over the same text; else as it was.
#[must_use]
pub fn with_lines_of(note: &str, other: &str) -> String {
    let (Some((text, own)), Some((other_text, lines))) = (note.rsplit_once("\n\n"), other.rsplit_once("\n\n")) else {
        return note.to_owned();
    };
    let mut joined = note.to_owned();
    if text == other_text {
        let is_new = |line: &&str| !own.split_inclusive('\n').any(|had| had == *line);
        // The log's own signature is different each time, and one of it is enough.
        let name = text.split('\n').next().unwrap_or_default();
        let foreign = |line: &&str| line.split(' ').nth(1) != Some(name);
        joined.extend(lines.split_inclusive('\n').filter(|line| is_new(line) && foreign(line)));
    }
    if joined.len() > NOTE_LEN_MAX { note.to_owned() } else { joined }
}

#[cfg(test)]
#[path = "witness_tests.rs"]
mod tests;
