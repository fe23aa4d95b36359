//! A client's side of the connection: find the socket, check who serves it, prove who we are, call methods.
//!
//! Terminals, files of private keys and the ssh-agent are elsewhere: they come in as a [`Signer`] and as [`Pins`].

mod connect;
mod connection;
mod known_agents;
mod login;
mod socket_path;
mod step_up;

use std::path::Path;

use ssh_key::PublicKey;

pub use connect::ConnectError;
pub use connection::{CALL_TIMEOUT, CallError, Client, ConnectionError};
pub use known_agents::{KnownAgents, KnownAgentsError, Newcomer};
pub use login::{CLOCK_SKEW_S_MAX, Login, LoginError};
pub use socket_path::{SYSTEM_SOCKET, socket_path};

/// Something that signs for a technician: a key file, an ssh-agent, a command.
pub trait Signer: Send + Sync {
    /// The key that signs.
    fn public_key(&self) -> &PublicKey;

    /// The certificate of that key, as the line of a `-cert.pub` file, if there is one to offer beside it.
    fn certificate(&self) -> Option<&str> {
        None
    }

    /// Signs a text: an armoured SSHSIG with hash sha512. May take as long as a person takes to touch a key.
    ///
    /// # Errors
    /// If the key cannot be used; the sentence says what to do.
    fn sign(&self, namespace: &str, text: &[u8]) -> Result<String, SignError>;
}

/// Why a signer did not sign: one sentence for people, without secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SignError(pub String);

/// The agents that a client trusts.
pub trait Pins: Send + Sync {
    /// Says whether the key of the agent behind `socket` is the one that is trusted there. `agent_key` is
    /// `keytype base64`, `fingerprint` its `SHA256:…`.
    fn check(&self, socket: &Path, agent_key: &str, fingerprint: &str) -> PinVerdict;
}

/// What [`Pins`] say of an agent's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PinVerdict {
    /// It is the trusted one.
    Pinned,
    /// Nobody has pinned a key for this socket.
    Unknown,
    /// Another key is pinned for this socket.
    Mismatch,
    /// The pins could not be read or written: one sentence. Never a reason to go on.
    Unusable(String),
}
