//! Codes through the token, against the RFCs, totp-rs and oathtool.

use std::process::Command;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use strongroom_proto::ids::VaultId;
use strongroom_proto::words::{Algorithm, OtpKind, Scheme};
use totp_rs::Builder;

use super::context;
use crate::keystore::fixture::token_test;
use crate::keystore::pkcs11::{Pkcs11Keystore, derived};
use crate::keystore::{Keystore, Seed, SeedContext, VaultKey};
use crate::otp;

/// RFC 4226 Appendix D: the secret "12345678901234567890", counters 0 to 9.
const RFC_4226: [&str; 10] =
    ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"];

/// RFC 6238 Appendix B: time, then the codes of SHA-1, SHA-256 and SHA-512.
const RFC_6238: [(u64, [&str; 3]); 6] = [
    (59, ["94287082", "46119246", "90693936"]),
    (1_111_111_109, ["07081804", "68084774", "25091201"]),
    (1_111_111_111, ["14050471", "67062674", "99943326"]),
    (1_234_567_890, ["89005924", "91819424", "93441116"]),
    (2_000_000_000, ["69279037", "90698825", "38618901"]),
    (20_000_000_000, ["65353130", "77737706", "47863826"]),
];

/// The RFC's secret for each hash is the digits 1 to 0 repeated to the length of the hash (erratum 2866).
fn rfc_seed(algorithm: Algorithm) -> Seed {
    let len = match algorithm {
        Algorithm::Sha1 => 20,
        Algorithm::Sha256 => 32,
        Algorithm::Sha512 => 64,
    };
    Seed::new(b"1234567890".iter().copied().cycle().take(len).collect()).unwrap()
}

fn keys(keystore: &Pkcs11Keystore) -> [VaultKey; 2] {
    [Scheme::Resident, Scheme::Derived].map(|scheme| keystore.create_vault_key(VaultId::random(), 1, scheme).unwrap())
}

fn code(keystore: &dyn Keystore, key: &VaultKey, context: &SeedContext, seed: &Seed, counter: u64) -> String {
    let sealed = keystore.seal(key, context, seed).unwrap();
    let mac = keystore.otp_mac(key, context, &sealed, counter).unwrap();
    otp::render(&mac, context.kind, context.digits).unwrap().expose().to_owned()
}

#[test]
fn plain_hmac_gives_the_codes_of_the_rfcs() {
    let code = |algorithm, counter, digits| {
        let mac = derived::mac(algorithm, &rfc_seed(algorithm).block(algorithm), counter).unwrap();
        otp::render(&mac, OtpKind::Totp, digits).unwrap().expose().to_owned()
    };
    for (counter, expected) in (0..).zip(RFC_4226) {
        assert_eq!(code(Algorithm::Sha1, counter, 6), expected);
    }
    for (unix_s, expected) in RFC_6238 {
        let counter = otp::window_at(unix_s, 30).unwrap().counter;
        assert_eq!([0, 1, 2].map(|place| code(Algorithm::ALL[place], counter, 8)), expected);
    }
}

token_test! {
    fn both_schemes_give_the_codes_of_the_rfcs(token) {
        let keystore = token.keystore();
        for key in keys(&keystore) {
            let hotp = SeedContext { kind: OtpKind::Hotp, period_s: 0, ..context(key.vault) };
            for (counter, expected) in (0..).zip(RFC_4226) {
                assert_eq!(code(&keystore, &key, &hotp, &rfc_seed(Algorithm::Sha1), counter), expected, "{key:?}");
            }
            for (unix_s, expected) in RFC_6238 {
                let counter = otp::window_at(unix_s, 30).unwrap().counter;
                for (algorithm, expected) in Algorithm::ALL.iter().zip(expected) {
                    let totp = SeedContext { algorithm: *algorithm, digits: 8, ..context(key.vault) };
                    assert_eq!(code(&keystore, &key, &totp, &rfc_seed(*algorithm), counter), expected, "{key:?}");
                }
            }
        }
    }
}

/// The same code from totp-rs.
fn totp_rs(context: &SeedContext, seed: &[u8], unix_s: u64) -> String {
    let algorithm = match (context.kind, context.algorithm) {
        (OtpKind::Steam, _) => totp_rs::Algorithm::Steam,
        (_, Algorithm::Sha1) => totp_rs::Algorithm::SHA1,
        (_, Algorithm::Sha256) => totp_rs::Algorithm::SHA256,
        (_, Algorithm::Sha512) => totp_rs::Algorithm::SHA512,
    };
    let totp = Builder::new()
        .with_algorithm(algorithm)
        .with_digits(context.digits)
        .with_step_duration(u64::from(context.period_s))
        .with_secret(seed.to_vec())
        .build_noncompliant();
    totp.generate(unix_s).to_string()
}

token_test! {
    fn both_schemes_agree_with_totp_rs_on_random_parameters(token) {
        let keystore = token.keystore();
        let keys = keys(&keystore);
        // Shorter than any key a token accepts, around the block lengths, and longer (hashed first, RFC 2104 §2).
        let lengths = prop_oneof![Just(1), Just(10), Just(16), Just(20), Just(64), Just(65), Just(128), Just(129), 1..300_usize];
        let seeds = lengths.prop_flat_map(|len| proptest::collection::vec(any::<u8>(), len));
        let kinds = prop_oneof![Just(OtpKind::Totp), Just(OtpKind::Steam)];
        let algorithms = proptest::sample::select(Algorithm::ALL);
        let cases = (seeds, kinds, algorithms, 6..=9_u8, 1..=90_u32, 0..1_u64 << 40);
        let config = Config { cases: 200, failure_persistence: None, ..Config::default() };
        TestRunner::new(config).run(&cases, |(seed, kind, algorithm, digits, period_s, unix_s)| {
            let steam = kind == OtpKind::Steam;
            let (algorithm, digits) = if steam { (Algorithm::Sha1, 5) } else { (algorithm, digits) };
            let counter = otp::window_at(unix_s, period_s).unwrap().counter;
            for key in &keys {
                let context = SeedContext { kind, algorithm, digits, period_s, ..context(key.vault) };
                let expected = totp_rs(&context, &seed, unix_s);
                let sealed = Seed::new(seed.clone()).unwrap();
                prop_assert_eq!(code(&keystore, key, &context, &sealed, counter), expected);
            }
            Ok(())
        }).unwrap();
    }
}

token_test! {
    fn both_schemes_agree_with_oathtool(token) {
        let keystore = token.keystore();
        for key in keys(&keystore) {
            for (algorithm, mode) in [(Algorithm::Sha1, "sha1"), (Algorithm::Sha256, "sha256"), (Algorithm::Sha512, "sha512")] {
                for (len, digits, unix_s) in [(1, 6, 59_u64), (10, 7, 1_700_000_000), (16, 8, 3), (200, 6, 2_000_000_000)] {
                    let seed: Vec<u8> = (0..len).map(|place: u16| (place * 7 + 3) as u8).collect();
                    let arguments = [format!("--totp={mode}"), format!("--digits={digits}"), format!("--now=@{unix_s}")];
                    let output = Command::new("oathtool").args(arguments).arg(hex::encode(&seed)).output().unwrap();
                    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                    let context = SeedContext { algorithm, digits, ..context(key.vault) };
                    let counter = otp::window_at(unix_s, 30).unwrap().counter;
                    let code = code(&keystore, &key, &context, &Seed::new(seed).unwrap(), counter);
                    assert_eq!(code, String::from_utf8(output.stdout).unwrap().trim(), "{algorithm} {len} {digits}");
                }
            }
        }
    }
}
