//! Keeps a second copy of the file that a SoftHSM token stands and falls with.
//!
//! SoftHSM 2.6 rewrites `token.object` in place at every login: it truncates the file, then writes it, without a sync.
//! A process that is killed between the two, or a power cut, leaves it empty; then the token is gone, and with it every
//! seed, although all key files are intact (seen in tests). So before each login a copy is put beside it, and an empty
//! file is replaced by that copy. It holds what the file itself holds: keys encrypted under the PINs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// `SoftHSM`'s name for the file.
const FILE: &str = "token.object";
/// Ours for the copy. SoftHSM passes over names that do not end in `.object`.
const COPY: &str = "token.object.kept";

/// Restores what was emptied, and copies what is whole, for every token in the folder. A folder without such files is no
/// SoftHSM's and is left alone.
///
/// # Errors
/// If a file cannot be read or written: then the login must not take place.
pub(super) fn guard(storage: &Path) -> io::Result<()> {
    for entry in fs::read_dir(storage)? {
        let folder = entry?.path();
        let (file, copy) = (folder.join(FILE), folder.join(COPY));
        let bytes = match fs::read(&file) {
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => continue,
            Err(error) => return Err(error),
        };
        let kept = match fs::read(&copy) {
            Ok(kept) => Some(kept),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        match kept {
            Some(kept) if bytes.is_empty() => {
                tracing::warn!(folder = %folder.display(), "a killed login had emptied the token's file: it was put back");
                replace(&folder, &file, &kept)?;
            }
            Some(kept) if kept == bytes => {}
            // Without a copy an empty file stays as it is: the open that follows says that there is no token.
            _ if bytes.is_empty() => {}
            _ => replace(&folder, &copy, &bytes)?,
        }
    }
    Ok(())
}

/// Puts bytes in a file's place in one step, durably.
fn replace(folder: &Path, file: &Path, bytes: &[u8]) -> io::Result<()> {
    // Workers and commands may guard at the same time: each writes under a name of its own.
    let new = folder.join(format!("token.object.{}.new", std::process::id()));
    let mut written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    written.write_all(bytes)?;
    written.sync_all()?;
    fs::rename(&new, file)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emptied_file_is_put_back_and_a_changed_one_is_copied_anew() {
        let storage = tempfile::tempdir().unwrap();
        let folder = storage.path().join("6ac0");
        fs::create_dir(&folder).unwrap();
        let (file, copy) = (folder.join(FILE), folder.join(COPY));
        fs::write(storage.path().join("stray"), "no folder").unwrap();
        for content in ["first", "PIN changed"] {
            fs::write(&file, content).unwrap();
            guard(storage.path()).unwrap();
            assert_eq!(fs::read_to_string(&copy).unwrap(), content);
            fs::write(&file, "").unwrap();
            guard(storage.path()).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), content);
        }
    }

    #[test]
    fn nothing_is_made_where_no_token_is() {
        let storage = tempfile::tempdir().unwrap();
        fs::create_dir(storage.path().join("empty")).unwrap();
        guard(storage.path()).unwrap();
        assert_eq!(fs::read_dir(storage.path().join("empty")).unwrap().count(), 0);
        let lost = storage.path().join("empty").join(FILE);
        fs::write(&lost, "").unwrap();
        guard(storage.path()).unwrap();
        assert!(fs::read(&lost).unwrap().is_empty() && !storage.path().join("empty").join(COPY).exists());
    }
}
