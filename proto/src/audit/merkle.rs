//! The Merkle tree over a log's records (RFC 6962 §2.1), kept as its frontier: to append and to know the root, the right
//! edge is enough. Proofs are made from leaf hashes when somebody asks; inner nodes are never stored.
//!
//! Absent on purpose: records, origins and signatures. This file knows hashes and nothing else.

use sha2::{Digest as _, Sha256};

mod proof;

pub use proof::{
    ProofError, consistency_proof, consistency_ranges, inclusion_proof, verify_consistency, verify_inclusion,
};

/// A SHA-256 hash: of a leaf, a node or a whole tree.
pub type Hash = [u8; 32];

/// Most records that one log can hold: sequence numbers stay exact in JSON readers that compute with doubles.
pub const LOG_SIZE_MAX: u64 = (1 << 53) - 1;

/// Hashes a record as a leaf: SHA-256(0x00 ‖ record). The prefix keeps a node from passing as a record.
#[must_use]
pub fn leaf_hash(record: &[u8]) -> Hash {
    Sha256::new().chain_update([0x00]).chain_update(record).finalize().into()
}

/// Hashes two subtrees to their parent: SHA-256(0x01 ‖ left ‖ right).
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([0x01]).chain_update(left).chain_update(right).finalize().into()
}

/// The root of the tree over these leaf hashes.
#[must_use]
pub fn root_of(leaves: impl IntoIterator<Item = Hash>) -> Hash {
    let mut frontier = Frontier::new();
    for leaf in leaves {
        frontier.push(leaf);
    }
    frontier.root()
}

/// A stored frontier that cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrontierError {
    /// There is no complete size in front.
    #[error("a stored frontier begins with its size in 8 bytes")]
    Cut,
    /// The size is above [`LOG_SIZE_MAX`].
    #[error("a stored frontier names {size} records, more than a log can hold")]
    Size {
        /// The size found.
        size: u64,
    },
    /// There are more or fewer hashes than the size asks for.
    #[error("a stored frontier of {size} records holds {expected} bytes of hashes, not {found}")]
    Length {
        /// The size in front.
        size: u64,
        /// Bytes of hashes that the size asks for.
        expected: usize,
        /// Bytes of hashes found.
        found: usize,
    },
}

/// The right edge of a tree: its size and the roots of its complete subtrees, one for each bit set in the size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// Largest (leftmost) subtree first; as many as `size` has bits set.
    subtrees: Vec<Hash>,
}

impl Frontier {
    /// The frontier of an empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many leaves the tree has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf hash. Equal subtrees at the right edge merge, as ones carry in a binary counter.
    pub fn push(&mut self, leaf: Hash) {
        let mut subtree = leaf;
        for _ in 0..self.size.trailing_ones() {
            let Some(left) = self.subtrees.pop() else { break };
            subtree = node_hash(&left, &subtree);
        }
        self.subtrees.push(subtree);
        self.size += 1;
    }

    /// The root of the tree; SHA-256 of nothing for an empty one.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut from_the_right = self.subtrees.iter().rev().copied();
        let Some(rightmost) = from_the_right.next() else { return Sha256::digest([]).into() };
        from_the_right.fold(rightmost, |right, left| node_hash(&left, &right))
    }

    /// Writes the frontier down: the size as 8 bytes, big-endian, then 32 bytes for each subtree, largest first.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.size.to_be_bytes().to_vec();
        bytes.extend(self.subtrees.iter().flatten());
        bytes
    }

    /// Takes a frontier that [`Frontier::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`FrontierError`] if the size is missing, beyond [`LOG_SIZE_MAX`] or does not fit the number of hashes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FrontierError> {
        let (size, hashes) = bytes.split_first_chunk::<8>().ok_or(FrontierError::Cut)?;
        let size = u64::from_be_bytes(*size);
        if size > LOG_SIZE_MAX {
            return Err(FrontierError::Size { size });
        }
        let (subtrees, rest) = hashes.as_chunks::<32>();
        if !rest.is_empty() || subtrees.len() != size.count_ones() as usize {
            let expected = size.count_ones() as usize * 32;
            return Err(FrontierError::Length { size, expected, found: hashes.len() });
        }
        Ok(Self { size, subtrees: subtrees.to_vec() })
    }
}

#[cfg(test)]
mod tests;
