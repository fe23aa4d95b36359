//! The stanza for an SSH key of type ssh-ed25519, as `age` writes and opens it (age's `agessh`; the C2SP text leaves it to
//! the implementations). The key's point is taken to Curve25519, and a tweak made of the key ties the secret to SSH.

use base64::prelude::{BASE64_STANDARD_NO_PAD, Engine};
use curve25519_dalek::MontgomeryPoint;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::seal::wrapped;
use super::{FileKey, derive};
use crate::recovery::{RecoveryError, SshRecipient};

const LABEL: &[u8] = b"age-encryption.org/v1/ssh-ed25519";

/// The file key wrapped for an SSH key, under an ephemeral share of its own.
pub(super) fn stanza(recipient: &SshRecipient, file_key: &FileKey) -> Result<String, RecoveryError> {
    let mut ephemeral = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *ephemeral).map_err(|_| RecoveryError::Randomness)?;
    let share = MontgomeryPoint::mul_base_clamped(*ephemeral);
    let agreed = Zeroizing::new(MontgomeryPoint(*recipient.point()).mul_clamped(*ephemeral).to_bytes());
    let tweak = derive(recipient.blob(), &[], LABEL).ok_or(RecoveryError::Sealing)?;
    let shared = Zeroizing::new(MontgomeryPoint(*agreed).mul_clamped(*tweak).to_bytes());
    if shared.iter().all(|byte| *byte == 0) {
        return Err(RecoveryError::WeakRecipient);
    }
    let salt = [share.as_bytes().as_slice(), recipient.point()].concat();
    let wrap_key = derive(&salt, &*shared, LABEL).ok_or(RecoveryError::Sealing)?;
    let body = wrapped(&wrap_key, file_key)?;
    let name = Sha256::digest(recipient.blob());
    let name = BASE64_STANDARD_NO_PAD.encode(name.get(..4).unwrap_or_default());
    Ok(format!("-> ssh-ed25519 {name} {}\n{body}\n", BASE64_STANDARD_NO_PAD.encode(share.as_bytes())))
}
