//! The sealing scheme `resident`: the seed is a wrapped key that only the token unwraps, for the time of one HMAC.

use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use strongroom_proto::ids::VaultId;
use strongroom_proto::words::Algorithm;
use zeroize::{Zeroize, Zeroizing};

use super::connection::{Connection, KeyHandle, Transient};
use super::fault::At;
use super::template;
use crate::keystore::{KeystoreError, Operation, OtpMac, SealedSeed, SeedContext};

pub(super) const MECHANISM: Mechanism<'static> = Mechanism::AesKeyWrap;

/// Wraps a block under the vault key: in as a session object, out as a blob, destroyed.
pub(super) fn wrap(
    connection: &Connection,
    key: KeyHandle,
    block: &[u8],
    operation: Operation,
) -> Result<Vec<u8>, KeystoreError> {
    let vault_key = connection.object(key, operation)?;
    let mut template = template::imported_block(connection.traits(), block);
    let created = connection.session().create_object(&template).at(operation);
    for attribute in &mut template {
        if let Attribute::Value(value) = attribute {
            value.zeroize();
        }
    }
    let imported = Transient::new(connection.session(), created?);
    connection.session().wrap_key(&MECHANISM, vault_key, imported.object).at(operation)
}

/// The key-check value: a digest of what RFC 3394, which is deterministic, makes of a fixed block. Wrapping leaves the key
/// no choice, and no seed has this value: it is text.
pub(super) fn kcv(connection: &Connection, key: KeyHandle, operation: Operation) -> Result<[u8; 8], KeystoreError> {
    let canary = wrap(connection, key, b"strongroom/kcv/v1 (a fixed text)", operation)?;
    let digest: [u8; 32] = Sha256::digest(&canary).into();
    Ok(digest.first_chunk().copied().unwrap_or_default())
}

/// What unwrapping and MACing gave.
pub(super) enum Unwrapped {
    /// The MAC.
    Mac(OtpMac),
    /// The token refused the blob in a way that may also mean that the token is broken: a canary decides.
    RefusedBlob(KeystoreError),
}

/// Unwraps the blob inside the token, computes the HMAC there and destroys the seed again.
pub(super) fn mac(
    connection: &Connection,
    key: KeyHandle,
    blob: &[u8],
    algorithm: Algorithm,
    counter: u64,
    operation: Operation,
) -> Result<Unwrapped, KeystoreError> {
    let vault_key = connection.object(key, operation)?;
    let unwrapped =
        connection.session().unwrap_key(&MECHANISM, vault_key, blob, &template::unwrapped_seed(connection.traits()));
    let object = match unwrapped {
        Err(Error::Pkcs11(RvError::GeneralError | RvError::DeviceError | RvError::FunctionFailed, _)) => {
            return Ok(Unwrapped::RefusedBlob(KeystoreError::Corrupt { operation }));
        }
        other => other.at(operation)?,
    };
    let seed = Transient::new(connection.session(), object);
    let mechanism = match algorithm {
        Algorithm::Sha1 => Mechanism::Sha1Hmac,
        Algorithm::Sha256 => Mechanism::Sha256Hmac,
        Algorithm::Sha512 => Mechanism::Sha512Hmac,
    };
    let mac = connection.session().sign(&mechanism, seed.object, &counter.to_be_bytes()).at(operation)?;
    let mac = Zeroizing::new(mac);
    // Nobody else can tell a wrong code from a right one: the token confirms it while it has the seed.
    match connection.session().verify(&mechanism, seed.object, &counter.to_be_bytes(), &mac) {
        Err(Error::Pkcs11(RvError::SignatureInvalid | RvError::SignatureLenRange, _)) => {
            return Err(KeystoreError::Device { operation, code: "a MAC that it does not confirm".into() });
        }
        other => other.at(operation)?,
    }
    OtpMac::new(algorithm, &mac)
        .map(Unwrapped::Mac)
        .ok_or_else(|| KeystoreError::Device { operation, code: "a MAC of the wrong length".into() })
}

/// Tries to unwrap a canary as a readable key. A token that lets it happen ignores the unwrap template, and then anybody
/// with the PIN reads every seed.
pub(super) fn gives_up_seeds(
    connection: &Connection,
    key: KeyHandle,
    operation: Operation,
) -> Result<bool, KeystoreError> {
    let canary = wrap(connection, key, &[0x5a; 64], operation)?;
    let vault_key = connection.object(key, operation)?;
    for (extractable, sensitive) in [(true, true), (false, false), (true, false)] {
        let attempt = template::unwrapped(connection.traits(), extractable, sensitive);
        if let Ok(object) = connection.session().unwrap_key(&MECHANISM, vault_key, &canary, &attempt) {
            drop(Transient::new(connection.session(), object));
            return Ok(true);
        }
    }
    Ok(false)
}

/// Binds resident blobs: RFC 3394 has no associated data, so a blob alone would open under any account of its vault.
///
/// The key comes from the token's store key, once per generation; each vault has its own below it. Binding and checking
/// therefore cost no token operation.
pub(super) struct Binder {
    root: Zeroizing<[u8; 32]>,
}

impl Binder {
    /// What the token's store key is asked for.
    pub(super) const LABEL: &'static [u8] = b"strongroom/bind/v1";

    pub(super) fn new(root: Zeroizing<[u8; 32]>) -> Self {
        Self { root }
    }

    fn mac(&self, sealed: &SealedSeed, context: &SeedContext) -> Hmac<Sha256> {
        let vault_key = self.vault_key(context.vault);
        let mut covered = sealed.associated_data(context);
        covered.field(&sealed.blob);
        keyed(&vault_key).chain_update(covered.into_bytes())
    }

    fn vault_key(&self, vault: VaultId) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(
            keyed(&self.root).chain_update(Self::LABEL).chain_update(vault.as_bytes()).finalize().into_bytes().into(),
        )
    }

    pub(super) fn bind(&self, sealed: &SealedSeed, context: &SeedContext) -> Vec<u8> {
        self.mac(sealed, context).finalize().into_bytes().to_vec()
    }

    /// Compares in constant time.
    pub(super) fn holds(&self, sealed: &SealedSeed, context: &SeedContext) -> bool {
        self.mac(sealed, context).verify_slice(&sealed.binding).is_ok()
    }
}

#[allow(clippy::expect_used, reason = "HMAC takes keys of every length (RFC 2104 §2)")]
fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes any key length")
}

#[cfg(test)]
mod tests {
    use strongroom_proto::words::{OtpKind, Scheme};

    use super::*;
    use crate::keystore::TokenId;

    #[test]
    fn the_binding_is_pinned() {
        // Sealed seeds in the field depend on it. Computed apart, with Python's hmac.
        let id = |last: u8| format!("00000000-0000-0000-0000-00000000000{last}");
        let context = SeedContext {
            store: id(1).parse().unwrap(),
            vault: id(2).parse().unwrap(),
            account: id(3).parse().unwrap(),
            kind: OtpKind::Totp,
            algorithm: Algorithm::Sha1,
            digits: 6,
            period_s: 30,
            revision: 1,
        };
        let sealed = SealedSeed {
            scheme: Scheme::Resident,
            version: 1,
            token: TokenId::new("81f2/acme"),
            key_number: 3,
            salt: Vec::new(),
            blob: b"blob".to_vec(),
            binding: Vec::new(),
        };
        let binding = Binder::new(Zeroizing::new([7; 32])).bind(&sealed, &context);
        assert_eq!(hex::encode(binding), "dd4b60b1a66922208b161a0f47da85b3d06ea8b1b9d2d2a799ce9997a32809f8");
    }
}
