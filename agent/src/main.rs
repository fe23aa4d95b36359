//! Strongroom agent binary.
fn main() {}
