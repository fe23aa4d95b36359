//! The command behind the comparison of the token's uses with the logs.

use jiff::Timestamp;
use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::VaultId;
use strongroom_proto::method::Receipt;

use crate::state::LogId;
use crate::store::tx::{Draft, Refusal, Tx};

/// What a vault's keys did in this run of the agent, and what explains it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Codes that the workers say its keys made.
    pub uses: u64,
    /// Records of releases.
    pub records: u64,
    /// Uses that the agent says ended without a release.
    pub other: u64,
    /// Uses that were under way.
    pub open: u64,
    /// Uses of workers that have ended since: their own last word, or what the agent heard.
    pub by_ended: u64,
    /// Since when this run goes on.
    pub since: Timestamp,
}

impl Comparison {
    /// Uses that nothing explains.
    #[must_use]
    pub const fn unexplained(&self) -> u64 {
        self.uses.saturating_sub(self.records + self.other + self.open)
    }
}

/// Records comparisons, each in its vault's log. One whose log is sealed or gone is passed over: nothing is released there.
///
/// # Errors
/// `conflict` if none of the logs takes a record.
pub fn compared(tx: &mut Tx<'_>, found: &[(VaultId, Comparison)]) -> Result<(usize, Receipt), Refusal> {
    let (mut count, mut receipt) = (0, None);
    for (vault, comparison) in found {
        let log = LogId::Vault(*vault);
        if tx.check_whole(log).is_err() || !tx.state.heads.contains_key(&log) {
            continue;
        }
        let Comparison { uses, records, other, open, by_ended, since } = *comparison;
        let mut draft = Draft::new("token.reconcile")
            .detail("by_ended", by_ended)
            .detail("open", open)
            .detail("other", other)
            .detail("records", records)
            .detail("since", since.to_string())
            .detail("unexplained", comparison.unexplained())
            .detail("uses", uses);
        if comparison.unexplained() > 0 {
            draft = draft.detail("alert", "the vault's keys made codes that no record speaks of");
            draft.outcome = RecordOutcome::Failed;
        }
        receipt = Some(tx.append(log, draft)?);
        count += 1;
    }
    let nothing = || Refusal::from(Failure::new(ErrorKind::Conflict, "No log takes a comparison."));
    receipt.map(|receipt| (count, receipt)).ok_or_else(nothing)
}
