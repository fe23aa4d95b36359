//! Writes a report, or another page for people, into a file that only its owner reads and that was not there before.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::super::error::CliError;

/// Writes a new file, 0600.
///
/// # Errors
/// If the file exists or cannot be written.
pub(in super::super) fn write_new(path: &Path, text: &str) -> Result<(), CliError> {
    // create_new follows no link, either: nobody places a report over another file.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(|error| CliError::caused(&format!("Nothing was written to {}", path.display()), &error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_report_is_private_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.html");
        write_new(&path, "one").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(write_new(&path, "two").unwrap_err().message.contains("exists"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), folder.path().join("link")).unwrap();
        assert!(write_new(&folder.path().join("link"), "three").is_err());
    }
}
