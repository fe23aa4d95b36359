//! A PKCS#11 module (v2.40) that stands before a real one: it forwards every call, and on command it answers any return
//! value from any function, is late, hangs, crashes, finds nothing, computes wrong MACs or leaks. It can also refuse what a
//! YubiHSM 2 refuses. It writes down each call, so that a test counts PIN attempts, retries and keys made.
//!
//! A test copies the built library into a folder of its own and writes `shim.conf` beside it (`settings.rs` has the format).
//! Nothing comes from the environment: a worker process that clears its own is tested like any other. The file is looked at
//! before each call, so a fault begins and ends with a rename.

mod functions;
mod settings;
mod shim;
mod yubihsm;

pub use settings::FILE as SETTINGS_FILE;
