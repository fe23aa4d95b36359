//! A real SoftHSM token per test. SoftHSM finds its configuration through an environment variable and keeps its state per
//! process, so each test that needs a token runs itself again in a process of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use secrecy::SecretString;

use super::pkcs11::{Pkcs11Keystore, TokenConfig, TokenProfile};

/// Tells the second process where its token is.
const FOLDER: &str = "STRONGROOM_TEST_TOKEN";
pub(crate) const LABEL: &str = "strongroom-test";
pub(crate) const PIN: &str = "test-pin-5302";

/// A folder with an initialised token, and this process set up to use it.
pub(crate) struct TestToken {
    folder: PathBuf,
}

impl TestToken {
    pub(crate) fn config(&self) -> TokenConfig {
        TokenConfig { storage: Some(self.tokens()), ..TokenConfig::new(TokenProfile::default(), LABEL) }
    }

    pub(crate) fn pin(&self) -> SecretString {
        PIN.into()
    }

    /// Where SoftHSM keeps the token's files.
    pub(crate) fn tokens(&self) -> PathBuf {
        self.folder.join("tokens")
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
        return body(&TestToken { folder: folder.into() });
    }
    // Memory-backed where there is some: SoftHSM makes a key in 1 ms there, 50 to 130 ms on a disk.
    let shared_memory = Path::new("/dev/shm");
    let parent = if shared_memory.is_dir() { shared_memory.to_owned() } else { std::env::temp_dir() };
    let folder = tempfile::tempdir_in(parent).unwrap();
    let conf = folder.path().join("softhsm2.conf");
    let tokens = folder.path().join("tokens");
    std::fs::create_dir(&tokens).unwrap();
    std::fs::write(&conf, format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display())).unwrap();
    run(Command::new("softhsm2-util")
        .env("SOFTHSM2_CONF", &conf)
        .args(["--init-token", "--free", "--label", LABEL])
        .args(["--so-pin", "so-pin-77120", "--pin", PIN]));
    run(Command::new(std::env::current_exe().unwrap()).env("SOFTHSM2_CONF", &conf).env(FOLDER, folder.path()).args([
        test,
        "--exact",
        "--nocapture",
        "--include-ignored",
    ]));
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{text}");
    assert!(!text.contains("running 0 tests"), "the test's name is wrong: {command:?}");
    // A measurement's figures, for who asks with --nocapture.
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
