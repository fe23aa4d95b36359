//! The configuration's `[[witness]]`: who signs our checkpoints beside us, and how they are reached.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use strongroom_proto::audit::witness::WitnessKey;
use strongroom_proto::ids::Slug;

/// The longest path of a Unix socket, in bytes (unix(7)).
const SOCKET_PATH_LEN_MAX: usize = 107;

/// One witness.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Section")]
pub struct WitnessConfig {
    /// What it is called here.
    pub name: Slug,
    /// How it is reached.
    pub to: Way,
    /// Its key.
    pub key: WitnessKey,
    /// Which logs it is shown: `org` and vaults' slugs. `None` means all, also those of vaults that are made later.
    pub logs: Option<BTreeSet<Slug>>,
    /// How often logs that have grown are shown to it.
    pub every: Duration,
}

/// How a witness is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// HTTP over a Unix socket.
    Unix(PathBuf),
    /// A program that takes the request on its standard input, and prints the answer's body and, on a line of its own, its
    /// status.
    Command(Vec<String>),
}

/// The keys as they stand in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    name: Slug,
    to: String,
    command: Option<Vec<String>>,
    key: String,
    logs: Option<Vec<Slug>>,
    every_s: Option<u64>,
}

impl TryFrom<Section> for WitnessConfig {
    type Error = String;

    fn try_from(section: Section) -> Result<Self, String> {
        let name = section.name;
        let wrong = |what: &str| format!("witness {name}: {what}");
        let to = way(&section.to, section.command).map_err(|what| wrong(&what))?;
        let key = WitnessKey::parse(&section.key).map_err(|error| wrong(&error.to_string()))?;
        let logs = section.logs.map(|logs| logs.into_iter().collect::<BTreeSet<_>>());
        if logs.as_ref().is_some_and(BTreeSet::is_empty) {
            return Err(wrong("logs is empty: leave it out for all of them"));
        }
        let every_s = section.every_s.unwrap_or(300);
        if every_s == 0 {
            return Err(wrong("every_s must be at least 1"));
        }
        Ok(Self { to, key, logs, every: Duration::from_secs(every_s), name })
    }
}

fn way(to: &str, command: Option<Vec<String>>) -> Result<Way, String> {
    match (to.split_once(':').unwrap_or((to, "")), command) {
        (("unix", _), Some(_)) => Err("command goes with to = \"command:\"".to_owned()),
        (("unix", path), None) if path.len() > SOCKET_PATH_LEN_MAX => {
            Err(format!("{to} is longer than a socket's path can be"))
        }
        (("unix", path), None) if path.starts_with('/') => Ok(Way::Unix(path.into())),
        (("unix", _), None) => Err(format!("{to} does not name an absolute path")),
        (("command", ""), Some(command)) if command.first().is_some_and(|program| !program.is_empty()) => {
            Ok(Way::Command(command))
        }
        (("command", ""), _) => Err("to = \"command:\" needs command = [\"program\", \"argument\", ...]".to_owned()),
        (("command", _), _) => {
            Err("the program stands in command = [\"...\", ...], not in to: no shell reads it".to_owned())
        }
        _ => Err(format!("{to:?} is neither unix:PATH nor command:")),
    }
}

/// Refuses two witnesses of one name, or of one key: they would be one.
///
/// # Errors
/// A sentence that names it.
pub fn check(witnesses: &[WitnessConfig]) -> Result<(), String> {
    for (place, witness) in witnesses.iter().enumerate() {
        if let Some(twice) = witnesses.iter().take(place).find(|other| other.name == witness.name) {
            return Err(format!("two witnesses are called {}", twice.name));
        }
        if let Some(twice) = witnesses.iter().take(place).find(|other| other.key == witness.key) {
            return Err(format!("the witnesses {} and {} have one key", twice.name, witness.name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Way;
    use crate::config::Config;

    /// A key of nobody's, with the right id.
    const KEY: &str = "witness.example/w1+d9ed62c5+BO1JKMYo0cLG6ukDOJBZlWEpWSc6XGP5NjbBRhSshzfR";

    fn parse(section: &str) -> Result<Config, String> {
        Config::parse(&format!("[[witness]]\n{section}"), "agent.toml").map_err(|error| error.to_string())
    }

    #[test]
    fn a_witness_says_who_it_is_and_has_defaults_for_the_rest() {
        let config = parse(&format!("name = \"w1\"\nkey = \"{KEY}\"\nto = \"unix:/run/witness.sock\"")).unwrap();
        let witness = &config.witnesses[0];
        assert_eq!(witness.to, Way::Unix("/run/witness.sock".into()));
        assert_eq!((witness.key.name(), witness.every.as_secs()), ("witness.example/w1", 300));
        assert!(witness.logs.is_none());
        let command = format!(
            "name = \"w1\"\nkey = \"{KEY}\"\nto = \"command:\"\ncommand = [\"curl\", \"-s\"]\nlogs = [\"org\"]"
        );
        assert!(parse(&command).unwrap().witnesses[0].logs.is_some());
    }

    #[test]
    fn what_cannot_be_meant_is_refused_in_words() {
        let fine = format!("name = \"w1\"\nkey = \"{KEY}\"\n");
        for (section, word) in [
            (format!("{fine}to = \"https://witness\""), "neither"),
            (format!("{fine}to = \"unix:relative\""), "absolute"),
            (format!("{fine}to = \"unix:/{}\"", "x".repeat(120)), "longer"),
            (format!("{fine}to = \"command:\""), "needs command"),
            (format!("{fine}to = \"command:curl\""), "no shell"),
            (format!("{fine}to = \"unix:/x\"\ncommand = [\"curl\"]"), "goes with"),
            (format!("{fine}to = \"unix:/x\"\nlogs = []"), "empty"),
            (format!("{fine}to = \"unix:/x\"\nevery_s = 0"), "at least 1"),
            (format!("{fine}to = \"unix:/x\"\ntls = true"), "tls"),
            ("name = \"w1\"\nkey = \"x\"\nto = \"unix:/x\"".to_owned(), "NAME+ID+BASE64"),
            (format!("{fine}to = \"unix:/x\"\n[[witness]]\n{fine}to = \"unix:/y\""), "two witnesses"),
            (
                format!("{fine}to = \"unix:/x\"\n[[witness]]\n{}to = \"unix:/y\"", fine.replace("\"w1\"", "\"w2\"")),
                "one key",
            ),
        ] {
            let refused = parse(&section).unwrap_err();
            assert!(refused.starts_with("agent.toml:") && refused.contains(word), "{section}: {refused}");
        }
    }
}
