//! Who took codes of what in the last hour: what rate limits and tripwires look at. It is rebuilt from the logs at start, so
//! a restart forgives nothing.

use jiff::{SignedDuration, Timestamp};
use strongroom_proto::ids::{AccountId, IdentityId, VaultId};

use super::State;

/// How far back is looked. The longest span of a policy is within.
pub const RECENT: SignedDuration = SignedDuration::from_hours(1);
/// Releases that are remembered of one identity. No limit of a policy is higher; beyond it the oldest are forgotten.
const RELEASES_MAX: usize = 3600;

/// The releases of one identity in the last hour, oldest first. Persistent: a command works on a copy.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    releases: imbl::GenericVector<Release, imbl::shared_ptr::DefaultSharedPtr>,
}

/// One release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// When.
    pub at: Timestamp,
    /// In which vault.
    pub vault: VaultId,
    /// Of which account.
    pub account: AccountId,
}

impl Recent {
    /// Notes a release and forgets what is older than an hour.
    pub fn note(&mut self, release: Release) {
        let old = release.at.checked_sub(RECENT).unwrap_or(Timestamp::MIN);
        while self.releases.len() >= RELEASES_MAX || self.releases.front().is_some_and(|first| first.at <= old) {
            self.releases.pop_front();
        }
        self.releases.push_back(release);
    }

    /// The releases after `since`, newest first.
    pub fn since(&self, since: Timestamp) -> impl Iterator<Item = &Release> {
        self.releases.iter().rev().take_while(move |release| release.at > since)
    }
}

impl State {
    /// Notes a release of an identity.
    pub fn note_release(&mut self, identity: IdentityId, release: Release) {
        let mut recent = self.recent.get(&identity).cloned().unwrap_or_default();
        recent.note(release);
        self.recent.insert(identity, recent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_remembered_and_no_more() {
        let (vault, account) = (VaultId::random(), AccountId::random());
        let start = Timestamp::constant(1_795_262_400, 0);
        let mut recent = Recent::default();
        for minute in 0..90 {
            recent.note(Release { at: start + SignedDuration::from_mins(minute), vault, account });
        }
        let now = start + SignedDuration::from_mins(89);
        assert_eq!(recent.since(now - RECENT).count(), 60);
        assert_eq!(recent.since(Timestamp::UNIX_EPOCH).count(), 60);
        assert_eq!(recent.since(now - SignedDuration::from_mins(10)).count(), 10);
        for _ in 0..2 * RELEASES_MAX {
            recent.note(Release { at: now, vault, account });
        }
        assert_eq!(recent.since(Timestamp::UNIX_EPOCH).count(), RELEASES_MAX);
    }
}
