//! The floors: what one operation takes on the token alone, and one commit on the disk alone. They are measured in a
//! child process of their own, so that the same modelled disk can be put below it and below the agent.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use anyhow::Context as _;
use rusqlite::Connection;
use strongroom_agent::keystore::pkcs11::{Pkcs11Keystore, TokenConfig, TokenProfile};
use strongroom_agent::keystore::{Keystore, KeystoreError, SealedSeed, Seed, SeedContext, VaultKey};
use strongroom_proto::ids::{AccountId, OrgId, VaultId};
use strongroom_proto::words::{Algorithm, OtpKind, Scheme};

use super::figures::Latency;
use super::say;
use crate::organisation::PIN;
use crate::seeds::RFC_SHA1;
use crate::token::TestToken;

/// The argument that makes this program the child.
pub(super) const CHILD: &str = "--measure-floors";
const FOLDER: &str = "STRONGROOM_BENCH_FLOORS";

/// The child process, asked round by round.
pub(super) struct Floors {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    _token: TestToken,
}

impl Floors {
    /// Makes a token and a fresh database file in the folder, and starts the child on them.
    pub(super) fn start(folder: &Path, preload: Option<&Path>) -> anyhow::Result<Self> {
        let token = TestToken::make(folder, PIN);
        let mut child = Command::new(std::env::current_exe()?);
        child.arg(CHILD).envs(token.environment.iter().cloned()).env(FOLDER, folder);
        if let Some(preload) = preload {
            child.env("LD_PRELOAD", preload);
        }
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let questions = child.stdin.take().context("the child has a standard input")?;
        let answers = BufReader::new(child.stdout.take().context("the child has a standard output")?);
        Ok(Self { child, questions, answers, _token: token })
    }

    /// Operations on the token, directly through the keystore.
    pub(super) fn token(&mut self, scheme: Scheme, count: usize) -> anyhow::Result<Latency> {
        self.ask(&format!("{scheme} {count} 0"))
    }

    /// Commits of one record each.
    pub(super) fn commits(&mut self, count: usize, record_len: usize) -> anyhow::Result<Latency> {
        self.ask(&format!("commit {count} {record_len}"))
    }

    fn ask(&mut self, question: &str) -> anyhow::Result<Latency> {
        writeln!(self.questions, "{question}")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let mut figures = line.split_whitespace().map(str::parse::<f64>);
        match (figures.next(), figures.next()) {
            (Some(Ok(p50_us)), Some(Ok(p99_us))) => Ok(Latency { p50_us, p99_us }),
            _ => anyhow::bail!("the floors could not be measured: {line:?}"),
        }
    }
}

impl Drop for Floors {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The child: reads questions, answers p50 and p99 in µs.
pub(super) fn serve() -> anyhow::Result<()> {
    let folder = PathBuf::from(std::env::var_os(FOLDER).context("the floors are measured by a parent")?);
    let token = TestToken::at(&folder, PIN);
    let config = TokenConfig {
        module: token.module.clone(),
        storage: token.storage.clone(),
        ..TokenConfig::new(TokenProfile::find(&token.kind.profile())?, &token.label)
    };
    let pin = token.pin.as_str().into();
    match Pkcs11Keystore::provision(&config, &pin) {
        // Somebody's own module has its keys since the first test.
        Ok(()) | Err(KeystoreError::Exists { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let keystore = Pkcs11Keystore::open(&config, &pin)?;
    let (resident, derived) = (Sealed::make(&keystore, Scheme::Resident)?, Sealed::make(&keystore, Scheme::Derived)?);
    let commits = Commits::open(&folder.join("floor.sqlite"))?;
    for line in std::io::stdin().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let [what, count, len] = words.as_slice() else { anyhow::bail!("not a question: {line:?}") };
        let (count, len) = (count.parse()?, len.parse()?);
        let latency = match *what {
            "commit" => commits.time(count, len)?,
            "derived" => derived.time(&keystore, count)?,
            _ => resident.time(&keystore, count)?,
        };
        say(&format!("{} {}", latency.p50_us, latency.p99_us));
    }
    Ok(())
}

/// A seed on the token.
struct Sealed {
    key: VaultKey,
    context: SeedContext,
    sealed: SealedSeed,
}

impl Sealed {
    fn make(keystore: &dyn Keystore, scheme: Scheme) -> anyhow::Result<Self> {
        let key = keystore.create_vault_key(VaultId::random(), 1, scheme)?;
        let context = SeedContext {
            store: OrgId::random(),
            vault: key.vault,
            account: AccountId::random(),
            kind: OtpKind::Totp,
            algorithm: Algorithm::Sha1,
            digits: 6,
            period_s: 30,
            revision: 1,
        };
        let sealed = keystore.seal(&key, &context, &Seed::new(RFC_SHA1.to_vec())?)?;
        Ok(Self { key, context, sealed })
    }

    fn time(&self, keystore: &dyn Keystore, count: usize) -> anyhow::Result<Latency> {
        time(count, |counter| {
            keystore.otp_mac(&self.key, &self.context, &self.sealed, counter).map(drop).map_err(Into::into)
        })
    }
}

/// The least that a durable append can be in this kind of store: one row, one commit, write-ahead log, full sync.
struct Commits(Connection);

impl Commits {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let connection = Connection::open(path)?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE record (seq INTEGER PRIMARY KEY, record TEXT NOT NULL) STRICT;",
        )?;
        Ok(Self(connection))
    }

    fn time(&self, count: usize, len: usize) -> anyhow::Result<Latency> {
        let record = "r".repeat(len);
        let mut append = self.0.prepare("INSERT INTO record (record) VALUES (?1)")?;
        time(count, |_| append.execute([&record]).map(|_| ()).map_err(Into::into))
    }
}

fn time(count: usize, mut work: impl FnMut(u64) -> anyhow::Result<()>) -> anyhow::Result<Latency> {
    let mut times = Vec::with_capacity(count);
    for round in 0..count as u64 {
        let begun = Instant::now();
        work(round)?;
        times.push(begun.elapsed());
    }
    Ok(Latency::of(times))
}
