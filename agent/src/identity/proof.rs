//! What a signature proves. `sshsig` verifies the mathematics; the rules around it (key policy, FIDO flags) are here.

use ssh_key::{PublicKey, SshSig};
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
    sshsig::holds(enrolled.key_data(), &signature, text)?;
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

fn fido_trailer(signature: &SshSig) -> Option<(u8, u32)> {
    let (_, [flags, counter @ ..]) = signature.signature_bytes().split_last_chunk::<FIDO_TRAILER_LEN>()?;
    Some((*flags, u32::from_be_bytes(*counter)))
}

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
