//! Replies that carry a code, from before their commit until the peer has read them. A revocation commits first, closes
//! the connections, and then waits here: once it returns, no code is on its way to that identity any more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use strongroom_proto::ids::IdentityId;
use tokio::sync::Notify;

/// All replies in flight, by identity.
#[derive(Clone, Default)]
pub struct Flights {
    board: Arc<Board>,
}

#[derive(Default)]
struct Board {
    in_flight: Mutex<HashMap<IdentityId, usize>>,
    landed: Notify,
}

/// One reply in flight. Dropping it means that it has landed or will never leave.
pub struct Flight {
    board: Arc<Board>,
    identity: IdentityId,
}

impl Flights {
    /// Registers a reply before its release is committed.
    #[must_use]
    pub fn depart(&self, identity: IdentityId) -> Flight {
        *self.board.in_flight.lock().unwrap_or_else(PoisonError::into_inner).entry(identity).or_insert(0) += 1;
        Flight { board: Arc::clone(&self.board), identity }
    }

    /// Waits until no reply is in flight to an identity, at most `limit`. True if none is.
    pub async fn drained(&self, identity: IdentityId, limit: Duration) -> bool {
        let quiet = async {
            loop {
                let landed = self.board.landed.notified();
                tokio::pin!(landed);
                // Registered before the look: a landing between look and wait is not missed.
                landed.as_mut().enable();
                if !self.board.in_flight.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&identity) {
                    return;
                }
                landed.await;
            }
        };
        tokio::time::timeout(limit, quiet).await.is_ok()
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut in_flight = self.board.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = in_flight.get_mut(&self.identity) {
            *count -= 1;
            if *count == 0 {
                in_flight.remove(&self.identity);
            }
        }
        drop(in_flight);
        self.board.landed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_drain_waits_for_the_last_reply_of_that_identity_only() {
        let flights = Flights::default();
        let (anna, ben) = (IdentityId::random(), IdentityId::random());
        let short = Duration::from_millis(20);
        let (first, second, _other) = (flights.depart(anna), flights.depart(anna), flights.depart(ben));
        assert!(!flights.drained(anna, short).await);
        drop(first);
        assert!(!flights.drained(anna, short).await);
        let waiting = tokio::spawn({
            let flights = flights.clone();
            async move { flights.drained(anna, Duration::from_secs(5)).await }
        });
        tokio::task::yield_now().await;
        drop(second);
        assert!(waiting.await.unwrap());
        assert!(!flights.drained(ben, short).await);
    }
}
