//! The whole command line as people see it: a changed help text is a changed contract, so it is looked at.

use std::ffi::OsString;

use clap::Command;

use super::args::{command, parse};

const GLOBAL_HEADING: &str = "Global options:";

fn helps(command: &mut Command, path: &str, found: &mut Vec<(String, String)>) {
    let mut help = command.render_long_help().to_string();
    if found.is_empty() {
        assert!(help.contains(GLOBAL_HEADING));
    } else {
        // Shown once, at the top.
        help.truncate(help.find(GLOBAL_HEADING).unwrap_or(help.len()));
    }
    found.push((path.to_owned(), help));
    let names: Vec<String> = command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    for name in names {
        if let Some(command) = command.find_subcommand_mut(&name) {
            helps(command, &format!("{path} {name}"), found);
        }
    }
}

#[test]
fn every_help_text_is_looked_at() {
    let mut command = command().term_width(100);
    command.build();
    let mut found = Vec::new();
    helps(&mut command, "strongroom", &mut found);
    assert!(found.len() > 30, "{}", found.len());
    let text: String = found.iter().map(|(path, help)| format!("==== {path}\n{}\n", help.trim_end())).collect();
    insta::assert_snapshot!(text);
}

#[test]
fn the_command_line_contradicts_itself_nowhere() {
    command().debug_assert();
}

#[test]
fn the_key_of_a_command_is_not_the_key_that_logs_in() {
    let key = |line: &str| {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        parse(&words).unwrap().globals.key
    };
    let mine = Some(std::path::PathBuf::from("mine"));
    assert_eq!(key("strongroom --key mine ls"), mine);
    assert_eq!(key("strongroom ls --key mine"), mine);
    assert_eq!(key("strongroom --key mine identity enrol bob --name Bob --key bob.pub"), mine);
    assert_eq!(key("strongroom identity enrol bob --name Bob --key bob.pub"), None);
    assert_eq!(key("strongroom audit verify d --key SHA256:x"), None);
}
