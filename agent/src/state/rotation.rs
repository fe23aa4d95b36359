//! The rotation list: seeds that somebody knew who has left. Whoever imported an account has seen its seed, and revoking them
//! does not take it out of their notes: only a new seed does.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strongroom_proto::ids::{AccountId, IdentityId, VaultId};
use strongroom_proto::words::{CeremonyKind, CeremonyStatus, RotationCause};

use super::rows::{Account, row};
use super::{LogId, State};

/// An account whose seed has to be replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// In which vault.
    pub vault: VaultId,
    /// Which account.
    pub account: AccountId,
    /// Because of whom.
    pub identity: IdentityId,
    /// How they came to know it.
    pub cause: RotationCause,
    /// Since when.
    pub since: Timestamp,
}

impl State {
    /// The accounts whose seeds somebody knows or could know: those they imported, and those that were handed over in a ceremony
    /// of theirs.
    #[must_use]
    pub fn seeds_known_to(&self, identity: IdentityId) -> Vec<(VaultId, AccountId, RotationCause)> {
        let handed: Vec<(VaultId, Timestamp)> = self
            .ceremonies
            .values()
            .filter(|ceremony| ceremony.kind == CeremonyKind::HandOver && ceremony.state == CeremonyStatus::Done)
            .filter(|ceremony| ceremony.has_party(identity))
            .map(|ceremony| (ceremony.vault, ceremony.created_at))
            .collect();
        let known = |account: &Account| {
            if account.seed_by == Some(identity) {
                return Some(RotationCause::Imported);
            }
            let gone = handed.iter().any(|(vault, at)| *vault == account.vault && account.created_at <= *at);
            gone.then_some(RotationCause::HandedOver)
        };
        let accounts = self.accounts.values();
        accounts.filter_map(|account| known(account).map(|cause| (account.vault, account.id, cause))).collect()
    }

    /// The rotation list of a vault.
    pub fn rotations_of(&self, vault: VaultId) -> impl Iterator<Item = &Rotation> {
        let first = (vault, AccountId::from_uuid(uuid::Uuid::nil()));
        self.rotations.range(first..).take_while(move |((of, _), _)| *of == vault).map(|(_, rotation)| rotation)
    }
}

row!(Rotation, "rotation", decides: true,
key: |rotation| rotation.account.as_bytes().to_vec(), log: |rotation| LogId::Vault(rotation.vault), names: Nothing,
place: |rotation, state| { state.rotations.insert((rotation.vault, rotation.account), rotation); },
displace: |rotation, state| { state.rotations.remove(&(rotation.vault, rotation.account)); });
