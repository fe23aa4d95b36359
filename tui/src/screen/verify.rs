//! Checking a whole log on this side: leaf hashes to root, root to checkpoint, checkpoint to the pinned agent key. The
//! records themselves are compared with the leaves where they are loaded ([`super::audit::Audit`]).

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use strongroom_proto::agent_key::AgentKey;
use strongroom_proto::audit::checkpoint::SignedCheckpoint;
use strongroom_proto::audit::merkle::{Hash, root_of};

/// A log whose leaves add up to the root that the agent's key signed.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifiedLog {
    /// How many records it had.
    pub size: u64,
    /// Their leaf hashes in order.
    pub leaves: Arc<Vec<Hash>>,
}

impl fmt::Debug for VerifiedLog {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "VerifiedLog({} records)", self.size)
    }
}

/// How many records a checkpoint speaks of, before anybody vouches for it: how many leaves to fetch.
///
/// # Errors
/// A sentence if the text is no checkpoint.
pub(super) fn size(checkpoint: &str) -> Result<u64, String> {
    SignedCheckpoint::parse(checkpoint).map(|signed| signed.unverified().size).map_err(|error| error.to_string())
}

/// Reads a page of leaf hashes; `None` if it is not whole hashes in base64.
pub(super) fn decode(leaves: &str) -> Option<Vec<Hash>> {
    let bytes = BASE64.decode(leaves).ok()?;
    let (hashes, rest) = bytes.as_chunks::<32>();
    rest.is_empty().then(|| hashes.to_vec())
}

/// Checks that the leaves make the root of the checkpoint, and that the key signed it for this log.
///
/// # Errors
/// A sentence naming what does not fit.
pub fn check(checkpoint: &str, origin: &str, key: &AgentKey, leaves: Vec<Hash>) -> Result<VerifiedLog, String> {
    let signed = SignedCheckpoint::parse(checkpoint).map_err(|error| error.to_string())?;
    let checkpoint = signed.verify(key).map_err(|error| error.to_string())?;
    if checkpoint.origin.as_str() != origin {
        return Err("the checkpoint is of another log".into());
    }
    if checkpoint.size != leaves.len() as u64 {
        return Err(format!("the checkpoint covers {} records, the leaves are {}", checkpoint.size, leaves.len()));
    }
    if root_of(leaves.iter().copied()) != checkpoint.root {
        return Err("the records do not make the signed root".into());
    }
    Ok(VerifiedLog { size: checkpoint.size, leaves: Arc::new(leaves) })
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
    use strongroom_proto::audit::checkpoint::{Checkpoint, Origin};
    use strongroom_proto::audit::merkle::leaf_hash;

    use super::*;

    const ORIGIN: &str = "strongroom/org/vault";

    fn signer() -> (EcdsaKeyPair, AgentKey) {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref(), &random).unwrap();
        let key = AgentKey::from_point(pair.public_key().as_ref()).unwrap();
        (pair, key)
    }

    fn note(pair: &EcdsaKeyPair, key: &AgentKey, leaves: &[Hash]) -> String {
        let checkpoint = Checkpoint {
            origin: Origin::parse(ORIGIN).unwrap(),
            size: leaves.len() as u64,
            root: root_of(leaves.iter().copied()),
        };
        let signature = pair.sign(&SystemRandom::new(), checkpoint.body().as_bytes()).unwrap();
        checkpoint.to_note(key, signature.as_ref())
    }

    #[test]
    fn a_log_holds_only_as_it_was_signed() {
        let (pair, key) = signer();
        let leaves: Vec<Hash> = (0..13_u8).map(|seq| leaf_hash(&[seq])).collect();
        let note = note(&pair, &key, &leaves);
        assert_eq!(check(&note, ORIGIN, &key, leaves.clone()).unwrap().size, 13);
        assert!(check(&note, "strongroom/org/other", &key, leaves.clone()).is_err());
        assert!(check(&note, ORIGIN, &signer().1, leaves.clone()).is_err(), "another agent's key");
        assert!(check(&note, ORIGIN, &key, leaves[..12].to_vec()).is_err(), "dropped last record");
        let mut swapped = leaves.clone();
        swapped.swap(3, 4);
        assert!(check(&note, ORIGIN, &key, swapped).is_err());
        let mut forged = leaves;
        forged[7][0] ^= 1;
        assert!(check(&note, ORIGIN, &key, forged).is_err());
    }

    #[test]
    fn leaves_come_whole() {
        assert_eq!(decode(&BASE64.encode([7; 64])), Some(vec![[7; 32]; 2]));
        assert_eq!(decode(&BASE64.encode([7; 63])), None);
        assert_eq!(decode("*"), None);
    }
}
