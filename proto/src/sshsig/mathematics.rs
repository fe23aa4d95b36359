//! The mathematics of a signature, by every kind of key that people log in with. The library checks most kinds; RSA is checked
//! by another one, without the timing fault of the usual crate (RUSTSEC-2023-0071).

use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents};
use ssh_key::public::{KeyData, RsaPublicKey};
use ssh_key::{Algorithm, HashAlg, PublicKey, SshSig};

use super::SshSigError;

/// Checks that a signature, as [`super::read`] gave it, is by this key over this text. What the key may do, and whether a
/// security key was touched, is the caller's question.
///
/// # Errors
/// [`SshSigError::Key`] if it carries another key, [`SshSigError::Algorithm`] if its algorithm is none of the key's (SHA-1 with
/// RSA, for one), [`SshSigError::Malformed`] if key or signature has no such form, [`SshSigError::Wrong`] if it does not hold.
pub fn holds(key: &KeyData, signature: &SshSig, text: &[u8]) -> Result<(), SshSigError> {
    if signature.public_key() != key {
        return Err(SshSigError::Key);
    }
    match (key, signature.algorithm()) {
        (KeyData::Rsa(rsa), Algorithm::Rsa { hash: Some(hash) }) => {
            let signed = SshSig::signed_data(signature.namespace(), signature.hash_alg(), text)
                .map_err(|_| SshSigError::Malformed)?;
            rsa_holds(rsa, hash, &signed, signature.signature_bytes())
        }
        (key, algorithm) if belongs(key, &algorithm) => {
            PublicKey::from(key.clone()).verify(signature.namespace(), text, signature).map_err(|_| SshSigError::Wrong)
        }
        _ => Err(SshSigError::Algorithm),
    }
}

fn belongs(key: &KeyData, algorithm: &Algorithm) -> bool {
    match (key, algorithm) {
        (KeyData::Ed25519(_), Algorithm::Ed25519)
        | (KeyData::SkEd25519(_), Algorithm::SkEd25519)
        | (KeyData::SkEcdsaSha2NistP256(_), Algorithm::SkEcdsaSha2NistP256) => true,
        (KeyData::Ecdsa(key), Algorithm::Ecdsa { curve }) => key.curve() == *curve,
        _ => false,
    }
}

/// Checks an RSA signature over bytes, with SHA-2 only (RFC 8332) and a modulus of 2048 to 8192 bits.
///
/// # Errors
/// [`SshSigError::Algorithm`] for another hash, [`SshSigError::Malformed`] if key or signature has no such form,
/// [`SshSigError::Wrong`] if it does not hold.
pub fn rsa_holds(key: &RsaPublicKey, hash: HashAlg, signed: &[u8], bytes: &[u8]) -> Result<(), SshSigError> {
    let algorithm = match hash {
        HashAlg::Sha256 => &RSA_PKCS1_2048_8192_SHA256,
        HashAlg::Sha512 => &RSA_PKCS1_2048_8192_SHA512,
        _ => return Err(SshSigError::Algorithm),
    };
    let modulus = key.n().as_positive_bytes().ok_or(SshSigError::Malformed)?;
    let exponent = key.e().as_positive_bytes().ok_or(SshSigError::Malformed)?;
    if bytes.len() > modulus.len() {
        return Err(SshSigError::Malformed);
    }
    // Some agents strip leading zeros, about once in 256 signatures; OpenSSH accepts that and so must we.
    let mut padded = vec![0; modulus.len() - bytes.len()];
    padded.extend_from_slice(bytes);
    RsaPublicKeyComponents { n: modulus, e: exponent }
        .verify(algorithm, signed, &padded)
        .map_err(|_| SshSigError::Wrong)
}
