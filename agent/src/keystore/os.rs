//! The calls to the operating system that the keystore and its PIN need and the standard library lacks.
#![allow(unsafe_code, reason = "mlock, madvise, syncfs and geteuid have no safe counterpart in the standard library")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use zeroize::Zeroize;

/// Bytes of a locked page that a caller may use.
pub(super) const PAGE_LEN: usize = 4096;

#[repr(align(4096))]
struct Page([u8; PAGE_LEN]);

/// One page of memory for secrets: kept out of swap and core dumps as far as the system's limits allow, wiped on drop.
///
/// Each has a page of its own because locks do not nest: unlocking one secret would unlock its neighbour.
pub(super) struct LockedPage(Box<Page>);

impl LockedPage {
    /// Takes a zeroed page and locks it. Locking is best effort: without `CAP_IPC_LOCK` a small `RLIMIT_MEMLOCK` may
    /// refuse it, and the agent's `doctor` reports that limit.
    pub(super) fn new() -> Self {
        let page = Box::new(Page([0; PAGE_LEN]));
        let address = std::ptr::from_ref(page.as_ref()).cast::<libc::c_void>();
        // SAFETY: the range is exactly one live, page-aligned allocation; neither call reads or writes it.
        let locked = unsafe {
            libc::madvise(address.cast_mut(), PAGE_LEN, libc::MADV_DONTDUMP);
            libc::mlock(address, PAGE_LEN)
        };
        if locked != 0 {
            tracing::warn!(cause = %io::Error::last_os_error(), "secrets could not be locked in memory");
        }
        Self(page)
    }

    pub(super) fn bytes(&self) -> &[u8; PAGE_LEN] {
        &self.0.0
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8; PAGE_LEN] {
        &mut self.0.0
    }
}

impl Drop for LockedPage {
    fn drop(&mut self) {
        self.0.0.zeroize();
        let address = std::ptr::from_ref(self.0.as_ref()).cast::<libc::c_void>();
        // SAFETY: as in `new`; the page is still allocated, and wiped before it is given back.
        unsafe {
            libc::munlock(address, PAGE_LEN);
            libc::madvise(address.cast_mut(), PAGE_LEN, libc::MADV_DODUMP);
        }
    }
}

/// Writes everything of the file system that holds `path` to its disk: SoftHSM issues no fsync for the keys it makes.
pub(super) fn sync_file_system(path: &Path) -> io::Result<()> {
    let folder = File::open(path)?;
    // SAFETY: the descriptor is open for the length of the call.
    if unsafe { libc::syncfs(folder.as_raw_fd()) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
