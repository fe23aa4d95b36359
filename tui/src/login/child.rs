//! Runs another program that signs: text in, a little text out, within a time.

use std::io::{ErrorKind, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use strongroom_proto::client::SignError;
use strongroom_proto::sshsig::ARMOURED_LEN_MAX;

/// How long a signature may take: somebody may have to look for the key and touch it.
pub(super) const SIGN_TIMEOUT: Duration = Duration::from_secs(110);
const ERROR_LEN_MAX: u64 = 4 * 1024;

/// Gives `input` to a program's standard input and returns its standard output. `name` names it in errors, which carry
/// the last line of its standard error.
pub(super) fn run(command: &mut Command, name: &str, input: &[u8], limit: Duration) -> Result<String, SignError> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| SignError(format!("cannot start {name}: {error}")))?;
    let outcome = converse(&mut child, name, input, limit);
    if outcome.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| SignError(format!("cannot wait for {name}: {error}")))?;
    let (output, complaint) = outcome?;
    if status.success() { Ok(output) } else { Err(SignError(format!("{name} did not sign: {complaint}"))) }
}

fn converse(child: &mut Child, name: &str, input: &[u8], limit: Duration) -> Result<(String, String), SignError> {
    let (Some(mut stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(SignError(format!("cannot talk to {name}")));
    };
    let (done, answer) = mpsc::channel();
    let errors = thread::spawn(move || {
        let mut text = Vec::new();
        let _ = stderr.take(ERROR_LEN_MAX).read_to_end(&mut text);
        last_line(&text)
    });
    thread::spawn(move || {
        let mut text = String::new();
        let read = stdout.take(ARMOURED_LEN_MAX as u64 + 1).read_to_string(&mut text);
        let _ = done.send(read.map(|_| text));
    });
    match stdin.write_all(input) {
        // A program that doesn't want the text may have its reason; its status decides.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            return Err(SignError(format!("cannot write to {name}: {error}")));
        }
        _ => drop(stdin),
    }
    match answer.recv_timeout(limit) {
        Ok(Ok(output)) if output.len() > ARMOURED_LEN_MAX => Err(SignError(format!("{name} wrote too much"))),
        Ok(Ok(output)) => Ok((output, errors.join().unwrap_or_default())),
        Ok(Err(_)) => Err(SignError(format!("{name} wrote no text"))),
        Err(_) => Err(SignError(format!("{name} did not sign within {} s", limit.as_secs()))),
    }
}

/// The last line that says something, without what would act on a terminal.
fn last_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
    line.chars().filter(|character| !character.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn shell(script: &str, limit: Duration) -> Result<String, String> {
        let mut command = Command::new("sh");
        run(command.args(["-c", script]), "the test", b"text\n", limit).map_err(|error| error.0)
    }

    #[test]
    fn text_goes_through_and_faults_are_named() {
        let minute = Duration::from_secs(60);
        assert_eq!(shell("cat", minute).unwrap(), "text\n");
        assert_eq!(shell("exec 0<&-; echo out", minute).unwrap(), "out\n");
        assert_eq!(
            shell("echo a >&2; printf 'b\\033[31m\\n' >&2; exit 3", minute).unwrap_err(),
            "the test did not sign: b[31m"
        );
        assert_eq!(shell("exit 1", minute).unwrap_err(), "the test did not sign: no reason given");
        assert_eq!(shell("head -c 100000 /dev/zero | tr '\\0' x", minute).unwrap_err(), "the test wrote too much");
    }

    #[test]
    fn a_program_that_hangs_is_ended() {
        let start = Instant::now();
        assert!(shell("exec sleep 60", Duration::from_millis(200)).unwrap_err().contains("did not sign within"));
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}
