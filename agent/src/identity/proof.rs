//! What a signature proves. The library verifies the mathematics; the rules around it (key policy, RSA, FIDO flags) are
//! here, because the library knows none of them.

use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents};
use ssh_key::public::{KeyData, RsaPublicKey};
use ssh_key::{Algorithm, HashAlg, PublicKey, SshSig};
use strongroom_proto::sshsig::{self, SshSigError};
use strongroom_proto::words::Assurance;

use super::certificate::UserCertificate;
use super::key::{self, KeyRefusal};

/// Flags and counter at the end of a FIDO signature (OpenSSH PROTOCOL.u2f).
const FIDO_TRAILER_LEN: usize = 5;
const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;

/// A signature that was right: who, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "identity comes only from a proof"]
pub struct Proof {
    /// `SHA256:…` of the key that signed.
    pub fingerprint: String,
    /// The key is a FIDO key and says that it was touched.
    pub touch: bool,
    /// The key is a FIDO key and says that it checked a PIN or a finger.
    pub verified: bool,
    /// The FIDO key's signature counter. Some devices always say 0; on others a decrease means a copy.
    pub counter: Option<u32>,
}

/// Why a signature proves nothing. Outside data causes every one of these; clients get one uniform answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The enrolled key breaks the rules of today.
    #[error("the enrolled key is no longer accepted")]
    Key(#[from] KeyRefusal),
    /// The signature is malformed, for another purpose or wrong.
    #[error(transparent)]
    Signature(#[from] SshSigError),
    /// The signature's algorithm is none of the key's: SHA-1 with RSA, for one.
    #[error("the signature's algorithm does not belong to the key")]
    Algorithm,
    /// A FIDO key that was not touched.
    #[error("the security key was not touched")]
    Touch,
    /// The certificate asks for more than a touch.
    #[error("the certificate asks for a security key that checked a PIN or a finger")]
    Unverified,
}

/// Verifies an armoured SSHSIG by an enrolled key over a text.
///
/// # Errors
/// Each [`ProofError`] under its condition.
pub fn verify(enrolled: &PublicKey, namespace: &str, text: &[u8], armoured: &str) -> Result<Proof, ProofError> {
    verify_with(enrolled, None, namespace, text, armoured)
}

/// As [`verify`], and the signature may carry the certificate of the key in the key's place, as `ssh-keygen -Y sign` writes it
/// when it is given one. It has to be the very certificate that was judged: the signature does not cover it.
///
/// # Errors
/// Each [`ProofError`] under its condition.
pub fn verify_with(
    enrolled: &PublicKey,
    certificate: Option<&UserCertificate>,
    namespace: &str,
    text: &[u8],
    armoured: &str,
) -> Result<Proof, ProofError> {
    let hardware = key::check(enrolled.key_data())?;
    let mut signature = sshsig::read(namespace, armoured)?;
    if certificate.is_some_and(|certificate| certificate.is(signature.public_key())) {
        let plain = enrolled.key_data().clone();
        signature = SshSig::new(plain, namespace, signature.hash_alg(), signature.signature().clone())
            .map_err(|_| SshSigError::Malformed)?;
    }
    if signature.public_key() != enrolled.key_data() {
        return Err(SshSigError::Key.into());
    }
    match (enrolled.key_data(), signature.algorithm()) {
        (KeyData::Rsa(rsa), Algorithm::Rsa { hash: Some(hash) }) => {
            let signed = SshSig::signed_data(signature.namespace(), signature.hash_alg(), text)
                .map_err(|_| SshSigError::Malformed)?;
            rsa_holds(rsa, hash, &signed, signature.signature_bytes())?;
        }
        (key, algorithm) if belongs(key, &algorithm) => {
            enrolled.verify(namespace, text, &signature).map_err(|_| SshSigError::Wrong)?;
        }
        _ => return Err(ProofError::Algorithm),
    }
    let mut proof = Proof { fingerprint: sshsig::fingerprint(enrolled), touch: false, verified: false, counter: None };
    if hardware {
        // Only after the signature was right: it covers these bytes.
        let (flags, counter) = fido_trailer(&signature).ok_or(SshSigError::Malformed)?;
        if flags & USER_PRESENT == 0 {
            return Err(ProofError::Touch);
        }
        proof.touch = true;
        proof.verified = flags & USER_VERIFIED != 0;
        proof.counter = Some(counter);
    }
    Ok(proof)
}

/// How strong a proof is. FIDO flags can be forged by software that makes such keys, so they count only for a key whose
/// hardware was attested at enrolment or seen by two people.
#[must_use]
pub fn assurance(attested: bool, proof: &Proof) -> Assurance {
    match (attested, proof.touch, proof.verified) {
        (true, true, true) => Assurance::HardwareVerified,
        (true, true, false) => Assurance::HardwareTouch,
        _ => Assurance::SoftwareKey,
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

/// RSA with SHA-2 only (RFC 8332), by a library without the timing fault of the usual crate (RUSTSEC-2023-0071).
pub(super) fn rsa_holds(key: &RsaPublicKey, hash: HashAlg, signed: &[u8], bytes: &[u8]) -> Result<(), ProofError> {
    let algorithm = match hash {
        HashAlg::Sha256 => &RSA_PKCS1_2048_8192_SHA256,
        HashAlg::Sha512 => &RSA_PKCS1_2048_8192_SHA512,
        _ => return Err(ProofError::Algorithm),
    };
    let modulus = key.n().as_positive_bytes().ok_or(KeyRefusal::Malformed)?;
    let exponent = key.e().as_positive_bytes().ok_or(KeyRefusal::RsaExponent)?;
    if bytes.len() > modulus.len() {
        return Err(SshSigError::Malformed.into());
    }
    // Some agents strip leading zeros, about once in 256 signatures; OpenSSH accepts that and so must we.
    let mut padded = vec![0; modulus.len() - bytes.len()];
    padded.extend_from_slice(bytes);
    RsaPublicKeyComponents { n: modulus, e: exponent }
        .verify(algorithm, signed, &padded)
        .map_err(|_| SshSigError::Wrong.into())
}

fn fido_trailer(signature: &SshSig) -> Option<(u8, u32)> {
    let (_, [flags, counter @ ..]) = signature.signature_bytes().split_last_chunk::<FIDO_TRAILER_LEN>()?;
    Some((*flags, u32::from_be_bytes(*counter)))
}

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
