//! The main job over the protocol: from an empty token to codes that equal other people's.

use strongroom_proto::method::code::Release;
use strongroom_proto::words::{Algorithm, OtpKind, VaultRole};
use strongroom_tests::organisation::{Organisation, create_vault, give, import, row};
use strongroom_tests::schemes::vaults;
use strongroom_tests::seeds::{RFC_4226, RFC_SHA1, RFC_SHA256, RFC_SHA512, base32};
use strongroom_tests::tools::oathtool;

fn release(account: &str) -> Release {
    Release { account: account.parse().unwrap(), reason: None, ticket: None, min_remaining_s: Some(5), step_up: None }
}

#[tokio::test]
async fn codes_equal_oathtools_and_hotp_equals_rfc_4226_in_both_schemes() {
    let organisation = Organisation::found();
    let mut admin = organisation.admin.connect().await;
    let manager = organisation.enrol(&mut admin, "manager", &[]).await;
    let tech = organisation.enrol(&mut admin, "tech", &[]).await;
    for (vault, scheme) in vaults() {
        create_vault(&mut admin, vault, scheme).await;
        give(&mut admin, vault, "manager", VaultRole::Manager).await;
        give(&mut admin, vault, "tech", VaultRole::Viewer).await;
        let rows = vec![
            row("sha1", OtpKind::Totp, Algorithm::Sha1, 6, RFC_SHA1),
            row("sha256", OtpKind::Totp, Algorithm::Sha256, 8, RFC_SHA256),
            row("sha512", OtpKind::Totp, Algorithm::Sha512, 7, RFC_SHA512),
            row("hotp", OtpKind::Hotp, Algorithm::Sha1, 6, RFC_SHA1),
        ];
        assert_eq!(import(&mut manager.connect().await, vault, rows).await.len(), 4);
        let mut client = tech.connect().await;
        for (account, algorithm, digits, seed) in
            [("sha1", "sha1", 6, RFC_SHA1), ("sha256", "sha256", 8, RFC_SHA256), ("sha512", "sha512", 7, RFC_SHA512)]
        {
            let released = client.call(&release(&format!("{vault}/{account}"))).await.unwrap();
            let at = released.valid_from.unwrap();
            let theirs = oathtool(&base32(seed), algorithm, digits, at.as_second());
            assert_eq!(*released.code, theirs, "{vault}/{account}");
        }
        for code in RFC_4226 {
            let mut wanted = release(&format!("{vault}/hotp"));
            wanted.min_remaining_s = None;
            assert_eq!(*client.call(&wanted).await.unwrap().code, code);
        }
    }
}
