//! The harness of the end-to-end tests: a real token, a real agent process, real sockets and keys, each in a
//! private folder that goes away with the test. Nothing is simulated.

pub mod agent;
pub mod attestation;
pub mod bench;
pub mod big_digits;
pub mod ceremony;
pub mod clients;
pub mod clock;
pub mod disk;
pub mod fault_report;
pub mod faulty_module;
pub mod fresh_token;
pub mod logins;
pub mod organisation;
pub mod pending;
pub mod people;
pub mod pty;
pub mod raw;
pub mod receivers;
pub mod recovery;
pub mod refused;
pub mod schemes;
pub mod second_token;
pub mod seeds;
pub mod token;
pub mod tools;
pub mod trail;
pub mod workers;
