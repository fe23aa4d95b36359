//! The commit that prunes a log: what the records that go had said is kept and named in a record, the bound moves, and a record
//! says so. The bodies go behind it.

use strongroom_proto::audit::pruned::Pruned;
use strongroom_proto::audit::replay::LogState;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::method::Receipt;

use crate::state::LogId;
use crate::state::retention::Retention;
use crate::store::tx::{Draft, Refusal, Tx};

/// A pruning as it was prepared.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which log.
    pub log: LogId,
    /// The first record that goes: the bound as it is.
    pub from: u64,
    /// The first that stays: the bound as it becomes.
    pub until: u64,
    /// The state snapshot over all records before `until`.
    pub text: String,
}

/// Prunes a log.
///
/// # Errors
/// `conflict` if the log was pruned since the plan was made or has no such records; [`crate::store::StoreError::Sealed`] if it
/// does not match.
pub fn prune(tx: &mut Tx<'_>, plan: &Plan) -> Result<(Pruned, Receipt), Refusal> {
    let Plan { log, from, until, text } = plan;
    tx.check_whole(*log)?;
    let size = tx.state.heads.get(log).map_or(0, |head| head.frontier.size());
    if tx.state.kept_from(*log) != *from || from >= until || *until > size {
        return Err(Failure::new(ErrorKind::Conflict, "The log is not any more what was to be pruned.").into());
    }
    let sha256 = LogState::sha256(text);
    let named =
        Draft::new("log.snapshot").detail("size", *until).detail("sha256", sha256.clone()).detail("bytes", text.len());
    let snapshot = tx.append(*log, named)?;
    tx.keep_snapshot(*log, *until, text.clone());
    let pruned = Pruned { at: tx.now, record: snapshot.seq + 1, snapshot: sha256.clone(), until: *until };
    tx.put(Retention::new(*log, pruned.clone()))?;
    let told = Draft::new("log.prune")
        .detail("from", *from)
        .detail("until", *until)
        .detail("records", until - from)
        .detail("snapshot", sha256);
    let receipt = tx.append(*log, told)?;
    Ok((pruned, receipt))
}
