//! Base32 (RFC 4648 §6) as people and exporters write it: lower case, blanks, dashes and padding are repaired; anything
//! that could hide a typing error is refused, because a wrong seed gives codes that look right.

use strongroom_proto::method::account::{SEED_LEN_MAX, SEED_LEN_MIN};
use zeroize::Zeroizing;

use super::problem::{Note, Problem};

/// Decodes a secret; the repairs go to `notes`.
///
/// # Errors
/// The `Secret…` and `EmptySecret` problems. Lengths outside [`SEED_LEN_MIN`] to [`SEED_LEN_MAX`] are refused.
pub(super) fn decode(text: &str, notes: &mut Vec<Note>) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let bare = text.trim_end_matches(['=', ' ', '-']);
    if bare.len() < text.len() && text.contains('=') {
        push_once(notes, Note::Padding);
    }
    // Room for the longest seed from the start: growing would leave unwiped copies behind.
    let mut seed = Zeroizing::new(Vec::with_capacity(SEED_LEN_MAX));
    let (mut bits, mut bit_count, mut position) = (0_u16, 0_u32, 0_usize);
    for character in bare.chars() {
        if matches!(character, ' ' | '-' | '+' | '\t' | '\u{a0}') {
            push_once(notes, Note::Separators);
            continue;
        }
        position += 1;
        let value = match character {
            'A'..='Z' => character as u16 - 'A' as u16,
            'a'..='z' => {
                push_once(notes, Note::LowerCase);
                character as u16 - 'a' as u16
            }
            '2'..='7' => character as u16 - '2' as u16 + 26,
            _ => return Err(Problem::SecretCharacter { position }),
        };
        bits = (bits << 5) | value;
        bit_count += 5;
        if bit_count >= 8 {
            if seed.len() == SEED_LEN_MAX {
                return Err(Problem::SecretTooLong);
            }
            bit_count -= 8;
            seed.push(u8::try_from(bits >> bit_count & 0xff).unwrap_or_default());
            bits &= (1 << bit_count) - 1;
        }
    }
    match (position, bit_count) {
        (0, _) => Err(Problem::EmptySecret),
        // 1, 3 and 6 characters beyond a group leave five or more bits over: no encoder writes that.
        (_, 5..) => Err(Problem::SecretLength),
        _ if bits != 0 => Err(Problem::SecretTail),
        _ if seed.len() < SEED_LEN_MIN => Err(Problem::SecretTooShort),
        _ => Ok(seed),
    }
}

fn push_once(notes: &mut Vec<Note>, note: Note) {
    if !notes.contains(&note) {
        notes.push(note);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> Result<Vec<u8>, Problem> {
        decode(text, &mut Vec::new()).map(|seed| seed.to_vec())
    }

    #[test]
    fn the_rfc_6238_seed_is_read_in_every_dress() {
        for dress in [
            "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
            "gezdgnbvgy3tqojqgezdgnbvgy3tqojq",
            "gezd gnbv gy3t qojq gezd gnbv gy3t qojq",
            "GEZD-GNBV-GY3T-QOJQ-GEZD-GNBV-GY3T-QOJQ",
            " GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ====",
        ] {
            assert_eq!(decoded(dress).unwrap(), b"12345678901234567890", "{dress}");
        }
    }

    #[test]
    fn lengths_that_no_encoder_writes_are_refused() {
        let group = "GEZDGNBV".repeat(3);
        for (extra, expected) in [
            ("A", Err(Problem::SecretLength)),
            ("AA", Ok(16)),
            ("AAA", Err(Problem::SecretLength)),
            ("AAAA", Ok(17)),
            ("AAAAA", Ok(18)),
            ("AAAAAA", Err(Problem::SecretLength)),
            ("AAAAAAA", Ok(19)),
            ("AB", Err(Problem::SecretTail)),
            ("AAAB", Err(Problem::SecretTail)),
        ] {
            assert_eq!(decoded(&format!("{group}{extra}")).map(|seed| seed.len()), expected, "{extra}");
        }
    }

    #[test]
    fn typing_errors_name_their_place_only() {
        for digit in ["0", "1", "8", "9", "ä", "_", "=A"] {
            let problem = decoded(&format!("GEZD GNBV{digit}GY3TQOJQ")).unwrap_err();
            assert_eq!(problem, Problem::SecretCharacter { position: 9 }, "{digit}");
        }
    }

    #[test]
    fn seeds_have_10_to_256_bytes() {
        assert_eq!(decoded(""), Err(Problem::EmptySecret));
        assert_eq!(decoded("===="), Err(Problem::EmptySecret));
        assert_eq!(decoded("AAAAAAAAAAAAAAA"), Err(Problem::SecretTooShort));
        assert_eq!(decoded("AAAAAAAAAAAAAAAA").unwrap().len(), 10);
        assert_eq!(decoded(&format!("{}AA", "AAAAAAAA".repeat(51))).unwrap().len(), 256);
        assert_eq!(decoded(&"AAAAAAAA".repeat(52)), Err(Problem::SecretTooLong));
    }
}
