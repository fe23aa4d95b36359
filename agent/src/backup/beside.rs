//! Opening the token beside a running agent.

use std::time::Duration;

use anyhow::Context as _;

use crate::config::Config;
use crate::keystore::worker::blocking::BlockingWorker;
use crate::keystore::{KeystoreError, Operation};
use crate::pin::PinSource;

/// How often, and how far apart, a token is looked for that another process is just logging in to.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// Opens the configured token. SoftHSM empties and rewrites its token file at every login, so while the agent logs in there
/// is no token for a moment (seen in tests): then it is looked for again. That happens before a PIN is presented; a refused
/// PIN is never presented again.
pub(crate) fn open_token(config: &Config) -> anyhow::Result<BlockingWorker> {
    let mut tries = 0;
    loop {
        tries += 1;
        match BlockingWorker::start(config.token.config(), &config.pin, false) {
            Err(KeystoreError::NoToken { .. } | KeystoreError::System { operation: Operation::Open, .. })
                // A person is not asked for a PIN twice.
                if tries < TRIES && config.pin != PinSource::Prompt =>
            {
                std::thread::sleep(PAUSE);
            }
            opened => return opened.context("the token cannot be opened"),
        }
    }
}
