//! Strongroom agent.

pub mod keystore;
pub mod otp;
pub mod pin;
pub mod recovery;
