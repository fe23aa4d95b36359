//! Attestations of security keys: the file that `ssh-keygen -O write-attestation` makes when a key is made (OpenSSH
//! PROTOCOL.u2f, "ssh-sk-attest-v01"). It is the one proof that a key lives in hardware: the flags of its signatures can be
//! set by any program.
//!
//! The challenge is not drawn but derived ([`strongroom_proto::login::attestation_challenge`]): it names the agent and the
//! identity, so a file made for another organisation or colleague proves nothing here. The same file a second time is of the
//! same key, and a key is enrolled once, for ever.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use ssh_key::PublicKey;
use ssh_key::public::KeyData;
use x509_cert::certificate::{Certificate, Version};
use x509_cert::der::Decode as _;
use x509_cert::der::oid::ObjectIdentifier;

use super::krl::{string, take};
use super::vendors::{ChainError, Vendors, is_authority, signs_attestation};

/// Longest attestation file, in bytes; real ones take about 1,200.
pub const ATTESTATION_LEN_MAX: usize = 16 * 1024;
const MAGIC: &[u8] = b"ssh-sk-attest-v01";
const APPLICATION: &[u8] = b"ssh:";
const MODEL_LEN_MAX: usize = 200;
/// FIDO's extension of attestation certificates that names the model (WebAuthn §8.2.1).
const AAGUID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.45724.1.1.4");

const USER_PRESENT: u8 = 0x01;
const CREDENTIAL_INCLUDED: u8 = 0x40;
const EXTENSIONS_INCLUDED: u8 = 0x80;

/// What an attestation proves of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attested {
    /// SHA-256 of the file, in hex.
    pub digest: String,
    /// The model's number (AAGUID), as a UUID; all zeros for keys that have none (U2F).
    pub aaguid: String,
    /// The subject of the key's certificate, as its maker wrote it.
    pub model: String,
    /// SHA-256 of the maker's root certificate, in hex.
    pub root: String,
}

/// Why an attestation proves nothing. Outside data causes every one but the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttestationRefusal {
    /// No maker is trusted.
    #[error("this agent trusts no maker of security keys: its operator names a folder in [login.attestation]")]
    NoVendors,
    /// The key is no FIDO key.
    #[error("the key is no FIDO key: only those have attestations")]
    Software,
    /// The file breaks its format.
    #[error("this is no attestation file of ssh-keygen (ssh-sk-attest-v01)")]
    Malformed,
    /// The key did not attest anything.
    #[error(
        "the attestation has no certificate: this security key, or the software in its place, does not say what it is"
    )]
    NoCertificate,
    /// The authenticator data is not about this.
    #[error("the attestation is not of a key for SSH that was touched when it was made")]
    Data,
    /// It is of another key.
    #[error("the attestation is of another key")]
    OtherKey,
    /// Another challenge, or somebody else's signature.
    #[error(
        "the attestation's signature is wrong: it was made with another challenge, for another identity, or forged"
    )]
    Signature,
    /// The certificate breaks FIDO's rules.
    #[error("the attestation's certificate is not one of a security key")]
    Certificate,
    /// The certificate is for another model.
    #[error("the attestation's certificate is of another model than the key")]
    Model,
    /// The certificate leads nowhere.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

/// Checks an attestation file of a key. `challenge` is what `ssh-keygen -O challenge` was given.
///
/// # Errors
/// Each [`AttestationRefusal`] under its condition.
pub fn attest(
    vendors: &Vendors,
    file: &[u8],
    challenge: &[u8],
    key: &PublicKey,
    now: Timestamp,
) -> Result<Attested, AttestationRefusal> {
    if !vendors.any() {
        return Err(AttestationRefusal::NoVendors);
    }
    let expected = Credential::of(key.key_data()).ok_or(AttestationRefusal::Software)?;
    let (certificate, signature, data) = parts(file).ok_or(AttestationRefusal::Malformed)?;
    if certificate.is_empty() {
        return Err(AttestationRefusal::NoCertificate);
    }
    let certificate = Certificate::from_der(certificate).map_err(|_| AttestationRefusal::Certificate)?;
    let credential = AuthenticatorData::read(data).ok_or(AttestationRefusal::Data)?;
    if credential.key != expected {
        return Err(AttestationRefusal::OtherKey);
    }
    let challenge = Sha256::digest(challenge);
    let packed = [data, challenge.as_slice()].concat();
    // A key of the older kind signs in its own way; nothing but the missing model tells (FIDO U2F raw messages §4.3).
    let is_right = signs_attestation(&certificate, &packed, signature)
        || credential
            .u2f_message(&challenge)
            .is_some_and(|message| signs_attestation(&certificate, &message, signature));
    if !is_right {
        return Err(AttestationRefusal::Signature);
    }
    check_certificate(&certificate, &credential.aaguid)?;
    let root = vendors.root_of(&certificate, now)?;
    let model = certificate.tbs_certificate().subject().to_string();
    Ok(Attested {
        digest: hex::encode(Sha256::digest(file)),
        aaguid: uuid::Uuid::from_bytes(credential.aaguid).to_string(),
        model: model.chars().filter(|character| !character.is_control()).take(MODEL_LEN_MAX).collect(),
        root,
    })
}

/// Certificate, signature and authenticator data of a file.
fn parts(file: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    if file.len() > ATTESTATION_LEN_MAX {
        return None;
    }
    let mut rest = file;
    if string(&mut rest)? != MAGIC {
        return None;
    }
    let (certificate, signature, mut data) = (string(&mut rest)?, string(&mut rest)?, string(&mut rest)?);
    let _flags: [u8; 4] = take(&mut rest)?;
    let _reserved = string(&mut rest)?;
    if !rest.is_empty() {
        return None;
    }
    // libfido2 hands the data out as one CBOR byte string; keys without an attestation have none.
    let data = if data.is_empty() { data } else { bytes(&mut data).filter(|_| data.is_empty())? };
    Some((certificate, signature, data))
}

/// WebAuthn §8.2.1: version 3, no authority, and of this model if it says of which.
fn check_certificate(certificate: &Certificate, aaguid: &[u8; 16]) -> Result<(), AttestationRefusal> {
    let tbs = certificate.tbs_certificate();
    if tbs.version() != Version::V3 || is_authority(certificate) {
        return Err(AttestationRefusal::Certificate);
    }
    let extensions = tbs.extensions().map(Vec::as_slice).unwrap_or_default();
    match extensions.iter().find(|extension| extension.extn_id == AAGUID) {
        // An OCTET STRING of 16 bytes within the extension's own.
        Some(extension) if extension.extn_value.as_bytes() != [&[0x04, 16][..], aaguid].concat() => {
            Err(AttestationRefusal::Model)
        }
        _ => Ok(()),
    }
}

/// The public half of a credential.
#[derive(Debug, PartialEq, Eq)]
enum Credential {
    Ed25519([u8; 32]),
    /// An uncompressed point.
    P256([u8; 65]),
}

impl Credential {
    fn of(key: &KeyData) -> Option<Self> {
        match key {
            KeyData::SkEd25519(key) => Some(Self::Ed25519(key.public_key().0)),
            KeyData::SkEcdsaSha2NistP256(key) => key.ec_point().as_bytes().try_into().ok().map(Self::P256),
            _ => None,
        }
    }

    /// Reads a COSE key (RFC 9053 §7): a map whose entries stand in any order, each once.
    fn read(rest: &mut &[u8]) -> Option<Self> {
        let (mut kind, mut curve, mut x, mut y) = (None, None, None, None);
        for _ in 0..head(rest, 5)? {
            let name = integer(rest)?;
            let again = match name {
                1 => kind.replace(integer(rest)?).is_some(),
                3 => {
                    integer(rest)?;
                    false
                }
                -1 => curve.replace(integer(rest)?).is_some(),
                -2 => x.replace(bytes(rest)?).is_some(),
                -3 => y.replace(bytes(rest)?).is_some(),
                _ => return None,
            };
            if again {
                return None;
            }
        }
        match (kind?, curve?, x?, y) {
            (1, 6, x, None) => x.try_into().ok().map(Self::Ed25519),
            (2, 1, x, Some(y)) if x.len() == 32 && y.len() == 32 => {
                [&[0x04], x, y].concat().try_into().ok().map(Self::P256)
            }
            _ => None,
        }
    }
}

/// Authenticator data of a new credential (WebAuthn §6.1), its rules checked.
struct AuthenticatorData<'a> {
    aaguid: [u8; 16],
    credential_id: &'a [u8],
    key: Credential,
}

impl<'a> AuthenticatorData<'a> {
    /// `None` unless it is of a key for SSH, touched when it was made.
    fn read(data: &'a [u8]) -> Option<Self> {
        let mut rest = data;
        let application: [u8; 32] = take(&mut rest)?;
        let [flags] = take(&mut rest)?;
        let _counter: [u8; 4] = take(&mut rest)?;
        let needed = USER_PRESENT | CREDENTIAL_INCLUDED;
        if application[..] != Sha256::digest(APPLICATION)[..] || flags & needed != needed {
            return None;
        }
        let aaguid = take(&mut rest)?;
        let (credential_id, after) = rest[2.min(rest.len())..]
            .split_at_checked(usize::from(u16::from_be_bytes(rest.first_chunk().copied()?)))?;
        rest = after;
        let key = Credential::read(&mut rest)?;
        // What follows are extensions, which the signature covers and nothing here depends on.
        (rest.is_empty() || flags & EXTENSIONS_INCLUDED != 0).then_some(Self { aaguid, credential_id, key })
    }

    /// What a U2F key signs when it is made; only such keys have no model.
    fn u2f_message(&self, challenge: &[u8]) -> Option<Vec<u8>> {
        match &self.key {
            Credential::P256(point) if self.aaguid == [0; 16] => {
                Some([&[0], Sha256::digest(APPLICATION).as_slice(), challenge, self.credential_id, point].concat())
            }
            _ => None,
        }
    }
}

/// The argument of a CBOR item of one major type (RFC 8949 §3), below 2^16; the indefinite forms are not used by CTAP2.
fn head(rest: &mut &[u8], major: u8) -> Option<u16> {
    let [first] = take(rest)?;
    if first >> 5 != major {
        return None;
    }
    match first & 0x1f {
        small @ 0..=23 => Some(small.into()),
        24 => take(rest).map(|[byte]| byte.into()),
        25 => take(rest).map(u16::from_be_bytes),
        _ => None,
    }
}

fn bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = head(rest, 2)?;
    let (bytes, after) = rest.split_at_checked(len.into())?;
    *rest = after;
    Some(bytes)
}

fn integer(rest: &mut &[u8]) -> Option<i32> {
    match rest.first()? >> 5 {
        0 => head(rest, 0).map(i32::from),
        1 => head(rest, 1).map(|value| -1 - i32::from(value)),
        _ => None,
    }
}
