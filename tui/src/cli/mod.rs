//! The command line. One file per family of commands holds its arguments, its calls and the texts it answers with; texts
//! and JSON objects are made by pure functions.
//!
//! The contract with scripts: results on standard output and nothing else there, digits alone when `code` is piped, one
//! JSON object with a `schema` under `--json`, errors on standard error, and the exit codes of `error.rs`. A command that
//! ends with 9 (partly done) gives its result *and* an error.

mod account;
mod alert;
mod args;
mod audit;
mod canary;
mod ceremony;
mod code;
mod completions;
mod context;
mod error;
mod grant;
mod group;
mod hours;
mod identity;
mod import;
mod incident;
mod key_file;
mod list;
mod output;
mod pending;
mod policy;
mod propose;
mod report;
mod request;
mod review;
mod rotation;
mod rows;
mod session;
mod terminal;
mod vault;
mod when;

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::error::ErrorKind as ClapKind;

use self::args::{Account, Command};
use self::context::Context;
use self::error::{CliError, EXIT_USAGE};
use self::output::{Color, Output};
use crate::{clipboard, screen};

/// Runs the program with these arguments, the program's name first.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    if arguments.get(1).is_some_and(|argument| argument == "help") {
        // What people try first.
        arguments.remove(1);
        arguments.push("--help".into());
    }
    if arguments.get(1).is_some_and(|argument| argument == clipboard::SUBCOMMAND) {
        return keep_clipboard();
    }
    let cli = match args::parse(&arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &arguments),
    };
    let out = Output::new(cli.globals.json, cli.globals.quiet, cli.globals.color);
    let outcome = match cli.command {
        None => full_screen(cli.globals, out),
        Some(command) => {
            terminal::end_quietly_on_closed_pipe();
            run(cli.globals, command, out)
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            out.fail(&error);
            ExitCode::from(error.code)
        }
    }
}

/// The process that `code --copy` leaves behind.
fn keep_clipboard() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let kept = runtime.is_ok_and(|runtime| runtime.block_on(clipboard::linger()).is_ok());
    if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Says what is wrong with the arguments; help and version are no errors.
fn usage(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let is_help = matches!(error.kind(), ClapKind::DisplayHelp | ClapKind::DisplayVersion);
    if !is_help && arguments.iter().any(|argument| argument == "--json") {
        let sentence = first_paragraph(&error.render().to_string());
        Output::new(true, false, Color::Never).fail(&CliError::usage(sentence).hint("strongroom --help"));
    } else if arguments.iter().any(forges) {
        // What was typed is repeated in the message; it may have been pasted from anywhere.
        let lines: Vec<String> = error.render().to_string().lines().map(output::clean).collect();
        Output::new(false, false, Color::Never).report(&format!("{}\n", lines.join("\n")));
    } else {
        let _ = error.print();
    }
    if is_help { ExitCode::SUCCESS } else { ExitCode::from(EXIT_USAGE) }
}

/// True if an argument holds what could forge the look of a terminal.
fn forges(argument: &OsString) -> bool {
    let text = argument.to_string_lossy();
    output::clean(&text) != text
}

/// What is wrong, without the usage lines that follow.
fn first_paragraph(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    lines.join(" ").trim_start_matches("error: ").to_owned()
}

/// Without a command: the full-screen view, on a terminal.
fn full_screen(globals: args::Globals, out: Output) -> Result<(), CliError> {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Err(CliError::usage("The full-screen view needs a terminal.")
            .hint("strongroom --help lists the commands for scripts, for example: strongroom code CLIENT/ACCOUNT"));
    }
    open_screen(&Context::new(globals, out))
}

/// Logs in once, so that whatever has to be asked is asked, then hands the terminal over.
fn open_screen(context: &Context) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| CliError::caused("cannot start", &error))?;
    let outcome = runtime.block_on(async {
        let options = context.screen().await?;
        screen::run(options).await.map_err(|error| CliError::caused("the screen ended", &error))
    });
    // A thread that reads the terminal may be blocked in it: it is not waited for.
    runtime.shutdown_background();
    outcome
}

fn run(globals: args::Globals, command: Command, out: Output) -> Result<(), CliError> {
    if let Command::Completions(arguments) = &command {
        return completions::completions(&out, arguments);
    }
    // Two threads: a prompt or a touch may block one while the other watches for Ctrl-C.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| CliError::caused("cannot start", &error))?;
    let found = terminal::FoundTerminal::remember();
    let outcome = runtime.block_on(async {
        tokio::spawn(found.end_on_interrupt());
        let context = Context::new(globals, out);
        dispatch(&context, command).await
    });
    // Nothing may linger: a blocked signer must not keep the program alive.
    runtime.shutdown_background();
    outcome
}

async fn dispatch(context: &Context, command: Command) -> Result<(), CliError> {
    match command {
        Command::Code(arguments) => code::code(context, arguments).await,
        Command::List(arguments) => list::list(context, arguments).await,
        Command::Show(arguments) => list::show(context, arguments).await,
        Command::Vault(command) => vault::vault(context, command).await,
        Command::Account(Account::Add(arguments)) => account::add(context, arguments).await,
        Command::Account(Account::Import(arguments)) => import::import(context, arguments).await,
        Command::Account(Account::Remove(arguments)) => account::remove(context, arguments).await,
        Command::Identity(command) => identity::identity(context, command).await,
        Command::Grant(command) => grant::grant(context, command).await,
        Command::Group(command) => group::group(context, command).await,
        Command::Request(command) => request::request(context, command).await,
        Command::Review(command) => review::review(context, command).await,
        Command::Canary(command) => canary::canary(context, command).await,
        Command::Rotation(command) => rotation::rotation(context, command).await,
        Command::Alert(command) => alert::alert(context, command).await,
        Command::Incident(command) => incident::incident(context, command).await,
        Command::Pending(command) => pending::pending(context, command).await,
        Command::Policy(command) => policy::policy(context, command).await,
        Command::Ceremony(command) => ceremony::ceremony(context, command).await,
        Command::Report(command) => report::report(context, command).await,
        Command::Audit(command) => audit::audit(context, command).await,
        Command::Session(command) => session::session(context, command).await,
        Command::Status(arguments) => session::status(context, arguments).await,
        Command::Whoami(arguments) => session::whoami(context, arguments).await,
        Command::Completions(arguments) => completions::completions(&context.out, &arguments),
    }
}

#[cfg(test)]
mod help_tests;
#[cfg(test)]
mod scripted;
