//! Who is there: keys at enrolment, proofs at login, the agent's own proof, and the brake on failed ones.
//!
//! This folder decides what a signature proves. It does not know which identity a key belongs to, nor what that identity
//! may do.

mod agent_sign;
mod attestation;
mod certificate;
mod endorsement;
mod key;
mod krl;
mod proof;
mod throttle;
mod vendors;

pub use agent_sign::{agent_public_key, sign_as_agent};
pub use attestation::{ATTESTATION_LEN_MAX, AttestationRefusal, Attested, attest};
pub use certificate::{Authorities, CertificateRefusal, UserCertificate, Vouched};
pub use endorsement::{AgentProof, EndorsementError, RENEW_AFTER_S};
pub use key::{EnrolmentKey, KeyRefusal};
pub use krl::{Krl, KrlError};
pub use proof::{Proof, ProofError, assurance, verify, verify_with};
pub use throttle::{Alarm, Brake, HeldBack, Throttle, Throttled};
pub use vendors::{ChainError, VendorError, Vendors};

#[cfg(test)]
mod test_keys;
