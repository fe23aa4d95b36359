//! A SoftHSM token for a test that loads the module itself. SoftHSM finds its configuration through an environment variable
//! and keeps its state per process, so such a test runs itself again in a process of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tools;

/// Tells the second process where its token is.
const FOLDER: &str = "STRONGROOM_FRESH_TOKEN";
/// The token's label.
pub const LABEL: &str = "strongroom-test";

/// A folder with an initialised token, and this process set up to use it.
#[derive(Debug)]
pub struct FreshToken {
    folder: PathBuf,
}

impl FreshToken {
    /// Where SoftHSM keeps the token's files.
    #[must_use]
    pub fn tokens(&self) -> PathBuf {
        self.folder.join("tokens")
    }
}

/// Runs `body` with a fresh token of this PIN, in a process of its own, and shows what it printed. `test` is the test's name.
///
/// # Panics
/// If the body does.
pub fn with_token(test: &str, pin: &str, body: impl FnOnce(&FreshToken)) {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return body(&FreshToken { folder: folder.into() });
    }
    // Memory-backed where there is some: SoftHSM makes a key in 1 ms there, 50 to 130 ms on a disk.
    let shared_memory = Path::new("/dev/shm");
    let parent = if shared_memory.is_dir() { shared_memory.to_owned() } else { std::env::temp_dir() };
    let folder = tempfile::Builder::new().prefix("strongroom-token-").tempdir_in(parent).expect("a folder can be made");
    let (conf, tokens) = (folder.path().join("softhsm2.conf"), folder.path().join("tokens"));
    std::fs::create_dir(&tokens).expect("a folder can be made");
    tools::write_private(&conf, &format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display()));
    let initialise = ["--init-token", "--free", "--label", LABEL, "--so-pin", "so-pin-77120", "--pin", pin];
    run(Command::new("softhsm2-util").env("SOFTHSM2_CONF", &conf).args(initialise));
    let own = std::env::current_exe().expect("the test knows its own path");
    let again = ["--exact", test, "--nocapture", "--include-ignored"];
    let text = run(Command::new(own).env("SOFTHSM2_CONF", &conf).env(FOLDER, folder.path()).args(again));
    assert!(!text.contains("running 0 tests"), "the test's name is not {test}");
    println!("{text}");
}

fn run(command: &mut Command) -> String {
    let output = tools::output(command);
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{text}");
    text
}
