//! The one commit of `hand-over`: the file exists and nobody has it yet. It leaves the agent only after this is durable.

use strongroom_proto::ids::AccountId;
use strongroom_proto::method::Receipt;
use strongroom_proto::words::CeremonyStatus;

use super::super::{Caller, about_account};
use super::step;
use crate::state::LogId;
use crate::state::ceremony::Ceremony;
use crate::store::tx::{Refusal, Tx};

/// Records every account that is in the file, then the file itself, by its digest and by whose key opens it.
///
/// # Errors
/// The refusal of a dead ceremony.
pub fn finish(
    tx: &mut Tx<'_>,
    caller: &Caller,
    ceremony: &Ceremony,
    accounts: &[AccountId],
    recipient: &str,
    file_sha256: &str,
) -> Result<((), Receipt), Refusal> {
    let (current, draft) = step(tx, caller, "vault.hand_over", ceremony)?;
    let log = LogId::Vault(current.vault);
    tx.put(Ceremony { state: CeremonyStatus::Done, ..current.clone() })?;
    for id in accounts {
        // What was removed a moment ago is in the file all the same.
        let mut exported = caller.draft(&tx.state, "account.export").detail("ceremony", current.id.to_string());
        exported.target.account = Some(*id);
        let exported = match tx.state.accounts.get(id) {
            Some(account) => about_account(exported, account),
            None => exported,
        };
        tx.append(log, exported)?;
    }
    let draft =
        draft.detail("accounts", accounts.len()).detail("recipient", recipient).detail("file_sha256", file_sha256);
    let receipt = tx.append(log, draft)?;
    Ok(((), receipt))
}
