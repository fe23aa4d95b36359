//! The sealing scheme `derived`: each seed is encrypted under its own AES-256-GCM key, which the token derives and nobody
//! keeps. The seed is open in a locked page for the microseconds of one HMAC.

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit as _, Nonce, Tag};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use strongroom_proto::words::Algorithm;
use zeroize::{Zeroize, Zeroizing};

use super::connection::{Connection, KeyHandle};
use crate::keystore::secret::Scratch;
use crate::keystore::{KeystoreError, Operation, OtpMac, SeedContext};

pub(super) const SALT_LEN: usize = 16;
const NONCE_LEN: usize = 12;
const TAG_LEN: usize = 16;

/// The per-seed key: HMAC(vault key, label ‖ vault ‖ account ‖ salt ‖ revision). All parts have fixed lengths. A fresh salt
/// gives every sealing a key of its own.
pub(super) fn seed_key(
    connection: &Connection,
    key: KeyHandle,
    context: &SeedContext,
    salt: &[u8],
    operation: Operation,
) -> Result<Zeroizing<Vec<u8>>, KeystoreError> {
    let message = [
        b"strongroom/seed/v1".as_slice(),
        context.vault.as_bytes(),
        context.account.as_bytes(),
        salt,
        &context.revision.to_be_bytes(),
    ]
    .concat();
    connection.hmac(key, &message, operation)
}

/// The key-check value: the start of a MAC under a label of its own.
pub(super) fn kcv(connection: &Connection, key: KeyHandle, operation: Operation) -> Result<[u8; 8], KeystoreError> {
    let mac = connection.hmac(key, b"strongroom/kcv/v1", operation)?;
    Ok(mac.first_chunk().copied().unwrap_or_default())
}

/// Encrypts `plain` in place: returns nonce ‖ ciphertext ‖ tag. `None` only if the key isn't 32 bytes or randomness fails.
pub(super) fn encrypt(key: &[u8], associated: &[u8], mut plain: Zeroizing<Vec<u8>>) -> Option<Vec<u8>> {
    let mut nonce = [0; NONCE_LEN];
    getrandom::fill(&mut nonce).ok()?;
    let cipher = Aes256Gcm::new_from_slice(key).ok()?;
    let tag = cipher.encrypt_inout_detached(&Nonce::from(nonce), associated, plain.as_mut_slice().into()).ok()?;
    Some([nonce.as_slice(), &plain, &tag].concat())
}

/// Decrypts a blob in the scratch page and hands the plain text to `work`; the page is wiped afterwards. `None` if the
/// blob was altered or belongs elsewhere.
pub(super) fn with_opened<T>(
    key: &[u8],
    associated: &[u8],
    blob: &[u8],
    scratch: &mut Scratch,
    work: impl FnOnce(&[u8]) -> T,
) -> Option<T> {
    let (nonce, rest) = blob.split_first_chunk::<NONCE_LEN>()?;
    let (ciphertext, tag) = rest.split_last_chunk::<TAG_LEN>()?;
    let cipher = Aes256Gcm::new_from_slice(key).ok()?;
    scratch.with(ciphertext, |buffer| {
        let opened =
            cipher.decrypt_inout_detached(&Nonce::from(*nonce), associated, (&mut *buffer).into(), &Tag::from(*tag));
        opened.ok().map(|()| work(buffer))
    })?
}

/// Computes the HMAC of a moving factor in software.
pub(super) fn mac(algorithm: Algorithm, block: &[u8], counter: u64) -> Option<OtpMac> {
    fn compute<M: Mac + hmac::KeyInit>(algorithm: Algorithm, block: &[u8], counter: u64) -> Option<OtpMac> {
        let mut mac = <M as hmac::KeyInit>::new_from_slice(block).ok()?;
        mac.update(&counter.to_be_bytes());
        let mut bytes = mac.finalize().into_bytes();
        let mac = OtpMac::new(algorithm, &bytes);
        bytes.as_mut_slice().zeroize();
        mac
    }
    match algorithm {
        Algorithm::Sha1 => compute::<Hmac<Sha1>>(algorithm, block, counter),
        Algorithm::Sha256 => compute::<Hmac<Sha256>>(algorithm, block, counter),
        Algorithm::Sha512 => compute::<Hmac<Sha512>>(algorithm, block, counter),
    }
}
