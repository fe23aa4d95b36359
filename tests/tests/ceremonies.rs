//! What two people do to a vault together, from the proposal to the end: keys rotated, schemes changed, vaults handed over and
//! destroyed, and every claim verified with the tools of others.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use strongroom_proto::audit::export::{Pin, verify_folder};
use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::error::ErrorKind;
use strongroom_proto::login::{CERTIFICATE_NAMESPACE, STEP_UP_NAMESPACE, step_up_text};
use strongroom_proto::method::account::Row;
use strongroom_proto::method::ceremony::{Propose, Run, Show};
use strongroom_proto::method::code::Release;
use strongroom_proto::words::{Algorithm, CeremonyKind, CeremonyStatus, OtpKind, Scheme, VaultRole};
use strongroom_tests::ceremony::{RecoveryPair, TwoPeople, confirm, hotp, proposal, propose};
use strongroom_tests::organisation::{Organisation, create_vault, give, import, row, slug};
use strongroom_tests::people::Person;
use strongroom_tests::seeds::{RFC_SHA1, base32};
use strongroom_tests::tools;
use strongroom_tests::trail::read_log;

fn seed(place: usize) -> Vec<u8> {
    format!("seed number {place:08}").into_bytes()
}

fn counters(count: usize) -> Vec<Row> {
    (0..count).map(|place| row(&format!("a{place}"), OtpKind::Hotp, Algorithm::Sha1, 6, &seed(place))).collect()
}

/// Takes a code of each account, which all stand at this counter.
async fn all_right(tech: &Person, vault: &str, count: usize, counter: u64) {
    let mut client = tech.connect().await;
    for place in 0..count {
        let account = format!("{vault}/a{place}").parse().unwrap();
        let released = client
            .call(&Release { account, reason: None, ticket: None, min_remaining_s: None, step_up: None })
            .await
            .unwrap();
        assert_eq!(released.counter, Some(counter));
        assert_eq!(*released.code, hotp(&seed(place), counter, 6), "{vault}/a{place}");
    }
}

async fn refused(person: &Person, call: Run) -> ErrorKind {
    match person.connect().await.call(&call).await {
        Err(strongroom_proto::client::CallError::Failure(failure)) => failure.kind,
        other => panic!("{:?}", other.map(|ran| ran.status)),
    }
}

#[tokio::test]
async fn a_key_is_rotated_and_schemes_change_with_every_code_right() {
    let mut people = TwoPeople::found(&[("acme", Scheme::Resident)]).await;
    let mut manager = people.manager.connect().await;
    import(&mut manager, "acme", counters(70)).await;
    let (resident, derived) = (Some(Scheme::Resident), Some(Scheme::Derived));
    for (counter, scheme) in (0..).zip([None, derived, None, resident]) {
        let id = people.agree(Propose { scheme, ..proposal("acme", CeremonyKind::RotateKey) }).await;
        let ran = people.finish(id).await;
        assert_eq!((ran.status, ran.done, ran.accounts), (CeremonyStatus::Done, 70, 70));
        all_right(&people.tech, "acme", 70, counter).await;
    }
    // What comes in afterwards is sealed under the newest key.
    import(&mut manager, "acme", vec![row("late", OtpKind::Hotp, Algorithm::Sha1, 6, RFC_SHA1)]).await;
    assert_eq!(people.tech.succeed(&["code", "acme/late"]).trim_end(), hotp(RFC_SHA1, 0, 6));

    let log = read_log(&mut manager, Some("acme")).await;
    let rotated: Vec<_> = log.iter().filter(|entry| entry.is("vault.rotate_key", RecordOutcome::Ok)).collect();
    let detail = |place: usize, name: &str| rotated[place].record.detail[name].as_str().unwrap().to_owned();
    assert_eq!(rotated.len(), 4);
    assert_eq!([0, 1, 2, 3].map(|place| detail(place, "scheme")), ["resident", "derived", "derived", "resident"]);
    for place in 1..4 {
        assert_eq!(detail(place, "kcvs"), detail(place - 1, "kcv"), "each key takes the place of the one before");
        assert!(detail(place, "key").ends_with(&format!(":{}", place + 2)));
    }
    // The token holds one vault key, and the agent's own check is content with it.
    people.organisation.running().stop();
    let doctor = tools::output(&mut people.organisation.launch.command(&["doctor"]));
    let said = String::from_utf8_lossy(&doctor.stdout);
    assert!(said.contains("1 are in the token and match"), "{said}");
}

#[tokio::test]
async fn derived_seeds_need_no_recovery_key_and_resident_ones_are_refused_before_anything_changes() {
    let people = TwoPeople::found(&[("acme", Scheme::Resident), ("blue", Scheme::Derived)]).await;
    let mut manager = people.manager.connect().await;
    import(&mut manager, "acme", counters(2)).await;
    import(&mut manager, "blue", counters(2)).await;
    let admin = &people.organisation.admin;
    let id = people.agree(proposal("blue", CeremonyKind::RotateKey)).await;
    admin.connect().await.call(&Run { ceremony: id, recovery_key: None }).await.unwrap();
    all_right(&people.tech, "blue", 2, 0).await;

    let id = people.agree(proposal("acme", CeremonyKind::RotateKey)).await;
    let stranger = RecoveryPair::new();
    let records = read_log(&mut manager, Some("acme")).await.len();
    for recovery_key in [None, Some(stranger.secret().into()), Some("hello".to_owned().into())] {
        assert_eq!(refused(admin, Run { ceremony: id, recovery_key }).await, ErrorKind::InvalidParams);
    }
    assert_eq!(read_log(&mut manager, Some("acme")).await.len(), records, "nothing was begun");
    people.finish(id).await;
    all_right(&people.tech, "acme", 2, 0).await;
}

#[tokio::test]
async fn without_recovery_recipients_a_resident_vault_keeps_its_key_and_says_why() {
    let organisation = Organisation::found();
    let mut admin = organisation.admin.connect().await;
    let manager = organisation.enrol(&mut admin, "manager", &[]).await;
    create_vault(&mut admin, "acme", Scheme::Resident).await;
    give(&mut admin, "acme", "manager", VaultRole::Manager).await;
    import(&mut manager.connect().await, "acme", counters(2)).await;
    let refusal = propose(&manager, proposal("acme", CeremonyKind::RotateKey)).await.unwrap_err().to_string();
    assert!(refusal.contains("a0, a1") && refusal.contains("without recovery recipients"), "{refusal}");
}

#[tokio::test]
async fn both_signatures_can_be_proved_from_an_export_with_ssh_keygen() {
    let people = TwoPeople::found(&[("acme", Scheme::Derived)]).await;
    let id = people.agree(proposal("acme", CeremonyKind::RotateKey)).await;
    people.finish(id).await;
    let folder = people.organisation.root().join("export");
    people.manager.succeed(&["audit", "export", "acme", "--out", folder.to_str().unwrap()]);
    let pin = Pin::parse(&people.organisation.agent_key()).unwrap();
    verify_folder(&folder, Some(&pin), None).unwrap();
    let lines = |name: &str| -> Vec<Value> {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let openings = lines("openings.ndjson");
    let agent = ssh_key::PublicKey::from_openssh(&people.organisation.agent_key()).unwrap();
    let agent = agent.fingerprint(ssh_key::HashAlg::Sha256).to_string();
    for (event, method, person) in [
        ("ceremony.propose", "ceremony.propose", &people.organisation.admin),
        ("ceremony.confirm", "ceremony.confirm", &people.manager),
    ] {
        let records = lines("log.ndjson");
        let record = records.iter().find(|record| record["event"] == event).unwrap();
        let opening = openings
            .iter()
            .find(|opening| opening["seq"] == record["seq"] && opening["field"] == "actor.name")
            .unwrap();
        let detail = |name: &str| record["detail"][name].as_str().unwrap();
        // Nothing but the export, and the person's public key.
        let text = step_up_text(
            &agent,
            record["agent"].as_str().unwrap().parse().unwrap(),
            detail("nonce"),
            record["actor"]["key"].as_str().unwrap(),
            &slug(opening["value"].as_str().unwrap()),
            method,
            detail("params_sha256"),
        );
        assert!(ssh_keygen_accepts(&person.public_key(), STEP_UP_NAMESPACE, &text, detail("signature")));
        assert!(!ssh_keygen_accepts(&person.public_key(), "strongroom-login@v1", &text, detail("signature")));
        let other = text.replace(method, "ceremony.cancel");
        assert!(!ssh_keygen_accepts(&person.public_key(), STEP_UP_NAMESPACE, &other, detail("signature")));
    }
}

fn ssh_keygen_accepts(key: &str, namespace: &str, text: &str, signature: &str) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("allowed"), format!("somebody namespaces=\"{namespace}\" {key}\n")).unwrap();
    std::fs::write(path("signature"), signature).unwrap();
    std::fs::write(path("text"), text).unwrap();
    Command::new("ssh-keygen")
        .args(["-q", "-Y", "verify", "-f", "allowed", "-I", "somebody", "-n", namespace, "-s", "signature"])
        .current_dir(folder.path())
        .stdin(std::fs::File::open(path("text")).unwrap())
        .output()
        .unwrap()
        .status
        .success()
}

#[tokio::test]
async fn a_destroyed_vault_leaves_its_log_and_a_certificate_that_verifies() {
    let mut people = TwoPeople::found(&[("acme", Scheme::Resident), ("blue", Scheme::Derived)]).await;
    let auditor = people.auditor().await;
    let mut manager = people.manager.connect().await;
    import(&mut manager, "acme", counters(3)).await;
    import(&mut manager, "blue", counters(1)).await;
    let wrong = Propose { name: Some(slug("blue")), ..proposal("acme", CeremonyKind::Destroy) };
    assert!(propose(&people.manager, wrong).await.unwrap_err().to_string().contains("not the name"));
    let id = people.agree(proposal("acme", CeremonyKind::Destroy)).await;
    let ran = people.finish(id).await;
    let certificate = ran.certificate.unwrap();
    let agent_key = people.organisation.agent_key();
    assert!(ssh_keygen_accepts(&agent_key, CERTIFICATE_NAMESPACE, &certificate.text, &certificate.signature));
    let forged = certificate.text.replace("accounts 3", "accounts 2");
    assert!(!ssh_keygen_accepts(&agent_key, CERTIFICATE_NAMESPACE, &forged, &certificate.signature));
    let lines = ["organisation ", "vault ", "log strongroom/", "checkpoint-size ", "checkpoint-root ", "key sr:"];
    let facts = ["accounts 3", "proposed-by admin SHA256:", "confirmed-by manager SHA256:", "destroyed-at "];
    for line in lines.iter().chain(&facts) {
        assert!(certificate.text.lines().any(|found| found.starts_with(line)), "{line}");
    }

    // Nothing is left of it for those who worked in it, and its name is not given away.
    assert_eq!(people.tech.call(&["code", "acme/a0"]).status.code(), Some(3));
    assert_eq!(people.manager.call(&["ls", "acme"]).status.code(), Some(3));
    assert_eq!(people.organisation.admin.call(&["vault", "thaw", "acme", "--reason", "x"]).status.code(), Some(4));
    let again = ["vault", "create", "acme", "--name", "x"];
    assert_eq!(people.organisation.admin.call(&again).status.code(), Some(1));
    all_right(&people.tech, "blue", 1, 0).await;

    // The certificate is read again, also after a restart, and the log still verifies.
    people.organisation.running().stop();
    people.organisation.start();
    let shown = auditor.connect().await.call(&Show { ceremony: id }).await.unwrap();
    assert_eq!(shown.certificate.as_ref(), Some(&certificate));
    let folder = people.organisation.root().join("export");
    auditor.succeed(&["audit", "export", "acme", "--out", folder.to_str().unwrap()]);
    let pin = Pin::parse(&agent_key).unwrap();
    assert!(verify_folder(&folder, Some(&pin), None).unwrap().pinned);
    let size: u64 =
        certificate.text.lines().find_map(|line| line.strip_prefix("checkpoint-size ")).unwrap().parse().unwrap();
    let kept = std::fs::read_to_string(folder.join(format!("checkpoints/{size}"))).unwrap();
    let root = certificate.text.lines().find_map(|line| line.strip_prefix("checkpoint-root ")).unwrap();
    assert_eq!(kept.lines().nth(2), Some(root), "the log's own checkpoint is the certificate's");
}

#[tokio::test]
async fn a_client_takes_the_seeds_with_age_and_the_file_is_on_record() {
    let mut people = TwoPeople::found(&[("acme", Scheme::Resident), ("blue", Scheme::Derived)]).await;
    let client_pair = RecoveryPair::new();
    let key = people.organisation.root().join("client-key");
    tools::run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "client", "-f", &key.display().to_string()]);
    let ssh_recipient = std::fs::read_to_string(key.with_extension("pub")).unwrap().trim().to_owned();
    let mut manager = people.manager.connect().await;
    for (vault, recipient) in [("acme", client_pair.recipient()), ("blue", ssh_recipient)] {
        import(&mut manager, vault, counters(3)).await;
        let wanted = Propose { recipient: Some(recipient), ..proposal(vault, CeremonyKind::HandOver) };
        let ceremony = people.agree(wanted).await;
        let without = Run { ceremony, recovery_key: None };
        assert_eq!(refused(&people.organisation.admin, without).await, ErrorKind::InvalidParams, "{vault}");
        let ran = people.finish(ceremony).await;
        let file = people.organisation.root().join(format!("{vault}.age"));
        std::fs::write(&file, BASE64.decode(ran.file.unwrap()).unwrap()).unwrap();
        let text = if vault == "acme" {
            client_pair.open(&file)
        } else {
            tools::run("age", &["-d", "-i", &key.display().to_string(), &file.display().to_string()])
        };
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&document["vault"], document["accounts"].as_array().unwrap().len()), (&vault.into(), 3));
        let uri = document["accounts"][1]["uri"].as_str().unwrap();
        assert!(uri.contains(&format!("secret={}&", base32(&seed(1)))), "{uri}");
        let log = read_log(&mut manager, Some(vault)).await;
        let exported = log.iter().filter(|entry| entry.is("account.export", RecordOutcome::Ok));
        assert_eq!(exported.count(), 3);
        let over = log.iter().find(|entry| entry.is("vault.hand_over", RecordOutcome::Ok)).unwrap();
        assert_eq!(over.record.detail["accounts"], 3);
        assert!(over.record.detail["recipient"].as_str().unwrap().contains("SHA256") || vault == "acme");
        // The seeds stay in use until the vault is destroyed.
        all_right(&people.tech, vault, 3, 0).await;
        assert_eq!(refused(&people.manager, Run { ceremony, recovery_key: None }).await, ErrorKind::Conflict, "once");
    }
    // What the client got, somebody else imports: the file is good for a new home.
    assert!(!people.organisation.running().log().contains("AGE-SECRET-KEY"));
    let unconfirmed = propose(&people.manager, proposal("acme", CeremonyKind::RotateKey)).await.unwrap().ceremony;
    let kind = refused(&people.manager, Run { ceremony: unconfirmed, recovery_key: None }).await;
    assert_eq!(kind, ErrorKind::NeedsApproval);
    confirm(&people.organisation.admin, unconfirmed).await.unwrap();
}
