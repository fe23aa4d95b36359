//! What a technician configures once: who they are, which key signs, where the agent listens. Four layers, the higher one
//! wins field by field: flags, `STRONGROOM_*` variables, the user's file, the system's file. No secret belongs here.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use strongroom_proto::ids::Slug;

/// The system's file.
pub const SYSTEM_FILE: &str = "/etc/strongroom/config.toml";
/// Longest file that is read, in bytes.
const FILE_LEN_MAX: u64 = 64 * 1024;

/// One layer, or all of them after [`Settings::or`]. Absent means: the layer below decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Who logs in.
    pub identity: Option<Slug>,
    /// The SSH key that signs: a private key file, or a `.pub` file whose private half is in the ssh-agent.
    pub key: Option<PathBuf>,
    /// The agent's socket.
    pub socket: Option<PathBuf>,
    /// The file of agents that this user trusts.
    pub known_agents: Option<PathBuf>,
    /// The colours of the full-screen view.
    pub theme: Option<Theme>,
    /// How codes are copied.
    #[serde(default)]
    pub clipboard: Clipboard,
}

/// The colours of the full-screen view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Theme {
    /// `mono` under NO_COLOR, else what COLORFGBG says, else `dark`.
    Auto,
    /// Light text on a dark ground.
    Dark,
    /// Dark text on a light ground.
    Light,
    /// No colours at all.
    Mono,
}

/// How codes are copied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clipboard {
    /// Which way.
    pub provider: Option<ClipboardProvider>,
}

/// A way to the clipboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClipboardProvider {
    /// The first that works.
    Auto,
    /// The desktop's clipboard.
    Native,
    /// tmux passes it on to its terminal.
    Tmux,
    /// GNU screen passes it on to its terminal.
    Screen,
    /// The terminal is asked by escape sequence; nobody answers whether it did.
    Osc52,
    /// Never copy.
    None,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file is there and cannot be read.
    #[error("cannot read the settings in {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The file is too long to be one of ours.
    #[error("the settings in {path} are longer than 64 KiB")]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// A key or value is wrong.
    #[error("{path} line {line}: {message}")]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// A variable holds something that does not fit.
    #[error("{name}: {message}")]
    Variable {
        /// The variable.
        name: &'static str,
        /// What is wrong with it.
        message: String,
    },
}

impl Settings {
    /// Reads all layers below the flags.
    ///
    /// # Errors
    /// [`SettingsError`] if a file is there and cannot be used, or a variable does not fit.
    pub fn load(flags: Self, variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, SettingsError> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let home = variable("HOME").map(PathBuf::from);
        let mut settings = flags.or(Self::from_variables(&variable)?);
        for path in user_file(&variable).into_iter().chain([PathBuf::from(SYSTEM_FILE)]) {
            if let Some(layer) = Self::read(&path, home.as_deref())? {
                settings = settings.or(layer);
            }
        }
        Ok(settings)
    }

    /// Fills what is absent from a lower layer.
    #[must_use]
    pub fn or(self, lower: Self) -> Self {
        Self {
            identity: self.identity.or(lower.identity),
            key: self.key.or(lower.key),
            socket: self.socket.or(lower.socket),
            known_agents: self.known_agents.or(lower.known_agents),
            theme: self.theme.or(lower.theme),
            clipboard: Clipboard { provider: self.clipboard.provider.or(lower.clipboard.provider) },
        }
    }

    fn from_variables(variable: &impl Fn(&str) -> Option<OsString>) -> Result<Self, SettingsError> {
        const IDENTITY: &str = "STRONGROOM_IDENTITY";
        let wrong = |message: String| SettingsError::Variable { name: IDENTITY, message };
        let identity = variable(IDENTITY)
            .map(|value| {
                let text = value.into_string().map_err(|_| wrong("this is not UTF-8".to_owned()))?;
                Slug::new(&text).map_err(|error| wrong(error.to_string()))
            })
            .transpose()?;
        Ok(Self {
            identity,
            key: variable("STRONGROOM_KEY").map(PathBuf::from),
            socket: variable("STRONGROOM_SOCK").map(PathBuf::from),
            known_agents: variable("STRONGROOM_KNOWN_AGENTS").map(PathBuf::from),
            ..Self::default()
        })
    }

    fn read(path: &Path, home: Option<&Path>) -> Result<Option<Self>, SettingsError> {
        let failed = |source| SettingsError::Read { path: path.to_owned(), source };
        let mut text = String::new();
        match std::fs::File::open(path) {
            Ok(file) => file.take(FILE_LEN_MAX + 1).read_to_string(&mut text).map_err(failed)?,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(failed(error)),
        };
        if text.len() as u64 > FILE_LEN_MAX {
            return Err(SettingsError::TooLong { path: path.to_owned() });
        }
        Self::parse(&text, path, home).map(Some)
    }

    fn parse(text: &str, path: &Path, home: Option<&Path>) -> Result<Self, SettingsError> {
        let mut settings: Self = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            SettingsError::Line {
                path: path.to_owned(),
                line: before.matches('\n').count() + 1,
                message: error.message().to_owned(),
            }
        })?;
        for field in [&mut settings.key, &mut settings.socket, &mut settings.known_agents] {
            if let (Some(value), Some(home)) = (field.as_mut(), home)
                && let Ok(rest) = value.strip_prefix("~")
            {
                *value = home.join(rest);
            }
        }
        Ok(settings)
    }
}

fn user_file(variable: &impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    user_folder(variable).map(|folder| folder.join("config.toml"))
}

/// The user's own folder for settings and trusted agents: `$XDG_CONFIG_HOME/strongroom`, else `~/.config/strongroom`
/// (XDG Base Directory Specification).
pub fn user_folder(variable: &impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))?;
    Some(base.join("strongroom"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slug(text: &str) -> Option<Slug> {
        Slug::new(text).ok()
    }

    fn parse(text: &str) -> Result<Settings, String> {
        Settings::parse(text, Path::new("config.toml"), Some(Path::new("/home/jana")))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn every_key_is_read() {
        let text = "identity = \"jana\"\nkey = \"~/.ssh/id_ed25519\"\nsocket = \"/run/s\"\nknown_agents = \"/k\"\n\
                    theme = \"mono\"\n[clipboard]\nprovider = \"osc52\"\n";
        let expected = Settings {
            identity: slug("jana"),
            key: Some("/home/jana/.ssh/id_ed25519".into()),
            socket: Some("/run/s".into()),
            known_agents: Some("/k".into()),
            theme: Some(Theme::Mono),
            clipboard: Clipboard { provider: Some(ClipboardProvider::Osc52) },
        };
        assert_eq!(parse(text), Ok(expected));
        assert_eq!(parse(""), Ok(Settings::default()));
    }

    #[test]
    fn mistakes_name_the_file_and_the_line() {
        for (text, line, word) in [
            ("identity = \"jana\"\n\nidentiy = \"jana\"\n", 3, "identiy"),
            ("identity = \"Jana\"\n", 1, "a-z"),
            ("theme = \"pink\"\n", 1, "pink"),
            ("[clipboard]\nprovder = \"auto\"\n", 2, "provder"),
            ("key = \"a\"\nkey = \"b\"\n", 2, "duplicate"),
            ("key = \n", 1, ""),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(&format!("config.toml line {line}: ")), "{text}: {error}");
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn flags_win_over_variables_over_the_users_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("strongroom")).unwrap();
        let text = "identity = \"file\"\nkey = \"/file\"\nsocket = \"/file\"\ntheme = \"dark\"\n";
        std::fs::write(folder.path().join("strongroom/config.toml"), text).unwrap();
        let variable = |name: &str| match name {
            "XDG_CONFIG_HOME" => Some(folder.path().as_os_str().to_owned()),
            "STRONGROOM_SOCK" => Some("/variable".into()),
            "STRONGROOM_IDENTITY" => Some("variable".into()),
            "STRONGROOM_KEY" => Some("".into()),
            _ => None,
        };
        let flags = Settings { identity: slug("flag"), ..Settings::default() };
        let settings = Settings::load(flags, variable).unwrap();
        assert_eq!(settings.identity, slug("flag"));
        assert_eq!(settings.socket, Some("/variable".into()));
        assert_eq!(settings.key, Some("/file".into()), "an empty variable is an unset one");
        assert_eq!(settings.theme, Some(Theme::Dark));
    }

    #[test]
    fn a_variable_that_does_not_fit_is_named() {
        let variable = |name: &str| (name == "STRONGROOM_IDENTITY").then(|| "Jana!".into());
        let error = Settings::load(Settings::default(), variable).unwrap_err();
        assert!(error.to_string().starts_with("STRONGROOM_IDENTITY: a name is"), "{error}");
    }
}
