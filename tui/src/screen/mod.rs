//! The full-screen front end, Elm-style: [`update::update`] changes a [`model::Model`] by a [`message::Msg`] and answers
//! with commands, [`view::view`] draws it. Keys, time, signals and the agent's answers come through one channel in one
//! order; one worker task talks to the agent. Neither half knows a socket or a terminal, so both are tested without.

pub mod audit;
pub mod code;
mod filter;
pub mod keymap;
pub mod message;
pub mod model;
pub mod text;
pub mod theme;
pub mod update;
pub mod vaults;
pub mod verify;
pub mod view;
