//! The programs that the tests run, ours and others'.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The folder of the built programs: the one that holds this test's own.
///
/// # Panics
/// If the test was started by hand from elsewhere.
#[must_use]
pub fn target_dir() -> PathBuf {
    let own = std::env::current_exe().expect("the test knows its own path");
    let parent = own.parent().expect("the test lies in a folder");
    if parent.ends_with("deps") {
        parent.parent().expect("deps lies in a folder").to_owned()
    } else {
        parent.to_owned()
    }
}

/// One of our programs.
///
/// # Panics
/// If it has not been built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let path = target_dir().join(name);
    assert!(
        path.exists(),
        "{} is missing: run `cargo build --workspace --bins` first (tests/run.sh does)",
        path.display()
    );
    path
}

/// Runs a foreign program and gives its output, which must be a success.
///
/// # Panics
/// If it is not installed or fails; the message says with what.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = output(Command::new(program).args(arguments));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a prepared command to its end, without standard input.
///
/// # Panics
/// If it cannot be started.
pub fn output(command: &mut Command) -> Output {
    command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error} (tests/run.sh installs it)"))
}

/// The PKCS#11 module that fails on command. Cargo builds it with the tests, which depend on it.
///
/// # Panics
/// If it is not there.
#[must_use]
pub fn shim_module() -> PathBuf {
    let name = "libstrongroom_pkcs11_shim.so";
    let candidates = [target_dir().join("deps").join(name), target_dir().join(name)];
    let found = candidates.iter().find(|path| path.exists());
    found.cloned().unwrap_or_else(|| panic!("{name} is missing: run `cargo build -p strongroom-pkcs11-shim`"))
}

/// The code of a seed as `oathtool` computes it. `algorithm` is `sha1`, `sha256` or `sha512`.
#[must_use]
pub fn oathtool(seed_base32: &str, algorithm: &str, digits: u8, unix_s: i64) -> String {
    let (mode, digits, now) = (format!("--totp={algorithm}"), digits.to_string(), format!("@{unix_s}"));
    run("oathtool", &["--base32", &mode, "--digits", &digits, "--now", &now, seed_base32]).trim().to_owned()
}

/// Writes a private file.
///
/// # Panics
/// If it cannot.
pub fn write_private(path: &Path, text: &str) {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file.write_all(text.as_bytes()).expect("the disk has room");
}
