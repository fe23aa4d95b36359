//! The shim itself: where it lies, the real module behind it, what is done to a call, and the log of calls.
#![allow(
    unsafe_code,
    reason = "loads a C library, asks the loader for this library's path, and ends the process on command"
)]

use std::ffi::{CStr, OsStr, c_void};
use std::fs::{File, Metadata};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use cryptoki_sys::{CK_FUNCTION_LIST, CK_RV, CKR_FUNCTION_NOT_SUPPORTED, CKR_GENERAL_ERROR, CKR_OK, Pkcs11};

use crate::settings::{Deed, FILE, Settings};
use crate::{functions, yubihsm};

static SHIM: OnceLock<Option<Shim>> = OnceLock::new();

/// The loaded shim.
pub(crate) struct Shim {
    folder: PathBuf,
    real: Real,
    live: Mutex<Live>,
}

/// The real module's functions. Kept for the life of the process: its library is never unloaded.
struct Real(&'static CK_FUNCTION_LIST);

/// What changes when the settings' file does.
struct Live {
    stamp: Stamp,
    settings: Settings,
    log: Option<File>,
}

/// Tells one version of a file from the next.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp(i64, i64, u64, u64);

impl From<&Metadata> for Stamp {
    fn from(file: &Metadata) -> Self {
        Self(file.mtime(), file.mtime_nsec(), file.size(), file.ino())
    }
}

/// What a function may do to its call besides forwarding it.
pub(crate) struct Call<'a> {
    /// The module to forward to.
    pub(crate) real: &'a CK_FUNCTION_LIST,
    /// Refuse and translate as a YubiHSM 2.
    pub(crate) strict: bool,
    /// The strict device's room.
    pub(crate) objects: usize,
    /// Find nothing.
    pub(crate) empty: bool,
    /// Change a bit of the result.
    pub(crate) flip: bool,
}

/// Whether the shim has its settings and its real module. Why not stands in `shim.error` beside the library.
pub(crate) fn is_ready() -> bool {
    SHIM.get_or_init(|| {
        let folder = own_folder()?;
        Shim::load(&folder).inspect_err(|why| drop(std::fs::write(folder.join("shim.error"), why))).ok()
    })
    .is_some()
}

/// Passes a call through the rules: `work` makes it, unless a rule says otherwise.
pub(crate) fn through(function: &'static str, work: impl FnOnce(&Call<'_>) -> CK_RV) -> CK_RV {
    let Some(Some(shim)) = SHIM.get() else { return CKR_GENERAL_ERROR };
    let (deed, strict, objects) = shim.deed(function);
    suffer(shim, function, deed);
    let call = Call { real: shim.real.0, strict, objects, empty: deed.empty, flip: deed.flip };
    let injected = deed.answer.or(deed.lose);
    let value = if strict && yubihsm::LACKS.contains(&function) {
        CKR_FUNCTION_NOT_SUPPORTED
    } else if let (Some(answer), false) = (deed.answer, ENDS_OPERATION.contains(&function)) {
        answer
    } else {
        let made = work(&call);
        injected.unwrap_or(made)
    };
    shim.note(function, value, injected.is_some() || deed != Deed::default());
    value
}

/// Functions whose failure ends the operation of their session (PKCS #11 v2.40 §5.2 and each function's text). The real
/// module must end it too, so the call is made and its result dropped.
const ENDS_OPERATION: [&str; 8] =
    ["C_Sign", "C_SignFinal", "C_Verify", "C_VerifyFinal", "C_Encrypt", "C_Decrypt", "C_Digest", "C_FindObjectsFinal"];

fn suffer(shim: &Shim, function: &str, deed: Deed) {
    if deed.leak > 0 {
        // Written to, so that the memory is really taken.
        std::mem::forget(vec![0x5a_u8; deed.leak]);
    }
    std::thread::sleep(deed.delay);
    if deed.hang {
        shim.note(function, CKR_OK, true);
        loop {
            std::thread::sleep(Duration::from_secs(3600));
        }
    }
    if deed.crash {
        shim.note(function, CKR_OK, true);
        // SAFETY: neither call touches memory; the default action of SIGSEGV ends the process, which is what is asked for.
        unsafe {
            libc::signal(libc::SIGSEGV, libc::SIG_DFL);
            libc::raise(libc::SIGSEGV);
        }
        std::process::abort();
    }
}

impl Shim {
    fn load(folder: &Path) -> Result<Self, String> {
        let (stamp, settings) = read(folder)?;
        let real = Real::load(&settings.module)?;
        let log = open_log(folder, &settings);
        Ok(Self { folder: folder.to_owned(), real, live: Mutex::new(Live { stamp, settings, log }) })
    }

    /// Looks at the settings anew, counts the call and says what is done to it.
    fn deed(&self, function: &str) -> (Deed, bool, usize) {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let now = std::fs::metadata(self.folder.join(FILE)).map(|file| Stamp::from(&file));
        if now.is_ok_and(|stamp| stamp != live.stamp)
            && let Ok((stamp, settings)) = read(&self.folder)
        {
            let log = open_log(&self.folder, &settings);
            *live = Live { stamp, settings, log };
        }
        (live.settings.deed(function), live.settings.strict, live.settings.objects)
    }

    /// Appends `FUNCTION VALUE` to the log, and ` rule` if a rule did something to the call.
    fn note(&self, function: &str, value: CK_RV, rule: bool) {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut log) = live.log.as_ref() {
            // One write a line: several processes may append. A full disk costs the line only.
            let _written =
                log.write_all(format!("{function} {value:#x}{}\n", if rule { " rule" } else { "" }).as_bytes());
        }
    }
}

fn read(folder: &Path) -> Result<(Stamp, Settings), String> {
    let path = folder.join(FILE);
    let file = std::fs::metadata(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok((Stamp::from(&file), Settings::parse(&text)?))
}

fn open_log(folder: &Path, settings: &Settings) -> Option<File> {
    File::options().create(true).append(true).open(folder.join(settings.log.as_ref()?)).ok()
}

impl Real {
    fn load(module: &Path) -> Result<Self, String> {
        let unusable = |why: String| format!("{}: {why}", module.display());
        // SAFETY: the test names a PKCS#11 module, whose initialisers are as safe as any library's.
        let library = unsafe { Pkcs11::new(module) }.map_err(|error| unusable(error.to_string()))?;
        // Never unloaded: its functions are called for the life of the process.
        let library: &'static Pkcs11 = Box::leak(Box::new(library));
        if library.C_GetFunctionList.is_err() {
            return Err(unusable("it has no C_GetFunctionList".into()));
        }
        let mut list: *mut CK_FUNCTION_LIST = std::ptr::null_mut();
        // SAFETY: the symbol was found above, and `list` is a place for the pointer it gives.
        let value = unsafe { library.C_GetFunctionList(&raw mut list) };
        // SAFETY: a module that says CKR_OK gives a pointer to its own static list (PKCS #11 v2.40 §5.4), or null.
        let list = unsafe { list.as_ref() }.filter(|_| value == CKR_OK);
        list.map(Self).ok_or_else(|| unusable(format!("C_GetFunctionList answers {value:#x}")))
    }
}

/// The folder that this library was loaded from.
fn own_folder() -> Option<PathBuf> {
    let address = functions::C_GetFunctionList as *const c_void;
    // SAFETY: all-zero is a valid value of this C struct of pointers, and dladdr fills it or says that it did not.
    let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
    // SAFETY: the address lies in this library's code, and `info` lives through the call.
    if unsafe { libc::dladdr(address, &raw mut info) } == 0 || info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: the loader's own zero-terminated string, which lives as long as the library is loaded.
    let path = unsafe { CStr::from_ptr(info.dli_fname) };
    let path = Path::new(OsStr::from_bytes(path.to_bytes()));
    // An absolute path survives a change of the working folder.
    path.canonicalize().ok()?.parent().map(Path::to_owned)
}
