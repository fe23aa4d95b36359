//! Percent decoding and the check of names.

use zeroize::Zeroizing;

use super::NAME_LEN_MAX;
use super::problem::Problem;

/// Percent-decodes; a `%` that begins no escape stays. The result may be a secret, so it is wiped on drop.
///
/// # Errors
/// [`Problem::NotUtf8`] if the decoded bytes are no UTF-8.
pub(super) fn percent_decode(text: &str) -> Result<Zeroizing<String>, Problem> {
    let bytes = text.as_bytes();
    let mut decoded = Zeroizing::new(Vec::with_capacity(bytes.len()));
    let mut place = 0;
    while let Some(&byte) = bytes.get(place) {
        match escape_at(bytes, place) {
            Some(escaped) => {
                decoded.push(escaped);
                place += 3;
            }
            None => {
                decoded.push(byte);
                place += 1;
            }
        }
    }
    std::str::from_utf8(&decoded).map(|text| Zeroizing::new(text.to_owned())).map_err(|_| Problem::NotUtf8)
}

/// True if a `%` stands there that begins no escape.
pub(super) fn has_stray_percent(text: &str) -> bool {
    let bytes = text.as_bytes();
    (0..bytes.len()).any(|place| bytes.get(place) == Some(&b'%') && escape_at(bytes, place).is_none())
}

fn escape_at(bytes: &[u8], place: usize) -> Option<u8> {
    let [b'%', high, low] = *bytes.get(place..place + 3)? else { return None };
    let nibble = |byte: u8| (byte as char).to_digit(16).and_then(|value| u8::try_from(value).ok());
    Some(nibble(high)? << 4 | nibble(low)?)
}

/// Checks an issuer or label and takes the blanks off its ends.
///
/// # Errors
/// [`Problem::NameTooLong`], or [`Problem::NameCharacter`] for what could forge the look of a terminal.
pub(crate) fn name(text: &str) -> Result<String, Problem> {
    let text = text.trim();
    if text.len() > NAME_LEN_MAX {
        Err(Problem::NameTooLong)
    } else if text.chars().any(forges_display) {
        Err(Problem::NameCharacter)
    } else {
        Ok(text.to_owned())
    }
}

/// Control characters, line separators and marks that turn the direction of writing (Unicode TR 36 §3.2).
pub(crate) fn forges_display(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}
