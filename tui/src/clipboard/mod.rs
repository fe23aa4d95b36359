//! Clipboard.

/// x
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// x
    Placed,
    /// x
    Sent,
}
/// x
#[derive(Debug, thiserror::Error)]
pub enum ClipboardError {
    /// x
    #[error("x")]
    None,
}
