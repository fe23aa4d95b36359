//! Opening the token beside a running agent.

use std::time::Duration;

use anyhow::Context as _;

use crate::config::Config;
use crate::keystore::pkcs11::Pkcs11Keystore;
use crate::keystore::{KeystoreError, Operation};

/// How often, and how far apart, a token is looked for that another process is just logging in to.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// Opens the configured token. SoftHSM empties and rewrites its token file at every login, so while the agent logs in there
/// is no token for a moment (seen in tests): then it is looked for again. That happens before a PIN is presented; a refused
/// PIN is never presented again.
pub(super) fn open_token(config: &Config) -> anyhow::Result<Pkcs11Keystore> {
    let pin = config.pin.read().context("the PIN cannot be read")?;
    let mut tries = 0;
    loop {
        tries += 1;
        match Pkcs11Keystore::open(&config.token_config(), &pin) {
            Err(KeystoreError::NoToken { .. } | KeystoreError::System { operation: Operation::Open, .. })
                if tries < TRIES =>
            {
                std::thread::sleep(PAUSE);
            }
            opened => return opened.context("the token cannot be opened"),
        }
    }
}
