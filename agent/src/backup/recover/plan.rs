//! What two people approve before a store moves onto another token, and whether they did.

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use ssh_key::PublicKey;
use strongroom_proto::agent_key::AgentKey;
use strongroom_proto::ids::{OrgId, Slug};
use strongroom_proto::words::{IdentityStatus, OrgRole, VaultRole};

use crate::commands::recovery::Approved;
use crate::identity::verify;
use crate::state::State;
use crate::state::rows::Identity;

/// The namespace of approvals.
pub const NAMESPACE: &str = "strongroom-ceremony@v1";

/// A recovery, as it stands in the text that is signed. The text follows from the facts alone: whoever runs the recovery
/// cannot have signed for another.
pub(super) struct Plan<'a> {
    pub(super) organisation: OrgId,
    /// `archive <sha256>` or `store <records of the org log> <root>`.
    pub(super) source: String,
    pub(super) old_token: &'a str,
    pub(super) old_agent_key: &'a str,
    pub(super) new_token: &'a str,
    pub(super) new_agent_key: &'a AgentKey,
    pub(super) accounts: usize,
    pub(super) copies: usize,
}

impl Plan<'_> {
    /// The text: ASCII lines, each ended by LF.
    pub(super) fn text(&self) -> String {
        let old =
            AgentKey::from_openssh(self.old_agent_key).map_or_else(|_| "none".to_owned(), |key| key.fingerprint());
        format!(
            "strongroom-recovery-plan-v1\norganisation {}\nsource {}\nold-token {}\nold-agent-key {old}\nnew-token {}\n\
             new-agent-key {}\naccounts {}\nrecovery-copies {}\n",
            self.organisation,
            self.source,
            self.old_token,
            self.new_token,
            self.new_agent_key.fingerprint(),
            self.accounts,
            self.copies,
        )
    }
}

/// An approval as it was brought: who, and their signature file's content.
#[derive(Clone, Debug)]
pub struct Approval {
    /// Who says so.
    pub identity: Slug,
    /// The armoured signature over the plan.
    pub signature: String,
}

/// Checks that enough different people of authority signed exactly this plan: two active admins or managers; one admin as
/// long as the organisation never had a second.
pub(super) fn check(
    state: &State,
    plan: &str,
    approvals: &[Approval],
    now: Timestamp,
) -> anyhow::Result<Vec<Approved>> {
    let mut approved: Vec<Approved> = Vec::new();
    for Approval { identity: slug, signature } in approvals {
        let identity = state
            .identity(slug)
            .filter(|identity| identity.status == IdentityStatus::Active && has_authority(state, identity, now))
            .with_context(|| format!("{slug} is no active admin or manager of this organisation"))?;
        if approved.iter().any(|earlier| earlier.identity == identity.id) {
            bail!("{slug} approved twice: a second person has to");
        }
        let key = state.keys_of(identity.id).filter(|key| key.active).find(|key| {
            PublicKey::from_openssh(&key.public_key)
                .is_ok_and(|public| verify(&public, NAMESPACE, plan.as_bytes(), signature).is_ok())
        });
        let key = key.with_context(|| format!("the signature of {slug} is not by a key of theirs over this plan"))?;
        approved.push(Approved {
            identity: identity.id,
            fingerprint: key.fingerprint.clone(),
            signature: signature.clone(),
        });
    }
    let needed = if state.org.sole_admin_ended { 2 } else { 1 };
    if approved.len() < needed {
        bail!(
            "{needed} approvals are needed, {} are here: sign the plan (--plan) with ssh-keygen -Y sign -n {NAMESPACE}",
            approved.len()
        );
    }
    Ok(approved)
}

fn has_authority(state: &State, identity: &Identity, now: Timestamp) -> bool {
    identity.roles.contains(&OrgRole::Admin)
        || state.grants_of(identity.id).any(|grant| grant.role == VaultRole::Manager && grant.in_force(now))
}
