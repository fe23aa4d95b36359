//! Durable state. Engines keep rows and records; what a command means is decided above them, by pure code in
//! [`crate::commands`] working on a [`tx::Tx`]. Storage is untrusted: rows are sealed before they get here ([`sealer`]).

pub mod durable;
pub mod sealer;
pub mod sqlite;
pub mod tx;

#[cfg(test)]
mod search_tests;
#[cfg(test)]
pub(crate) mod tests;

use strongroom_proto::audit::pruned::Pruned;
use strongroom_proto::error::{ErrorKind, Failure};

use self::sealer::Tampered;

/// Why the store did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A row or record could not be written down.
    #[error("a {0} could not be encoded")]
    Encoding(&'static str),
    /// The commit failed; nothing of it happened.
    #[error("the store could not commit: {0}")]
    Commit(String),
    /// The store failed twice in a row, or does not match its logs.
    #[error("the store is sealed: {0}")]
    Sealed(String),
    /// The write queue is full.
    #[error("the store is busy")]
    Busy,
    /// The writer has ended.
    #[error("the store is closed")]
    Closed,
    /// The records asked for were pruned.
    #[error("records 0 to {} were pruned at {}", .0.until.saturating_sub(1), .0.at)]
    Pruned(Pruned),
    /// A read failed.
    #[error("the store could not be read: {0}")]
    Read(String),
    /// A row does not match its tag.
    #[error(transparent)]
    Tampered(#[from] Tampered),
    /// Another agent has the store.
    #[error("another agent is using this store")]
    InUse,
    /// The store could not be opened.
    #[error("the store could not be opened: {0}")]
    Open(String),
}

/// Why a submitted command did not happen.
#[derive(Debug)]
pub enum Refused {
    /// It was decided against; the denial has been recorded if it deserves a record.
    Denied(Failure),
    /// The store failed: nothing happened.
    Store(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        if let StoreError::Pruned(pruned) = &error {
            let Pruned { at, until, .. } = pruned;
            let day = at.strftime("%Y-%m-%d");
            let sentence =
                format!("The records before {until} were pruned on {day}: an export from before then has them.");
            return Self::new(ErrorKind::Pruned, sentence);
        }
        let kind = match error {
            StoreError::Sealed(_) | StoreError::Tampered(_) => ErrorKind::AuditUnavailable,
            StoreError::Encoding(_) => ErrorKind::Internal,
            _ => ErrorKind::StoreUnavailable,
        };
        let message = match error {
            StoreError::Sealed(_) | StoreError::Tampered(_) => {
                "The store does not match its audit log, or failed twice: nothing is released until an operator has looked."
            }
            StoreError::Busy => "The store has too much to do just now; try again.",
            StoreError::Encoding(_) => "The agent could not write this down.",
            _ => "The audit record could not be made durable, so nothing was done.",
        };
        Self::new(kind, message)
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Denied(failure) => failure,
            Refused::Store(error) => {
                tracing::error!(%error, "store");
                error.into()
            }
        }
    }
}
