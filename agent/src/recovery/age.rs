//! Files in the age v1 format (C2SP age.md): header, recipient stanzas, payload.

mod header;
mod open;
mod seal;
#[cfg(test)]
mod tests;

use ring::aead::{CHACHA20_POLY1305, LessSafeKey, NONCE_LEN as AEAD_NONCE_LEN, Nonce, UnboundKey};
use ring::{hkdf, hmac};
use zeroize::Zeroizing;

pub use self::open::{OpeningReader, open};
pub use self::seal::{SealingWriter, seal_to};

/// Plaintext of a chunk, in bytes.
const CHUNK_LEN: usize = 64 * 1024;
/// What Poly1305 adds to a chunk, in bytes.
const TAG_LEN: usize = 16;
const FILE_KEY_LEN: usize = 16;
/// The nonce between header and payload, in bytes.
const NONCE_LEN: usize = 16;
/// What the wrapping key of an X25519 stanza is derived for.
const STANZA_LABEL: &[u8] = b"age-encryption.org/v1/X25519";

/// The key that every recipient's stanza wraps.
type FileKey = Zeroizing<[u8; FILE_KEY_LEN]>;

/// HKDF-SHA-256 to 32 bytes (RFC 5869). `None` cannot happen: 32 bytes are one block.
fn derive(salt: &[u8], secret: &[u8], info: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0; 32]);
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    extracted.expand(&[info], hkdf::HKDF_SHA256).and_then(|material| material.fill(&mut *key)).ok()?;
    Some(key)
}

fn header_key(file_key: &FileKey) -> Option<hmac::Key> {
    Some(hmac::Key::new(hmac::HMAC_SHA256, derive(&[], &**file_key, b"header")?.as_slice()))
}

fn payload_key(file_key: &FileKey, nonce: &[u8]) -> Option<LessSafeKey> {
    derive(nonce, &**file_key, b"payload").and_then(|key| aead(&key))
}

fn aead(key: &[u8; 32]) -> Option<LessSafeKey> {
    UnboundKey::new(&CHACHA20_POLY1305, key).map(LessSafeKey::new).ok()
}

/// STREAM's nonce: an 11-byte counter and a byte that marks the last chunk.
fn chunk_nonce(index: u64, last: bool) -> Nonce {
    let mut nonce = [0; AEAD_NONCE_LEN];
    let [_, _, _, counter @ .., end] = &mut nonce;
    *counter = index.to_be_bytes();
    *end = u8::from(last);
    Nonce::assume_unique_for_key(nonce)
}

/// The nonce of a key that is used once.
fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; AEAD_NONCE_LEN])
}
