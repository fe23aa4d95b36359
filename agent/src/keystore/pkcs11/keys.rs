//! Using a key only after it was seen to be the right one.

use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use p256::ecdsa::{Signature, VerifyingKey};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use sha2::{Digest, Sha256};
use strongroom_proto::words::Scheme;
use zeroize::Zeroizing;

use super::connection::{Connection, KeyHandle};
use super::fault::At;
use super::label::{self, IDENTITY, STORE_KEYS};
use super::{Binder, IDENTITY_MECHANISM, derived, resident};
use crate::keystore::{KeystoreError, Operation, VaultKey};

/// Gives the handle of a vault key, after its key-check value was verified in this generation.
pub(super) fn verified(
    connection: &mut Connection,
    key: &VaultKey,
    operation: Operation,
) -> Result<KeyHandle, KeystoreError> {
    let handle = connection.key(&key.label, operation)?;
    // The label is checked too: a row that names another vault's label must not get that vault's key.
    if connection.known_kcv(&key.label) == Some(key.kcv) && key.label == label::vault_key(key.vault, key.number) {
        return Ok(handle);
    }
    verified_anew(connection, key, operation)
}

/// As [`verified`], asking the token whatever is remembered.
pub(super) fn verified_anew(
    connection: &mut Connection,
    key: &VaultKey,
    operation: Operation,
) -> Result<KeyHandle, KeystoreError> {
    let mismatch = || KeystoreError::KeyMismatch { operation, label: key.label.clone() };
    if key.label != label::vault_key(key.vault, key.number) {
        return Err(mismatch());
    }
    let handle = connection.key(&key.label, operation)?;
    let kcv = kcv(connection, handle, key.scheme, operation)?;
    if kcv != key.kcv {
        connection.forget(&key.label);
        return Err(mismatch());
    }
    connection.remember_kcv(&key.label, kcv);
    Ok(handle)
}

pub(super) fn kcv(
    connection: &Connection,
    handle: KeyHandle,
    scheme: Scheme,
    operation: Operation,
) -> Result<[u8; 8], KeystoreError> {
    match scheme {
        Scheme::Resident => resident::kcv(connection, handle, operation),
        Scheme::Derived => derived::kcv(connection, handle, operation),
    }
}

/// What the store key makes of a fixed text.
pub(super) fn canary(connection: &mut Connection, operation: Operation) -> Result<Zeroizing<Vec<u8>>, KeystoreError> {
    let store_key = connection.key(STORE_KEYS, operation)?;
    connection.hmac(store_key, b"strongroom/canary/v1", operation)
}

/// Computes a MAC twice. For what is kept, or seals what is kept: a token that computed it wrong once would do harm for as
/// long as it is remembered.
pub(super) fn steady_hmac(
    connection: &Connection,
    key: KeyHandle,
    message: &[u8],
    operation: Operation,
) -> Result<Zeroizing<Vec<u8>>, KeystoreError> {
    let mac = connection.hmac(key, message, operation)?;
    if mac == connection.hmac(key, message, operation)? {
        Ok(mac)
    } else {
        Err(KeystoreError::Device { operation, code: "two MACs of the same text differ".into() })
    }
}

/// The health check: the token still makes the same of the fixed text.
pub(super) fn check_canary(
    connection: &mut Connection,
    expected: &[u8],
    operation: Operation,
) -> Result<(), KeystoreError> {
    if canary(connection, operation)?.as_slice() == expected {
        Ok(())
    } else {
        Err(KeystoreError::Device { operation, code: "its canary has changed".into() })
    }
}

/// The health check where nothing is left to renew: whatever is wrong with the canary is the token's fault.
pub(super) fn settle_by_canary(
    connection: &mut Connection,
    expected: &[u8],
    operation: Operation,
) -> Result<(), KeystoreError> {
    check_canary(connection, expected, operation).map_err(|error| match error {
        KeystoreError::KeyMissing { .. } => KeystoreError::Device { operation, code: "its keys are gone".into() },
        KeystoreError::Handle { operation, code } | KeystoreError::Session { operation, code } => {
            KeystoreError::Device { operation, code }
        }
        other => other,
    })
}

pub(super) fn binder(connection: &mut Connection, operation: Operation) -> Result<Binder, KeystoreError> {
    let store_key = connection.key(STORE_KEYS, operation)?;
    let mac = steady_hmac(connection, store_key, Binder::LABEL, operation)?;
    let root = mac.first_chunk().copied().map(Zeroizing::new);
    root.map(Binder::new).ok_or_else(|| KeystoreError::Device { operation, code: "a MAC of the wrong length".into() })
}

/// Reads the agent identity's public point.
pub(super) fn identity_point(connection: &Connection, operation: Operation) -> Result<[u8; 65], KeystoreError> {
    let template = [Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::Label(IDENTITY.into())];
    let found = connection.session().find_objects(&template).at(operation)?;
    let [object] = found.as_slice() else {
        let label = IDENTITY.to_owned();
        return Err(match found.len() {
            0 => KeystoreError::KeyMissing { operation, label },
            _ => KeystoreError::KeyMismatch { operation, label },
        });
    };
    point(connection, *object, operation)
}

/// The point of a P-256 public key.
pub(super) fn point(
    connection: &Connection,
    object: ObjectHandle,
    operation: Operation,
) -> Result<[u8; 65], KeystoreError> {
    let attributes = connection.session().get_attributes(object, &[AttributeType::EcPoint]).at(operation)?;
    let point = match attributes.first() {
        // A DER OCTET STRING of 65 bytes around the uncompressed point (PKCS #11 v2.40 §2.3.3).
        Some(Attribute::EcPoint(der)) => der.strip_prefix(&[0x04, 0x41]).unwrap_or(der).try_into().ok(),
        _ => None,
    };
    point.ok_or_else(|| KeystoreError::Refused { operation, code: "the identity key is no P-256 point".into() })
}

/// Signs a fixed text and verifies the signature: the private key is there and belongs to the public one.
pub(super) fn check_identity(
    connection: &mut Connection,
    point: &[u8; 65],
    operation: Operation,
) -> Result<(), KeystoreError> {
    let text = b"strongroom/identity-check/v1";
    let signature = sign(connection, &Sha256::digest(text).into(), operation)?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(text, &signature)
        .map_err(|_| KeystoreError::KeyMismatch { operation, label: IDENTITY.into() })
}

/// Signs a digest, and gives the signature only if the public key confirms it.
pub(super) fn sign_checked(
    connection: &mut Connection,
    point: &[u8; 65],
    digest: &[u8; 32],
    operation: Operation,
) -> Result<[u8; 64], KeystoreError> {
    let signature = sign(connection, digest, operation)?;
    let holds = VerifyingKey::from_sec1_bytes(point)
        .and_then(|key| key.verify_prehash(digest, &Signature::from_slice(&signature)?));
    holds.map_err(|_| KeystoreError::Device { operation, code: "a signature that does not hold".into() })?;
    Ok(signature)
}

fn sign(connection: &mut Connection, digest: &[u8; 32], operation: Operation) -> Result<[u8; 64], KeystoreError> {
    let key = connection.key(IDENTITY, operation)?;
    let object = connection.object(key, operation)?;
    let signature = connection.session().sign(&IDENTITY_MECHANISM, object, digest).at(operation)?;
    signature
        .try_into()
        .map_err(|_| KeystoreError::Device { operation, code: "a signature of the wrong length".into() })
}
