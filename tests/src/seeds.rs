//! Seeds and vectors that others wrote.

/// The seed of RFC 4226 Appendix D and RFC 6238 Appendix B (SHA-1): 20 bytes.
pub const RFC_SHA1: &[u8] = b"12345678901234567890";
/// The seed of RFC 6238 Appendix B for SHA-256: 32 bytes.
pub const RFC_SHA256: &[u8] = b"12345678901234567890123456789012";
/// The seed of RFC 6238 Appendix B for SHA-512: 64 bytes.
pub const RFC_SHA512: &[u8] = b"1234567890123456789012345678901234567890123456789012345678901234";

/// RFC 4226 Appendix D: the codes of counters 0 to 9.
pub const RFC_4226: [&str; 10] =
    ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"];

/// RFC 6238 Appendix B: time in seconds, and the codes for SHA-1, SHA-256 and SHA-512.
pub const RFC_6238: [(u64, [&str; 3]); 6] = [
    (59, ["94287082", "46119246", "90693936"]),
    (1_111_111_109, ["07081804", "68084774", "25091201"]),
    (1_111_111_111, ["14050471", "67062674", "99943326"]),
    (1_234_567_890, ["89005924", "91819424", "93441116"]),
    (2_000_000_000, ["69279037", "90698825", "38618901"]),
    (20_000_000_000, ["65353130", "77737706", "47863826"]),
];

/// The base32 of a seed, as otpauth URIs carry it (RFC 4648 §6, no padding).
#[must_use]
pub fn base32(seed: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::new();
    let (mut held, mut bits) = (0_u32, 0);
    for byte in seed {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(ALPHABET[(held >> bits) as usize & 31]));
        }
    }
    if bits > 0 {
        text.push(char::from(ALPHABET[(held << (5 - bits)) as usize & 31]));
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn base32_is_what_rfc_4648_says() {
        assert_eq!(super::base32(b"foobar"), "MZXW6YTBOI");
        assert_eq!(super::base32(super::RFC_SHA1), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    }
}
