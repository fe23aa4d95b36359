//! A real token per test, of the kind that the environment asks for. A module finds its configuration through the
//! environment and keeps its state per process, so each test that needs a token runs itself again in a process of its own.

#[path = "../../../tests/src/token.rs"]
#[allow(unreachable_pub, dead_code, reason = "shared with the end-to-end tests, which use more of it")]
mod token;

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;

use secrecy::SecretString;

use super::pkcs11::{Pkcs11Keystore, TokenConfig, TokenProfile};

/// Tells the second process where its token is.
const FOLDER: &str = "STRONGROOM_TEST_FOLDER";
pub(crate) const PIN: &str = "test-pin-5302";

/// An initialised token, and this process set up to use it.
pub(crate) struct TestToken(token::TestToken);

impl Deref for TestToken {
    type Target = token::TestToken;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl TestToken {
    pub(crate) fn config(&self) -> TokenConfig {
        TokenConfig {
            module: self.module.clone(),
            storage: self.storage.clone(),
            ..TokenConfig::new(TokenProfile::find(&self.kind.profile()).unwrap(), &self.label)
        }
    }

    pub(crate) fn pin(&self) -> SecretString {
        self.0.pin.as_str().into()
    }

    /// Where a software token keeps its files.
    pub(crate) fn tokens(&self) -> PathBuf {
        self.storage.clone().unwrap()
    }

    /// Provisions the token and opens it.
    pub(crate) fn keystore(&self) -> Pkcs11Keystore {
        Pkcs11Keystore::provision(&self.config(), &self.pin()).unwrap();
        Pkcs11Keystore::open(&self.config(), &self.pin()).unwrap()
    }
}

/// Runs `body` with a fresh token, in a process of its own. `test` is the test's full name within the crate.
pub(crate) fn with_token(test: &str, body: impl FnOnce(&TestToken)) {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return body(&TestToken(token::TestToken::at(folder.as_ref(), PIN)));
    }
    // Memory-backed where there is some: SoftHSM makes a key in 1 ms there, 50 to 130 ms on a disk.
    let shared_memory = Path::new("/dev/shm");
    let parent = if shared_memory.is_dir() { shared_memory.to_owned() } else { std::env::temp_dir() };
    let folder = tempfile::tempdir_in(parent).unwrap();
    let token = token::TestToken::make(folder.path(), PIN);
    run(Command::new(std::env::current_exe().unwrap())
        .envs(token.environment.iter().cloned())
        .env(FOLDER, folder.path())
        .args([test, "--exact", "--nocapture", "--include-ignored"]));
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{text}");
    assert!(!text.contains("running 0 tests"), "the test's name is wrong: {command:?}");
    // A measurement's figures and what was skipped, for who asks with --nocapture.
    println!("{text}");
}

/// Declares a test that runs with a fresh token of its own.
macro_rules! token_test {
    ($(#[$meta:meta])* fn $name:ident($token:ident) $body:block) => {
        $(#[$meta])*
        #[test]
        fn $name() {
            let path = concat!(module_path!(), "::", stringify!($name));
            let (_, test) = path.split_once("::").unwrap();
            $crate::keystore::fixture::with_token(test, |$token| $body);
        }
    };
}
pub(crate) use token_test;
