//! The worker: the process that loads the PKCS#11 module, and the agent's side of it.
//!
//! A vendor's library may hang, leak, crash or lose its token. It does so in `strongroom-agent hsm-worker`, a process that
//! the agent can kill and start anew within milliseconds. And the process that parses what strangers send holds no PIN, no
//! session of the token and no seed opened under `derived`.
//!
//! * `wire`: what crosses the socket between the two: typed, length-limited messages.
//! * `serve`: the worker's main loop around the blocking [`super::Keystore`].
//! * `sandbox`: what a worker gives up before it loads the module.
//! * `launch`, `keeper`: how a worker is started, and who keeps a PIN that was typed.
//! * `link`: one running worker as the agent sees it.
//! * `workers`, `calls`, `supervisor`: all of them behind one handle, what is asked of them, and their replacement.
//! * `uses`: how often vault keys made codes, by the workers' own count.
//! * `blocking`: one of them for commands that work in blocking steps.

pub mod blocking;
mod calls;
mod config;
mod frames;
pub mod keeper;
mod launch;
mod link;
mod sandbox;
pub mod serve;
mod supervisor;
mod uses;
mod wire;
mod workers;

pub use launch::{Launcher, PinForWorkers};
pub use sandbox::{Applied, Sandbox};
pub use supervisor::TokenEvent;
pub use uses::{Counted, Uses};
pub use workers::{TokenState, WorkerStatus, Workers};
