//! A stranger's client, written from the protocol's page alone, logs in and takes a code; and refuses a wrong agent.

use std::process::{Command, Output};

use strongroom_proto::words::{Algorithm, OtpKind, VaultRole};
use strongroom_tests::agent::repository;
use strongroom_tests::organisation::{Organisation, create_vault, give, import, row};
use strongroom_tests::people::Person;
use strongroom_tests::schemes::scheme;
use strongroom_tests::seeds::{RFC_4226, RFC_SHA1};
use strongroom_tests::tools;

fn python(organisation: &Organisation, person: &Person, pin: &str, account: &str) -> Output {
    let mut command = Command::new("python3");
    command.arg(repository("tests/python_client.py")).arg(&organisation.launch.socket).arg(&person.slug);
    tools::output(command.arg(&person.key).args([pin, account]))
}

#[tokio::test]
async fn a_client_in_the_standard_library_takes_a_code() {
    let organisation = Organisation::found();
    let mut admin = organisation.admin.connect().await;
    let manager = organisation.enrol(&mut admin, "manager", &[]).await;
    let tech = organisation.enrol(&mut admin, "tech", &[]).await;
    create_vault(&mut admin, "acme", scheme()).await;
    give(&mut admin, "acme", "manager", VaultRole::Manager).await;
    give(&mut admin, "acme", "tech", VaultRole::Viewer).await;
    let rows = vec![row("hotp", OtpKind::Hotp, Algorithm::Sha1, 6, RFC_SHA1)];
    import(&mut manager.connect().await, "acme", rows).await;

    let pin = organisation.agent_key();
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    for code in &RFC_4226[..2] {
        let output = python(&organisation, &tech, &pin, "acme/hotp");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), *code, "{}", said(&output));
    }

    let other = std::fs::read_to_string(tech.key.with_extension("pub")).unwrap();
    let output = python(&organisation, &tech, other.trim(), "acme/hotp");
    assert!(!output.status.success() && said(&output).contains("not the pinned one"), "{}", said(&output));
    let output = python(&organisation, &manager, &pin, "acme/hotp");
    assert!(said(&output).starts_with("denied: "), "{}", said(&output));
    let output = python(&organisation, &tech, &pin, "acme/none");
    assert!(said(&output).starts_with("not_found: "), "{}", said(&output));
}
