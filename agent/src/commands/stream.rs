//! Commands about streams: that one lags behind its logs, and that it has caught up.

use jiff::Timestamp;
use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::method::Receipt;

use crate::state::LogId;
use crate::store::tx::{Draft, Refusal, Tx};

/// Longest cause in a record, in bytes: a receiver's words are not ours.
const ERROR_LEN_MAX: usize = 200;

/// A stream that is behind.
pub struct Lag {
    /// Its name.
    pub name: String,
    /// When the oldest record was made that was not sent.
    pub since: Timestamp,
    /// How many were not.
    pub records: u64,
    /// Why, if that is known.
    pub error: Option<String>,
}

/// Records that a stream is behind for longer than it may be.
///
/// # Errors
/// Only if it cannot be written down.
pub fn behind(tx: &mut Tx<'_>, lag: &Lag) -> Result<((), Receipt), Refusal> {
    let mut draft = Draft::new("stream.behind")
        .detail("stream", lag.name.clone())
        .detail("since", lag.since.to_string())
        .detail("records", lag.records)
        .detail("alert", "a copy of the trail is behind");
    if let Some(error) = &lag.error {
        let plain: String = error.chars().filter(|character| !character.is_control()).collect();
        let end = (0..=plain.len().min(ERROR_LEN_MAX)).rev().find(|end| plain.is_char_boundary(*end));
        draft = draft.detail("reason", plain.get(..end.unwrap_or(0)).unwrap_or_default());
    }
    draft.outcome = RecordOutcome::Failed;
    let receipt = tx.append(LogId::Org, draft)?;
    Ok(((), receipt))
}

/// Records that a stream has caught up.
///
/// # Errors
/// Only if it cannot be written down.
pub fn caught_up(tx: &mut Tx<'_>, name: &str, behind_s: u64) -> Result<((), Receipt), Refusal> {
    let draft = Draft::new("stream.caught_up").detail("stream", name).detail("behind_s", behind_s);
    let receipt = tx.append(LogId::Org, draft)?;
    Ok(((), receipt))
}
