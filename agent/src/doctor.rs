//! `strongroom-agent doctor`: every precondition, with what to do where one fails. It changes nothing to stay (the probe's
//! temporary keys are destroyed again), and it presents the PIN once.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use strongroom_proto::ids::Instance;

use crate::audit::anchor::Anchors;
use crate::backup::schedule;
use crate::config::Config;
use crate::keystore::pkcs11::TokenConfig;
use crate::keystore::worker::{Applied, Launcher, PinForWorkers, Sandbox, Workers};
use crate::keystore::{ErrorClass, KeystoreError, VaultKey};
use crate::pin::PinSource;
use crate::state::State;
use crate::store::StoreError;
use crate::store::sealer::Sealer;
use crate::store::sqlite::{Clock, Snapshot, Store, StoreFile};

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Ok,
    /// It holds, but somebody should look.
    Warning,
    /// It does not hold.
    Failed,
    /// It could not be checked because an earlier one failed.
    Skipped,
}

/// One check and what to do about it.
#[derive(Clone, Debug)]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// How it went.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do; empty if nothing.
    pub remedy: String,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, found: found.into(), remedy: String::new() }
    }

    fn failed(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Failed, found: found.into(), remedy: remedy.into() }
    }

    fn warning(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warning, found: found.into(), remedy: remedy.into() }
    }

    fn skipped(name: &'static str, why: &str) -> Self {
        Self { name, verdict: Verdict::Skipped, found: why.to_owned(), remedy: String::new() }
    }
}

/// What the checks of one token are called.
struct Names {
    pin: &'static str,
    token: &'static str,
    profile: &'static str,
    worker: &'static str,
    keys: &'static str,
}

const FIRST: Names =
    Names { pin: "PIN source", token: "token", profile: "token profile", worker: "worker", keys: "vault keys" };
const SECOND: Names = Names {
    pin: "second PIN",
    token: "second token",
    profile: "second profile",
    worker: "second worker",
    keys: "second keys",
};

/// Runs all checks, in the order in which a start would meet them.
pub async fn examine(config: &Config) -> Vec<Check> {
    let mut checks = vec![data_dir(&config.data_dir), socket_dir(&config.socket), clock()];
    checks.push(memory_limits());
    checks.push(locked_memory());
    checks.extend(backups(config));
    checks.extend(login(config));
    let file = StoreFile::open(&config.store_path());
    if matches!(file, Err(StoreError::InUse)) {
        checks.push(Check::ok("store", "an agent is running with it: ask it with `strongroom status`"));
        checks.push(Check::skipped("token", "the running agent has the token"));
        return checks;
    }
    if config.lacks_token_storage() {
        checks.push(Check::warning(
            "token folder",
            "a crash at the wrong moment can cost this software token its files",
            "set [token] storage to the directories.tokendir of softhsm2.conf",
        ));
    }
    let first = token(config.token.config(), &config.pin, &FIRST, &mut checks).await;
    let second = match config.second() {
        Some((section, pin)) => token(section, pin, &SECOND, &mut checks).await,
        None => None,
    };
    store(config, file, [first.as_ref(), second.as_ref()], &mut checks).await;
    for workers in first.iter().chain(&second) {
        workers.close().await;
    }
    checks
}

/// Whether backups and drills are made as often as the configuration says.
fn backups(config: &Config) -> Option<Check> {
    const NAME: &str = "backups";
    let Some(folder) = &config.backup.folder else {
        return Some(Check::warning(NAME, "the agent makes none by itself", "set [backup] folder"));
    };
    // Before the store is unlocked its word for the key is good enough to find evidence by: a wrong one finds none.
    let key = Snapshot::open(&config.store_path()).and_then(|store| store.agent_key()).ok()?;
    let overdue = schedule::overdue(config, &key, Timestamp::now());
    Some(if overdue.is_empty() {
        Check::ok(NAME, format!("{}: the newest backup and the last good drill are recent", folder.display()))
    } else {
        Check::warning(NAME, overdue.join("; "), "strongroom-agent backup, strongroom-agent drill")
    })
}

/// Whether what `[login]` names can be used; nothing if it names nothing.
fn login(config: &Config) -> Vec<Check> {
    const CERTIFICATES: &str = "login by certificate";
    const ATTESTATION: &str = "makers of security keys";
    let mut checks = Vec::new();
    let told = |error: &dyn std::error::Error| {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{error}{cause}")
    };
    match config.login.certificates.authorities() {
        Ok(authorities) if !authorities.any() => {}
        Ok(authorities) => checks.push(match authorities.list() {
            Ok(None) => Check::warning(
                CERTIFICATES,
                "there is no list of revoked keys",
                "set [login.certificates] krl: without it a stolen certificate is good to its end",
            ),
            Ok(Some(_)) => Check::ok(CERTIFICATES, "authorities and the list of revoked keys can be read"),
            Err(error) => Check::failed(
                CERTIFICATES,
                told(&error),
                "make the list anew with ssh-keygen -k: until then no certificate logs anybody in",
            ),
        }),
        Err(error) => checks.push(Check::failed(CERTIFICATES, told(&error), "correct [login.certificates]")),
    }
    match config.login.attestation.vendors() {
        Ok(vendors) if !vendors.any() => {}
        Ok(_) => checks.push(Check::ok(ATTESTATION, "their certificates can be read")),
        Err(error) => checks.push(Check::failed(ATTESTATION, told(&error), "correct [login.attestation] roots")),
    }
    checks
}

fn data_dir(path: &Path) -> Check {
    const NAME: &str = "data folder";
    match crate::os::check_private_dir(path) {
        Ok(()) => Check::ok(NAME, path.display().to_string()),
        Err(flaw) => Check::failed(NAME, flaw, format!("install -d -m 0700 -o $(id -un) {}", path.display())),
    }
}

fn socket_dir(socket: &Path) -> Check {
    const NAME: &str = "socket folder";
    let folder = socket.parent().unwrap_or(Path::new("/"));
    let make = format!("install -d -m 0750 -g strongroom {}", folder.display());
    match std::fs::symlink_metadata(folder) {
        Err(error) => Check::failed(NAME, format!("{}: {error}", folder.display()), make),
        Ok(found) if found.permissions().mode() & 0o007 != 0 => Check::failed(
            NAME,
            format!("{} can be entered by everybody", folder.display()),
            format!("chmod 0750 {}", folder.display()),
        ),
        Ok(_) => Check::ok(NAME, folder.display().to_string()),
    }
}

fn clock() -> Check {
    const NAME: &str = "clock";
    // The year this was written: a clock before it is not set at all.
    const EPOCH: i64 = 1_767_225_600;
    let now = Timestamp::now();
    if now.as_second() < EPOCH {
        Check::failed(NAME, now.to_string(), "set the clock and keep it with an NTP client: codes depend on it")
    } else {
        Check::ok(NAME, now.to_string())
    }
}

fn memory_limits() -> Check {
    const NAME: &str = "core dumps";
    if crate::os::harden() {
        Check::ok(NAME, "off for this process, and debuggers are kept out")
    } else {
        Check::warning(NAME, "could not be switched off", "set LimitCORE=0 in the unit")
    }
}

fn locked_memory() -> Check {
    const NAME: &str = "locked memory";
    if crate::os::lock_memory() {
        Check::ok(NAME, "keys stay out of swap")
    } else {
        Check::warning(
            NAME,
            "the limit of locked memory is too small",
            "set LimitMEMLOCK=infinity in the unit, or turn swap off",
        )
    }
}

async fn token(token: &TokenConfig, pin: &PinSource, names: &Names, checks: &mut Vec<Check>) -> Option<Workers> {
    let pin = match PinForWorkers::for_command(pin) {
        Ok(pin) => pin,
        Err(error) => {
            checks.push(Check::failed(names.pin, error.to_string(), error.remedy()));
            checks.push(Check::skipped(names.token, "needs the PIN"));
            return None;
        }
    };
    let workers = match Workers::start_one(Launcher::for_token(pin, token), token, false).await {
        Ok(workers) => workers,
        Err(KeystoreError::NoPin { reason, remedy, .. }) => {
            checks.push(Check::failed(names.pin, reason, remedy));
            checks.push(Check::skipped(names.token, "needs the PIN"));
            return None;
        }
        Err(error) => {
            checks.push(Check::failed(names.token, error.to_string(), token_remedy(token, &error)));
            return None;
        }
    };
    checks.push(Check::ok(names.pin, "readable by the agent only"));
    match workers.health().await {
        Ok(()) => checks.push(Check::ok(names.token, format!("{} answers a canary operation", workers.token()))),
        Err(error) => {
            checks.push(Check::failed(names.token, error.to_string(), token_remedy(token, &error)));
            return None;
        }
    }
    checks.push(probe(&workers, names.profile).await);
    checks.push(sandbox(workers.sandbox(), names.worker));
    Some(workers)
}

fn sandbox(sandbox: &Sandbox, name: &'static str) -> Check {
    let found = format!("files {}, system calls {}", sandbox.files, sandbox.calls);
    if ![&sandbox.files, &sandbox.calls].iter().any(|part| matches!(part, Applied::No(_))) {
        Check::ok(name, found)
    } else {
        Check::warning(
            name,
            found,
            "name the token's folder as [token] storage, and use a kernel with Landlock and seccomp",
        )
    }
}

async fn probe(workers: &Workers, name: &'static str) -> Check {
    let remedy = "run strongroom-agent probe for the whole table; choose another [token] profile or scheme";
    match workers.probe().await {
        Ok(report) if report.passed() => Check::ok(name, report.summary()),
        Ok(report) => Check::failed(name, report.summary(), remedy),
        Err(error) => Check::failed(name, error.to_string(), remedy),
    }
}

fn token_remedy(token: &TokenConfig, error: &KeystoreError) -> String {
    let label = token.selector.label.as_deref().unwrap_or("strongroom");
    match (error, error.class()) {
        (KeystoreError::Unproven { .. }, _) => {
            "run strongroom-agent probe for the whole table; choose another [token] profile or schemes".to_owned()
        }
        (KeystoreError::PinForm { .. }, _) => "correct the PIN, or [token] profile".to_owned(),
        (KeystoreError::KeyMissing { .. }, _) if token.profile.keys.provisioned => {
            "make the token's own keys with its tool: the head of the profile says how".to_owned()
        }
        (KeystoreError::Module { .. }, _) => {
            "install the token's PKCS#11 module (SoftHSM on Debian: apt-get install softhsm2) or correct [token] module"
                .to_owned()
        }
        (KeystoreError::NoToken { .. }, _) if token.profile.softhsm_folder => format!(
            "make it with `softhsm2-util --init-token --free --label {label}`, or correct [token] label; \
             with several of one label give serial"
        ),
        (KeystoreError::NoToken { .. }, _) => {
            "correct [token] label, serial or uri; is the token's service reachable?".to_owned()
        }
        (_, ErrorClass::Pin) => {
            "correct the PIN before the next start: most tokens lock after three wrong ones".to_owned()
        }
        (_, ErrorClass::KeyMissing) => {
            "run strongroom-agent init, or restore the token that this store belongs to".to_owned()
        }
        _ => "check that the token is plugged in and its service runs, then try again".to_owned(),
    }
}

async fn store(
    config: &Config,
    file: Result<StoreFile, StoreError>,
    [first, second]: [Option<&Workers>; 2],
    checks: &mut Vec<Check>,
) {
    const NAME: &str = "store";
    let meta = file.and_then(|file| file.meta().map(|meta| (file, meta)));
    let (file, meta) = match meta {
        Ok(both) => both,
        Err(error) => {
            checks.push(Check::failed(NAME, error.to_string(), "run strongroom-agent init, or restore a backup"));
            return;
        }
    };
    // Either token unlocks the rows, as at a start.
    let (workers, token, sealed) = match (first, second, &meta.second) {
        (Some(first), _, _) => (first, &meta.token, &meta.sealed_store_keys),
        (None, Some(second), Some(known)) => (second, &known.token, &known.sealed_store_keys),
        _ => {
            checks.push(Check::skipped(NAME, "needs the token"));
            return;
        }
    };
    if workers.token().as_str() != token {
        let found = format!("it was made with the token {token}");
        checks.push(Check::failed(NAME, found, "plug in that token, or correct [token]"));
        return;
    }
    let keys = match workers.open_store_keys(meta.org, sealed.clone()).await {
        Ok(keys) => keys,
        Err(error) => {
            checks.push(Check::failed(NAME, error.to_string(), "restore the token that this store belongs to"));
            return;
        }
    };
    let anchors = match Anchors::read(&config.anchor_path()) {
        Ok(anchors) => anchors,
        Err(error) => {
            checks.push(Check::failed("anchors", error.to_string(), "restore the file from the newest copy"));
            return;
        }
    };
    let clock: Clock = Arc::new(Timestamp::now);
    let store = match Store::start(file, Sealer::new(meta.org, keys), Instance::random(), clock, &anchors) {
        Ok(store) => store,
        Err(error) => {
            checks.push(Check::failed(NAME, error.to_string(), "restore a backup"));
            return;
        }
    };
    let view = store.view();
    if view.sealed.is_empty() {
        let found = format!("{} logs match their rows, heads and anchors", view.heads.len());
        checks.push(Check::ok(NAME, found));
    }
    checks.push(retention(config, &view));
    for (log, flaw) in &view.sealed {
        let name = crate::store::tx::origin(&view, *log);
        checks.push(Check::failed(
            NAME,
            format!("{name}: {flaw}"),
            "somebody changed the store: keep a copy as evidence, then restore the newest backup",
        ));
    }
    if let Some(first) = first {
        let keys = view.vault_keys.values().map(|row| row.key.clone()).collect();
        checks.push(vault_keys(keys, first, FIRST.keys, "are in the token").await);
    }
    match (view.joined(), second) {
        (Some(joined), Some(second)) if joined.token == *second.token() => {
            let keys = view.second_keys.values().map(|row| row.key.clone()).collect();
            checks.push(vault_keys(keys, second, SECOND.keys, "of its vault keys are there").await);
            checks.push(on_their_way(view.import_copies.len()));
        }
        (Some(joined), _) => {
            let found = format!("{} serves this store and is not here", joined.token);
            checks.push(Check::warning(SECOND.keys, found, "plug it in, correct [second_token], or let it leave"));
        }
        (None, Some(_)) => {
            let found = "it has not joined this store and serves nobody";
            checks.push(Check::warning(SECOND.keys, found, "strongroom-agent token-join"));
        }
        (None, None) => {}
    }
    store.close().await;
}

/// How long records stay, and what was pruned.
fn retention(config: &Config, state: &State) -> Check {
    const NAME: &str = "retention";
    let months = config.retention.online_months;
    let newest = state.pruned.values().map(|pruned| pruned.at).max();
    let pruned = newest.map_or_else(
        || "nothing was pruned yet".to_owned(),
        |at| {
            format!(
                "{} of {} logs are pruned, last on {}",
                state.pruned.len(),
                state.heads.len(),
                at.strftime("%Y-%m-%d")
            )
        },
    );
    match months {
        0 => Check::ok(NAME, format!("records stay for ever; {pruned}")),
        1..12 => Check::warning(
            NAME,
            format!("records stay for {months} months; {pruned}"),
            "PCI DSS 10.5.1 asks for twelve: set [retention] online_months, or export the logs before",
        ),
        _ => Check::ok(NAME, format!("records stay for {months} months; {pruned}")),
    }
}

fn on_their_way(seeds: usize) -> Check {
    const NAME: &str = "second seeds";
    match seeds {
        0 => Check::ok(NAME, "every seed has reached the second token"),
        seeds => Check::warning(
            NAME,
            format!("{seeds} seeds have not reached the second token"),
            "start the agent with it plugged in",
        ),
    }
}

async fn vault_keys(keys: Vec<VaultKey>, workers: &Workers, name: &'static str, are_there: &str) -> Check {
    let count = keys.len();
    for key in keys {
        if let Err(error) = workers.check_vault_key(key).await {
            return Check::failed(name, error.to_string(), "restore the token's backup: seeds under this key need it");
        }
    }
    Check::ok(name, format!("{count} {are_there} and match their key-check values"))
}
