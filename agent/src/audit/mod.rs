//! The agent's side of the trail: when checkpoints are signed and where the ends of the logs are anchored. Records are
//! made in [`crate::store::tx`]; their format and verifier are in `strongroom-proto`.

pub mod anchor;
pub mod checkpointer;
pub mod key_change;
pub mod state_check;
pub mod watch;
