//! A private key in a file. What the library cannot do with it (security keys, very long RSA keys, old formats) is done
//! by `ssh-keygen`.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ssh_key::private::{KeypairData, PrivateKey};
use ssh_key::{HashAlg, LineEnding, PublicKey};
use strongroom_proto::client::{SignError, Signer};
use zeroize::Zeroizing;

use super::envelope::{armoured, signed_data};
use super::keygen::needs_touch;
use super::{KeygenSigner, Person, rsa};

const FILE_LEN_MAX: u64 = 64 * 1024;
const GROUP_AND_OTHERS: u32 = 0o077;
const PASSPHRASE_TRIES: u32 = 3;

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read.
    #[error("cannot read the key file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Others may read the file.
    #[error("others may read the private key {path}: run \"chmod 600\" on it")]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// Neither this program nor, without its .pub file, ssh-keygen can use the file.
    #[error("{path} is no OpenSSH private key: convert it with \"ssh-keygen -p -f\", or put its .pub file beside it")]
    Format {
        /// The file.
        path: PathBuf,
    },
}

/// Signs with a private key in a file. The key is read for each signature and wiped after it; an encrypted one asks for
/// its passphrase each time, unless it was kept: there is the ssh-agent for those who want it remembered for longer.
pub struct KeyFile {
    path: PathBuf,
    public_key: PublicKey,
    encrypted: bool,
    keygen: KeygenSigner,
    readable: bool,
    person: Arc<dyn Person>,
    kept: Option<PrivateKey>,
}

impl KeyFile {
    /// Looks at a key file without asking for its passphrase.
    ///
    /// # Errors
    /// Each [`KeyFileError`] under its condition.
    pub fn open(path: &Path, person: Arc<dyn Person>) -> Result<Self, KeyFileError> {
        let text = read(path)?;
        let (public_key, encrypted, readable) = match PrivateKey::from_openssh(text.as_bytes()) {
            Ok(key) => {
                let readable = !needs_touch(key.public_key());
                (key.public_key().clone(), key.is_encrypted(), readable)
            }
            Err(_) if text.contains("PRIVATE KEY-----") => {
                let public = public_beside(path).ok_or_else(|| KeyFileError::Format { path: path.to_owned() })?;
                (public, false, false)
            }
            Err(_) => return Err(KeyFileError::Format { path: path.to_owned() }),
        };
        let keygen = KeygenSigner::new(path, public_key.clone(), Arc::clone(&person));
        Ok(Self { path: path.to_owned(), public_key, encrypted, keygen, readable, person, kept: None })
    }

    /// True if signing will ask for something: a passphrase, a PIN or a touch.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.encrypted || !self.readable
    }

    /// Asks for the passphrase now if there is one, and keeps the key as long as this value lives.
    ///
    /// # Errors
    /// [`SignError`] if nobody can be asked or no passphrase opens the key.
    pub fn unlock_and_keep(&mut self) -> Result<(), SignError> {
        if self.encrypted && self.readable {
            self.kept = Some(self.unlock()?);
        }
        Ok(())
    }

    fn unlock(&self) -> Result<PrivateKey, SignError> {
        let text = read(&self.path).map_err(|error| SignError(error.to_string()))?;
        let key = PrivateKey::from_openssh(text.as_bytes())
            .map_err(|_| SignError(format!("the key file {} has changed", self.path.display())))?;
        if key.public_key().key_data() != self.public_key.key_data() {
            return Err(SignError(format!("the key file {} has changed", self.path.display())));
        }
        if !key.is_encrypted() {
            return Ok(key);
        }
        for _ in 0..PASSPHRASE_TRIES {
            let question = format!("Passphrase for {}: ", self.path.display());
            let passphrase = self.person.passphrase(&question).map_err(|error| {
                SignError(format!(
                    "{} needs a passphrase and there is no terminal to ask on ({error}): use ssh-agent",
                    self.path.display()
                ))
            })?;
            match key.decrypt(passphrase.as_bytes()) {
                Ok(key) => return Ok(key),
                Err(ssh_key::Error::Crypto) => {}
                // ssh-key cannot read one P-256 key in 256, whose scalar begins with a zero byte: no passphrase helps.
                Err(_) => {
                    return Err(SignError(format!(
                        "{} opens, but its content is not understood: add it to ssh-agent",
                        self.path.display()
                    )));
                }
            }
        }
        Err(SignError(format!("the passphrase does not open {}", self.path.display())))
    }
}

impl Signer for KeyFile {
    fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    fn sign(&self, namespace: &str, text: &[u8]) -> Result<String, SignError> {
        if !self.readable {
            return self.keygen.sign(namespace, text);
        }
        let unlocked;
        let key = if let Some(kept) = &self.kept {
            kept
        } else {
            unlocked = self.unlock()?;
            &unlocked
        };
        if let KeypairData::Rsa(pair) = key.key_data() {
            let Some(signature) = rsa::sign(pair, &signed_data(namespace, text)) else {
                return self.keygen.sign(namespace, text);
            };
            let blob = self.public_key.to_bytes().map_err(|_| cannot(&self.path))?;
            return Ok(armoured(&blob, namespace, &signature));
        }
        let signature = key.sign(namespace, HashAlg::Sha512, text).map_err(|_| cannot(&self.path))?;
        signature.to_pem(LineEnding::LF).map_err(|_| cannot(&self.path))
    }
}

fn cannot(path: &Path) -> SignError {
    SignError(format!("keys like {} cannot sign here: make an Ed25519 key", path.display()))
}

fn read(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let failed = |source| KeyFileError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.mode() & GROUP_AND_OTHERS != 0 {
        return Err(KeyFileError::Open { path: path.to_owned() });
    }
    // Sized first, so that the text doesn't move while it grows and leave a copy behind.
    let len = metadata.len().min(FILE_LEN_MAX);
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(len).unwrap_or(0) + 1));
    file.take(FILE_LEN_MAX).read_to_string(&mut text).map_err(|source| match source.kind() {
        io::ErrorKind::InvalidData => KeyFileError::Format { path: path.to_owned() },
        _ => failed(source),
    })?;
    Ok(text)
}

/// The public key beside a private one.
pub(super) fn public_beside(path: &Path) -> Option<PublicKey> {
    let mut public = path.as_os_str().to_owned();
    public.push(".pub");
    PublicKey::read_openssh_file(Path::new(&public)).ok()
}

#[cfg(test)]
#[path = "key_file_tests.rs"]
mod tests;
