//! Strongroom front end.
