//! The header of an age file: one stanza per recipient and a MAC over all of it.

use std::io::{BufRead, Read};

use base64::prelude::{BASE64_STANDARD_NO_PAD, Engine};

use crate::recovery::OpenError;

pub(super) const VERSION: &[u8] = b"age-encryption.org/v1\n";
pub(super) const END: &[u8] = b"---";
/// Longest header that is read, in bytes: some 500 recipients.
const HEADER_LEN_MAX: u64 = 64 * 1024;
/// Columns of a full line of a stanza's body.
const COLUMNS: usize = 64;

/// An X25519 stanza: the file key, wrapped for somebody.
pub(super) struct Stanza {
    pub(super) share: [u8; 32],
    pub(super) wrapped: [u8; 32],
}

/// A header as it was read; nothing of it is believed before its MAC is checked.
pub(super) struct Header {
    pub(super) stanzas: Vec<Stanza>,
    /// What the MAC covers: everything up to and including the three hyphens.
    pub(super) covered: Vec<u8>,
    pub(super) mac: [u8; 32],
}

/// Reads a header and leaves `file` at the payload's nonce. Stanzas of other types are passed over, as the format demands.
pub(super) fn read(file: &mut impl BufRead) -> Result<Header, OpenError> {
    let malformed = || OpenError::Malformed("the header");
    let mut file = file.take(HEADER_LEN_MAX);
    let mut covered = Vec::new();
    let mut line = |covered: &mut Vec<u8>| -> Result<Vec<u8>, OpenError> {
        let mut line = Vec::new();
        file.read_until(b'\n', &mut line)?;
        covered.extend_from_slice(&line);
        if line.pop() == Some(b'\n') { Ok(line) } else { Err(OpenError::Malformed("the header")) }
    };
    if line(&mut covered)? != VERSION.strip_suffix(b"\n").unwrap_or(VERSION) {
        return Err(OpenError::Malformed("the version line"));
    }
    let mut stanzas = Vec::new();
    loop {
        let start = line(&mut covered)?;
        if let Some(mac) = start.strip_prefix(b"--- ") {
            covered.truncate(covered.len() - start.len() - 1 + END.len());
            return Ok(Header { stanzas, covered, mac: exactly(mac).ok_or_else(malformed)? });
        }
        let arguments = start.strip_prefix(b"-> ").ok_or_else(malformed)?;
        let visible = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_graphic);
        let arguments: Vec<&[u8]> = arguments.split(|byte| *byte == b' ').collect();
        if !arguments.iter().all(|part| visible(part)) {
            return Err(malformed());
        }
        let mut body = Vec::new();
        loop {
            let text = line(&mut covered)?;
            if text.len() > COLUMNS {
                return Err(malformed());
            }
            body.extend(BASE64_STANDARD_NO_PAD.decode(&text).map_err(|_| malformed())?);
            if text.len() < COLUMNS {
                break;
            }
        }
        if let [b"X25519", rest @ ..] = arguments.as_slice() {
            let [share] = rest else { return Err(malformed()) };
            let share = exactly(share).ok_or_else(malformed)?;
            stanzas.push(Stanza { share, wrapped: body.try_into().map_err(|_| malformed())? });
        }
    }
}

/// 32 bytes in canonical base64 without padding.
fn exactly(text: &[u8]) -> Option<[u8; 32]> {
    BASE64_STANDARD_NO_PAD.decode(text).ok()?.try_into().ok()
}
