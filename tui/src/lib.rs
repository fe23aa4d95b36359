//! Strongroom's front end: the command line, the full-screen view and the importers, built on `strongroom-proto` alone.

pub mod cli;
pub mod import;
pub mod login;
pub mod settings;
