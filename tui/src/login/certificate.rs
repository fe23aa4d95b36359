//! OpenSSH certificates that a technician's key has: found beside the key file or in the ssh-agent, and offered beside the
//! key. Whether one is worth anything is for the agent to say; only what has plainly ended is left out.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ssh_key::PublicKey;
use ssh_key::certificate::Certificate;
use strongroom_proto::client::{SignError, Signer};

/// Longest certificate file that is looked at, in bytes.
const FILE_LEN_MAX: u64 = 16 * 1024;
const SUFFIX: &str = "-cert.pub";

/// A user certificate and the key that it certifies.
#[derive(Clone, Debug)]
pub(super) struct Offered {
    certificate: Certificate,
    key: PublicKey,
    line: String,
}

impl Offered {
    fn new(mut certificate: Certificate) -> Option<Self> {
        // The comment is nobody's business.
        certificate.set_comment("");
        let line = certificate.to_openssh().ok()?.trim_end().to_owned();
        let key = PublicKey::new(certificate.public_key().clone(), "");
        certificate.cert_type().is_user().then_some(Self { certificate, key, line })
    }

    /// Reads one as an ssh-agent names it; `None` for anything else.
    pub(super) fn from_bytes(blob: &[u8]) -> Option<Self> {
        Certificate::from_bytes(blob).ok().and_then(Self::new)
    }

    /// True for the name of a certificate file.
    pub(super) fn is_named(path: &Path) -> bool {
        path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(SUFFIX))
    }

    /// Reads a certificate file.
    pub(super) fn in_file(path: &Path) -> Option<Self> {
        if fs::metadata(path).ok()?.len() > FILE_LEN_MAX {
            return None;
        }
        Certificate::from_openssh(fs::read_to_string(path).ok()?.trim()).ok().and_then(Self::new)
    }

    /// The certificate beside a private or public key file, as ssh looks for it, if it is of this key and has not ended.
    pub(super) fn beside(path: &Path, key: &PublicKey) -> Option<Self> {
        let private =
            if path.extension().is_some_and(|end| end == "pub") { path.with_extension("") } else { path.into() };
        let mut name = OsString::from(private);
        name.push(SUFFIX);
        let found = Self::in_file(Path::new(&name))?;
        (found.key.key_data() == key.key_data() && found.is_valid(SystemTime::now())).then_some(found)
    }

    /// The private key file that belongs to a certificate file, if it is there.
    pub(super) fn private_beside(&self, path: &Path) -> Option<PathBuf> {
        let name = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?;
        let private = path.with_file_name(name);
        private.is_file().then_some(private)
    }

    /// The certified key.
    pub(super) fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The line of a `-cert.pub` file.
    pub(super) fn line(&self) -> &str {
        &self.line
    }

    /// True between its beginning and its end.
    pub(super) fn is_valid(&self, now: SystemTime) -> bool {
        self.lasts(now) > 0
    }

    /// How long it is still good, in seconds; 0 if it is not.
    pub(super) fn lasts(&self, now: SystemTime) -> u64 {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if now < self.certificate.valid_after() { 0 } else { self.certificate.valid_before().saturating_sub(now) }
    }
}

/// A signer whose key has a certificate.
pub(super) struct Certified {
    pub(super) signer: Box<dyn Signer>,
    pub(super) offered: Offered,
}

impl Signer for Certified {
    fn public_key(&self) -> &PublicKey {
        self.signer.public_key()
    }

    fn certificate(&self) -> Option<&str> {
        Some(self.offered.line())
    }

    fn sign(&self, namespace: &str, text: &[u8]) -> Result<String, SignError> {
        self.signer.sign(namespace, text)
    }
}
