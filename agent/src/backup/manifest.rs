//! What a backup holds, in words that outlast this program: JSON, signed by the agent identity key.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strongroom_proto::agent_key::AgentKey;
use strongroom_proto::audit::export::Pin;
use strongroom_proto::ids::{Instance, OrgId};
use strongroom_proto::sshsig;

use super::archive::ArchiveError;
use crate::identity::agent_public_key;
use crate::store::sqlite::LogEnd;

/// The namespace of the manifest's signature.
pub const NAMESPACE: &str = "strongroom-backup@v1";
/// The word for this document.
pub const FORMAT: &str = "strongroom.backup/1";

/// The manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// When the store was copied.
    pub made_at: Timestamp,
    /// Whose.
    pub organisation: OrgId,
    /// The run of the agent that made it; absent if a command did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Instance>,
    /// The version of the agent that made it.
    pub agent_version: String,
    /// The agent identity key, OpenSSH text.
    pub agent_key: String,
    /// The token that the store belongs to.
    pub token: String,
    /// How the token's keys come back.
    pub token_material: TokenMaterial,
    /// To whom the archive was sealed.
    pub recovery_recipients: Vec<String>,
    /// Vaults in the store.
    pub vaults: u64,
    /// Accounts in the store.
    pub accounts: u64,
    /// Accounts that have a recovery copy.
    pub recovery_copies: u64,
    /// How far each log had come.
    pub logs: Vec<LogLine>,
    /// Every other file of the archive but the manifest's signature.
    pub files: Vec<FileLine>,
}

/// How the token's keys come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenMaterial {
    /// The token's files are in the archive.
    SoftHsm2,
    /// They do not leave the device: by its vendor's own procedure, or from recovery copies onto another token.
    Elsewhere,
}

/// The end of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// The log.
    pub origin: String,
    /// Number of records.
    pub size: u64,
    /// Merkle root, 64 hex digits.
    pub root: String,
}

/// A file of the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileLine {
    /// Its name in the archive.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// SHA-256, 64 hex digits.
    pub sha256: String,
}

impl From<&LogEnd> for LogLine {
    fn from(end: &LogEnd) -> Self {
        Self { origin: end.origin.to_string(), size: end.size, root: hex::encode(end.root) }
    }
}

impl Manifest {
    /// Reads a manifest and checks its signature. Without a pin the key is the one that the manifest names: then the
    /// signature only proves that manifest and key belong together.
    ///
    /// # Errors
    /// `Manifest`, `Format`, `Signature`, `Pin`.
    pub fn verified(bytes: &[u8], signature: &[u8], pin: Option<&Pin>) -> Result<Self, ArchiveError> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(|_| ArchiveError::Manifest)?;
        if manifest.format != FORMAT {
            return Err(ArchiveError::Format(manifest.format.chars().take(40).collect()));
        }
        let key = AgentKey::from_openssh(&manifest.agent_key).map_err(|_| ArchiveError::Manifest)?;
        let signature = std::str::from_utf8(signature).map_err(|_| ArchiveError::Manifest)?;
        let public = agent_public_key(key.point()).map_err(|_| ArchiveError::Manifest)?;
        sshsig::verify(&public, NAMESPACE, bytes, signature)?;
        match pin {
            Some(pin) if pin.fingerprint() != key.fingerprint() => {
                Err(ArchiveError::Pin { found: key.fingerprint(), pinned: pin.fingerprint().to_owned() })
            }
            _ => Ok(manifest),
        }
    }

    /// The fingerprint of the key that signed.
    #[must_use]
    pub fn signer(&self) -> String {
        AgentKey::from_openssh(&self.agent_key).map(|key| key.fingerprint()).unwrap_or_default()
    }
}
