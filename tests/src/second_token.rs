//! An organisation with a token to spare: two SoftHSM tokens beside each other, either of which a test can take away. They are
//! SoftHSM's on whatever token the suite runs: what is shown is what the agent does with two.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use strongroom_proto::client::{CallError, Client};
use strongroom_proto::error::ErrorKind;
use strongroom_proto::method::account::Row;
use strongroom_proto::method::agent::{Health, Status, StatusResult};
use strongroom_proto::method::code::Release;
use strongroom_proto::words::{Algorithm, OrgRole, OtpKind, Scheme};

use crate::ceremony::{TwoPeople, hotp};
use crate::clients::{SLOW_S, codes_between};
use crate::organisation::{Organisation, import, row};
use crate::people::{KNOWN_AGENTS, Person};
use crate::seeds::RFC_SHA1;
use crate::token::Kind;
use crate::tools;

/// The vaults, one of each scheme.
pub const VAULTS: [(&str, Scheme); 2] = [("acme", Scheme::Resident), ("bluewater", Scheme::Derived)];
/// How long anything may take that the agent does by itself: its pauses grow to 30 s.
const PATIENCE: Duration = Duration::from_secs(60);
const LABEL: &str = "strongroom-second";
const PIN: &str = "pin-8420-second";

/// The organisation, and where its tokens are.
pub struct TwoTokens {
    /// The organisation with two people and a technician.
    pub people: TwoPeople,
    /// Another admin: from then on two people sign.
    pub bea: Person,
    folders: [PathBuf; 2],
    counter: u64,
}

/// One of the two tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// That of `[token]`.
    First,
    /// That of `[second_token]`.
    Second,
}

/// An account with a window so long that a test hardly ever meets its end.
#[must_use]
pub fn slow(name: &str) -> Row {
    Row { period_s: SLOW_S, ..row(name, OtpKind::Totp, Algorithm::Sha1, 6, RFC_SHA1) }
}

impl TwoTokens {
    /// Founds it: two vaults with a time-based and a counter account each, two admins, and a second token that is
    /// initialised and stands in the configuration, but has not joined.
    ///
    /// # Panics
    /// If any step fails.
    pub async fn found() -> Self {
        let mut people = TwoPeople::found_on(Some(Kind::SoftHsm), &VAULTS).await;
        let bea = people.organisation.enrol(&mut people.admin, "bea", &[OrgRole::Admin]).await;
        drop(bea.connect().await);
        let mut manager = people.manager.connect().await;
        for (vault, _) in VAULTS {
            let counted = row("counted", OtpKind::Hotp, Algorithm::Sha1, 6, RFC_SHA1);
            import(&mut manager, vault, vec![slow("slow"), counted]).await;
        }
        let first = token_folders(&people.organisation).pop().expect("the first token has a folder");
        people.organisation.running().stop();
        initialise(&people.organisation, LABEL, PIN);
        let second = token_folders(&people.organisation).into_iter().find(|folder| *folder != first);
        let second = second.expect("the second token has a folder");
        let root = people.organisation.root().to_owned();
        tools::write_private(&root.join("pin-2"), &format!("{PIN}\n"));
        let section = format!(
            "\n[second_token]\nmodule = \"{}\"\nlabel = \"{LABEL}\"\nstorage = \"{}\"\npin = {{ file = \"{}\" }}\n",
            people.organisation.token.module.display(),
            people.organisation.tokens().display(),
            root.join("pin-2").display()
        );
        let config = std::fs::read_to_string(&people.organisation.launch.config).expect("the test wrote it");
        tools::write_private(&people.organisation.launch.config, &(config + &section));
        people.organisation.start();
        people.admin = people.organisation.admin.connect().await;
        Self { people, bea, folders: [first, second], counter: 0 }
    }

    /// As [`Self::found`], with the second token joined and its key pinned.
    pub async fn joined() -> Self {
        let mut house = Self::found().await;
        house.join();
        house.people.admin = house.people.organisation.admin.connect().await;
        house
    }

    /// Lets the second token join by both admins, pins its key and starts the agent.
    ///
    /// # Panics
    /// If the agent refuses.
    pub fn join(&mut self) {
        let approvals = self.plan(&["token-join"]);
        self.people.organisation.running().stop();
        let output = self.run_signed(&["token-join"], &approvals, true);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        self.pin_also(text.lines().last().expect("it prints the line for known_agents"));
        self.people.organisation.start();
    }

    /// Adds a line to what clients have pinned.
    ///
    /// # Panics
    /// If the file is gone.
    pub fn pin_also(&self, line: &str) {
        let path = self.people.organisation.root().join(KNOWN_AGENTS);
        let pins = std::fs::read_to_string(&path).expect("init was run");
        tools::write_private(&path, &format!("{pins}{line}\n"));
    }

    /// Where plans are written.
    #[must_use]
    pub fn plan_file(&self) -> PathBuf {
        self.people.organisation.root().join("token-plan")
    }

    /// Has a plan written and both admins sign it: their approvals.
    ///
    /// # Panics
    /// If it is refused.
    #[must_use]
    pub fn plan(&self, command: &[&str]) -> Vec<String> {
        let plan = self.plan_file().display().to_string();
        let output =
            tools::output(&mut self.people.organisation.launch.command(&[command, &["--plan", &plan]].concat()));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        [&self.people.organisation.admin, &self.bea].map(|person| self.sign(person)).to_vec()
    }

    /// Somebody's approval of the plan, signed offline.
    ///
    /// # Panics
    /// If ssh-keygen refuses.
    #[must_use]
    pub fn sign(&self, person: &Person) -> String {
        let copy = self.people.organisation.root().join(format!("token-plan-{}", person.slug));
        std::fs::copy(self.plan_file(), &copy).expect("the plan was written");
        let (key, copy) = (person.key.display().to_string(), copy.display().to_string());
        let _ = std::fs::remove_file(format!("{copy}.sig"));
        tools::run("ssh-keygen", &["-q", "-Y", "sign", "-n", "strongroom-ceremony@v1", "-f", &key, &copy]);
        format!("{}={copy}.sig", person.slug)
    }

    /// A command of the agent with a signed plan; with the recovery key on standard input if it needs one.
    #[must_use]
    pub fn signed(&self, command: &[&str], approvals: &[String], with_key: bool) -> Command {
        let plan = self.plan_file().display().to_string();
        let mut arguments = [command, &["--plan", &plan]].concat();
        arguments.extend(approvals.iter().flat_map(|approval| ["--approval", approval.as_str()]));
        if with_key {
            arguments.extend(["--recovery-key", "-"]);
        }
        self.people.organisation.launch.command(&arguments)
    }

    /// Runs such a command to its end.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn run_signed(&self, command: &[&str], approvals: &[String], with_key: bool) -> Output {
        let mut command = self.signed(command, approvals, with_key);
        let key = std::fs::File::open(self.people.recovery.file()).expect("age-keygen wrote it");
        command.stdin(key).output().expect("the agent can be started")
    }

    /// Takes a token away: its folder is gone from under the module, as a device that was unplugged.
    ///
    /// # Panics
    /// If it is away already.
    pub fn take_away(&self, token: Token) {
        let folder = &self.folders[token as usize];
        std::fs::rename(folder, self.safe(folder)).expect("the token was there");
    }

    /// Brings a token back.
    ///
    /// # Panics
    /// If it was not away.
    pub fn bring_back(&self, token: Token) {
        let folder = &self.folders[token as usize];
        std::fs::rename(self.safe(folder), folder).expect("the token was away");
    }

    fn safe(&self, folder: &Path) -> PathBuf {
        let name = folder.file_name().expect("a token's folder has a name");
        self.people.organisation.root().join("safe-".to_owned() + &name.to_string_lossy())
    }

    /// How many objects with content a token holds.
    #[must_use]
    pub fn objects(&self, token: Token) -> usize {
        let folder = self.folders[token as usize].display().to_string();
        let find = [folder.as_str(), "-name", "*.object", "!", "-name", "token.object", "-size", "+600c"];
        tools::run("find", &find).lines().count()
    }

    /// What the agent says of itself.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn status(&self) -> StatusResult {
        let mut client = Client::connect(&self.people.organisation.launch.socket).await.expect("the agent listens");
        client.call(&Status {}).await.expect("the agent says how it is")
    }

    /// Waits until a token serves, or does not, and whether the second one has every seed.
    ///
    /// # Panics
    /// If it does not come to that.
    pub async fn wait_for(&mut self, token: Token, serves: bool, complete: bool) {
        let begun = Instant::now();
        loop {
            let status = self.status().await;
            let second = status.second_token.expect("a second token has joined");
            let health = if token == Token::First { status.token } else { second.health };
            if (health == Health::Ok) == serves && second.complete == complete {
                return;
            }
            let log = self.people.organisation.running().log();
            assert!(begun.elapsed() < PATIENCE, "{token:?} serves {serves}, complete {complete}: {log}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Takes one code of every account of the two vaults: each must be the right one, at once.
    ///
    /// # Panics
    /// If one is wrong, late or refused.
    pub async fn codes_are_right(&mut self) {
        let mut client = self.people.tech.connect().await;
        for (vault, _) in VAULTS {
            take(&mut client, &format!("{vault}/slow")).await.unwrap_or_else(|kind| panic!("{vault}: {kind}"));
            let (code, counter) = release(&mut client, &format!("{vault}/counted")).await.expect("a counter's code");
            assert_eq!(counter, Some(self.counter), "{vault}: counters are used once, whichever token is asked");
            assert_eq!(code, hotp(RFC_SHA1, self.counter, 6), "{vault}");
        }
        self.counter += 1;
    }
}

/// Takes a code of an account of [`slow`], which must be the one that `oathtool` computes.
///
/// # Errors
/// The agent's refusal.
///
/// # Panics
/// If it is wrong or late.
pub async fn take(client: &mut Client, account: &str) -> Result<(), ErrorKind> {
    let (from, begun) = (Timestamp::now(), Instant::now());
    let (code, _) = release(client, account).await?;
    assert!(codes_between(SLOW_S, from, Timestamp::now()).contains(&code), "a wrong code came out of {account}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{account} took {:?}", begun.elapsed());
    Ok(())
}

async fn release(client: &mut Client, account: &str) -> Result<(String, Option<u64>), ErrorKind> {
    let account = account.parse().expect("the test writes addresses");
    let release = Release { account, reason: None, ticket: None, min_remaining_s: None, step_up: None };
    match client.call(&release).await {
        Ok(released) => Ok((released.code.to_string(), released.counter)),
        Err(CallError::Failure(failure)) => Err(failure.kind),
        Err(other) => panic!("{other}"),
    }
}

/// Initialises a further token in the organisation's storage.
///
/// # Panics
/// If softhsm2-util fails.
pub fn initialise(organisation: &Organisation, label: &str, pin: &str) {
    let mut command = Command::new("softhsm2-util");
    command.args(["--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", "so-5520"]);
    let environment = organisation.launch.token_environment.iter().map(|(name, value)| (name, value));
    let output = tools::output(command.envs(environment));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The folders of the tokens that are there.
///
/// # Panics
/// If there is no storage.
#[must_use]
pub fn token_folders(organisation: &Organisation) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(organisation.tokens()).expect("the token's storage is there");
    entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}
