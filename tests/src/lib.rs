//! The harness of the end-to-end tests: a real SoftHSM token, a real agent process, real sockets and keys, each in a
//! private folder that goes away with the test. Nothing is simulated.

pub mod agent;
pub mod bench;
pub mod big_digits;
pub mod clients;
pub mod disk;
pub mod organisation;
pub mod people;
pub mod pty;
pub mod raw;
pub mod recovery;
pub mod seeds;
pub mod tools;
pub mod trail;
