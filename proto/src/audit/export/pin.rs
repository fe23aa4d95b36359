//! What a reader knows about the key from elsewhere. A key found inside the folder proves nothing: whoever forged the log
//! could have put it there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64_BARE;

use super::PinError;
use crate::agent_key::AgentKey;

/// The key that must have signed, by its fingerprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    fingerprint: String,
}

impl Pin {
    /// Takes a pin from what people have at hand: a fingerprint (`SHA256:…`), an OpenSSH line or a PEM file's content.
    ///
    /// # Errors
    /// [`PinError`] if the text is none of these.
    pub fn parse(text: &str) -> Result<Self, PinError> {
        let text = text.trim();
        let Some(base64) = text.strip_prefix("SHA256:") else {
            return AgentKey::from_text(text).map(Self::from).map_err(PinError::Key);
        };
        let hash = BASE64_BARE.decode(base64).map_err(|_| PinError::Fingerprint)?;
        if hash.len() == 32 { Ok(Self { fingerprint: text.to_owned() }) } else { Err(PinError::Fingerprint) }
    }

    /// The fingerprint of the pinned key.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

impl From<AgentKey> for Pin {
    fn from(key: AgentKey) -> Self {
        Self { fingerprint: key.fingerprint() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_pinned_alike_in_every_form_that_people_have() {
        let key = AgentKey::from_point(&[4; 65]).unwrap();
        let pin = Pin::from(key);
        for text in [key.fingerprint(), key.spki_pem(), key.openssh(), format!(" {}\n", key.fingerprint())] {
            assert_eq!(Pin::parse(&text), Ok(pin.clone()), "{text}");
        }
        assert_eq!(Pin::parse("SHA256:abc"), Err(PinError::Fingerprint));
        assert_eq!(Pin::parse(&format!("{}=", key.fingerprint())), Err(PinError::Fingerprint));
        assert!(matches!(Pin::parse("MD5:00"), Err(PinError::Key(_))));
    }
}
