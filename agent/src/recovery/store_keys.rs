//! The recovery copy of the store keys. The token seals them too, but what it sealed dies with it; then neither names nor
//! tags of the store could be read, however many recovery copies of seeds it held.
//!
//! Anybody can seal to public recipients: a copy is only as good as the agent identity key's signature over it. Otherwise
//! whoever can write to the store puts keys of their own there and tags every row anew.

use base64::prelude::{BASE64_STANDARD, Engine};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use strongroom_proto::agent_key::AgentKey;
use strongroom_proto::ids::OrgId;
use strongroom_proto::sshsig;
use zeroize::Zeroizing;

use super::{OpenError, Recipient, RecoveryError, RecoveryIdentity, open, seal_to};
use crate::identity::{EndorsementError, agent_public_key, sign_as_agent};
use crate::keystore::StoreKeys;

/// The namespace of the signature over a copy.
pub const STORE_KEYS_NAMESPACE: &str = "strongroom-store-keys@v1";
/// The word for this document.
const FORMAT: &str = "strongroom.store-keys/1";
/// Both keys, in bytes.
const KEYS_LEN: usize = 64;
/// Longest document, in bytes: the buffer never grows, which would leave a copy of the keys behind.
const DOCUMENT_LEN_MAX: usize = 256;

/// Seals the store keys to the recovery recipients. Inside is one line of JSON:
/// `{"format":"strongroom.store-keys/1","store":…,"keys":"<base64>"}`; the keys are the one for tags, then the one for names.
///
/// # Errors
/// As [`seal_to`].
pub fn store_keys_copy(store: OrgId, keys: &StoreKeys, recipients: &[Recipient]) -> Result<Vec<u8>, RecoveryError> {
    let mut text = Zeroizing::new(Vec::with_capacity(DOCUMENT_LEN_MAX));
    text.extend_from_slice(format!(r#"{{"format":"{FORMAT}","store":"{store}","keys":""#).as_bytes());
    let mut both = Zeroizing::new([0; KEYS_LEN]);
    for (slot, byte) in both.iter_mut().zip(keys.tags().iter().chain(keys.names())) {
        *slot = *byte;
    }
    let start = text.len();
    text.resize(start + KEYS_LEN.div_ceil(3) * 4, 0);
    let place = text.get_mut(start..).unwrap_or_default();
    BASE64_STANDARD.encode_slice(both.as_slice(), place).map_err(|_| RecoveryError::Sealing)?;
    text.extend_from_slice(b"\"}\n");
    seal_to(recipients, &text)
}

/// What a copy holds, borrowed from the wiped buffer that the file was opened into.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<'a> {
    format: &'a str,
    store: OrgId,
    keys: &'a str,
}

/// Opens a recovery copy of the store keys into locked memory.
///
/// # Errors
/// As [`open`]; `Malformed` if what is inside are no store keys, or those of another store.
pub fn open_store_keys_copy(identity: &RecoveryIdentity, store: OrgId, copy: &[u8]) -> Result<StoreKeys, OpenError> {
    let malformed = || OpenError::Malformed("the copy of the store keys");
    let text = open(identity, copy)?;
    let document: Document<'_> = serde_json::from_slice(&text).map_err(|_| malformed())?;
    if document.format != FORMAT || document.store != store {
        return Err(malformed());
    }
    let mut bytes = Zeroizing::new([0; KEYS_LEN + 3]);
    let len = BASE64_STANDARD.decode_slice(document.keys, &mut *bytes).map_err(|_| malformed())?;
    bytes.get(..len).and_then(StoreKeys::from_bytes).ok_or_else(malformed)
}

/// What the agent signs: ASCII lines, each ended by LF.
fn signed_text(store: OrgId, recipients: &[String], copy: &[u8]) -> String {
    format!(
        "strongroom-store-keys-v1\norganisation {store}\nsha256 {}\nrecipients {}\n",
        hex::encode(Sha256::digest(copy)),
        recipients.join(" ")
    )
}

/// Signs a copy with the agent identity key; `sign` signs a SHA-256 digest in the token and returns r ‖ s. Gives an armoured
/// SSHSIG.
///
/// # Errors
/// As [`sign_as_agent`].
pub fn sign_store_keys_copy<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    store: OrgId,
    recipients: &[String],
    copy: &[u8],
    key: &AgentKey,
    sign: impl FnOnce(&[u8; 32]) -> Result<[u8; 64], E>,
) -> Result<String, EndorsementError> {
    let text = signed_text(store, recipients, copy);
    sign_as_agent(&agent_public_key(key.point())?, sign, STORE_KEYS_NAMESPACE, text.as_bytes())
}

/// The key that signed a copy: the caller compares it with the one that it trusts. `None` if the signature is missing or
/// does not hold.
#[must_use]
pub fn store_keys_signer(store: OrgId, recipients: &[String], copy: &[u8], signature: &str) -> Option<AgentKey> {
    let named = sshsig::read(STORE_KEYS_NAMESPACE, signature).ok()?;
    let key = AgentKey::from_point(named.public_key().ecdsa()?.as_ref()).ok()?;
    let public = agent_public_key(key.point()).ok()?;
    let text = signed_text(store, recipients, copy);
    sshsig::verify(&public, STORE_KEYS_NAMESPACE, text.as_bytes(), signature).ok()?;
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recovery::test_pairs::Pair;

    #[test]
    fn a_copy_opens_to_the_same_keys_of_the_same_store_only() {
        let (pair, store) = (Pair::new(), OrgId::random());
        let keys = StoreKeys::random().unwrap();
        let copy = store_keys_copy(store, &keys, &[pair.recipient()]).unwrap();
        let opened = open_store_keys_copy(&pair.identity(), store, &copy).unwrap();
        assert!(opened.tags() == keys.tags() && opened.names() == keys.names());
        assert!(open_store_keys_copy(&pair.identity(), OrgId::random(), &copy).is_err());
        assert!(open_store_keys_copy(&Pair::new().identity(), store, &copy).is_err());
    }
}
