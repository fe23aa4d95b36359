//! The technician's key: in an ssh-agent, in a file, on a security key, or behind a command. Each becomes a
//! [`Signer`](strongroom_proto::client::Signer); what is signed is decided elsewhere.

mod agent_socket;
mod certificate;
mod child;
mod choose;
mod envelope;
mod key_file;
mod keygen;
mod mute;
mod person;
mod rsa;
mod sign_command;

pub use agent_socket::{AgentError, AgentKey, AgentSigner, SshAgent};
pub use choose::{ChooseError, Wish, choose};
pub use key_file::{KeyFile, KeyFileError};
pub use keygen::KeygenSigner;
pub use mute::ask_hidden;
pub use person::{Person, Terminal};
pub use sign_command::SignCommand;

#[cfg(test)]
mod test_keys;
