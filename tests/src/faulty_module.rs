//! Faults of the token, injected at the real boundary: a PKCS#11 module before the real one (`pkcs11-shim/`), told by a file
//! what to do, that writes down each call.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use strongroom_pkcs11_shim::SETTINGS_FILE;

use crate::tools;

const LOG: &str = "calls.log";

/// A module whose faults the test decides. It lies in a folder of its own, with its settings and its log.
#[derive(Debug)]
pub struct FaultyModule {
    path: PathBuf,
    head: String,
    folder: tempfile::TempDir,
}

impl FaultyModule {
    /// Puts one before a real module. It forwards everything.
    ///
    /// # Panics
    /// If it cannot be copied.
    #[must_use]
    pub fn before(real: &Path) -> Self {
        Self::with_head(format!("module {}\nlog {LOG}\n", real.display()))
    }

    /// Puts one before a real module that refuses what a YubiHSM 2 refuses and holds `objects` objects.
    ///
    /// # Panics
    /// If it cannot be copied.
    #[must_use]
    pub fn yubihsm_before(real: &Path, objects: usize) -> Self {
        Self::with_head(format!("module {}\nlog {LOG}\nstrict yubihsm\nobjects {objects}\n", real.display()))
    }

    fn with_head(head: String) -> Self {
        let folder = tempfile::Builder::new().prefix("strongroom-module-").tempdir().expect("a folder can be made");
        let path = folder.path().join("shim.so");
        std::fs::copy(tools::shim_module(), &path).expect("the shim can be copied");
        let module = Self { path, head, folder };
        module.lift();
        module
    }

    /// The module's path, for a configuration.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Decides what the module does from the next call on: lines as `pkcs11-shim/src/settings.rs` describes them.
    pub fn fault(&self, rules: &[&str]) {
        let mut text = self.head.clone();
        for rule in rules {
            let _ = writeln!(text, "{rule}");
        }
        // Renamed into place: the module never sees half a line.
        let new = self.folder.path().join("new");
        tools::write_private(&new, &text);
        std::fs::rename(&new, self.folder.path().join(SETTINGS_FILE)).expect("the settings can be replaced");
    }

    /// Ends every fault.
    pub fn lift(&self) {
        self.fault(&[]);
    }

    /// All calls since the module was loaded first.
    #[must_use]
    pub fn calls(&self) -> Calls {
        let text = std::fs::read_to_string(self.folder.path().join(LOG)).unwrap_or_default();
        Calls(text.lines().filter_map(Call::read).collect())
    }

    /// What `work` gives, and the calls that were made meanwhile.
    pub fn during<T>(&self, work: impl FnOnce() -> T) -> (T, Calls) {
        let before = self.calls().0.len();
        let result = work();
        (result, Calls(self.calls().0.split_off(before)))
    }
}

/// One call as the module wrote it down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The function's name.
    pub function: String,
    /// Its return value.
    pub value: u64,
    /// A rule did something to it.
    pub is_ruled: bool,
}

impl Call {
    fn read(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let (function, value) = (words.next()?.to_owned(), words.next()?.strip_prefix("0x")?);
        Some(Self { function, value: u64::from_str_radix(value, 16).ok()?, is_ruled: words.next().is_some() })
    }
}

/// Calls in their order.
#[derive(Clone, Debug)]
pub struct Calls(pub Vec<Call>);

impl Calls {
    /// How often a function was called.
    #[must_use]
    pub fn count(&self, function: &str) -> usize {
        self.0.iter().filter(|call| call.function == function).count()
    }

    /// How often a rule did something to a call.
    #[must_use]
    pub fn ruled(&self) -> usize {
        self.0.iter().filter(|call| call.is_ruled).count()
    }

    /// How often a key was asked for.
    #[must_use]
    pub fn keys_asked_for(&self) -> usize {
        self.count("C_GenerateKey") + self.count("C_GenerateKeyPair")
    }
}
