//! The configuration's `[[stream]]`: where a copy of the logs goes, and in which form.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use strongroom_proto::ids::Slug;

/// The word for the organisation's own log among vaults' slugs.
pub(crate) const ORG: &str = "org";
/// The private enterprise number that RFC 5612 sets apart for documentation: nobody's own.
const DOCUMENTATION_ENTERPRISE: u32 = 32_473;
/// The longest path of a Unix socket, in bytes (unix(7)).
const SOCKET_PATH_LEN_MAX: usize = 107;

/// One stream.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Section")]
pub struct StreamConfig {
    /// What it is called. Its places are kept under this name.
    pub name: Slug,
    /// In which form records are sent.
    pub format: Format,
    /// Where to.
    pub to: Target,
    /// Which logs: `org` and vaults' slugs. `None` means all, also those of vaults that are made later.
    pub logs: Option<BTreeSet<Slug>>,
    /// Whether the values behind commitments are sent too.
    pub openings: bool,
    /// Where a stream begins whose name is new.
    pub from: Begin,
    /// How old the oldest record may grow that was not sent, before people are told.
    pub alert_after: Duration,
    /// The private enterprise number in RFC 5424's structured data.
    pub enterprise: u32,
    /// How much of what a connection had taken is sent again after it broke, in bytes.
    pub resend: u64,
}

/// The form of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Syslog, RFC 5424.
    Rfc5424,
    /// One JSON object that holds the record.
    Json,
    /// An event of the Open Cybersecurity Schema Framework.
    Ocsf,
}

/// Where a new stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Begin {
    /// With the first record of each log.
    Start,
    /// With what comes after its first start.
    Now,
}

/// Where messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A Unix socket: datagrams if it takes them, else a stream.
    Unix(PathBuf),
    /// TCP.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// A file that is appended to.
    File(PathBuf),
    /// The standard input of a program.
    Command(Vec<String>),
}

/// The keys as they stand in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    name: Slug,
    format: Format,
    to: String,
    command: Option<Vec<String>>,
    logs: Option<Vec<Slug>>,
    openings: Option<bool>,
    from: Option<Begin>,
    alert_after_s: Option<u64>,
    enterprise: Option<u32>,
    resend_kib: Option<u32>,
}

impl TryFrom<Section> for StreamConfig {
    type Error = String;

    fn try_from(section: Section) -> Result<Self, String> {
        let name = section.name;
        let wrong = |what: &str| format!("stream {name}: {what}");
        let to = target(&section.to, section.command).map_err(|what| wrong(&what))?;
        let logs = section.logs.map(|logs| logs.into_iter().collect::<BTreeSet<_>>());
        if logs.as_ref().is_some_and(BTreeSet::is_empty) {
            return Err(wrong("logs is empty: leave it out for all of them"));
        }
        let alert_after_s = section.alert_after_s.unwrap_or(15 * 60);
        if alert_after_s == 0 {
            return Err(wrong("alert_after_s must be at least 1"));
        }
        let alert_after = Duration::from_secs(alert_after_s);
        Ok(Self {
            format: section.format,
            to,
            logs,
            openings: section.openings.unwrap_or(false),
            from: section.from.unwrap_or(Begin::Start),
            alert_after,
            enterprise: section.enterprise.unwrap_or(DOCUMENTATION_ENTERPRISE),
            resend: u64::from(section.resend_kib.unwrap_or(256)) * 1024,
            name,
        })
    }
}

fn target(to: &str, command: Option<Vec<String>>) -> Result<Target, String> {
    let (kind, rest) = to.split_once(':').unwrap_or((to, ""));
    if kind != "command" && command.is_some() {
        return Err("command goes with to = \"command:\"".to_owned());
    }
    let path = || {
        let path = PathBuf::from(rest);
        if path.is_absolute() { Ok(path) } else { Err(format!("{to} does not name an absolute path")) }
    };
    match kind {
        "unix" if rest.len() > SOCKET_PATH_LEN_MAX => Err(format!("{to} is longer than a socket's path can be")),
        "unix" => Ok(Target::Unix(path()?)),
        "file" => Ok(Target::File(path()?)),
        "tcp" => {
            let (host, port) = rest.rsplit_once(':').ok_or_else(|| format!("{to} is not tcp:HOST:PORT"))?;
            let port = port.parse().ok().filter(|port| *port != 0);
            let port = port.ok_or_else(|| format!("{to} has no port from 1 to 65535"))?;
            // An IPv6 address stands in brackets, as in a URL.
            let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            if host.is_empty() {
                return Err(format!("{to} has no host"));
            }
            Ok(Target::Tcp { host: host.to_owned(), port })
        }
        "command" if !rest.is_empty() => {
            Err("the program stands in command = [\"...\", ...], not in to: no shell reads it".to_owned())
        }
        "command" => match command {
            Some(command) if command.first().is_some_and(|program| !program.is_empty()) => Ok(Target::Command(command)),
            _ => Err("to = \"command:\" needs command = [\"program\", \"argument\", ...]".to_owned()),
        },
        _ => Err(format!("{to:?} is none of unix:PATH, tcp:HOST:PORT, file:PATH and command:")),
    }
}

/// Refuses two streams of one name: they would share their places.
///
/// # Errors
/// A sentence that names it.
pub fn check(streams: &[StreamConfig]) -> Result<(), String> {
    let mut names = BTreeSet::new();
    match streams.iter().find(|stream| !names.insert(&stream.name)) {
        Some(twice) => Err(format!("two streams are called {}", twice.name)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn parse(section: &str) -> Result<Config, String> {
        Config::parse(&format!("[[stream]]\n{section}"), "agent.toml").map_err(|error| error.to_string())
    }

    #[test]
    fn a_stream_says_where_it_goes_and_has_defaults_for_the_rest() {
        use super::{Begin, Format, Target};
        let config = parse("name = \"siem\"\nformat = \"rfc5424\"\nto = \"tcp:[::1]:6514\"").unwrap();
        let stream = &config.streams[0];
        assert_eq!(stream.to, Target::Tcp { host: "::1".into(), port: 6514 });
        assert_eq!((stream.format, stream.from, stream.openings), (Format::Rfc5424, Begin::Start, false));
        assert_eq!((stream.alert_after.as_secs(), stream.enterprise, stream.resend), (900, 32_473, 256 * 1024));
        assert!(stream.logs.is_none());
        let config = parse(
            "name = \"a\"\nformat = \"json\"\nto = \"command:\"\ncommand = [\"cat\"]\nlogs = [\"org\", \"acme\"]",
        );
        assert_eq!(config.unwrap().streams[0].logs.as_ref().unwrap().len(), 2);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_in_words() {
        let fine = "name = \"siem\"\nformat = \"json\"\n";
        for (section, word) in [
            ("name = \"SIEM\"\nformat = \"json\"\nto = \"file:/x\"".to_owned(), "a name is"),
            ("name = \"siem\"\nformat = \"cef\"\nto = \"file:/x\"".to_owned(), "cef"),
            (format!("{fine}to = \"udp:a:1\""), "none of"),
            (format!("{fine}to = \"tcp:a\""), "HOST:PORT"),
            (format!("{fine}to = \"tcp:a:0\""), "port"),
            (format!("{fine}to = \"tcp::5\""), "host"),
            (format!("{fine}to = \"file:x\""), "absolute"),
            (format!("{fine}to = \"unix:/{}\"", "x".repeat(120)), "longer"),
            (format!("{fine}to = \"command:\""), "needs command"),
            (format!("{fine}to = \"command:cat\""), "no shell"),
            (format!("{fine}to = \"file:/x\"\ncommand = [\"cat\"]"), "goes with"),
            (format!("{fine}to = \"file:/x\"\nlogs = []"), "empty"),
            (format!("{fine}to = \"file:/x\"\nalert_after_s = 0"), "at least 1"),
            (format!("{fine}to = \"file:/x\"\ntls = true"), "tls"),
            (format!("{fine}to = \"file:/x\"\n[[stream]]\n{fine}to = \"file:/y\""), "two streams"),
        ] {
            let refused = parse(&section).unwrap_err();
            assert!(refused.starts_with("agent.toml:") && refused.contains(word), "{section}: {refused}");
        }
    }
}
