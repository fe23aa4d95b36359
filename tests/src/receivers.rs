//! Receivers of streams: a real rsyslog with a configuration of its own, and what any receiver has to check.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use strongroom_proto::audit::merkle::leaf_hash;

use crate::trail::Entry;

/// How long rsyslog may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where rsyslog listens.
#[derive(Clone, Debug)]
pub enum Input {
    /// On a TCP port of the loopback.
    Tcp(u16),
    /// On a Unix datagram socket, as `/dev/log` is one.
    Unix(PathBuf),
}

/// A running rsyslog that writes what it receives, as it came, into one file. Killed when dropped.
pub struct Rsyslog {
    child: Child,
}

impl Rsyslog {
    /// Starts it and waits until it listens. It appends to the file, so it can be started again.
    ///
    /// # Panics
    /// If it is not installed or does not listen.
    #[must_use]
    pub fn start(folder: &Path, input: &Input, out: &Path) -> Self {
        let (modules, listen) = match input {
            Input::Tcp(port) => (
                "module(load=\"imptcp\")".to_owned(),
                format!("input(type=\"imptcp\" address=\"127.0.0.1\" port=\"{port}\" ruleset=\"all\")"),
            ),
            Input::Unix(path) => (
                "module(load=\"imuxsock\" SysSock.Use=\"off\")".to_owned(),
                format!(
                    "input(type=\"imuxsock\" Socket=\"{}\" RateLimit.Interval=\"0\" UseSpecialParser=\"off\" \
                     ParseHostname=\"on\" ruleset=\"all\")",
                    path.display()
                ),
            ),
        };
        let text = format!(
            "global(workDirectory=\"{}\" maxMessageSize=\"16k\")\n{modules}\n\
             template(name=\"raw\" type=\"string\" string=\"%rawmsg%\\n\")\n\
             ruleset(name=\"all\") {{ action(type=\"omfile\" file=\"{}\" template=\"raw\") }}\n{listen}\n",
            folder.display(),
            out.display()
        );
        let config = folder.join("rsyslog.conf");
        std::fs::write(&config, text).expect("the configuration can be written");
        let child = Command::new("/usr/sbin/rsyslogd")
            .args(["-n", "-f"])
            .arg(&config)
            .arg("-i")
            .arg(folder.join("rsyslog.pid"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("rsyslog is installed (tests/run.sh installs it)");
        let begun = Instant::now();
        let listens = || match input {
            Input::Tcp(port) => std::net::TcpStream::connect(("127.0.0.1", *port)).is_ok(),
            Input::Unix(path) => {
                std::os::unix::net::UnixDatagram::unbound().is_ok_and(|ours| ours.connect(path).is_ok())
            }
        };
        while !listens() {
            assert!(begun.elapsed() < PATIENCE, "rsyslog does not listen on {input:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child }
    }

    /// Kills it without warning: what it has not written is lost.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub fn kill(mut self) {
        self.child.kill().expect("rsyslog can be killed");
        self.child.wait().expect("rsyslog can be waited for");
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A message as a receiver reads it.
#[derive(Clone, Debug)]
pub struct Received {
    /// The origin of the log.
    pub log: String,
    /// The place.
    pub seq: u64,
    /// The leaf that the message names.
    pub leaf: String,
    /// It may have been sent before.
    pub resent: bool,
    /// The record's bytes.
    pub record: String,
}

/// Reads one syslog message. `None` if it was cut off.
#[must_use]
pub fn syslog(line: &str) -> Option<Received> {
    let (_, rest) = line.split_once("[strongroom@32473 ")?;
    let (parameters, record) = rest.split_once("] ")?;
    let value = |name: &str| {
        let (_, rest) = parameters.split_once(&format!("{name}=\""))?;
        rest.split('"').next().map(str::to_owned)
    };
    whole(Received {
        log: value("log")?,
        seq: value("seq")?.parse().ok()?,
        leaf: value("leaf")?,
        resent: value("resent").is_some(),
        record: record.to_owned(),
    })
}

/// Reads one line of JSON. `None` if it was cut off.
#[must_use]
pub fn json(line: &str) -> Option<Received> {
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    let (_, rest) = line.split_once("\"record\":")?;
    let record = match rest.split_once(",\"openings\":[") {
        Some((record, _)) => record,
        None => rest.strip_suffix(",\"resent\":true}").or_else(|| rest.strip_suffix('}'))?,
    };
    whole(Received {
        log: value["log"].as_str()?.to_owned(),
        seq: value["seq"].as_u64()?,
        leaf: value["leaf"].as_str()?.to_owned(),
        resent: value["resent"].as_bool().unwrap_or(false),
        record: record.to_owned(),
    })
}

/// A message whose record is the one that its leaf names. What a killed receiver cut off is none.
fn whole(received: Received) -> Option<Received> {
    (hex::encode(leaf_hash(received.record.as_bytes())) == received.leaf).then_some(received)
}

/// Reads the messages of files, one after the other; what was cut off is left out.
#[must_use]
pub fn messages(files: &[&Path], read: fn(&str) -> Option<Received>) -> Vec<Received> {
    let text = |path: &&Path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
    files.iter().map(text).flat_map(|text| text.lines().filter_map(read).collect::<Vec<_>>()).collect()
}

/// Checks what a receiver has: each log from 0 on in order and without gaps, every repetition marked, and the bytes those that
/// the agent shows. Says what is missing of the logs.
///
/// # Errors
/// How many records of which log are missing at the end.
///
/// # Panics
/// If anything is out of order, unmarked or altered.
pub fn check(received: &[Received], logs: &[Vec<Entry>]) -> Result<usize, String> {
    let mut next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut repeated = 0;
    for message in received {
        let leaves = next.entry(&message.log).or_default();
        let at = usize::try_from(message.seq).expect("a place fits");
        match leaves.get(at) {
            None => {
                assert_eq!(at, leaves.len(), "a gap in {}", message.log);
                leaves.push(&message.leaf);
            }
            Some(before) => {
                assert_eq!(*before, message.leaf, "two records at one place of {}", message.log);
                assert!(message.resent, "{} of {} came twice and is not marked", message.seq, message.log);
                repeated += 1;
            }
        }
    }
    for entries in logs {
        let log = &entries[0].record.log;
        let leaves = next.get(log.as_str()).cloned().unwrap_or_default();
        for (entry, leaf) in entries.iter().zip(&leaves) {
            assert_eq!(entry.leaf, **leaf, "{} of {log} is not the agent's", entry.record.seq);
        }
        if leaves.len() < entries.len() {
            return Err(format!("{} of {} records of {log} came", leaves.len(), entries.len()));
        }
    }
    Ok(repeated)
}
