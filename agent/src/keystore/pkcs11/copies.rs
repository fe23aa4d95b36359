//! Seeds that come to this token as encrypted copies: under the recovery key in a ceremony, or under an import identity of the
//! token's own when they were imported while it was away.
//!
//! The import identity at rest, version 1: `01 ‖ salt (16) ‖ nonce (12) ‖ ciphertext (32) ‖ tag (16)`, 77 bytes; AES-256-GCM
//! under a key that the token derives from its store key, as the store keys are.

use strongroom_proto::ids::OrgId;
use zeroize::Zeroizing;

use super::connection::Connection;
use super::derived::{self, SALT_LEN};
use super::store_keys::sealing_key;
use super::{Live, renewal, sealing};
use crate::keystore::batch::{CopiedSeed, ImportIdentity, StoredSeed};
use crate::keystore::context::Encoding;
use crate::keystore::secret::Scratch;
use crate::keystore::{KeystoreError, Operation, SealedSeed, TokenId, VaultKey};
use crate::recovery::{Recipient, RecoveryIdentity, open_copy, recovery_copy};

const VERSION: u8 = 1;
/// What the key that seals the identity is derived for.
const PURPOSE: &[u8] = b"strongroom/import-identity/v1";

fn associated_data(store: OrgId, token: &TokenId) -> Vec<u8> {
    let mut encoding = Encoding::new(b"strongroom/sealed-import-identity");
    encoding.field(&[VERSION]).field(store.as_bytes()).field(token.as_str().as_bytes());
    encoding.into_bytes()
}

/// Draws an import identity and seals it.
pub(super) fn make_identity(
    connection: &mut Connection,
    store: OrgId,
    token: &TokenId,
) -> Result<ImportIdentity, KeystoreError> {
    let operation = Operation::ImportIdentity;
    let no_randomness = || KeystoreError::System { operation, reason: "no randomness".into() };
    let mut salt = [0; SALT_LEN];
    let mut scalar = Zeroizing::new(vec![0; 32]);
    getrandom::fill(&mut salt).and_then(|()| getrandom::fill(&mut scalar)).map_err(|_| no_randomness())?;
    let identity = RecoveryIdentity::from_scalar(&scalar).ok_or_else(no_randomness)?;
    let key = sealing_key(connection, PURPOSE, store, &salt, operation)?;
    let blob = derived::encrypt(&key, &associated_data(store, token), scalar).ok_or_else(no_randomness)?;
    let sealed = [[VERSION].as_slice(), &salt, &blob].concat();
    Ok(ImportIdentity { recipient: identity.recipient().to_string(), sealed })
}

/// Opens a sealed import identity.
pub(super) fn open_identity(
    connection: &mut Connection,
    scratch: &mut Scratch,
    store: OrgId,
    token: &TokenId,
    sealed: &[u8],
) -> Result<RecoveryIdentity, KeystoreError> {
    let operation = Operation::ImportIdentity;
    let corrupt = || KeystoreError::Corrupt { operation };
    let Some(([VERSION], rest)) = sealed.split_first_chunk() else { return Err(corrupt()) };
    let (salt, blob) = rest.split_first_chunk::<SALT_LEN>().ok_or_else(corrupt)?;
    let key = sealing_key(connection, PURPOSE, store, salt, operation)?;
    let opened = derived::with_opened(&key, &associated_data(store, token), blob, scratch, |plain| {
        RecoveryIdentity::from_scalar(plain)
    });
    opened.flatten().ok_or_else(corrupt)
}

/// Seals a seed from its copy. The fresh seal was proved to open to the copy's seed.
pub(super) fn seal(
    live: &mut Live,
    scratch: &mut Scratch,
    token: &TokenId,
    seed: &CopiedSeed,
    to: &VaultKey,
    identity: &RecoveryIdentity,
) -> Result<SealedSeed, KeystoreError> {
    let lost =
        || KeystoreError::NotRecovered { operation: Operation::SealCopies, account: seed.context.account.to_string() };
    let (context, opened) = open_copy(identity, &seed.copy).map_err(|_| lost())?;
    // A copy of another account's seed, or of an older one, must not come in under this name.
    if context != seed.context {
        return Err(lost());
    }
    sealing::seal(live, scratch, token, to, &seed.context, &opened.block(seed.context.algorithm))
}

/// Encrypts a seed, from its recovery copy and compared with its seal, to another token's import recipient.
pub(super) fn copy_to(
    live: &mut Live,
    scratch: &mut Scratch,
    token: &TokenId,
    seed: &StoredSeed,
    recipient: &str,
    identity: &RecoveryIdentity,
) -> Result<Vec<u8>, KeystoreError> {
    let operation = Operation::CopySeeds;
    let refused = |error: crate::recovery::RecoveryError| KeystoreError::Refused { operation, code: error.to_string() };
    let recipient = Recipient::parse(recipient).map_err(refused)?;
    let opened = renewal::verified_copy(live, scratch, token, seed, identity, operation)?;
    recovery_copy(&seed.context, &opened, &[recipient]).map_err(refused)
}
