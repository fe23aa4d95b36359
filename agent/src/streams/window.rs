//! What was written to one connection and may still be lost with it. Neither TCP nor a datagram tells what the receiver has
//! read: a record counts as safe only once the receiver's side has taken it, some seconds have passed, and so much was written
//! behind it that it no longer lies in a buffer on the way.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::state::LogId;

/// What had to be written behind a record, and how long ago it must be, until it counts as safe.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doubt {
    /// In bytes.
    pub(super) bytes: u64,
    /// How long.
    pub(super) time: Duration,
}

struct Written {
    log: LogId,
    /// The place behind the last record.
    next: u64,
    /// Bytes of the connection up to its end.
    end: u64,
    at: Instant,
}

/// The records of one connection that are not safe yet.
pub(super) struct Window {
    doubt: Doubt,
    entries: VecDeque<Written>,
    /// How many of them, from the front, the receiver's side has taken.
    taken: usize,
}

/// How far logs have come.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Advance {
    /// Taken by the receiver's side up to here.
    pub(super) taken: Vec<(LogId, u64)>,
    /// Safe up to here.
    pub(super) safe: Vec<(LogId, u64)>,
}

impl Window {
    pub(super) const fn new(doubt: Doubt) -> Self {
        Self { doubt, entries: VecDeque::new(), taken: 0 }
    }

    /// Notes that a log was written up to a place; `end` counts the connection's bytes so far.
    pub(super) fn wrote(&mut self, log: LogId, next: u64, end: u64, at: Instant) {
        self.entries.push_back(Written { log, next, end, at });
    }

    /// Takes in that so many bytes out of those written have been taken by the receiver's side.
    pub(super) fn advance(&mut self, taken: u64, written: u64, now: Instant) -> Advance {
        let mut advance = Advance::default();
        while let Some(entry) = self.entries.get(self.taken).filter(|entry| entry.end <= taken) {
            advance.taken.push((entry.log, entry.next));
            self.taken += 1;
        }
        while self.taken > 0 {
            let settled = self.entries.front().filter(|entry| {
                now.saturating_duration_since(entry.at) >= self.doubt.time
                    && written.saturating_sub(entry.end) >= self.doubt.bytes
            });
            let Some(entry) = settled else { break };
            advance.safe.push((entry.log, entry.next));
            self.entries.pop_front();
            self.taken -= 1;
        }
        advance
    }

    /// True if something was written that the receiver's side has not taken.
    pub(super) fn waits(&self) -> bool {
        self.taken < self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn safe_is_what_was_taken_is_old_and_lies_far_behind() {
        let vault = LogId::from_bytes([7; 16]);
        let begun = Instant::now();
        let at = |seconds: u64| begun + Duration::from_secs(seconds);
        let mut window = Window::new(Doubt { bytes: 100, time: Duration::from_secs(5) });
        window.wrote(LogId::Org, 3, 50, at(0));
        window.wrote(vault, 9, 120, at(1));
        window.wrote(LogId::Org, 4, 150, at(2));
        assert_eq!(window.advance(40, 150, at(3)), Advance::default(), "half a message is none");
        let advance = window.advance(120, 150, at(3));
        assert_eq!(advance.taken, [(LogId::Org, 3), (vault, 9)]);
        assert!(advance.safe.is_empty(), "too young");
        assert_eq!(window.advance(120, 150, at(9)).safe, [(LogId::Org, 3)], "100 bytes lie behind the first only");
        assert!(window.waits());
        let advance = window.advance(150, 150, at(9));
        assert_eq!((advance.taken, advance.safe), (vec![(LogId::Org, 4)], vec![]));
        assert!(!window.waits());
        window.wrote(vault, 10, 400, at(10));
        let advance = window.advance(150, 400, at(20));
        assert_eq!(advance.safe, [(vault, 9), (LogId::Org, 4)], "what was not taken is not safe, however old");
        assert_eq!(window.advance(400, 900, at(20)).safe, [(vault, 10)]);
    }

    #[test]
    fn without_doubt_what_was_taken_is_safe_at_once() {
        let now = Instant::now();
        let mut window = Window::new(Doubt { bytes: 0, time: Duration::ZERO });
        window.wrote(LogId::Org, 1, 10, now);
        assert_eq!(window.advance(10, 10, now).safe, [(LogId::Org, 1)]);
    }
}
