//! Dynamic truncation and rendering.

use strongroom_proto::words::OtpKind;
use zeroize::Zeroizing;

use super::OtpError;
use crate::keystore::OtpMac;

/// The 26 characters of a Steam Guard code: no vowels, nothing that looks like something else.
const STEAM_ALPHABET: &[u8; 26] = b"23456789BCDFGHJKMNPQRTVWXY";
const STEAM_LEN: u8 = 5;

/// A one-time password. Wiped on drop; without Debug and Display, so that no log can hold one.
pub struct Code(Zeroizing<String>);

impl Code {
    /// The characters to type.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Makes a code of a MAC: truncates it (RFC 4226 §5.3) and renders the 31 bits in `digits` decimal digits, or in Steam's
/// alphabet. 10 digits begin with 0, 1 or 2: 31 bits are no more.
///
/// # Errors
/// [`OtpError::Digits`] outside 6 to 10, or other than 5 for Steam.
pub fn render(mac: &OtpMac, kind: OtpKind, digits: u8) -> Result<Code, OtpError> {
    let truncated = u64::from(truncate(mac.expose()));
    let (base, allowed) = match kind {
        OtpKind::Steam => (STEAM_ALPHABET.len() as u64, digits == STEAM_LEN),
        OtpKind::Totp | OtpKind::Hotp => (10, (6..=10).contains(&digits)),
    };
    if !allowed {
        return Err(OtpError::Digits { digits });
    }
    let mut text = Zeroizing::new(String::with_capacity(usize::from(digits)));
    for place in 0..u32::from(digits) {
        let character = match kind {
            // Steam's least significant character comes first.
            OtpKind::Steam => {
                let index = truncated / base.pow(place) % base;
                char::from(STEAM_ALPHABET.get(index as usize).copied().unwrap_or_default())
            }
            OtpKind::Totp | OtpKind::Hotp => {
                let digit = truncated / base.pow(u32::from(digits) - 1 - place) % base;
                char::from(b'0' + digit as u8)
            }
        };
        text.push(character);
    }
    Ok(Code(text))
}

/// The 31 bits at the offset that the last four bits name (RFC 4226 §5.3 step 2). A MAC has at least 20 bytes, so offset
/// 15 and its four bytes are always inside.
fn truncate(mac: &[u8]) -> u32 {
    let offset = usize::from(mac.last().copied().unwrap_or_default() & 0x0f);
    let bytes = mac.get(offset..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
    u32::from_be_bytes(bytes) & 0x7fff_ffff
}

#[cfg(test)]
mod tests {
    use strongroom_proto::words::Algorithm;

    use super::*;

    #[test]
    fn the_worked_example_of_rfc_4226_section_5_4() {
        let mac = hex::decode("1f8698690e02ca16618550ef7f19da8e945b555a").unwrap();
        assert_eq!(truncate(&mac), 0x50ef_7f19);
        let mac = OtpMac::new(Algorithm::Sha1, &mac).unwrap();
        assert_eq!(render(&mac, OtpKind::Hotp, 6).unwrap().expose(), "872921");
        assert_eq!(render(&mac, OtpKind::Hotp, 10).unwrap().expose(), "1357872921");
    }

    #[test]
    fn impossible_lengths_are_refused() {
        let mac = OtpMac::new(Algorithm::Sha1, &[0xff; 20]).unwrap();
        for digits in [0, 5, 11, 255] {
            assert_eq!(render(&mac, OtpKind::Totp, digits).err(), Some(OtpError::Digits { digits }));
        }
        assert!(render(&mac, OtpKind::Steam, 6).is_err());
        // The largest offset and the largest value.
        assert_eq!(render(&mac, OtpKind::Totp, 10).unwrap().expose(), "2147483647");
        let smallest = OtpMac::new(Algorithm::Sha1, &[0; 20]).unwrap();
        assert_eq!(render(&smallest, OtpKind::Totp, 8).unwrap().expose(), "00000000");
        assert_eq!(render(&smallest, OtpKind::Steam, 5).unwrap().expose(), "22222");
    }
}
