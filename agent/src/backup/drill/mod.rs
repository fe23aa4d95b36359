//! `strongroom-agent drill`: proves that the newest backup brings the codes back. It is restored into a throw-away store and,
//! where the backup holds the token's files, a throw-away token in another process; what that token makes of every sampled
//! seed is compared with the live token, and so is what the recovery copy makes of it. No code is ever printed or passed on:
//! the two sides compare keyed digests under a key that lives for this run.

mod evidence;
mod probe;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use jiff::Timestamp;
use strongroom_proto::agent_key::AgentKey;
use strongroom_proto::audit::export::Pin;
use strongroom_proto::ids::AccountId;
use strongroom_proto::words::OtpKind;
use zeroize::Zeroizing;

pub(super) use self::evidence::all as all_evidence;
pub use self::evidence::{EVIDENCE_NAMESPACE, Evidence, evidence_at, newest_good};
pub use self::probe::{Asked, Question, answer};
use super::archive::{ANCHORS, STORE, TOKEN_FOLDER, unpack};
use super::beside::open_token;
use super::files::{Workplace, create_new, make_private_dir, sha256_of, write_new};
use super::manifest::{LogLine, Manifest, TokenMaterial};
use super::names::backups_in;
use super::recover::software_mac;
use crate::audit::anchor::{Anchor, Anchors};
use crate::config::Config;
use crate::keystore::worker::blocking::BlockingWorker;
use crate::keystore::{Keystore, StoreKeys};
use crate::otp::window_at;
use crate::recovery::{RecoveryIdentity, open_copy, open_store_keys_copy, store_keys_signer};
use crate::state::State;
use crate::state::rows::Account;
use crate::store::sealer::Sealer;
use crate::store::sqlite::Snapshot;

/// How many accounts are compared.
#[derive(Clone, Copy, Debug)]
pub enum Sample {
    /// So many, drawn by lot.
    Some(usize),
    /// All.
    All,
}

/// The live side: what the running agent's token makes of its seeds.
struct Live {
    keystore: BlockingWorker,
    agent_key: AgentKey,
    state: State,
}

/// Runs a drill on the newest backup of a folder and writes its evidence beside it.
///
/// # Errors
/// If there is no backup, or the drill cannot be carried out. A backup that does not bring the codes back is no error here:
/// the evidence says so.
pub fn drill(
    config: &Config,
    folder: &Path,
    sample: Sample,
    identity: &RecoveryIdentity,
) -> anyhow::Result<(Evidence, std::path::PathBuf)> {
    let (_, archive) =
        backups_in(folder, Timestamp::now())?.pop().with_context(|| format!("{} holds no backup", folder.display()))?;
    crate::os::check_private_dir(&config.data_dir).map_err(|flaw| anyhow::anyhow!(flaw))?;
    let work = Workplace::new(config.data_dir.join("drill.work"))?;
    let (archive_sha256, _) = sha256_of(&archive)?;
    let keystore = open_token(config)?;
    let agent_key = AgentKey::from_point(keystore.identity_key())?;

    let opened = work.path().join("opened");
    make_private_dir(&opened)?;
    let manifest = unpack(&archive, identity, Some(&Pin::from(agent_key)), &opened)?;
    let mut failures = Vec::new();
    let backup_ends: Vec<LogLine> =
        Snapshot::open(&opened.join(STORE))?.log_ends()?.iter().map(LogLine::from).collect();
    if backup_ends != manifest.logs {
        failures.push("the logs do not come to the manifest's roots".to_owned());
    }
    let live = live(config, keystore, agent_key, &work, &manifest, &mut failures)?;

    let restored = {
        let store = Snapshot::open(&opened.join(STORE))?;
        let meta = store.meta()?;
        let keys = live.keystore.open_store_keys(meta.org, &meta.sealed_store_keys)?;
        failures.extend(store_keys_flaw(&store, &keys, &live.agent_key, identity)?);
        store.load(&Sealer::new(meta.org, keys), &Anchors::read(&opened.join(ANCHORS))?)?
    };
    for flaw in restored.sealed.values() {
        failures.push(format!("the backup's store does not match its logs: {flaw}"));
    }
    let now = Timestamp::now();
    let mut nonce = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *nonce).map_err(|_| anyhow::anyhow!("the system has no randomness"))?;
    let asked = draw(&live.state, &restored, sample, now)?;
    let expected = live_digests(&live, &asked, &nonce)?;

    let by_token = match manifest.token_material {
        TokenMaterial::Elsewhere => None,
        TokenMaterial::SoftHsm2 => {
            let got =
                throw_away(config, &work, &opened, &Question { nonce: hex::encode(*nonce), accounts: asked.clone() })?;
            Some(compare("token", &asked, &expected, &got, &mut failures))
        }
    };
    let copies = copy_digests(&restored, identity, &asked, &nonce, &mut failures);
    let with_copy: Vec<Asked> = asked.iter().filter(|one| copies.contains_key(&one.account)).cloned().collect();
    let by_copy = compare("recovery copy", &with_copy, &expected, &copies, &mut failures);

    let evidence = Evidence {
        format: evidence::FORMAT.to_owned(),
        made_at: now,
        passed: failures.is_empty() && by_token.is_none_or(|right| right == asked.len() as u64),
        organisation: manifest.organisation,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        agent_key: live.agent_key.openssh(),
        token: live.keystore.token().to_string(),
        backup: archive.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        backup_sha256: archive_sha256,
        backup_at: manifest.made_at,
        accounts_in_backup: restored.accounts.len() as u64,
        accounts_live: live.state.accounts.len() as u64,
        compared: asked.len() as u64,
        right_by_token: by_token,
        copies_compared: with_copy.len() as u64,
        right_by_copy: by_copy,
        failures,
        logs: manifest.logs,
    };
    let path = evidence.write(folder, &live.agent_key, |digest| live.keystore.sign(digest))?;
    Ok((evidence, path))
}

/// What is wrong with the backup's recovery copy of the store keys: without a good one no other token can take the store over,
/// however good the copies of the seeds are.
fn store_keys_flaw(
    store: &Snapshot,
    keys: &StoreKeys,
    agent_key: &AgentKey,
    identity: &RecoveryIdentity,
) -> anyhow::Result<Option<String>> {
    let org = store.meta()?.org;
    let flaw = |flaw: &str| Ok(Some(format!("the recovery copy of the store keys {flaw}")));
    let Some(copy) = store.store_keys_copy()? else { return flaw("is missing") };
    match store_keys_signer(org, &copy.recipients, &copy.copy, &copy.signature) {
        Some(signer) if signer == *agent_key => {}
        _ => return flaw("is not signed by this agent's key: recover would refuse it"),
    }
    match open_store_keys_copy(identity, org, &copy.copy) {
        Ok(copied) if copied.tags() == keys.tags() && copied.names() == keys.names() => Ok(None),
        Ok(_) => flaw("holds other keys than the token opens"),
        Err(error) => flaw(&format!("does not open: {error}")),
    }
}

/// Reads the live store as of now. Its logs must go on from where the backup's ended.
fn live(
    config: &Config,
    keystore: BlockingWorker,
    agent_key: AgentKey,
    work: &Workplace,
    manifest: &Manifest,
    failures: &mut Vec<String>,
) -> anyhow::Result<Live> {
    let mut anchors = Anchors::read(&work.path().join("ends"))?;
    let mut ends = Vec::new();
    for log in &manifest.logs {
        let root = hex::decode(&log.root).ok().and_then(|root| root.try_into().ok()).context("a root")?;
        ends.push((log.origin.clone(), Anchor { size: log.size, root }));
    }
    anchors.advance(ends)?;
    let store = Snapshot::open(&config.store_path())?;
    let meta = store.meta()?;
    let keys = keystore.open_store_keys(meta.org, &meta.sealed_store_keys)?;
    let state = store.load(&Sealer::new(meta.org, keys), &anchors)?;
    for flaw in state.sealed.values() {
        failures.push(format!("the live store does not go on from the backup: {flaw}"));
    }
    Ok(Live { keystore, agent_key, state })
}

/// Draws accounts that are the same in both, with the moving factor at which they are compared.
fn draw(live: &State, restored: &State, sample: Sample, now: Timestamp) -> anyhow::Result<Vec<Asked>> {
    let mut same: Vec<&Account> = restored
        .accounts
        .values()
        .filter(|account| live.accounts.get(&account.id).is_some_and(|other| other.revision == account.revision))
        .collect();
    let wanted = match sample {
        Sample::All => same.len(),
        Sample::Some(number) => number.min(same.len()),
    };
    let mut drawn = Vec::with_capacity(wanted);
    for _ in 0..wanted {
        let mut lot = [0; 8];
        getrandom::fill(&mut lot).map_err(|_| anyhow::anyhow!("the system has no randomness"))?;
        let account = same.swap_remove((u64::from_be_bytes(lot) % same.len().max(1) as u64) as usize);
        let counter = match account.kind {
            // A MAC that is only compared hands out no code and spends no counter.
            OtpKind::Hotp => account.next_counter,
            OtpKind::Totp | OtpKind::Steam => {
                window_at(u64::try_from(now.as_second()).unwrap_or(0), account.period_s)?.counter
            }
        };
        drawn.push(Asked { account: account.id, counter });
    }
    Ok(drawn)
}

fn live_digests(live: &Live, asked: &[Asked], nonce: &[u8; 32]) -> anyhow::Result<BTreeMap<AccountId, String>> {
    asked.iter().map(|one| Ok((one.account, probe::digest_of(&live.keystore, &live.state, one, nonce)?))).collect()
}

/// What the recovery copies in the backup make of it, in software.
fn copy_digests(
    restored: &State,
    identity: &RecoveryIdentity,
    asked: &[Asked],
    nonce: &[u8; 32],
    failures: &mut Vec<String>,
) -> BTreeMap<AccountId, String> {
    let mut digests = BTreeMap::new();
    for one in asked {
        let (Some(row), Some(account)) = (restored.recovery.get(&one.account), restored.accounts.get(&one.account))
        else {
            continue;
        };
        let opened = BASE64_STANDARD.decode(&row.copy).ok().and_then(|copy| open_copy(identity, &copy).ok());
        let mac = opened
            .filter(|(context, _)| *context == account.seed_context(restored.org_id()))
            .and_then(|(_, seed)| software_mac(&seed, account.algorithm, one.counter));
        match mac {
            Some(mac) => {
                digests.insert(one.account, probe::digest(nonce, one, mac.expose()));
            }
            None => failures.push(format!("account {}: its recovery copy does not open", one.account)),
        }
    }
    digests
}

fn compare(
    what: &str,
    asked: &[Asked],
    expected: &BTreeMap<AccountId, String>,
    got: &BTreeMap<AccountId, String>,
    failures: &mut Vec<String>,
) -> u64 {
    let mut right = 0;
    for one in asked {
        if got.get(&one.account).is_some_and(|got| expected.get(&one.account) == Some(got)) {
            right += 1;
        } else {
            failures.push(format!("account {}: the {what} makes another code, or none", one.account));
        }
    }
    right
}

/// Puts store and token files of the backup into a place of their own, and asks this program there, in another process: a
/// PKCS#11 module finds its token once per process.
fn throw_away(
    config: &Config,
    work: &Workplace,
    opened: &Path,
    question: &Question,
) -> anyhow::Result<BTreeMap<AccountId, String>> {
    let data = work.path().join("data");
    make_private_dir(&data)?;
    for name in [STORE, ANCHORS] {
        fs::rename(opened.join(name), data.join(name))?;
    }
    let token = work.path().join("token");
    fs::rename(opened.join(TOKEN_FOLDER), &token)?;
    let conf = work.path().join("softhsm2.conf");
    let text = format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", token.display());
    write_new(&conf, text.as_bytes())?;
    let file = config.file.as_deref().context("the configuration was not read from a file")?;
    let mut child = Command::new(std::env::current_exe()?)
        .arg("--config")
        .arg(file)
        .arg("drill-probe")
        .arg(work.path())
        .env("SOFTHSM2_CONF", &conf)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(create_new(&work.path().join("probe.log"))?)
        .spawn()?;
    let mut input = child.stdin.take().context("the probe's input")?;
    serde_json::to_writer(&mut input, question)?;
    drop(input);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let log = fs::read_to_string(work.path().join("probe.log")).unwrap_or_default();
        let last = log.lines().rev().find(|line| line.starts_with("strongroom-agent:")).unwrap_or_default();
        bail!("the backup could not be opened in a throw-away place: {last}");
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
