//! `strongroom-agent`: a few lines that read the command line; the story is in the library.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{ArgGroup, Args, Parser, Subcommand};
use strongroom_agent::audit::state_check::{self, Checked, CheckedStore};
use strongroom_agent::backup::drill::{self, Sample};
use strongroom_agent::backup::emergency::emergency_admin;
use strongroom_agent::backup::make::backup;
use strongroom_agent::backup::read_recovery_key;
use strongroom_agent::backup::recover;
use strongroom_agent::backup::restore::{Request, restore};
use strongroom_agent::doctor::{Verdict, examine};
use strongroom_agent::init::{Founding, init};
use strongroom_agent::keystore::worker::keeper::{self, KeeperLink};
use strongroom_agent::keystore::worker::{Launcher, PinForWorkers, Workers, serve};
use strongroom_agent::pin::PinSource;
use strongroom_agent::run::run;
use strongroom_agent::second::{self, Which};
use strongroom_agent::{config, os};
use strongroom_proto::audit::export::Pin;
use strongroom_proto::ids::Slug;
use tokio_util::sync::CancellationToken;

/// Strongroom's daemon: keeps a key per client vault in a token and gives codes, never seeds.
#[derive(Parser)]
#[command(name = "strongroom-agent", version, about, max_term_width = 100)]
struct Arguments {
    /// The configuration file
    #[arg(long, global = true, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Audit {
    /// Replay every log and compare: whether the rows say what the records say
    ///
    /// Works beside a running agent, which does the same after its start and every day. Presents the PIN once. Exits with 1 if
    /// anything differs or does not match its log.
    CheckState,
}

#[derive(Subcommand)]
enum Command {
    /// Make the token's own keys, the store and the first admin
    #[command(group = ArgGroup::new("recovery").required(true).multiple(true))]
    Init {
        /// Slug of the first admin, for example jana
        #[arg(long, value_name = "SLUG")]
        admin: Slug,
        /// Display name of the first admin
        #[arg(long, value_name = "NAME")]
        admin_name: Option<String>,
        /// The first admin's SSH public key
        #[arg(long, value_name = "FILE.pub")]
        admin_key: PathBuf,
        /// Encrypt a recovery copy of every imported seed to this offline age recipient; may be repeated
        #[arg(long, value_name = "age1...", group = "recovery", conflicts_with = "no_recovery")]
        recovery_recipient: Vec<String>,
        /// Keep no recovery copies: if the token is lost, so is every seed
        #[arg(long, group = "recovery")]
        no_recovery: bool,
    },
    /// Serve
    Run {
        /// Standard input is the socket of the keeper, which has the PIN
        #[arg(long, hide = true)]
        under_keeper: bool,
    },
    /// Serve the token to an agent on standard input; started by the agent itself
    #[command(hide = true)]
    HsmWorker,
    /// Check every precondition and say the remedy
    Doctor,
    /// Look into the trail at the host
    #[command(subcommand)]
    Audit(Audit),
    /// Prove on the token what its profile claims: own templates, the codes of the RFCs, attacks that must fail
    ///
    /// Makes temporary keys and destroys them again. Presents the PIN once. Exits with 1 if anything failed.
    Probe {
        /// Probe against this profile instead of the configuration's: a name, or an absolute path
        #[arg(long, value_name = "PROFILE")]
        profile: Option<String>,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
        /// Probe the token of [second_token]
        #[arg(long)]
        second: bool,
    },
    /// Make one encrypted file of everything but the PIN, beside the running agent
    Backup {
        /// The folder it goes to
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
        /// Run by sh afterwards, with the file's path as "$1"
        #[arg(long, value_name = "CMD")]
        command: Option<String>,
    },
    /// Put a backup onto an empty machine and token
    ///
    /// The configuration is taken from the backup if there is none here and --agent-key pins who signed it.
    Restore {
        /// The backup
        archive: PathBuf,
        #[command(flatten)]
        key: RecoveryKey,
        #[command(flatten)]
        trust: Trust,
    },
    /// Bring a store with recovery copies onto a new token when the old one is dead
    ///
    /// Needs --agent-key: the key of the agent that the store belonged to, as clients have pinned it.
    #[command(group = ArgGroup::new("source").required(true))]
    Recover {
        /// The backup to recover from
        #[arg(group = "source")]
        archive: Option<PathBuf>,
        /// Recover the store in its place: only the token is lost
        #[arg(long, group = "source")]
        store: bool,
        #[command(flatten)]
        key: RecoveryKey,
        #[command(flatten)]
        trust: Trust,
        /// Write the plan that two people sign (ssh-keygen -Y sign -n strongroom-ceremony@v1), and do nothing else; with
        /// --approval: the plan that they signed, at most 7 days old
        #[arg(long, value_name = "FILE")]
        plan: PathBuf,
        /// Somebody's signature over the plan; given twice, for two people
        #[arg(long, value_name = "SLUG=FILE.sig")]
        approval: Vec<String>,
    },
    /// Let the token of [second_token] join: it takes every seed from its recovery copy, and then serves beside the first
    ///
    /// Two people sign the plan. The agent is stopped for the joining itself, not for the plan.
    TokenJoin {
        #[command(flatten)]
        signed: SignedPlan,
        /// Read the recovery key from standard input: "-" is the only place
        #[arg(long, value_name = "-", value_parser = ["-"], requires = "approval")]
        recovery_key: Option<String>,
    },
    /// Let one of two tokens leave the store, with the agent stopped; its vault keys are destroyed if it is here
    TokenLeave {
        /// Which one
        which: Which,
        #[command(flatten)]
        signed: SignedPlan,
    },
    /// Prove that the newest backup brings the codes back, and write signed evidence
    Drill {
        /// The folder of the backups, if not [backup] folder
        #[arg(long, value_name = "DIR")]
        folder: Option<PathBuf>,
        /// Compare so many accounts, drawn by lot
        #[arg(long, value_name = "N", default_value_t = 20, conflicts_with = "all")]
        sample: usize,
        /// Compare all accounts
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        key: RecoveryKey,
    },
    /// The other process of a drill
    #[command(hide = true)]
    DrillProbe {
        /// The drill's working folder
        work: PathBuf,
    },
    /// Make an admin by the recovery key, with the agent stopped: when the last admin is lost
    EmergencyAdmin {
        /// Slug of the admin
        #[arg(long, value_name = "SLUG")]
        admin: Slug,
        /// The admin's SSH public key
        #[arg(long, value_name = "FILE.pub")]
        admin_key: PathBuf,
        #[command(flatten)]
        key: RecoveryKey,
    },
}

/// A plan and what makes it count.
#[derive(Args)]
struct SignedPlan {
    /// Write the plan that two people sign (ssh-keygen -Y sign -n strongroom-ceremony@v1), and do nothing else; with
    /// --approval: the plan that they signed, at most 7 days old
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// Somebody's signature over the plan; given twice, for two people
    #[arg(long, value_name = "SLUG=FILE.sig")]
    approval: Vec<String>,
}

/// Where the recovery key comes from.
#[derive(Args)]
struct RecoveryKey {
    /// Read the recovery key from standard input: "-" is the only place
    #[arg(long = "recovery-key", value_name = "-", value_parser = ["-"], required = true)]
    _from: String,
}

/// What a backup is measured against.
#[derive(Args)]
struct Trust {
    /// The agent key that must have signed: its fingerprint, its line in known_agents or a file that holds either
    #[arg(long, value_name = "KEY")]
    agent_key: Option<String>,
    /// Go on although this machine's anchors vouch for records that the backup does not hold
    #[arg(long)]
    accept_lost_records: bool,
}

impl Trust {
    fn pin(&self) -> anyhow::Result<Option<Pin>> {
        let Some(text) = &self.agent_key else { return Ok(None) };
        let text = if Path::new(text).is_file() { std::fs::read_to_string(text)? } else { text.clone() };
        // A line of known_agents starts with the socket's path.
        let key = text.trim().split_once(" ecdsa-sha2-").map_or(text.clone(), |(_, rest)| format!("ecdsa-sha2-{rest}"));
        Ok(Some(Pin::parse(&key).context("--agent-key")?))
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("STRONGROOM_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .with_writer(std::io::stderr)
        .init();
    if !os::harden() {
        tracing::warn!("core dumps could not be switched off");
    }
    if !os::lock_memory() {
        tracing::warn!("memory is not locked: set LimitMEMLOCK=infinity, or turn swap off");
    }
    match &arguments.command {
        Command::HsmWorker => return serve::run(),
        Command::Run { under_keeper: false } => {
            // With a PIN that must be typed, this process only keeps it: another one serves.
            match keep_typed_pin(&arguments) {
                Ok(None) => {}
                Ok(Some(code)) => return code,
                Err(error) => return failed(&error),
            }
        }
        _ => {}
    }
    let outcome = tokio::runtime::Builder::new_multi_thread()
        // One is enough for what is done between token and store, and a second only wakes up in vain at every frame.
        .worker_threads(1)
        .enable_all()
        .build()
        .context("the runtime cannot start")
        .and_then(|runtime| runtime.block_on(act(arguments)));
    match outcome {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    let hint = "hint: strongroom-agent doctor checks every precondition; hsm-config/agent.example.toml shows the configuration";
    say(&mut std::io::stderr(), &format!("strongroom-agent: {error:#}\n{hint}\n"));
    ExitCode::FAILURE
}

/// Asks for the PIN and stays behind as its keeper, if the configuration says that it is typed.
fn keep_typed_pin(arguments: &Arguments) -> anyhow::Result<Option<ExitCode>> {
    let config = config::Config::read(&arguments.config)?;
    if config.pin != PinSource::Prompt {
        return Ok(None);
    }
    let pin = config.pin.read().context("the PIN cannot be read")?;
    let same: Vec<_> = std::env::args_os().skip(1).collect();
    let ended = keeper::keep(&pin, &same, config.token.config()).context("the agent cannot be started")?;
    Ok(Some(ended.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)))
}

async fn act(arguments: Arguments) -> anyhow::Result<ExitCode> {
    if let Command::Restore { archive, trust, .. } = &arguments.command {
        let (pin, identity) = (trust.pin()?, read_recovery_key()?);
        let request = Request {
            archive,
            config: &arguments.config,
            pin: pin.as_ref(),
            identity: &identity,
            accept_lost_records: trust.accept_lost_records,
        };
        say(&mut std::io::stdout(), &restore(&request)?.report());
        return Ok(ExitCode::SUCCESS);
    }
    if let Command::Recover { archive, trust, plan, approval, .. } = &arguments.command {
        let text = recovering(&arguments.config, archive.as_deref(), trust, plan, approval).await?;
        say(&mut std::io::stdout(), &text);
        return Ok(ExitCode::SUCCESS);
    }
    let config = config::Config::read(&arguments.config)?;
    match arguments.command {
        Command::Restore { .. } | Command::Recover { .. } => Ok(ExitCode::FAILURE),
        Command::Drill { folder, sample, all, .. } => {
            let folder =
                folder.or_else(|| config.backup.folder.clone()).context("say --folder, or set [backup] folder")?;
            let sample = if all { Sample::All } else { Sample::Some(sample) };
            let (evidence, path) = drill::drill(&config, &folder, sample, &read_recovery_key()?)?;
            let mut text = format!(
                "{}: {} of {} accounts compared; {} right by the restored token, {} of {} by recovery copy; {} logs recomputed\n",
                if evidence.passed { "PASSED" } else { "FAILED" },
                evidence.compared,
                evidence.accounts_in_backup,
                evidence.right_by_token.map_or_else(|| "none asked".to_owned(), |right| right.to_string()),
                evidence.right_by_copy,
                evidence.copies_compared,
                evidence.logs.len(),
            );
            for failure in &evidence.failures {
                text.push_str(&format!("  {failure}\n"));
            }
            text.push_str(&format!("evidence {}\n", path.display()));
            say(&mut std::io::stdout(), &text);
            Ok(if evidence.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::DrillProbe { work } => {
            let question: drill::Question = serde_json::from_reader(std::io::stdin().lock())?;
            let answers = drill::answer(config, &work, &question).await?;
            say(&mut std::io::stdout(), &serde_json::to_string(&answers)?);
            Ok(ExitCode::SUCCESS)
        }
        Command::EmergencyAdmin { admin, admin_key, .. } => {
            let line = std::fs::read_to_string(&admin_key)
                .with_context(|| format!("{} cannot be read", admin_key.display()))?;
            let text = emergency_admin(&config, admin, &line, &read_recovery_key()?).await?;
            say(&mut std::io::stdout(), &text);
            Ok(ExitCode::SUCCESS)
        }
        Command::TokenJoin { signed: SignedPlan { plan, approval }, recovery_key } => {
            let text = token_join(&config, &plan, &approval, recovery_key.is_some()).await?;
            say(&mut std::io::stdout(), &text);
            Ok(ExitCode::SUCCESS)
        }
        Command::TokenLeave { which, signed: SignedPlan { plan, approval } } => {
            let text = if approval.is_empty() {
                write_plan(&plan, &second::plan_leave(&config, which).await?)?
            } else {
                second::leave(&config, which, &read_plan(&plan)?, &read_approvals(&approval)?).await?
            };
            say(&mut std::io::stdout(), &text);
            Ok(ExitCode::SUCCESS)
        }
        Command::Backup { to, command } => {
            let made = backup(&config, &to, command.as_deref())?;
            let text = format!("{}\nsha256 {}  {} bytes\n", made.path.display(), made.sha256, made.size);
            say(&mut std::io::stdout(), &text);
            Ok(ExitCode::SUCCESS)
        }
        Command::Init { admin, admin_name, admin_key, recovery_recipient, no_recovery: _ } => {
            let line = std::fs::read_to_string(&admin_key)
                .with_context(|| format!("{} cannot be read", admin_key.display()))?;
            let founding = Founding {
                admin_name: admin_name.unwrap_or_else(|| admin.to_string()),
                admin,
                admin_key: line,
                recovery_recipients: recovery_recipient,
            };
            let founded = init(&config, &founding).await?;
            let text = format!(
                "The organisation is founded. Its agent key is {}.\nClients pin it with this line in known_agents:\n{} {}\n",
                founded.agent_fingerprint,
                config.socket.display(),
                founded.agent_key
            );
            say(&mut std::io::stdout(), &text);
            Ok(ExitCode::SUCCESS)
        }
        Command::HsmWorker => Ok(ExitCode::FAILURE),
        Command::Run { under_keeper } => {
            let pin = if under_keeper {
                PinForWorkers::Keeper(Arc::new(KeeperLink::from_stdin().context("there is no keeper")?))
            } else {
                PinForWorkers::Source(config.pin.clone())
            };
            run(&config, pin, stopped_by_signal()?).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Probe { profile, json, second } => {
            let (section, pin) = if second {
                let section = config.second_token.as_ref().context("the configuration names no second token")?;
                (section, config.second_pin.as_ref().context("the second token has no PIN")?)
            } else {
                (&config.token, &config.pin)
            };
            let token = match profile {
                Some(name) => section.with_profile(&name)?,
                None => section.config().clone(),
            };
            let pin = PinForWorkers::for_command(pin).context("the PIN cannot be read")?;
            let launcher = Launcher::for_token(pin, &token);
            let report = Workers::probe_token(&launcher, &token).await.context("the token cannot be probed")?;
            let text = if json { serde_json::to_string_pretty(&report)? + "\n" } else { report.to_string() };
            say(&mut std::io::stdout(), &text);
            Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Audit(Audit::CheckState) => check_state(&config),
        Command::Doctor => {
            let checks = examine(&config).await;
            let mut text = String::new();
            for check in &checks {
                let word = match check.verdict {
                    Verdict::Ok => "ok     ",
                    Verdict::Warning => "WARNING",
                    Verdict::Failed => "FAILED ",
                    Verdict::Skipped => "skipped",
                };
                text.push_str(&format!("{word} {:<14} {}\n", check.name, check.found));
                if !check.remedy.is_empty() {
                    text.push_str(&format!("        remedy: {}\n", check.remedy));
                }
            }
            say(&mut std::io::stdout(), &text);
            let failed = checks.iter().any(|check| check.verdict == Verdict::Failed);
            Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
    }
}

/// `audit check-state`: whether the rows say what the logs say.
fn check_state(config: &config::Config) -> anyhow::Result<ExitCode> {
    let CheckedStore { checked, sealed } = state_check::check_store(config)?;
    let mut text: String = sealed.iter().map(|flaw| format!("SEALED   {flaw}\n")).collect();
    text.extend(checked.differences.iter().map(|difference| format!("DIFFERS  {difference}\n")));
    let Checked { records, replayed, differences, unreadable } = &checked;
    text.extend(unreadable.iter().map(|(log, unsaid)| format!("UNREAD   {log:?}: {unsaid}: not compared\n")));
    text.push_str(&format!(
        "{records} records read, {replayed} replayed; {} differences between the logs and the rows\n",
        differences.len()
    ));
    say(&mut std::io::stdout(), &text);
    Ok(if sealed.is_empty() && differences.is_empty() && unreadable.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// `token-join`: the plan, or the joining itself.
async fn token_join(
    config: &config::Config,
    plan: &Path,
    approvals: &[String],
    has_key: bool,
) -> anyhow::Result<String> {
    if approvals.is_empty() {
        return write_plan(plan, &second::plan_join(config).await?);
    }
    if !has_key {
        anyhow::bail!("seeds come from their recovery copies: say --recovery-key -");
    }
    let (planned, signed) = (read_plan(plan)?, read_approvals(approvals)?);
    let second::Joined { accounts, known_agents } =
        second::join(config, &read_recovery_key()?, &planned, &signed).await?;
    Ok(format!(
        "The second token has joined: it makes the codes of {accounts} accounts, each compared with the first one's.\n\
         It has an agent key of its own, which the agent speaks with while the first token is away. Clients need this line in \
         known_agents too, beside the one they have:\n{known_agents}\n"
    ))
}

/// Writes a plan down, and says who has to sign it.
fn write_plan(plan: &Path, text: &str) -> anyhow::Result<String> {
    std::fs::write(plan, text).with_context(|| format!("{} cannot be written", plan.display()))?;
    Ok(format!(
        "{text}\nTwo admins or managers sign {} offline, each with a key of theirs that is enrolled:\n  \
         ssh-keygen -Y sign -n {} -f KEY {}\n",
        plan.display(),
        recover::NAMESPACE,
        plan.display()
    ))
}

fn read_plan(plan: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(plan).with_context(|| format!("{} cannot be read", plan.display()))
}

fn read_approvals(approvals: &[String]) -> anyhow::Result<Vec<recover::Approval>> {
    let read = |approval: &String| {
        let (slug, file) = approval.split_once('=').context("--approval is SLUG=FILE.sig")?;
        let signature = std::fs::read_to_string(file).with_context(|| format!("{file} cannot be read"))?;
        anyhow::Ok(recover::Approval { identity: Slug::new(slug)?, signature })
    };
    approvals.iter().map(read).collect()
}

/// `recover`: the plan, or the recovery itself.
async fn recovering(
    config: &Path,
    archive: Option<&Path>,
    trust: &Trust,
    plan: &Path,
    approvals: &[String],
) -> anyhow::Result<String> {
    let signed = read_approvals(approvals)?;
    let pin = trust.pin()?.context(recover::PIN_NEEDED)?;
    let identity = read_recovery_key()?;
    let in_place = if archive.is_none() { Some(config::Config::read(config)?) } else { None };
    let request = archive.map(|archive| Request {
        archive,
        config,
        pin: Some(&pin),
        identity: &identity,
        accept_lost_records: trust.accept_lost_records,
    });
    let source = match (&request, &in_place) {
        (Some(request), _) => recover::Source::Archive(request),
        (None, Some(config)) => recover::Source::InPlace(config, &pin),
        (None, None) => anyhow::bail!("name a backup, or say --store"),
    };
    if approvals.is_empty() {
        return write_plan(plan, &recover::plan(&source, &identity)?);
    }
    let planned = read_plan(plan)?;
    let recovered = recover::recover(&source, &identity, &planned, &signed).await?;
    let mut text = format!("{} accounts are served by the new token.\n", recovered.accounts);
    for lost in &recovered.lost {
        text.push_str(&format!("LOST {lost}: enrol this account anew at its issuer\n"));
    }
    text.push_str(&format!(
        "The agent has a new key. Clients pin it with this line in known_agents, in the place of the old one:\n{}\n",
        recovered.known_agents
    ));
    Ok(text)
}

/// Ends the agent on SIGTERM and SIGINT.
fn stopped_by_signal() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        stopped.cancel();
    });
    Ok(stop)
}

/// Writes to a stream whose reader may have gone: then there is nobody left to tell.
fn say(stream: &mut dyn std::io::Write, text: &str) {
    let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
}
