//! The files of a token that is files. They hold keys encrypted under the PINs, and no PIN.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};

/// SoftHSM's file that is emptied and rewritten at every login, and the agent's copy of it.
const TOKEN_FILE: &str = "token.object";
const TOKEN_COPY: &str = "token.object.kept";
/// Longest file of a token, in bytes; a key takes some 1,000.
const FILE_LEN_MAX: u64 = 1024 * 1024;
/// Most files of a token.
const FILES_MAX: usize = 200_000;
/// How often a file that is just being written is read again.
const TRIES: u32 = 40;

/// A file of the token: its name beneath the token's storage, and what it holds.
pub(super) struct TokenFile {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// Reads all files of the token with this id (`serial/label`) from SoftHSM's storage. The PIN's own file, should somebody
/// have put it there, is left out.
pub(super) fn read_all(storage: &Path, token: &str, pin_file: Option<&Path>) -> anyhow::Result<Vec<TokenFile>> {
    let serial = token.split('/').next().unwrap_or_default();
    let pin_file = pin_file.and_then(|path| fs::canonicalize(path).ok());
    let mut files = Vec::new();
    for folder in fs::read_dir(storage).with_context(|| format!("{} cannot be read", storage.display()))? {
        let folder = folder?;
        let folder_name = folder.file_name().into_string().unwrap_or_default();
        // SoftHSM names a token's folder by a UUID that ends in its serial number.
        let ours = is_uuid(&folder_name) && folder_name.replace('-', "").ends_with(serial);
        if !ours || !folder.file_type()?.is_dir() {
            continue;
        }
        for entry in fs::read_dir(folder.path())? {
            let entry = entry?;
            let name = entry.file_name().into_string().unwrap_or_default();
            if pin_file.as_ref().is_some_and(|pin| fs::canonicalize(entry.path()).is_ok_and(|path| path == *pin)) {
                continue;
            }
            if !entry.file_type()?.is_file() || !is_file_name(&name) {
                bail!("{} is no file of a token", entry.path().display());
            }
            let Some(bytes) = read_settled(&entry.path())? else { continue };
            files.push(TokenFile { name: format!("{folder_name}/{name}"), bytes });
            if files.len() > FILES_MAX {
                bail!("{} holds more than {FILES_MAX} files", storage.display());
            }
        }
    }
    if !files.iter().any(|file| file.name.ends_with(&format!("/{TOKEN_FILE}"))) {
        bail!("{} holds no files of the token {token}: correct [token] storage", storage.display());
    }
    files.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}

/// Reads a file until two reads agree: SoftHSM rewrites in place. `None` if it went away meanwhile.
fn read_settled(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let is_token = path.file_name().is_some_and(|name| name == TOKEN_FILE);
    let mut before: Option<Vec<u8>> = None;
    for _ in 0..TRIES {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
        };
        if bytes.len() as u64 > FILE_LEN_MAX {
            bail!("{} is longer than a file of a token", path.display());
        }
        if before.as_ref() == Some(&bytes) && !(is_token && bytes.is_empty()) {
            return Ok(Some(bytes));
        }
        before = Some(bytes);
        std::thread::sleep(Duration::from_millis(5));
    }
    if is_token && let Ok(kept) = fs::read(path.with_file_name(TOKEN_COPY)) {
        return Ok(Some(kept));
    }
    bail!("{} does not come to rest", path.display())
}

/// Whether a name beneath the storage is one that a token's file can have: a UUID's folder, then a plain file name.
pub(super) fn is_name(name: &str) -> bool {
    name.split_once('/').is_some_and(|(folder, file)| is_uuid(folder) && is_file_name(file))
}

fn is_uuid(name: &str) -> bool {
    name.len() == 36 && uuid::Uuid::try_parse(name).is_ok()
}

fn is_file_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    (1..=60).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDER: &str = "0d5a4f6e-1c2b-4e9f-8a7b-0123456789ab";

    #[test]
    fn names_lead_nowhere_else() {
        assert!(is_name(&format!("{FOLDER}/token.object")));
        for name in
            ["token.object", "x/token.object", "../token.object", &format!("{FOLDER}/../x"), &format!("{FOLDER}/.x")]
        {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn one_tokens_files_are_read_without_the_pin_file() {
        let storage = tempfile::tempdir().unwrap();
        let other = FOLDER.replace("0123456789ab", "ffffffffffff");
        for (folder, file) in [(FOLDER, TOKEN_FILE), (FOLDER, "pin"), (&other, TOKEN_FILE)] {
            fs::create_dir_all(storage.path().join(folder)).unwrap();
            fs::write(storage.path().join(folder).join(file), "x").unwrap();
        }
        let pin = storage.path().join(FOLDER).join("pin");
        let files = read_all(storage.path(), "8a7b0123456789ab/label", Some(&pin)).unwrap();
        let names: Vec<_> = files.iter().map(|file| file.name.clone()).collect();
        assert_eq!(names, [format!("{FOLDER}/token.object")]);
        assert!(read_all(storage.path(), "0000000000000000/label", None).is_err());
    }
}
