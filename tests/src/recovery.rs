//! Recovery pairs made by Debian's `age-keygen`, and `age` and `tar` as the other side of every archive.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::tools;

/// An offline pair.
pub struct RecoveryPair {
    folder: tempfile::TempDir,
    /// The public half.
    pub recipient: String,
}

impl RecoveryPair {
    /// Makes a pair.
    ///
    /// # Panics
    /// If `age-keygen` fails.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a private folder can be made");
        let key = folder.path().join("key").display().to_string();
        tools::run("age-keygen", &["-o", &key]);
        let recipient = tools::run("age-keygen", &["-y", &key]).trim().to_owned();
        Self { folder, recipient }
    }

    /// The file of the private half.
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    /// Runs a command with the private half on its standard input.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn run(&self, command: &mut Command) -> Output {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let key = std::fs::read(self.key_file()).expect("age-keygen wrote it");
        // A command that refuses before it reads closes its end.
        let _ = child.stdin.take().expect("it was piped").write_all(&key);
        child.wait_with_output().expect("it can be waited for")
    }

    /// As [`Self::run`], for what must succeed; gives standard output.
    ///
    /// # Panics
    /// If it fails.
    pub fn succeed(&self, command: &mut Command) -> String {
        let output = self.run(command);
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Opens an archive with `age -d` and unpacks it with `tar`.
    ///
    /// # Panics
    /// If either refuses.
    pub fn unpack(&self, archive: &Path, into: &Path) {
        let tar = into.join("opened.tar").display().to_string();
        let key = self.key_file().display().to_string();
        tools::run("age", &["-d", "-i", &key, "-o", &tar, &archive.display().to_string()]);
        tools::run("tar", &["-xf", &tar, "-C", &into.display().to_string()]);
        std::fs::remove_file(tar).expect("tar has read it");
    }

    /// Packs a folder's files, in the given order, as `tar` and `age` do: what somebody without the agent key can make.
    ///
    /// # Panics
    /// If either refuses.
    pub fn pack(&self, folder: &Path, names: &[&str], archive: &Path) {
        let tar = folder.join("packed.tar").display().to_string();
        let mut arguments = vec!["--format=gnu", "-cf", &tar, "-C", folder.to_str().expect("a test's path")];
        let mut find = Command::new("find");
        let files = tools::output(find.current_dir(folder).args(names).args(["!", "-type", "d"]));
        let files = String::from_utf8(files.stdout).expect("a test's paths");
        arguments.extend(files.lines());
        tools::run("tar", &arguments);
        tools::run("age", &["-r", &self.recipient, "-o", &archive.display().to_string(), &tar]);
        std::fs::remove_file(tar).expect("age has read it");
    }
}

impl Default for RecoveryPair {
    fn default() -> Self {
        Self::new()
    }
}

/// Checks a signature with `ssh-keygen -Y verify`. `key` is `keytype base64`.
///
/// # Panics
/// If ssh-keygen cannot be started.
#[must_use]
pub fn ssh_keygen_verifies(key: &str, namespace: &str, file: &Path, signature: &Path) -> bool {
    let folder = tempfile::tempdir().expect("a private folder can be made");
    let allowed = folder.path().join("allowed");
    std::fs::write(&allowed, format!("agent namespaces=\"{namespace}\" {key}\n")).expect("the disk has room");
    let input = std::fs::File::open(file).expect("the signed file is there");
    Command::new("ssh-keygen")
        .args(["-Y", "verify", "-I", "agent", "-n", namespace, "-f"])
        .arg(&allowed)
        .arg("-s")
        .arg(signature)
        .stdin(input)
        .output()
        .expect("ssh-keygen runs")
        .status
        .success()
}
