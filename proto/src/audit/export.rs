//! The export folder: a whole log as files that a client keeps and checks without agent and token. AUDIT-FORMAT.md
//! describes it for people who write a verifier of their own; `verify.py` is one.
//!
//! | file | holds |
//! | --- | --- |
//! | `log.ndjson` | every record, verbatim, one per line; in the place of each that was pruned its hash |
//! | `state.json` | what the pruned records had said, if any were |
//! | `checkpoint` | size and root of exactly these records, signed |
//! | `checkpoints/<size>` | older ones: they narrow down where a change is, and show that the log only ever grew |
//! | `log.pub` | the key that signed, to be compared with the pinned one |
//! | `log.keys` | statements by which older keys vouch for `log.pub`; only where another token took over |
//! | `openings.ndjson` | the values behind commitments; lines, or the whole file, may be withheld |
//! | `README.txt` | how to check all this |

use serde::{Deserialize, Serialize};

use super::opening::Opening;

mod ahead;
mod error;
mod gone;
mod milestone;
mod openings;
mod pin;
mod read;
mod signatures;
mod verify;
mod write;

pub use error::{ExportError, PinError, Records, SignersError, VerifyError};
pub use gone::{is_pruned_line, pruned_state};
pub use pin::Pin;
pub use signatures::{Signatures, Signers, verify_signatures};
pub use verify::{Verified, verify_folder};
pub use write::ExportWriter;

/// The file of records.
pub const LOG_FILE: &str = "log.ndjson";
/// The file of the newest checkpoint.
pub const CHECKPOINT_FILE: &str = "checkpoint";
/// The folder of older checkpoints, each named by its size.
pub const OLDER_FOLDER: &str = "checkpoints";
/// The file of the public key, SubjectPublicKeyInfo in PEM.
pub const KEY_FILE: &str = "log.pub";
/// The file of statements by which one key of the logs vouched for the next.
pub const LOG_KEYS_FILE: &str = "log.keys";
/// The file of the state snapshot, in folders that begin with pruned records.
pub const STATE_FILE: &str = "state.json";
/// Longest state snapshot that is read, in bytes: that of some hundred thousand grants.
pub const STATE_LEN_MAX: usize = 256 * 1024 * 1024;
/// The file of openings.
pub const OPENINGS_FILE: &str = "openings.ndjson";
/// The file that tells people what to do.
pub const README_FILE: &str = "README.txt";
/// Longest line of `openings.ndjson`, in bytes.
pub const OPENING_LEN_MAX: usize = 16 * 1024;
/// Most older checkpoints that a folder may hold.
pub const OLDER_LEN_MAX: usize = 10_000;

/// One line of `openings.ndjson`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OpeningLine {
    /// The record.
    seq: u64,
    /// Which of its commitments.
    field: String,
    /// 16 bytes in base64.
    salt: String,
    /// The value.
    value: String,
}

impl OpeningLine {
    fn new(seq: u64, opening: &Opening) -> Self {
        let Opening { field, salt, value } = opening.clone();
        Self { seq, field, salt, value }
    }

    fn into_opening(self) -> Opening {
        Opening { field: self.field, salt: self.salt, value: self.value }
    }
}
