//! Writing age files.

use std::io::{self, Write};

use base64::prelude::{BASE64_STANDARD_NO_PAD, Engine};
use ring::aead::{Aad, LessSafeKey};
use ring::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::{Zeroize, Zeroizing};

use super::{
    CHUNK_LEN, FileKey, NONCE_LEN, STANZA_LABEL, TAG_LEN, aead, chunk_nonce, derive, header, header_key, payload_key,
    zero_nonce,
};
use crate::recovery::{Recipient, RecoveryError};

/// Seals `plaintext` to every recipient: any one of them opens it with `age -d`. The result is age's binary format.
///
/// # Errors
/// `NoRecipients` if there are none, `WeakRecipient` for a small-order point, `Randomness`.
pub fn seal_to(recipients: &[Recipient], plaintext: &[u8]) -> Result<Vec<u8>, RecoveryError> {
    let chunks = plaintext.len() / CHUNK_LEN + 1;
    let start = Vec::with_capacity(512 + recipients.len() * 128 + plaintext.len() + chunks * TAG_LEN);
    let (mut sealed, key) = begin(recipients, start)?;
    let mut sealing = SealingWriter::over(&mut sealed, key);
    // Writing to memory fails only if a primitive refuses its input.
    sealing.write_all(plaintext).map_err(|_| RecoveryError::Sealing)?;
    sealing.finish().map_err(|_| RecoveryError::Sealing)?;
    Ok(sealed)
}

/// Draws a file key, writes the header and the payload's nonce to `out`, and gives the payload's key.
fn begin(recipients: &[Recipient], mut out: Vec<u8>) -> Result<(Vec<u8>, LessSafeKey), RecoveryError> {
    if recipients.is_empty() {
        return Err(RecoveryError::NoRecipients);
    }
    let random = SystemRandom::new();
    let file_key: FileKey = drawn(&random)?;
    out.extend_from_slice(header::VERSION);
    for recipient in recipients {
        out.extend_from_slice(stanza(&random, recipient, &file_key)?.as_bytes());
    }
    out.extend_from_slice(header::END);
    // The MAC covers the header up to and including the three hyphens, so no stanza can be added or taken away.
    let mac = hmac::sign(&header_key(&file_key).ok_or(RecoveryError::Sealing)?, &out);
    out.extend_from_slice(format!(" {}\n", BASE64_STANDARD_NO_PAD.encode(mac)).as_bytes());
    let nonce: Zeroizing<[u8; NONCE_LEN]> = drawn(&random)?;
    out.extend_from_slice(&*nonce);
    let key = payload_key(&file_key, &*nonce).ok_or(RecoveryError::Sealing)?;
    Ok((out, key))
}

/// The file key wrapped for one recipient, under an ephemeral share of its own.
fn stanza(random: &SystemRandom, recipient: &Recipient, file_key: &FileKey) -> Result<String, RecoveryError> {
    let ephemeral = EphemeralPrivateKey::generate(&X25519, random).map_err(|_| RecoveryError::Randomness)?;
    let share = ephemeral.compute_public_key().map_err(|_| RecoveryError::Randomness)?;
    let salt = [share.as_ref(), recipient.point()].concat();
    let peer = UnparsedPublicKey::new(&X25519, recipient.point());
    // ring refuses an all-zero shared secret, as the format demands.
    let wrap_key = agree_ephemeral(ephemeral, &peer, |secret| derive(&salt, secret, STANZA_LABEL))
        .map_err(|_| RecoveryError::WeakRecipient)?
        .ok_or(RecoveryError::Sealing)?;
    let mut body = Zeroizing::new(file_key.to_vec());
    // The wrapping key is used once, so the nonce is fixed at zero.
    let tag = aead(&wrap_key)
        .and_then(|key| key.seal_in_place_separate_tag(zero_nonce(), Aad::empty(), &mut body).ok())
        .ok_or(RecoveryError::Sealing)?;
    let body = BASE64_STANDARD_NO_PAD.encode([&*body, tag.as_ref()].concat());
    Ok(format!("-> X25519 {}\n{body}\n", BASE64_STANDARD_NO_PAD.encode(share)))
}

/// Seals what is written to it, in chunks of 64 KiB (STREAM): memory stays bounded whatever the length. Without
/// [`Self::finish`] the file lacks its last chunk, and nobody opens it.
pub struct SealingWriter<W> {
    out: W,
    key: LessSafeKey,
    index: u64,
    buffer: Zeroizing<Vec<u8>>,
}

impl<W: Write> SealingWriter<W> {
    /// Writes the header for `recipients` to `out`.
    ///
    /// # Errors
    /// `InvalidInput` around a [`RecoveryError`] if there are no recipients or one is weak, else `out`'s.
    pub fn new(recipients: &[Recipient], mut out: W) -> io::Result<Self> {
        let (start, key) =
            begin(recipients, Vec::new()).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        out.write_all(&start)?;
        Ok(Self::over(out, key))
    }

    fn over(out: W, key: LessSafeKey) -> Self {
        // One allocation for good: growing would leave plaintext behind.
        Self { out, key, index: 0, buffer: Zeroizing::new(Vec::with_capacity(CHUNK_LEN)) }
    }

    /// Seals the last chunk and gives back what was written to. Only an empty payload has an empty last chunk.
    ///
    /// # Errors
    /// Those of what is written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.chunk(true)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn chunk(&mut self, last: bool) -> io::Result<()> {
        let nonce = chunk_nonce(self.index, last);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::empty(), &mut self.buffer)
            .map_err(|_| io::Error::other(RecoveryError::Sealing))?;
        self.out.write_all(&self.buffer)?;
        self.out.write_all(tag.as_ref())?;
        self.buffer.zeroize();
        self.index += 1;
        Ok(())
    }
}

impl<W: Write> Write for SealingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full chunk is sealed only when more follows: the last one is marked.
        if self.buffer.len() == CHUNK_LEN && !bytes.is_empty() {
            self.chunk(false)?;
        }
        let taken = bytes.get(..bytes.len().min(CHUNK_LEN - self.buffer.len())).unwrap_or_default();
        self.buffer.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn drawn<const LEN: usize>(random: &SystemRandom) -> Result<Zeroizing<[u8; LEN]>, RecoveryError> {
    let mut bytes = Zeroizing::new([0; LEN]);
    random.fill(&mut *bytes).map_err(|_| RecoveryError::Randomness)?;
    Ok(bytes)
}
