//! What the probe costs a start, and how starts and releases grow with the number of vaults. Run with
//! `cargo test -p strongroom-agent --lib -- --ignored --nocapture tests::scale`.
//!
//! On two busy cores with SoftHSM 2.6.1 in memory, unoptimised: a start takes 11 ms, of which the probe 6 ms; with 1,000 vaults
//! 0.6 s. A release takes 0.2 ms with 10 vaults and with 1,000. The whole probe takes 50 ms, with 1,000 vaults 1.3 s.

use std::time::{Duration, Instant};

use strongroom_proto::ids::VaultId;
use strongroom_proto::words::Scheme;

use super::context;
use crate::keystore::fixture::token_test;
use crate::keystore::pkcs11::Pkcs11Keystore;
use crate::keystore::{Keystore, SealedSeed, Seed, SeedContext, VaultKey};

type Account = (VaultKey, SeedContext, SealedSeed);

fn account(keystore: &dyn Keystore, scheme: Scheme) -> Account {
    let key = keystore.create_vault_key(VaultId::random(), 1, scheme).unwrap();
    let context = context(key.vault);
    let sealed = keystore.seal(&key, &context, &Seed::new(b"a seed of 20 bytes!!".to_vec()).unwrap()).unwrap();
    (key, context, sealed)
}

/// The median over many releases, each from the next account.
fn release(keystore: &dyn Keystore, accounts: &[Account]) -> Duration {
    let mut times: Vec<Duration> = (0..accounts.len().max(500))
        .zip(accounts.iter().cycle())
        .map(|(counter, (key, context, sealed))| {
            let begun = Instant::now();
            keystore.otp_mac(key, context, sealed, counter as u64).unwrap();
            begun.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

token_test! {
    #[ignore = "a measurement: makes 1,000 keys"]
    fn a_thousand_vaults_start_in_under_two_seconds_and_release_as_fast_as_ten(token) {
        let keystore = token.keystore();
        let mut accounts: Vec<Account> =
            (0..10).map(|place| account(&keystore, Scheme::ALL[place % 2])).collect();
        release(&keystore, &accounts);
        let few = release(&keystore, &accounts);
        drop(keystore);
        let start = |name: &str| {
            let begun = Instant::now();
            let keystore = Pkcs11Keystore::open(&token.config(), &token.pin()).unwrap();
            let took = begun.elapsed();
            println!("start with {name}: {took:?}");
            (keystore, took)
        };
        let (keystore, _) = start("10 vaults");
        let begun = Instant::now();
        accounts.extend((10..1000).map(|place| account(&keystore, Scheme::ALL[place % 2])));
        println!("990 vault keys made in {:?}", begun.elapsed());
        drop(keystore);
        let (keystore, took) = start("1,000 vaults");
        // The first release of each vault verifies its key, and is not counted.
        let begun = Instant::now();
        release(&keystore, &accounts);
        println!("the first 1,000 releases: {:?}", begun.elapsed());
        let many = release(&keystore, &accounts);
        println!("a release: {few:?} with 10 vaults, {many:?} with 1,000");
        assert!(took < Duration::from_secs(2), "{took:?}");
        assert!(many < few * 2, "{many:?} is not flat beside {few:?}");
        let begun = Instant::now();
        let report = keystore.probe().unwrap();
        println!("the whole probe with 1,000 vaults: {:?}", begun.elapsed());
        assert!(report.passed(), "{report}");
    }
}

token_test! {
    #[ignore = "a measurement"]
    fn what_the_probe_costs_a_start(token) {
        drop(token.keystore());
        let mut starts: Vec<(Duration, Duration)> = (0..20).map(|_| {
            let begun = Instant::now();
            let keystore = Pkcs11Keystore::open(&token.config(), &token.pin()).unwrap();
            let open = begun.elapsed();
            let mut state = keystore.state.lock().unwrap();
            let live = &mut state.live;
            let begun = Instant::now();
            let operation = crate::keystore::Operation::Open;
            super::super::probe::at_start(&mut live.connection, &token.config().profile, operation).unwrap();
            (open, begun.elapsed())
        }).collect();
        starts.sort();
        let (open, probe) = starts[10];
        println!("a start takes {open:?}, of which the probe {probe:?}");
        let begun = Instant::now();
        let report = Pkcs11Keystore::open(&token.config(), &token.pin()).unwrap().probe().unwrap();
        println!("open and the whole probe: {:?}, {} rows", begun.elapsed(), report.rows.len());
        println!("{report}");
    }
}
