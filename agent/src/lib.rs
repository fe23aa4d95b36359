//! Strongroom's daemon. A request's story gives the rooms: `server` (bytes to calls), `handler` (one thin file per method
//! family), `identity` (who), `access` (may they: pure decisions), `keystore` (the token), `commands` and `store` (what a
//! call changes, durably), `audit` (checkpoints and anchors). ARCHITECTURE.md has the map and what each must never know.

pub mod access;
pub mod audit;
pub mod backup;
pub mod commands;
pub mod config;
pub mod doctor;
mod erasing;
pub mod handler;
pub mod identity;
pub mod init;
pub mod keystore;
mod login_section;
pub mod os;
pub mod otp;
pub mod pin;
mod prompt;
mod pruning;
pub mod reconcile;
pub mod recovery;
pub mod run;
pub mod second;
pub mod server;
pub mod session;
pub mod state;
pub mod store;
pub mod streams;
mod token_section;
mod upkeep;
pub mod voice;
pub mod witness;
