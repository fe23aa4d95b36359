//! Checkpoints: a log's size and root as a signed note (C2SP signed-note and tlog-checkpoint), signed by the agent
//! identity key. The note is text, so that it can be kept in a ticket and checked with `openssl`.
//!
//! Absent on purpose: extension lines. Time and state belong into records, which the root covers.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};

use super::merkle::{Hash, LOG_SIZE_MAX};
use crate::agent_key::{AgentKey, SignatureRefused};
use crate::ids::{OrgId, VaultId};

mod der;
mod note;

pub use der::der_from_raw;
pub use note::{NOTE_LEN_MAX, SIGNATURES_MAX};

/// Longest origin, in bytes.
pub const ORIGIN_LEN_MAX: usize = 200;

/// Names a log for ever: the first line of its checkpoints, in every record, and the key name of its signatures.
///
/// Printable ASCII without spaces and `+`: a line feed in an origin could forge the size below it, and a key name holds
/// neither spaces nor `+` (C2SP signed-note).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(String);

impl Origin {
    /// The log of a vault: `strongroom/<organisation>/<vault>`. Both are random ids and name no client.
    #[must_use]
    pub fn vault(org: OrgId, vault: VaultId) -> Self {
        Self(format!("strongroom/{org}/{vault}"))
    }

    /// The log of the organisation: `strongroom/<organisation>/org`.
    #[must_use]
    pub fn org(org: OrgId) -> Self {
        Self(format!("strongroom/{org}/org"))
    }

    /// Checks and takes an origin.
    ///
    /// # Errors
    /// [`NoteError::Origin`] if it is empty, longer than [`ORIGIN_LEN_MAX`] bytes or holds anything but ASCII letters,
    /// digits and punctuation other than `+`.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'+';
        if !text.is_empty() && text.len() <= ORIGIN_LEN_MAX && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NoteError::Origin)
        }
    }

    /// The origin as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        Self::parse(text)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A text that is no checkpoint, named by its flaw. Outside data causes every one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The note is longer than [`NOTE_LEN_MAX`].
    #[error("a checkpoint is at most {NOTE_LEN_MAX} bytes long")]
    TooLong,
    /// The empty line between text and signatures is missing.
    #[error("an empty line must stand between the checkpoint's text and its signatures")]
    NoSeparator,
    /// The text is not three lines.
    #[error("a checkpoint's text has three lines: origin, size and root")]
    Lines,
    /// The first line is no origin.
    #[error("an origin is 1 to {ORIGIN_LEN_MAX} printable ASCII characters without spaces and '+'")]
    Origin,
    /// The second line is no plain decimal number, or above [`LOG_SIZE_MAX`].
    #[error("a checkpoint's size is a plain decimal number below 2^53")]
    Size,
    /// The third line is not 32 bytes of base64.
    #[error("a checkpoint's root is 32 bytes in base64")]
    Root,
    /// A signature line is broken, or the last one has no line feed.
    #[error("a signature line is '— name base64' and ends in a line feed")]
    SignatureLine,
    /// There is no signature line, or more than [`SIGNATURES_MAX`].
    #[error("a checkpoint has 1 to {SIGNATURES_MAX} signatures")]
    SignatureCount,
}

/// Why a checkpoint is not vouched for by a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointRefused {
    /// No signature line carries the key's id under the log's name.
    #[error("no signature on the checkpoint is by the key {key_id}")]
    NotSigned {
        /// The key's id as the line would carry it.
        key_id: KeyId,
    },
    /// A line claims to be by the key and is not.
    #[error("the checkpoint's signature by the key {key_id} is forged, or its text was changed")]
    Forged {
        /// The key's id.
        key_id: KeyId,
        /// What the key said.
        source: SignatureRefused,
    },
}

/// The four bytes by which a signature line finds its key. A hint, not a proof.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyId(pub [u8; 4]);

impl KeyId {
    /// The id of an ECDSA key: the first bytes of SHA-256 of its SubjectPublicKeyInfo (C2SP signed-note, type 0x02).
    #[must_use]
    pub fn of(key: &AgentKey) -> Self {
        let [a, b, c, d, ..] = <Hash>::from(Sha256::digest(key.spki_der()));
        Self([a, b, c, d])
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// What a log is at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: Origin,
    /// How many records it has, at most [`LOG_SIZE_MAX`].
    pub size: u64,
    /// The root of its tree.
    pub root: Hash,
}

impl Checkpoint {
    /// The text that is signed: origin, size and root, a line each.
    #[must_use]
    pub fn body(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(self.root))
    }

    /// SHA-256 of the text: what a token signs with plain `CKM_ECDSA`.
    #[must_use]
    pub fn digest(&self) -> Hash {
        Sha256::digest(self.body()).into()
    }

    /// Writes the signed note. `signature_der` is the key's signature over [`Checkpoint::digest`]; see [`der_from_raw`].
    #[must_use]
    pub fn to_note(&self, key: &AgentKey, signature_der: &[u8]) -> String {
        let signature = [&KeyId::of(key).0[..], signature_der].concat();
        format!("{}\n{}{} {}\n", self.body(), note::SIGNATURE_MARK, self.origin, BASE64.encode(signature))
    }
}

/// A checkpoint with the signatures that came along, not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    signatures: Vec<note::SignatureLine>,
}

impl SignedCheckpoint {
    /// Reads a signed note.
    ///
    /// # Errors
    /// [`NoteError`] naming the flaw.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let (body, signatures) = note::split(text)?;
        let mut lines = body.split('\n');
        let (Some(origin), Some(size), Some(root), Some(""), None) =
            (lines.next(), lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(NoteError::Lines);
        };
        let checkpoint =
            Checkpoint { origin: Origin::parse(origin)?, size: parse_size(size)?, root: parse_root(root)? };
        Ok(Self { checkpoint, signatures })
    }

    /// Checks that the key vouches for this checkpoint and hands it out. Lines by other keys are ignored, so that
    /// witnesses can add theirs; a line that claims this key must be true.
    ///
    /// # Errors
    /// [`CheckpointRefused`] if the key did not sign it.
    pub fn verify(&self, key: &AgentKey) -> Result<&Checkpoint, CheckpointRefused> {
        let key_id = KeyId::of(key);
        let body = self.checkpoint.body();
        let mut signed = false;
        for line in &self.signatures {
            if line.key_id == key_id && line.name == self.checkpoint.origin.as_str() {
                key.verify(body.as_bytes(), &line.signature)
                    .map_err(|source| CheckpointRefused::Forged { key_id, source })?;
                signed = true;
            }
        }
        if signed { Ok(&self.checkpoint) } else { Err(CheckpointRefused::NotSigned { key_id }) }
    }

    /// The signature lines as they came: name, key id, signature. Whether they hold is for whoever knows the key.
    pub fn lines(&self) -> impl Iterator<Item = (&str, [u8; 4], &[u8])> {
        self.signatures.iter().map(|line| (line.name.as_str(), line.key_id.0, line.signature.as_slice()))
    }

    /// What the note says, whether or not anybody vouches for it.
    #[must_use]
    pub fn unverified(&self) -> &Checkpoint {
        &self.checkpoint
    }
}

/// Plain decimal: no sign, no leading zero, so that a size has one spelling.
fn parse_size(text: &str) -> Result<u64, NoteError> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let size = text.parse().ok().filter(|size| plain && *size <= LOG_SIZE_MAX);
    size.ok_or(NoteError::Size)
}

fn parse_root(text: &str) -> Result<Hash, NoteError> {
    let bytes = BASE64.decode(text).map_err(|_| NoteError::Root)?;
    bytes.try_into().map_err(|_| NoteError::Root)
}

#[cfg(test)]
mod tests;
