//! OSC 52: a control sequence that asks a terminal to take text into its clipboard. It works through SSH, is not answered,
//! and cannot say that the text is a secret.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

/// Where the sequence goes.
pub(super) enum Sink {
    /// Standard output; its lock keeps the sequence out of the middle of a frame.
    Stdout,
    /// The terminal opened by name, kept open because a later session has none.
    Terminal(std::fs::File),
    /// There is no terminal.
    Absent,
}

impl Sink {
    /// Writes one sequence in one piece.
    pub(super) fn send(&mut self, sequence: &str) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(sequence.as_bytes())?;
                out.flush()
            }
            Self::Terminal(file) => file.write_all(sequence.as_bytes()),
            Self::Absent => Err(io::Error::from(io::ErrorKind::NotFound)),
        }
    }
}

/// The sequence that sets the clipboard; the empty text clears it.
pub(super) fn sequence(text: &str) -> Zeroizing<String> {
    let encoded = Zeroizing::new(BASE64.encode(text));
    Zeroizing::new(["\x1b]52;c;", &encoded, "\x07"].concat())
}

/// The same wrapped for GNU screen, which hands a device control string on to the terminal around it.
pub(super) fn wrapped_for_screen(text: &str) -> Zeroizing<String> {
    Zeroizing::new(["\x1bP", &sequence(text), "\x1b\\"].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequences_are_those_that_terminals_know() {
        assert_eq!(*sequence("070443"), "\x1b]52;c;MDcwNDQz\x07");
        assert_eq!(*sequence(""), "\x1b]52;c;\x07");
        assert_eq!(*wrapped_for_screen("070443"), "\x1bP\x1b]52;c;MDcwNDQz\x07\x1b\\");
    }
}
