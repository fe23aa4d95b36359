//! A real pseudo-terminal.
