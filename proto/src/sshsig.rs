//! SSHSIG, read strictly (OpenSSH PROTOCOL.sshsig). The library underneath accepts version 0, a filled reserved field,
//! trailing bytes and text around the armour; what two programs read differently can be signed for one and shown to the
//! other, so all of that is refused here. Whether the key may sign at all is the caller's question.

mod mathematics;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ssh_key::encoding::Decode as _;
use ssh_key::{HashAlg, PublicKey, SshSig};

pub use self::mathematics::{holds, rsa_holds};

/// Longest armoured signature that is looked at, in bytes: an RSA 8192 one takes about 3,000.
pub const ARMOURED_LEN_MAX: usize = 8 * 1024;

const HEAD: &str = "-----BEGIN SSH SIGNATURE-----";
const FOOT: &str = "-----END SSH SIGNATURE-----";

/// Why a signature is not accepted. Outside data can cause every one of these.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SshSigError {
    /// Longer than [`ARMOURED_LEN_MAX`].
    #[error("the signature is longer than {ARMOURED_LEN_MAX} bytes")]
    TooLong,
    /// No armour, bad base64, or not the structure of the standard.
    #[error("this is no armoured SSH signature")]
    Malformed,
    /// Bytes follow the signature.
    #[error("bytes follow the signature")]
    Trailing,
    /// A version other than 1.
    #[error("the signature has version {0}; only version 1 is accepted")]
    Version(u32),
    /// The reserved field is filled.
    #[error("the signature fills a reserved field")]
    Reserved,
    /// A hash other than sha512.
    #[error("the signature's hash is not sha512")]
    Hash,
    /// Made for another purpose.
    #[error("the signature was made for another purpose")]
    Namespace,
    /// Made by another key.
    #[error("the signature was made by another key")]
    Key,
    /// The signature's algorithm is none of the key's.
    #[error("the signature's algorithm does not belong to the key")]
    Algorithm,
    /// The signature is wrong for this text and key, or the key's kind cannot be checked.
    #[error("the signature is wrong")]
    Wrong,
}

/// Reads an armoured signature and checks everything but the signature itself.
///
/// # Errors
/// Every [`SshSigError`] but [`SshSigError::Key`] and [`SshSigError::Wrong`].
pub fn read(namespace: &str, armoured: &str) -> Result<SshSig, SshSigError> {
    if armoured.len() > ARMOURED_LEN_MAX {
        return Err(SshSigError::TooLong);
    }
    let body =
        armoured.trim().strip_prefix(HEAD).and_then(|rest| rest.strip_suffix(FOOT)).ok_or(SshSigError::Malformed)?;
    let encoded: String = body.chars().filter(|character| !matches!(character, '\n' | '\r')).collect();
    let bytes = STANDARD.decode(encoded).map_err(|_| SshSigError::Malformed)?;
    let mut reader = bytes.as_slice();
    let signature = SshSig::decode(&mut reader).map_err(|error| match error {
        ssh_key::Error::Version { number } => SshSigError::Version(number),
        ssh_key::Error::Namespace => SshSigError::Namespace,
        _ => SshSigError::Malformed,
    })?;
    if !reader.is_empty() {
        return Err(SshSigError::Trailing);
    }
    if signature.version() != SshSig::VERSION {
        return Err(SshSigError::Version(signature.version()));
    }
    if !signature.reserved().is_empty() {
        return Err(SshSigError::Reserved);
    }
    if signature.hash_alg() != HashAlg::Sha512 {
        return Err(SshSigError::Hash);
    }
    if signature.namespace() != namespace {
        return Err(SshSigError::Namespace);
    }
    Ok(signature)
}

/// Verifies an armoured signature by an Ed25519 or ECDSA key: what agents sign with.
///
/// # Errors
/// Every [`SshSigError`].
pub fn verify(key: &PublicKey, namespace: &str, text: &[u8], armoured: &str) -> Result<(), SshSigError> {
    let signature = read(namespace, armoured)?;
    if signature.public_key() != key.key_data() {
        return Err(SshSigError::Key);
    }
    if !(key.key_data().is_ed25519() || key.key_data().is_ecdsa()) {
        return Err(SshSigError::Wrong);
    }
    key.verify(namespace, text, &signature).map_err(|_| SshSigError::Wrong)
}

/// The fingerprint as every text and screen writes it: `SHA256:` and unpadded base64.
#[must_use]
pub fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ssh_key::private::{Ed25519Keypair, PrivateKey};
    use ssh_key::{LineEnding, encoding::Encode as _};

    fn key() -> PrivateKey {
        PrivateKey::from(Ed25519Keypair::from_seed(&[7; 32]))
    }

    fn armour(bytes: &[u8]) -> String {
        format!("{HEAD}\n{}\n{FOOT}\n", STANDARD.encode(bytes))
    }

    #[test]
    fn a_good_signature_passes_and_each_change_is_named() {
        let key = key();
        let signature = key.sign("ns@v1", HashAlg::Sha512, b"text").unwrap();
        let good = signature.to_pem(LineEnding::LF).unwrap();
        let public = key.public_key();
        assert_eq!(verify(public, "ns@v1", b"text", &good), Ok(()));
        assert_eq!(verify(public, "ns@v1", b"texT", &good), Err(SshSigError::Wrong));
        assert_eq!(verify(public, "other@v1", b"text", &good), Err(SshSigError::Namespace));
        let other = PrivateKey::from(Ed25519Keypair::from_seed(&[8; 32]));
        assert_eq!(verify(other.public_key(), "ns@v1", b"text", &good), Err(SshSigError::Key));

        let short = key.sign("ns@v1", HashAlg::Sha256, b"text").unwrap().to_pem(LineEnding::LF).unwrap();
        assert_eq!(verify(public, "ns@v1", b"text", &short), Err(SshSigError::Hash));

        let bytes = signature.encode_vec().unwrap();
        assert_eq!(verify(public, "ns@v1", b"text", &armour(&bytes)), Ok(()));
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(verify(public, "ns@v1", b"text", &armour(&longer)), Err(SshSigError::Trailing));
        for version in [0, 2] {
            let mut changed = bytes.clone();
            changed[9] = version;
            assert_eq!(read("ns@v1", &armour(&changed)).unwrap_err(), SshSigError::Version(version.into()));
        }
        let reserved_at = bytes.windows(5).position(|window| window == b"ns@v1").unwrap() + 5;
        let mut filled = bytes.clone();
        filled[reserved_at + 3] = 1;
        filled.insert(reserved_at + 4, b'x');
        assert_eq!(read("ns@v1", &armour(&filled)).unwrap_err(), SshSigError::Reserved);
    }

    #[test]
    fn text_around_the_armour_is_refused() {
        let good = key().sign("ns@v1", HashAlg::Sha512, b"text").unwrap().to_pem(LineEnding::LF).unwrap();
        for text in [format!("x{good}"), format!("{good}x"), good.replace("SIGNATURE", "MESSAGE"), String::new()] {
            assert_eq!(read("ns@v1", &text).unwrap_err(), SshSigError::Malformed, "{text}");
        }
        assert_eq!(read("ns@v1", &"A".repeat(ARMOURED_LEN_MAX + 1)).unwrap_err(), SshSigError::TooLong);
    }
}
