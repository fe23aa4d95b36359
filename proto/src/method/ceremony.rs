//! `ceremony.*`: what two people do to a vault together.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::session::StepUp;
use super::{Changed, Receipt, SteppedUp, method};
use crate::ceremony::Content;
use crate::ids::{CeremonyId, IdentityId, Slug, VaultId};
use crate::words::{CeremonyKind, CeremonyStatus, Scheme};

/// How long a ceremony waits for its second person and its run, in seconds.
pub const LIFE_S: i64 = 24 * 60 * 60;
/// Longest recipient, in bytes.
pub const RECIPIENT_LEN_MAX: usize = 200;

/// Proposes a ceremony. Admins and the vault's managers; signed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Propose {
    /// To which vault.
    pub vault: Slug,
    /// What.
    pub kind: CeremonyKind,
    /// `rotate-key`: the scheme of the new key; the vault's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Scheme>,
    /// `destroy`: the vault's slug once more, typed by a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Slug>,
    /// `hand-over`: the client's own key, `age1…` or `ssh-ed25519 base64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// Why, 1 to 500 bytes.
    pub reason: String,
    /// Ticket number, at most 100 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// The proposer's signature over the other parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_up: Option<StepUp>,
}
method!(Propose => "ceremony.propose" -> Proposed);

impl SteppedUp for Propose {
    fn step_up(&mut self) -> &mut Option<StepUp> {
        &mut self.step_up
    }
}

/// The ceremony waits for a second person.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Proposed {
    /// Its id.
    pub ceremony: CeremonyId,
    /// What a confirmation names ([`Content::digest`]).
    pub digest: String,
    /// Until when it can be confirmed and begun.
    pub expires_at: Timestamp,
    /// Who may confirm it.
    pub may_confirm: Vec<Slug>,
    /// Where it was recorded.
    pub receipt: Receipt,
}

/// Lists ceremonies, newest first: those of vaults whose managers, auditors or admins the caller belongs to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Only of this vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<Slug>,
}
method!(List => "ceremony.list" -> ListResult);

/// The ceremonies.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListResult {
    /// Newest first, at most 200.
    pub items: Vec<Item>,
}

/// One ceremony.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Item {
    /// Its id.
    pub ceremony: CeremonyId,
    /// To which vault.
    pub vault: Slug,
    /// The vault's id.
    pub vault_id: VaultId,
    /// What.
    pub kind: CeremonyKind,
    /// `rotate-key`: the scheme of the new key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Scheme>,
    /// `hand-over`: the client's own key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// By whom.
    pub proposer: Slug,
    /// By whom, as the digest names them.
    pub proposer_id: IdentityId,
    /// Who confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmer: Option<Slug>,
    /// Why.
    pub reason: String,
    /// Ticket number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when it can be confirmed and begun.
    pub expires_at: Timestamp,
    /// What a confirmation names.
    pub digest: String,
    /// How far it is.
    pub status: CeremonyStatus,
}

impl Item {
    /// What a confirmation signs, built from what was shown.
    #[must_use]
    pub fn content(&self) -> Content {
        Content {
            ceremony: self.ceremony,
            vault: self.vault_id,
            kind: self.kind,
            scheme: self.scheme,
            recipient: self.recipient.clone(),
            proposer: self.proposer_id,
            reason: self.reason.clone(),
            ticket: self.ticket.clone(),
            created_at: self.created_at,
            expires_at: self.expires_at,
        }
    }
}

/// Shows one ceremony, with its certificate if it has one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Show {
    /// Which.
    pub ceremony: CeremonyId,
}
method!(Show => "ceremony.show" -> Shown);

/// One ceremony.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shown {
    /// As in the list.
    #[serde(flatten)]
    pub item: Item,
    /// `destroy`, once done: what was destroyed, signed by the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
}

/// A statement of the agent for people outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// What it says: lines of `word value`.
    pub text: String,
    /// Armoured SSHSIG over the text by the agent identity key, namespace [`crate::login::CERTIFICATE_NAMESPACE`].
    pub signature: String,
}

/// Confirms a ceremony that somebody else proposed. Admins and the vault's managers; signed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirm {
    /// Which.
    pub ceremony: CeremonyId,
    /// The digest of what was read, computed by the confirmer ([`Content::digest`]).
    pub digest: String,
    /// The confirmer's signature over the other parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_up: Option<StepUp>,
}
method!(Confirm => "ceremony.confirm" -> Changed);

impl SteppedUp for Confirm {
    fn step_up(&mut self) -> &mut Option<StepUp> {
        &mut self.step_up
    }
}

/// Takes a ceremony back that has not begun. Its proposer, and everybody who may confirm it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    /// Which.
    pub ceremony: CeremonyId,
    /// Why, at most 500 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
method!(Cancel => "ceremony.cancel" -> Changed);

/// Runs a confirmed ceremony, or goes on with one that has begun. One of its two people. Has no `Debug`: it may hold the
/// recovery key.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Which.
    pub ceremony: CeremonyId,
    /// The private half of a recovery recipient, `AGE-SECRET-KEY-1…`; used for this call and wiped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_key: Option<Zeroizing<String>>,
}
method!(Run => "ceremony.run" -> Ran);

/// How far it came.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ran {
    /// `running`: call again; `done`: it is over.
    pub status: CeremonyStatus,
    /// Accounts that are done.
    pub done: u64,
    /// Accounts in all.
    pub accounts: u64,
    /// `destroy`: what was destroyed, signed by the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// `hand-over`: the age file for the client, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Where the newest step was recorded.
    pub receipt: Receipt,
}
