//! What two people sign before a token joins a store or leaves it.

use anyhow::bail;
use jiff::Timestamp;
use strongroom_proto::ids::OrgId;

use crate::backup::recover::{Approval, check_approvals, planned_at};
use crate::commands::second::Signed;
use crate::state::State;

/// What is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Join,
    LeaveFirst,
    LeaveSecond,
}

impl What {
    const fn word(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::LeaveFirst => "leave-first",
            Self::LeaveSecond => "leave-second",
        }
    }
}

/// A plan. Its text follows from the facts and the time alone: whoever carries it out cannot have signed for another token.
pub(super) struct Plan<'a> {
    pub(super) planned_at: Timestamp,
    pub(super) what: What,
    pub(super) organisation: OrgId,
    pub(super) first_token: &'a str,
    pub(super) second_token: &'a str,
    /// Fingerprint of the agent identity key in the second token: clients pin it.
    pub(super) second_agent_key: &'a str,
}

impl Plan<'_> {
    /// The text: ASCII lines, each ended by LF.
    pub(super) fn text(&self) -> String {
        format!(
            "strongroom-second-token-plan-v1\nplanned-at {}\nwhat {}\norganisation {}\nfirst-token {}\nsecond-token {}\n\
             second-agent-key {}\n",
            self.planned_at,
            self.what.word(),
            self.organisation,
            self.first_token,
            self.second_token,
            self.second_agent_key,
        )
    }

    /// Checks that this very plan was signed by people who may decide it. `self` has the time of now.
    pub(super) fn signed(self, state: &State, signed: &str, approvals: &[Approval]) -> anyhow::Result<Signed> {
        let now = self.planned_at.max(state.latest);
        let plan = Self { planned_at: planned_at(signed, now)?, ..self }.text();
        if plan != signed {
            bail!("this plan is for something else: make a new one without --approval, and have it signed");
        }
        let approvals = check_approvals(state, &plan, approvals, now)?;
        Ok(Signed { plan, approvals })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_says_what_is_decided_and_about_which_tokens() {
        let plan = |what| Plan {
            planned_at: Timestamp::UNIX_EPOCH,
            what,
            organisation: "00000000-0000-4000-8000-000000000001".parse().unwrap(),
            first_token: "1/a",
            second_token: "2/b",
            second_agent_key: "SHA256:x",
        };
        assert_eq!(
            plan(What::Join).text(),
            "strongroom-second-token-plan-v1\nplanned-at 1970-01-01T00:00:00Z\nwhat join\n\
             organisation 00000000-0000-4000-8000-000000000001\nfirst-token 1/a\nsecond-token 2/b\nsecond-agent-key SHA256:x\n"
        );
        let texts = [What::Join, What::LeaveFirst, What::LeaveSecond].map(|what| plan(what).text());
        assert!(texts[0] != texts[1] && texts[1] != texts[2] && texts[0] != texts[2]);
    }
}
