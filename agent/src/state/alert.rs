//! Alerts: every record that raises an alarm opens one, in the commit that makes the record. It stays open until somebody
//! who may see it answers.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use strongroom_proto::ids::{IdentityId, VaultId};

use super::rows::row;
use super::{LogId, State};

/// What an alert is known by: its log, and the place of its record there.
pub type AlertPlace = (LogId, u64);

/// A record that raised an alarm, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// In whose log the record stands; absent for the organisation's.
    pub vault: Option<VaultId>,
    /// The record's place there.
    pub seq: u64,
    /// Its event: the class of the alert.
    pub event: String,
    /// What the record says of it.
    pub says: String,
    /// When it was raised.
    pub at: Timestamp,
    /// Who acted.
    pub actor: Option<IdentityId>,
    /// Whom the record is about.
    pub about: Option<IdentityId>,
    /// The key that it is about.
    pub key: Option<String>,
    /// How often it has escalated.
    pub level: u32,
    /// When it last did.
    pub escalated_at: Option<Timestamp>,
    /// Who has been told, the first of them first.
    pub seen: Vec<Answer>,
    /// Who answered; absent while nobody has.
    pub acked: Option<Answer>,
    /// What they wrote.
    #[serde(skip)]
    pub names: AlertNames,
}

/// Somebody, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Who.
    pub identity: IdentityId,
    /// When.
    pub at: Timestamp,
}

/// What people wrote to an alert.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertNames {
    /// What was found or done.
    pub note: Option<String>,
}

/// When alerts that nobody has answered escalate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Escalation {
    /// After how long, and after how much more each further time.
    pub after: SignedDuration,
    /// How often at most.
    pub levels: u32,
}

impl Escalation {
    /// The level that an alert of this time has come to.
    #[must_use]
    pub fn level(&self, at: Timestamp, now: Timestamp) -> u32 {
        let (waited, after) = (now.duration_since(at).as_secs(), self.after.as_secs().max(1));
        u32::try_from(waited / after).map_or(if waited < 0 { 0 } else { self.levels }, |level| level.min(self.levels))
    }
}

impl Alert {
    /// Its log.
    #[must_use]
    pub fn log_id(&self) -> LogId {
        self.vault.map_or(LogId::Org, LogId::Vault)
    }

    /// What it is known by.
    #[must_use]
    pub fn known_by(&self) -> AlertPlace {
        (self.log_id(), self.seq)
    }

    /// True if somebody has been told.
    #[must_use]
    pub fn was_seen_by(&self, identity: IdentityId) -> bool {
        self.seen.iter().any(|seen| seen.identity == identity)
    }

    /// Whose doing it was, or whom it is about, as far as that is known.
    #[must_use]
    pub fn person(&self, state: &State) -> Option<IdentityId> {
        let owner = self.key.as_ref().and_then(|key| state.keys.get(key)).map(|key| key.identity);
        self.about.or(self.actor).or(owner)
    }

    /// True if it is about what somebody did, or about them: then others answer it.
    #[must_use]
    pub fn concerns(&self, state: &State, identity: IdentityId) -> bool {
        let owner = self.key.as_ref().and_then(|key| state.keys.get(key)).map(|key| key.identity);
        [self.actor, self.about, owner].contains(&Some(identity))
    }
}

impl State {
    /// The alerts of a log that nobody has answered, oldest first.
    pub fn open_alerts_of(&self, log: LogId) -> impl DoubleEndedIterator<Item = &Alert> {
        self.open_alerts.range((log, 0)..=(log, u64::MAX)).filter_map(|(place, ())| self.alerts.get(place))
    }

    /// All alerts of a log, oldest first.
    pub fn alerts_of(&self, log: LogId) -> impl DoubleEndedIterator<Item = &Alert> {
        self.alerts.range((log, 0)..=(log, u64::MAX)).map(|(_, alert)| alert)
    }
}

row!(Alert, "alert", decides: true,
key: |alert| [alert.log_id().to_bytes().as_slice(), &alert.seq.to_be_bytes()].concat(),
log: Alert::log_id, names: AlertNames,
place: |alert, state| {
    super::rows::index(&mut state.open_alerts, alert.known_by(), alert.acked.is_none());
    state.alerts.insert(alert.known_by(), alert);
},
displace: |alert, state| {
    state.open_alerts.remove(&alert.known_by());
    state.alerts.remove(&alert.known_by());
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_escalates_once_for_each_time_it_waited_and_no_further() {
        let escalation = Escalation { after: SignedDuration::from_secs(60), levels: 3 };
        let at = Timestamp::constant(1_795_262_400, 0);
        let level = |seconds| escalation.level(at, at + SignedDuration::from_secs(seconds));
        assert_eq!([-90, 0, 59, 60, 119, 120, 180, 100_000].map(level), [0, 0, 0, 1, 1, 2, 3, 3]);
        assert_eq!(escalation.level(at, Timestamp::MAX), 3);
        let never = Escalation { levels: 0, ..escalation };
        assert_eq!(never.level(at, Timestamp::MAX), 0);
    }
}
