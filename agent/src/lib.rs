//! Strongroom agent.

pub mod identity;
