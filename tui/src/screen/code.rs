//! The code panel's state: at most one code at a time, hidden again by itself. The code is wiped when it leaves.

use jiff::{SignedDuration, Timestamp};
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::AccountAddress;
use strongroom_proto::method::code::{Released, Taken};
use zeroize::Zeroizing;

use super::text;

/// A shown code is hidden after this long.
pub const SHOWN_LIFE: SignedDuration = SignedDuration::from_secs(60);
/// An expired code stays, greyed, for this long: somebody may be typing it.
pub const EXPIRED_LIFE: SignedDuration = SignedDuration::from_secs(5);
/// Fewer seconds than this are too few to paste a code; a copy waits for the next window.
pub const COPY_REMAINING_S_MIN: i64 = 5;
/// From here on the gauge says "expires".
pub const EXPIRES_SOON_S: i64 = 5;

/// The code panel.
pub enum Code {
    /// Nothing is shown.
    Hidden,
    /// A release is under way.
    Asked(Asked),
    /// A code is in force, or was until a moment ago.
    Shown(Box<Shown>),
    /// The agent refused.
    Refused {
        /// Which account.
        account: AccountAddress,
        /// Why.
        failure: Failure,
    },
}

/// A release under way.
pub struct Asked {
    /// Finds the answer.
    pub ticket: u64,
    /// Which account.
    pub account: AccountAddress,
    /// What happens to the code when it comes.
    pub purpose: Purpose,
    /// Since when.
    pub since: Timestamp,
}

/// What a code was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be read.
    Read,
    /// To be copied; it stays masked on the screen.
    Copy,
    /// To be copied and read: it was on the screen before.
    CopyAndRead,
}

/// A released code on the screen.
pub struct Shown {
    /// Which account.
    pub account: AccountAddress,
    /// The code.
    pub code: Zeroizing<String>,
    /// True if the digits stay masked: the code was only copied.
    pub is_masked: bool,
    /// Seconds of a window; 0 for HOTP.
    pub period_s: u32,
    /// When it ceases to be valid, by this machine's clock; `None` for HOTP.
    pub expires_at: Option<Timestamp>,
    /// Since when it is on the screen.
    pub since: Timestamp,
    /// Who took the same window before.
    pub taken_by: Vec<Taken>,
    /// By how many seconds the agent's clock is ahead of this machine's.
    pub clock_ahead_s: i64,
    /// True while a copy waits for the next window.
    pub copy_waits: bool,
}

impl Shown {
    /// Takes a code as the agent released it at `now`. The end is counted from the agent's remaining milliseconds, so that
    /// a wrong clock on this machine does not show a dead code as good.
    #[must_use]
    pub fn new(released: Released, purpose: Purpose, now: Timestamp) -> Self {
        let left = released.remaining_ms.and_then(|ms| i64::try_from(ms).ok()).map(SignedDuration::from_millis);
        let expires_at = left.and_then(|left| now.checked_add(left).ok());
        let clock_ahead_s = match (released.valid_until, expires_at) {
            (Some(theirs), Some(ours)) => theirs.duration_since(ours).as_secs(),
            _ => 0,
        };
        Self {
            account: released.account,
            code: released.code,
            is_masked: purpose == Purpose::Copy,
            period_s: released.period_s,
            expires_at,
            since: now,
            taken_by: released.window_taken_by,
            clock_ahead_s,
            copy_waits: false,
        }
    }

    /// Time until the end, negative after it; `None` for HOTP.
    #[must_use]
    pub fn remaining(&self, now: Timestamp) -> Option<SignedDuration> {
        self.expires_at.map(|end| end.duration_since(now))
    }

    /// Whole seconds until the end, rounded up as people count down; `None` for HOTP.
    #[must_use]
    pub fn remaining_s(&self, now: Timestamp) -> Option<i64> {
        self.remaining(now).map(|left| (left.as_millis() + 999).div_euclid(1000) as i64)
    }

    /// True once the window has ended.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.remaining(now).is_some_and(|left| left <= SignedDuration::ZERO)
    }

    /// True when the code must leave the screen.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        let long_expired = self.remaining(now).is_some_and(|left| left <= -EXPIRED_LIFE);
        long_expired || now.duration_since(self.since) >= SHOWN_LIFE
    }

    /// How long the code is of use, in milliseconds. A HOTP code is, until the next is used: a minute is taken for it.
    #[must_use]
    pub fn lifetime_ms(&self, now: Timestamp) -> u64 {
        let left = self.remaining(now).unwrap_or(SHOWN_LIFE);
        u64::try_from(left.as_millis()).unwrap_or(0)
    }
}

impl Code {
    /// The account that the panel speaks of, if any.
    #[must_use]
    pub fn account(&self) -> Option<&AccountAddress> {
        match self {
            Self::Hidden => None,
            Self::Asked(asked) => Some(&asked.account),
            Self::Shown(shown) => Some(&shown.account),
            Self::Refused { account, .. } => Some(account),
        }
    }

    /// The code on the screen, if any.
    #[must_use]
    pub fn shown(&self) -> Option<&Shown> {
        match self {
            Self::Shown(shown) => Some(shown),
            _ => None,
        }
    }

    /// The code on the screen, if any.
    pub fn shown_mut(&mut self) -> Option<&mut Shown> {
        match self {
            Self::Shown(shown) => Some(shown),
            _ => None,
        }
    }
}

/// Groups a code as people read it: 3+3, 3+4, 4+4, 3+3+3, 3+3+4 digits. Steam's letters and other lengths stay whole.
#[must_use]
pub fn grouped(code: &str) -> Zeroizing<String> {
    let sizes: &[usize] = match code.len() {
        _ if !code.bytes().all(|byte| byte.is_ascii_digit()) => &[],
        6 => &[3],
        7 => &[3],
        8 => &[4],
        9 | 10 => &[3, 6],
        _ => &[],
    };
    let mut text = Zeroizing::new(String::with_capacity(code.len() + sizes.len()));
    for (place, character) in text::clean(code).chars().enumerate() {
        if sizes.contains(&place) {
            text.push(' ');
        }
        text.push(character);
    }
    text
}

/// What a refusal means, in a word with its sign, and what to do.
#[must_use]
pub const fn refusal(kind: ErrorKind) -> (&'static str, &'static str) {
    match kind {
        ErrorKind::NotFound => ("✗ NOT FOUND", "It is gone, or it is no longer yours to see. r asks again."),
        ErrorKind::Denied => ("✗ DENIED", "Your role in this vault takes no codes."),
        ErrorKind::NeedsApproval => {
            ("? NEEDS APPROVAL", "Somebody else must approve first: ask a manager of this vault.")
        }
        ErrorKind::NeedsAssurance => ("✗ STRONGER LOGIN NEEDED", "This vault asks for a hardware key."),
        ErrorKind::Frozen => ("■ FROZEN", "An incident was declared: nothing is released from this vault."),
        ErrorKind::RateLimited => ("… TOO MANY", "Too many codes in a short time: wait a little."),
        ErrorKind::HsmUnavailable => ("✗ HSM AWAY", "The token does not answer. Lists work, codes do not."),
        ErrorKind::StoreUnavailable => ("✗ STORE AWAY", "The store cannot commit, so nothing is released."),
        ErrorKind::AuditUnavailable => {
            ("✗ NO RECORD, NO CODE", "The audit log cannot be written, so nothing is released.")
        }
        ErrorKind::Unauthenticated => ("✗ LOGGED OUT", "The session has ended."),
        ErrorKind::Expired => ("✗ TOO LATE", "The time for this ran out: try again."),
        ErrorKind::Conflict => ("✗ CONFLICT", "Something changed meanwhile: try again."),
        _ => ("✗ ERROR", "The agent could not do this."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_grouped_as_people_read_them() {
        for (code, text) in [
            ("070443", "070 443"),
            ("1234567", "123 4567"),
            ("12345678", "1234 5678"),
            ("123456789", "123 456 789"),
            ("1234567890", "123 456 7890"),
            ("2TWMR", "2TWMR"),
        ] {
            assert_eq!(*grouped(code), text);
        }
    }
}
