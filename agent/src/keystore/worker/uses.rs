//! How often vault keys made codes, counted where it happens: in the worker, by its own hand. What the agent heard is counted
//! beside it, for workers that have ended and can be asked no more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use strongroom_proto::ids::VaultId;

use super::config::call_deadline;
use super::wire::{Answer, Call};
use super::workers::{Slot, Workers};
use crate::keystore::{KeystoreError, Operation};

/// Uses by vault.
pub type Uses = BTreeMap<VaultId, u64>;

/// What all workers of a token, those that have ended too, say of its uses in this run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// All of them, by vault.
    pub uses: Uses,
    /// Those among them that workers have done which ended since: what they said last, or what the agent heard of them.
    pub by_ended: Uses,
}

/// The uses of one worker.
#[derive(Debug, Default)]
pub(super) struct Tally {
    told: Mutex<Told>,
}

#[derive(Clone, Debug, Default)]
struct Told {
    /// Codes that the agent got from it.
    heard: Uses,
    /// What it said last.
    said: Uses,
}

impl Tally {
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a code that came from it.
    pub(super) fn hear(&self, vault: VaultId) {
        *self.lock().heard.entry(vault).or_default() += 1;
    }

    /// The most that is known of it.
    fn known(&self) -> Uses {
        let mut told = self.lock().clone();
        for (vault, count) in told.said {
            let heard = told.heard.entry(vault).or_default();
            *heard = count.max(*heard);
        }
        told.heard
    }
}

impl Workers {
    /// Asks every worker how often it used each vault's keys to make codes, in this run of the agent.
    ///
    /// # Errors
    /// The first worker's that serves and does not answer: its uses are unknown, and with them the whole.
    pub async fn uses(&self) -> Result<Counted, KeystoreError> {
        let live: Vec<_> = self.0.slots.iter().filter_map(Slot::link).collect();
        for link in &live {
            let Answer::Uses(said) = link.call(call_deadline(&self.0.config), &Call::Uses).await? else {
                return Err(KeystoreError::Device {
                    operation: Operation::Wait,
                    code: "it answered something else".into(),
                });
            };
            link.tally().lock().said = said.into_iter().collect();
        }
        let mut counted = Counted::default();
        let tallies = self.0.tallies.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for tally in &tallies {
            let lives = live.iter().any(|link| Arc::ptr_eq(link.tally(), tally));
            for (vault, count) in tally.known() {
                *counted.uses.entry(vault).or_default() += count;
                if !lives {
                    *counted.by_ended.entry(vault).or_default() += count;
                }
            }
        }
        Ok(counted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_said_counts_unless_more_was_heard() {
        let (one, other) = (VaultId::random(), VaultId::random());
        let tally = Tally::default();
        tally.hear(one);
        tally.hear(one);
        tally.lock().said = Uses::from([(one, 1), (other, 5)]);
        assert_eq!(tally.known(), Uses::from([(one, 2), (other, 5)]));
    }
}
