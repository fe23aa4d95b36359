//! Our tree against two that others wrote, byte for byte, and against tampering.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use tlog_tiles::{HashReader, check_record, check_tree, prove_record, prove_tree, stored_hashes, tree_hash};

use super::*;

/// The stored hashes of `tlog_tiles`.
#[derive(Default)]
struct Stored(Vec<tlog_tiles::Hash>);

impl HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|index| self.0[usize::try_from(*index).unwrap()]).collect())
    }
}

/// The same records in our tree and in both others.
struct Trees {
    leaves: Vec<Hash>,
    frontier: Frontier,
    stored: Stored,
    in_memory: MemoryBackedTree<sha2::Sha256, Vec<u8>>,
}

impl Trees {
    fn of(records: &[Vec<u8>]) -> Self {
        let mut trees = Self {
            leaves: Vec::new(),
            frontier: Frontier::new(),
            stored: Stored::default(),
            in_memory: MemoryBackedTree::new(),
        };
        for (place, record) in records.iter().enumerate() {
            trees.leaves.push(leaf_hash(record));
            trees.frontier.push(leaf_hash(record));
            let hashes = stored_hashes(place as u64, record, &trees.stored).unwrap();
            trees.stored.0.extend(hashes);
            trees.in_memory.push(record.clone());
        }
        trees
    }

    fn size(&self) -> u64 {
        self.frontier.size()
    }
}

/// Records that differ in length and content from a small seed.
fn records(count: usize, seed: u8) -> Vec<Vec<u8>> {
    (0..count).map(|place| vec![seed ^ u8::try_from(place % 251).unwrap(); place % 70]).collect()
}

fn flat(proof: &[Hash]) -> Vec<u8> {
    proof.concat()
}

fn theirs(proof: &[tlog_tiles::Hash]) -> Vec<u8> {
    proof.iter().flat_map(|hash| hash.0).collect()
}

#[test]
fn roots_equal_those_of_both_other_trees_at_every_size() {
    for count in 0..140 {
        let trees = Trees::of(&records(count, 7));
        let root = trees.frontier.root();
        assert_eq!(root, tree_hash(count as u64, &trees.stored).unwrap().0, "size {count}");
        assert_eq!(root.as_slice(), trees.in_memory.root().as_bytes().as_slice(), "size {count}");
        assert_eq!(root, root_of(trees.leaves.iter().copied()));
    }
}

#[test]
fn every_inclusion_proof_of_small_trees_equals_those_of_both_other_trees() {
    for count in 1..50 {
        let trees = Trees::of(&records(count, 11));
        let root = trees.frontier.root();
        for index in 0..count {
            let proof = inclusion_proof(&trees.leaves, index).unwrap();
            let place = index as u64;
            assert_eq!(flat(&proof), theirs(&prove_record(trees.size(), place, &trees.stored).unwrap()));
            assert_eq!(flat(&proof), trees.in_memory.prove_inclusion(index).as_bytes());
            assert_eq!(verify_inclusion(&trees.leaves[index], place, trees.size(), &root, &proof), Ok(()));
        }
        assert_eq!(inclusion_proof(&trees.leaves, count), None);
    }
}

#[test]
fn every_consistency_proof_of_small_trees_equals_those_of_both_other_trees() {
    for count in 1..50 {
        let trees = Trees::of(&records(count, 13));
        let root = trees.frontier.root();
        for old in 1..=count {
            let old_root = root_of(trees.leaves[..old].iter().copied());
            let proof = consistency_proof(&trees.leaves, old).unwrap();
            assert_eq!(flat(&proof), theirs(&prove_tree(trees.size(), old as u64, &trees.stored).unwrap()));
            assert_eq!(flat(&proof), trees.in_memory.prove_consistency(count - old).as_bytes());
            assert_eq!(verify_consistency(old as u64, &old_root, trees.size(), &root, &proof), Ok(()));
            for (claimed_old, claimed) in [(&leaf_hash(b"other"), &root), (&old_root, &leaf_hash(b"other"))] {
                let judged = verify_consistency(old as u64, claimed_old, trees.size(), claimed, &proof);
                assert_eq!(judged, Err(ProofError::Mismatch), "{old} of {count}");
            }
        }
        assert_eq!(consistency_proof(&trees.leaves, count + 1), None);
    }
}

#[test]
fn the_empty_tree_is_the_beginning_of_every_tree_and_nothing_else_is() {
    let leaves = [leaf_hash(b"a"), leaf_hash(b"b")];
    let (empty, root) = (root_of([]), root_of(leaves));
    assert_eq!(hex::encode(empty), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(consistency_proof(&leaves, 0), Some(Vec::new()));
    assert_eq!(verify_consistency(0, &empty, 2, &root, &[]), Ok(()));
    assert_eq!(verify_consistency(0, &root, 2, &root, &[]), Err(ProofError::Mismatch));
    assert_eq!(verify_consistency(0, &empty, 2, &root, &leaves), Err(ProofError::Length));
    assert_eq!(verify_consistency(2, &empty, 2, &root, &[]), Err(ProofError::Mismatch));
    assert_eq!(verify_consistency(3, &root, 2, &root, &[]), Err(ProofError::OutOfRange));
    assert_eq!(verify_inclusion(&leaves[0], 0, 0, &empty, &[]), Err(ProofError::OutOfRange));
}

#[test]
fn a_stored_frontier_is_refused_when_it_breaks_its_rule() {
    let frontier = Trees::of(&records(11, 1)).frontier;
    let bytes = frontier.to_bytes();
    assert_eq!(bytes.len(), 8 + 3 * 32, "11 is three bits");
    assert_eq!(Frontier::from_bytes(&bytes), Ok(frontier));
    assert_eq!(Frontier::from_bytes(&[0; 8]), Ok(Frontier::new()));
    assert_eq!(Frontier::from_bytes(&bytes[..7]), Err(FrontierError::Cut));
    let length = |found| Err(FrontierError::Length { size: 11, expected: 96, found });
    assert_eq!(Frontier::from_bytes(&bytes[..bytes.len() - 1]), length(95));
    assert_eq!(Frontier::from_bytes(&bytes[..bytes.len() - 32]), length(64));
    assert_eq!(Frontier::from_bytes(&[bytes.as_slice(), &[0; 32]].concat()), length(128));
    let huge = (1_u64 << 53).to_be_bytes();
    assert_eq!(Frontier::from_bytes(&[&huge[..], &[0; 32]].concat()), Err(FrontierError::Size { size: 1 << 53 }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_trees_agree_with_tlog_tiles(contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..90), 1..300), pick in any::<prop::sample::Index>()) {
        let trees = Trees::of(&contents);
        let (size, root, index) = (trees.size(), trees.frontier.root(), pick.index(contents.len()));
        prop_assert_eq!(Frontier::from_bytes(&trees.frontier.to_bytes()), Ok(trees.frontier.clone()));
        prop_assert_eq!(root, tree_hash(size, &trees.stored).unwrap().0);

        let inclusion = inclusion_proof(&trees.leaves, index).unwrap();
        prop_assert_eq!(flat(&inclusion), theirs(&prove_record(size, index as u64, &trees.stored).unwrap()));
        let consistency = consistency_proof(&trees.leaves, index + 1).unwrap();
        prop_assert_eq!(flat(&consistency), theirs(&prove_tree(size, index as u64 + 1, &trees.stored).unwrap()));
    }

    /// Whatever is changed about a proof, both verifiers give the same answer: ours is neither weaker nor stricter.
    #[test]
    fn a_tampered_proof_is_judged_as_tlog_tiles_judges_it(
        count in 1_usize..80, pick in any::<prop::sample::Index>(), flaw in 0_u8..6, place in any::<prop::sample::Index>(), bit in 0_u8..8,
    ) {
        let trees = Trees::of(&records(count, 17));
        let index = pick.index(count);
        let (size, root) = (trees.size(), trees.frontier.root());
        let old_root = root_of(trees.leaves[..=index].iter().copied());
        let mut claim = (index as u64, size, root);
        for kind in ["inclusion", "consistency"] {
            let honest = if kind == "inclusion" {
                inclusion_proof(&trees.leaves, index).unwrap()
            } else {
                consistency_proof(&trees.leaves, index + 1).unwrap()
            };
            let mut proof = honest.clone();
            match flaw {
                0 if !proof.is_empty() => { let at = place.index(proof.len()); proof[at][at % 32] ^= 1 << bit; }
                1 if !proof.is_empty() => { proof.remove(place.index(proof.len())); }
                2 => proof.insert(place.index(proof.len() + 1), root),
                3 => claim.0 = place.index(count) as u64,
                4 => claim.1 = size + 1 + u64::from(bit),
                5 => claim.2[place.index(32)] ^= 1 << bit,
                _ => {}
            }
            let other_proof: Vec<_> = proof.iter().map(|hash| tlog_tiles::Hash(*hash)).collect();
            let other_root = tlog_tiles::Hash(claim.2);
            let (ours, others) = if kind == "inclusion" {
                let leaf = trees.leaves[index];
                (verify_inclusion(&leaf, claim.0, claim.1, &claim.2, &proof).is_ok(),
                 check_record(&other_proof, claim.1, other_root, claim.0, tlog_tiles::Hash(leaf)).is_ok())
            } else {
                (verify_consistency(claim.0 + 1, &old_root, claim.1, &claim.2, &proof).is_ok(),
                 check_tree(&other_proof, claim.1, other_root, claim.0 + 1, tlog_tiles::Hash(old_root)).is_ok())
            };
            prop_assert_eq!(ours, others, "{} with flaw {}", kind, flaw);
            if proof != honest {
                prop_assert!(!ours, "{} with flaw {} was accepted", kind, flaw);
            }
        }
    }
}
