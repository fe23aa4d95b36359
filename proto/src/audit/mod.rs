//! The audit trail: the record, its commitments, the Merkle log over records, checkpoints, and the export folder with its
//! verifier. Each file is one step of that story; verifying needs no agent and no token.

pub mod checkpoint;
pub mod export;
pub mod log_key;
pub mod merkle;
pub mod opening;
pub mod pruned;
pub mod record;
pub mod record_proof;
pub mod replay;
pub mod signed_call;
pub mod witness;
