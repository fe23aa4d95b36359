//! Faults of the disk, injected at the real boundary: a small library between the agent and the system (`shim/disk.c`),
//! told by a file what to do. And a real small disk, where the test may mount one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::agent::repository;
use crate::tools;

/// What the disk does.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// It works.
    None,
    /// It is full: writes fail with ENOSPC.
    Full,
    /// It was mounted read-only: writes fail with EROFS.
    ReadOnly,
    /// Syncs fail with EIO.
    SyncFails,
    /// Syncs take this much longer.
    SyncSlow(Duration),
}

/// A disk whose faults the test decides.
#[derive(Debug)]
pub struct Disk {
    library: PathBuf,
    control: PathBuf,
    folder: PathBuf,
    _private: tempfile::TempDir,
}

impl Disk {
    /// Compiles the library and prepares a data folder on the disk.
    ///
    /// # Panics
    /// If there is no C compiler.
    #[must_use]
    pub fn new() -> Self {
        let private = tempfile::Builder::new().prefix("strongroom-disk-").tempdir().expect("a folder can be made");
        let library = private.path().join("disk.so");
        let (source, target) = (repository("tests/shim/disk.c"), library.display().to_string());
        tools::run("cc", &["-shared", "-fPIC", "-O1", "-Wall", "-o", &target, &source.display().to_string(), "-ldl"]);
        let disk = Self {
            library,
            control: private.path().join("control"),
            folder: private.path().join("data"),
            _private: private,
        };
        disk.fault(Fault::None);
        disk
    }

    /// The data folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The environment of an agent on this disk.
    #[must_use]
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        vec![
            ("LD_PRELOAD".into(), self.library.clone().into()),
            ("STRONGROOM_SHIM_CONTROL".into(), self.control.clone().into()),
            ("STRONGROOM_SHIM_FOLDER".into(), self.folder.clone().into()),
        ]
    }

    /// Decides what the disk does from the next call on.
    pub fn fault(&self, fault: Fault) {
        let line = match fault {
            Fault::None => "ok 0\n".to_owned(),
            Fault::Full => format!("write {}\n", libc::ENOSPC),
            Fault::ReadOnly => format!("write {}\n", libc::EROFS),
            Fault::SyncFails => format!("fsync {}\n", libc::EIO),
            Fault::SyncSlow(longer) => format!("slow {}\n", longer.as_micros()),
        };
        // Renamed into place: a reader never sees half a line.
        let new = self.control.with_extension("new");
        tools::write_private(&new, &line);
        std::fs::rename(&new, &self.control).expect("the control file can be replaced");
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self::new()
    }
}

/// A real file system of a few MiB. Unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// Mounts one. `None` where this process may not mount.
    ///
    /// # Panics
    /// If no folder can be made.
    #[must_use]
    pub fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("strongroom-small-").tempdir().expect("a folder can be made");
        let options = format!("size={size},mode=0700");
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "strongroom-test"])
            .arg(folder.path())
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(Self { folder })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Fills it to the last byte.
    ///
    /// # Panics
    /// If the ballast cannot be made.
    pub fn fill(&self) {
        use std::io::Write as _;
        let mut ballast = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("ballast"))
            .expect("the ballast can be made");
        for block in [65_536, 4_096, 1] {
            while ballast.write(&vec![0x5a; block]).is_ok_and(|written| written > 0) {}
        }
    }

    /// Makes room again.
    ///
    /// # Panics
    /// If the ballast cannot be removed.
    pub fn free(&self) {
        std::fs::remove_file(self.folder.path().join("ballast")).expect("the ballast can be removed");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.folder.path()).output();
    }
}
