//! Strongroom front end.

pub mod clipboard;
pub mod screen;
