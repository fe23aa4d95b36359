//! What two people approve before a store moves onto another token, and whether they did.

use anyhow::{Context as _, bail};
use jiff::{SignedDuration, Timestamp};
use ssh_key::PublicKey;
use strongroom_proto::agent_key::AgentKey;
use strongroom_proto::ids::{OrgId, Slug};
use strongroom_proto::words::{OrgRole, VaultRole};

use crate::commands::recovery::Approved;
use crate::identity::verify;
use crate::state::State;
use crate::state::rows::Identity;

/// The namespace of approvals.
pub const NAMESPACE: &str = "strongroom-ceremony@v1";

/// How long a plan is good for after it was made: who signed it must still know why.
const PLAN_LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How far ahead the clock of a plan may have been.
const AHEAD_MAX: SignedDuration = SignedDuration::from_hours(1);
const PLANNED_AT: &str = "planned-at ";

/// A recovery, as it stands in the text that is signed. The text follows from the facts and the time alone: whoever runs
/// the recovery cannot have signed for another.
pub(super) struct Plan<'a> {
    pub(super) planned_at: Timestamp,
    pub(super) organisation: OrgId,
    /// `archive <sha256>` or `store <records of the org log> <root>`.
    pub(super) source: &'a str,
    /// Whoever was revoked after this is not known to be.
    pub(super) state_at: Timestamp,
    /// The fingerprint of the old agent key, which signed manifest and store keys.
    pub(super) signer: &'a str,
    pub(super) old_token: &'a str,
    pub(super) new_token: &'a str,
    pub(super) new_agent_key: AgentKey,
    pub(super) accounts: usize,
    pub(super) copies: usize,
}

impl Plan<'_> {
    /// The text: ASCII lines, each ended by LF.
    pub(super) fn text(&self) -> String {
        format!(
            "strongroom-recovery-plan-v1\n{PLANNED_AT}{}\norganisation {}\nsource {}\nstate-of {}\nstate-age-h {}\n\
             signed-by {}\nold-token {}\nnew-token {}\nnew-agent-key {}\naccounts {}\nrecovery-copies {}\n",
            self.planned_at,
            self.organisation,
            self.source,
            self.state_at,
            self.planned_at.duration_since(self.state_at).as_hours(),
            self.signer,
            self.old_token,
            self.new_token,
            self.new_agent_key.fingerprint(),
            self.accounts,
            self.copies,
        )
    }
}

/// When a plan was made, if that is not too long ago.
pub(crate) fn planned_at(plan: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    let at: Timestamp = plan
        .lines()
        .find_map(|line| line.strip_prefix(PLANNED_AT))
        .and_then(|at| at.parse().ok())
        .context("the file of --plan is no plan")?;
    let age = now.duration_since(at);
    if age > PLAN_LIFE {
        bail!("the plan of {at} is older than 7 days: make a new one with --plan, and have it signed");
    }
    if age < -AHEAD_MAX {
        bail!("the plan of {at} is from the future: correct the clock, or make a new one with --plan");
    }
    Ok(at)
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
pub(crate) fn check(
    state: &State,
    plan: &str,
    approvals: &[Approval],
    now: Timestamp,
) -> anyhow::Result<Vec<Approved>> {
    let mut approved: Vec<Approved> = Vec::new();
    for Approval { identity: slug, signature } in approvals {
        let identity = state
            .identity(slug)
            .filter(|identity| identity.is_active(now) && has_authority(state, identity, now))
            .with_context(|| format!("{slug} is no active admin or manager of this organisation"))?;
        if approved.iter().any(|earlier| earlier.identity == identity.id) {
            bail!("{slug} approved twice: a second person has to");
        }
        let key = state.keys_of(identity.id).filter(|key| key.logs_in()).find(|key| {
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
        || state.grants_for(identity.id).any(|grant| grant.role == VaultRole::Manager && grant.in_force(now))
}
