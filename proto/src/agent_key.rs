//! The agent identity key as others see it: an ECDSA P-256 public key. It signs checkpoints and endorses session keys, and
//! it is what clients and auditors pin. The private half never leaves the token, so nothing here signs.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, STANDARD_NO_PAD as BASE64_BARE};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};

/// The type word in OpenSSH texts and blobs (RFC 5656 §3.1).
const OPENSSH_TYPE: &str = "ecdsa-sha2-nistp256";
/// The curve's name in OpenSSH blobs (RFC 5656 §3.1).
const OPENSSH_CURVE: &str = "nistp256";
/// Everything before the point in the SubjectPublicKeyInfo of a P-256 key (RFC 5480 §2): id-ecPublicKey, prime256v1.
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// An uncompressed point: 0x04, x, y (SEC 1 §2.3.3).
const POINT_LEN: usize = 65;
/// Longest text that is read as a key, in bytes; a P-256 key takes less than 200.
const TEXT_LEN_MAX: usize = 4096;
const PEM_BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const PEM_END: &str = "-----END PUBLIC KEY-----";

/// A text or blob that is no P-256 public key. Outside data causes every one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentKeyError {
    /// The point is compressed, of another curve or cut.
    #[error("an agent key is an uncompressed P-256 point of 65 bytes")]
    Point,
    /// The DER is another key type or another encoding.
    #[error("not the SubjectPublicKeyInfo of a P-256 key")]
    Spki,
    /// The PEM armour or its base64 is broken.
    #[error("not a PEM public key")]
    Pem,
    /// The OpenSSH line is another key type or broken.
    #[error("not an OpenSSH public key of type ecdsa-sha2-nistp256")]
    OpenSsh,
}

/// A signature that the key did not make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not by this key over this text")]
pub struct SignatureRefused;

/// The public half of an agent identity key. A point off the curve can be held, but verifies nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AgentKey {
    point: [u8; POINT_LEN],
}

impl AgentKey {
    /// Takes the key as a token gives it: an uncompressed point, without the OCTET STRING around it.
    ///
    /// # Errors
    /// [`AgentKeyError::Point`] unless it is 65 bytes that begin with 0x04.
    pub fn from_point(point: &[u8]) -> Result<Self, AgentKeyError> {
        match <[u8; POINT_LEN]>::try_from(point) {
            Ok(point) if point[0] == 0x04 => Ok(Self { point }),
            _ => Err(AgentKeyError::Point),
        }
    }

    /// Takes the key from its SubjectPublicKeyInfo (RFC 5480 §2).
    ///
    /// # Errors
    /// [`AgentKeyError::Spki`] for any other key or encoding.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, AgentKeyError> {
        let point = der.strip_prefix(&SPKI_PREFIX).ok_or(AgentKeyError::Spki)?;
        Self::from_point(point).map_err(|_| AgentKeyError::Spki)
    }

    /// Takes the key from PEM, as `openssl pkey -pubout` writes it (RFC 7468 §13). Text around the armour is refused.
    ///
    /// # Errors
    /// [`AgentKeyError::Pem`] if the armour is broken, [`AgentKeyError::Spki`] if it holds something else.
    pub fn from_spki_pem(text: &str) -> Result<Self, AgentKeyError> {
        let inner = text.trim().strip_prefix(PEM_BEGIN).and_then(|rest| rest.strip_suffix(PEM_END));
        let inner = inner.filter(|inner| inner.len() <= TEXT_LEN_MAX).ok_or(AgentKeyError::Pem)?;
        let base64: String = inner.chars().filter(|character| !character.is_ascii_whitespace()).collect();
        Self::from_spki_der(&BASE64.decode(base64).map_err(|_| AgentKeyError::Pem)?)
    }

    /// Takes the key from OpenSSH text: `ecdsa-sha2-nistp256 base64`, with or without a comment.
    ///
    /// # Errors
    /// [`AgentKeyError::OpenSsh`] for any other key or a broken line.
    pub fn from_openssh(text: &str) -> Result<Self, AgentKeyError> {
        let mut words = text.split_ascii_whitespace();
        let (Some(OPENSSH_TYPE), Some(blob)) = (words.next(), words.next()) else { return Err(AgentKeyError::OpenSsh) };
        if text.trim_ascii().contains('\n') || blob.len() > TEXT_LEN_MAX {
            return Err(AgentKeyError::OpenSsh);
        }
        let blob = BASE64.decode(blob).map_err(|_| AgentKeyError::OpenSsh)?;
        // There is one blob for each point, so comparing whole blobs leaves no second spelling of a key.
        let point = blob.get(blob.len().saturating_sub(POINT_LEN)..).unwrap_or_default();
        let key = Self::from_point(point).map_err(|_| AgentKeyError::OpenSsh)?;
        if key.openssh_blob() == blob { Ok(key) } else { Err(AgentKeyError::OpenSsh) }
    }

    /// Takes the key from the text of a file: PEM or OpenSSH.
    ///
    /// # Errors
    /// [`AgentKeyError`] of the format that the text begins like.
    pub fn from_text(text: &str) -> Result<Self, AgentKeyError> {
        if text.trim_start().starts_with("-----") { Self::from_spki_pem(text) } else { Self::from_openssh(text) }
    }

    /// The uncompressed point: 0x04, x, y.
    #[must_use]
    pub fn point(&self) -> &[u8; POINT_LEN] {
        &self.point
    }

    /// The SubjectPublicKeyInfo, 91 bytes of DER.
    #[must_use]
    pub fn spki_der(&self) -> Vec<u8> {
        [&SPKI_PREFIX[..], &self.point].concat()
    }

    /// The SubjectPublicKeyInfo in PEM, as `openssl` reads it.
    #[must_use]
    pub fn spki_pem(&self) -> String {
        let base64 = BASE64.encode(self.spki_der());
        let (first, second) = base64.split_at(64);
        format!("{PEM_BEGIN}\n{first}\n{second}\n{PEM_END}\n")
    }

    /// The OpenSSH text without a comment: `ecdsa-sha2-nistp256 base64`.
    #[must_use]
    pub fn openssh(&self) -> String {
        format!("{OPENSSH_TYPE} {}", BASE64.encode(self.openssh_blob()))
    }

    /// The fingerprint as `ssh-keygen -l` prints it: `SHA256:` and 43 characters.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", BASE64_BARE.encode(Sha256::digest(self.openssh_blob())))
    }

    /// Checks a signature over SHA-256(message), in ASN.1 DER.
    ///
    /// # Errors
    /// [`SignatureRefused`] if the key did not make it.
    pub fn verify(&self, message: &[u8], signature_der: &[u8]) -> Result<(), SignatureRefused> {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.point);
        key.verify(message, signature_der).map_err(|_| SignatureRefused)
    }

    /// The public key blob of the SSH protocol (RFC 5656 §3.1).
    fn openssh_blob(&self) -> Vec<u8> {
        let mut blob = Vec::with_capacity(104);
        for part in [OPENSSH_TYPE.as_bytes(), OPENSSH_CURVE.as_bytes(), &self.point] {
            blob.extend((part.len() as u32).to_be_bytes());
            blob.extend(part);
        }
        blob
    }
}

impl fmt::Debug for AgentKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "AgentKey({})", self.fingerprint())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    /// Runs a program to its end and returns what it printed.
    fn output(program: &str, arguments: &[&str], folder: &Path) -> String {
        let output = Command::new(program).args(arguments).current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn a_key_reads_and_writes_as_openssl_and_ssh_keygen_do() {
        let folder = tempfile::tempdir().unwrap();
        let ssh = |arguments: &[&str]| output("ssh-keygen", arguments, folder.path());
        ssh(&["-q", "-t", "ecdsa", "-b", "256", "-N", "", "-C", "a comment", "-f", "key"]);
        let public = std::fs::read_to_string(folder.path().join("key.pub")).unwrap();
        let key = AgentKey::from_openssh(&public).unwrap();
        assert_eq!(public.trim(), format!("{} a comment", key.openssh()));
        assert_eq!(ssh(&["-l", "-f", "key.pub"]).split(' ').nth(1), Some(key.fingerprint().as_str()));

        let pem = ssh(&["-e", "-m", "PKCS8", "-f", "key.pub"]);
        assert_eq!(key.spki_pem(), pem);
        assert_eq!(AgentKey::from_spki_pem(&pem), Ok(key));
        assert_eq!(AgentKey::from_text(&pem.replace('\n', "\r\n")), Ok(key));
        assert_eq!(AgentKey::from_text(&public), Ok(key));
        assert_eq!(AgentKey::from_point(key.point()), Ok(key));
        std::fs::write(folder.path().join("key.pem"), &pem).unwrap();
        std::fs::write(folder.path().join("key.der"), key.spki_der()).unwrap();
        let read = ["pkey", "-pubin", "-inform", "DER", "-in", "key.der"];
        assert_eq!(output("openssl", &read, folder.path()), pem);
    }

    #[test]
    fn a_signature_by_openssl_is_accepted_and_a_changed_text_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let openssl = |arguments: &[&str]| output("openssl", arguments, folder.path());
        openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "private"]);
        let key = AgentKey::from_spki_pem(&openssl(&["pkey", "-in", "private", "-pubout"])).unwrap();
        std::fs::write(folder.path().join("text"), "a text").unwrap();
        openssl(&["dgst", "-sha256", "-sign", "private", "-out", "signature", "text"]);
        let signature = std::fs::read(folder.path().join("signature")).unwrap();
        assert_eq!(key.verify(b"a text", &signature), Ok(()));
        assert_eq!(key.verify(b"a test", &signature), Err(SignatureRefused));
        let mut off_the_curve = *key.point();
        off_the_curve[64] ^= 1;
        assert_eq!(AgentKey { point: off_the_curve }.verify(b"a text", &signature), Err(SignatureRefused));
    }

    #[test]
    fn what_is_no_p256_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let openssl = |arguments: &[&str]| output("openssl", arguments, folder.path());
        for (kind, option) in [("EC", "ec_paramgen_curve:P-384"), ("RSA", "rsa_keygen_bits:2048")] {
            openssl(&["genpkey", "-algorithm", kind, "-pkeyopt", option, "-out", "other"]);
            let pem = openssl(&["pkey", "-in", "other", "-pubout"]);
            assert_eq!(AgentKey::from_text(&pem), Err(AgentKeyError::Spki), "{option}");
        }
        output("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", "ed"], folder.path());
        let other = std::fs::read_to_string(folder.path().join("ed.pub")).unwrap();
        assert_eq!(AgentKey::from_text(&other), Err(AgentKeyError::OpenSsh));

        let point = [&[0x04][..], &[7; 64]].concat();
        let key = AgentKey::from_point(&point).unwrap();
        assert_eq!(AgentKey::from_point(&point[..64]), Err(AgentKeyError::Point));
        assert_eq!(AgentKey::from_point(&[&[0x02][..], &point[1..]].concat()), Err(AgentKeyError::Point));
        assert_eq!(AgentKey::from_spki_der(&[key.spki_der(), vec![0]].concat()), Err(AgentKeyError::Spki));
        assert_eq!(AgentKey::from_spki_pem(&format!("x{}", key.spki_pem())), Err(AgentKeyError::Pem));
        let two_lines = format!("{}\n{}", key.openssh(), key.openssh());
        assert_eq!(AgentKey::from_openssh(&two_lines), Err(AgentKeyError::OpenSsh));
        let trailing = BASE64.encode([key.openssh_blob(), point.clone()].concat());
        assert_eq!(AgentKey::from_openssh(&format!("{OPENSSH_TYPE} {trailing}")), Err(AgentKeyError::OpenSsh));
    }
}
