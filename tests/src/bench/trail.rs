//! The trail of years: appending, indexing, searching and comparing millions of records, and what checking an exported log of a
//! million costs the one who got it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use strongroom_agent::audit::anchor::Anchors;
use strongroom_agent::audit::state_check::check;
use strongroom_agent::keystore::StoreKeys;
use strongroom_agent::state::LogId;
use strongroom_agent::store::sealer::Sealer;
use strongroom_agent::store::sqlite::{Clock, Indexer, Meta, Page, Query, Store, StoreFile};
use strongroom_proto::agent_key::AgentKey;
use strongroom_proto::audit::checkpoint::Checkpoint;
use strongroom_proto::audit::export::{ExportWriter, verify_folder};
use strongroom_proto::audit::merkle::{Frontier, leaf_hash};
use strongroom_proto::audit::record::Record;
use strongroom_proto::ids::{Instance, OrgId};

use super::crowd::{Crowd, Size};
use super::figures::Latency;
use super::say;
use crate::agent::repository;

/// The argument by which this program checks a folder and says what that took.
pub(super) const CHILD: &str = "verify-child";
/// Searches of one kind that are timed.
const SEARCHES: usize = 200;
/// The records that people look at.
const WANTED: usize = 100;

pub(super) async fn run(records: u64, exported: u64) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("store.sqlite");
    let anchors = Anchors::read(&folder.path().join("anchors"))?;
    let org = OrgId::random();
    let sealer = Arc::new(Sealer::new(org, StoreKeys::random()?));
    StoreFile::create(&path, &Meta { org, token: "none".to_owned(), sealed_store_keys: vec![0], second: None })?;
    let millis = Arc::new(AtomicI64::new(Timestamp::now().as_millisecond() - 90 * 86_400_000));
    let clock: Clock = {
        let millis = Arc::clone(&millis);
        Arc::new(move || Timestamp::from_millisecond(millis.load(Ordering::Relaxed)).unwrap_or(Timestamp::UNIX_EPOCH))
    };
    let store = Store::start(StoreFile::open(&path)?, Arc::clone(&sealer), Instance::random(), clock, &anchors)?;
    let size = Size::of_trail(usize::try_from(records)?);
    let per_second = |count: u64, since: Instant| count as f64 / since.elapsed().as_secs_f64();
    let line =
        |what: &str, seconds: f64, rate: f64| say(&format!("{what:<46}{seconds:>10.2} s {rate:>12.0} per second"));

    let begun = Instant::now();
    let _crowd = Crowd::fill(&store, org, &size, &millis).await?;
    let total: u64 = store.view().heads.values().map(|head| head.frontier.size()).sum();
    say(&format!("{size}\n"));
    line("appending", begun.elapsed().as_secs_f64(), per_second(total, begun));
    let mib = std::fs::metadata(&path)?.len() as f64 / 1024.0 / 1024.0;

    let begun = Instant::now();
    let mut indexer = Indexer::default();
    while indexer.step(&store).await? {}
    line("indexing behind it", begun.elapsed().as_secs_f64(), per_second(total, begun));
    let indexed_mib = std::fs::metadata(&path)?.len() as f64 / 1024.0 / 1024.0;
    say(&format!("{:<46}{mib:>10.0} MiB {:>10.2} times with the index\n", "the file", indexed_mib / mib));

    searches(&store)?;
    let begun = Instant::now();
    let checked = check(&store.view(), store.readers())?;
    ensure!(checked.differences.is_empty(), "the logs say something else: {:?}", checked.differences.first());
    line("replaying every log", begun.elapsed().as_secs_f64(), per_second(checked.records, begun));
    store.close().await;
    drop(store);
    drop(folder);
    export(exported)
}

/// The last hundred records that fit, against reading the last hundred there are.
fn searches(store: &Store) -> anyhow::Result<()> {
    let view = store.view();
    let (log, head) = view.heads.iter().max_by_key(|(_, head)| head.frontier.size()).context("there is no log")?;
    let (log, size): (LogId, u64) = (*log, head.frontier.size());
    let middle = store.readers().records(log, Page::Before(size / 2), 1)?.pop().context("the log is empty")?;
    let record: Record = serde_json::from_str(&middle.record)?;
    let actor = record.actor.context("somebody released")?;
    let floor = timed(|| Ok(store.readers().records(log, Page::Before(size), 100)?.len()))?;
    let search =
        |query: Query| timed(|| Ok(store.readers().search(log, &query, size, WANTED, |_| true)?.records.len()));
    let line = |name: &str, latency: Latency| {
        let ratio = latency.p99_us / floor.p99_us;
        say(&format!("{name:<46}{:>10.0}{:>10.0} µs{ratio:>9.1} times", latency.p50_us, latency.p99_us));
    };
    say(&format!("{:<46}{:>10}{:>10}   the last {WANTED} of a log of {size}", "", "p50", "p99"));
    line("reading the last ones", floor);
    line("by a person", search(Query { identity: Some(actor.identity), ..Query::default() })?);
    line("of an account", search(Query { account: record.target.account, ..Query::default() })?);
    let both = Query { identity: Some(actor.identity), account: record.target.account, ..Query::default() };
    line("by a person, of an account", search(both.clone())?);
    line("the same before the middle", search(Query { until: Some(record.ts), ..both })?);
    line("an event that there never was", search(Query { event: Some("never.was".to_owned()), ..Query::default() })?);
    say("");
    Ok(())
}

fn timed(work: impl Fn() -> anyhow::Result<usize>) -> anyhow::Result<Latency> {
    let mut times = Vec::with_capacity(SEARCHES);
    for _ in 0..SEARCHES {
        let begun = Instant::now();
        std::hint::black_box(work()?);
        times.push(begun.elapsed());
    }
    Ok(Latency::of(times))
}

/// Writes an export, and has it checked by this verifier in a process of its own and by the script.
fn export(records: u64) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("export");
    let bytes = write(&path, records)?;
    let begun = Instant::now();
    ensure!(
        std::process::Command::new("sha256sum").arg(path.join("log.ndjson")).output()?.status.success(),
        "the log could not be hashed"
    );
    let floor_s = begun.elapsed().as_secs_f64();
    say(&format!("\n{records} records exported, {:.0} MiB", bytes as f64 / 1024.0 / 1024.0));
    say(&format!("{:<46}{floor_s:>10.2} s", "hashing the file once"));
    let child = std::process::Command::new(std::env::current_exe()?).arg(CHILD).arg(&path).output()?;
    ensure!(child.status.success(), "the folder was not verified: {}", String::from_utf8_lossy(&child.stderr));
    let text = String::from_utf8(child.stdout)?;
    let (seconds, peak_mib) = text.trim().split_once(' ').context("a child says two numbers")?;
    let seconds: f64 = seconds.parse()?;
    say(&format!(
        "{:<46}{seconds:>10.2} s {:>11.2} times that, {peak_mib} MiB",
        "strongroom audit verify",
        seconds / floor_s
    ));
    let begun = Instant::now();
    let script = std::process::Command::new("python3").arg(repository("proto/verify.py")).arg(&path).output()?;
    ensure!(script.status.success(), "the script refuses: {}", String::from_utf8_lossy(&script.stderr));
    let seconds = begun.elapsed().as_secs_f64();
    say(&format!("{:<46}{seconds:>10.2} s {:>11.2} times that", "proto/verify.py", seconds / floor_s));
    Ok(())
}

fn write(path: &Path, records: u64) -> anyhow::Result<u64> {
    let random = SystemRandom::new();
    let broken = |_| anyhow::anyhow!("no key");
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).map_err(broken)?;
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random)
        .map_err(|_| anyhow::anyhow!("no key"))?;
    let key = AgentKey::from_point(pair.public_key().as_ref())?;
    let log = LogId::Org.origin(OrgId::random());
    let mut writer = ExportWriter::create(path)?;
    let mut frontier = Frontier::new();
    let mut bytes = 0;
    for seq in 0..records {
        // As long as a release's record is, with the opening that each has.
        let opening = strongroom_proto::audit::opening::Opening::new("actor.name", [7; 16], "marcus");
        let commitment = opening.commitment().context("an opening")?;
        let ts = Timestamp::from_second(1_790_000_000 + i64::try_from(seq / 40)?)?;
        let id = "00000000-0000-4000-8000-000000000001";
        let record = format!(
            r#"{{"actor":{{"assurance":"software-key","identity":"{id}","key":"SHA256:bAnE0ePNVT+EmJkv4mAYGL0EIGjgFAi5tyBUgHU2V9s","session":"{id}"}},"agent":"{id}","detail":{{"step":{}}},"event":"code.release","from":{{"client":"strongroom/0.1.0","pid":4242,"uid":1000}},"grant":{{"id":"{id}","version":1}},"h":{{"actor.name":"{commitment}"}},"log":"{log}","outcome":"ok","seq":{seq},"target":{{"account":"{id}"}},"ts":"{ts:.6}","v":1}}"#,
            59_000_000 + seq
        );
        frontier.push(leaf_hash(record.as_bytes()));
        bytes += record.len() as u64 + 1;
        writer.append(&record, &[opening])?;
    }
    let checkpoint = Checkpoint { origin: log, size: records, root: frontier.root() };
    let signature = pair.sign(&random, checkpoint.body().as_bytes()).map_err(broken)?;
    writer.finish(&checkpoint.to_note(&key, signature.as_ref()), &[], &key.spki_pem())?;
    Ok(bytes)
}

/// Checks a folder; prints the seconds that it took and the most memory that this process ever had, in MiB.
pub(super) fn verify(folder: &Path) -> anyhow::Result<()> {
    let begun = Instant::now();
    verify_folder(folder, None, None)?;
    let took: Duration = begun.elapsed();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("status has VmHWM")?;
    let kib: f64 = peak.split_whitespace().next().context("VmHWM has a number")?.parse()?;
    say(&format!("{:.3} {:.0}", took.as_secs_f64(), kib / 1024.0));
    Ok(())
}
