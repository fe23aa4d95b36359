//! Commands about witnesses: that one did not sign a log, and that it does again.

use jiff::Timestamp;
use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::method::Receipt;

use crate::state::LogId;
use crate::store::tx::{Draft, Tx};

/// Longest cause in a record, in bytes: a witness's words are not ours.
const REASON_LEN_MAX: usize = 200;

/// A witness that did not sign.
pub struct Refusal {
    /// What it is called here.
    pub witness: String,
    /// Which log.
    pub log: LogId,
    /// Why.
    pub reason: String,
}

/// Records that a witness did not sign a log.
///
/// # Errors
/// Only if it cannot be written down.
pub fn refused(tx: &mut Tx<'_>, refusal: &Refusal) -> Result<((), Receipt), crate::store::tx::Refusal> {
    let plain: String = refusal.reason.chars().filter(|character| !character.is_control()).collect();
    let end = (0..=plain.len().min(REASON_LEN_MAX)).rev().find(|end| plain.is_char_boundary(*end));
    let mut draft = Draft::new("witness.refused")
        .detail("witness", refusal.witness.clone())
        .detail("reason", plain.get(..end.unwrap_or(0)).unwrap_or_default())
        .detail("alert", "a witness does not sign a log");
    if let LogId::Vault(vault) = refusal.log {
        draft.target.vault = Some(vault);
    }
    draft.outcome = RecordOutcome::Failed;
    let receipt = tx.append(LogId::Org, draft)?;
    Ok(((), receipt))
}

/// Records that a witness signs a log again.
///
/// # Errors
/// Only if it cannot be written down.
pub fn back(
    tx: &mut Tx<'_>,
    witness: &str,
    log: LogId,
    since: Timestamp,
) -> Result<((), Receipt), crate::store::tx::Refusal> {
    let mut draft = Draft::new("witness.back").detail("witness", witness).detail("since", since.to_string());
    if let LogId::Vault(vault) = log {
        draft.target.vault = Some(vault);
    }
    let receipt = tx.append(LogId::Org, draft)?;
    Ok(((), receipt))
}
