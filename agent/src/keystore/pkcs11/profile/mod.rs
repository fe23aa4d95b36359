//! What is known of a kind of token before one is opened. The files in `hsm-config/profiles/` are built in by name; a file
//! of one's own is given by its path. The active probe proves on the real token what a profile claims.

mod pin_form;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use strongroom_proto::words::Scheme;

pub use self::pin_form::{PinForm, PinShape};

/// Longest profile, in bytes.
const FILE_LEN_MAX: u64 = 64 * 1024;
/// Longest label of ours, in bytes.
const LABEL_LEN: u16 = 40;

/// The profiles that are built in: name and text.
pub const BUILT_IN: [(&str, &str); 5] = [
    ("softhsm2", include_str!("../../../../../hsm-config/profiles/softhsm2.toml")),
    ("kryoptic", include_str!("../../../../../hsm-config/profiles/kryoptic.toml")),
    ("yubihsm2", include_str!("../../../../../hsm-config/profiles/yubihsm2.toml")),
    ("tpm2", include_str!("../../../../../hsm-config/profiles/tpm2.toml")),
    ("generic-network-hsm", include_str!("../../../../../hsm-config/profiles/generic-network-hsm.toml")),
];

/// A token profile, as in `hsm-config/profiles/softhsm2.toml`, where each key is explained. Every key must be given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenProfile {
    /// What the profile is called in messages.
    pub name: String,
    /// Where distributions put the module; the first that exists is used.
    pub modules: Vec<PathBuf>,
    /// Whether the token keeps its files as SoftHSM does: then `storage` is guarded against a killed login.
    pub softhsm_folder: bool,
    /// How many worker processes serve at once.
    pub workers: u8,
    /// How the agent identity signs.
    pub signature: SignatureMechanism,
    /// How seeds can be sealed.
    pub schemes: Schemes,
    /// How keys are made and named.
    pub keys: KeyTraits,
    /// What a PIN looks like.
    pub pin: PinForm,
    /// How many objects the token holds; absent if it has no limit that matters.
    #[serde(default)]
    pub objects: Option<ObjectBudget>,
    /// How long the token may take.
    pub deadlines: Deadlines,
    /// What a worker process may use.
    pub worker: WorkerLimits,
}

/// The mechanism of the agent identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignatureMechanism {
    /// `CKM_ECDSA` with P-256 over a SHA-256 digest: the one form that every token tried has.
    EcdsaP256,
}

/// The sealing schemes of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schemes {
    /// Those that new vault keys may have. Each is proven by the probe.
    pub allowed: Vec<Scheme>,
    /// The one that is taken when nobody says.
    pub default: Scheme,
}

/// How keys are made and named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyTraits {
    /// The kind of the HMAC keys.
    pub hmac: HmacKind,
    /// Length of `CKA_ID` in bytes: 16, or 2 where it is the number of the object.
    pub id_len: u8,
    /// Longest label in bytes that costs nothing extra.
    pub label_len_max: u16,
    /// The token makes no keys for us: they are made with its own tool and found by label.
    pub provisioned: bool,
    /// The token knows objects that end with their session.
    pub session_objects: bool,
    /// What no template may name.
    pub unnameable: Vec<Unnameable>,
}

/// The kind of an HMAC-SHA-256 key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HmacKind {
    /// `CKK_GENERIC_SECRET` with `CKA_VALUE_LEN` 32.
    GenericSecret,
    /// `CKK_SHA256_HMAC` without a length.
    Sha256Hmac,
}

/// Attributes that some tokens refuse as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unnameable {
    /// `CKA_ALLOWED_MECHANISMS`.
    AllowedMechanisms,
    /// `CKA_UNWRAP_TEMPLATE`.
    UnwrapTemplate,
    /// `CKA_MODIFIABLE`.
    Modifiable,
    /// `CKA_COPYABLE`.
    Copyable,
    /// `CKA_DESTROYABLE`.
    Destroyable,
    /// Usages that a key must not have: `CKA_DECRYPT` and its like, false.
    DeniedUsages,
    /// `CKA_PRIVATE` of a public key.
    PublicPrivate,
}

/// How many objects fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectBudget {
    /// What the token holds at most.
    pub max: u32,
    /// What is kept free: for what PKCS#11 does not show, for a probe's temporary keys and for an operator's own.
    pub reserve: u32,
    /// What counts.
    pub counted: Counted,
}

/// What an object budget counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Counted {
    /// Every key, certificate and data object that the login shows, ours or not. A key pair is one.
    AllObjects,
    /// Our vault keys only.
    VaultKeys,
}

/// How long the token may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deadlines {
    /// An operation, in milliseconds.
    pub operation_ms: u32,
    /// Making a key, in milliseconds.
    pub key_generation_ms: u32,
    /// A call that has not come back after so many seconds will not: its worker is ended.
    pub hung_after_s: u32,
}

/// What a worker process may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerLimits {
    /// Whether the module needs the network (a connector, a network HSM).
    pub network: bool,
    /// Whether the module needs local sockets (a resource manager, a bus). With the network they are open anyway.
    pub local_sockets: bool,
    /// Memory in MiB at which a worker is replaced by a fresh one; absent if never.
    #[serde(default)]
    pub memory_limit_mib: Option<u32>,
    /// Folders and files that the module reads, besides libraries.
    pub read: Vec<PathBuf>,
    /// Folders and devices that the module writes. `storage` is added by itself.
    pub write: Vec<PathBuf>,
    /// Variables of the environment that the module is given.
    pub environment: Vec<String>,
}

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// It is neither the name of a built-in profile nor an absolute path.
    #[error("\"{name}\" is no built-in profile ({}) and no absolute path", names())]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The file cannot be read.
    #[error("the profile {path} cannot be read: {reason}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        reason: String,
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
    /// Two statements do not go together, or a value is out of its range.
    #[error("the profile {name}: {flaw}")]
    Flaw {
        /// Which profile.
        name: String,
        /// What is wrong.
        flaw: &'static str,
    },
}

fn names() -> String {
    BUILT_IN.map(|(name, _)| name).join(", ")
}

/// The profile of SoftHSM 2, which is the default.
#[allow(clippy::expect_used, reason = "the text is built in, and a test loads it")]
static SOFTHSM2: LazyLock<TokenProfile> =
    LazyLock::new(|| TokenProfile::parse(BUILT_IN[0].1, "softhsm2").expect("the built-in profile fits"));

impl Default for TokenProfile {
    fn default() -> Self {
        SOFTHSM2.clone()
    }
}

impl TokenProfile {
    /// Finds a profile: a built-in one by name, any other by its absolute path.
    ///
    /// # Errors
    /// [`ProfileError`] saying which of the two it was taken for and what is wrong.
    pub fn find(name: &str) -> Result<Self, ProfileError> {
        if let Some((_, text)) = BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
            return Self::parse(text, name);
        }
        let path = Path::new(name);
        if !path.is_absolute() {
            return Err(ProfileError::Unknown { name: name.chars().take(80).collect() });
        }
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(FILE_LEN_MAX).read_to_string(&mut text))
            .map_err(|error| ProfileError::File { path: name.into(), reason: error.to_string() })?;
        Self::parse(&text, name)
    }

    /// Parses a profile; `path` is for errors.
    ///
    /// # Errors
    /// [`ProfileError::Line`] and [`ProfileError::Flaw`].
    pub fn parse(text: &str, path: &str) -> Result<Self, ProfileError> {
        let profile: Self = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = text.get(..start).unwrap_or_default().matches('\n').count() + 1;
            ProfileError::Line { path: path.into(), line, message: error.message().to_owned() }
        })?;
        profile.check().map_err(|flaw| ProfileError::Flaw { name: path.into(), flaw })?;
        Ok(profile)
    }

    /// Refuses what cannot work, before a token is asked.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), &'static str> {
        let Self { schemes, keys, deadlines, worker, .. } = self;
        let resident = schemes.allowed.contains(&Scheme::Resident);
        let whole = [(deadlines.operation_ms, 1), (deadlines.key_generation_ms, 1), (deadlines.hung_after_s, 1)];
        let variable = |name: &String| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
                && !name.starts_with("LD_")
        };
        let flaws = [
            (self.modules.is_empty(), "it names no module"),
            (self.modules.iter().any(|path| !path.is_absolute()), "the path of a module must be absolute"),
            (schemes.allowed.is_empty(), "it allows no scheme"),
            (!schemes.allowed.contains(&schemes.default), "its default scheme is not among the allowed ones"),
            (![2, 16].contains(&keys.id_len), "id_len must be 2 or 16"),
            (keys.label_len_max < LABEL_LEN, "label_len_max must be at least 40"),
            (
                resident && keys.cannot_name(Unnameable::UnwrapTemplate),
                "resident needs an unwrap template: without it the PIN opens every seed",
            ),
            (resident && (keys.provisioned || !keys.session_objects), "resident needs key making and session objects"),
            (!(1..=64).contains(&self.workers), "workers must be 1 to 64"),
            (whole.iter().any(|(value, least)| value < least), "a deadline of 0 lets nothing happen"),
            (worker.memory_limit_mib.is_some_and(|limit| limit < 32), "memory_limit_mib must be at least 32"),
            (worker.read.iter().chain(&worker.write).any(|path| !path.is_absolute()), "a folder must be absolute"),
            (!worker.environment.iter().all(variable), "a variable's name is not one that a module may be given"),
            (
                self.objects.is_some_and(|objects| objects.reserve >= objects.max),
                "the reserve leaves no room for a key",
            ),
            (self.pin.len_min > self.pin.len_max, "no PIN is that long"),
        ];
        flaws.into_iter().find(|(wrong, _)| *wrong).map_or(Ok(()), |(_, flaw)| Err(flaw))
    }

    /// The module: the first candidate that exists, else the first, so that the error names it.
    #[must_use]
    pub fn module(&self) -> PathBuf {
        self.modules.iter().find(|path| path.is_file()).or(self.modules.first()).cloned().unwrap_or_default()
    }
}

impl KeyTraits {
    /// Whether templates must leave this out.
    #[must_use]
    pub fn cannot_name(&self, attribute: Unnameable) -> bool {
        self.unnameable.contains(&attribute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_in_the_folder_is_built_in_and_fits() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hsm-config/profiles");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| {
                entry.unwrap().file_name().into_string().unwrap().strip_suffix(".toml").map(str::to_owned)
            })
            .collect();
        files.sort();
        let mut names = BUILT_IN.map(|(name, _)| name);
        names.sort_unstable();
        assert_eq!(files, names);
        for name in names {
            let profile = TokenProfile::find(name).unwrap();
            assert_eq!(profile.name, name);
            assert!(profile.schemes.allowed.contains(&Scheme::Derived), "{name}");
        }
        assert_eq!(TokenProfile::default().name, "softhsm2");
    }

    #[test]
    fn a_profile_is_found_by_path_and_its_flaws_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own.toml");
        let check = |text: &str, expected: &str| {
            std::fs::write(&path, text).unwrap();
            let found = TokenProfile::find(path.to_str().unwrap());
            let text = found.map_or_else(|error| error.to_string(), |profile| profile.name);
            assert!(text.contains(expected), "{text} should contain {expected}");
        };
        let text = BUILT_IN[0].1;
        check(&text.replace("name = \"softhsm2\"", "name = \"own\""), "own");
        check(&text.replace("workers = 2", "worker_count = 2"), "worker_count");
        check(&text.replace("id_len = 16", "id_len = 3"), "id_len must be 2 or 16");
        check(&text.replace("unnameable = []", "unnameable = [\"unwrap-template\"]"), "needs an unwrap template");
        check(&text.replace("unnameable = []", "unnameable = [\"id\"]"), "own.toml:");
        check(&text.replace("session_objects = true", "session_objects = false"), "session objects");
        check(&text.replace("\"SOFTHSM2_CONF\"", "\"LD_PRELOAD\""), "variable");
        check(
            &text.replace("default = \"resident\"", "default = \"derived\"").replace("\"derived\"]", "\"resident\"]"),
            "default scheme",
        );
        assert!(matches!(TokenProfile::find("softhsm3"), Err(ProfileError::Unknown { .. })));
        assert!(matches!(TokenProfile::find("/nonexistent/p.toml"), Err(ProfileError::File { .. })));
    }

    #[test]
    fn the_first_module_that_exists_is_used() {
        let modules = vec!["/nonexistent.so".into(), "/proc/self/status".into()];
        let mut profile = TokenProfile { modules, ..TokenProfile::default() };
        assert_eq!(profile.module(), Path::new("/proc/self/status"));
        profile.modules.pop();
        assert_eq!(profile.module(), Path::new("/nonexistent.so"));
    }

    #[test]
    fn a_profile_crosses_to_a_worker_unchanged() {
        for (name, _) in BUILT_IN {
            let profile = TokenProfile::find(name).unwrap();
            let text = serde_json::to_string(&profile).unwrap();
            assert_eq!(serde_json::from_str::<TokenProfile>(&text).unwrap(), profile);
        }
    }
}
