//! From a MAC to the characters that somebody types: RFC 4226 §5.3, RFC 6238 §4 and Steam's alphabet.
//!
//! One path for both sealing schemes: the token gives a MAC, this room makes a code of it. It knows no seed, no token and
//! no clock.

mod render;
mod window;

pub use render::{Code, render};
pub use window::{Window, window_at};

/// Parameters that no authenticator uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OtpError {
    /// A code has 6 to 10 digits, or 5 characters for Steam.
    #[error("a code of {digits} characters is not possible")]
    Digits {
        /// What was asked for.
        digits: u8,
    },
    /// A window has at least one second.
    #[error("a period of 0 seconds is not possible")]
    Period,
    /// The time is so late that the end of its window cannot be expressed.
    #[error("the time {unix_s} s after 1970 is not possible")]
    Time {
        /// What was asked for.
        unix_s: u64,
    },
}
