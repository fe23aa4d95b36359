//! The agent's configuration: one TOML file. Unknown keys are errors that name file and line.
//! `hsm-config/agent.example.toml` shows every key at its default and is loaded by a test.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;
use strongroom_proto::words::Scheme;

use crate::audit::checkpointer::Cadence;
use crate::keystore::pkcs11::TokenConfig;
pub use crate::login_section::Login;
use crate::pin::PinSource;
use crate::server::Limits;
use crate::state::alert::Escalation;
use crate::streams::section::{self, StreamConfig};
pub use crate::token_section::Token;
use crate::witness::section::WitnessConfig;

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
    #[serde(rename = "default_scheme", default)]
    default_scheme_given: Option<Scheme>,
    /// How seeds of new vaults are sealed when nobody says: as the configuration says, else as the token's profile does.
    #[serde(skip, default = "default_scheme")]
    pub default_scheme: Scheme,
    /// The token.
    #[serde(default)]
    pub token: Token,
    #[serde(rename = "pin", default)]
    pin_given: Option<PinSource>,
    /// Where its PIN comes from: `{ file = "…" }`, `{ credential = "…" }` or `"prompt"`, or the file that the token's URI
    /// names.
    #[serde(skip, default = "default_pin")]
    pub pin: PinSource,
    /// A second token that serves the same store, once it has joined.
    #[serde(default)]
    pub second_token: Option<Token>,
    /// Where the second token's PIN comes from: a file or a credential.
    #[serde(skip)]
    pub second_pin: Option<PinSource>,
    /// When checkpoints are signed.
    #[serde(default)]
    pub checkpoint: Checkpoint,
    /// When uses of vault keys are compared with the logs.
    #[serde(default)]
    pub reconcile: Reconcile,
    /// What connections may take.
    #[serde(default)]
    pub limits: ConnectionLimits,
    /// Ways to log in beside enrolled keys.
    #[serde(default)]
    pub login: Login,
    /// Backups by the running agent.
    #[serde(default)]
    pub backup: Backup,
    /// How long the logs' records stay.
    #[serde(default)]
    pub retention: Retention,
    /// What happens to alerts that nobody answers.
    #[serde(default)]
    pub alerts: Alerts,
    /// Copies of the logs for others.
    #[serde(rename = "stream", default)]
    pub streams: Vec<StreamConfig>,
    /// Who signs checkpoints beside the agent.
    #[serde(rename = "witness", default)]
    pub witnesses: Vec<WitnessConfig>,
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

/// How long the logs' records stay in the store. Their hashes stay for ever.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Records older than so many months are pruned, a month of them at a time; 0 keeps all of them.
    pub online_months: u32,
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

/// When uses of vault keys are compared with the logs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reconcile {
    /// After this long each, in seconds, and when the agent stops.
    pub every_s: u64,
}

/// What happens to alerts that nobody answers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Alerts {
    /// One escalates after this long, and again after as long, in seconds.
    pub escalate_after_s: u64,
    /// How often at most; 0 means never.
    pub levels: u32,
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

/// The PIN of a second token: never typed, because the keeper of a typed PIN keeps one, for one module.
fn second_pin(token: &Token) -> Result<PinSource, String> {
    match (token.pin(), token.pin_file()) {
        (Some(_), Some(_)) => Err("both pin and uri (pin-source) of [second_token] name a PIN: give one".into()),
        (Some(PinSource::Prompt), None) => {
            Err("[second_token] pin cannot be \"prompt\": give a file or a systemd credential".into())
        }
        (Some(pin), None) => Ok(pin.clone()),
        (None, Some(file)) => Ok(PinSource::File(file.to_owned())),
        (None, None) => {
            Err("[second_token] needs a pin of its own: { file = \"...\" } or { credential = \"...\" }".into())
        }
    }
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

impl Default for Checkpoint {
    fn default() -> Self {
        Self { interval_s: 60, records: 256 }
    }
}

impl Default for Reconcile {
    fn default() -> Self {
        Self { every_s: 60 * 60 }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self { online_months: 13 }
    }
}

impl Default for Alerts {
    fn default() -> Self {
        Self { escalate_after_s: 3600, levels: 3 }
    }
}

impl Alerts {
    /// The same, as alerts are judged by it.
    #[must_use]
    pub fn escalation(&self) -> Escalation {
        let after = i64::try_from(self.escalate_after_s).unwrap_or(i64::MAX);
        Escalation { after: SignedDuration::from_secs(after), levels: self.levels }
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
    /// Two statements do not go together.
    #[error("{path}: {conflict}")]
    Conflict {
        /// Which file.
        path: String,
        /// Which ones, and why.
        conflict: String,
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

    /// Says which file this was read from.
    #[must_use]
    pub fn read_from(self, path: &Path) -> Self {
        Self { file: Some(path.to_owned()), ..self }
    }

    /// Parses a configuration; `name` is for errors.
    ///
    /// # Errors
    /// [`ConfigError::Line`].
    pub fn parse(text: &str, name: &str) -> Result<Self, ConfigError> {
        let mut config: Self = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = text.get(..start).unwrap_or_default().matches('\n').count() + 1;
            ConfigError::Line { path: name.to_owned(), line, message: error.message().to_owned() }
        })?;
        config.check(name)?;
        config.settle().map_err(|conflict| ConfigError::Conflict { path: name.to_owned(), conflict })?;
        Ok(config)
    }

    /// Fills in what depends on more than one statement.
    fn settle(&mut self) -> Result<(), String> {
        let token = self.token.config();
        self.default_scheme = self.default_scheme_given.unwrap_or(token.profile.schemes.default);
        if !token.profile.schemes.allowed.contains(&self.default_scheme) {
            return Err(format!(
                "default_scheme is {}, which [token] does not allow (profile {})",
                self.default_scheme, token.profile.name
            ));
        }
        self.pin = match (self.pin_given.clone().or_else(|| self.token.pin().cloned()), self.token.pin_file()) {
            (Some(_), Some(_)) => return Err("both pin and the token's uri (pin-source) name a PIN: give one".into()),
            _ if self.pin_given.is_some() && self.token.pin().is_some() => {
                return Err("both pin and [token] pin name a PIN: give one".into());
            }
            (Some(pin), None) => pin,
            (None, Some(file)) => PinSource::File(file.to_owned()),
            (None, None) => default_pin(),
        };
        self.second_pin = self.second_token.as_ref().map(second_pin).transpose()?;
        section::check(&self.streams)?;
        crate::witness::section::check(&self.witnesses)?;
        Ok(())
    }

    /// The second token and where its PIN comes from, if the configuration names one.
    #[must_use]
    pub fn second(&self) -> Option<(&TokenConfig, &PinSource)> {
        Some((self.second_token.as_ref()?.config(), self.second_pin.as_ref()?))
    }

    /// Refuses values that would make the agent useless in ways that are hard to see later.
    fn check(&self, name: &str) -> Result<(), ConfigError> {
        let least = [
            ("interval_s", self.checkpoint.interval_s, 1),
            ("records", self.checkpoint.records, 1),
            ("every_s", self.reconcile.every_s, 1),
            ("escalate_after_s", self.alerts.escalate_after_s, 1),
            ("connections", self.limits.connections as u64, 1),
            ("connections_per_uid", self.limits.connections_per_uid as u64, 1),
            ("login_deadline_s", self.limits.login_deadline_s, 1),
            ("max_lifetime_h", self.login.certificates.max_lifetime_h, 1),
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
        self.token.config().clone()
    }

    /// True for a SoftHSM whose folder is not named: it rewrites its token file at every login without a sync, so a crash
    /// in between can empty it. With the folder known, the agent keeps a copy.
    #[must_use]
    pub fn lacks_token_storage(&self) -> bool {
        self.is_softhsm() && self.token.config().storage.is_none()
    }

    /// The folder of a token that is files: those files are the token, and a backup takes them along.
    #[must_use]
    pub fn token_folder(&self) -> Option<&Path> {
        self.token.config().storage.as_deref().filter(|_| self.is_softhsm())
    }

    fn is_softhsm(&self) -> bool {
        let TokenConfig { module, profile, .. } = self.token.config();
        profile.softhsm_folder && module.file_name().is_some_and(|name| name.to_string_lossy().contains("softhsm"))
    }

    /// The checkpoint cadence.
    #[must_use]
    pub const fn cadence(&self) -> Cadence {
        Cadence { interval: Duration::from_secs(self.checkpoint.interval_s), records: self.checkpoint.records }
    }

    /// How often uses of vault keys are compared with the logs.
    #[must_use]
    pub const fn reconcile_every(&self) -> Duration {
        Duration::from_secs(self.reconcile.every_s)
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
            "profile",
            "uri",
            "schemes",
            "workers",
            "object_budget",
            "memory_limit_mib",
            "operation_ms",
            "key_generation_ms",
            "hung_after_s",
            "interval_s",
            "records",
            "every_s",
            "escalate_after_s",
            "levels",
            "connections",
            "connections_per_uid",
            "login_deadline_s",
            "call_deadline_s",
            "folder",
            "every_h",
            "keep",
            "command",
            "drill_within_days",
            "name",
            "format",
            "to",
            "logs",
            "openings",
            "from",
            "alert_after_s",
            "resend_kib",
            "enterprise",
            "key",
            "authorities",
            "authorities_file",
            "krl",
            "roots",
            "max_lifetime_h",
        ] {
            let shown = text.lines().any(|line| line.trim_start_matches("# ").starts_with(&format!("{key} =")));
            assert!(shown, "{key} is not in the example");
        }
    }

    #[test]
    fn the_profile_and_the_uri_fill_in_what_is_not_said() {
        let parse = |text: &str| Config::parse(text, "agent.toml").map_err(|error| error.to_string());
        let bare = parse("").unwrap();
        assert_eq!(bare.default_scheme, Scheme::Resident);
        assert_eq!(bare.pin, PinSource::File("/etc/strongroom/pin".into()));
        let yubihsm = parse("[token]\nprofile = \"yubihsm2\"").unwrap();
        assert_eq!(yubihsm.default_scheme, Scheme::Derived);
        let refused = parse("default_scheme = \"resident\"\n[token]\nprofile = \"yubihsm2\"").unwrap_err();
        assert!(refused.contains("default_scheme") && refused.contains("yubihsm2"), "{refused}");
        let uri = "[token]\nuri = \"pkcs11:token=a?pin-source=file:/run/pin\"";
        assert_eq!(parse(uri).unwrap().pin, PinSource::File("/run/pin".into()));
        let refused = parse(&format!("pin = \"prompt\"\n{uri}")).unwrap_err();
        assert!(refused.contains("pin-source"), "{refused}");
        let refused = parse("socket = \"/x\"\n[token]\nuri = \"pkcs11:token=a?pin-value=8351\"").unwrap_err();
        assert!(refused.starts_with("agent.toml:") && refused.contains("pin-value"), "{refused}");
        assert!(!refused.contains("8351"), "{refused}");
    }

    #[test]
    fn a_second_token_has_the_form_of_the_first_and_a_pin_of_its_own() {
        let parse = |text: &str| Config::parse(text, "agent.toml").map_err(|error| error.to_string());
        assert!(parse("").unwrap().second().is_none());
        let second = "[second_token]\nprofile = \"yubihsm2\"\nserial = \"5\"\npin = { credential = \"hsm2\" }";
        let parsed = parse(second).unwrap();
        let (token, pin) = parsed.second().unwrap();
        assert_eq!((token.profile.name.as_str(), pin), ("yubihsm2", &PinSource::Credential("hsm2".into())));
        assert_eq!(parsed.default_scheme, Scheme::Resident, "the first token decides");
        let uri = parse("[second_token]\nuri = \"pkcs11:token=b?pin-source=file:/run/pin2\"").unwrap();
        assert_eq!(uri.second_pin, Some(PinSource::File("/run/pin2".into())));
        assert!(parse("[second_token]\nlabel = \"b\"").unwrap_err().contains("pin of its own"));
        assert!(parse("[second_token]\npin = \"prompt\"").unwrap_err().contains("systemd credential"));
        let own = parse("[token]\npin = { file = \"/p\" }").unwrap();
        assert_eq!(own.pin, PinSource::File("/p".into()));
        let twice = parse("pin = { file = \"/q\" }\n[token]\npin = { file = \"/p\" }").unwrap_err();
        assert!(twice.contains("give one"), "{twice}");
    }

    #[test]
    fn an_unknown_key_is_named_with_file_and_line() {
        let error = Config::parse("socket = \"x\"\n\n[token]\nlable = \"x\"\n", "agent.toml").unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("agent.toml:4: ") && text.contains("lable"), "{text}");
    }
}
