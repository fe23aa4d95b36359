//! Which key signs.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ssh_key::PublicKey;
use strongroom_proto::client::{SignError, Signer};
use strongroom_proto::sshsig;

use super::agent_socket::{AgentError, AgentSigner, SshAgent};
use super::certificate::{Certified, Offered};
use super::key_file::{KeyFile, KeyFileError, public_beside};
use super::{Person, SignCommand};

/// Longest public key file that is looked at, in bytes.
const PUBLIC_LEN_MAX: u64 = 16 * 1024;

/// What the user said about the key.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish<'a> {
    /// `STRONGROOM_KEY`: a private key file, or a `.pub` file whose private half is in the ssh-agent or beside it.
    pub key: Option<&'a Path>,
    /// `SSH_AUTH_SOCK`.
    pub ssh_auth_sock: Option<&'a OsStr>,
    /// `--sign-cmd`.
    pub sign_command: Option<&'a str>,
    /// Ask for a key file's passphrase while choosing, once: later nobody can be asked.
    pub ask_now: bool,
}

/// Why no key was chosen.
#[derive(Debug, thiserror::Error)]
pub enum ChooseError {
    /// A signing command without a key: the agent has to be told which key it will see.
    #[error("--sign-cmd needs the public key as well: set STRONGROOM_KEY to its .pub file")]
    CommandWithoutKey,
    /// The `.pub` file cannot be read.
    #[error("{path} is no public key file")]
    Public {
        /// The file.
        path: PathBuf,
    },
    /// The private half is nowhere.
    #[error("the private half of {path} is neither in the ssh-agent nor beside it: run \"ssh-add\"")]
    NotHeld {
        /// The `.pub` file.
        path: PathBuf,
    },
    /// The key file cannot be used.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The key file's passphrase was not given.
    #[error(transparent)]
    Passphrase(#[from] SignError),
    /// No key was named and the ssh-agent is of no use.
    #[error("no key to log in with: set STRONGROOM_KEY to a key file, or use an ssh-agent ({0})")]
    Agent(#[source] AgentError),
    /// No key was named and the ssh-agent has none that can be used. A locked agent looks the same.
    #[error("no key to log in with: the ssh-agent holds none that can be used here, or is locked")]
    NoneHeld,
    /// No key was named and the ssh-agent has several. None is tried by chance: a wrong one is a failed login.
    #[error("the ssh-agent holds several keys; set STRONGROOM_KEY to the .pub file of one of them: {}", .0.join(", "))]
    Several(Vec<String>),
}

/// Chooses the key: the signing command's, else the named file's, else the only one in the ssh-agent. A named key that
/// would ask for a passphrase or PIN is taken from the ssh-agent if it is there.
///
/// # Errors
/// Each [`ChooseError`] under its condition.
pub fn choose(wish: Wish<'_>, person: Arc<dyn Person>) -> Result<Box<dyn Signer>, ChooseError> {
    let agent = SshAgent::named(wish.ssh_auth_sock);
    match (wish.sign_command, wish.key) {
        (Some(_), None) => Err(ChooseError::CommandWithoutKey),
        (Some(command), Some(path)) => {
            let named = Offered::in_file(path);
            let public = named.as_ref().map(|offered| offered.key().clone());
            let public = public.or_else(|| public_in(path)).or_else(|| public_beside(path));
            let public = public.ok_or_else(|| ChooseError::Public { path: path.to_owned() })?;
            let offered = named.or_else(|| Offered::beside(path, &public));
            Ok(with_certificate(Box::new(SignCommand::new(command, public)), offered))
        }
        (None, Some(path)) if Offered::is_named(path) => by_certificate_file(path, agent, wish.ask_now, person),
        (None, Some(path)) => match public_in(path) {
            Some(public) => by_public_file(path, &public, agent, wish.ask_now, person),
            None if path.extension() == Some(OsStr::new("pub")) => Err(ChooseError::Public { path: path.to_owned() }),
            None => by_private_file(path, agent, wish.ask_now, person),
        },
        (None, None) => only_one(&agent.map_err(ChooseError::Agent)?, &person),
    }
}

/// By a `-cert.pub` file: the key is beside it or in the ssh-agent, and the certificate is offered though it may have ended:
/// then the agent's refusal tells.
fn by_certificate_file(
    path: &Path,
    agent: Result<SshAgent, AgentError>,
    ask_now: bool,
    person: Arc<dyn Person>,
) -> Result<Box<dyn Signer>, ChooseError> {
    let offered = Offered::in_file(path).ok_or_else(|| ChooseError::Public { path: path.to_owned() })?;
    let signer = match held(agent, offered.key(), &person) {
        Some(signer) => signer,
        None => match offered.private_beside(path) {
            Some(private) => from_file(KeyFile::open(&private, person)?, ask_now)?,
            None => return Err(ChooseError::NotHeld { path: path.to_owned() }),
        },
    };
    Ok(with_certificate(signer, Some(offered)))
}

/// The signer with a certificate to offer beside its key, unless it knows one itself.
fn with_certificate(signer: Box<dyn Signer>, offered: Option<Offered>) -> Box<dyn Signer> {
    match offered {
        Some(offered) if offered.key().key_data() == signer.public_key().key_data() => {
            Box::new(Certified { signer, offered })
        }
        _ => signer,
    }
}

fn by_public_file(
    path: &Path,
    public: &PublicKey,
    agent: Result<SshAgent, AgentError>,
    ask_now: bool,
    person: Arc<dyn Person>,
) -> Result<Box<dyn Signer>, ChooseError> {
    let offered = Offered::beside(path, public);
    if let Some(signer) = held(agent, public, &person) {
        return Ok(with_certificate(signer, offered));
    }
    let private = path.with_extension("");
    if path.extension() == Some(OsStr::new("pub")) && private.is_file() {
        return Ok(with_certificate(from_file(KeyFile::open(&private, person)?, ask_now)?, offered));
    }
    Err(ChooseError::NotHeld { path: path.to_owned() })
}

fn by_private_file(
    path: &Path,
    agent: Result<SshAgent, AgentError>,
    ask_now: bool,
    person: Arc<dyn Person>,
) -> Result<Box<dyn Signer>, ChooseError> {
    let file = KeyFile::open(path, Arc::clone(&person))?;
    let offered = Offered::beside(path, file.public_key());
    if file.asks()
        && let Some(signer) = held(agent, file.public_key(), &person)
    {
        return Ok(with_certificate(signer, offered));
    }
    Ok(with_certificate(from_file(file, ask_now)?, offered))
}

fn from_file(mut file: KeyFile, ask_now: bool) -> Result<Box<dyn Signer>, ChooseError> {
    if ask_now {
        file.unlock_and_keep()?;
    }
    Ok(Box::new(file))
}

/// The key's signer in the ssh-agent, if there is one and it holds the key.
fn held(agent: Result<SshAgent, AgentError>, public: &PublicKey, person: &Arc<dyn Person>) -> Option<Box<dyn Signer>> {
    let signers = AgentSigner::all(&agent.ok()?, person).ok()?;
    let signer = signers.into_iter().find(|signer| signer.public_key().key_data() == public.key_data())?;
    Some(Box::new(signer))
}

fn only_one(agent: &SshAgent, person: &Arc<dyn Person>) -> Result<Box<dyn Signer>, ChooseError> {
    let mut signers = AgentSigner::all(agent, person).map_err(ChooseError::Agent)?;
    match (signers.pop(), signers.is_empty()) {
        (None, _) => Err(ChooseError::NoneHeld),
        (Some(signer), true) => Ok(Box::new(signer)),
        (Some(last), false) => {
            signers.push(last);
            let names = signers.iter().map(|signer| sshsig::fingerprint(signer.public_key()));
            Err(ChooseError::Several(names.collect()))
        }
    }
}

/// The key in a public key file; `None` if it is none.
fn public_in(path: &Path) -> Option<PublicKey> {
    if fs::metadata(path).ok()?.len() > PUBLIC_LEN_MAX {
        return None;
    }
    PublicKey::read_openssh_file(path).ok()
}

#[cfg(test)]
#[path = "choose_tests.rs"]
mod tests;
