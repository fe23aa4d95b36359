//! tmux drops OSC 52 from programs by default, but forwards its own buffers: load one with `-w`, delete it at once. The code
//! goes over a pipe; no argument list and no tmux buffer keeps it.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};

/// tmux cannot send an empty buffer, so the clipboard is cleared to one space.
const CLEARED: &str = " ";

pub(super) fn copy(secret: &str) -> io::Result<()> {
    let buffer = format!("strongroom-{}", std::process::id());
    let loaded = load(&buffer, secret);
    let deleted = tmux(&["delete-buffer", "-b", &buffer], "");
    loaded.and(deleted)
}

pub(super) fn clear() -> io::Result<()> {
    copy(CLEARED)
}

fn load(buffer: &str, secret: &str) -> io::Result<()> {
    tmux(&["load-buffer", "-w", "-b", buffer, "-"], secret)
}

fn tmux(arguments: &[&str], input: &str) -> io::Result<()> {
    let mut child = Command::new("tmux")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let written = child.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(input.as_bytes()));
    let status = child.wait()?;
    written?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("tmux {} failed", arguments[0]))) }
}
