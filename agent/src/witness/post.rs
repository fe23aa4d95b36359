//! Asks a witness: one request, one answer, a deadline, and no more bytes than an answer can have. A witness is not trusted with
//! anything but its signature.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use strongroom_proto::audit::witness::{ANSWER_LEN_MAX, Answer, answer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::time::timeout;

use super::section::Way;

/// How long a witness may take.
const WITHIN: Duration = Duration::from_secs(15);
/// Longest answer with its head, in bytes.
const REPLY_LEN_MAX: usize = ANSWER_LEN_MAX + 8 * 1024;

/// Posts a request and reads the answer.
///
/// # Errors
/// The system's own; `TimedOut` after 15 s; `InvalidData` if the answer is none, or longer than any.
pub(super) async fn post(way: &Way, request: &str) -> io::Result<Answer> {
    let asking = async {
        match way {
            Way::Unix(path) => over_socket(path, request).await,
            Way::Command(command) => by_command(command, request).await,
        }
    };
    let silent = || io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", WITHIN.as_secs()));
    timeout(WITHIN, asking).await.unwrap_or_else(|_| Err(silent()))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// HTTP/1.0 (RFC 1945): no connection is kept, and no answer comes in chunks.
async fn over_socket(path: &Path, request: &str) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(path).await?;
    let head = format!(
        "POST /add-checkpoint HTTP/1.0\r\nHost: witness\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
        request.len()
    );
    stream.write_all(&[head.as_bytes(), request.as_bytes()].concat()).await?;
    let reply = read_all(&mut stream).await?;
    let (head, body) = reply.split_once("\r\n\r\n").ok_or_else(|| malformed("its answer is no HTTP"))?;
    let mut words = head.lines().next().unwrap_or_default().split(' ');
    let status = match (words.next(), words.next().map(str::parse)) {
        (Some(version), Some(Ok(status))) if version.starts_with("HTTP/1.") => status,
        _ => return Err(malformed("its answer is no HTTP")),
    };
    Ok(answer(status, body))
}

/// What a program makes of it, `curl` for one: the body, and on the last line the status.
async fn by_command(command: &[String], request: &str) -> io::Result<Answer> {
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (mut input, mut output) =
        (child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?, child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?);
    let writing = async {
        // A program that answers before it has read everything closes its end: what it said counts.
        let _ = input.write_all(request.as_bytes()).await;
        drop(input);
    };
    let ((), reply) = tokio::join!(writing, read_all(&mut output));
    let reply = reply?;
    let status = child.wait().await?;
    if !status.success() {
        return Err(io::Error::other(format!("the command ended ({status})")));
    }
    let text = reply.trim_end_matches(['\n', '\r']);
    let (body, last) = text.rsplit_once('\n').unwrap_or(("", text));
    let status = last.trim().parse().map_err(|_| malformed("the command's last line is no status"))?;
    Ok(answer(status, &format!("{body}\n")))
}

async fn read_all(from: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut bytes = Vec::new();
    from.take(REPLY_LEN_MAX as u64 + 1).read_to_end(&mut bytes).await?;
    if bytes.len() > REPLY_LEN_MAX {
        return Err(malformed("its answer is too long"));
    }
    String::from_utf8(bytes).map_err(|_| malformed("its answer is no text"))
}
