//! Measures what one operation on the token costs, alone and through the lane: `cargo run --release --example token_floor`.
//!
//! It makes a SoftHSM token in a temporary folder (in memory where there is `/dev/shm`) and prints p50 and p99 in µs.
#![allow(clippy::print_stdout, reason = "printing figures is what this program is for")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use strongroom_agent::keystore::pkcs11::{Pkcs11Keystore, TokenConfig};
use strongroom_agent::keystore::{Keystore, Lane, LaneConfig, SealedSeed, Seed, SeedContext, VaultKey};
use strongroom_proto::ids::{AccountId, OrgId, VaultId};
use strongroom_proto::words::{Algorithm, OtpKind, Scheme};

const MODULES: [&str; 2] = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so"];
const LABEL: &str = "strongroom-floor";
const PIN: &str = "floor-pin-1";
const ROUNDS: usize = 20_000;

fn main() -> Result<()> {
    if let Some(folder) = std::env::var_os("STRONGROOM_FLOOR") {
        return measure(Path::new(&folder));
    }
    // SoftHSM finds its configuration through the environment: a second process gets one of its own.
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let folder = tempfile::tempdir_in(parent)?;
    let (conf, tokens) = (folder.path().join("softhsm2.conf"), folder.path().join("tokens"));
    std::fs::create_dir(&tokens)?;
    std::fs::write(&conf, format!("directories.tokendir = {}\n", tokens.display()))?;
    let init = Command::new("softhsm2-util")
        .env("SOFTHSM2_CONF", &conf)
        .args(["--init-token", "--free", "--label", LABEL, "--so-pin", "floor-so-pin", "--pin", PIN])
        .output()
        .context("softhsm2-util is needed (apt install softhsm2)")?;
    ensure!(init.status.success(), "softhsm2-util: {}", String::from_utf8_lossy(&init.stderr));
    let run = Command::new(std::env::current_exe()?)
        .env("SOFTHSM2_CONF", &conf)
        .env("STRONGROOM_FLOOR", folder.path())
        .status()?;
    ensure!(run.success(), "the measurement failed");
    Ok(())
}

fn measure(folder: &Path) -> Result<()> {
    let module: PathBuf = MODULES.iter().find(|path| Path::new(path).exists()).context("no SoftHSM module")?.into();
    let config = TokenConfig {
        module,
        label: LABEL.into(),
        serial: None,
        storage: Some(folder.join("tokens")),
        key_budget: None,
    };
    Pkcs11Keystore::provision(&config, &PIN.into())?;
    let opened = Instant::now();
    let keystore: Arc<dyn Keystore> = Arc::new(Pkcs11Keystore::open(&config, &PIN.into())?);
    println!("open: {:.1} ms", opened.elapsed().as_secs_f64() * 1e3);
    let lane = Lane::start(Arc::clone(&keystore), LaneConfig::default())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async { tokio::spawn(figures(keystore, lane)).await })?
}

async fn figures(keystore: Arc<dyn Keystore>, lane: Lane) -> Result<()> {
    let seed = Seed::new(b"12345678901234567890".to_vec())?;
    println!("{:<28}{:>9}{:>9}", "operation (µs)", "p50", "p99");
    for scheme in Scheme::ALL {
        let key = keystore.create_vault_key(VaultId::random(), 1, *scheme)?;
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
        let sealed = keystore.seal(&key, &context, &seed)?;
        time(&format!("{scheme} seal"), ROUNDS / 10, || keystore.seal(&key, &context, &seed).map(drop))?;
        time(&format!("{scheme} mac"), ROUNDS, || keystore.otp_mac(&key, &context, &sealed, 1).map(drop))?;
        lane_time(&format!("{scheme} mac in the lane"), &lane, &Arc::new((key, context, sealed))).await?;
    }
    time("identity signature", ROUNDS / 10, || keystore.sign(&[7; 32]).map(drop))?;
    time("health", ROUNDS / 10, || keystore.health())?;
    Ok(())
}

fn time<E: std::error::Error + Send + Sync + 'static>(
    name: &str,
    rounds: usize,
    mut work: impl FnMut() -> Result<(), E>,
) -> Result<()> {
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let began = Instant::now();
        work()?;
        times.push(began.elapsed());
    }
    print(name, times);
    Ok(())
}

async fn lane_time(name: &str, lane: &Lane, what: &Arc<(VaultKey, SeedContext, SealedSeed)>) -> Result<()> {
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let what = Arc::clone(what);
        lane.run(Duration::from_secs(2), move |keystore| keystore.otp_mac(&what.0, &what.1, &what.2, 1)).await?;
        times.push(began.elapsed());
    }
    print(name, times);
    Ok(())
}

fn print(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: usize| {
        times.get(times.len().saturating_sub(1) * share / 100).map_or(0.0, |time| time.as_secs_f64() * 1e6)
    };
    println!("{name:<28}{:>9.1}{:>9.1}", at(50), at(99));
}
