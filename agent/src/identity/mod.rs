//! Who is there: keys at enrolment, proofs at login, the agent's own proof, and the brake on failed ones.
//!
//! This folder decides what a signature proves. It does not know which identity a key belongs to, nor what that identity
//! may do.

mod agent_sign;
mod certificate;
mod endorsement;
mod key;
mod krl;
mod proof;
mod throttle;

pub use agent_sign::{agent_public_key, sign_as_agent};
pub use certificate::{Authorities, CertificateRefusal, UserCertificate, Vouched};
pub use endorsement::{AgentProof, EndorsementError, RENEW_AFTER_S};
pub use key::{EnrolmentKey, KeyRefusal};
pub use krl::{Krl, KrlError};
pub use proof::{Proof, ProofError, assurance, verify, verify_with};
pub use throttle::{Brake, Throttle, Throttled};

#[cfg(test)]
mod test_keys;
