//! ECDSA signatures: what PKCS#11 gives (r ‖ s) in the form that notes and `openssl` use (RFC 3279 §2.2.3).

/// Length of r and of s on P-256, in bytes.
const SCALAR_LEN: usize = 32;

/// Turns r ‖ s into `SEQUENCE { INTEGER r, INTEGER s }` in DER: shortest integers, never negative.
#[must_use]
pub fn der_from_raw(raw: &[u8; 2 * SCALAR_LEN]) -> Vec<u8> {
    let (r, s) = raw.split_at(SCALAR_LEN);
    let content = [integer(r), integer(s)].concat();
    [&[0x30, short_len(&content)], content.as_slice()].concat()
}

/// One non-negative INTEGER: leading zeros go, and one comes back where the top bit would read as a sign.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let significant = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1);
    let mut content = Vec::with_capacity(SCALAR_LEN + 1);
    if bytes[significant] & 0x80 != 0 {
        content.push(0);
    }
    content.extend_from_slice(&bytes[significant..]);
    [&[0x02, short_len(&content)], content.as_slice()].concat()
}

/// A length in DER's short form; the longest here is 70.
#[allow(clippy::cast_possible_truncation, reason = "two integers of at most 35 bytes each")]
fn short_len(content: &[u8]) -> u8 {
    content.len() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_shortest_and_never_negative() {
        let mut raw = [0; 64];
        assert_eq!(der_from_raw(&raw), [0x30, 6, 2, 1, 0, 2, 1, 0]);
        raw[31] = 0x7f;
        raw[63] = 0x80;
        assert_eq!(der_from_raw(&raw), [0x30, 7, 2, 1, 0x7f, 2, 2, 0, 0x80]);
        let full = der_from_raw(&[0xff; 64]);
        assert_eq!(full[..5], [0x30, 70, 2, 33, 0]);
        assert_eq!(full.len(), 72);
    }
}
