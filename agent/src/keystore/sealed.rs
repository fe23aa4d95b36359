//! What is stored: names of tokens and vault keys, and sealed seeds. All of it is plain data and none of it is secret.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use strongroom_proto::ids::VaultId;
use strongroom_proto::words::Scheme;

use super::context::{Encoding, SeedContext};

/// Identifies a token for as long as it isn't initialised anew: its serial number and label, `serial/label`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenId(String);

impl TokenId {
    /// Takes the id from its text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// A vault key as the vault's row remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultKey {
    /// The vault it belongs to.
    pub vault: VaultId,
    /// Counts the keys of the vault, from 1.
    pub number: u32,
    /// How it seals.
    pub scheme: Scheme,
    /// Its label in the token.
    pub label: String,
    /// Its key-check value: what it makes of a fixed input. Tells a wrong key from the right one and reveals neither.
    #[serde(with = "hex::serde")]
    pub kcv: [u8; 8],
}

/// A seed that only one key of one token opens, and only for one account. Its stored form is text; to a worker it goes as
/// bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSeed {
    /// How it is sealed.
    pub scheme: Scheme,
    /// The format of the fields below, per scheme.
    pub version: u8,
    /// The token that sealed it.
    pub token: TokenId,
    /// The number of the vault key that sealed it.
    pub key_number: u32,
    /// `derived`: the 16 bytes that make this seed's own key. Empty under `resident`.
    pub salt: Vec<u8>,
    /// `resident` version 1: the wrapped block (RFC 3394), 72 or 136 bytes. `derived` version 1: nonce, ciphertext and
    /// tag of AES-256-GCM, 92 or 156 bytes.
    pub blob: Vec<u8>,
    /// `resident`: HMAC-SHA-256 over context and blob, because key wrap has no associated data. Empty under `derived`.
    pub binding: Vec<u8>,
}

/// The stored form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    scheme: Scheme,
    version: u8,
    token: TokenId,
    key_number: u32,
    #[serde(with = "base64_bytes", default, skip_serializing_if = "Vec::is_empty")]
    salt: Vec<u8>,
    #[serde(with = "base64_bytes")]
    blob: Vec<u8>,
    #[serde(with = "base64_bytes", default, skip_serializing_if = "Vec::is_empty")]
    binding: Vec<u8>,
}

/// The form on the way to a worker, whose format leaves no field out.
type Binary = (Scheme, u8, TokenId, u32, Vec<u8>, Vec<u8>, Vec<u8>);

impl Serialize for SealedSeed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { scheme, version, token, key_number, salt, blob, binding } = self.clone();
        if serializer.is_human_readable() {
            Text { scheme, version, token, key_number, salt, blob, binding }.serialize(serializer)
        } else {
            (scheme, version, token, key_number, salt, blob, binding).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for SealedSeed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (scheme, version, token, key_number, salt, blob, binding) = if deserializer.is_human_readable() {
            let Text { scheme, version, token, key_number, salt, blob, binding } = Text::deserialize(deserializer)?;
            (scheme, version, token, key_number, salt, blob, binding)
        } else {
            Binary::deserialize(deserializer)?
        };
        Ok(Self { scheme, version, token, key_number, salt, blob, binding })
    }
}

impl SealedSeed {
    /// The only version there is.
    pub(super) const VERSION: u8 = 1;

    /// What the seal covers besides the seed: scheme, version, token, key and context.
    pub(super) fn associated_data(&self, context: &SeedContext) -> Encoding {
        let mut encoding = Encoding::new(b"strongroom/sealed-seed");
        encoding
            .field(self.scheme.as_str().as_bytes())
            .field(&[self.version])
            .field(self.token.as_str().as_bytes())
            .field(&self.key_number.to_be_bytes())
            .field(&context.encode());
        encoding
    }
}

/// Bytes as standard base64 with padding.
mod base64_bytes {
    use base64::prelude::{BASE64_STANDARD, Engine};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD.decode(text).map_err(|_| D::Error::custom("not base64"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_seed_keeps_its_stored_form() {
        let text =
            r#"{"scheme":"resident","version":1,"token":"81f2/acme","key_number":3,"blob":"AAEC","binding":"/w=="}"#;
        let sealed: SealedSeed = serde_json::from_str(text).unwrap();
        assert_eq!((sealed.blob.as_slice(), sealed.binding.as_slice()), ([0, 1, 2].as_slice(), [255].as_slice()));
        assert_eq!(serde_json::to_string(&sealed).unwrap(), text);
        assert!(serde_json::from_str::<SealedSeed>(&text.replace("AAEC", "A")).is_err());
        assert!(serde_json::from_str::<SealedSeed>(&text.replace("version", "revision")).is_err());
    }

    #[test]
    fn a_vault_key_keeps_its_stored_form() {
        let text = r#"{"vault":"00000000-0000-0000-0000-000000000002","number":1,"scheme":"derived","label":"sr:x:1","kcv":"0001020304050607"}"#;
        let key: VaultKey = serde_json::from_str(text).unwrap();
        assert_eq!(key.kcv, [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(serde_json::to_string(&key).unwrap(), text);
    }
}
