//! The standard input of a program: `openssl s_client`, `stunnel`, or whatever carries lines further. This is how a stream gets
//! TLS.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use super::os;

/// How long a program has to end by itself once its input has ended.
const END_WITHIN: Duration = Duration::from_secs(1);

/// A running program. Killed when dropped.
pub(super) struct CommandSink {
    child: Child,
    input: ChildStdin,
}

impl CommandSink {
    /// Starts the program. No shell reads the arguments; what it prints is dropped, its errors go to the agent's own log.
    pub(super) fn start(command: &[String]) -> io::Result<Self> {
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let input = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { child, input })
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.input.write_all(bytes).await?;
        self.input.flush().await
    }

    /// Bytes that the program has not read; its end is an error.
    pub(super) fn waiting(&mut self) -> io::Result<u64> {
        match self.child.try_wait()? {
            Some(status) => Err(io::Error::new(io::ErrorKind::BrokenPipe, format!("the command ended ({status})"))),
            None => os::unread(&self.input),
        }
    }

    pub(super) async fn close(self) {
        let Self { mut child, input } = self;
        drop(input);
        let _ = timeout(END_WITHIN, child.wait()).await;
    }
}
