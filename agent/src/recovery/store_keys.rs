//! The recovery copy of the store keys. The token seals them too, but what it sealed dies with it; then neither names nor
//! tags of the store could be read, however many recovery copies of seeds it held.

use base64::prelude::{BASE64_STANDARD, Engine};
use serde::Deserialize;
use strongroom_proto::ids::OrgId;
use zeroize::Zeroizing;

use super::{OpenError, Recipient, RecoveryError, RecoveryIdentity, open, seal_to};
use crate::keystore::StoreKeys;

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
