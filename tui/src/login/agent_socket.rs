//! A client of the ssh-agent (RFC 9987), on opaque bytes. One odd key in an agent must not hide the others, so a key is
//! only understood when it is to be used.

use std::ffi::OsStr;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ssh_key::{Algorithm, PublicKey};
use strongroom_proto::client::{SignError, Signer};
use strongroom_proto::sshsig;

use super::Person;
use super::certificate::Offered;
use super::child::SIGN_TIMEOUT;
use super::envelope::{armoured, put, signed_data, take};
use super::keygen::needs_touch;

const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
/// Asks for SHA-512 with RSA keys (RFC 9987 §3.6.1); without it an agent signs with SHA-1.
const RSA_SHA2_512: u32 = 4;
const REPLY_LEN_MAX: usize = 256 * 1024;
const KEYS_MAX: u32 = 2048;
const LIST_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the ssh-agent was of no use.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// No agent is named.
    #[error("no ssh-agent is running here: SSH_AUTH_SOCK is not set")]
    NotSet,
    /// The agent cannot be reached.
    #[error("cannot talk to the ssh-agent at {path}: {source}")]
    Socket {
        /// Its socket.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// No answer in time.
    #[error("the ssh-agent did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The agent refused to sign.
    #[error(
        "the ssh-agent refused to sign: the key was not confirmed or touched, is locked or expired, or is restricted to \
         destinations (ssh-add -h)"
    )]
    Refused,
    /// The answer breaks the protocol.
    #[error("the ssh-agent's answer does not fit its protocol")]
    Protocol,
}

/// A key that an agent offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentKey {
    /// The public key in SSH wire form, exactly as the agent gave it.
    pub blob: Vec<u8>,
    /// Its comment; anything.
    pub comment: Vec<u8>,
}

/// An ssh-agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshAgent {
    path: PathBuf,
}

impl SshAgent {
    /// The agent at a socket.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The agent that `SSH_AUTH_SOCK` names.
    ///
    /// # Errors
    /// [`AgentError::NotSet`] if it names none.
    pub fn named(ssh_auth_sock: Option<&OsStr>) -> Result<Self, AgentError> {
        match ssh_auth_sock {
            Some(path) if !path.is_empty() => Ok(Self::at(Path::new(path))),
            _ => Err(AgentError::NotSet),
        }
    }

    /// The keys it offers. A locked agent offers none.
    ///
    /// # Errors
    /// Every [`AgentError`] but [`AgentError::NotSet`].
    pub fn keys(&self) -> Result<Vec<AgentKey>, AgentError> {
        let reply = self.ask(&[REQUEST_IDENTITIES], IDENTITIES_ANSWER, LIST_TIMEOUT)?;
        let (count, mut rest) = reply.split_first_chunk::<4>().ok_or(AgentError::Protocol)?;
        let count = u32::from_be_bytes(*count);
        if count > KEYS_MAX {
            return Err(AgentError::Protocol);
        }
        let mut keys = Vec::new();
        for _ in 0..count {
            let blob = take(&mut rest).ok_or(AgentError::Protocol)?.to_vec();
            let comment = take(&mut rest).ok_or(AgentError::Protocol)?.to_vec();
            keys.push(AgentKey { blob, comment });
        }
        Ok(keys)
    }

    /// Signs data with one of its keys: the signature in SSH wire form.
    fn sign(&self, blob: &[u8], data: &[u8], flags: u32) -> Result<Vec<u8>, AgentError> {
        let mut request = vec![SIGN_REQUEST];
        put(&mut request, blob);
        put(&mut request, data);
        request.extend_from_slice(&flags.to_be_bytes());
        let reply = self.ask(&request, SIGN_RESPONSE, SIGN_TIMEOUT)?;
        let mut rest = reply.as_slice();
        take(&mut rest).map(<[u8]>::to_vec).ok_or(AgentError::Protocol)
    }

    /// Sends one message on a connection of its own and returns the body of the answer.
    fn ask(&self, request: &[u8], expected: u8, limit: Duration) -> Result<Vec<u8>, AgentError> {
        let exchange = || -> io::Result<Vec<u8>> {
            let mut stream = UnixStream::connect(&self.path)?;
            stream.set_read_timeout(Some(limit))?;
            stream.set_write_timeout(Some(LIST_TIMEOUT))?;
            let mut frame = Vec::new();
            put(&mut frame, request);
            stream.write_all(&frame)?;
            let mut len = [0; 4];
            stream.read_exact(&mut len)?;
            let len = u32::from_be_bytes(len) as usize;
            if len == 0 || len > REPLY_LEN_MAX {
                return Err(ErrorKind::InvalidData.into());
            }
            let mut reply = vec![0; len];
            stream.read_exact(&mut reply)?;
            Ok(reply)
        };
        let mut reply = exchange().map_err(|source| match source.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => AgentError::Timeout(limit),
            ErrorKind::InvalidData => AgentError::Protocol,
            _ => AgentError::Socket { path: self.path.clone(), source },
        })?;
        match reply.first() {
            Some(kind) if *kind == expected => {
                reply.remove(0);
                Ok(reply)
            }
            Some(&FAILURE) => Err(AgentError::Refused),
            _ => Err(AgentError::Protocol),
        }
    }
}

/// Signs with a key that an ssh-agent holds.
pub struct AgentSigner {
    agent: SshAgent,
    /// What the agent knows the key by: the key itself, or a certificate where it holds the key only with one.
    name: Vec<u8>,
    blob: Vec<u8>,
    public_key: PublicKey,
    certificate: Option<Offered>,
    person: Arc<dyn Person>,
}

impl AgentSigner {
    /// Signs with this key of the agent, or with the key of this certificate. `None` if the key is of a kind that Strongroom
    /// does not know.
    #[must_use]
    pub fn new(agent: &SshAgent, key: &AgentKey, person: Arc<dyn Person>) -> Option<Self> {
        let certificate = Offered::from_bytes(&key.blob);
        let (public_key, blob) = match &certificate {
            Some(certificate) => (certificate.key().clone(), certificate.key().to_bytes().ok()?),
            None => (PublicKey::from_bytes(&key.blob).ok()?, key.blob.clone()),
        };
        let known = match public_key.algorithm() {
            Algorithm::Dsa | Algorithm::Other(_) => false,
            _ => !public_key.key_data().is_certificate(),
        };
        let (agent, name) = (agent.clone(), key.blob.clone());
        known.then(|| Self { agent, name, blob, public_key, certificate, person })
    }

    /// The keys of an agent, each once: with a certificate of it that is valid now, if the agent has one.
    ///
    /// # Errors
    /// Those of [`SshAgent::keys`].
    pub fn all(agent: &SshAgent, person: &Arc<dyn Person>) -> Result<Vec<Self>, AgentError> {
        let mut found: Vec<Self> = Vec::new();
        let offered = agent.keys()?;
        for signer in offered.iter().filter_map(|key| Self::new(agent, key, Arc::clone(person))) {
            match found.iter_mut().find(|other| other.blob == signer.blob) {
                Some(known) => known.merge(signer),
                None => found.push(signer),
            }
        }
        // A key that the agent knows only by a certificate which has ended is of no use: it may be no key for anything else.
        let now = SystemTime::now();
        for signer in &mut found {
            signer.certificate = signer.certificate.take().filter(|certificate| certificate.is_valid(now));
        }
        Ok(found)
    }

    /// Takes over what the same key under another name is good for.
    fn merge(&mut self, other: Self) {
        if other.certificate.is_none() {
            // The plain key: agents that hold both sign with either.
            self.name = other.name;
        }
        let now = SystemTime::now();
        let lasts = |certificate: &Option<Offered>| certificate.as_ref().map(|offered| offered.lasts(now));
        if lasts(&other.certificate) > lasts(&self.certificate) {
            self.certificate = other.certificate;
        }
    }
}

impl Signer for AgentSigner {
    fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    fn certificate(&self) -> Option<&str> {
        self.certificate.as_ref().map(Offered::line)
    }

    fn sign(&self, namespace: &str, text: &[u8]) -> Result<String, SignError> {
        if needs_touch(&self.public_key) {
            self.person.touch(&sshsig::fingerprint(&self.public_key));
        }
        let flags = if self.public_key.key_data().is_rsa() { RSA_SHA2_512 } else { 0 };
        let signature = self
            .agent
            .sign(&self.name, &signed_data(namespace, text), flags)
            .map_err(|error| SignError(error.to_string()))?;
        Ok(armoured(&self.blob, namespace, &signature))
    }
}

#[cfg(test)]
#[path = "agent_socket_tests.rs"]
mod tests;
