//! The second token of a store: what it holds, and what is still on its way to it. The first token's keys and seals are in
//! [`super::rows`]; nothing here takes their place.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strongroom_proto::ids::{AccountId, VaultId};

use super::rows::row;
use super::{LogId, State};
use crate::keystore::{SealedSeed, TokenId, VaultKey};

/// A token that serves the same store as the first one. It decides access: an old row put back would bring back a token that
/// left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondToken {
    /// Which token.
    pub token: TokenId,
    /// The agent identity key in it, OpenSSH text.
    pub agent_key: String,
    /// Whom new seeds are encrypted to for it (`age1…`).
    pub recipient: String,
    /// The private half of that recipient, base64; only this token opens it.
    pub sealed_identity: String,
    /// Whether every seed was seen to give the same codes there. Before that it serves nobody.
    pub joined: bool,
    /// Since when.
    pub since: Timestamp,
}

/// A vault key in the second token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondKey {
    /// Label, scheme and key-check value.
    pub key: VaultKey,
    /// True once the vault's key in the first token was rotated: this one takes no new seeds, and is destroyed when nothing
    /// is sealed under it any more.
    pub retiring: bool,
    /// Since when.
    pub created_at: Timestamp,
}

/// A seed, sealed for the second token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondSeed {
    /// Of which account.
    pub account: AccountId,
    /// In which vault.
    pub vault: VaultId,
    /// Of which seed of the account.
    pub revision: u32,
    /// Scheme, token, key number and blob.
    pub sealed: SealedSeed,
}

/// A seed on its way to the second token, encrypted to its import recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportCopy {
    /// Of which account.
    pub account: AccountId,
    /// In which vault.
    pub vault: VaultId,
    /// Of which seed of the account.
    pub revision: u32,
    /// An age v1 file in base64.
    pub copy: String,
}

row!(SecondToken, "second_token", decides: true,
    key: |row| row.token.as_str().as_bytes().to_vec(), log: |_| LogId::Org, names: Nothing,
    place: |row, state| state.second = Some(row),
    displace: |_, state| state.second = None);

row!(SecondKey, "second_key", decides: true,
    key: |row| [row.key.vault.as_bytes().as_slice(), &row.key.number.to_be_bytes()].concat(),
    log: |row| LogId::Vault(row.key.vault), names: Nothing,
    place: |row, state| { state.second_keys.insert((row.key.vault, row.key.number), row); },
    displace: |row, state| { state.second_keys.remove(&(row.key.vault, row.key.number)); });

row!(SecondSeed, "second_seed", decides: true,
    key: |row| row.account.as_bytes().to_vec(), log: |row| LogId::Vault(row.vault), names: Nothing,
    place: |row, state| { state.second_seeds.insert(row.account, row); },
    displace: |row, state| { state.second_seeds.remove(&row.account); });

row!(ImportCopy, "import_copy", decides: true,
    key: |row| row.account.as_bytes().to_vec(), log: |row| LogId::Vault(row.vault), names: Nothing,
    place: |row, state| { state.import_copies.insert(row.account, row); },
    displace: |row, state| { state.import_copies.remove(&row.account); });

impl State {
    /// The second token, once it has joined.
    #[must_use]
    pub fn joined(&self) -> Option<&SecondToken> {
        self.second.as_ref().filter(|second| second.joined)
    }

    /// The keys of a vault in the second token, oldest first.
    pub fn second_keys_of(&self, vault: VaultId) -> impl Iterator<Item = &SecondKey> {
        self.second_keys.range((vault, 0)..=(vault, u32::MAX)).map(|(_, row)| row)
    }

    /// The key of a vault in the second token that new seeds are sealed under.
    #[must_use]
    pub fn second_key(&self, vault: VaultId) -> Option<&SecondKey> {
        self.second_keys_of(vault).last().filter(|row| !row.retiring)
    }

    /// What the second token needs for an account's codes, if the account's seed as it is now has reached it.
    #[must_use]
    pub fn second_seal(&self, account: AccountId) -> Option<(VaultKey, SealedSeed)> {
        let joined = self.joined()?;
        let account = self.accounts.get(&account)?;
        let seed = self.second_seeds.get(&account.id).filter(|seed| seed.revision == account.revision)?;
        let key = self.second_keys.get(&(account.vault, seed.sealed.key_number))?;
        (seed.sealed.token == joined.token).then(|| (key.key.clone(), seed.sealed.clone()))
    }
}
