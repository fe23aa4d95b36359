//! Which keys may be enrolled. One line of a `.pub` file comes in; what goes out has passed every rule, and a refusal is
//! a sentence that the person with the key can act on.

use ssh_key::PublicKey;
use ssh_key::public::{KeyData, RsaPublicKey};
use strongroom_proto::sshsig;

/// Longest line that is looked at, in bytes: an RSA 8192 key takes about 1,400.
const LINE_LEN_MAX: usize = 8 * 1024;
const COMMENT_LEN_MAX: usize = 128;
const RSA_BITS_MIN: usize = 3072;
const RSA_BITS_MAX: usize = 8192;
/// Smallest public exponent (FIPS 186-5 §A.1.1: above 2^16).
const RSA_EXPONENT_MIN: u64 = 65_537;
/// Largest public exponent that the verifier takes.
const RSA_EXPONENT_MAX: u64 = (1 << 33) - 1;
/// The application of FIDO keys made for SSH (OpenSSH PROTOCOL.u2f).
const FIDO_APPLICATION: &str = "ssh:";
const CERTIFICATE_SUFFIX: &str = "-cert-v01@openssh.com";
const KEY_TYPES: [&str; 8] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-dss",
];

/// A key that may be enrolled.
#[derive(Clone, Debug)]
pub struct EnrolmentKey {
    /// The key itself, without its comment.
    pub public_key: PublicKey,
    /// `SHA256:…`.
    pub fingerprint: String,
    /// The key type, for example `ssh-ed25519`.
    pub algorithm: String,
    /// What the owner wrote behind the key; no control characters.
    pub comment: String,
    /// True for FIDO key types. It does not prove hardware: software can make such keys (see [`super::assurance`]).
    pub hardware: bool,
    /// The key as `type base64`.
    pub openssh: String,
}

/// Why a key is refused: a sentence for its owner. Outside data causes every one of these.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// Not one line of a `.pub` file.
    #[error("this is no public key: give one line of a .pub file, \"type base64 comment\"")]
    Malformed,
    /// The line is longer than any key.
    #[error("this line is longer than any public key")]
    TooLong,
    /// A private key.
    #[error("this is a private key: keep it to yourself and give the .pub file instead")]
    Private,
    /// Options stand before the key. They mean restrictions, so ignoring them would widen what the owner meant.
    #[error("options before a key are not supported: give the line without them")]
    Options,
    /// A certificate.
    #[error("a certificate is no key: give the plain public key")]
    Certificate,
    /// DSA.
    #[error("DSA keys are too weak: make an Ed25519 key with \"ssh-keygen -t ed25519\"")]
    Dsa,
    /// A key type that cannot be checked here.
    #[error("keys of type {0} are not supported: make an Ed25519 key with \"ssh-keygen -t ed25519\"")]
    Unsupported(String),
    /// An RSA key that is too short or too long.
    #[error("the RSA key has {0} bits; it must have {RSA_BITS_MIN} to {RSA_BITS_MAX}")]
    RsaBits(usize),
    /// An RSA key with an odd exponent.
    #[error("the RSA key has an unusual public exponent: make a new key with \"ssh-keygen -t ed25519\"")]
    RsaExponent,
    /// A FIDO key made for something else.
    #[error("the security key was made for another application than \"ssh:\": make one without \"-O application\"")]
    FidoApplication,
    /// A comment that would act on a terminal.
    #[error("the key's comment is longer than {COMMENT_LEN_MAX} bytes or has control characters: shorten it")]
    Comment,
}

impl EnrolmentKey {
    /// Reads one line of a `.pub` file.
    ///
    /// # Errors
    /// Each [`KeyRefusal`] under its condition.
    pub fn parse(line: &str) -> Result<Self, KeyRefusal> {
        if line.contains("PRIVATE KEY-----") {
            return Err(KeyRefusal::Private);
        }
        if line.len() > LINE_LEN_MAX {
            return Err(KeyRefusal::TooLong);
        }
        let line = line.trim();
        if line.contains(['\n', '\r']) {
            return Err(KeyRefusal::Malformed);
        }
        let (kind, rest) = line.split_once([' ', '\t']).ok_or(KeyRefusal::Malformed)?;
        check_type(kind, rest)?;
        let rest = rest.trim_start();
        let (base64, comment) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        let comment = comment.trim();
        if comment.len() > COMMENT_LEN_MAX || comment.chars().any(char::is_control) {
            return Err(KeyRefusal::Comment);
        }
        let openssh = format!("{kind} {base64}");
        let public_key = PublicKey::from_openssh(&openssh).map_err(|_| KeyRefusal::Malformed)?;
        let hardware = check(public_key.key_data())?;
        Ok(Self {
            fingerprint: sshsig::fingerprint(&public_key),
            algorithm: kind.to_owned(),
            comment: comment.to_owned(),
            hardware,
            openssh,
            public_key,
        })
    }
}

/// Sorts out by the first word what is no plain key, so that the refusal names the real reason.
fn check_type(kind: &str, rest: &str) -> Result<(), KeyRefusal> {
    if kind.ends_with(CERTIFICATE_SUFFIX) {
        return Err(KeyRefusal::Certificate);
    }
    if kind == "ssh-dss" {
        return Err(KeyRefusal::Dsa);
    }
    if KEY_TYPES.contains(&kind) {
        return Ok(());
    }
    if rest.split([' ', '\t']).any(|word| KEY_TYPES.contains(&word) || word.ends_with(CERTIFICATE_SUFFIX)) {
        return Err(KeyRefusal::Options);
    }
    let name = |byte: u8| byte.is_ascii_alphanumeric() || b"-@._".contains(&byte);
    if kind.len() <= 64 && kind.bytes().all(name) && rest.starts_with("AAAA") {
        return Err(KeyRefusal::Unsupported(kind.to_owned()));
    }
    Err(KeyRefusal::Malformed)
}

/// Checks a key against the rules for keys that may log in; true for FIDO key types. The proof asks again, so that a key
/// enrolled under older rules does not outlive them.
pub(super) fn check(key: &KeyData) -> Result<bool, KeyRefusal> {
    match key {
        KeyData::Ed25519(_) | KeyData::Ecdsa(_) => Ok(false),
        KeyData::Rsa(rsa) => check_rsa(rsa).map(|()| false),
        KeyData::SkEd25519(fido) => check_application(fido.application()),
        KeyData::SkEcdsaSha2NistP256(fido) => check_application(fido.application()),
        KeyData::Dsa(_) => Err(KeyRefusal::Dsa),
        KeyData::Certificate(_) => Err(KeyRefusal::Certificate),
        other => Err(KeyRefusal::Unsupported(other.algorithm().as_str().to_owned())),
    }
}

fn check_application(application: &str) -> Result<bool, KeyRefusal> {
    if application == FIDO_APPLICATION { Ok(true) } else { Err(KeyRefusal::FidoApplication) }
}

/// The library accepts RSA 1024 and rounds sizes up to bytes, so the bits are counted here.
fn check_rsa(key: &RsaPublicKey) -> Result<(), KeyRefusal> {
    let modulus = key.n().as_positive_bytes().ok_or(KeyRefusal::Malformed)?;
    let leading = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    let bits = (modulus.len() * 8).saturating_sub(leading);
    if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
        return Err(KeyRefusal::RsaBits(bits));
    }
    let exponent = key.e().as_positive_bytes().filter(|bytes| bytes.len() <= 8).ok_or(KeyRefusal::RsaExponent)?;
    let exponent = exponent.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    if exponent % 2 == 1 && (RSA_EXPONENT_MIN..=RSA_EXPONENT_MAX).contains(&exponent) {
        Ok(())
    } else {
        Err(KeyRefusal::RsaExponent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::test_keys::KeyFolder;

    #[test]
    fn every_allowed_type_is_read_with_its_fingerprint() {
        let folder = KeyFolder::new();
        for (kind, bits, hardware) in [
            ("ed25519", "", false),
            ("ecdsa", "256", false),
            ("ecdsa", "384", false),
            ("ecdsa", "521", false),
            ("rsa", "3072", false),
            ("ed25519-sk", "", true),
            ("ecdsa-sk", "", true),
        ] {
            let key = folder.make(kind, bits, &["-C", "jana at work"]);
            let enrolled = EnrolmentKey::parse(&key.public_line()).unwrap();
            assert_eq!(enrolled.fingerprint, key.fingerprint(), "{kind}");
            assert_eq!(enrolled.comment, "jana at work");
            assert_eq!(enrolled.hardware, hardware, "{kind}");
            assert!(key.public_line().starts_with(&enrolled.openssh));
            assert!(enrolled.openssh.starts_with(&enrolled.algorithm));
        }
    }

    #[test]
    fn weak_keys_are_refused_with_their_size() {
        let folder = KeyFolder::new();
        for bits in [1024, 2048, 3066] {
            let key = folder.make("rsa", &bits.to_string(), &[]);
            assert_eq!(EnrolmentKey::parse(&key.public_line()).unwrap_err(), KeyRefusal::RsaBits(bits));
        }
        let other = folder.make("ed25519-sk", "", &["-O", "application=ssh:other"]);
        assert_eq!(EnrolmentKey::parse(&other.public_line()).unwrap_err(), KeyRefusal::FidoApplication);
        assert_eq!(EnrolmentKey::parse("ssh-dss AAAAB3NzaC1kc3MAAACBAP x").unwrap_err(), KeyRefusal::Dsa);
    }

    #[test]
    fn lines_that_are_no_plain_key_are_told_apart() {
        let folder = KeyFolder::new();
        let key = folder.make("ed25519", "", &["-C", "x"]);
        let line = key.public_line();
        let refusal = |text: &str| EnrolmentKey::parse(text).unwrap_err();
        assert_eq!(refusal(&key.private_text()), KeyRefusal::Private);
        assert_eq!(refusal(&format!("from=\"10.0.0.1\" {line}")), KeyRefusal::Options);
        assert_eq!(refusal(&format!("restrict,command=\"a b\" {line}")), KeyRefusal::Options);
        assert_eq!(refusal(&format!("{line} \x1b[31m")), KeyRefusal::Comment);
        assert_eq!(refusal(&format!("{line} {}", "c".repeat(COMMENT_LEN_MAX))), KeyRefusal::Comment);
        assert_eq!(refusal(&format!("{line}\n{line}")), KeyRefusal::Malformed);
        assert_eq!(refusal(&"A".repeat(LINE_LEN_MAX + 1)), KeyRefusal::TooLong);
        assert_eq!(refusal(&line.replace("ssh-ed25519", "ssh-rsa")), KeyRefusal::Malformed);
        assert_eq!(
            refusal("ssh-mldsa44-ed25519@openssh.com AAAAC3Nz x"),
            KeyRefusal::Unsupported("ssh-mldsa44-ed25519@openssh.com".to_owned())
        );
        for text in ["", "ssh-ed25519", "ssh-ed25519 !!!!", "hello world"] {
            assert_eq!(refusal(text), KeyRefusal::Malformed, "{text}");
        }
        let authority = folder.make("ed25519", "", &[]);
        let certificate = key.certificate_line(&authority);
        assert_eq!(refusal(&certificate), KeyRefusal::Certificate);
    }
}
