//! An organisation of thousands: what a decision costs there, how long the store takes to verify a million records at a start, how
//! much memory its state is; and whether time tells a vault that one is not assigned to from one that does not exist.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::Timestamp;
use strongroom_agent::access::Release;
use strongroom_agent::audit::anchor::Anchors;
use strongroom_agent::state::State;
use strongroom_agent::store::sealer::Sealer;
use strongroom_agent::store::sqlite::{Clock, Meta, Store, StoreFile};
use strongroom_proto::client::Client;
use strongroom_proto::ids::{AccountAddress, Instance, OrgId};
use strongroom_proto::method::account::Show;
use strongroom_proto::words::Scheme;

use super::crowd::{Crowd, Size};
use super::figures::Latency;
use super::say;
use super::soak::resident_mib;
use crate::organisation::{Organisation, create_vault};

/// Decisions that are timed, one by one.
const DECISIONS: usize = 100_000;

pub(super) async fn run(quick: bool) -> anyhow::Result<()> {
    let (size, answers) = if quick { (Size::QUICK, 20) } else { (Size::FULL, 2_000) };
    store(&size).await?;
    indistinguishable(answers).await
}

async fn store(size: &Size) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("store.sqlite");
    let anchors = Anchors::read(&folder.path().join("anchors"))?;
    let org = OrgId::random();
    let sealer = Arc::new(Sealer::new(org, strongroom_agent::keystore::StoreKeys::random()?));
    StoreFile::create(&path, &Meta { org, token: "none".to_owned(), sealed_store_keys: vec![0], second: None })?;
    // Ninety days pass while the store is filled, so that the last hour is an hour of work and not all of it.
    let millis = Arc::new(AtomicI64::new(Timestamp::now().as_millisecond() - 90 * 86_400_000));
    let clock: Clock = {
        let millis = Arc::clone(&millis);
        Arc::new(move || Timestamp::from_millisecond(millis.load(Ordering::Relaxed)).unwrap_or(Timestamp::UNIX_EPOCH))
    };
    let open = |file| Store::start(file, Arc::clone(&sealer), Instance::random(), Arc::clone(&clock), &anchors);

    let begun = Instant::now();
    let crowd = {
        let store = open(StoreFile::open(&path)?)?;
        let crowd = Crowd::fill(&store, org, size, &millis).await?;
        store.close().await;
        crowd
    };
    say(&format!("{size}, filled in {:.0} s\n", begun.elapsed().as_secs_f64()));

    let begun = Instant::now();
    let bytes = std::fs::read(&path)?;
    let digest = std::process::Command::new("sha256sum").arg(&path).output().context("sha256sum")?;
    anyhow::ensure!(digest.status.success(), "the file could not be hashed");
    let floor_s = begun.elapsed().as_secs_f64();
    let mib = bytes.len() as f64 / 1024.0 / 1024.0;
    drop(bytes);

    let file = StoreFile::open(&path)?;
    let before_mib = resident_mib(std::process::id())?;
    let begun = Instant::now();
    let store = open(file)?;
    let start_s = begun.elapsed().as_secs_f64();
    let state_mib = resident_mib(std::process::id())? - before_mib;
    let view = store.view();
    anyhow::ensure!(view.sealed.is_empty(), "the store did not match: {:?}", view.sealed);
    say(&format!("{:<46}{mib:>10.0} MiB", "the file"));
    say(&format!("{:<46}{floor_s:>10.2} s", "reading it and hashing it once"));
    say(&format!("{:<46}{start_s:>10.2} s {:>11.2} times that", "verifying and loading it", start_s / floor_s));
    say(&format!("{:<46}{state_mib:>10.0} MiB\n", "memory of the state"));
    decisions(&view, &crowd);
    Ok(())
}

fn decisions(view: &State, crowd: &Crowd) {
    let now = view.latest;
    let floor = timed(crowd, |place| {
        black_box(view.grants.get(&crowd.grant(place)));
    });
    let decide = |place: usize, stranger: bool| {
        let (identity, vault, account) = crowd.right(place, stranger);
        let caller = crowd.caller(identity);
        let release = Release {
            identity: caller.identity(),
            uid: None,
            vault,
            account,
            step: Some(1),
            reason: None,
            ticket: None,
            signed: false,
        };
        black_box(caller.may_release(view, &release, now)).is_ok()
    };
    assert!(decide(0, false) && !decide(0, true), "the rights of the crowd are what they should be");
    let line = |name: &str, latency: Latency| {
        let ratio = latency.p99_us / floor.p99_us;
        say(&format!("{name:<46}{:>10.2}{:>10.2} µs{ratio:>9.1} times", latency.p50_us, latency.p99_us));
    };
    say(&format!("{:<46}{:>10}{:>10}", "", "p50", "p99"));
    line("finding one of the grants", floor);
    line(
        "a decision that allows",
        timed(crowd, |place| {
            black_box(decide(place, false));
        }),
    );
    line(
        "a decision that refuses",
        timed(crowd, |place| {
            black_box(decide(place, true));
        }),
    );
}

fn timed(crowd: &Crowd, work: impl Fn(usize)) -> Latency {
    // Strides by a prime: neighbours in time are no neighbours in the maps.
    let places = (0..DECISIONS).map(|turn| turn * 7_919 % crowd.len());
    Latency::of(
        places
            .map(|place| {
                let begun = Instant::now();
                work(place);
                begun.elapsed()
            })
            .collect(),
    )
}

/// Asks a real agent in turns for an account of a vault that the caller is not assigned to and for one that does not exist.
async fn indistinguishable(answers: usize) -> anyhow::Result<()> {
    let organisation = Organisation::found();
    let mut admin = organisation.admin.connect().await;
    create_vault(&mut admin, "acme", Scheme::Derived).await;
    let stranger = organisation.enrol(&mut admin, "stranger", &[]).await;
    let mut client = stranger.connect().await;
    let (mut unassigned, mut nonexistent) = (Vec::new(), Vec::new());
    for _ in 0..answers {
        unassigned.push(ask(&mut client, "acme/firewall").await?);
        nonexistent.push(ask(&mut client, "nowhere/firewall").await?);
    }
    let (unassigned, nonexistent) = (Latency::of(unassigned), Latency::of(nonexistent));
    let ratio = unassigned.p50_us / nonexistent.p50_us;
    say(&format!("\n{:<46}{:>10}{:>10}", "a refusal, with its record", "p50", "p99"));
    say(&format!("{:<46}{:>10.0}{:>10.0} µs", "of what does not exist", nonexistent.p50_us, nonexistent.p99_us));
    let line = format!("{:<46}{:>10.0}{:>10.0} µs", "of what is not one's own", unassigned.p50_us, unassigned.p99_us);
    say(&format!("{line}{ratio:>9.2} times"));
    Ok(())
}

async fn ask(client: &mut Client, account: &str) -> anyhow::Result<Duration> {
    let account: AccountAddress = account.parse()?;
    let begun = Instant::now();
    let answer = client.call(&Show { account }).await;
    anyhow::ensure!(answer.is_err(), "a stranger sees an account");
    Ok(begun.elapsed())
}
