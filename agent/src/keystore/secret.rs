//! Secrets in memory: wiped on drop, without Debug, Display or Serialize.

use strongroom_proto::words::Algorithm;
use zeroize::{Zeroize, Zeroizing};

use super::os::LockedPage;

/// Longest seed that is taken, in bytes. RFC 4226 asks for 16 to 20; the longest met in the wild is 128.
pub const SEED_LEN_MAX: usize = 1024;

/// A seed that cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeedError {
    /// There are no bytes: every code would be computable by anybody.
    #[error("the seed is empty")]
    Empty,
    /// There are more than [`SEED_LEN_MAX`] bytes.
    #[error("the seed is longer than {SEED_LEN_MAX} bytes")]
    TooLong,
}

/// The shared secret of an account, on its way into the token.
pub struct Seed(Zeroizing<Vec<u8>>);

impl Seed {
    /// Takes a seed of 1 to [`SEED_LEN_MAX`] bytes. Refused bytes are wiped too.
    ///
    /// # Errors
    /// [`SeedError`] if there are none or too many.
    pub fn new(bytes: Vec<u8>) -> Result<Self, SeedError> {
        let bytes = Zeroizing::new(bytes);
        match bytes.len() {
            0 => Err(SeedError::Empty),
            1..=SEED_LEN_MAX => Ok(Self(bytes)),
            _ => Err(SeedError::TooLong),
        }
    }

    /// Takes a seed that came from the agent's side of the worker's socket.
    pub(super) fn from_wire(bytes: Zeroizing<Vec<u8>>) -> Result<Self, SeedError> {
        match bytes.len() {
            0 => Err(SeedError::Empty),
            1..=SEED_LEN_MAX => Ok(Self(bytes)),
            _ => Err(SeedError::TooLong),
        }
    }

    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The seed as the HMAC uses it: hashed if longer than the block, then zero-padded to it (RFC 2104 §2). This changes
    /// no MAC, hides the seed's length and satisfies tokens that ask for a minimum key size.
    pub(super) fn block(&self, algorithm: Algorithm) -> Zeroizing<Vec<u8>> {
        use sha2::Digest;
        let mut block = Zeroizing::new(vec![0; algorithm.block_len()]);
        let mut place = |bytes: &[u8]| {
            for (slot, byte) in block.iter_mut().zip(bytes) {
                *slot = *byte;
            }
        };
        if self.0.len() <= algorithm.block_len() {
            place(&self.0);
        } else {
            match algorithm {
                Algorithm::Sha1 => place(Zeroizing::new(<[u8; 20]>::from(sha1::Sha1::digest(&*self.0))).as_slice()),
                Algorithm::Sha256 => place(Zeroizing::new(<[u8; 32]>::from(sha2::Sha256::digest(&*self.0))).as_slice()),
                Algorithm::Sha512 => place(Zeroizing::new(<[u8; 64]>::from(sha2::Sha512::digest(&*self.0))).as_slice()),
            }
        }
        block
    }
}

/// The HMAC of a moving factor: what the token gives instead of a seed.
pub struct OtpMac {
    algorithm: Algorithm,
    bytes: Zeroizing<[u8; 64]>,
}

impl OtpMac {
    /// Takes a MAC. `None` if it hasn't the length of its algorithm.
    #[must_use]
    pub fn new(algorithm: Algorithm, mac: &[u8]) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; 64]);
        if mac.len() != Self::len_of(algorithm) {
            return None;
        }
        bytes.get_mut(..mac.len())?.copy_from_slice(mac);
        Some(Self { algorithm, bytes })
    }

    /// The hash under the HMAC.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The 20, 32 or 64 bytes of the MAC.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.bytes.get(..Self::len_of(self.algorithm)).unwrap_or(self.bytes.as_slice())
    }

    const fn len_of(algorithm: Algorithm) -> usize {
        match algorithm {
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
            Algorithm::Sha512 => 64,
        }
    }
}

/// The two keys of a store: one tags rows, one encrypts names. They live in a locked page of their own.
pub struct StoreKeys(LockedPage);

impl StoreKeys {
    pub(super) const LEN: usize = 64;

    /// Draws new keys from the operating system.
    ///
    /// # Errors
    /// The operating system's, if it has no randomness to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut keys = Self(LockedPage::new());
        getrandom::fill(keys.bytes_mut())?;
        Ok(keys)
    }

    /// The key that tags rows (HMAC-SHA-256).
    #[must_use]
    pub fn tags(&self) -> &[u8; 32] {
        self.0.bytes().first_chunk().unwrap_or(&[0; 32])
    }

    /// The key that encrypts names (AES-256-GCM).
    #[must_use]
    pub fn names(&self) -> &[u8; 32] {
        self.0.bytes().get(32..).and_then(<[u8]>::first_chunk).unwrap_or(&[0; 32])
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.bytes().get(..Self::LEN).unwrap_or_default()
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        self.0.bytes_mut().get_mut(..Self::LEN).unwrap_or_default()
    }

    /// The keys as they cross the worker's socket.
    pub(super) fn to_wire(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.bytes().to_vec())
    }

    /// Takes keys that crossed the worker's socket; `None` if they have another length.
    pub(super) fn from_wire(bytes: &[u8]) -> Option<Self> {
        let mut keys = Self::zeroed();
        (bytes.len() == Self::LEN).then(|| {
            keys.bytes_mut().copy_from_slice(bytes);
            keys
        })
    }

    pub(super) fn zeroed() -> Self {
        Self(LockedPage::new())
    }

    /// Takes both keys, the one for tags first. `None` unless there are 64 bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut keys = Self::zeroed();
        (bytes.len() == Self::LEN).then(|| {
            keys.bytes_mut().copy_from_slice(bytes);
            keys
        })
    }

    /// Keys that a test can make twice.
    #[cfg(test)]
    pub(crate) fn for_tests(bytes: &[u8; Self::LEN]) -> Self {
        let mut keys = Self::zeroed();
        keys.bytes_mut().copy_from_slice(bytes);
        keys
    }
}

/// A scratch page in which a derived seed is opened for the time of one HMAC.
pub(super) struct Scratch(LockedPage);

impl Scratch {
    pub(super) fn new() -> Self {
        Self(LockedPage::new())
    }

    /// Copies `content` in, lets `work` change and use it, and wipes it whatever the outcome. `None` if it doesn't fit.
    pub(super) fn with<T>(&mut self, content: &[u8], work: impl FnOnce(&mut [u8]) -> T) -> Option<T> {
        struct Wiped<'a>(&'a mut [u8]);
        impl Drop for Wiped<'_> {
            fn drop(&mut self) {
                self.0.zeroize();
            }
        }
        let buffer = Wiped(self.0.bytes_mut().get_mut(..content.len())?);
        buffer.0.copy_from_slice(content);
        Some(work(buffer.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_padded_or_hashed_to_the_block() {
        let short = Seed::new(vec![7; 10]).unwrap();
        for algorithm in Algorithm::ALL {
            let block = short.block(*algorithm);
            assert_eq!(block.len(), algorithm.block_len());
            assert!(block[..10].iter().all(|byte| *byte == 7) && block[10..].iter().all(|byte| *byte == 0));
        }
        let long = Seed::new(vec![7; 129]).unwrap();
        assert!(long.block(Algorithm::Sha1)[20..].iter().all(|byte| *byte == 0));
        assert_ne!(long.block(Algorithm::Sha512)[..8], [7; 8]);
        assert_eq!(Seed::new(vec![1; 64]).unwrap().block(Algorithm::Sha1)[..], [1; 64]);
    }

    #[test]
    fn an_empty_or_huge_seed_is_refused() {
        assert_eq!(Seed::new(vec![]).err(), Some(SeedError::Empty));
        assert_eq!(Seed::new(vec![0; SEED_LEN_MAX + 1]).err(), Some(SeedError::TooLong));
    }

    #[test]
    fn the_scratch_page_is_wiped_after_use_and_bounded() {
        let mut scratch = Scratch::new();
        assert_eq!(scratch.with(b"seed", |bytes| bytes.to_vec()), Some(b"seed".to_vec()));
        assert!(scratch.0.bytes().iter().all(|byte| *byte == 0));
        assert!(scratch.with(&[0; 4097], |_| ()).is_none());
    }

    #[test]
    fn store_keys_are_two_different_random_keys() {
        let (one, two) = (StoreKeys::random().unwrap(), StoreKeys::random().unwrap());
        assert_ne!(one.tags(), one.names());
        assert_ne!(one.tags(), two.tags());
        assert_eq!(one.bytes(), [one.tags().as_slice(), one.names()].concat());
    }
}
