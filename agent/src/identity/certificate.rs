//! OpenSSH user certificates (PROTOCOL.certkeys): what one must say to log somebody in. The library checks the mathematics
//! of some; the rules are here, because it accepts host certificates, empty lists of principals, unknown critical options
//! and certificates for ever.

use std::path::PathBuf;
use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};
use ssh_key::certificate::Certificate;
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, PublicKey};
use strongroom_proto::sshsig;

use super::key::{self, EnrolmentKey, KeyRefusal};
use super::krl::{Krl, KrlError};

/// Longest certificate line that is looked at, in bytes.
const LINE_LEN_MAX: usize = 8 * 1024;
/// Longest key id, in bytes: it goes into the record.
const KEY_ID_LEN_MAX: usize = 256;
/// `ssh-keygen -V +24h` begins at the minute before, and other authorities allow for clocks: a certificate may be longer than
/// its limit by this, in seconds.
const ROUNDING_S: i64 = 300;
/// The critical option that we can honour: the FIDO key has checked a PIN or a finger.
const VERIFY_REQUIRED: &str = "verify-required";

/// A certificate as it came; nothing in it is believed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserCertificate {
    certificate: Certificate,
    key: PublicKey,
}

/// What a certificate is worth after every rule was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a certificate that was not judged proves nothing"]
pub struct Vouched {
    /// `SHA256:…` of the authority's key.
    pub authority: String,
    /// The authority's name for it, without control characters.
    pub key_id: String,
    /// The authority's number for it.
    pub serial: u64,
    /// Whom it names; never empty.
    pub principals: Vec<String>,
    /// It is good until then (exclusive).
    pub until: Timestamp,
    /// The signature has to say that the key checked a PIN or a finger.
    pub verify_required: bool,
}

/// Why a certificate logs nobody in. Outside data causes every one but [`CertificateRefusal::Krl`].
#[derive(Debug, thiserror::Error)]
pub enum CertificateRefusal {
    /// The agent trusts no authority.
    #[error("this agent takes no certificates")]
    None,
    /// Not one line of a `-cert.pub` file.
    #[error("this is no certificate: give the line of a -cert.pub file")]
    Malformed,
    /// It certifies another key than the one shown beside it.
    #[error("it certifies another key than public_key")]
    OtherKey,
    /// The certified key breaks the rules for keys.
    #[error("the certified key: {0}")]
    Key(#[source] KeyRefusal),
    /// A host certificate.
    #[error("a host certificate logs nobody in")]
    Host,
    /// Nobody configured this authority.
    #[error("the authority is not trusted here")]
    Authority,
    /// The authority's signature is wrong, or SHA-1.
    #[error("the authority's signature is wrong or of a refused kind")]
    Signature,
    /// No principals: OpenSSH took that for everybody (CVE-2024-7594).
    #[error("the certificate names no principal")]
    NoPrincipal,
    /// Nobody whom it names is this identity.
    #[error("the certificate names somebody else")]
    Principal,
    /// A critical option that cannot be honoured here.
    #[error("the certificate has a critical option that is not honoured here")]
    CriticalOption,
    /// It begins later.
    #[error("the certificate is not valid yet")]
    NotYet,
    /// It has ended.
    #[error("the certificate has expired")]
    Expired,
    /// It is valid for longer than allowed, or for ever.
    #[error("the certificate is valid for longer than is allowed here")]
    Lifetime,
    /// The key id would act on a terminal or fill the record.
    #[error("the certificate's key id is longer than {KEY_ID_LEN_MAX} bytes or has control characters")]
    KeyId,
    /// The revocation list names it.
    #[error("the certificate, its key or its authority has been revoked")]
    Revoked,
    /// The revocation list cannot be used: then no certificate is taken.
    #[error("the list of revoked keys cannot be used")]
    Krl(#[source] KrlError),
}

/// The authorities whose certificates log in, and the limits on them.
#[derive(Debug)]
pub struct Authorities {
    keys: Vec<KeyData>,
    krl: Option<PathBuf>,
    lifetime_max: SignedDuration,
    /// The highest version of the revocation list seen: an older list put back would forget revocations.
    krl_version: Mutex<u64>,
}

impl UserCertificate {
    /// Reads one line of a `-cert.pub` file.
    ///
    /// # Errors
    /// [`CertificateRefusal::Malformed`], [`CertificateRefusal::Host`], and [`CertificateRefusal::Key`] for a key that could
    /// not be enrolled either.
    pub fn parse(line: &str) -> Result<Self, CertificateRefusal> {
        if line.len() > LINE_LEN_MAX || line.trim().contains(['\n', '\r']) {
            return Err(CertificateRefusal::Malformed);
        }
        let mut certificate = Certificate::from_openssh(line.trim()).map_err(|_| CertificateRefusal::Malformed)?;
        certificate.set_comment("");
        if !certificate.cert_type().is_user() {
            return Err(CertificateRefusal::Host);
        }
        key::check(certificate.public_key()).map_err(CertificateRefusal::Key)?;
        let key = PublicKey::new(certificate.public_key().clone(), "");
        Ok(Self { certificate, key })
    }

    /// The certified key.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// What the library read.
    pub(super) const fn parsed(&self) -> &Certificate {
        &self.certificate
    }

    /// True if this is exactly that certificate.
    pub(super) fn is(&self, key: &KeyData) -> bool {
        key.certificate().is_some_and(|other| *other == self.certificate)
    }

    /// The certified key as one that could be enrolled.
    ///
    /// # Errors
    /// [`CertificateRefusal::Key`] if it cannot be written as text.
    pub fn enrolment_key(&self) -> Result<EnrolmentKey, CertificateRefusal> {
        let line = self.key.to_openssh().map_err(|_| CertificateRefusal::Malformed)?;
        EnrolmentKey::parse(&line).map_err(CertificateRefusal::Key)
    }
}

impl Authorities {
    /// Trusts the keys of these lines, each one line of a `.pub` file.
    ///
    /// # Errors
    /// The line's number from 1 and what is wrong with it: an authority must keep the rules for keys itself.
    pub fn new(
        lines: &[String],
        krl: Option<PathBuf>,
        lifetime_max: SignedDuration,
    ) -> Result<Self, (usize, KeyRefusal)> {
        let read = |(place, line): (usize, &String)| {
            EnrolmentKey::parse(line)
                .map(|key| key.public_key.key_data().clone())
                .map_err(|refusal| (place + 1, refusal))
        };
        let keys = lines.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { keys, krl, lifetime_max, krl_version: Mutex::new(0) })
    }

    /// Trusts nobody.
    #[must_use]
    pub fn none() -> Self {
        Self { keys: Vec::new(), krl: None, lifetime_max: SignedDuration::ZERO, krl_version: Mutex::new(0) }
    }

    /// True if certificates are taken at all.
    #[must_use]
    pub fn any(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Judges a certificate for somebody who may be named in these ways. Reads the revocation list anew each time, so a
    /// new one counts from the next login on; it may block for as long as the disk does.
    ///
    /// # Errors
    /// Each [`CertificateRefusal`] under its condition.
    pub fn judge(
        &self,
        presented: &UserCertificate,
        allowed: &[String],
        now: Timestamp,
    ) -> Result<Vouched, CertificateRefusal> {
        let certificate = &presented.certificate;
        if !self.any() {
            return Err(CertificateRefusal::None);
        }
        // The authority first: until its signature was right, the rest is anybody's word.
        if !self.keys.contains(certificate.signature_key()) {
            return Err(CertificateRefusal::Authority);
        }
        check_signature(certificate)?;
        let verify_required = check_options(certificate)?;
        let (from, until) = self.check_times(certificate)?;
        if now < from {
            return Err(CertificateRefusal::NotYet);
        }
        if until <= now {
            return Err(CertificateRefusal::Expired);
        }
        let key_id = certificate.key_id();
        if key_id.len() > KEY_ID_LEN_MAX || key_id.chars().any(char::is_control) {
            return Err(CertificateRefusal::KeyId);
        }
        let principals = certificate.valid_principals();
        if principals.is_empty() {
            return Err(CertificateRefusal::NoPrincipal);
        }
        // Literally: a principal is no pattern.
        if !principals.iter().any(|principal| allowed.contains(principal)) {
            return Err(CertificateRefusal::Principal);
        }
        if self.revokes(presented)? {
            return Err(CertificateRefusal::Revoked);
        }
        Ok(Vouched {
            authority: sshsig::fingerprint(&PublicKey::new(certificate.signature_key().clone(), "")),
            key_id: key_id.to_owned(),
            serial: certificate.serial(),
            principals: principals.to_vec(),
            until,
            verify_required,
        })
    }

    /// True if the revocation list names the certificate, its key or its authority; false without a list.
    ///
    /// # Errors
    /// [`CertificateRefusal::Krl`] if there is to be a list and it cannot be read, or is older than one seen before.
    pub fn revokes(&self, presented: &UserCertificate) -> Result<bool, CertificateRefusal> {
        let Some(krl) = self.list()? else { return Ok(false) };
        krl.names(presented).map_err(CertificateRefusal::Krl)
    }

    /// Reads the list of revoked keys; nothing if there is to be none.
    ///
    /// # Errors
    /// As [`Authorities::revokes`].
    pub fn list(&self) -> Result<Option<Krl>, CertificateRefusal> {
        let Some(path) = &self.krl else { return Ok(None) };
        let krl = Krl::read(path).map_err(CertificateRefusal::Krl)?;
        let mut seen = self.krl_version.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if krl.version() < *seen {
            return Err(CertificateRefusal::Krl(KrlError::Older { version: krl.version(), seen: *seen }));
        }
        *seen = krl.version();
        Ok(Some(krl))
    }

    fn check_times(&self, certificate: &Certificate) -> Result<(Timestamp, Timestamp), CertificateRefusal> {
        let time = |seconds: u64| i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
        let from = time(certificate.valid_after()).ok_or(CertificateRefusal::NotYet)?;
        // For ever is all ones: no time at all.
        let until = time(certificate.valid_before()).ok_or(CertificateRefusal::Lifetime)?;
        let most = self.lifetime_max + SignedDuration::from_secs(ROUNDING_S);
        if until.duration_since(from) > most { Err(CertificateRefusal::Lifetime) } else { Ok((from, until)) }
    }
}

/// The authority's signature, with SHA-2 only.
fn check_signature(certificate: &Certificate) -> Result<(), CertificateRefusal> {
    let refused = || CertificateRefusal::Signature;
    let signature = certificate.signature();
    match (certificate.signature_key(), signature.algorithm()) {
        (KeyData::Rsa(key), Algorithm::Rsa { hash: Some(hash) }) => {
            // What is signed is everything before the signature, which stands in a string of its own.
            let bytes = certificate.to_bytes().map_err(|_| refused())?;
            let tail = 4 + 4 + signature.algorithm().as_str().len() + 4 + signature.as_bytes().len();
            let signed = bytes.len().checked_sub(tail).and_then(|len| bytes.get(..len)).ok_or_else(refused)?;
            sshsig::rsa_holds(key, hash, signed, signature.as_bytes()).map_err(|_| refused())
        }
        (KeyData::Rsa(_), _) => Err(refused()),
        _ => certificate.verify_signature().map_err(|_| refused()),
    }
}

/// True if the certificate asks for a PIN or a finger. Every other critical option is a restriction that we cannot keep
/// (`force-command` has no meaning here, `source-address` no address to look at), so it refuses the login. Extensions only
/// permit, and none of what they permit exists here.
fn check_options(certificate: &Certificate) -> Result<bool, CertificateRefusal> {
    let mut verify_required = false;
    for (name, value) in certificate.critical_options().iter() {
        match (name.as_str(), value.as_str()) {
            (VERIFY_REQUIRED, "") => verify_required = true,
            _ => return Err(CertificateRefusal::CriticalOption),
        }
    }
    Ok(verify_required)
}

#[cfg(test)]
#[path = "certificate_tests.rs"]
mod tests;
