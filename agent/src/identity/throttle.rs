//! The brake on failed proofs. It holds back who fails (the peer's uid, the key that was shown), never the colleague
//! whose name was typed: otherwise anybody could lock anybody out.
//!
//! A key's fingerprint is public, so somebody can fail in its name as well. Its brake is therefore short: it slows
//! guessing without shutting the owner out. Pure: time comes in, memory is bounded.
//!
//! Whoever is held back is an [`Alarm`], at once and then seldom: who floods us must not fill the log as well.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// How one kind of caller is held back: nothing at first, then a pause that doubles with each failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brake {
    /// Failures without a pause.
    pub free: u32,
    /// The first pause.
    pub pause_min: Duration,
    /// The longest pause.
    pub pause_max: Duration,
    /// Failures are forgotten after this long without another.
    pub memory: Duration,
    /// Callers remembered at most; beyond it the one that failed longest ago is forgotten.
    pub entries_max: usize,
}

impl Brake {
    /// For the uid at the other end of the socket.
    pub const UID: Self = Self {
        free: 5,
        pause_min: Duration::from_secs(1),
        pause_max: Duration::from_secs(60),
        memory: Duration::from_secs(15 * 60),
        entries_max: 1024,
    };
    /// For the key that was shown.
    pub const KEY: Self = Self {
        free: 10,
        pause_min: Duration::from_millis(500),
        pause_max: Duration::from_secs(5),
        memory: Duration::from_secs(15 * 60),
        entries_max: 4096,
    };
}

/// A caller who goes on has an alarm of its own once in so long.
const ALARM_EVERY: Duration = Duration::from_secs(10 * 60);
/// Alarms in an hour, of all callers together.
const ALARMS_MAX: usize = 30;
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Who is held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeldBack {
    /// A user of the system.
    Uid(u32),
    /// A key, by fingerprint.
    Key(String),
}

/// Somebody is held back, and nobody has been told of it yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Who.
    pub who: HeldBack,
    /// Failed proofs and refused attempts since the last alarm about them, or since they began.
    pub attempts: u64,
}

/// Held back for this long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many failed logins; try again in {} s", .wait.as_secs() + 1)]
pub struct Throttled {
    /// Until then every attempt is refused without being looked at.
    pub wait: Duration,
}

/// The failures of the recent past.
#[derive(Debug)]
pub struct Throttle {
    uids: Failures<u32>,
    keys: Failures<Box<str>>,
    /// When alarms were given, in the last hour.
    told: VecDeque<Instant>,
}

impl Default for Throttle {
    fn default() -> Self {
        Self::new(Brake::UID, Brake::KEY)
    }
}

impl Throttle {
    /// Remembers nothing yet.
    #[must_use]
    pub fn new(uid: Brake, key: Brake) -> Self {
        Self { uids: Failures::new(uid), keys: Failures::new(key), told: VecDeque::new() }
    }

    /// Asks whether an attempt may be made now. Refused attempts don't count as failures.
    ///
    /// # Errors
    /// [`Throttled`] with the longer of both pauses.
    pub fn check(&mut self, uid: u32, fingerprint: &str, now: Instant) -> Result<(), Throttled> {
        let (by_uid, by_key) = (self.uids.wait(&uid, now), self.keys.wait(fingerprint, now));
        if !by_uid.is_zero() {
            self.uids.refused(&uid);
        }
        if !by_key.is_zero() {
            self.keys.refused(fingerprint);
        }
        let wait = by_uid.max(by_key);
        if wait.is_zero() { Ok(()) } else { Err(Throttled { wait }) }
    }

    /// The alarms that are due: everybody who has come to the brake, or went on since the last alarm long enough ago.
    pub fn alarms(&mut self, now: Instant) -> Vec<Alarm> {
        while self.told.front().is_some_and(|at| now.saturating_duration_since(*at) >= HOUR) {
            self.told.pop_front();
        }
        let room = ALARMS_MAX.saturating_sub(self.told.len());
        let mut alarms: Vec<Alarm> = self.uids.due(now, room, |uid| HeldBack::Uid(*uid));
        let room = room - alarms.len();
        alarms.extend(self.keys.due(now, room, |key| HeldBack::Key(key.to_string())));
        self.told.extend(alarms.iter().map(|_| now));
        alarms
    }

    /// How many callers wait for the end of a pause now.
    #[must_use]
    pub fn held_back(&self, now: Instant) -> u64 {
        self.uids.held_back(now) + self.keys.held_back(now)
    }

    /// Notes a failed proof.
    pub fn failed(&mut self, uid: u32, fingerprint: &str, now: Instant) {
        self.uids.note(uid, now);
        self.keys.note(fingerprint.into(), now);
    }

    /// Notes a right proof: it clears the key. The uid stays, or one good key would pay for many bad attempts.
    pub fn succeeded(&mut self, fingerprint: &str) {
        self.keys.entries.remove(fingerprint);
    }
}

#[derive(Debug)]
struct Failures<K> {
    brake: Brake,
    entries: HashMap<K, Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    count: u32,
    last: Instant,
    /// Attempts since the last alarm.
    fresh: u64,
    told: Option<Instant>,
}

impl<K: Eq + Hash + Clone> Failures<K> {
    fn new(brake: Brake) -> Self {
        Self { brake, entries: HashMap::new() }
    }

    fn wait<Q>(&self, caller: &Q, now: Instant) -> Duration
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let Some(entry) = self.entries.get(caller) else { return Duration::ZERO };
        let Some(beyond) = entry.count.checked_sub(self.brake.free) else { return Duration::ZERO };
        let pause = self.brake.pause_min.saturating_mul(1_u32.checked_shl(beyond).unwrap_or(u32::MAX));
        pause.min(self.brake.pause_max).saturating_sub(now.saturating_duration_since(entry.last))
    }

    fn note(&mut self, caller: K, now: Instant) {
        let memory = self.brake.memory;
        if self.entries.len() >= self.brake.entries_max && !self.entries.contains_key(&caller) {
            self.entries.retain(|_, entry| now.saturating_duration_since(entry.last) < memory);
            if self.entries.len() >= self.brake.entries_max {
                let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.last).map(|(caller, _)| caller.clone());
                oldest.and_then(|caller| self.entries.remove(&caller));
            }
        }
        let entry = self.entries.entry(caller).or_insert(Entry { count: 0, last: now, fresh: 0, told: None });
        if now.saturating_duration_since(entry.last) >= memory {
            entry.count = 0;
        }
        entry.count = entry.count.saturating_add(1);
        entry.fresh = entry.fresh.saturating_add(1);
        entry.last = now;
    }

    fn refused<Q>(&mut self, caller: &Q)
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if let Some(entry) = self.entries.get_mut(caller) {
            entry.fresh = entry.fresh.saturating_add(1);
        }
    }

    fn due(&mut self, now: Instant, most: usize, name: impl Fn(&K) -> HeldBack) -> Vec<Alarm> {
        let free = self.brake.free;
        let silent = |entry: &Entry| entry.told.is_none_or(|at| now.saturating_duration_since(at) >= ALARM_EVERY);
        let due = self.entries.iter_mut().filter(|(_, entry)| entry.count >= free && entry.fresh > 0 && silent(entry));
        due.take(most)
            .map(|(caller, entry)| {
                let attempts = std::mem::take(&mut entry.fresh);
                entry.told = Some(now);
                Alarm { who: name(caller), attempts }
            })
            .collect()
    }

    fn held_back(&self, now: Instant) -> u64 {
        self.entries.keys().filter(|caller| !self.wait(*caller, now).is_zero()).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn pauses_begin_late_double_and_end() {
        let mut throttle = Throttle::default();
        let start = Instant::now();
        for _ in 0..4 {
            throttle.failed(1000, "SHA256:a", start);
            assert_eq!(throttle.check(1000, "SHA256:a", start), Ok(()));
        }
        throttle.failed(1000, "SHA256:a", start);
        assert_eq!(throttle.check(1000, "SHA256:b", start), Err(Throttled { wait: seconds(1) }));
        assert_eq!(throttle.check(1000, "SHA256:b", start + seconds(1)), Ok(()));
        throttle.failed(1000, "SHA256:b", start);
        assert_eq!(throttle.check(1000, "SHA256:c", start), Err(Throttled { wait: seconds(2) }));
        for place in 0..100 {
            throttle.failed(1000, &place.to_string(), start);
        }
        assert_eq!(throttle.check(1000, "SHA256:c", start), Err(Throttled { wait: seconds(60) }));
        let later = start + seconds(15 * 60);
        throttle.failed(1000, "SHA256:c", later);
        assert_eq!(throttle.check(1000, "SHA256:c", later), Ok(()), "old failures are forgotten");
    }

    #[test]
    fn a_failing_neighbour_and_a_typed_name_hold_nobody_else_back() {
        let mut throttle = Throttle::default();
        let now = Instant::now();
        for _ in 0..50 {
            throttle.failed(1000, "SHA256:attacker", now);
        }
        assert_eq!(throttle.check(1001, "SHA256:jana", now), Ok(()));
        assert_eq!(throttle.check(1001, "SHA256:attacker", now), Err(Throttled { wait: seconds(5) }));
        throttle.succeeded("SHA256:attacker");
        assert_eq!(throttle.check(1001, "SHA256:attacker", now), Ok(()));
        assert!(throttle.check(1000, "SHA256:jana", now).is_err());
    }

    #[test]
    fn whoever_is_held_back_raises_one_alarm_and_then_few() {
        let mut throttle = Throttle::default();
        let start = Instant::now();
        for _ in 0..4 {
            throttle.failed(1000, "SHA256:a", start);
        }
        assert_eq!(throttle.alarms(start), [], "nobody is held back yet");
        throttle.failed(1000, "SHA256:a", start);
        let alarm = |attempts| Alarm { who: HeldBack::Uid(1000), attempts };
        assert_eq!(throttle.alarms(start), [alarm(5)]);
        assert_eq!(throttle.held_back(start), 1);
        for _ in 0..100 {
            assert!(throttle.check(1000, "SHA256:b", start).is_err());
        }
        throttle.failed(1000, "SHA256:b", start);
        assert_eq!(throttle.alarms(start), [], "not again so soon");
        assert_eq!(throttle.alarms(start + ALARM_EVERY), [alarm(101)], "what came since is counted");
        assert_eq!(throttle.alarms(start + 2 * ALARM_EVERY), [], "and nothing came since");
        assert_eq!(throttle.held_back(start + ALARM_EVERY), 0);

        // Somebody with many users or keys does not fill the log either.
        for uid in 0..100 {
            for _ in 0..Brake::UID.free {
                throttle.failed(uid, &uid.to_string(), start);
            }
        }
        assert_eq!(throttle.alarms(start).len(), ALARMS_MAX - 2);
        assert_eq!(throttle.alarms(start), []);
        assert_eq!(throttle.alarms(start + HOUR + ALARM_EVERY).len(), ALARMS_MAX);
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes_first() {
        let small = Brake { entries_max: 3, free: 1, ..Brake::KEY };
        let mut throttle = Throttle::new(Brake { entries_max: 3, ..Brake::UID }, small);
        let start = Instant::now();
        for place in 0..5_u32 {
            throttle.failed(place, &place.to_string(), start + Duration::from_millis(place.into()));
        }
        let now = start + Duration::from_millis(5);
        assert_eq!((throttle.uids.entries.len(), throttle.keys.entries.len()), (3, 3));
        assert_eq!(throttle.check(0, "0", now), Ok(()));
        assert!(throttle.check(0, "4", now).is_err());
    }
}
