//! A modelled disk: the same programs with 1 ms added to every fsync.

use std::path::{Path, PathBuf};

use anyhow::ensure;

use crate::agent::repository;
use crate::tools;

/// Compiles the shim into a folder.
pub(super) fn shim(folder: &Path) -> anyhow::Result<PathBuf> {
    let library = folder.join("fsync_delay.so");
    let mut compile = std::process::Command::new("cc");
    compile.args(["-O2", "-Wall", "-shared", "-fPIC", "-o"]).arg(&library).arg(repository("tests/shim/fsync_delay.c"));
    let output = tools::output(compile.arg("-ldl"));
    ensure!(output.status.success(), "cc: {}", String::from_utf8_lossy(&output.stderr));
    Ok(library)
}
