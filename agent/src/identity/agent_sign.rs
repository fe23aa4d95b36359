//! SSHSIG by the agent identity key: what `ssh-keygen -Y verify` checks.

use sha2::{Digest as _, Sha256};
use ssh_key::encoding::Encode as _;
use ssh_key::public::{EcdsaPublicKey, KeyData};
use ssh_key::{Algorithm, EcdsaCurve, HashAlg, LineEnding, Mpint, PublicKey, Signature, SshSig};
use strongroom_proto::sshsig;

use super::EndorsementError;
use super::endorsement::Fault;

/// The agent identity key as an SSH public key; `point` is an uncompressed SEC 1 point of 65 bytes.
///
/// # Errors
/// [`EndorsementError::Point`] if it is anything else.
pub fn agent_public_key(point: &[u8]) -> Result<PublicKey, EndorsementError> {
    let key = EcdsaPublicKey::from_sec1_bytes(point).map_err(|_| EndorsementError::Point)?;
    if key.curve() == EcdsaCurve::NistP256 {
        Ok(PublicKey::new(KeyData::Ecdsa(key), ""))
    } else {
        Err(EndorsementError::Point)
    }
}

/// Signs a text in a namespace, and checks the result: `sign` signs a SHA-256 digest with the private half in the token and
/// returns r ‖ s (PKCS#11 `CKM_ECDSA`).
///
/// # Errors
/// Every [`EndorsementError`] but [`EndorsementError::ClientNonce`].
pub fn sign_as_agent<E: Into<Fault>>(
    identity: &PublicKey,
    sign: impl FnOnce(&[u8; 32]) -> Result<[u8; 64], E>,
    namespace: &str,
    text: &[u8],
) -> Result<String, EndorsementError> {
    let raw = sign(&digest_to_sign(namespace, text)?).map_err(|error| EndorsementError::Token(error.into()))?;
    armour(identity, namespace, text, &raw)
}

/// What the token signs for an SSHSIG over a text.
pub(super) fn digest_to_sign(namespace: &str, text: &[u8]) -> Result<[u8; 32], EndorsementError> {
    // SSHSIG hashes the text with sha512 and ECDSA P-256 hashes what surrounds that with SHA-256 (RFC 5656 §6.2.1).
    Ok(Sha256::digest(SshSig::signed_data(namespace, HashAlg::Sha512, text)?).into())
}

/// The armoured SSHSIG around what the token signed, after it was verified.
pub(super) fn armour(
    identity: &PublicKey,
    namespace: &str,
    text: &[u8],
    raw: &[u8; 64],
) -> Result<String, EndorsementError> {
    let signature = SshSig::new(identity.key_data().clone(), namespace, HashAlg::Sha512, ecdsa_signature(raw)?)?;
    let signature = signature.to_pem(LineEnding::LF)?;
    sshsig::verify(identity, namespace, text, &signature).map_err(|_| EndorsementError::WrongSignature)?;
    Ok(signature)
}

/// The token's r ‖ s as SSH writes it: two mpints (RFC 5656 §3.1.2).
fn ecdsa_signature(raw: &[u8; 64]) -> Result<Signature, EndorsementError> {
    let mut data = Vec::with_capacity(80);
    for half in raw.chunks_exact(32) {
        Mpint::from_positive_bytes(half).encode(&mut data).map_err(ssh_key::Error::from)?;
    }
    Ok(Signature::new(Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }, data)?)
}
