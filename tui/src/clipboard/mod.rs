//! Codes into the clipboard, and out of it again. The first way that works is taken: the desktop's own clipboard, marked
//! as secret; tmux; GNU screen; the terminal itself (OSC 52). What only travels towards a terminal is never called copied:
//! nobody acknowledges it.

mod board;
mod keeper;
mod linger;
mod native;
mod osc52;
mod tmux;

use std::io;
use std::str::FromStr;
use std::time::Duration;

pub use keeper::Keeper;
pub use linger::{SUBCOMMAND, copy_secret, linger};

/// Longest time a code stays in the clipboard.
const KEPT_MAX: Duration = Duration::from_secs(30);
/// How much longer than its own life a code stays in it: somebody may be pasting.
const KEPT_AFTER: Duration = Duration::from_secs(10);

/// How long a code that lives `lifetime` stays in the clipboard: until ten seconds after its end, at most 30 s.
#[must_use]
pub fn kept_for(lifetime: Duration) -> Duration {
    lifetime.saturating_add(KEPT_AFTER).min(KEPT_MAX)
}

/// What became of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// It is in the clipboard.
    Placed,
    /// It was sent to the terminal, which may or may not have taken it.
    Sent,
}

/// Which way codes go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Provider {
    /// The first that works.
    #[default]
    Auto,
    /// The desktop's clipboard.
    Native,
    /// tmux's way to the terminal around it.
    Tmux,
    /// The terminal around GNU screen.
    Screen,
    /// The terminal.
    Osc52,
    /// Nothing is copied.
    None,
}

/// A word that names no provider.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a clipboard provider is one of auto, native, tmux, screen, osc52, none")]
pub struct UnknownProvider;

impl FromStr for Provider {
    type Err = UnknownProvider;

    fn from_str(text: &str) -> Result<Self, UnknownProvider> {
        Ok(match text {
            "auto" => Self::Auto,
            "native" => Self::Native,
            "tmux" => Self::Tmux,
            "screen" => Self::Screen,
            "osc52" => Self::Osc52,
            "none" => Self::None,
            _ => return Err(UnknownProvider),
        })
    }
}

/// Why a code was not copied. No message holds the code.
#[derive(Debug, thiserror::Error)]
pub enum ClipboardError {
    /// The settings say so.
    #[error("copying is turned off")]
    Off,
    /// The desktop's clipboard refused.
    #[error("the desktop's clipboard cannot be used")]
    Native(#[source] arboard::Error),
    /// tmux refused.
    #[error("tmux did not take it")]
    Tmux(#[source] io::Error),
    /// The terminal cannot be written to.
    #[error("the terminal cannot be written to")]
    Terminal(#[source] io::Error),
    /// The process that keeps the code for the command line did not start or did not answer.
    #[error("the process that keeps the clipboard failed")]
    Keeper(#[source] io::Error),
    /// The process that keeps the code could not copy it; its sentence.
    #[error("{0}")]
    Refused(String),
}
