//! RSA signatures by `ring`: the RSA code of the usual crate leaks its key by timing (RUSTSEC-2023-0071).

use ring::rand::SystemRandom;
use ring::rsa::{KeyPairComponents, PublicKeyComponents};
use ring::signature::{RSA_PKCS1_SHA512, RsaKeyPair};
use ssh_key::Mpint;
use ssh_key::private::RsaKeypair;
use zeroize::Zeroizing;

use super::envelope;

/// Signs data with RSASSA-PKCS1-v1_5 and SHA-512; returns the signature in SSH wire form (RFC 8332 §3). `None` if ring
/// does not take the key: it takes 2048 to 4096 bits with their usual structure.
pub(super) fn sign(key: &RsaKeypair, data: &[u8]) -> Option<Vec<u8>> {
    let (public, private) = (key.public(), key.private());
    let (d, p, q) = (positive(private.d())?, positive(private.p())?, positive(private.q())?);
    // The file has no dP and dQ; ring wants them.
    let (d_p, d_q) = (Zeroizing::new(exponent(d, p)?), Zeroizing::new(exponent(d, q)?));
    let components = KeyPairComponents {
        public_key: PublicKeyComponents { n: positive(public.n())?, e: positive(public.e())? },
        d,
        p,
        q,
        dP: d_p.as_slice(),
        dQ: d_q.as_slice(),
        qInv: positive(private.iqmp())?,
    };
    let pair = RsaKeyPair::from_components(&components).ok()?;
    let mut bytes = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA512, &SystemRandom::new(), data, &mut bytes).ok()?;
    let mut signature = Vec::new();
    envelope::put(&mut signature, b"rsa-sha2-512");
    envelope::put(&mut signature, &bytes);
    Some(signature)
}

fn positive(number: &Mpint) -> Option<&[u8]> {
    number.as_positive_bytes()
}

/// d mod (prime − 1), without leading zeros.
fn exponent(d: &[u8], prime: &[u8]) -> Option<Vec<u8>> {
    let mut modulus = Zeroizing::new(prime.to_vec());
    // A prime is odd, so taking one away clears its last bit.
    *modulus.last_mut()? &= !1;
    let remainder = Zeroizing::new(remainder(d, &modulus));
    let start = remainder.iter().position(|byte| *byte != 0)?;
    Some(remainder[start..].to_vec())
}

/// Long division bit by bit; numbers are big-endian. A few milliseconds, once a login, on the owner's own machine.
fn remainder(number: &[u8], modulus: &[u8]) -> Vec<u8> {
    // One byte more than the modulus, for the bit that is shifted out before subtracting.
    let mut rest = vec![0_u8; modulus.len() + 1];
    let mut padded = Zeroizing::new(vec![0_u8; 1]);
    padded.extend_from_slice(modulus);
    for bit in number.iter().flat_map(|byte| (0..8).rev().map(move |place| byte >> place & 1)) {
        let mut carry = bit;
        for byte in rest.iter_mut().rev() {
            let out = *byte >> 7;
            *byte = *byte << 1 | carry;
            carry = out;
        }
        if rest.as_slice() >= padded.as_slice() {
            let mut borrow = false;
            for (byte, other) in rest.iter_mut().zip(padded.iter()).rev() {
                let (once, first) = byte.overflowing_sub(*other);
                let (twice, second) = once.overflowing_sub(u8::from(borrow));
                *byte = twice;
                borrow = first || second;
            }
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remainders_agree_with_plain_arithmetic() {
        for number in [0_u64, 1, 255, 256, 65_537, 0xdead_beef_cafe_f00d, u64::MAX] {
            for modulus in [1_u64, 2, 255, 256, 65_536, 0x00ff_ffff_ffff_fffe, u64::MAX] {
                let rest = remainder(&number.to_be_bytes(), &modulus.to_be_bytes());
                assert_eq!(rest[1..], (number % modulus).to_be_bytes(), "{number} mod {modulus}");
            }
        }
    }
}
