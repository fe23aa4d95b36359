//! The agent's configuration: one TOML file. Unknown keys are errors that name file and line.
//! `hsm-config/agent.example.toml` shows every key at its default and is loaded by a test.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use strongroom_proto::words::Scheme;

use crate::audit::checkpointer::Cadence;
use crate::keystore::pkcs11::TokenConfig;
use crate::pin::PinSource;
use crate::server::Limits;

/// Where the configuration is looked for when nobody says.
pub const DEFAULT_PATH: &str = "/etc/strongroom/agent.toml";
/// Longest configuration file, in bytes.
const FILE_LEN_MAX: u64 = 64 * 1024;

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the store and the anchors are; a private folder of the agent's user.
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    /// The anchors' file; `data_dir/anchors` when absent. Better on another disk or mount than the store.
    #[serde(default)]
    pub anchors: Option<PathBuf>,
    /// The socket's path.
    #[serde(default = "default_socket")]
    pub socket: PathBuf,
    /// How seeds of new vaults are sealed when nobody says.
    #[serde(default = "default_scheme")]
    pub default_scheme: Scheme,
    /// The token.
    #[serde(default)]
    pub token: Token,
    /// Where its PIN comes from: `{ file = "…" }`, `{ credential = "…" }` or `"prompt"`.
    #[serde(default = "default_pin")]
    pub pin: PinSource,
    /// When checkpoints are signed.
    #[serde(default)]
    pub checkpoint: Checkpoint,
    /// What connections may take.
    #[serde(default)]
    pub limits: ConnectionLimits,
    /// Backups by the running agent.
    #[serde(default)]
    pub backup: Backup,
    /// The file that this was read from: a backup takes it along.
    #[serde(skip)]
    pub file: Option<PathBuf>,
}

/// Backups that the running agent makes by itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Backup {
    /// Where they go; absent means that the agent makes none by itself.
    pub folder: Option<PathBuf>,
    /// A new one is made when the newest is older than this, in hours.
    pub every_h: u64,
    /// How many are kept.
    pub keep: usize,
    /// What is run after each, with the file's path as `$1`.
    pub command: Option<String>,
    /// A warning is given when the last good drill is older than this, in days.
    pub drill_within_days: u64,
}

/// Which token.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Token {
    /// The PKCS#11 module.
    pub module: PathBuf,
    /// The token's label.
    pub label: String,
    /// The token's serial number, if labels repeat.
    pub serial: Option<String>,
    /// The folder in which a software token keeps its files: synced after a key was made.
    pub storage: Option<PathBuf>,
    /// Most vault keys that the token holds.
    pub key_budget: Option<u32>,
}

/// When checkpoints are signed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Checkpoint {
    /// A log that has grown is signed after this long, in seconds.
    pub interval_s: u64,
    /// A log that has grown by this many records is signed at once.
    pub records: u64,
}

/// What connections may take.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectionLimits {
    /// Connections at once.
    pub connections: usize,
    /// Connections at once of one user of the system.
    pub connections_per_uid: usize,
    /// A connection without a login ends after this long, in seconds.
    pub login_deadline_s: u64,
    /// A call is answered with `expired` after this long, in seconds.
    pub call_deadline_s: u64,
}

fn default_data_dir() -> PathBuf {
    "/var/lib/strongroom".into()
}

fn default_socket() -> PathBuf {
    "/run/strongroom/agent.sock".into()
}

fn default_pin() -> PinSource {
    PinSource::File("/etc/strongroom/pin".into())
}

const fn default_scheme() -> Scheme {
    Scheme::Resident
}

impl Default for Token {
    fn default() -> Self {
        Self {
            module: "/usr/lib/softhsm/libsofthsm2.so".into(),
            label: "strongroom".into(),
            serial: None,
            storage: None,
            key_budget: None,
        }
    }
}

impl Default for Checkpoint {
    fn default() -> Self {
        Self { interval_s: 60, records: 256 }
    }
}

impl Default for Backup {
    fn default() -> Self {
        Self { folder: None, every_h: 24, keep: 14, command: None, drill_within_days: 35 }
    }
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { connections: 512, connections_per_uid: 256, login_deadline_s: 120, call_deadline_s: 30 }
    }
}

/// Why the configuration cannot be used. Each says where.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration {path} cannot be read")]
    File {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A line does not fit.
    #[error("{path}:{line}: {message}")]
    Line {
        /// Which file.
        path: String,
        /// Which line, from 1.
        line: usize,
        /// What does not fit.
        message: String,
    },
    /// A value is too small.
    #[error("{path}: {key} must be at least {least}")]
    Value {
        /// Which file.
        path: String,
        /// Which key.
        key: &'static str,
        /// Its least value.
        least: u64,
    },
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`] naming file and line.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        use std::io::Read as _;
        let name = path.display().to_string();
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(FILE_LEN_MAX).read_to_string(&mut text))
            .map_err(|source| ConfigError::File { path: name.clone(), source })?;
        Ok(Self { file: Some(path.to_owned()), ..Self::parse(&text, &name)? })
    }

    /// Parses a configuration; `name` is for errors.
    ///
    /// # Errors
    /// [`ConfigError::Line`].
    pub fn parse(text: &str, name: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = text.get(..start).unwrap_or_default().matches('\n').count() + 1;
            ConfigError::Line { path: name.to_owned(), line, message: error.message().to_owned() }
        })?;
        config.check(name)?;
        Ok(config)
    }

    /// Refuses values that would make the agent useless in ways that are hard to see later.
    fn check(&self, name: &str) -> Result<(), ConfigError> {
        let least = [
            ("interval_s", self.checkpoint.interval_s, 1),
            ("records", self.checkpoint.records, 1),
            ("connections", self.limits.connections as u64, 1),
            ("connections_per_uid", self.limits.connections_per_uid as u64, 1),
            ("login_deadline_s", self.limits.login_deadline_s, 1),
            ("every_h", self.backup.every_h, 1),
            ("keep", self.backup.keep as u64, 1),
            ("drill_within_days", self.backup.drill_within_days, 1),
            // Below it a release that waits for a fresh window could never be answered.
            ("call_deadline_s", self.limits.call_deadline_s, 30),
        ];
        match least.into_iter().find(|(_, value, least)| value < least) {
            Some((key, _, least)) => Err(ConfigError::Value { path: name.to_owned(), key, least }),
            None => Ok(()),
        }
    }

    /// The store's file.
    #[must_use]
    pub fn store_path(&self) -> PathBuf {
        self.data_dir.join("store.sqlite")
    }

    /// The anchors' file.
    #[must_use]
    pub fn anchor_path(&self) -> PathBuf {
        self.anchors.clone().unwrap_or_else(|| self.data_dir.join("anchors"))
    }

    /// The token as the keystore wants it.
    #[must_use]
    pub fn token_config(&self) -> TokenConfig {
        TokenConfig {
            module: self.token.module.clone(),
            label: self.token.label.clone(),
            serial: self.token.serial.clone(),
            storage: self.token.storage.clone(),
            key_budget: self.token.key_budget,
        }
    }

    /// True for a SoftHSM whose folder is not named: it rewrites its token file at every login without a sync, so a crash
    /// in between can empty it. With the folder known, the agent keeps a copy.
    #[must_use]
    pub fn lacks_token_storage(&self) -> bool {
        self.is_softhsm() && self.token.storage.is_none()
    }

    /// The folder of a token that is files: those files are the token, and a backup takes them along.
    #[must_use]
    pub fn token_folder(&self) -> Option<&Path> {
        self.token.storage.as_deref().filter(|_| self.is_softhsm())
    }

    fn is_softhsm(&self) -> bool {
        self.token.module.file_name().is_some_and(|name| name.to_string_lossy().contains("softhsm"))
    }

    /// The checkpoint cadence.
    #[must_use]
    pub const fn cadence(&self) -> Cadence {
        Cadence { interval: Duration::from_secs(self.checkpoint.interval_s), records: self.checkpoint.records }
    }

    /// The limits of the server.
    #[must_use]
    pub fn server_limits(&self) -> Limits {
        Limits {
            connections: self.limits.connections,
            connections_per_uid: self.limits.connections_per_uid,
            login_deadline: Duration::from_secs(self.limits.login_deadline_s),
            call_deadline: Duration::from_secs(self.limits.call_deadline_s),
            ..Limits::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_shows_every_key_at_its_default() {
        let text = include_str!("../../hsm-config/agent.example.toml");
        let example = Config::parse(text, "agent.example.toml").unwrap();
        let bare = Config::parse("", "bare").unwrap();
        assert_eq!(example, bare);
        for key in [
            "data_dir",
            "anchors",
            "socket",
            "default_scheme",
            "pin",
            "module",
            "label",
            "serial",
            "storage",
            "key_budget",
            "interval_s",
            "records",
            "connections",
            "connections_per_uid",
            "login_deadline_s",
            "call_deadline_s",
            "folder",
            "every_h",
            "keep",
            "command",
            "drill_within_days",
        ] {
            let shown = text.lines().any(|line| line.trim_start_matches("# ").starts_with(&format!("{key} =")));
            assert!(shown, "{key} is not in the example");
        }
    }

    #[test]
    fn an_unknown_key_is_named_with_file_and_line() {
        let error = Config::parse("socket = \"x\"\n\n[token]\nlable = \"x\"\n", "agent.toml").unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("agent.toml:4: ") && text.contains("lable"), "{text}");
    }
}
