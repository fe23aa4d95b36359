//! The command line as a whole: global flags and the list of commands. Each command's own arguments stand in its file.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use strongroom_proto::ids::Slug;

use super::output::Color;
use super::{
    account, alert, audit, canary, ceremony, code, completions, grant, group, identity, import, incident, list,
    pending, policy, report, request, review, rotation, session, vault, when,
};
use crate::settings::Settings;

/// The id of `--key` where it means the key that logs in.
const LOGIN_KEY: &str = "login_key";
const GLOBAL: &str = "Global options";
const AFTER: &str = "\
Exit codes: 0 ok, 1 failure, 2 usage, 3 not found, 4 denied, 5 needs approval, 6 agent unreachable,
7 locked or HSM away, 8 timed out, 9 partly done, 130 cancelled.

Settings: flags, then STRONGROOM_SOCK, STRONGROOM_IDENTITY, STRONGROOM_KEY and
STRONGROOM_KNOWN_AGENTS, then ~/.config/strongroom/config.toml, then /etc/strongroom/config.toml.";

/// Team MFA vault: codes for your clients' logins, on record. Without a command: the full-screen view.
#[derive(Debug, Parser)]
#[command(name = "strongroom", version, after_help = AFTER, max_term_width = 100, disable_help_subcommand = true)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) globals: Globals,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// Flags that every command takes.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Globals {
    /// Answer with one JSON object; errors too, on standard error
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(super) json: bool,
    /// The agent's socket [env: STRONGROOM_SOCK]
    #[arg(long, global = true, value_name = "PATH", help_heading = GLOBAL)]
    pub(super) sock: Option<PathBuf>,
    /// Who logs in [env: STRONGROOM_IDENTITY]
    #[arg(long, global = true, value_name = "SLUG", help_heading = GLOBAL)]
    pub(super) identity: Option<Slug>,
    /// The SSH key that signs; filled by [`parse`].
    #[arg(skip)]
    pub(super) key: Option<PathBuf>,
    /// A command that signs instead: the text on its input, an SSH signature on its output
    #[arg(long, global = true, value_name = "COMMAND", help_heading = GLOBAL)]
    pub(super) sign_cmd: Option<String>,
    /// Trust an agent that is not known yet and remember its key
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(super) accept_new_agent: bool,
    /// Never ask anything
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(super) no_input: bool,
    /// How long each call may take, for example 10s
    #[arg(long, global = true, value_name = "TIME", value_parser = when::duration, help_heading = GLOBAL)]
    pub(super) timeout: Option<Duration>,
    /// When to colour messages: auto, always or never
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        hide_possible_values = true,
        value_name = "WHEN",
        help_heading = GLOBAL
    )]
    pub(super) color: Color,
    /// Say nothing but results and errors
    #[arg(short, long, global = true, help_heading = GLOBAL)]
    pub(super) quiet: bool,
}

impl Globals {
    /// The layer of settings that the flags are.
    pub(super) fn settings(&self) -> Settings {
        Settings {
            identity: self.identity.clone(),
            key: self.key.clone(),
            socket: self.sock.clone(),
            ..Settings::default()
        }
    }
}

/// The whole command line.
///
/// `--key` is added here rather than as a global flag: `identity enrol --key` is the key of somebody else and
/// `audit verify --key` a pin, and a global flag of that name would silently take their values for the login.
pub(super) fn command() -> clap::Command {
    fn with_login_key(command: clap::Command) -> clap::Command {
        let has_own = command.get_arguments().any(|argument| argument.get_long() == Some("key"));
        let command = if has_own { command } else { command.arg(login_key()) };
        command.mut_subcommands(with_login_key)
    }
    with_login_key(Cli::command())
}

fn login_key() -> Arg {
    Arg::new(LOGIN_KEY)
        .long("key")
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help("The SSH key that signs: a key file, or a .pub file whose key is in the ssh-agent [env: STRONGROOM_KEY]")
        .help_heading(GLOBAL)
}

/// Reads the arguments, the program's name first.
///
/// # Errors
/// What is wrong with them, or the help or version that was asked for.
pub(super) fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let mut command = command();
    let matches = command.try_get_matches_from_mut(arguments)?;
    let mut cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    cli.globals.key = login_key_of(&matches);
    Ok(cli)
}

/// The innermost `--key` that means the login.
fn login_key_of(matches: &ArgMatches) -> Option<PathBuf> {
    let inner = matches.subcommand().and_then(|(_, matches)| login_key_of(matches));
    inner.or_else(|| matches.try_get_one::<PathBuf>(LOGIN_KEY).ok().flatten().cloned())
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Take a code; the digits alone when piped
    #[command(visible_alias = "otp")]
    Code(code::Code),
    /// List the accounts you see
    #[command(name = "ls")]
    List(list::List),
    /// Show one account, never its seed
    Show(list::Show),
    /// Clients: list, create, rename, freeze, thaw, rotate-key, destroy, hand-over
    #[command(subcommand)]
    Vault(vault::Vault),
    /// Accounts: add, import, rm
    #[command(subcommand)]
    Account(Account),
    /// People and scripts: enrol, list, report, update, role, key, suspend, resume, revoke
    #[command(subcommand)]
    Identity(identity::Identity),
    /// Rights in vaults: give, list, end
    #[command(subcommand)]
    Grant(grant::Grant),
    /// Groups of people who hold the same rights: list, create, rm, add, drop
    #[command(subcommand)]
    Group(group::Group),
    /// Access for a while: make, list, show, approve, deny, cancel, review
    #[command(subcommand)]
    Request(request::Request),
    /// Recertification, is every right still needed: start, list, show, decide, close
    #[command(subcommand)]
    Review(review::Review),
    /// Decoys that nobody has business with: set, clear, list
    #[command(subcommand)]
    Canary(canary::Canary),
    /// Seeds to replace because somebody who knew them has left: list, dismiss
    #[command(subcommand)]
    Rotation(rotation::Rotation),
    /// What raised an alarm, who was told and who answered: list, ack
    #[command(subcommand)]
    Alert(alert::Alert),
    /// Stop what somebody may be misusing: open, list, show, export, close
    #[command(subcommand)]
    Incident(incident::Incident),
    /// What one person did and a second has to confirm: list, show, confirm, reject
    #[command(subcommand)]
    Pending(pending::Pending),
    /// The rules of a client and of the organisation: show, set, example, schema
    #[command(subcommand)]
    Policy(policy::Policy),
    /// What two people do together: list, show, confirm, cancel, run
    #[command(subcommand)]
    Ceremony(ceremony::Ceremony),
    /// Reports: access, unused, releases, exceptions, offboarding, hygiene, recertification, backups, clock, identity, pack
    #[command(subcommand)]
    Report(report::Report),
    /// The trail: show, verify, export
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Sessions: list, end
    #[command(subcommand)]
    Session(session::Session),
    /// Show whether the agent gives codes
    Status(session::Status),
    /// Show who you are to the agent
    Whoami(session::Whoami),
    /// Print a completion script for a shell
    Completions(completions::Completions),
}

/// `strongroom account`
#[derive(Debug, Subcommand)]
pub(super) enum Account {
    /// Add one account; its secret comes from a prompt or from standard input
    Add(account::Add),
    /// Import accounts from a list of otpauth:// URIs, all or nothing
    Import(import::Import),
    /// Remove an account and its sealed seed for good
    #[command(name = "rm")]
    Remove(account::Remove),
}
