//! The whole command line as people see it: a changed help text is a changed contract, so it is looked at.

use clap::{Command, CommandFactory as _};

use super::args::Cli;

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
    let mut command = Cli::command().term_width(100);
    command.build();
    let mut found = Vec::new();
    helps(&mut command, "strongroom", &mut found);
    assert!(found.len() > 30, "{}", found.len());
    let text: String = found.iter().map(|(path, help)| format!("==== {path}\n{}\n", help.trim_end())).collect();
    insta::assert_snapshot!(text);
}

#[test]
fn the_command_line_contradicts_itself_nowhere() {
    Cli::command().debug_assert();
}
