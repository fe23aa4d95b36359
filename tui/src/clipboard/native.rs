//! The desktop's clipboard, through arboard. The content is marked as secret, so that history managers leave it alone.

use arboard::{Clipboard, Set};
use zeroize::Zeroizing;

use super::ClipboardError;

/// Owns what was copied: on X11 and Wayland the content lives in this process.
pub(super) struct Native {
    clipboard: Clipboard,
    ours: Option<Zeroizing<String>>,
}

impl Native {
    /// Opens the clipboard; fails within milliseconds where there is no display.
    pub(super) fn open() -> Result<Self, ClipboardError> {
        Ok(Self { clipboard: Clipboard::new().map_err(ClipboardError::Native)?, ours: None })
    }

    pub(super) fn copy(&mut self, secret: &str) -> Result<(), ClipboardError> {
        hidden_from_history(self.clipboard.set()).text(secret).map_err(ClipboardError::Native)?;
        self.ours = Some(Zeroizing::new(secret.to_owned()));
        Ok(())
    }

    /// Clears, unless the user has copied something else since.
    pub(super) fn clear(&mut self) {
        let Some(ours) = self.ours.take() else { return };
        let found = self.clipboard.get_text().map(Zeroizing::new);
        if found.is_ok_and(|found| *found == *ours) {
            let _ = self.clipboard.clear();
        }
    }
}

#[cfg(all(unix, not(target_os = "macos")))]
fn hidden_from_history(set: Set<'_>) -> Set<'_> {
    arboard::SetExtLinux::exclude_from_history(set)
}

#[cfg(target_os = "macos")]
fn hidden_from_history(set: Set<'_>) -> Set<'_> {
    arboard::SetExtApple::exclude_from_history(set)
}

#[cfg(windows)]
fn hidden_from_history(set: Set<'_>) -> Set<'_> {
    arboard::SetExtWindows::exclude_from_history(set)
}
