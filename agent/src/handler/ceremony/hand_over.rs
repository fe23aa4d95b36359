//! Running `hand-over`: the file is made where seeds may be open, recorded, and only then given out.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::AccountId;
use strongroom_proto::method::ceremony::Ran;
use strongroom_proto::words::CeremonyStatus;

use super::run::{Work, stored};
use crate::commands::ceremony::hand_over as command;
use crate::keystore::batch::{HAND_OVER_MAX, HandOver, HandOverAccount};
use crate::recovery::ClientRecipient;
use crate::state::State;
use crate::state::ceremony::Ceremony;
use crate::state::rows::Account;

/// Longest file, in bytes: in base64 it fits an answer.
const FILE_LEN_MAX: usize = 700 * 1024;

pub(super) async fn hand_over(work: &mut Work<'_>) -> Result<Ran, Failure> {
    let order = order(&work.agent.store.view(), &work.ceremony, work.agent.now())?;
    let ids: Vec<AccountId> = order.accounts.iter().map(|account| account.seed.context.account).collect();
    let fingerprint = ClientRecipient::parse(&order.recipient)
        .map(|recipient| recipient.fingerprint())
        .map_err(|error| Failure::new(ErrorKind::Internal, format!("The recipient: {error}.")))?;
    let recovery =
        work.recovery.as_ref().ok_or_else(|| Failure::new(ErrorKind::InvalidParams, "recovery_key is needed."))?;
    let file = work.agent.token(work.agent.workers.hand_over(order, recovery)).await?;
    if file.len() > FILE_LEN_MAX {
        return Err(Failure::new(ErrorKind::TooLarge, "The file would be longer than an answer may be."));
    }
    // A revocation of the caller waits until the peer has read the file, or it was not given out.
    work.flight = Some(work.agent.flights.depart(work.caller.identity()));
    let (accounts, sha256) = (ids.len() as u64, hex::encode(Sha256::digest(&file)));
    work.commit(move |tx, caller, ceremony| command::finish(tx, caller, ceremony, &ids, &fingerprint, &sha256)).await?;
    Ok(Ran {
        status: CeremonyStatus::Done,
        done: accounts,
        accounts,
        certificate: None,
        file: Some(BASE64_STANDARD.encode(file)),
        receipt: work.receipt.clone(),
    })
}

fn order(view: &State, ceremony: &Ceremony, made_at: Timestamp) -> Result<HandOver, Failure> {
    let vault = view.vaults.get(&ceremony.vault).ok_or_else(Failure::not_found)?;
    let accounts: Vec<_> = view.accounts_of(vault.id).collect();
    if accounts.is_empty() {
        return Err(Failure::new(ErrorKind::Conflict, "This vault has no accounts: there is nothing to hand over."));
    }
    if accounts.len() > HAND_OVER_MAX {
        let message = format!("A hand-over has at most {HAND_OVER_MAX} accounts; this vault has {}.", accounts.len());
        return Err(Failure::new(ErrorKind::TooLarge, message));
    }
    let one = |account: &&Account| {
        // Left out, it would be lost when the vault is destroyed after the hand-over.
        let seed = stored(view, std::iter::once(account.id)).pop().ok_or_else(|| {
            let name = &account.names.slug;
            let message = format!("The account {name} has no whole seed for this token: an operator must look.");
            Failure::new(ErrorKind::Internal, message)
        })?;
        Ok(HandOverAccount {
            account: account.names.slug.clone(),
            issuer: account.names.issuer.clone(),
            label: account.names.label.clone(),
            next_counter: account.next_counter,
            seed,
        })
    };
    Ok(HandOver {
        vault: vault.names.slug.clone(),
        name: vault.names.name.clone(),
        made_at,
        recipient: ceremony.recipient.clone().unwrap_or_default(),
        accounts: accounts.iter().map(one).collect::<Result<_, Failure>>()?,
    })
}
