//! The store keys at rest: AES-256-GCM under a key that the token derives from its store key.
//!
//! Version 1: `01 ‖ salt (16) ‖ nonce (12) ‖ ciphertext (64) ‖ tag (16)`, 109 bytes.

use strongroom_proto::ids::OrgId;
use zeroize::Zeroizing;

use super::connection::Connection;
use super::derived::{self, SALT_LEN};
use super::keys;
use super::label::STORE_KEYS;
use crate::keystore::context::Encoding;
use crate::keystore::secret::Scratch;
use crate::keystore::{KeystoreError, Operation, StoreKeys, TokenId};

const VERSION: u8 = 1;
/// What the key that seals them is derived for.
const PURPOSE: &[u8] = b"strongroom/store-keys/v1";

pub(super) fn sealing_key(
    connection: &mut Connection,
    purpose: &[u8],
    store: OrgId,
    salt: &[u8],
    operation: Operation,
) -> Result<Zeroizing<Vec<u8>>, KeystoreError> {
    let message = [purpose, store.as_bytes(), salt].concat();
    let key = connection.key(STORE_KEYS, operation)?;
    keys::steady_hmac(connection, key, &message, operation)
}

fn associated_data(store: OrgId, token: &TokenId) -> Vec<u8> {
    let mut encoding = Encoding::new(b"strongroom/sealed-store-keys");
    encoding.field(&[VERSION]).field(store.as_bytes()).field(token.as_str().as_bytes());
    encoding.into_bytes()
}

pub(super) fn seal(
    connection: &mut Connection,
    store: OrgId,
    token: &TokenId,
    keys: &StoreKeys,
) -> Result<Vec<u8>, KeystoreError> {
    let operation = Operation::SealStoreKeys;
    let no_randomness = || KeystoreError::System { operation, reason: "no randomness".into() };
    let mut salt = [0; SALT_LEN];
    getrandom::fill(&mut salt).map_err(|_| no_randomness())?;
    let key = sealing_key(connection, PURPOSE, store, &salt, operation)?;
    let plain = Zeroizing::new(keys.bytes().to_vec());
    let blob = derived::encrypt(&key, &associated_data(store, token), plain).ok_or_else(no_randomness)?;
    Ok([[VERSION].as_slice(), &salt, &blob].concat())
}

pub(super) fn open(
    connection: &mut Connection,
    scratch: &mut Scratch,
    store: OrgId,
    token: &TokenId,
    sealed: &[u8],
) -> Result<StoreKeys, KeystoreError> {
    let operation = Operation::OpenStoreKeys;
    let corrupt = || KeystoreError::Corrupt { operation };
    let Some(([VERSION], rest)) = sealed.split_first_chunk() else { return Err(corrupt()) };
    let (salt, blob) = rest.split_first_chunk::<SALT_LEN>().ok_or_else(corrupt)?;
    let key = sealing_key(connection, PURPOSE, store, salt, operation)?;
    let opened = derived::with_opened(&key, &associated_data(store, token), blob, scratch, |plain| {
        let mut keys = StoreKeys::zeroed();
        (plain.len() == StoreKeys::LEN).then(|| {
            keys.bytes_mut().copy_from_slice(plain);
            keys
        })
    });
    opened.flatten().ok_or_else(corrupt)
}
