//! What every command needs: settings, output, a connection, and a way to ask.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use strongroom_proto::client::{
    CALL_TIMEOUT, Client, ConnectError, KnownAgents, Login, LoginError, Newcomer, Signer, socket_path,
};
use strongroom_proto::ids::Slug;
use zeroize::Zeroizing;

use super::args::Globals;
use super::error::{CliError, chain};
use super::output::Output;
use crate::clipboard::Provider;
use crate::login::{ChooseError, Person, Terminal, Wish, choose};
use crate::screen::theme::Choice;
use crate::screen::{Options, Setup};
use crate::settings::{ClipboardProvider, Settings, Theme, user_folder};

/// How this program calls itself in audit records.
const CLIENT: &str = concat!("strongroom/", env!("CARGO_PKG_VERSION"));

/// One run of the command line.
pub(super) struct Context {
    globals: Globals,
    /// Where answers go.
    pub(super) out: Output,
}

impl Context {
    /// Begins a run. Settings are read when something needs them: a broken file must not stop an offline command.
    pub(super) fn new(globals: Globals, out: Output) -> Self {
        Self { globals, out }
    }

    /// Reads all layers of settings.
    pub(super) fn settings(&self) -> Result<Settings, CliError> {
        Ok(Settings::load(self.globals.settings(), |name| std::env::var_os(name))?)
    }

    /// Connects without logging in.
    pub(super) async fn connect(&self) -> Result<Client, CliError> {
        self.connect_to(&socket(&self.settings()?)).await
    }

    async fn connect_to(&self, socket: &Path) -> Result<Client, CliError> {
        let mut client = Client::connect(socket).await?;
        client.set_timeout(self.timeout());
        Ok(client)
    }

    /// How long a call may take.
    pub(super) fn timeout(&self) -> Duration {
        self.globals.timeout.unwrap_or(CALL_TIMEOUT)
    }

    /// Connects and logs in.
    pub(super) async fn log_in(&self) -> Result<Client, CliError> {
        Ok(self.log_in_to_sign().await?.0)
    }

    /// Connects and logs in, and keeps what signs for calls that are signed themselves.
    pub(super) async fn log_in_to_sign(&self) -> Result<(Client, Box<dyn Signer>), CliError> {
        let settings = self.settings()?;
        let identity = identity(&settings)?;
        let person: Arc<dyn Person> = if self.globals.no_input { Arc::new(Nobody) } else { Arc::new(Terminal) };
        let signer = self.signer(&settings, person, false)?;
        let pins = self.known_agents(&settings);
        let mut client = self.connect_to(&socket(&settings)).await?;
        let login = Login { identity, client: CLIENT, signer: signer.as_ref(), pins: &pins };
        let proved = client.login(login).await?;
        // For people: a script reads them from whoami.
        if io::stderr().is_terminal() {
            proved.notices.iter().for_each(|notice| self.out.say(&format!("note: {notice}")));
        }
        Ok((client, signer))
    }

    /// How codes are copied.
    pub(super) fn clipboard(&self) -> Result<Provider, CliError> {
        Ok(self.settings()?.clipboard.provider.map_or(Provider::Auto, |provider| match provider {
            ClipboardProvider::Auto => Provider::Auto,
            ClipboardProvider::Native => Provider::Native,
            ClipboardProvider::Tmux => Provider::Tmux,
            ClipboardProvider::Screen => Provider::Screen,
            ClipboardProvider::Osc52 => Provider::Osc52,
            ClipboardProvider::None => Provider::None,
        }))
    }

    /// What the full screen needs. Whatever has to be asked on the terminal, a passphrase or a new agent's key, is asked
    /// here, by logging in once: while the screen is up nothing else may write to the terminal. An agent that is not
    /// running is no reason to stay away: the screen waits for it.
    pub(super) async fn screen(&self) -> Result<Options, CliError> {
        let settings = self.settings()?;
        let identity = identity(&settings)?.clone();
        let person = Arc::new(BeforeScreen::new(self.globals.no_input));
        let signer = self.signer(&settings, Arc::clone(&person) as Arc<dyn Person>, true)?;
        let socket = socket(&settings);
        match Client::connect(&socket).await {
            Ok(mut client) => {
                let pins = self.known_agents(&settings);
                let login = Login { identity: &identity, client: CLIENT, signer: signer.as_ref(), pins: &pins };
                client.login(login).await?;
            }
            Err(ConnectError::NotRunning { .. } | ConnectError::Refused { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let theme = settings.theme.and_then(|theme| match theme {
            Theme::Auto => None,
            Theme::Dark => Some(Choice::Dark),
            Theme::Light => Some(Choice::Light),
            Theme::Mono => Some(Choice::Mono),
        });
        let pins = Box::new(KnownAgents::new(Some(KnownAgents::SYSTEM_FILE.into()), user_pins(&settings)));
        let setup = Setup { theme, clipboard: self.clipboard()?, clock: Arc::new(Timestamp::now) };
        person.leave();
        Ok(Options { socket, identity, signer, pins, setup })
    }

    /// The signer for the login. A passphrase is asked for on the terminal even when standard input is a pipe; now, or
    /// when something is signed.
    fn signer(&self, settings: &Settings, person: Arc<dyn Person>, ask_now: bool) -> Result<Box<dyn Signer>, CliError> {
        let ssh_auth_sock = std::env::var_os("SSH_AUTH_SOCK");
        let wish = Wish {
            key: settings.key.as_deref(),
            ssh_auth_sock: ssh_auth_sock.as_deref(),
            sign_command: self.globals.sign_cmd.as_deref(),
            ask_now,
        };
        choose(wish, person).map_err(|error| match error {
            ChooseError::Passphrase(error) => LoginError::Sign(error).into(),
            error => {
                CliError::usage(chain(&error)).hint("--key FILE does the same as STRONGROOM_KEY; see strongroom --help")
            }
        })
    }

    fn known_agents(&self, settings: &Settings) -> KnownAgents {
        let known = KnownAgents::new(Some(KnownAgents::SYSTEM_FILE.into()), user_pins(settings));
        if self.globals.accept_new_agent {
            known.ask(|_| true)
        } else if self.may_ask() {
            known.ask(|newcomer: Newcomer<'_>| {
                ask(&format!(
                    "The agent at {} is not known yet. Its key is {}.\n\
                     Is this what strongroom-agent shows on its machine?",
                    newcomer.socket.display(),
                    newcomer.fingerprint
                ))
            })
        } else {
            known
        }
    }

    /// True if a person can be asked.
    pub(super) fn may_ask(&self) -> bool {
        !self.globals.no_input && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Lets a person confirm what cannot be taken back.
    ///
    /// # Errors
    /// [`CliError::cancelled`] on anything but a yes; [`CliError::usage`] if nobody can be asked and `yes` is not set.
    pub(super) fn confirm(&self, yes: bool, consequence: &str) -> Result<(), CliError> {
        if yes {
            Ok(())
        } else if !self.may_ask() {
            Err(CliError::usage(format!("{consequence} This needs a confirmation.")).hint("add --yes if you mean it"))
        } else if ask(consequence) {
            Ok(())
        } else {
            Err(CliError::cancelled())
        }
    }
}

/// The user's file of trusted agents.
fn user_pins(settings: &Settings) -> Option<PathBuf> {
    let beside_settings = || user_folder(&|name| std::env::var_os(name)).map(|folder| folder.join("known_agents"));
    settings.known_agents.clone().or_else(beside_settings)
}

fn identity(settings: &Settings) -> Result<&Slug, CliError> {
    settings.identity.as_ref().ok_or_else(|| {
        CliError::usage("It is not said who logs in.")
            .hint("use --identity SLUG, STRONGROOM_IDENTITY, or identity = \"…\" in ~/.config/strongroom/config.toml")
    })
}

/// The socket of the agent.
fn socket(settings: &Settings) -> PathBuf {
    let named = settings.socket.as_ref().map(|path| path.as_os_str());
    socket_path(named, std::env::var_os("XDG_RUNTIME_DIR").as_deref())
}

/// The person at the key when nobody may be asked, as under `--no-input`.
struct Nobody;

impl Person for Nobody {
    fn touch(&self, _key: &str) {}

    fn passphrase(&self, _question: &str) -> io::Result<Zeroizing<String>> {
        Err(io::Error::other("nothing may be asked now"))
    }
}

/// The person at the terminal until the screen opens. Afterwards a question or a hint would be written into the picture,
/// and the answer would be taken for keys.
struct BeforeScreen {
    is_over: AtomicBool,
}

impl BeforeScreen {
    const fn new(no_input: bool) -> Self {
        Self { is_over: AtomicBool::new(no_input) }
    }

    fn leave(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }
}

impl Person for BeforeScreen {
    fn touch(&self, key: &str) {
        if !self.is_over.load(Ordering::SeqCst) {
            Terminal.touch(key);
        }
    }

    fn passphrase(&self, question: &str) -> io::Result<Zeroizing<String>> {
        if self.is_over.load(Ordering::SeqCst) { Nobody.passphrase(question) } else { Terminal.passphrase(question) }
    }
}

/// Asks on standard error; only a spelt-out yes is one.
fn ask(question: &str) -> bool {
    let mut stderr = std::io::stderr().lock();
    let mut answer = String::new();
    let asked = write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush());
    asked.is_ok() && std::io::stdin().read_line(&mut answer).is_ok() && is_yes(&answer)
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(no_input: bool) -> Context {
        let globals = Globals { no_input, ..Globals::default() };
        let out = Output { json: false, quiet: false, terminal: false, color: false };
        Context { globals, out }
    }

    #[test]
    fn without_a_terminal_only_the_flag_confirms() {
        let context = context(true);
        assert_eq!(context.confirm(true, "Everything goes."), Ok(()));
        let error = context.confirm(false, "Everything goes.").unwrap_err();
        assert_eq!((error.code, error.hint.as_deref()), (2, Some("add --yes if you mean it")));
    }

    #[test]
    fn only_a_yes_is_a_yes() {
        for (answer, yes) in
            [("y\n", true), ("Yes\r\n", true), ("\n", false), ("", false), ("n", false), ("yep", false)]
        {
            assert_eq!(is_yes(answer), yes, "{answer:?}");
        }
    }

    #[test]
    fn a_login_without_a_name_is_a_usage_error() {
        assert_eq!(identity(&Settings::default()).unwrap_err().code, 2);
    }
}
