//! Sealing and releasing: what both schemes have in common, and the choice between them.

use strongroom_proto::words::Scheme;
use zeroize::Zeroizing;

use super::connection::KeyHandle;
use super::resident::{self, Unwrapped};
use super::{Live, derived, keys};
use crate::keystore::secret::Scratch;
use crate::keystore::{KeystoreError, Operation, OtpMac, SealedSeed, SeedContext, TokenId, VaultKey};

/// Seals a padded seed, and opens it again before it counts as sealed.
pub(super) fn seal(
    live: &mut Live,
    scratch: &mut Scratch,
    token: &TokenId,
    key: &VaultKey,
    context: &SeedContext,
    block: &Zeroizing<Vec<u8>>,
) -> Result<SealedSeed, KeystoreError> {
    let operation = Operation::Seal;
    let mut sealed = SealedSeed {
        scheme: key.scheme,
        version: SealedSeed::VERSION,
        token: token.clone(),
        key_number: key.number,
        salt: Vec::new(),
        blob: Vec::new(),
        binding: Vec::new(),
    };
    check_belongs(token, key, context, &sealed, operation)?;
    // Verified before every seal, not only after a find: what is sealed under a wrong key is lost.
    let handle = keys::verified_anew(&mut live.connection, key, operation)?;
    match key.scheme {
        Scheme::Resident => {
            sealed.blob = resident::wrap(&live.connection, handle, block, operation)?;
            sealed.binding = live.binder.bind(&sealed, context);
        }
        Scheme::Derived => {
            let mut salt = vec![0; derived::SALT_LEN];
            getrandom::fill(&mut salt)
                .map_err(|error| KeystoreError::System { operation, reason: format!("no randomness: {error}") })?;
            sealed.salt = salt;
            let seed_key = derived::seed_key(&live.connection, handle, context, &sealed.salt, operation)?;
            let associated = sealed.associated_data(context).into_bytes();
            sealed.blob = derived::encrypt(&seed_key, &associated, block.clone()).ok_or_else(|| {
                KeystoreError::Device { operation, code: "the token gave a key of the wrong length".into() }
            })?;
        }
    }
    // What does not open to the very seed would be lost, and nobody would know before the first code.
    let broken = || KeystoreError::Device { operation, code: "a fresh seal does not open to its seed".into() };
    let check = release(live, scratch, key, handle, context, &sealed, 0).map_err(|error| match error {
        KeystoreError::Corrupt { .. } => broken(),
        other => other,
    })?;
    // The key is verified once more as well: a token that computes wrong from some call on opens what it sealed.
    keys::verified_anew(&mut live.connection, key, operation).map_err(|error| match error {
        KeystoreError::KeyMismatch { .. } => broken(),
        other => other,
    })?;
    let expected = derived::mac(context.algorithm, block, 0);
    if expected.is_some_and(|expected| expected.expose() == check.expose()) { Ok(sealed) } else { Err(broken()) }
}

/// Computes the HMAC of a moving factor, after everything that can be checked without the seed was checked.
pub(super) fn otp_mac(
    live: &mut Live,
    scratch: &mut Scratch,
    token: &TokenId,
    key: &VaultKey,
    context: &SeedContext,
    sealed: &SealedSeed,
    counter: u64,
) -> Result<OtpMac, KeystoreError> {
    let operation = Operation::OtpMac;
    check_belongs(token, key, context, sealed, operation)?;
    if key.scheme == Scheme::Resident && !live.binder.holds(sealed, context) {
        return Err(KeystoreError::Corrupt { operation });
    }
    let handle = keys::verified(&mut live.connection, key, operation)?;
    release(live, scratch, key, handle, context, sealed, counter)
}

fn release(
    live: &mut Live,
    scratch: &mut Scratch,
    key: &VaultKey,
    handle: KeyHandle,
    context: &SeedContext,
    sealed: &SealedSeed,
    counter: u64,
) -> Result<OtpMac, KeystoreError> {
    match key.scheme {
        Scheme::Resident => release_resident(live, key, handle, context, sealed, counter),
        Scheme::Derived => release_derived(live, scratch, handle, context, sealed, counter),
    }
}

pub(super) fn check_belongs(
    token: &TokenId,
    key: &VaultKey,
    context: &SeedContext,
    sealed: &SealedSeed,
    operation: Operation,
) -> Result<(), KeystoreError> {
    let belongs = key.vault == context.vault
        && sealed.token == *token
        && sealed.version == SealedSeed::VERSION
        && sealed.scheme == key.scheme
        && sealed.key_number == key.number;
    if belongs { Ok(()) } else { Err(KeystoreError::Corrupt { operation }) }
}

fn release_resident(
    live: &mut Live,
    key: &VaultKey,
    handle: KeyHandle,
    context: &SeedContext,
    sealed: &SealedSeed,
    counter: u64,
) -> Result<OtpMac, KeystoreError> {
    let operation = Operation::OtpMac;
    match resident::mac(&live.connection, handle, &sealed.blob, context.algorithm, counter, operation)? {
        Unwrapped::Mac(mac) => Ok(mac),
        Unwrapped::RefusedBlob(corrupt) => {
            // The binding held, so the blob is as it was sealed: believe "corrupt" only of a token that still works.
            keys::verified_anew(&mut live.connection, key, operation)?;
            Err(corrupt)
        }
    }
}

fn release_derived(
    live: &mut Live,
    scratch: &mut Scratch,
    handle: KeyHandle,
    context: &SeedContext,
    sealed: &SealedSeed,
    counter: u64,
) -> Result<OtpMac, KeystoreError> {
    let operation = Operation::OtpMac;
    if sealed.salt.len() != derived::SALT_LEN {
        return Err(KeystoreError::Corrupt { operation });
    }
    let seed_key = derived::seed_key(&live.connection, handle, context, &sealed.salt, operation)?;
    let associated = sealed.associated_data(context).into_bytes();
    let opened = derived::with_opened(&seed_key, &associated, &sealed.blob, scratch, |block| {
        derived::mac(context.algorithm, block, counter)
    });
    if let Some(mac) = opened.flatten() {
        return Ok(mac);
    }
    // Corrupt, unless the token derived a wrong key.
    let again = derived::seed_key(&live.connection, handle, context, &sealed.salt, operation)?;
    Err(if again == seed_key {
        KeystoreError::Corrupt { operation }
    } else {
        KeystoreError::Device { operation, code: "two MACs of the same text differ".into() }
    })
}
