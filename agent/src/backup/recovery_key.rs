//! Where a ceremony gets the recovery key from: standard input, once. Never a file of this machine, an argument or the
//! environment.

use std::io::{IsTerminal as _, Read as _};

use anyhow::{Context as _, bail};
use zeroize::Zeroizing;

use crate::recovery::RecoveryIdentity;

/// Longest input, in bytes: an `age-keygen` file takes some 200.
const INPUT_LEN_MAX: usize = 4096;

/// Reads the recovery key from standard input: piped in, or typed at a muted prompt. Its memory is wiped with it.
///
/// # Errors
/// If there is no readable input or it is no recovery key.
pub fn read_recovery_key() -> anyhow::Result<RecoveryIdentity> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        let text = crate::prompt::ask_hidden("Recovery key (AGE-SECRET-KEY-1...): ")?;
        return Ok(RecoveryIdentity::parse(&text)?);
    }
    // A buffer that never grows: growing would leave the key behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(INPUT_LEN_MAX + 1));
    let mut piece = Zeroizing::new([0; 512]);
    let mut input = stdin.lock();
    loop {
        let len = input.read(&mut *piece).context("the recovery key cannot be read from standard input")?;
        if len == 0 {
            break;
        }
        if bytes.len() + len > INPUT_LEN_MAX {
            bail!("standard input is longer than a recovery key");
        }
        bytes.extend_from_slice(piece.get(..len).unwrap_or_default());
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| anyhow::anyhow!("standard input is no recovery key"))?;
    Ok(RecoveryIdentity::parse(text)?)
}
