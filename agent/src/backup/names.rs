//! Names of backups, and which old ones go. Only files of exactly these names are ever counted or removed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

const BEFORE: &str = "strongroom-backup-";
const AFTER: &str = ".tar.age";
const FORM: &str = "%Y%m%dT%H%M%SZ";
/// How far ahead a name may be: a clock may have been corrected, a day is no correction.
const AHEAD_MAX: SignedDuration = SignedDuration::from_hours(24);

/// The name of a backup made at a time (UTC, to the second): `strongroom-backup-20261122T001446Z.tar.age`.
#[must_use]
pub fn backup_name(at: Timestamp) -> String {
    format!("{BEFORE}{}{AFTER}", at.strftime(FORM))
}

/// When a backup of this name was made. `None` if it is not exactly such a name.
#[must_use]
pub fn made_at(name: &str) -> Option<Timestamp> {
    let text = name.strip_prefix(BEFORE)?.strip_suffix(AFTER)?;
    let at = jiff::civil::DateTime::strptime(FORM, text).ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp();
    (backup_name(at) == name).then_some(at)
}

/// The backups in a folder, oldest first. Links and folders are no backups. Those with a name from more than a day after
/// `now` are passed over with a warning: one of them would be the newest for ever, keep the next drill from the real newest
/// and have thinning remove good ones in its place.
///
/// # Errors
/// The operating system's, if the folder cannot be read.
pub fn backups_in(folder: &Path, now: Timestamp) -> io::Result<Vec<(Timestamp, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(at) = entry.file_name().to_str().and_then(made_at)
            && entry.file_type()?.is_file()
        {
            if at.duration_since(now) > AHEAD_MAX {
                tracing::warn!(file = %entry.path().display(), "a backup with a name from the future is passed over");
            } else {
                found.push((at, entry.path()));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Removes the oldest backups until `keep` are left; the newest one, and `good`, which was just made and read back, stay in
/// any case. Gives what was removed.
///
/// # Errors
/// The operating system's.
pub fn thin_out(folder: &Path, keep: usize, good: &Path) -> io::Result<Vec<PathBuf>> {
    let found = backups_in(folder, Timestamp::now())?;
    let surplus = found.len().saturating_sub(keep.max(1));
    let mut removed = Vec::new();
    for (_, path) in found.into_iter().take(surplus) {
        if path != good {
            fs::remove_file(&path)?;
            removed.push(path);
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_when_and_nothing_else_is_a_name() {
        let at: Timestamp = "2026-11-22T00:14:46Z".parse().unwrap();
        assert_eq!(backup_name(at), "strongroom-backup-20261122T001446Z.tar.age");
        assert_eq!(made_at(&backup_name(at)), Some(at));
        for name in [
            "strongroom-backup-20261122T001446Z.tar.age.part",
            "strongroom-backup-20261122T001446.tar.age",
            "strongroom-backup-20261322T001446Z.tar.age",
            "strongroom-backup-2026112T001446Z.tar.age",
            "my-strongroom-backup-20261122T001446Z.tar.age",
            "strongroom-backup-.tar.age",
        ] {
            assert_eq!(made_at(name), None, "{name}");
        }
    }

    #[test]
    fn thinning_out_keeps_the_newest_the_good_and_everything_else() {
        let folder = tempfile::tempdir().unwrap();
        let name = |day: i64| backup_name(Timestamp::from_second(day * 86_400).unwrap());
        let path = |name: &str| folder.path().join(name);
        for day in 1..=5 {
            fs::write(path(&name(day)), "x").unwrap();
        }
        fs::write(path("strongroom-backup-19700101T000000Z.tar.age.note"), "x").unwrap();
        fs::create_dir(path(&name(0))).unwrap();
        let future = path(&backup_name(Timestamp::now().checked_add(AHEAD_MAX * 2).unwrap()));
        fs::write(&future, "x").unwrap();
        // The clock had gone ahead once: the one just made carries an older name than the others.
        let removed = thin_out(folder.path(), 2, &path(&name(1))).unwrap();
        assert_eq!(removed, [path(&name(2)), path(&name(3))]);
        assert_eq!(thin_out(folder.path(), 0, &path(&name(5))).unwrap(), [path(&name(1)), path(&name(4))]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
        assert!(future.exists());
    }
}
