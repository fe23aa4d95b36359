//! Lists of revoked keys as `ssh-keygen -k` writes them (OpenSSH PROTOCOL.krl), read strictly: what is not understood makes
//! the whole list unusable, because it may be what revokes the very key at hand.

use std::path::{Path, PathBuf};

use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use ssh_key::PublicKey;
use ssh_key::certificate::Certificate;
use ssh_key::public::KeyData;

use super::certificate::UserCertificate;

const MAGIC: &[u8] = b"SSHKRL\n\0";
const FORMAT_VERSION: u32 = 1;
/// Largest list that is read, in bytes: some hundred thousand keys.
const FILE_LEN_MAX: u64 = 16 * 1024 * 1024;

const CERTIFICATES: u8 = 1;
const EXPLICIT_KEY: u8 = 2;
const FINGERPRINT_SHA1: u8 = 3;
const FINGERPRINT_SHA256: u8 = 5;
const SERIAL_LIST: u8 = 0x20;
const SERIAL_RANGE: u8 = 0x21;
const SERIAL_BITMAP: u8 = 0x22;
const KEY_ID: u8 = 0x23;

/// Why a list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KrlError {
    /// The file cannot be read.
    #[error("{path} cannot be read")]
    File {
        /// Which file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// It is larger than any list.
    #[error("the list is larger than {FILE_LEN_MAX} bytes")]
    TooLong,
    /// It breaks the format, or has a part that is not understood.
    #[error("the list is no KRL of format version 1, or has a part that is not understood")]
    Malformed,
    /// An older list than one that was read before.
    #[error("the list has version {version}, and version {seen} was seen before")]
    Older {
        /// Of this list.
        version: u64,
        /// Of the newest one seen.
        seen: u64,
    },
    /// The key in question cannot be written down.
    #[error("the key cannot be compared with the list")]
    Key,
}

/// A list whose form has been checked to the end.
#[derive(Debug)]
pub struct Krl {
    version: u64,
    sections: Vec<Section>,
}

#[derive(Debug)]
enum Section {
    /// Key blobs.
    Keys(Vec<Vec<u8>>),
    /// SHA-1 of key blobs.
    Sha1(Vec<Vec<u8>>),
    /// SHA-256 of key blobs.
    Sha256(Vec<Vec<u8>>),
    /// Certificates of one authority; of any, if its blob is empty.
    Certificates { authority: Vec<u8>, rules: Vec<Rule> },
}

#[derive(Debug)]
enum Rule {
    /// Serial numbers from one to another, both included.
    Serials(u64, u64),
    /// Offset, and a big-endian bit mask from there on.
    Bitmap(u64, Vec<u8>),
    KeyId(Vec<u8>),
}

impl Krl {
    /// Reads a file.
    ///
    /// # Errors
    /// Every [`KrlError`] but [`KrlError::Older`] and [`KrlError::Key`].
    pub fn read(path: &Path) -> Result<Self, KrlError> {
        use std::io::Read as _;
        let mut bytes = Vec::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(FILE_LEN_MAX + 1).read_to_end(&mut bytes))
            .map_err(|source| KrlError::File { path: path.to_owned(), source })?;
        if bytes.len() as u64 > FILE_LEN_MAX {
            return Err(KrlError::TooLong);
        }
        Self::parse(&bytes).ok_or(KrlError::Malformed)
    }

    /// Parses a list; `None` if it breaks the format or has a part that is not understood. Signed lists are refused as
    /// OpenSSH refuses them since 9.4: nobody ever checked those signatures.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(MAGIC)?;
        if u32::from_be_bytes(take(&mut rest)?) != FORMAT_VERSION {
            return None;
        }
        let version = u64::from_be_bytes(take(&mut rest)?);
        let _generated: [u8; 8] = take(&mut rest)?;
        let _flags: [u8; 8] = take(&mut rest)?;
        let (_reserved, _comment) = (string(&mut rest)?, string(&mut rest)?);
        let mut sections = Vec::new();
        while !rest.is_empty() {
            let [kind] = take(&mut rest)?;
            let body = string(&mut rest)?;
            sections.push(match kind {
                CERTIFICATES => certificates(body)?,
                EXPLICIT_KEY => Section::Keys(strings(body)?),
                FINGERPRINT_SHA1 => Section::Sha1(hashes(body, 20)?),
                FINGERPRINT_SHA256 => Section::Sha256(hashes(body, 32)?),
                _ => return None,
            });
        }
        Some(Self { version, sections })
    }

    /// The list's own number; 0 unless its maker counts (`ssh-keygen -k -z`).
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// True if the certificate, the key in it or its authority's key is revoked.
    ///
    /// # Errors
    /// [`KrlError::Key`] if a key cannot be written down.
    pub fn names(&self, certificate: &UserCertificate) -> Result<bool, KrlError> {
        let certificate = certificate.parsed();
        let (key, authority) = (blob(certificate.public_key())?, blob(certificate.signature_key())?);
        let by_key = self.names_key(&key) || self.names_key(&authority);
        Ok(by_key || self.sections.iter().any(|section| section.names_certificate(certificate, &authority)))
    }

    fn names_key(&self, blob: &[u8]) -> bool {
        self.sections.iter().any(|section| match section {
            Section::Keys(keys) => keys.iter().any(|key| key == blob),
            Section::Sha1(hashes) => hashes.iter().any(|hash| hash[..] == Sha1::digest(blob)[..]),
            Section::Sha256(hashes) => hashes.iter().any(|hash| hash[..] == Sha256::digest(blob)[..]),
            Section::Certificates { .. } => false,
        })
    }
}

impl Section {
    fn names_certificate(&self, certificate: &Certificate, by: &[u8]) -> bool {
        let Self::Certificates { authority, rules } = self else { return false };
        (authority.is_empty() || authority == by) && rules.iter().any(|rule| rule.names(certificate))
    }
}

impl Rule {
    fn names(&self, certificate: &Certificate) -> bool {
        let serial = certificate.serial();
        match self {
            Self::KeyId(key_id) => key_id == certificate.key_id().as_bytes(),
            // Serial 0 means that the authority does not number its certificates: it names none (as OpenSSH).
            _ if serial == 0 => false,
            Self::Serials(first, last) => (*first..=*last).contains(&serial),
            Self::Bitmap(offset, bits) => serial.checked_sub(*offset).is_some_and(|place| {
                let byte = usize::try_from(place / 8).ok().and_then(|from_end| bits.len().checked_sub(from_end + 1));
                byte.is_some_and(|at| bits[at] >> (place % 8) & 1 == 1)
            }),
        }
    }
}

fn certificates(mut body: &[u8]) -> Option<Section> {
    let authority = string(&mut body)?.to_vec();
    let _reserved = string(&mut body)?;
    let mut rules = Vec::new();
    while !body.is_empty() {
        let [kind] = take(&mut body)?;
        let mut part = string(&mut body)?;
        match kind {
            SERIAL_LIST => {
                while !part.is_empty() {
                    let serial = u64::from_be_bytes(take(&mut part)?);
                    rules.push(Rule::Serials(serial, serial));
                }
            }
            SERIAL_RANGE => {
                let (first, last) = (u64::from_be_bytes(take(&mut part)?), u64::from_be_bytes(take(&mut part)?));
                rules.push(Rule::Serials(first, last));
            }
            SERIAL_BITMAP => {
                let offset = u64::from_be_bytes(take(&mut part)?);
                rules.push(Rule::Bitmap(offset, string(&mut part)?.to_vec()));
            }
            KEY_ID => rules.extend(strings(part)?.into_iter().map(Rule::KeyId)),
            _ => return None,
        }
        if matches!(kind, SERIAL_RANGE | SERIAL_BITMAP) && !part.is_empty() {
            return None;
        }
    }
    Some(Section::Certificates { authority, rules })
}

fn blob(key: &KeyData) -> Result<Vec<u8>, KrlError> {
    PublicKey::new(key.clone(), "").to_bytes().map_err(|_| KrlError::Key)
}

fn hashes(body: &[u8], len: usize) -> Option<Vec<Vec<u8>>> {
    strings(body).filter(|hashes| hashes.iter().all(|hash| hash.len() == len))
}

fn strings(mut body: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    while !body.is_empty() {
        found.push(string(&mut body)?.to_vec());
    }
    Some(found)
}

/// An SSH string (RFC 4251 §5).
pub(super) fn string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = u32::from_be_bytes(take(rest)?);
    let (string, after) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    *rest = after;
    Some(string)
}

pub(super) fn take<const LEN: usize>(rest: &mut &[u8]) -> Option<[u8; LEN]> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*bytes)
}
