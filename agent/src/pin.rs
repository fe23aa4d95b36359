//! Where the token's PIN comes from: a private file, a systemd credential or a prompt. Never the command line or the
//! environment, where other processes and crash reports find it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::os::user as effective_user;

/// Longest PIN that is taken, in bytes. PKCS#11 modules stop at 64 to 255.
pub const PIN_LEN_MAX: usize = 255;

/// Where the PIN comes from. In the configuration: `pin = { file = "…" }`, `pin = { credential = "…" }`, `pin = "prompt"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PinSource {
    /// A file that nobody but the agent's own user can read. One line.
    File(PathBuf),
    /// The name of a systemd credential (systemd.exec(5), `LoadCredentialEncrypted=`).
    Credential(String),
    /// The terminal.
    Prompt,
}

/// Why there is no PIN. [`PinError::remedy`] says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The file cannot be opened or read.
    #[error("cannot read the PIN from {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is a symbolic link: whoever can change the link chooses the PIN.
    #[error("the PIN file {path} is a symbolic link")]
    Link {
        /// The file.
        path: PathBuf,
    },
    /// The path leads to a folder, a pipe or a device.
    #[error("the PIN file {path} is no regular file")]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// Others may read or write the file.
    #[error("the PIN file {path} is open to others (mode {mode:04o})")]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file belongs to somebody else.
    #[error("the PIN file {path} belongs to user {owner}, not to user {user} whom the agent runs as")]
    Owner {
        /// The file.
        path: PathBuf,
        /// Whom it belongs to.
        owner: u32,
        /// Whom the agent runs as.
        user: u32,
    },
    /// The source holds nothing that could be a PIN.
    #[error("there is no usable PIN in {place}: it must be one line of 1 to {PIN_LEN_MAX} bytes of text")]
    Unusable {
        /// Where it was looked for.
        place: String,
    },
    /// The name could lead out of the folder of credentials.
    #[error("\"{name}\" is no name of a credential")]
    CredentialName {
        /// The name.
        name: String,
    },
    /// systemd gave this process no credentials.
    #[error("there are no systemd credentials here, so none is named {name}")]
    NoCredentials {
        /// The name.
        name: String,
    },
    /// There is no terminal to ask at.
    #[error("cannot ask for the PIN")]
    Prompt {
        /// What the system says.
        source: io::Error,
    },
}

impl PinError {
    /// What to do about it, as one sentence.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Read { path, .. } => format!("Write the PIN to {} as the agent's user, mode 0600.", path.display()),
            Self::Link { path } | Self::NotAFile { path } => {
                format!("Put a regular file at {}, or name the real file in the configuration.", path.display())
            }
            Self::OpenToOthers { path, .. } => {
                format!("Run: chmod 600 {}. Then change the PIN: others could read it.", path.display())
            }
            Self::Owner { path, user, .. } => format!("Run: chown {user} {}", path.display()),
            Self::Unusable { place } => format!("Write the token's PIN, and nothing else, to {place}."),
            Self::CredentialName { .. } => {
                "Use the name as in the unit's LoadCredentialEncrypted=, without a path.".into()
            }
            Self::NoCredentials { name } => {
                format!("Start the agent from a unit with LoadCredentialEncrypted={name}, or use a PIN file.")
            }
            Self::Prompt { .. } => "Start the agent at a terminal, or use a PIN file or a systemd credential.".into(),
        }
    }
}

impl PinSource {
    /// Reads the PIN. A line ending after it is dropped, nothing else.
    ///
    /// # Errors
    /// [`PinError`], with a remedy.
    pub fn read(&self) -> Result<SecretString, PinError> {
        match self {
            Self::File(path) => read_file(path, Trust::OwnerOnly),
            Self::Credential(name) => {
                read_credential(std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from).as_deref(), name)
            }
            Self::Prompt => {
                let text = crate::prompt::ask_hidden("PIN of the token: ");
                let text = text.map_err(|source| PinError::Prompt { source })?;
                usable(text.as_bytes(), || "what was typed".into())
            }
        }
    }
}

/// Who may be able to read the file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    OwnerOnly,
    /// systemd guards its folder of credentials: a file there may be root's, with an access list that shows as group
    /// rights.
    ServiceManager,
}

fn read_credential(folder: Option<&Path>, name: &str) -> Result<SecretString, PinError> {
    // systemd's own rule for names (credential_name_valid): a plain file name.
    if name.is_empty() || name.contains(['/', '\0']) || name == "." || name == ".." {
        return Err(PinError::CredentialName { name: name.chars().take(80).collect() });
    }
    let folder = folder.ok_or_else(|| PinError::NoCredentials { name: name.into() })?;
    read_file(&folder.join(name), Trust::ServiceManager)
}

fn read_file(path: &Path, trust: Trust) -> Result<SecretString, PinError> {
    let failed = |source: io::Error| match source.raw_os_error() {
        Some(libc::ELOOP) => PinError::Link { path: path.into() },
        _ => PinError::Read { path: path.into(), source },
    };
    // O_NONBLOCK: opening a pipe must not wait for a writer. What is checked below is the open file, not its name.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
    check(&file, path, trust)?;
    // One byte more than allowed tells a longer file; a fixed buffer leaves no copies behind.
    let mut buffer = Zeroizing::new([0; PIN_LEN_MAX + 3]);
    let mut len = 0;
    let mut rest = file;
    while let Some(free) = buffer.get_mut(len..).filter(|free| !free.is_empty()) {
        match rest.read(free) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    usable(buffer.get(..len).unwrap_or_default(), || path.display().to_string())
}

fn check(file: &File, path: &Path, trust: Trust) -> Result<(), PinError> {
    let metadata = file.metadata().map_err(|source| PinError::Read { path: path.into(), source })?;
    let (mode, owner, user) = (metadata.permissions().mode() & 0o7777, metadata.uid(), effective_user());
    let forbidden = if trust == Trust::OwnerOnly { 0o077 } else { 0o007 };
    if !metadata.is_file() {
        Err(PinError::NotAFile { path: path.into() })
    } else if trust == Trust::OwnerOnly && owner != user {
        Err(PinError::Owner { path: path.into(), owner, user })
    } else if mode & forbidden != 0 {
        Err(PinError::OpenToOthers { path: path.into(), mode })
    } else {
        Ok(())
    }
}

fn usable(bytes: &[u8], place: impl FnOnce() -> String) -> Result<SecretString, PinError> {
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match std::str::from_utf8(line) {
        Ok(pin) if (1..=PIN_LEN_MAX).contains(&pin.len()) && !pin.contains(char::is_control) => Ok(pin.into()),
        _ => Err(PinError::Unusable { place: place() }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use secrecy::ExposeSecret;

    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn file(&self, content: impl AsRef<[u8]>, mode: u32) -> PathBuf {
            let path = self.0.path().join("pin");
            let _absent = fs::remove_file(&path);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        }
    }

    fn read(path: PathBuf) -> Result<String, PinError> {
        PinSource::File(path).read().map(|pin| pin.expose_secret().to_owned())
    }

    #[test]
    fn a_private_file_gives_its_line() {
        let folder = Folder::new();
        let longest = "9".repeat(PIN_LEN_MAX);
        for (content, pin) in [
            ("1234", "1234"),
            ("1234\n", "1234"),
            ("12 34\r\n", "12 34"),
            (&longest, &longest),
            (&format!("{longest}\r\n"), &longest),
        ] {
            assert_eq!(read(folder.file(content, 0o600)).unwrap(), pin);
            assert_eq!(read(folder.file(content, 0o400)).unwrap(), pin);
        }
    }

    #[test]
    fn a_file_open_to_others_is_refused() {
        let folder = Folder::new();
        for mode in [0o640, 0o604, 0o620, 0o644, 0o601, 0o666] {
            let error = read(folder.file("1234", mode)).unwrap_err();
            assert!(matches!(error, PinError::OpenToOthers { .. }), "{mode:o}: {error}");
            assert!(error.remedy().contains("chmod 600"));
        }
    }

    #[test]
    fn links_folders_pipes_and_nothing_are_refused() {
        let folder = Folder::new();
        let link = folder.0.path().join("link");
        symlink(folder.file("1234", 0o600), &link).unwrap();
        assert!(matches!(read(link), Err(PinError::Link { .. })));
        assert!(matches!(read(folder.0.path().into()), Err(PinError::NotAFile { .. })));
        assert!(matches!(read("/dev/null".into()), Err(PinError::NotAFile { .. })));
        let pipe = folder.0.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(matches!(read(pipe), Err(PinError::NotAFile { .. })));
        assert!(matches!(read(folder.0.path().join("absent")), Err(PinError::Read { .. })));
    }

    #[test]
    fn what_cannot_be_a_pin_is_refused_and_not_shown() {
        let folder = Folder::new();
        let too_long = "s3cret".repeat(50);
        for content in ["", "\n", "s3cret\n\n", "s3cret\nmore", "s3\0cret", &too_long] {
            let error = read(folder.file(content, 0o600)).unwrap_err();
            assert!(matches!(error, PinError::Unusable { .. }), "{content:?}");
            assert!(!format!("{error} {error:?} {}", error.remedy()).contains("s3"), "{error}");
        }
        assert!(matches!(read(folder.file([0xff, 0xfe], 0o600)), Err(PinError::Unusable { .. })));
    }

    #[test]
    fn somebody_elses_file_is_refused() {
        let folder = Folder::new();
        let path = folder.file("1234", 0o600);
        if std::os::unix::fs::chown(&path, Some(65534), None).is_ok() {
            let error = read(path).unwrap_err();
            assert!(matches!(error, PinError::Owner { owner: 65534, .. }), "{error}");
        }
    }

    #[test]
    fn a_credential_is_read_from_its_folder_only() {
        let folder = Folder::new();
        folder.file("1234\n", 0o440);
        let read = |name| read_credential(Some(folder.0.path()), name);
        assert_eq!(read("pin").unwrap().expose_secret(), "1234");
        for name in ["", ".", "..", "../pin", "/etc/passwd", "a/b", "a\0b"] {
            assert!(matches!(read(name), Err(PinError::CredentialName { .. })), "{name}");
        }
        assert!(matches!(read("absent"), Err(PinError::Read { .. })));
        assert!(matches!(read_credential(None, "pin"), Err(PinError::NoCredentials { .. })));
        folder.file("1234\n", 0o444);
        assert!(matches!(read("pin"), Err(PinError::OpenToOthers { .. })));
    }

    #[test]
    fn the_source_has_a_stable_form_in_the_configuration() {
        #[derive(Deserialize)]
        struct Config {
            pin: PinSource,
        }
        let parsed = |text: &str| toml::from_str::<Config>(text).map(|config| config.pin);
        assert_eq!(parsed(r#"pin = { file = "/p" }"#).unwrap(), PinSource::File("/p".into()));
        assert_eq!(parsed(r#"pin = { credential = "c" }"#).unwrap(), PinSource::Credential("c".into()));
        assert_eq!(parsed(r#"pin = "prompt""#).unwrap(), PinSource::Prompt);
        assert!(parsed(r#"pin = { value = "1234" }"#).is_err());
    }
}
