//! The private half of a recovery pair: kept offline, typed or piped in for the length of a ceremony, wiped after it.

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32, Hrp};
use curve25519_dalek::MontgomeryPoint;
use zeroize::Zeroizing;

use super::{OpenError, Recipient};

/// An age X25519 identity. Wiped when dropped; there is no way to show it.
pub struct RecoveryIdentity {
    scalar: Box<Zeroizing<[u8; 32]>>,
    recipient: Recipient,
}

impl RecoveryIdentity {
    const PREFIX: Hrp = Hrp::parse_unchecked("age-secret-key-");

    /// Reads `AGE-SECRET-KEY-1…` (Bech32 of 32 bytes; C2SP age.md, "The X25519 recipient type"), or the whole file that
    /// `age-keygen` writes: empty lines and lines that start with `#` are passed over. There must be one key.
    ///
    /// # Errors
    /// [`OpenError::Identity`] if it is anything else. The text is never repeated.
    pub fn parse(text: &str) -> Result<Self, OpenError> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let (Some(line), None) = (lines.next(), lines.next()) else { return Err(OpenError::Identity) };
        // One spelling: upper case. bech32 refuses mixed case.
        if !line.starts_with("AGE-SECRET-KEY-1") {
            return Err(OpenError::Identity);
        }
        let decoded = CheckedHrpstring::new::<Bech32>(line).map_err(|_| OpenError::Identity)?;
        let mut scalar = Box::new(Zeroizing::new([0; 32]));
        let mut bytes = decoded.byte_iter();
        if decoded.hrp() != Self::PREFIX || bytes.len() != scalar.len() {
            return Err(OpenError::Identity);
        }
        for (slot, byte) in scalar.iter_mut().zip(&mut bytes) {
            *slot = byte;
        }
        let point = MontgomeryPoint::mul_base_clamped(**scalar);
        Ok(Self { scalar, recipient: Recipient::from_point(point.to_bytes()) })
    }

    /// The public half: what the organisation's `recovery_recipients` list.
    #[must_use]
    pub const fn recipient(&self) -> &Recipient {
        &self.recipient
    }

    /// X25519 (RFC 7748 §6.1). `None` for a share that gives everybody the same secret.
    pub(super) fn agree(&self, share: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
        let shared = Zeroizing::new(MontgomeryPoint(*share).mul_clamped(**self.scalar).to_bytes());
        (shared.iter().fold(0, |sum, byte| sum | byte) != 0).then_some(shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(bytes: &[u8]) -> String {
        bech32::encode_upper::<Bech32>(RecoveryIdentity::PREFIX, bytes).unwrap()
    }

    #[test]
    fn agreement_matches_rfc_7748() {
        // RFC 7748 §6.1: Alice's private key, Bob's public key, their shared secret.
        let bytes = |text: &str| <[u8; 32]>::try_from(hex::decode(text).unwrap()).unwrap();
        let alice = bytes("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
        let bob = bytes("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
        let alice = RecoveryIdentity::parse(&spelled(&alice)).unwrap();
        assert_eq!(
            hex::encode(*alice.agree(&bob).unwrap()),
            "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
        );
    }

    #[test]
    fn a_key_is_read_with_or_without_its_comments() {
        let key = spelled(&[7; 32]);
        let file = format!("# created: 2026-01-01\n# public key: age1x\n\n{key}\n");
        for text in [key.as_str(), &file, &format!(" {key}\r\n")] {
            assert!(RecoveryIdentity::parse(text).is_ok());
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let key = spelled(&[7; 32]);
        let other = bech32::encode_upper::<Bech32>(Hrp::parse_unchecked("AGE-SECRET-KEX-"), &[7; 32]).unwrap();
        let cases = [
            String::new(),
            "# nothing".to_owned(),
            key.to_lowercase(),
            format!("{key}\n{key}"),
            key[..key.len() - 1].to_owned(),
            spelled(&[7; 31]),
            spelled(&[7; 33]),
            other,
        ];
        for text in cases {
            assert!(matches!(RecoveryIdentity::parse(&text), Err(OpenError::Identity)), "{text}");
        }
    }

    #[test]
    fn a_share_of_small_order_is_refused() {
        let identity = RecoveryIdentity::parse(&spelled(&[7; 32])).unwrap();
        assert!(identity.agree(&[0; 32]).is_none() && identity.agree(&[9; 32]).is_some());
    }
}
