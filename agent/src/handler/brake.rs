//! The brake on failed logins, as calls meet it: who has to wait, and who is told.

use std::sync::PoisonError;

use jiff::Timestamp;
use strongroom_proto::error::{ErrorKind, Failure};

use super::{Agent, Connection};
use crate::commands::session as command;
use crate::identity::Alarm;

/// Refuses whoever is held back, without looking at what they show.
pub(super) fn wait_allowed(agent: &Agent, connection: &Connection, key: &str) -> Result<(), Failure> {
    throttle(agent).check(connection.peer.uid, key, std::time::Instant::now()).map_err(|throttled| {
        Failure::new(
            ErrorKind::RateLimited,
            format!("Too many failed logins; try again in {} s.", throttled.wait.as_secs() + 1),
        )
    })
}

/// Alarms that are remembered for notices.
const HELD_BACK_MAX: usize = 100;

impl Agent {
    /// Whose logins were held back, newest first, and when it was said.
    pub(super) fn recently_held_back(&self) -> Vec<(Timestamp, Alarm)> {
        self.held_back.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says on record, and to admins who log in, whose logins are held back. Beside the call: a flood must not wait in line
    /// with codes, and the throttle itself limits how much is said.
    pub(crate) fn raise_alarms(&self) {
        for alarm in throttle(self).alarms(std::time::Instant::now()) {
            tracing::warn!(who = ?alarm.who, attempts = alarm.attempts, "ALERT: logins are held back");
            let mut held_back = self.held_back.lock().unwrap_or_else(PoisonError::into_inner);
            held_back.truncate(HELD_BACK_MAX - 1);
            held_back.insert(0, (self.now(), alarm.clone()));
            drop(held_back);
            let submitted = self.store.submit(move |tx| command::throttled(tx, &alarm));
            tokio::spawn(async move {
                if let Err(refused) = submitted.await {
                    tracing::warn!(?refused, "that logins are held back was not recorded");
                }
            });
        }
    }
}

pub(super) fn throttle(agent: &Agent) -> std::sync::MutexGuard<'_, crate::identity::Throttle> {
    agent.throttle.lock().unwrap_or_else(PoisonError::into_inner)
}
