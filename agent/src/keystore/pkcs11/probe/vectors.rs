//! Known answers: RFC 4226 Appendix D, RFC 6238 Appendix B (with the seeds of erratum 2866) and RFC 4231.

use strongroom_proto::words::Algorithm;

use crate::keystore::{KeystoreError, Operation, OtpMac, Seed};

/// RFC 4226: counters 0 to 9, six digits, SHA-1.
const RFC_4226: [u32; 10] = [755_224, 287_082, 359_152, 969_429, 338_314, 254_676, 287_922, 162_583, 399_871, 520_489];

/// RFC 6238: the window (time divided by 30 s), then eight digits for SHA-1, SHA-256 and SHA-512.
const RFC_6238: [(u64, [u32; 3]); 6] = [
    (1, [94_287_082, 46_119_246, 90_693_936]),
    (37_037_036, [7_081_804, 68_084_774, 25_091_201]),
    (37_037_037, [14_050_471, 67_062_674, 99_943_326]),
    (41_152_263, [89_005_924, 91_819_424, 93_441_116]),
    (66_666_666, [69_279_037, 90_698_825, 38_618_901]),
    (666_666_666, [65_353_130, 77_737_706, 47_863_826]),
];

/// RFC 4231 §4.7: a key of 131 bytes 0xaa, longer than the block and than any token's least length.
pub(super) const HMAC_KEY: [u8; 131] = [0xaa; 131];
pub(super) const HMAC_MESSAGE: &[u8] = b"Test Using Larger Than Block-Size Key - Hash Key First";
pub(super) const HMAC_SHA256: [u8; 32] = [
    0x60, 0xe4, 0x31, 0x59, 0x1e, 0xe0, 0xb6, 0x7f, 0x0d, 0x8a, 0x26, 0xaa, 0xcb, 0xf5, 0xb7, 0x7f, 0x8e, 0x0b, 0xc6,
    0x21, 0x37, 0x28, 0xc5, 0x14, 0x05, 0x46, 0x04, 0x0f, 0x0e, 0xe3, 0x7f, 0x54,
];

/// The RFC's seed for a hash: the digits 1 to 0, repeated to the length of the hash.
pub(super) fn seed(algorithm: Algorithm, operation: Operation) -> Result<Seed, KeystoreError> {
    let len = match algorithm {
        Algorithm::Sha1 => 20,
        Algorithm::Sha256 => 32,
        Algorithm::Sha512 => 64,
    };
    let bytes = b"1234567890".iter().copied().cycle().take(len).collect();
    Seed::new(bytes).map_err(|error| KeystoreError::System { operation, reason: error.to_string() })
}

/// Window, digits and code of every vector of a hash; RFC 4226's are SHA-1's too.
pub(super) fn of(algorithm: Algorithm) -> Vec<(u64, u32, u32)> {
    let column = match algorithm {
        Algorithm::Sha1 => 0,
        Algorithm::Sha256 => 1,
        Algorithm::Sha512 => 2,
    };
    let totp = RFC_6238.iter().filter_map(|(window, codes)| Some((*window, 8, *codes.get(column)?)));
    let hotp = (0..).zip(RFC_4226).map(|(counter, code)| (counter, 6, code)).filter(|_| column == 0);
    hotp.chain(totp).collect()
}

/// Whether a MAC gives the code: dynamic truncation, RFC 4226 §5.3.
pub(super) fn gives(mac: &OtpMac, digits: u32, code: u32) -> bool {
    let bytes = mac.expose();
    let offset = bytes.last().map_or(0, |last| usize::from(last & 0x0f));
    let word = bytes.get(offset..).and_then(<[u8]>::first_chunk).map(|word| u32::from_be_bytes(*word) & 0x7fff_ffff);
    word.is_some_and(|word| word % 10_u32.pow(digits) == code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keystore::pkcs11::derived;

    #[test]
    fn the_vectors_are_those_that_plain_hmac_gives() {
        for algorithm in Algorithm::ALL {
            let block = seed(*algorithm, Operation::Probe).unwrap().block(*algorithm);
            let vectors = of(*algorithm);
            assert!(vectors.len() >= 6);
            for (counter, digits, code) in vectors {
                let mac = derived::mac(*algorithm, &block, counter).unwrap();
                assert!(gives(&mac, digits, code), "{algorithm} {counter}");
                assert!(!gives(&mac, digits, code + 1));
            }
        }
    }
}
