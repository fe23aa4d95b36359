//! Backups, and the ways back from them: `backup`, `restore`, `recover`, `drill` and the emergency admin.
//!
//! A backup is one file: a tar archive in age's format, encrypted to the recovery recipients. Its manifest names every
//! file with size and hash and the end of every log, and is signed by the agent identity key. It never holds a PIN.

pub mod archive;
pub(crate) mod beside;
pub mod drill;
pub mod emergency;
mod files;
mod hook;
pub mod make;
pub mod manifest;
pub mod names;
mod pending;
pub mod recover;
pub mod recovery_key;
pub mod restore;
pub mod schedule;
mod token_files;

pub use self::recovery_key::read_recovery_key;
