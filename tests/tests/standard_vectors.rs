//! The vectors of RFC 6238 Appendix B and RFC 4226 Appendix D through the socket, in both schemes: agent and command run
//! under libfaketime, from 1970 to 2603.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use strongroom_proto::method::code::Release;
use strongroom_proto::words::{Algorithm, OtpKind, VaultRole};
use strongroom_tests::clock::frozen_at;
use strongroom_tests::organisation::{Organisation, create_vault, give, import, row};
use strongroom_tests::schemes::vaults;
use strongroom_tests::seeds::{RFC_4226, RFC_6238, RFC_SHA1, RFC_SHA256, RFC_SHA512, base32};
use strongroom_tests::tools::{oathtool, output};

const HASHES: [(&str, Algorithm, &[u8]); 3] = [
    ("sha1", Algorithm::Sha1, RFC_SHA1),
    ("sha256", Algorithm::Sha256, RFC_SHA256),
    ("sha512", Algorithm::Sha512, RFC_SHA512),
];

#[tokio::test]
async fn all_vectors_of_rfc_6238_and_rfc_4226_come_out_of_the_socket() {
    let mut organisation = Organisation::found();
    let mut admin = organisation.admin.connect().await;
    let manager = organisation.enrol(&mut admin, "manager", &[]).await;
    let tech = organisation.enrol(&mut admin, "tech", &[]).await;
    for (vault, scheme) in vaults() {
        create_vault(&mut admin, vault, scheme).await;
        give(&mut admin, vault, "manager", VaultRole::Manager).await;
        give(&mut admin, vault, "tech", VaultRole::Viewer).await;
        let mut rows: Vec<_> =
            HASHES.iter().map(|(name, algorithm, seed)| row(name, OtpKind::Totp, *algorithm, 8, seed)).collect();
        rows.push(row("hotp", OtpKind::Hotp, Algorithm::Sha1, 6, RFC_SHA1));
        import(&mut manager.connect().await, vault, rows).await;
    }
    let mut counted = 0;
    for (unix_s, codes) in RFC_6238 {
        organisation.running().stop();
        organisation.launch.environment = frozen_at(unix_s);
        organisation.start();
        for (vault, _) in vaults() {
            for ((name, ..), code) in HASHES.iter().zip(codes) {
                let account = format!("{vault}/{name}");
                let taken = output(tech.strongroom(&["code", &account]).envs(frozen_at(unix_s)));
                let said = String::from_utf8_lossy(&taken.stderr);
                assert_eq!(String::from_utf8_lossy(&taken.stdout).trim(), code, "{account} at {unix_s}: {said}");
                counted += 1;
            }
        }
    }
    assert_eq!(counted, 36);
    organisation.running().stop();
    organisation.launch.environment = Vec::new();
    organisation.start();
    // The clock came back from 2603: codes are those of the clock on the wall all the same.
    for (vault, _) in vaults() {
        for (counter, code) in RFC_4226.iter().enumerate() {
            let taken = tech.succeed(&["code", &format!("{vault}/hotp")]);
            assert_eq!(taken.trim(), *code, "{vault}/hotp {counter}");
        }
    }
}

#[tokio::test]
async fn six_to_ten_digits_equal_oathtools_and_the_rfcs_arithmetic() {
    let organisation = Organisation::found();
    let mut admin = organisation.admin.connect().await;
    let manager = organisation.enrol(&mut admin, "manager", &[]).await;
    let tech = organisation.enrol(&mut admin, "tech", &[]).await;
    for (vault, scheme) in vaults() {
        create_vault(&mut admin, vault, scheme).await;
        give(&mut admin, vault, "manager", VaultRole::Manager).await;
        give(&mut admin, vault, "tech", VaultRole::Viewer).await;
        let rows = (6..=10).map(|digits| row(&format!("d{digits}"), OtpKind::Totp, Algorithm::Sha1, digits, RFC_SHA1));
        import(&mut manager.connect().await, vault, rows.collect()).await;
        let mut client = tech.connect().await;
        for digits in 6..=10_u8 {
            let account = format!("{vault}/d{digits}").parse().unwrap();
            let wanted = Release { account, reason: None, ticket: None, min_remaining_s: None, step_up: None };
            let released = client.call(&wanted).await.unwrap();
            let at = released.valid_from.unwrap().as_second();
            assert_eq!(*released.code, by_rfc_4226(u64::try_from(at).unwrap() / 30, digits), "{vault} {digits}");
            if digits <= 8 {
                assert_eq!(*released.code, oathtool(&base32(RFC_SHA1), "sha1", digits, at));
            }
        }
    }
}

/// RFC 4226 §5.3 step by step; oathtool stops at eight digits.
fn by_rfc_4226(counter: u64, digits: u8) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(RFC_SHA1).unwrap();
    mac.update(&counter.to_be_bytes());
    let mac = mac.finalize().into_bytes();
    let offset = usize::from(mac[19] & 15);
    let number = u32::from_be_bytes(mac[offset..offset + 4].try_into().unwrap()) & 0x7fff_ffff;
    let (width, modulus) = (usize::from(digits), 10_u64.pow(u32::from(digits)));
    format!("{:0width$}", u64::from(number) % modulus)
}
