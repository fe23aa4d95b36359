//! Tokens for tests, of the kind that the environment asks for. Each is fresh and lies in a folder of its own, save a real
//! one, which somebody else has initialised.
//!
//! | variable | meaning |
//! |---|---|
//! | `STRONGROOM_TEST_TOKEN` | `softhsm2` (default), `kryoptic`, `tpm2` or `module`, a real module |
//! | `STRONGROOM_TEST_SCHEME` | `resident` or `derived`: every vault of the suite; without it some are of each |
//! | `STRONGROOM_TEST_MODULE` | the module's path, where it is not the usual one; needed for `module` |
//! | `STRONGROOM_TEST_PROFILE` | `module`: the name or path of its profile |
//! | `STRONGROOM_TEST_LABEL` | `module`: the label of the initialised token |
//! | `STRONGROOM_TEST_PIN_FILE` | `module`: a file that holds its PIN |
//! | `STRONGROOM_TEST_ENVIRONMENT` | `module`: names of variables that the module needs, separated by spaces |
//!
//! The keystore's own tests in the agent include this file too, so it uses nothing of this crate.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A kind of token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SoftHSM 2.
    SoftHsm,
    /// kryoptic, built by `tests/tokens/kryoptic.sh`.
    Kryoptic,
    /// A software TPM behind tpm2-pkcs11, run by `tests/tokens/tpm2.sh`. Its keys are prepared by `tpm2_ptool`.
    Tpm2,
    /// Somebody's real module with a token that is initialised. Tests that break a token are skipped.
    Module,
}

/// The token of a test.
#[derive(Debug)]
pub struct TestToken {
    /// What it is.
    pub kind: Kind,
    /// The PKCS#11 module.
    pub module: PathBuf,
    /// The token's label.
    pub label: String,
    /// Its user PIN.
    pub pin: String,
    /// Where it keeps its files, if they are ours.
    pub storage: Option<PathBuf>,
    /// What the module needs in its environment.
    pub environment: Vec<(OsString, OsString)>,
    /// What must run beside it.
    _beside: Option<Beside>,
}

/// Label of the tokens that are made here.
const LABEL: &str = "strongroom-test";
/// Their security officer's PIN.
const SO_PIN: &str = "so-pin-77120";
/// How many vault keys are prepared on a token that makes none.
const SPARE_KEYS: &str = "4";
/// Where distributions put tpm2-pkcs11.
const TPM_MODULES: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/libtpm2_pkcs11.so.1",
    "/usr/lib/aarch64-linux-gnu/libtpm2_pkcs11.so.1",
    "/usr/lib64/pkcs11/libtpm2_pkcs11.so",
    "/usr/lib/pkcs11/libtpm2_pkcs11.so",
];

impl Kind {
    /// The kind that the environment asks for.
    ///
    /// # Panics
    /// If there is no such kind.
    #[must_use]
    pub fn wanted() -> Self {
        match std::env::var("STRONGROOM_TEST_TOKEN").as_deref() {
            Err(_) | Ok("" | "softhsm2") => Self::SoftHsm,
            Ok("kryoptic") => Self::Kryoptic,
            Ok("tpm2") => Self::Tpm2,
            Ok("module") => Self::Module,
            Ok(other) => panic!("STRONGROOM_TEST_TOKEN={other}: one of softhsm2, kryoptic, tpm2, module"),
        }
    }

    /// The name of its profile.
    ///
    /// # Panics
    /// If that of a real module is not text.
    #[must_use]
    pub fn profile(self) -> String {
        match self {
            Self::SoftHsm => "softhsm2".to_owned(),
            Self::Kryoptic => "kryoptic".to_owned(),
            Self::Tpm2 => "tpm2".to_owned(),
            Self::Module => needed("STRONGROOM_TEST_PROFILE"),
        }
    }

    /// What is missing on this machine to run a software TPM, if anything is.
    #[must_use]
    pub fn missing_for_a_tpm() -> Option<&'static str> {
        let there = |name: &&str| ["/usr/bin", "/usr/sbin"].iter().any(|folder| Path::new(folder).join(name).is_file());
        let programs = ["swtpm", "tpm2-abrmd", "dbus-daemon", "tpm2_ptool", "tpm2_flushcontext"];
        let missing = programs.into_iter().find(|name| !there(name));
        missing.or_else(|| (!TPM_MODULES.iter().any(|path| Path::new(path).is_file())).then_some("tpm2-pkcs11"))
    }

    /// The module's path.
    fn module(self) -> PathBuf {
        let path = std::env::var_os("STRONGROOM_TEST_MODULE").filter(|path| !path.is_empty());
        if let Some(path) = path.filter(|_| self == Self::wanted()) {
            return path.into();
        }
        match self {
            Self::SoftHsm => softhsm_module(),
            Self::Kryoptic => run(&mut Command::new(script("kryoptic.sh"))).trim().into(),
            Self::Tpm2 => first_file(&TPM_MODULES),
            Self::Module => panic!("STRONGROOM_TEST_TOKEN=module needs STRONGROOM_TEST_MODULE, the module's path"),
        }
    }
}

/// SoftHSM's PKCS#11 module on this machine.
///
/// # Panics
/// If it is not installed.
#[must_use]
pub fn softhsm_module() -> PathBuf {
    first_file(&[
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib64/softhsm/libsofthsm.so",
        "/usr/lib64/softhsm/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
    ])
}

impl TestToken {
    /// Makes a token of the wanted kind in a folder, with this PIN; a real one has its own.
    ///
    /// # Panics
    /// If the token's software is missing or fails; the message says what.
    #[must_use]
    pub fn make(folder: &Path, pin: &str) -> Self {
        Self::make_a(Kind::wanted(), folder, pin)
    }

    /// As [`Self::make`], of a kind that the test says.
    ///
    /// # Panics
    /// As [`Self::make`].
    #[must_use]
    pub fn make_a(kind: Kind, folder: &Path, pin: &str) -> Self {
        let mut token = Self::described(kind, folder, pin);
        match token.kind {
            Kind::SoftHsm => {
                let tokens = token.make_storage();
                private_file(&folder.join("softhsm2.conf"), &{
                    let place = tokens.display();
                    format!("directories.tokendir = {place}\nobjectstore.backend = file\nlog.level = ERROR\n")
                });
                token.run(
                    Path::new("softhsm2-util"),
                    &["--init-token", "--free", "--label", LABEL, "--so-pin", SO_PIN, "--pin", pin],
                );
            }
            Kind::Kryoptic => {
                let file = token.make_storage().join("token.sql");
                let slot = format!("[[slots]]\nslot = 42\ndbtype = \"sqlite\"\ndbargs = \"{}\"\n", file.display());
                private_file(&folder.join("kryoptic.toml"), &slot);
                let module = token.module.display().to_string();
                let common = ["--module", &module, "--slot", "42", "--so-pin", SO_PIN];
                token.run(Path::new("pkcs11-tool"), &[&common[..], &["--init-token", "--label", LABEL]].concat());
                let set_pin = ["--login", "--login-type", "so", "--init-pin", "--pin", pin];
                token.run(Path::new("pkcs11-tool"), &[&common[..], &set_pin].concat());
            }
            Kind::Tpm2 => {
                let store = token.make_storage();
                let (beside, environment) =
                    Beside::start(Command::new(script("tpm2.sh")).arg(store).args([LABEL, pin, SO_PIN, SPARE_KEYS]));
                token.environment = environment;
                token._beside = Some(beside);
            }
            Kind::Module => {}
        }
        token
    }

    /// Describes the token that [`Self::make`] made in a folder: for another process, which inherits its environment.
    ///
    /// # Panics
    /// As [`Self::make`].
    #[must_use]
    pub fn at(folder: &Path, pin: &str) -> Self {
        Self::described(Kind::wanted(), folder, pin)
    }

    fn described(kind: Kind, folder: &Path, pin: &str) -> Self {
        let storage = folder.join("tokens");
        let conf = |name: &str, file: &str| vec![(name.into(), folder.join(file).into())];
        let environment = match kind {
            Kind::SoftHsm => conf("SOFTHSM2_CONF", "softhsm2.conf"),
            Kind::Kryoptic => conf("KRYOPTIC_CONF", "kryoptic.toml"),
            Kind::Tpm2 => Vec::new(),
            Kind::Module => passed_on(),
        };
        let (label, pin, storage) = match kind {
            Kind::Module => (needed("STRONGROOM_TEST_LABEL"), pin_of_module(), None),
            _ => (LABEL.to_owned(), pin.to_owned(), Some(storage)),
        };
        Self { kind, module: kind.module(), label, pin, storage, environment, _beside: None }
    }

    /// Asks whether the token is a SoftHSM whose files the test may break. Where it isn't, this says that the rest of the
    /// test is skipped, and why.
    #[must_use]
    pub fn breaks(&self, how: &str) -> bool {
        let breaks = self.kind == Kind::SoftHsm;
        if !breaks {
            let thread = std::thread::current();
            println!("SKIPPED {} on {:?}: it needs a SoftHSM, {how}", thread.name().unwrap_or("in part"), self.kind);
        }
        breaks
    }

    /// True if the token unwraps keys, as `resident` needs.
    #[must_use]
    pub fn unwraps(&self) -> bool {
        self.kind != Kind::Tpm2
    }

    fn make_storage(&self) -> PathBuf {
        let folder = self.storage.clone().expect("tokens that are made here have a folder");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).expect("a folder can be made");
        folder
    }

    fn run(&self, program: &Path, arguments: &[&str]) {
        run(Command::new(program).args(arguments).envs(self.environment.iter().map(|(name, value)| (name, value))));
    }
}

/// The programs that a token needs beside it. They end with the pipe to their standard input.
#[derive(Debug)]
struct Beside(Child);

impl Beside {
    /// Starts a script that prints variables for the module's environment, then an empty line, and runs on.
    fn start(command: &mut Command) -> (Self, Vec<(OsString, OsString)>) {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let said = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        let beside = Self(child);
        let mut environment = Vec::new();
        for line in said.lines() {
            let line = line.expect("it prints text");
            let Some((name, value)) = line.split_once('=') else { return (beside, environment) };
            environment.push((name.into(), value.into()));
        }
        panic!("{command:?} ended: its standard error says why");
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn script(name: &str) -> PathBuf {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository");
    repository.join("tests/tokens").join(name)
}

fn first_file(candidates: &[&str]) -> PathBuf {
    let found = candidates.iter().map(PathBuf::from).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("none of {candidates:?} is there: tests/run.sh installs what the tests need"))
}

fn needed(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("STRONGROOM_TEST_TOKEN=module needs {name}"))
}

fn pin_of_module() -> String {
    let path = needed("STRONGROOM_TEST_PIN_FILE");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}")).trim_end().to_owned()
}

/// The variables that a real module needs, with their values here.
fn passed_on() -> Vec<(OsString, OsString)> {
    let names = std::env::var("STRONGROOM_TEST_ENVIRONMENT").unwrap_or_default();
    let value = |name: &str| std::env::var_os(name).map(|value| (name.into(), value));
    names.split_whitespace().filter_map(value).collect()
}

fn private_file(path: &Path, text: &str) {
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    std::io::Write::write_all(&mut file.expect("the file can be made"), text.as_bytes()).expect("the disk has room");
}

fn run(command: &mut Command) -> String {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error} (tests/run.sh installs it)"));
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
