//! Opening age files. Nothing is given out that was not authenticated first.

use std::io::{self, BufReader, Read};

use ring::aead::{Aad, LessSafeKey};
use ring::hmac;
use zeroize::{Zeroize, Zeroizing};

use super::{
    CHUNK_LEN, FILE_KEY_LEN, FileKey, NONCE_LEN, STANZA_LABEL, TAG_LEN, aead, chunk_nonce, derive, header, header_key,
    payload_key, zero_nonce,
};
use crate::recovery::{OpenError, RecoveryIdentity};

/// Longest file that [`open`] takes, in bytes. Longer ones are read through an [`OpeningReader`].
const FILE_LEN_MAX: usize = 1024 * 1024;

/// Opens a small file of at most 1 MiB in memory.
///
/// # Errors
/// `NotForThisIdentity`, `Altered`, `Malformed`; `TooLong`.
pub fn open(identity: &RecoveryIdentity, file: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    if file.len() > FILE_LEN_MAX {
        return Err(OpenError::TooLong);
    }
    let mut reader = OpeningReader::new(identity, file)?;
    // As long as the file: it never grows, which would leave plaintext behind.
    let mut plain = Zeroizing::new(Vec::with_capacity(file.len()));
    reader.read_to_end(&mut plain)?;
    Ok(plain)
}

/// Opens a file as it is read, in chunks of 64 KiB: memory stays bounded whatever the length. Each chunk is authentic, but
/// only the end of the stream proves that nothing was cut off: what was read before an error is to be thrown away.
pub struct OpeningReader<R> {
    file: BufReader<R>,
    key: LessSafeKey,
    index: u64,
    /// The chunk at hand, and the first byte of the next one if there is one.
    buffer: Zeroizing<Vec<u8>>,
    /// How much of the opened chunk has been given out, and how long it is.
    given: usize,
    opened: usize,
    last: bool,
}

impl<R: Read> OpeningReader<R> {
    /// Reads the header and finds the file key.
    ///
    /// # Errors
    /// `NotForThisIdentity`, `Altered`, `Malformed`, `File`.
    pub fn new(identity: &RecoveryIdentity, file: R) -> Result<Self, OpenError> {
        let mut file = BufReader::new(file);
        let header = header::read(&mut file)?;
        let file_key = file_key(identity, &header)?;
        let mac_key = header_key(&file_key).ok_or(OpenError::Altered)?;
        hmac::verify(&mac_key, &header.covered, &header.mac).map_err(|_| OpenError::Altered)?;
        let mut nonce = [0; NONCE_LEN];
        file.read_exact(&mut nonce).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => OpenError::Malformed("the nonce"),
            _ => OpenError::File(error),
        })?;
        let key = payload_key(&file_key, &nonce).ok_or(OpenError::Altered)?;
        let buffer = Zeroizing::new(Vec::with_capacity(CHUNK_LEN + TAG_LEN + 1));
        Ok(Self { file, key, index: 0, buffer, given: 0, opened: 0, last: false })
    }

    /// Opens the next chunk in place. A chunk is the last one if nothing follows it; its nonce says so too.
    fn next_chunk(&mut self) -> Result<(), OpenError> {
        const SEALED: usize = CHUNK_LEN + TAG_LEN;
        let carried = (self.index > 0).then(|| self.buffer.last().copied()).flatten();
        self.buffer.zeroize();
        self.buffer.extend(carried);
        let wanted = (SEALED + 1 - self.buffer.len()) as u64;
        (&mut self.file).take(wanted).read_to_end(&mut self.buffer)?;
        self.last = self.buffer.len() <= SEALED;
        let sealed = self.buffer.get_mut(..SEALED).unwrap_or_default();
        let sealed = if self.last { self.buffer.as_mut_slice() } else { sealed };
        if sealed.len() < TAG_LEN {
            return Err(OpenError::Malformed("the payload"));
        }
        let nonce = chunk_nonce(self.index, self.last);
        let plain = self.key.open_in_place(nonce, Aad::empty(), sealed).map_err(|_| OpenError::Altered)?;
        if plain.is_empty() && self.index > 0 {
            return Err(OpenError::Malformed("the last chunk"));
        }
        (self.given, self.opened) = (0, plain.len());
        self.index += 1;
        Ok(())
    }
}

impl<R: Read> Read for OpeningReader<R> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        if target.is_empty() {
            return Ok(0);
        }
        if self.given == self.opened && !self.last {
            self.next_chunk().inspect_err(|_| {
                // After an error nothing more is given out.
                (self.given, self.opened, self.last) = (0, 0, true);
            })?;
        }
        let ready = self.buffer.get(self.given..self.opened).unwrap_or_default();
        let len = ready.len().min(target.len());
        for (slot, byte) in target.iter_mut().zip(ready) {
            *slot = *byte;
        }
        self.given += len;
        Ok(len)
    }
}

/// Tries every stanza: nothing in them says whose they are.
fn file_key(identity: &RecoveryIdentity, header: &header::Header) -> Result<FileKey, OpenError> {
    for stanza in &header.stanzas {
        let shared = identity.agree(&stanza.share).ok_or(OpenError::Malformed("a share"))?;
        let salt = [stanza.share, *identity.recipient().point()].concat();
        let key = derive(&salt, &*shared, STANZA_LABEL).and_then(|key| aead(&key)).ok_or(OpenError::Altered)?;
        let mut wrapped = Zeroizing::new(stanza.wrapped);
        if let Ok(plain) = key.open_in_place(zero_nonce(), Aad::empty(), &mut *wrapped)
            && let Some(file_key) = plain.first_chunk::<FILE_KEY_LEN>()
        {
            return Ok(Zeroizing::new(*file_key));
        }
    }
    Err(OpenError::NotForThisIdentity)
}

#[cfg(test)]
pub(super) fn file_key_for_tests(identity: &RecoveryIdentity, header: &header::Header) -> FileKey {
    file_key(identity, header).unwrap()
}
