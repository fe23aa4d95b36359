//! The command that is run after a backup: to copy it where this machine cannot change it any more.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// Runs the configured command by `sh` with the backup's path as `$1`, waits for it and checks its exit code. The path is
/// an argument of its own: nothing of it is read as shell text.
pub(super) fn run(command: &str, file: &Path) -> anyhow::Result<()> {
    let status = Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .arg("strongroom-backup")
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("the backup's command cannot be started")?;
    if !status.success() {
        bail!("the backup was made, but its command failed ({status}): {}", file.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_an_argument_and_the_exit_code_counts() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a b; touch $HOME $(exit 7)");
        std::fs::write(&file, "x").unwrap();
        run("test -f \"$1\" && test $# = 1", &file).unwrap();
        let error = run("exit 3", &file).unwrap_err().to_string();
        assert!(error.contains("exit status: 3"), "{error}");
    }
}
