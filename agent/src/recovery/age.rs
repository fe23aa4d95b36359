//! Writing age v1 files: header, recipient stanzas, payload (C2SP age.md).

use base64::prelude::{BASE64_STANDARD_NO_PAD, Engine};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{hkdf, hmac};
use zeroize::Zeroizing;

use super::{Recipient, RecoveryError};

const CHUNK_LEN: usize = 64 * 1024;
const FILE_KEY_LEN: usize = 16;
const NONCE_LEN: usize = 16;

/// Seals `plaintext` to every recipient: any one of them opens it with `age -d`. The result is age's binary format.
///
/// # Errors
/// `NoRecipients` if there are none, `WeakRecipient` for a small-order point, `Randomness`.
pub fn seal_to(recipients: &[Recipient], plaintext: &[u8]) -> Result<Vec<u8>, RecoveryError> {
    if recipients.is_empty() {
        return Err(RecoveryError::NoRecipients);
    }
    let random = SystemRandom::new();
    let file_key: Zeroizing<[u8; FILE_KEY_LEN]> = drawn(&random)?;

    let mut header = String::from("age-encryption.org/v1\n");
    for recipient in recipients {
        header.push_str(&stanza(&random, recipient, &*file_key)?);
    }
    header.push_str("---");
    // The MAC covers the header up to and including the three hyphens, so no stanza can be added or taken away.
    let mac_key = hmac::Key::new(hmac::HMAC_SHA256, derive(&[], &*file_key, b"header")?.as_slice());
    let mac = hmac::sign(&mac_key, header.as_bytes());
    header.push_str(&format!(" {}\n", BASE64_STANDARD_NO_PAD.encode(mac)));

    let nonce: Zeroizing<[u8; NONCE_LEN]> = drawn(&random)?;
    let mut sealed = header.into_bytes();
    sealed.extend_from_slice(&*nonce);
    stream(&*derive(&*nonce, &*file_key, b"payload")?, plaintext, &mut sealed)?;
    Ok(sealed)
}

/// The file key wrapped for one recipient, under an ephemeral share of its own.
fn stanza(random: &SystemRandom, recipient: &Recipient, file_key: &[u8]) -> Result<String, RecoveryError> {
    let ephemeral = EphemeralPrivateKey::generate(&X25519, random).map_err(|_| RecoveryError::Randomness)?;
    let share = ephemeral.compute_public_key().map_err(|_| RecoveryError::Randomness)?;
    let salt = [share.as_ref(), recipient.point()].concat();
    let peer = UnparsedPublicKey::new(&X25519, recipient.point());
    // ring refuses an all-zero shared secret, as the format demands.
    let wrap_key = agree_ephemeral(ephemeral, &peer, |secret| derive(&salt, secret, b"age-encryption.org/v1/X25519"))
        .map_err(|_| RecoveryError::WeakRecipient)??;
    let mut body = Zeroizing::new(file_key.to_vec());
    // The wrapping key is used once, so the nonce is fixed at zero.
    let tag = aead(&*wrap_key)?
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut body)
        .map_err(|_| RecoveryError::Sealing)?;
    let body = BASE64_STANDARD_NO_PAD.encode([&*body, tag.as_ref()].concat());
    Ok(format!("-> X25519 {}\n{body}\n", BASE64_STANDARD_NO_PAD.encode(share)))
}

/// STREAM: chunks of 64 KiB, each sealed under an 11-byte counter and a byte that marks the last one. Only an empty
/// payload has an empty last chunk.
fn stream(key: &[u8], plaintext: &[u8], sealed: &mut Vec<u8>) -> Result<(), RecoveryError> {
    let key = aead(key)?;
    sealed.reserve(plaintext.len() + (plaintext.len() / CHUNK_LEN + 1) * CHACHA20_POLY1305.tag_len());
    let chunks: Vec<&[u8]> = if plaintext.is_empty() { vec![&[]] } else { plaintext.chunks(CHUNK_LEN).collect() };
    let last = chunks.len() - 1;
    let mut buffer = Zeroizing::new(Vec::with_capacity(plaintext.len().min(CHUNK_LEN)));
    for (index, chunk) in chunks.into_iter().enumerate() {
        let mut nonce = [0; 12];
        if let Some(counter) = nonce.get_mut(3..11) {
            counter.copy_from_slice(&(index as u64).to_be_bytes());
        }
        if let Some(end) = nonce.last_mut() {
            *end = u8::from(index == last);
        }
        buffer.clear();
        buffer.extend_from_slice(chunk);
        let tag = key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut buffer)
            .map_err(|_| RecoveryError::Sealing)?;
        sealed.extend_from_slice(&buffer);
        sealed.extend_from_slice(tag.as_ref());
    }
    Ok(())
}

fn drawn<const LEN: usize>(random: &SystemRandom) -> Result<Zeroizing<[u8; LEN]>, RecoveryError> {
    let mut bytes = Zeroizing::new([0; LEN]);
    random.fill(&mut *bytes).map_err(|_| RecoveryError::Randomness)?;
    Ok(bytes)
}

/// HKDF-SHA-256 to 32 bytes (RFC 5869).
fn derive(salt: &[u8], secret: &[u8], info: &[u8]) -> Result<Zeroizing<[u8; 32]>, RecoveryError> {
    let mut key = Zeroizing::new([0; 32]);
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(secret)
        .expand(&[info], hkdf::HKDF_SHA256)
        .and_then(|material| material.fill(&mut *key))
        .map_err(|_| RecoveryError::Sealing)?;
    Ok(key)
}

fn aead(key: &[u8]) -> Result<LessSafeKey, RecoveryError> {
    UnboundKey::new(&CHACHA20_POLY1305, key).map(LessSafeKey::new).map_err(|_| RecoveryError::Sealing)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::process::{Command, Output};

    use super::*;

    struct Pair {
        folder: tempfile::TempDir,
        recipient: Recipient,
    }

    impl Pair {
        /// A pair made by `age-keygen`.
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let key = folder.path().join("key");
            assert!(Command::new("age-keygen").arg("-o").arg(&key).output().unwrap().status.success());
            let public = Command::new("age-keygen").arg("-y").arg(&key).output().unwrap();
            let recipient = Recipient::parse(String::from_utf8(public.stdout).unwrap().trim()).unwrap();
            Self { folder, recipient }
        }

        fn key(&self) -> PathBuf {
            self.folder.path().join("key")
        }

        fn open(&self, sealed: &[u8]) -> Output {
            let file = self.folder.path().join("sealed");
            fs::write(&file, sealed).unwrap();
            Command::new("age").arg("-d").arg("-i").arg(self.key()).arg(file).output().unwrap()
        }
    }

    #[test]
    fn age_opens_what_is_sealed_to_one_or_two_recipients() {
        let pairs = [Pair::new(), Pair::new()];
        for recipients in [vec![pairs[0].recipient], vec![pairs[0].recipient, pairs[1].recipient]] {
            for len in [0, 1, CHUNK_LEN, CHUNK_LEN + 1, 2 * CHUNK_LEN] {
                let plaintext: Vec<u8> = (0..len).map(|place| (place % 251) as u8).collect();
                let sealed = seal_to(&recipients, &plaintext).unwrap();
                for pair in &pairs[..recipients.len()] {
                    let output = pair.open(&sealed);
                    assert!(output.status.success(), "{len}: {}", String::from_utf8_lossy(&output.stderr));
                    assert!(output.stdout == plaintext, "{len} bytes came out different");
                }
            }
        }
        let outsider = pairs[1].open(&seal_to(&[pairs[0].recipient], b"x").unwrap());
        assert!(!outsider.status.success());
    }

    #[test]
    fn age_refuses_an_altered_copy() {
        let pair = Pair::new();
        let sealed = seal_to(&[pair.recipient], b"a recovery copy").unwrap();
        assert!(pair.open(&sealed).status.success());
        // Somewhere in the version, the share, the wrapped key, the MAC, the nonce, the payload and the tag.
        for place in [3, 40, 90, 140, sealed.len() - 40, sealed.len() - 20, sealed.len() - 1] {
            let mut altered = sealed.clone();
            altered[place] ^= 1;
            assert!(!pair.open(&altered).status.success(), "byte {place}");
        }
        assert!(!pair.open(&sealed[..sealed.len() - 1]).status.success());
        assert!(!pair.open(&[&sealed[..], b"x"].concat()).status.success());
    }

    #[test]
    fn nobody_and_a_weak_point_are_refused() {
        assert_eq!(seal_to(&[], b"x"), Err(RecoveryError::NoRecipients));
        let zero = bech32::encode::<bech32::Bech32>(bech32::Hrp::parse_unchecked("age"), &[0; 32]).unwrap();
        assert_eq!(seal_to(&[Recipient::parse(&zero).unwrap()], b"x"), Err(RecoveryError::WeakRecipient));
    }

    #[test]
    fn two_copies_of_the_same_share_nothing() {
        let pair = Pair::new();
        let copies = [0, 1].map(|_| seal_to(&[pair.recipient], &[0; 100]).unwrap());
        let start = "age-encryption.org/v1\n-> X25519 ".len();
        assert_ne!(copies[0][start..start + 43], copies[1][start..start + 43]);
        assert_ne!(copies[0][copies[0].len() - 116..], copies[1][copies[1].len() - 116..]);
    }
}
