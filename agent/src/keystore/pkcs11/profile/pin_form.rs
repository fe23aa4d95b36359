//! The form of a PIN: checked before it is presented, so that a wrong file does not cost one of few attempts.

use serde::{Deserialize, Serialize};

/// What a PIN looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinForm {
    /// Its shape.
    pub shape: PinShape,
    /// Shortest, in bytes; of an authentication key's password where the shape has one.
    pub len_min: u16,
    /// Longest, in bytes.
    pub len_max: u16,
}

/// The shape of a PIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PinShape {
    /// Any text.
    Text,
    /// Four hexadecimal digits, the id of a YubiHSM 2's authentication key, and its password. `@` before it chooses an
    /// asymmetric authentication key.
    YubihsmAuthKey,
    /// A name, a colon and a password: the crypto user of a network HSM.
    UserColonPassword,
}

impl PinForm {
    /// Whether a PIN can be one.
    #[must_use]
    pub fn fits(&self, pin: &str) -> bool {
        let secret = match self.shape {
            PinShape::Text => Some(pin),
            PinShape::YubihsmAuthKey => {
                let rest = pin.strip_prefix('@').unwrap_or(pin);
                rest.split_at_checked(4)
                    .filter(|(id, _)| id.bytes().all(|digit| digit.is_ascii_hexdigit()))
                    .map(|(_, password)| password)
            }
            PinShape::UserColonPassword => {
                pin.split_once(':').filter(|(user, _)| !user.is_empty()).map(|(_, password)| password)
            }
        };
        let len = usize::from(self.len_min)..=usize::from(self.len_max);
        secret.is_some_and(|secret| len.contains(&secret.len()))
    }

    /// The form in words, for an error that must not show the PIN.
    #[must_use]
    pub fn describe(&self) -> String {
        let Self { shape, len_min, len_max } = self;
        match shape {
            PinShape::Text => format!("{len_min} to {len_max} bytes of text"),
            PinShape::YubihsmAuthKey => format!(
                "four hexadecimal digits (the id of the authentication key), then its password of {len_min} to {len_max} bytes"
            ),
            PinShape::UserColonPassword => {
                format!("the user's name, a colon, then the password of {len_min} to {len_max} bytes")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_fits_its_form_or_not() {
        let check = |shape, len_min, len_max, good: &[&str], bad: &[&str]| {
            let form = PinForm { shape, len_min, len_max };
            for pin in good {
                assert!(form.fits(pin), "{pin}");
            }
            for pin in bad {
                assert!(!form.fits(pin), "{pin}");
            }
        };
        check(PinShape::Text, 4, 8, &["1234", "password"], &["123", "passwords", ""]);
        let long = format!("0001{}", "x".repeat(65));
        check(
            PinShape::YubihsmAuthKey,
            8,
            64,
            &["0001password", "00fFpässword", "@0001password", &long[..68]],
            &["0001passwor", "000gpassword", "password", "é001password", "", "0001", "#a#0001password", &long],
        );
        check(PinShape::UserColonPassword, 4, 32, &["user:pass", "u:a:bc"], &["user", ":pass", "user:abc", ""]);
    }
}
