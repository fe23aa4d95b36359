//! The makers of security keys that an operator trusts: a folder of X.509 certificates, roots and what stands between them
//! and the keys. Only what FIDO attestations need of RFC 5280 is here: names, validity, CA marks, signatures. Policies and
//! name constraints, which no maker uses, refuse a certificate when they are marked critical.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use sha2::{Digest as _, Sha256};
use x509_cert::certificate::{Certificate, Version};
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};

/// Longest certificate file, in bytes.
const FILE_LEN_MAX: u64 = 256 * 1024;
/// Certificates of a folder.
const CERTIFICATES_MAX: usize = 1000;
/// Longest way from a key's certificate to its root.
const CHAIN_LEN_MAX: usize = 5;

const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const RSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");

/// Why a folder of certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VendorError {
    /// The folder or a file in it cannot be read.
    #[error("{path} cannot be read")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is no certificate.
    #[error("{0} holds no X.509 certificate in PEM or DER")]
    Certificate(PathBuf),
    /// There are too many.
    #[error("{0} holds more than {CERTIFICATES_MAX} certificates")]
    TooMany(PathBuf),
    /// There is no root.
    #[error("{0} holds no certificate that signed itself: no chain can end there")]
    NoRoot(PathBuf),
}

/// Why a certificate does not lead to a trusted root. Outside data can cause every one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// No trusted certificate issued it.
    #[error("no trusted maker issued the key's certificate")]
    Unknown,
    /// A certificate on the way has ended or has not begun.
    #[error("a certificate on the way to the maker's root is not valid now")]
    Time,
    /// It has an extension that is marked critical and not understood.
    #[error("a certificate on the way to the maker's root has a critical extension that is not understood")]
    Extension,
}

/// The trusted makers.
#[derive(Debug, Default)]
pub struct Vendors {
    certificates: Vec<Certificate>,
}

impl Vendors {
    /// Reads the certificates of a folder: files named `.pem`, `.crt`, `.cer` or `.der`.
    ///
    /// # Errors
    /// Each [`VendorError`] under its condition.
    pub fn read(folder: &Path) -> Result<Self, VendorError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| VendorError::File { path, source }
        };
        let mut certificates = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed(folder))? {
            let path = entry.map_err(failed(folder))?.path();
            let named = path.extension().and_then(|end| end.to_str()).unwrap_or_default();
            if !["pem", "crt", "cer", "der"].contains(&named) {
                continue;
            }
            certificates.extend(read(&path)?);
            if certificates.len() > CERTIFICATES_MAX {
                return Err(VendorError::TooMany(folder.to_owned()));
            }
        }
        if !certificates.iter().any(is_root) {
            return Err(VendorError::NoRoot(folder.to_owned()));
        }
        Ok(Self { certificates })
    }

    /// True if any maker is trusted.
    #[must_use]
    pub fn any(&self) -> bool {
        !self.certificates.is_empty()
    }

    /// Finds the way from a certificate to a root: SHA-256 of the root, in hex.
    ///
    /// # Errors
    /// The [`ChainError`] of the way that came nearest.
    pub fn root_of(&self, leaf: &Certificate, now: Timestamp) -> Result<String, ChainError> {
        check(leaf, now)?;
        self.climb(leaf, now, 0)
    }

    fn climb(&self, from: &Certificate, now: Timestamp, depth: usize) -> Result<String, ChainError> {
        let mut flaw = ChainError::Unknown;
        if depth == CHAIN_LEN_MAX {
            return Err(flaw);
        }
        for issuer in &self.certificates {
            // `depth` certificates below the issuer are themselves issuers.
            if issuer.tbs_certificate().subject() != from.tbs_certificate().issuer()
                || !issues(issuer, depth)
                || !is_signed_by(from, issuer)
            {
                continue;
            }
            let found = check(issuer, now)
                .and_then(|()| if is_root(issuer) { fingerprint(issuer) } else { self.climb(issuer, now, depth + 1) });
            match found {
                Ok(root) => return Ok(root),
                Err(ChainError::Unknown) => {}
                Err(other) => flaw = other,
            }
        }
        Err(flaw)
    }
}

fn read(path: &Path) -> Result<Vec<Certificate>, VendorError> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_LEN_MAX).read_to_end(&mut bytes))
        .map_err(|source| VendorError::File { path: path.to_owned(), source })?;
    let found = if bytes.starts_with(b"\x30") {
        Certificate::from_der(&bytes).map(|certificate| vec![certificate])
    } else {
        Certificate::load_pem_chain(&bytes)
    };
    found.ok().filter(|found| !found.is_empty()).ok_or_else(|| VendorError::Certificate(path.to_owned()))
}

/// What holds for every certificate on the way.
fn check(certificate: &Certificate, now: Timestamp) -> Result<(), ChainError> {
    let tbs = certificate.tbs_certificate();
    let validity = tbs.validity();
    let seconds = |time: x509_cert::time::Time| i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    if !(seconds(validity.not_before)..=seconds(validity.not_after)).contains(&now.as_second()) {
        return Err(ChainError::Time);
    }
    let understood = |oid: ObjectIdentifier| oid == BASIC_CONSTRAINTS || oid == KEY_USAGE;
    let extensions = tbs.extensions().map(Vec::as_slice).unwrap_or_default();
    if extensions.iter().any(|extension| extension.critical && !understood(extension.extn_id)) {
        return Err(ChainError::Extension);
    }
    Ok(())
}

/// True if a certificate may issue others, with so many issuers between it and the key's certificate.
fn issues(certificate: &Certificate, below: usize) -> bool {
    let tbs = certificate.tbs_certificate();
    let constraints = tbs.get_extension::<BasicConstraints>();
    let is_authority = matches!(&constraints, Ok(Some((_, constraints))) if constraints.ca
        && constraints.path_len_constraint.is_none_or(|most| usize::from(most) >= below));
    let usage = tbs.get_extension::<KeyUsage>();
    let may_sign = matches!(&usage, Ok(None)) || matches!(&usage, Ok(Some((_, usage))) if usage.key_cert_sign());
    tbs.version() == Version::V3 && is_authority && may_sign
}

fn is_root(certificate: &Certificate) -> bool {
    let tbs = certificate.tbs_certificate();
    tbs.subject() == tbs.issuer() && is_signed_by(certificate, certificate)
}

fn is_signed_by(certificate: &Certificate, issuer: &Certificate) -> bool {
    let tbs = certificate.tbs_certificate();
    // The algorithm stands inside what is signed and outside; the outer one is anybody's word.
    if tbs.signature() != certificate.signature_algorithm() {
        return false;
    }
    let (Ok(signed), Some(signature)) = (tbs.to_der(), certificate.signature().as_bytes()) else { return false };
    holds(issuer, certificate.signature_algorithm().oid, &signed, signature)
}

/// True if a signature of this algorithm over these bytes is by the key of the certificate. SHA-1 is none that is known here.
pub(super) fn holds(by: &Certificate, algorithm: ObjectIdentifier, signed: &[u8], signature: &[u8]) -> bool {
    let key = by.tbs_certificate().subject_public_key_info();
    let curve = key.algorithm.parameters.as_ref().and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok());
    let verifier: &dyn VerificationAlgorithm = match (algorithm, key.algorithm.oid, curve) {
        (ECDSA_SHA256, _, Some(P256)) => &ECDSA_P256_SHA256_ASN1,
        (ECDSA_SHA384, _, Some(P384)) => &ECDSA_P384_SHA384_ASN1,
        (RSA_SHA256, RSA, _) => &RSA_PKCS1_2048_8192_SHA256,
        (RSA_SHA384, RSA, _) => &RSA_PKCS1_2048_8192_SHA384,
        (RSA_SHA512, RSA, _) => &RSA_PKCS1_2048_8192_SHA512,
        _ => return false,
    };
    let point = key.subject_public_key.as_bytes().unwrap_or_default();
    UnparsedPublicKey::new(verifier, point).verify(signed, signature).is_ok()
}

/// ES256, the one algorithm that security keys sign attestations with (WebAuthn §8.2, §8.6).
pub(super) fn signs_attestation(by: &Certificate, signed: &[u8], signature: &[u8]) -> bool {
    holds(by, ECDSA_SHA256, signed, signature)
}

/// True if the certificate may issue others: a key's own may not (WebAuthn §8.2.1).
pub(super) fn is_authority(certificate: &Certificate) -> bool {
    let constraints = certificate.tbs_certificate().get_extension::<BasicConstraints>();
    !matches!(constraints, Ok(None)) && !matches!(constraints, Ok(Some((_, constraints))) if !constraints.ca)
}

fn fingerprint(certificate: &Certificate) -> Result<String, ChainError> {
    Ok(hex::encode(Sha256::digest(certificate.to_der().map_err(|_| ChainError::Unknown)?)))
}
