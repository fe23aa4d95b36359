//! `strongroom completions`: scripts for shells, made from the command line's own description.

use clap_complete::Shell;

use super::args;
use super::error::CliError;
use super::output::Output;

/// `strongroom completions`
#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// For which shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Needs neither settings nor an agent.
pub(super) fn completions(out: &Output, arguments: &Completions) -> Result<(), CliError> {
    out.write(&script(arguments.shell))
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "strongroom", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_learns_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell);
            assert!(script.contains("import") && script.contains("min-remaining"), "{shell}");
        }
    }
}
