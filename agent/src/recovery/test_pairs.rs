//! Pairs made by Debian's `age-keygen`, and Debian's `age` as the other side of every test.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use super::{Recipient, RecoveryIdentity};

/// A pair and the folder its key file is in.
pub(crate) struct Pair {
    folder: tempfile::TempDir,
}

impl Pair {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        assert!(Command::new("age-keygen").arg("-o").arg(&key).output().unwrap().status.success());
        Self { folder }
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    /// The private half, read by us from the file that `age-keygen` wrote.
    pub(crate) fn identity(&self) -> RecoveryIdentity {
        RecoveryIdentity::parse(&fs::read_to_string(self.key()).unwrap()).unwrap()
    }

    /// The public half, as `age-keygen` says it.
    pub(crate) fn recipient(&self) -> Recipient {
        let public = Command::new("age-keygen").arg("-y").arg(self.key()).output().unwrap();
        Recipient::parse(String::from_utf8(public.stdout).unwrap().trim()).unwrap()
    }

    /// Has `age` open a file.
    pub(crate) fn age_opens(&self, sealed: &[u8]) -> Output {
        let file = self.folder.path().join("sealed");
        fs::write(&file, sealed).unwrap();
        Command::new("age").arg("-d").arg("-i").arg(self.key()).arg(file).output().unwrap()
    }

    /// Has `age` seal to these pairs.
    pub(crate) fn age_seals(pairs: &[&Self], plain: &[u8]) -> Vec<u8> {
        let file = pairs[0].folder.path().join("plain");
        fs::write(&file, plain).unwrap();
        let mut age = Command::new("age");
        for pair in pairs {
            age.args(["-r", &pair.recipient().to_string()]);
        }
        let output = age.arg(file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}
