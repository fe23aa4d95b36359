//! Copying from the command line: the command ends, but somebody must live to own the clipboard and to clear it. The same
//! binary is started once more with a hidden subcommand; the code goes over a pipe, never through arguments or environment.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

use super::board::{Board, Surroundings};
use super::osc52::Sink;
use super::{ClipboardError, Copied, Provider, kept_for};

/// The hidden subcommand that calls [`linger`].
pub const SUBCOMMAND: &str = "__clipboard";
/// Longest input of the child, in bytes: provider, milliseconds, code.
const INPUT_LEN_MAX: u64 = 200;

/// Copies a code that lives `lifetime` and leaves a process behind that clears it. Blocks for some milliseconds.
///
/// # Errors
/// [`ClipboardError::Keeper`] if that process cannot be started, [`ClipboardError::Refused`] with its sentence if it could
/// not copy.
pub fn copy_secret(provider: Provider, code: &str, lifetime: Duration) -> Result<Copied, ClipboardError> {
    let failed = ClipboardError::Keeper;
    let program = std::env::current_exe().map_err(failed)?;
    let mut child = Command::new(program)
        .arg(SUBCOMMAND)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let input = Zeroizing::new(format!("{}\n{}\n{code}\n", word(provider), lifetime.as_millis()));
    if let Some(mut pipe) = child.stdin.take() {
        pipe.write_all(input.as_bytes()).map_err(failed)?;
    }
    let mut answer = String::new();
    if let Some(pipe) = child.stdout.take() {
        BufReader::new(pipe.take(INPUT_LEN_MAX)).read_line(&mut answer).map_err(failed)?;
    }
    match answer.trim_end() {
        "placed" => Ok(Copied::Placed),
        "sent" => Ok(Copied::Sent),
        "" => Err(failed(io::Error::from(io::ErrorKind::UnexpectedEof))),
        sentence => Err(ClipboardError::Refused(sentence.to_owned())),
    }
}

/// What the hidden subcommand does: takes the code from standard input, copies it, answers with one line on standard
/// output, leaves the session of the terminal, and clears the clipboard in time or when it is told to end.
///
/// # Errors
/// [`ClipboardError::Keeper`] if the input is not what [`copy_secret`] writes or nobody reads the answer; what the
/// clipboard said, after it was answered.
pub async fn linger() -> Result<(), ClipboardError> {
    let failed = ClipboardError::Keeper;
    let mut input = Zeroizing::new(String::with_capacity(usize::try_from(INPUT_LEN_MAX).unwrap_or(0)));
    io::stdin().lock().take(INPUT_LEN_MAX).read_to_string(&mut input).map_err(failed)?;
    let (provider, lifetime, code) =
        read(&input).ok_or_else(|| failed(io::Error::from(io::ErrorKind::InvalidInput)))?;
    // Opened before this process leaves the terminal's session, after which it has none to open.
    let sink = std::fs::File::options().write(true).open("/dev/tty").map_or(Sink::Absent, Sink::Terminal);
    let mut board = Board::new(provider, Surroundings::from_env(), sink);
    let outcome = board.copy(code);
    let answer = match &outcome {
        Ok(Copied::Placed) => "placed".to_owned(),
        Ok(Copied::Sent) => "sent".to_owned(),
        Err(error) => error.to_string(),
    };
    let mut out = io::stdout().lock();
    writeln!(out, "{answer}").and_then(|()| out.flush()).map_err(failed)?;
    drop(out);
    outcome?;
    leave_session();
    let kept = kept_for(lifetime);
    drop(input);
    wait(kept).await.map_err(failed)?;
    board.clear();
    Ok(())
}

async fn wait(kept: Duration) -> io::Result<()> {
    let mut ended = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut hung_up = signal(SignalKind::hangup())?;
    tokio::select! {
        () = tokio::time::sleep(kept) => {}
        _ = ended.recv() => {}
        _ = interrupted.recv() => {}
        _ = hung_up.recv() => {}
    }
    Ok(())
}

const fn word(provider: Provider) -> &'static str {
    match provider {
        Provider::Auto => "auto",
        Provider::Native => "native",
        Provider::Tmux => "tmux",
        Provider::Screen => "screen",
        Provider::Osc52 => "osc52",
        Provider::None => "none",
    }
}

fn read(input: &str) -> Option<(Provider, Duration, &str)> {
    let mut lines = input.lines();
    let provider = lines.next()?.parse().ok()?;
    let lifetime = Duration::from_millis(lines.next()?.parse().ok()?);
    let code = lines.next().filter(|code| !code.is_empty())?;
    Some((provider, lifetime, code))
}

/// Leaves the terminal's session, so that closing the terminal does not end this process before it has cleared.
#[allow(unsafe_code, reason = "the standard library cannot start a session")]
fn leave_session() {
    // SAFETY: setsid has no preconditions; it fails harmlessly for a leader of a process group, which a child is not.
    unsafe {
        libc::setsid();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_child_reads_what_the_parent_writes() {
        for provider in ["auto", "native", "tmux", "screen", "osc52", "none"] {
            let provider: Provider = provider.parse().unwrap();
            let input = format!("{}\n1500\n070443\n", word(provider));
            assert_eq!(read(&input), Some((provider, Duration::from_millis(1500), "070443")));
        }
        for broken in ["", "auto\n", "auto\nx\n1\n", "auto\n1\n\n", "vim\n1\n1\n"] {
            assert_eq!(read(broken), None, "{broken:?}");
        }
    }
}
