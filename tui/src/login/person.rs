//! What signing may ask of a person.

use std::fs::OpenOptions;
use std::io::{self, Write as _};

use zeroize::Zeroizing;

use super::mute::ask_hidden;

/// The person at the key.
pub trait Person: Send + Sync {
    /// Tells that the key named here waits for a touch.
    fn touch(&self, key: &str);

    /// Asks for a passphrase.
    ///
    /// # Errors
    /// If there is nobody to ask.
    fn passphrase(&self, question: &str) -> io::Result<Zeroizing<String>>;
}

/// The person at the controlling terminal. Asks on `/dev/tty` only, so that a passphrase is never taken from a pipe and
/// a question never lands in one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminal;

impl Person for Terminal {
    fn touch(&self, key: &str) {
        if let Ok(mut terminal) = OpenOptions::new().write(true).open("/dev/tty") {
            let _ = writeln!(terminal, "Touch your security key {key} …");
        }
    }

    fn passphrase(&self, question: &str) -> io::Result<Zeroizing<String>> {
        ask_hidden(question)
    }
}
