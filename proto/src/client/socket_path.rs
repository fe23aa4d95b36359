//! Where the agent listens.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The socket of an agent that serves the whole machine.
pub const SYSTEM_SOCKET: &str = "/run/strongroom/agent.sock";

/// Finds the agent's socket: `$STRONGROOM_SOCK`, else [`SYSTEM_SOCKET`] if it is there, else
/// `$XDG_RUNTIME_DIR/strongroom/agent.sock`, else [`SYSTEM_SOCKET`]. The arguments are the values of the two variables;
/// an empty one counts as unset.
#[must_use]
pub fn socket_path(strongroom_sock: Option<&OsStr>, xdg_runtime_dir: Option<&OsStr>) -> PathBuf {
    choose(strongroom_sock, Path::new(SYSTEM_SOCKET), xdg_runtime_dir)
}

fn choose(explicit: Option<&OsStr>, system: &Path, runtime_dir: Option<&OsStr>) -> PathBuf {
    if let Some(path) = explicit.filter(|path| !path.is_empty()) {
        return PathBuf::from(path);
    }
    match runtime_dir.filter(|path| !path.is_empty()) {
        // A socket in a folder that we may not search answers with an error other than "not there": it is the one.
        Some(folder) if matches!(system.try_exists(), Ok(false)) => Path::new(folder).join("strongroom/agent.sock"),
        _ => system.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_socket_wins_then_the_systems_then_the_users() {
        let folder = tempfile::tempdir().unwrap();
        let system = folder.path().join("agent.sock");
        let user = Path::new("/run/user/1000/strongroom/agent.sock");
        let named = |value: &'static str| Some(OsStr::new(value));
        assert_eq!(choose(named("/x"), &system, named("/run/user/1000")), Path::new("/x"));
        assert_eq!(choose(None, &system, named("/run/user/1000")), user);
        assert_eq!(choose(named(""), &system, named("")), system);
        assert_eq!(choose(None, &system, None), system);
        std::fs::write(&system, "").unwrap();
        assert_eq!(choose(None, &system, named("/run/user/1000")), system);
    }
}
