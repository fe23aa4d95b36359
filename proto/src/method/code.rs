//! `code.*`: the main job.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::session::StepUp;
use super::{Receipt, SteppedUp, method};
use crate::ids::{AccountAddress, Slug};
use crate::words::OtpKind;

/// Releases one code. The record of it is durable before the answer leaves the agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Of which account.
    pub account: AccountAddress,
    /// Why, at most 500 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Ticket number, at most 100 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// If fewer seconds are left in this window, the agent waits for the next one; 0 to the account's period − 1, at most
    /// 25.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_remaining_s: Option<u32>,
    /// The signature over this call. Vaults whose policy says `signed_release` demand it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_up: Option<StepUp>,
}

impl SteppedUp for Release {
    fn step_up(&mut self) -> &mut Option<StepUp> {
        &mut self.step_up
    }
}
method!(Release => "code.release" -> Released);

/// A released code. Has no `Debug`: it holds the code.
#[derive(Clone, Serialize, Deserialize)]
pub struct Released {
    /// Of which account.
    pub account: AccountAddress,
    /// How it was made.
    pub kind: OtpKind,
    /// The code.
    pub code: Zeroizing<String>,
    /// Seconds of a window; 0 for HOTP.
    pub period_s: u32,
    /// The window's start; absent for HOTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<Timestamp>,
    /// The window's end; absent for HOTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Timestamp>,
    /// Milliseconds left in the window when the agent answered; absent for HOTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_ms: Option<u64>,
    /// The counter that was used; absent for TOTP and Steam.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counter: Option<u64>,
    /// Who else took this window's code before: a verifier takes each code once (RFC 6238 §5.2).
    pub window_taken_by: Vec<Taken>,
    /// Where the release was recorded.
    pub receipt: Receipt,
}

/// An earlier release of the same window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// By whom.
    pub identity: Slug,
    /// When.
    pub at: Timestamp,
}
