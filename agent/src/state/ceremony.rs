//! A ceremony as the store keeps it: what two people have signed, and how far it is.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strongroom_proto::ceremony::Content;
use strongroom_proto::ids::{CeremonyId, IdentityId, VaultId};
use strongroom_proto::method::ceremony::Certificate;
use strongroom_proto::words::{CeremonyKind, CeremonyStatus, Scheme};

/// One of the two people of a ceremony, with the key that signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// Who.
    pub identity: IdentityId,
    /// Fingerprint of the key.
    pub key: String,
}

/// A ceremony. It decides access: an old row put back would be an approval put back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ceremony {
    /// For ever.
    pub id: CeremonyId,
    /// To which vault.
    pub vault: VaultId,
    /// What is done.
    pub kind: CeremonyKind,
    /// `rotate-key`: the scheme of the new key.
    pub scheme: Option<Scheme>,
    /// `hand-over`: the client's own key.
    pub recipient: Option<String>,
    /// Who proposed it.
    pub proposer: Party,
    /// Who confirmed it.
    pub confirmer: Option<Party>,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when it can be confirmed and begun.
    pub expires_at: Timestamp,
    /// What the confirmation named.
    pub digest: String,
    /// How far it is; time has its own say ([`Ceremony::status`]).
    pub state: CeremonyStatus,
    /// `rotate-key`: the number of the new key, noted before the token is asked for it. Each attempt has a number of its own,
    /// never given again: an attempt that comes late makes a key that nothing uses, and nothing else.
    pub new_key: Option<u32>,
    /// `rotate-key`: nothing is sealed under the old keys any more; they may be gone from the token already.
    pub retiring: bool,
    /// Reason, ticket and certificate.
    #[serde(skip)]
    pub names: CeremonyNames,
}

/// What people wrote, and what the agent certified; it names people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CeremonyNames {
    /// Why.
    pub reason: String,
    /// Ticket number.
    pub ticket: Option<String>,
    /// `destroy`: the agent's word that the key is gone.
    pub certificate: Option<Certificate>,
}

impl Ceremony {
    /// What both people see and sign.
    #[must_use]
    pub fn content(&self) -> Content {
        Content {
            ceremony: self.id,
            vault: self.vault,
            kind: self.kind,
            scheme: self.scheme,
            recipient: self.recipient.clone(),
            proposer: self.proposer.identity,
            reason: self.names.reason.clone(),
            ticket: self.names.ticket.clone(),
            created_at: self.created_at,
            expires_at: self.expires_at,
        }
    }

    /// How far it is at `now`. One that has begun does not expire: what it began has to be finished.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> CeremonyStatus {
        match self.state {
            CeremonyStatus::Proposed | CeremonyStatus::Confirmed if now >= self.expires_at => CeremonyStatus::Expired,
            state => state,
        }
    }

    /// True if seeds leave the agent.
    #[must_use]
    pub fn gives_seeds(&self) -> bool {
        self.kind == CeremonyKind::HandOver
    }

    /// True if somebody is one of its two people.
    #[must_use]
    pub fn has_party(&self, identity: IdentityId) -> bool {
        self.proposer.identity == identity
            || self.confirmer.as_ref().is_some_and(|confirmer| confirmer.identity == identity)
    }
}
