//! Proofs about a tree: that it holds a leaf (RFC 6962 §2.1.1) and that it grew from a smaller one (§2.1.2). Checking
//! follows the loops of RFC 9162 §2.1.3.2 and §2.1.4.2, which are the same proofs with the algorithm written out.

use std::ops::Range;

use super::{Hash, node_hash, root_of};

/// A proof that proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The leaf or the smaller tree is not within the tree.
    #[error("the tree is too small for what the proof claims")]
    OutOfRange,
    /// The proof is of another length than trees of these sizes have.
    #[error("the proof has too few or too many hashes")]
    Length,
    /// The hashes lead to other roots.
    #[error("the proof does not lead to the root")]
    Mismatch,
}

/// Makes the proof that the leaf at `index` is in the tree over `leaves`; `None` if it is not.
#[must_use]
pub fn inclusion_proof(leaves: &[Hash], index: usize) -> Option<Vec<Hash>> {
    let mut proof = Vec::new();
    let (mut subtree, mut index) = (leaves, index);
    if index >= leaves.len() {
        return None;
    }
    while subtree.len() > 1 {
        let (left, right) = subtree.split_at(usize::try_from(split(subtree.len() as u64)).ok()?);
        if index < left.len() {
            proof.push(root_of(right.iter().copied()));
            subtree = left;
        } else {
            proof.push(root_of(left.iter().copied()));
            index -= left.len();
            subtree = right;
        }
    }
    proof.reverse();
    Some(proof)
}

/// Makes the proof that the tree over the first `old_size` leaves became the tree over all `leaves` by appending; `None`
/// if there are fewer. Empty if the sizes are equal or the old tree was empty.
#[must_use]
pub fn consistency_proof(leaves: &[Hash], old_size: usize) -> Option<Vec<Hash>> {
    let ranges = consistency_ranges(old_size as u64, leaves.len() as u64)?;
    let place = |at: u64| usize::try_from(at).ok();
    let root = |range: Range<u64>| {
        let leaves = leaves.get(place(range.start)?..place(range.end)?)?;
        Some(root_of(leaves.iter().copied()))
    };
    ranges.into_iter().map(root).collect()
}

/// The runs of leaves whose roots are the proof of [`consistency_proof`], in its order: for whoever does not have all leaves in
/// memory. `None` if the new tree is the smaller one.
#[must_use]
pub fn consistency_ranges(old_size: u64, size: u64) -> Option<Vec<Range<u64>>> {
    if old_size > size {
        return None;
    }
    if old_size == 0 {
        return Some(Vec::new());
    }
    let mut ranges = Vec::new();
    let (mut subtree, mut old_size, mut at_left_edge) = (0..size, old_size, true);
    while old_size < subtree.end - subtree.start {
        let middle = subtree.start + split(subtree.end - subtree.start);
        if old_size <= middle - subtree.start {
            ranges.push(middle..subtree.end);
            subtree.end = middle;
        } else {
            ranges.push(subtree.start..middle);
            old_size -= middle - subtree.start;
            subtree.start = middle;
            at_left_edge = false;
        }
    }
    // The verifier already knows the old root, so a subtree that is the whole old tree is left out.
    if !at_left_edge {
        ranges.push(subtree);
    }
    ranges.reverse();
    Some(ranges)
}

/// Checks that the tree of `size` leaves with this root has `leaf` at `index`.
///
/// # Errors
/// [`ProofError`] if it is not shown.
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, root: &Hash, proof: &[Hash]) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::OutOfRange);
    }
    let mut edge = Edge { node: index, last: size - 1 };
    let mut hash = *leaf;
    for sibling in proof {
        match edge.step()? {
            Side::Left => hash = node_hash(sibling, &hash),
            Side::Right => hash = node_hash(&hash, sibling),
        }
    }
    if edge.last != 0 {
        Err(ProofError::Length)
    } else if hash != *root {
        Err(ProofError::Mismatch)
    } else {
        Ok(())
    }
}

/// Checks that the tree of `size` leaves with `root` came from the tree of `old_size` leaves with `old_root` by appending.
///
/// # Errors
/// [`ProofError`] if it is not shown.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    size: u64,
    root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old_size > size {
        return Err(ProofError::OutOfRange);
    }
    if old_size == 0 || old_size == size {
        let expected_old = if old_size == 0 { root_of([]) } else { *root };
        return match (proof, *old_root == expected_old) {
            ([], true) => Ok(()),
            ([], false) => Err(ProofError::Mismatch),
            _ => Err(ProofError::Length),
        };
    }
    let mut edge = Edge { node: old_size - 1, last: size - 1 };
    edge.skip(edge.node.trailing_ones());
    // A complete old tree is its own first node: the proof leaves it out.
    let (first, siblings) =
        if old_size.is_power_of_two() { (old_root, proof) } else { proof.split_first().ok_or(ProofError::Length)? };
    let (mut old_hash, mut hash) = (*first, *first);
    for sibling in siblings {
        match edge.step()? {
            Side::Left => {
                old_hash = node_hash(sibling, &old_hash);
                hash = node_hash(sibling, &hash);
            }
            Side::Right => hash = node_hash(&hash, sibling),
        }
    }
    if edge.last != 0 {
        Err(ProofError::Length)
    } else if old_hash != *old_root || hash != *root {
        Err(ProofError::Mismatch)
    } else {
        Ok(())
    }
}

/// The largest power of two below `len`: where RFC 6962 splits a tree. `len` is at least 2.
fn split(len: u64) -> u64 {
    1 << (len - 1).ilog2()
}

/// On which side of the walked node its sibling stands.
enum Side {
    Left,
    Right,
}

/// The walk from a node to the root, beside the tree's last node on the same level (`fn` and `sn` in RFC 9162).
struct Edge {
    node: u64,
    last: u64,
}

impl Edge {
    /// Goes up by so many levels.
    fn skip(&mut self, levels: u32) {
        self.node = self.node.checked_shr(levels).unwrap_or(0);
        self.last = self.last.checked_shr(levels).unwrap_or(0);
    }

    /// Goes up past the next sibling and says on which side it stands.
    fn step(&mut self) -> Result<Side, ProofError> {
        if self.last == 0 {
            return Err(ProofError::Length);
        }
        if self.node & 1 == 1 || self.node == self.last {
            // A node that ends the tree has no sibling on levels where it is a left child: it rises alone.
            self.skip(self.node.trailing_zeros() + 1);
            Ok(Side::Left)
        } else {
            self.skip(1);
            Ok(Side::Right)
        }
    }
}
