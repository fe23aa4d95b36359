//! Who can open a recovery copy.

use std::fmt;
use std::str::FromStr;

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32, Hrp};

use super::RecoveryError;

/// An age X25519 recipient: the public half of a pair whose private half is kept offline.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Recipient([u8; 32]);

impl Recipient {
    const PREFIX: Hrp = Hrp::parse_unchecked("age");

    /// Reads `age1…` (Bech32 of 32 bytes; C2SP age.md, "The X25519 recipient type").
    ///
    /// # Errors
    /// [`RecoveryError::Recipient`] if it is anything else.
    pub fn parse(text: &str) -> Result<Self, RecoveryError> {
        let decoded = CheckedHrpstring::new::<Bech32>(text).map_err(|_| RecoveryError::Recipient)?;
        let bytes: Vec<u8> = decoded.byte_iter().collect();
        let recipient = Self(bytes.try_into().map_err(|_| RecoveryError::Recipient)?);
        // One key has one spelling: lower case, and zeros in the 4 bits of padding, which Bech32 itself doesn't ask for.
        if decoded.hrp() == Self::PREFIX && recipient.to_string() == text {
            Ok(recipient)
        } else {
            Err(RecoveryError::Recipient)
        }
    }

    pub(super) const fn from_point(point: [u8; 32]) -> Self {
        Self(point)
    }

    pub(super) const fn point(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for Recipient {
    type Err = RecoveryError;

    fn from_str(text: &str) -> Result<Self, RecoveryError> {
        Self::parse(text)
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = bech32::encode::<Bech32>(Self::PREFIX, &self.0).map_err(|_| fmt::Error)?;
        formatter.pad(&text)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of age's manual page.
    const GOOD: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

    #[test]
    fn a_recipient_is_read_and_written() {
        assert_eq!(Recipient::parse(GOOD).unwrap().to_string(), GOOD);
    }

    #[test]
    fn anything_else_is_refused() {
        let short = bech32::encode::<Bech32>(Recipient::PREFIX, &[1; 31]).unwrap();
        let long = bech32::encode::<Bech32>(Recipient::PREFIX, &[1; 33]).unwrap();
        let other = bech32::encode::<Bech32>(Hrp::parse_unchecked("agx"), &[1; 32]).unwrap();
        let variant = bech32::encode::<bech32::Bech32m>(Recipient::PREFIX, &[1; 32]).unwrap();
        let secret = bech32::encode_upper::<Bech32>(Hrp::parse_unchecked("AGE-SECRET-KEY-"), &[1; 32]).unwrap();
        let typo = GOOD.replace("aqmc", "aqnc");
        let shouted = GOOD.to_uppercase();
        for text in ["", "age1", " ", &short, &long, &other, &variant, &secret, &typo, &shouted, &GOOD[..61]] {
            assert_eq!(Recipient::parse(text), Err(RecoveryError::Recipient), "{text}");
        }
    }
}
