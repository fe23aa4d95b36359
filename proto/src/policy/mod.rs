//! Policies: the rules of a vault and of the organisation, as people write them in TOML and calls carry them in JSON. Every
//! key has a default, so a policy says only what differs; unknown keys are errors.
//!
//! Here is what the rules *are* and how two of them compare ([`weakened`]: what a second person has to confirm). What they
//! mean for a call is decided by the agent.

mod compare;
mod hours;
mod ticket;

use serde::{Deserialize, Serialize};

pub use self::compare::{Compare, Difference, differences, weakened};
pub use self::hours::{ClockTime, Hours, Weekday};
pub use self::ticket::TicketPattern;
use crate::words::Assurance;

/// Most distinct people that a request can be made to need.
pub const APPROVALS_MAX: u8 = 5;
/// Longest grant by request, in hours: 31 days.
pub const GRANT_H_MAX: u32 = 31 * 24;
/// Longest wait of a request for its approvals, in hours: 31 days.
pub const EXPIRE_H_MAX: u32 = 31 * 24;
/// Longest grant by break-glass, in minutes: a day.
pub const BREAK_GLASS_MIN_MAX: u32 = 24 * 60;
/// Most releases an hour that a limit can say.
pub const RELEASES_PER_HOUR_MAX: u32 = 3600;
/// Longest span that a tripwire can watch, in minutes.
pub const HARVEST_MIN_MAX: u32 = 60;

/// The rules of one vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VaultPolicy {
    /// The weakest login that may take codes.
    pub min_assurance: Assurance,
    /// Every release is signed by the technician's key, and the signature stands in the record.
    pub signed_release: bool,
    /// The code of one window is given to one person only.
    pub exclusive_window: bool,
    /// A release needs a reason.
    pub reason_required: bool,
    /// A release needs a ticket.
    pub ticket_required: bool,
    /// What tickets look like, of releases and of requests; anything when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket_pattern: Option<TicketPattern>,
    /// Releases of one identity in one hour, 1 to 3600; unlimited when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub releases_per_hour: Option<u32>,
    /// When codes are given; always when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours: Option<Hours>,
    /// Requests for access.
    pub requests: Requests,
    /// Access at once, reviewed afterwards; not possible when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<BreakGlass>,
    /// Who takes codes of many accounts in a short time is put on hold; nobody when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub harvest: Option<Harvest>,
}

impl Default for VaultPolicy {
    fn default() -> Self {
        Self {
            min_assurance: Assurance::SoftwareKey,
            signed_release: false,
            exclusive_window: false,
            reason_required: false,
            ticket_required: false,
            ticket_pattern: None,
            releases_per_hour: None,
            hours: None,
            requests: Requests::default(),
            break_glass: None,
            harvest: None,
        }
    }
}

/// The rules for requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Requests {
    /// Distinct people who have to approve, 1 to 5.
    pub approvals: u8,
    /// The longest grant, in hours, 1 to 744.
    pub longest_h: u32,
    /// A request that nobody has decided ends after this long, in hours, 1 to 744.
    pub expire_after_h: u32,
    /// Admins decide too, after this long, in minutes, 0 to 44640; 0 means at once. As long as a request lives or longer means
    /// never, as long as the vault has a manager who may decide.
    pub escalate_after_min: u32,
    /// While it is granted, nobody else takes codes of the same accounts.
    pub exclusive: bool,
    /// A request needs a ticket.
    pub ticket_required: bool,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            approvals: 1,
            longest_h: 8,
            expire_after_h: 24,
            escalate_after_min: 0,
            exclusive: false,
            ticket_required: false,
        }
    }
}

/// The rules for break-glass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BreakGlass {
    /// The longest grant, in minutes, 1 to 1440.
    pub longest_min: u32,
}

impl Default for BreakGlass {
    fn default() -> Self {
        Self { longest_min: 60 }
    }
}

/// A tripwire: codes of so many accounts in so short a time look like a harvest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Harvest {
    /// Codes of more accounts than this trip it, 1 to 1000.
    pub accounts: u32,
    /// Within this span, in minutes, 1 to 60.
    pub within_min: u32,
}

/// The rules of the organisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OrgPolicy {
    /// The largest share of all vaults, in percent, that one identity may hold standing grants in without a second person's
    /// word, 1 to 100; no limit when absent. Organisations of up to 10 vaults are too small for shares: nothing is checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub portfolio_cap_percent: Option<u8>,
    /// A session ends after this long without a call, in minutes, 1 to 60. It can only shorten what a login's assurance allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_idle_min: Option<u32>,
    /// A session ends after this long in any case, in hours, 1 to 24. It can only shorten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_longest_h: Option<u32>,
    /// What one person did and a second has to confirm lapses after this long, in hours, 1 to 744.
    pub confirm_within_h: u32,
    /// The tripwire over all vaults together; none when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub harvest: Option<Harvest>,
    /// What new vaults begin with.
    pub vault: VaultPolicy,
}

impl Default for OrgPolicy {
    fn default() -> Self {
        Self {
            portfolio_cap_percent: None,
            session_idle_min: None,
            session_longest_h: None,
            confirm_within_h: 168,
            harvest: None,
            vault: VaultPolicy::default(),
        }
    }
}

/// What a script is held to, beyond its grants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceLimits {
    /// The user of the system that it runs as; any when absent. It narrows and grants nothing: through an SSH forward it is
    /// sshd's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Releases in one hour, over all its accounts, 1 to 3600; unlimited when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub releases_per_hour: Option<u32>,
    /// When it may take codes; always when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours: Option<Hours>,
}

/// A value outside its range. The text names the key as it stands in TOML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {flaw}")]
pub struct PolicyFlaw {
    /// Which key.
    pub key: String,
    /// What is wrong with it.
    pub flaw: String,
}

impl PolicyFlaw {
    fn range(key: &str, value: u32, least: u32, most: u32) -> Result<(), Self> {
        if (least..=most).contains(&value) {
            Ok(())
        } else {
            Err(Self { key: key.to_owned(), flaw: format!("{value} is not within {least} to {most}") })
        }
    }

    /// The same flaw inside a table.
    fn within(self, table: &str) -> Self {
        Self { key: format!("{table}.{}", self.key), ..self }
    }
}

impl Requests {
    /// Whether admins ever decide where a manager may.
    #[must_use]
    pub const fn escalates(&self) -> bool {
        self.escalate_after_min < self.expire_after_h * 60
    }
}

impl VaultPolicy {
    /// Checks every value's range.
    ///
    /// # Errors
    /// The first [`PolicyFlaw`].
    pub fn check(&self) -> Result<(), PolicyFlaw> {
        if let Some(limit) = self.releases_per_hour {
            PolicyFlaw::range("releases_per_hour", limit, 1, RELEASES_PER_HOUR_MAX)?;
        }
        if let Some(hours) = &self.hours {
            hours.check().map_err(|flaw| PolicyFlaw { key: "hours".into(), flaw })?;
        }
        let requests = &self.requests;
        PolicyFlaw::range("requests.approvals", requests.approvals.into(), 1, APPROVALS_MAX.into())?;
        PolicyFlaw::range("requests.longest_h", requests.longest_h, 1, GRANT_H_MAX)?;
        PolicyFlaw::range("requests.expire_after_h", requests.expire_after_h, 1, EXPIRE_H_MAX)?;
        PolicyFlaw::range("requests.escalate_after_min", requests.escalate_after_min, 0, EXPIRE_H_MAX * 60)?;
        if let Some(BreakGlass { longest_min }) = self.break_glass {
            PolicyFlaw::range("break_glass.longest_min", longest_min, 1, BREAK_GLASS_MIN_MAX)?;
        }
        self.harvest.as_ref().map_or(Ok(()), Harvest::check)
    }
}

impl Harvest {
    fn check(&self) -> Result<(), PolicyFlaw> {
        PolicyFlaw::range("harvest.accounts", self.accounts, 1, 1000)?;
        PolicyFlaw::range("harvest.within_min", self.within_min, 1, HARVEST_MIN_MAX)
    }
}

impl ServiceLimits {
    /// Checks every value's range.
    ///
    /// # Errors
    /// The first [`PolicyFlaw`].
    pub fn check(&self) -> Result<(), PolicyFlaw> {
        if let Some(limit) = self.releases_per_hour {
            PolicyFlaw::range("releases_per_hour", limit, 1, RELEASES_PER_HOUR_MAX)?;
        }
        self.hours
            .as_ref()
            .map_or(Ok(()), |hours| hours.check().map_err(|flaw| PolicyFlaw { key: "hours".into(), flaw }))
    }
}

impl OrgPolicy {
    /// Checks every value's range.
    ///
    /// # Errors
    /// The first [`PolicyFlaw`].
    pub fn check(&self) -> Result<(), PolicyFlaw> {
        if let Some(cap) = self.portfolio_cap_percent {
            PolicyFlaw::range("portfolio_cap_percent", cap.into(), 1, 100)?;
        }
        if let Some(idle) = self.session_idle_min {
            PolicyFlaw::range("session_idle_min", idle, 1, 60)?;
        }
        if let Some(longest) = self.session_longest_h {
            PolicyFlaw::range("session_longest_h", longest, 1, 24)?;
        }
        PolicyFlaw::range("confirm_within_h", self.confirm_within_h, 1, EXPIRE_H_MAX)?;
        self.harvest.as_ref().map_or(Ok(()), Harvest::check)?;
        self.vault.check().map_err(|flaw| flaw.within("vault"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_within_their_ranges() {
        VaultPolicy::default().check().unwrap();
        OrgPolicy::default().check().unwrap();
    }

    #[test]
    fn a_value_outside_its_range_is_named_as_it_is_written() {
        let flaw = |text: &str| serde_json::from_str::<OrgPolicy>(text).unwrap().check().unwrap_err().to_string();
        assert_eq!(
            flaw(r#"{"vault":{"requests":{"approvals":9}}}"#),
            "vault.requests.approvals: 9 is not within 1 to 5"
        );
        assert_eq!(flaw(r#"{"portfolio_cap_percent":0}"#), "portfolio_cap_percent: 0 is not within 1 to 100");
        assert_eq!(
            flaw(r#"{"harvest":{"accounts":5,"within_min":90}}"#),
            "harvest.within_min: 90 is not within 1 to 60"
        );
        assert_eq!(
            flaw(r#"{"vault":{"break_glass":{"longest_min":0}}}"#),
            "vault.break_glass.longest_min: 0 is not within 1 to 1440"
        );
    }

    #[test]
    fn an_unknown_key_is_an_error_at_every_depth() {
        for text in [
            r#"{"min_asurance":"software-key"}"#,
            r#"{"requests":{"approval":2}}"#,
            r#"{"break_glass":{"longest_h":2}}"#,
            r#"{"hours":{"days":["mon"],"from":"08:00","until":"18:00","zone":"UTC","x":1}}"#,
        ] {
            assert!(serde_json::from_str::<VaultPolicy>(text).is_err(), "{text}");
        }
    }
}
