//! What a drill leaves: a signed file that an auditor verifies with `ssh-keygen` alone.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use strongroom_proto::agent_key::AgentKey;
use strongroom_proto::ids::OrgId;
use strongroom_proto::sshsig;

use crate::backup::files::{sync_dir, write_new};
use crate::backup::manifest::LogLine;
use crate::identity::{agent_public_key, sign_as_agent};
use crate::keystore::KeystoreError;

/// The namespace of the evidence's signature.
pub const EVIDENCE_NAMESPACE: &str = "strongroom-drill@v1";
/// The word for this document.
pub(super) const FORMAT: &str = "strongroom.drill/1";
/// Longest evidence that is read, in bytes.
const LEN_MAX: u64 = 16 * 1024 * 1024;
const BEFORE: &str = "strongroom-drill-";
const AFTER: &str = ".json";
const FORM: &str = "%Y%m%dT%H%M%SZ";

/// What was compared, and how it came out. Accounts are named by id only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// `strongroom.drill/1`.
    pub format: String,
    /// When.
    pub made_at: Timestamp,
    /// Whether everything that was compared was right.
    pub passed: bool,
    /// Whose.
    pub organisation: OrgId,
    /// The agent's version.
    pub agent_version: String,
    /// The agent identity key that signs, OpenSSH text.
    pub agent_key: String,
    /// The live token.
    pub token: String,
    /// The backup's file name.
    pub backup: String,
    /// Its SHA-256, 64 hex digits.
    pub backup_sha256: String,
    /// When it was made.
    pub backup_at: Timestamp,
    /// Accounts in the backup.
    pub accounts_in_backup: u64,
    /// Accounts in the live store.
    pub accounts_live: u64,
    /// Accounts that were compared.
    pub compared: u64,
    /// Of those, how many the restored token makes the same code for; absent if the backup holds no token files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right_by_token: Option<u64>,
    /// Accounts whose recovery copy was compared.
    pub copies_compared: u64,
    /// Of those, how many copies make the same code.
    pub right_by_copy: u64,
    /// What was wrong.
    pub failures: Vec<String>,
    /// The logs of the backup, all of which were recomputed.
    pub logs: Vec<LogLine>,
}

impl Evidence {
    /// Writes the evidence and its signature into a folder, and gives the evidence's path.
    pub(super) fn write(
        &self,
        folder: &Path,
        key: &AgentKey,
        sign: impl FnOnce(&[u8; 32]) -> Result<[u8; 64], KeystoreError>,
    ) -> anyhow::Result<PathBuf> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        let signature = sign_as_agent(&agent_public_key(key.point())?, sign, EVIDENCE_NAMESPACE, &text)?;
        let path = folder.join(format!("{BEFORE}{}{AFTER}", self.made_at.strftime(FORM)));
        // The signature first: evidence that is there can be verified.
        write_new(&path.with_extension("json.sig"), signature.as_bytes())?;
        write_new(&path, &text)?;
        sync_dir(folder)?;
        Ok(path)
    }
}

/// When evidence of this file name was made. `None` if it is not exactly such a name.
#[must_use]
pub fn evidence_at(name: &str) -> Option<Timestamp> {
    let text = name.strip_prefix(BEFORE)?.strip_suffix(AFTER)?;
    let at = jiff::civil::DateTime::strptime(FORM, text).ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp();
    (format!("{BEFORE}{}{AFTER}", at.strftime(FORM)) == name).then_some(at)
}

/// Reads evidence and checks that this agent's key signed it. `None` if it cannot be read or is not its own.
#[must_use]
pub(crate) fn read(path: &Path, key: &AgentKey) -> Option<(Evidence, String)> {
    use std::io::Read as _;
    let mut text = Vec::new();
    std::fs::File::open(path).ok()?.take(LEN_MAX).read_to_end(&mut text).ok()?;
    let signature = std::fs::read_to_string(path.with_extension("json.sig")).ok()?;
    let public = agent_public_key(key.point()).ok()?;
    sshsig::verify(&public, EVIDENCE_NAMESPACE, &text, &signature).ok()?;
    let evidence: Evidence = serde_json::from_slice(&text).ok()?;
    use sha2::Digest as _;
    (evidence.format == FORMAT).then(|| (evidence, hex::encode(sha2::Sha256::digest(&text))))
}

/// All evidence in a folder that this agent's key signed, oldest first, with its SHA-256.
pub(crate) fn all(folder: &Path, key: &AgentKey) -> Vec<(Evidence, String)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| evidence_at(name).is_some()))
        .filter_map(|entry| read(&entry.path(), key))
        .collect();
    found.sort_by_key(|(evidence, _)| evidence.made_at);
    found
}

/// When the last good drill of a folder was.
#[must_use]
pub fn newest_good(folder: &Path, key: &AgentKey) -> Option<Timestamp> {
    all(folder, key).into_iter().rev().find(|(evidence, _)| evidence.passed).map(|(evidence, _)| evidence.made_at)
}
