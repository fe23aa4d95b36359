//! Strongroom agent.

pub mod identity;
pub mod server;
