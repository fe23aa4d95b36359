//! The signatures that technicians made over their calls, in a folder that has been verified: a second reading, because few
//! readers ask for it and it needs whole records.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ssh_key::{HashAlg, PublicKey};

use super::gone::{leaf, pruned_state};
use super::openings::Openings;
use super::read::Lines;
use super::{LOG_FILE, SignersError, Verified, VerifyError};
use crate::agent_key::AgentKey;
use crate::audit::merkle::{Frontier, leaf_hash};
use crate::audit::record::{RECORD_LEN_MAX, Record};
use crate::audit::replay::named_agent_key;
use crate::audit::signed_call::{self, SignedCallError, SignedReleases};

/// The keys that may have signed calls, by their fingerprints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signers(BTreeSet<String>);

impl Signers {
    /// Reads public keys, one a line, as `.pub`, `authorized_keys` and `allowed_signers` files have them: what stands before a
    /// key's type is passed over. Empty lines and comments (`#`) are none.
    ///
    /// # Errors
    /// [`SignersError`] if a line holds no key, or none does.
    pub fn parse(text: &str) -> Result<Self, SignersError> {
        let mut keys = BTreeSet::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let key = words.windows(2).find_map(|pair| PublicKey::from_openssh(&pair.join(" ")).ok());
            let key = key.ok_or(SignersError::Line { line: index + 1 })?;
            keys.insert(key.fingerprint(HashAlg::Sha256).to_string());
        }
        if keys.is_empty() { Err(SignersError::Empty) } else { Ok(Self(keys)) }
    }
}

/// What the signatures of a log were shown to prove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signatures {
    /// Signatures that hold, and whose call is told by the record.
    pub proved: u64,
    /// Signatures that hold over a digest of the call alone: the record does not tell all of it, or a value is withheld.
    pub digest_only: u64,
    /// Signatures that cannot be checked: who signed is withheld.
    pub withheld: u64,
    /// Codes released without a signature, where none was demanded.
    pub unsigned_releases: u64,
    /// Who signed: key fingerprints, and how many signatures of each hold.
    pub keys: BTreeMap<String, u64>,
}

/// Checks every signature in a folder that [`super::verify_folder`] has verified. `agents` are fingerprints of keys that the
/// agent spoke with, beside the one that signed the checkpoint, those that vouched for it, and the one of the log's first record. With `signers` every
/// signature must be by one of them; without, it must be by the key that the record names, and whose that is the log alone says.
///
/// # Errors
/// [`VerifyError`] naming the first record whose signature does not prove it, is by a stranger, or is missing where the log's
/// policy demanded one; [`VerifyError::Unsteady`] if the folder is not any more what was verified.
pub fn verify_signatures(
    folder: &Path,
    verified: &Verified,
    agents: &[String],
    signers: Option<&Signers>,
) -> Result<Signatures, VerifyError> {
    let mut lines = Lines::open(folder, LOG_FILE, RECORD_LEN_MAX)?;
    let mut openings = Openings::open(folder)?;
    let mut agents = agents.to_vec();
    agents.extend(verified.keys.iter().map(AgentKey::fingerprint));
    let (mut frontier, mut demanded, mut found) = (Frontier::new(), SignedReleases::default(), Signatures::default());
    // What pruned records had named and demanded; their own signatures went with them.
    if let Some(state) = pruned_state(folder, verified)? {
        agents.extend(state.agent_keys);
        demanded = state.signed_releases;
    }
    while let Some(line) = lines.next()? {
        let seq = frontier.size();
        if let Some(leaf) = leaf(line) {
            frontier.push(leaf);
            continue;
        }
        let record: Record = serde_json::from_slice(line)
            .map_err(|_| VerifyError::NoRecord { seq, reason: "it does not hold what every record must".to_owned() })?;
        frontier.push(leaf_hash(line));
        let values = openings.values(seq, &record.h)?;
        agents.extend(named_agent_key(&record));
        if let Some(since) = demanded.take(&record) {
            return Err(VerifyError::UnsignedRelease { seq, since });
        }
        if !signed_call::is_signed(&record) {
            found.unsigned_releases += u64::from(signed_call::is_release(&record));
            continue;
        }
        let failed = |source: SignedCallError| VerifyError::Signature { seq, source };
        let Some(call) = signed_call::verify(&record, &values, &agents).map_err(failed)? else {
            found.withheld += 1;
            continue;
        };
        if signers.is_some_and(|signers| !signers.0.contains(&call.key)) {
            return Err(VerifyError::UnknownSigner { seq, key: call.key });
        }
        *(if call.parameters_shown { &mut found.proved } else { &mut found.digest_only }) += 1;
        *found.keys.entry(call.key).or_default() += 1;
    }
    if frontier.size() != verified.size || frontier.root() != verified.root {
        return Err(VerifyError::Unsteady);
    }
    Ok(found)
}
