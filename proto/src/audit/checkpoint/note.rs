//! The frame of a signed note (C2SP signed-note): a text, an empty line, signature lines.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{KeyId, NoteError};

/// Longest note, in bytes: room for a handful of post-quantum witness signatures of 2.4 KiB each.
pub const NOTE_LEN_MAX: usize = 32 * 1024;
/// Most signature lines of a note.
pub const SIGNATURES_MAX: usize = 16;
/// How every signature line begins: an em dash and a space.
pub(super) const SIGNATURE_MARK: &str = "\u{2014} ";

/// One signature line, not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SignatureLine {
    /// Who signs, as the line claims.
    pub(super) name: String,
    /// Which of their keys.
    pub(super) key_id: KeyId,
    /// The signature, in the form of the key's type.
    pub(super) signature: Vec<u8>,
}

/// Splits a note into its text, with its last line feed, and its signatures.
pub(super) fn split(text: &str) -> Result<(&str, Vec<SignatureLine>), NoteError> {
    if text.len() > NOTE_LEN_MAX {
        return Err(NoteError::TooLong);
    }
    // The last empty line counts: one in the text would otherwise let a signature cover only its head.
    let separator = text.rfind("\n\n").ok_or(NoteError::NoSeparator)?;
    let (body, rest) = (&text[..=separator], &text[separator + 2..]);
    if rest.is_empty() {
        return Err(NoteError::SignatureCount);
    }
    let lines = rest.strip_suffix('\n').ok_or(NoteError::SignatureLine)?;
    if lines.split('\n').count() > SIGNATURES_MAX {
        return Err(NoteError::SignatureCount);
    }
    let signatures = lines.split('\n').map(signature_line).collect::<Result<_, _>>()?;
    Ok((body, signatures))
}

/// Reads `— name base64(key id ‖ signature)`.
fn signature_line(line: &str) -> Result<SignatureLine, NoteError> {
    let (name, base64) =
        line.strip_prefix(SIGNATURE_MARK).and_then(|rest| rest.split_once(' ')).ok_or(NoteError::SignatureLine)?;
    let bytes = BASE64.decode(base64).map_err(|_| NoteError::SignatureLine)?;
    let (key_id, signature) = bytes.split_first_chunk::<4>().ok_or(NoteError::SignatureLine)?;
    let named = !name.is_empty() && !name.contains(|character: char| character.is_whitespace() || character == '+');
    if !named || signature.is_empty() {
        return Err(NoteError::SignatureLine);
    }
    Ok(SignatureLine { name: name.to_owned(), key_id: KeyId(*key_id), signature: signature.to_vec() })
}
