//! Strongroom front end.

pub mod login;
