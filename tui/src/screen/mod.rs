//! The full-screen front end, Elm-style: [`update::update`] changes a [`model::Model`] by a [`message::Msg`] and answers
//! with commands, [`view::view`] draws it. Keys, time, signals and the agent's answers come through one channel in one
//! order; one worker task talks to the agent. Neither half knows a socket or a terminal, so both are tested without.

pub mod audit;
pub mod code;
mod dialer;
mod filter;
pub mod keymap;
pub mod message;
pub mod model;
pub mod picture;
mod runner;
mod terminal;
pub mod text;
pub mod theme;
pub mod update;
pub mod vaults;
pub mod verify;
pub mod view;
pub mod worker;

use std::path::PathBuf;

use strongroom_proto::client::{Pins, Signer};
use strongroom_proto::ids::Slug;

pub use runner::{Clock, ScreenError, Setup, run_with};

/// What the full screen needs.
pub struct Options {
    /// Where the agent listens.
    pub socket: PathBuf,
    /// Who logs in.
    pub identity: Slug,
    /// Signs; ready to, without asking on the terminal.
    pub signer: Box<dyn Signer>,
    /// The agents that are trusted; decided without asking on the terminal.
    pub pins: Box<dyn Pins>,
    /// Theme, clipboard and clock.
    pub setup: Setup,
}

/// Runs the full screen until the user quits. Needs a threaded tokio runtime.
///
/// # Errors
/// Each [`ScreenError`] under its condition; the terminal has been given back by then.
pub async fn run(options: Options) -> Result<(), ScreenError> {
    let Options { socket, identity, signer, pins, setup } = options;
    run_with(setup, dialer::Agent { socket, identity, signer, pins }).await
}
