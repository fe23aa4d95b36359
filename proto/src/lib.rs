//! The agreed bytes and words of Strongroom.
//!
//! What the agent and its clients must agree on lives here and only here: the JSON-RPC types of every method, the error
//! kinds, ids, the login texts that SSH keys sign, the audit record, its Merkle log, checkpoints and their verifier, and
//! the helper that opens a connection. `PROTOCOL.md` beside this package is the same for people.
//!
//! This room never touches the token, the store or a terminal.

pub mod agent_key;
pub mod audit;
pub mod ceremony;
pub mod client;
pub mod encoding;
pub mod error;
pub mod frame;
pub mod ids;
pub mod login;
pub mod method;
pub mod pending;
pub mod policy;
pub mod request;
pub mod rpc;
pub mod sshsig;
pub mod words;
