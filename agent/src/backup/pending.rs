//! The anchors of this machine while a backup takes its place. They are set aside before those of the backup are written and
//! kept until the store with its note is in place: a run that is killed in between must not forget what the backup lacks.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::audit::anchor::{AnchorError, Anchors};
use crate::config::Config;

fn aside(anchors: &Path) -> PathBuf {
    anchors.with_extension("restoring")
}

/// The anchors in their place, and those that an unfinished run set aside.
pub(super) fn known_anchors(config: &Config) -> Result<[Anchors; 2], AnchorError> {
    let path = config.anchor_path();
    Ok([Anchors::read(&path)?, Anchors::read(&aside(&path))?])
}

/// Makes room for other anchors. After an unfinished run the ones in their place are that run's, from a backup.
pub(super) fn set_aside(anchors: &Path) -> io::Result<()> {
    match if aside(anchors).exists() { fs::remove_file(anchors) } else { fs::rename(anchors, aside(anchors)) } {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Gives the anchors that were set aside their last name, when the store is in place.
pub(super) fn settle(config: &Config) -> io::Result<()> {
    let path = config.anchor_path();
    let kept = path.with_extension(format!("before-restore-{}", Timestamp::now().strftime("%Y%m%dT%H%M%SZ")));
    match fs::rename(aside(&path), kept) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
