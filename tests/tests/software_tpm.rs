//! A TPM, which makes no keys through PKCS#11: an operator prepares them, and every new vault takes a spare one.

use std::process::Command;

use strongroom_proto::client::{CallError, Client};
use strongroom_proto::error::ErrorKind;
use strongroom_proto::method::code::Release;
use strongroom_proto::method::vault::Create;
use strongroom_proto::words::{Algorithm, OtpKind, Scheme, VaultRole};
use strongroom_tests::organisation::{Organisation, PIN, Setup, create_vault, give, import, row, slug};
use strongroom_tests::seeds::{RFC_4226, RFC_SHA1, RFC_SHA512, base32};
use strongroom_tests::token::{Kind, TestToken};
use strongroom_tests::tools::{oathtool, output};

async fn release(client: &mut Client, account: &str) -> (String, Option<i64>) {
    let account = account.parse().unwrap();
    let wanted = Release { account, reason: None, ticket: None, min_remaining_s: None, step_up: None };
    let released = client.call(&wanted).await.unwrap();
    (released.code.to_string(), released.valid_from.map(|at| at.as_second()))
}

async fn refused(admin: &mut Client, vault: &str, scheme: Scheme) -> ErrorKind {
    let create =
        Create { vault: slug(vault), name: "No Key Ltd".to_owned(), scheme: Some(scheme), min_assurance: None };
    match admin.call(&create).await {
        Err(CallError::Failure(failure)) => failure.kind,
        other => panic!("{vault}: {other:?}"),
    }
}

/// What the operator runs, as the tpm2 profile says.
fn add_spare_key(token: &TestToken, label: &str) {
    let mut add = Command::new("tpm2_ptool");
    add.args(["addkey", "--label", &token.label, "--userpin", PIN, "--algorithm=hmac:sha256", "--key-label", label]);
    add.envs(token.environment.iter().cloned()).env("TPM2TOOLS_TCTI", "tabrmd:bus_type=session");
    let added = output(&mut add);
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
}

#[tokio::test]
async fn a_tpm_serves_derived_seeds_under_keys_that_were_prepared() {
    if let Some(missing) = Kind::missing_for_a_tpm() {
        println!("SKIPPED: {missing} is not installed: tests/tokens/suite.sh tpm2 derived installs it");
        return;
    }
    let mut organisation = Organisation::found_with(&Setup { token: Some(Kind::Tpm2), ..Setup::default() });
    let mut admin = organisation.admin.connect().await;
    let manager = organisation.enrol(&mut admin, "manager", &[]).await;
    let tech = organisation.enrol(&mut admin, "tech", &[]).await;
    for vault in ["acme", "bluewater", "carbon", "dune"] {
        create_vault(&mut admin, vault, Scheme::Derived).await;
    }
    // Four were prepared, and a TPM opens no seeds within itself.
    assert_eq!(refused(&mut admin, "echo", Scheme::Derived).await, ErrorKind::Conflict);
    assert_ne!(refused(&mut admin, "echo", Scheme::Resident).await, ErrorKind::Internal);

    for vault in ["acme", "bluewater"] {
        give(&mut admin, vault, "manager", VaultRole::Manager).await;
        give(&mut admin, vault, "tech", VaultRole::Viewer).await;
        let rows = vec![
            row("sha1", OtpKind::Totp, Algorithm::Sha1, 6, RFC_SHA1),
            row("sha512", OtpKind::Totp, Algorithm::Sha512, 8, RFC_SHA512),
            row("hotp", OtpKind::Hotp, Algorithm::Sha1, 6, RFC_SHA1),
        ];
        import(&mut manager.connect().await, vault, rows).await;
    }
    let mut counters = RFC_4226.iter();
    for restart in [false, true] {
        if restart {
            organisation.running().stop();
            organisation.start();
        }
        let mut client = tech.connect().await;
        for vault in ["acme", "bluewater"] {
            for (account, algorithm, digits, seed) in
                [("sha1", "sha1", 6, RFC_SHA1), ("sha512", "sha512", 8, RFC_SHA512)]
            {
                let (code, at) = release(&mut client, &format!("{vault}/{account}")).await;
                assert_eq!(code, oathtool(&base32(seed), algorithm, digits, at.unwrap()), "{vault}/{account}");
            }
        }
        for _ in 0..4 {
            assert_eq!(release(&mut client, "acme/hotp").await.0, *counters.next().unwrap());
        }
    }

    // The operator prepares another key while the agent runs; the module sees it when it is loaded anew.
    add_spare_key(&organisation.token, "sr:spare:5");
    organisation.running().stop();
    organisation.start();
    let mut admin = organisation.admin.connect().await;
    create_vault(&mut admin, "echo", Scheme::Derived).await;
    assert_eq!(refused(&mut admin, "foxtrot", Scheme::Derived).await, ErrorKind::Conflict);
}
