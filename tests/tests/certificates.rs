//! Login by certificate: an authority of the MSP's own, two people for each person, and an end in every way there is one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::client::{CallError, Client};
use strongroom_proto::error::ErrorKind;
use strongroom_proto::method::Method;
use strongroom_proto::method::identity::{Certificates, Enrol, KeyAdd, KeyRemove, Revoke};
use strongroom_proto::words::{IdentityKind, OrgRole};
use strongroom_tests::logins::{Wire, certificate_file, certify, sign};
use strongroom_tests::organisation::{Organisation, slug};
use strongroom_tests::pending::confirm;
use strongroom_tests::people::Person;
use strongroom_tests::tools;
use strongroom_tests::trail::read_log;

/// Two admins, a technician with a second key, and an authority with a list of revoked keys.
struct House {
    organisation: Organisation,
    second: Person,
    tech: Person,
    laptop: Person,
    authority: PathBuf,
    krl: PathBuf,
}

impl House {
    async fn open() -> Self {
        let mut organisation = Organisation::found();
        let (root, socket) = (organisation.root().to_owned(), organisation.launch.socket.clone());
        let mut founder = organisation.admin.connect().await;
        let second = organisation.enrol(&mut founder, "second", &[OrgRole::Admin]).await;
        let tech = organisation.enrol(&mut founder, "tech", &[]).await;
        second.connect().await;
        let laptop = Person::new("laptop", &root, &socket).called("tech");
        let authority = Person::new("authority", &root, &socket);
        let krl = root.join("login.krl");
        let authorities = root.join("key-authority.pub");
        organisation.configure(&format!(
            "[login.certificates]\nauthorities_file = \"{}\"\nkrl = \"{}\"\n",
            authorities.display(),
            krl.display()
        ));
        let house = Self { organisation, second, tech, laptop, authority: authority.key, krl };
        house.revoke("");
        house
    }

    /// Writes the list of revoked keys anew, in ssh-keygen's words.
    fn revoke(&self, what: &str) {
        let specification = self.organisation.root().join("revoked");
        std::fs::write(&specification, format!("{what}\n")).unwrap();
        let (krl, authority) =
            (self.krl.display().to_string(), self.authority.with_extension("pub").display().to_string());
        tools::run("ssh-keygen", &["-q", "-k", "-f", &krl, "-s", &authority, &specification.display().to_string()]);
    }

    fn certify(&self, key: &Path, more: &[&str]) -> String {
        certify(&self.authority, key, more)
    }

    /// Tries to log in with the laptop's key and its certificate.
    fn log_in(&self, certificate: &str) -> Result<(Wire, Value), String> {
        log_in(&self.organisation, "tech", &self.laptop, certificate)
    }

    /// Two people let certificates for these principals log somebody in.
    async fn allow(&self, identity: &str, principals: &[&str]) {
        let principals = principals.iter().map(|principal| (*principal).to_owned()).collect();
        let call = Certificates { identity: slug(identity), principals: Some(principals) };
        let changed = self.second.connect().await.call(&call).await.unwrap();
        assert!(!changed.in_force);
        confirm(&self.organisation.admin, changed.pending.unwrap()).await.unwrap();
    }

    /// The reasons of the refused logins since the last time.
    async fn reasons(&self, told: &mut usize) -> Vec<String> {
        let mut admin = self.organisation.admin.connect().await;
        let log = read_log(&mut admin, None).await;
        let refused = log.iter().filter(|entry| entry.is("session.login", RecordOutcome::Denied));
        let reasons: Vec<String> =
            refused.filter_map(|entry| entry.record.detail.get("reason")?.as_str().map(str::to_owned)).collect();
        let new = reasons[*told..].to_vec();
        *told = reasons.len();
        new
    }
}

fn log_in(
    organisation: &Organisation,
    identity: &str,
    key: &Person,
    certificate: &str,
) -> Result<(Wire, Value), String> {
    let mut wire = Wire::connect(&organisation.launch.socket);
    let opened = wire.open(identity, &key.public_key(), Some(certificate))?;
    let proved = wire.prove(&sign(&key.key, "strongroom-login@v1", &opened.text(), &[]))?;
    Ok((wire, proved))
}

async fn refusal<M: Method>(client: &mut Client, call: &M) -> ErrorKind {
    match client.call(call).await {
        Err(CallError::Failure(failure)) => failure.kind,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("{} was not refused", M::NAME),
    }
}

#[tokio::test]
async fn a_certificate_logs_in_once_two_people_have_said_so_and_until_somebody_ends_it() {
    let mut house = House::open().await;
    let mut told = 0;
    let certificate = house.certify(&house.laptop.key, &["-n", "tech", "-z", "4711", "-I", "laptop of tech"]);
    assert_eq!(house.log_in(&certificate).err().as_deref(), Some("unauthenticated"));
    assert_eq!(house.reasons(&mut told).await, ["certificate: not for this identity"]);

    // One admin alone is not enough, whoever it is.
    let mut second = house.second.connect().await;
    let allow = Certificates { identity: slug("tech"), principals: Some(vec![]) };
    let asked = second.call(&allow).await.unwrap();
    assert!(!asked.in_force && asked.pending.is_some());
    assert!(house.log_in(&certificate).is_err());
    let own = Certificates { identity: slug("second"), principals: Some(vec![]) };
    assert_eq!(refusal(&mut second, &own).await, ErrorKind::Denied, "nor for oneself");
    assert!(confirm(&house.second, asked.pending.unwrap()).await.is_err(), "nor twice the same");
    confirm(&house.organisation.admin, asked.pending.unwrap()).await.unwrap();
    let (_wire, proved) = house.log_in(&certificate).unwrap();
    assert_eq!(proved["assurance"], "software-key");
    let ends: jiff::Timestamp = proved["expires_at"].as_str().unwrap().parse().unwrap();
    assert!(ends <= jiff::Timestamp::now() + Duration::from_secs(3600), "the session ends with the certificate");
    assert_eq!(house.reasons(&mut told).await, ["certificate: not for this identity"]);

    let mut admin = house.organisation.admin.connect().await;
    let log = read_log(&mut admin, None).await;
    let login = log
        .iter()
        .rfind(|entry| entry.is("session.login", RecordOutcome::Ok) && entry.record.detail.contains_key("ca"));
    let detail = &login.unwrap().record.detail;
    let authority = format!("{}.pub", house.authority.display());
    assert_eq!(detail["ca"], strongroom_tests::logins::fingerprint(&std::fs::read_to_string(authority).unwrap()));
    assert_eq!(detail["serial"], "4711");
    assert!(login.unwrap().record.h.contains_key("key_id"));

    // The signature may carry the certificate, as ssh-keygen writes it when it is given one.
    let mut carrying = Wire::connect(&house.organisation.launch.socket);
    let opened = carrying.open("tech", &house.laptop.public_key(), Some(&certificate)).unwrap();
    let signature = sign(&certificate_file(&house.laptop.key), "strongroom-login@v1", &opened.text(), &[]);
    assert!(carrying.prove(&signature).is_ok());

    // No puppets: the key is this person's for ever, and nobody comes in with a colleague's.
    let plain = std::fs::read_to_string(house.laptop.key.with_extension("pub")).unwrap();
    let mut without = Wire::connect(&house.organisation.launch.socket);
    let opened = without.open("tech", plain.trim(), None).unwrap();
    assert!(without.prove(&sign(&house.laptop.key, "strongroom-login@v1", &opened.text(), &[])).is_err());
    house.organisation.restart();
    house.reasons(&mut told).await;
    let mut founder = house.organisation.admin.connect().await;
    let given = founder.call(&Certificates { identity: slug("second"), principals: Some(vec![]) }).await.unwrap();
    assert!(!given.in_force);
    let both = house.certify(&house.laptop.key, &["-n", "tech,second"]);
    assert_eq!(log_in(&house.organisation, "second", &house.laptop, &both).err().as_deref(), Some("unauthenticated"));
    let colleagues = house.certify(&house.second.key, &["-n", "tech"]);
    assert!(log_in(&house.organisation, "tech", &house.second, &colleagues).is_err());
    let strangers = house.certify(&house.laptop.key, &["-n", "second"]);
    assert!(house.log_in(&strangers).is_err());
    assert_eq!(
        house.reasons(&mut told).await,
        [
            "certificate: not for this identity",
            "certificate: the key is somebody else's",
            "certificate: the certificate names somebody else"
        ]
    );
    let stolen = KeyAdd { identity: slug("second"), public_key: plain.clone(), attestation: None };
    assert_eq!(refusal(&mut founder, &stolen).await, ErrorKind::Conflict);
    let taken = Certificates { identity: slug("tech"), principals: Some(vec!["tech".into(), "second".into()]) };
    assert_eq!(refusal(&mut founder, &taken).await, ErrorKind::Conflict, "a principal is one person's");

    // Failures enough: the brake is let go.
    drop((second, founder, admin));
    house.organisation.restart();
    // A session that a certificate opened acts.
    let (mut wire_again, _) = house.log_in(&certificate).unwrap();
    assert!(wire_again.call("session.whoami", &json!({})).is_ok());

    // The list of revoked keys counts from the next login on, and closes the door when it is gone.
    house.revoke("serial: 4711");
    assert!(house.log_in(&certificate).is_err());
    std::fs::remove_file(&house.krl).unwrap();
    let fresh = house.certify(&house.laptop.key, &["-n", "tech", "-z", "4712"]);
    assert!(house.log_in(&fresh).is_err());
    house.revoke("serial: 4711");
    assert!(house.log_in(&fresh).is_ok());
    let reasons = house.reasons(&mut told).await;
    assert!(reasons[0].contains("has been revoked") && reasons[1].contains("cannot be used"), "{reasons:?}");
    // Whoever is in with a revoked certificate is put out soon.
    let begun = Instant::now();
    while wire_again.call("session.whoami", &json!({})).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the session goes on");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test]
async fn what_ends_login_by_certificate_ends_it_at_once() {
    let house = House::open().await;
    house.allow("tech", &["tech@example.net"]).await;
    let certificate = house.certify(&house.laptop.key, &["-n", "tech@example.net"]);
    let mut admin = house.organisation.admin.connect().await;

    // A name that certificates know is nobody else's from then on.
    let squatter = Person::new("squatter", house.organisation.root(), &house.organisation.launch.socket);
    house.allow("tech", &["tech@example.net", "helpdesk"]).await;
    let enrol = Enrol {
        identity: slug("helpdesk"),
        name: "Helpdesk".to_owned(),
        kind: IdentityKind::Technician,
        roles: vec![],
        public_key: squatter.public_key(),
        attestation: None,
        until: None,
        service: None,
    };
    assert_eq!(refusal(&mut admin, &enrol).await, ErrorKind::Conflict);

    let session = house.log_in(&certificate).unwrap();
    drop(session);
    // Fewer principals need no second person, and whom none names any more is out.
    let fewer = Certificates { identity: slug("tech"), principals: Some(vec!["helpdesk".to_owned()]) };
    let (_kept, _) = house.log_in(&certificate).unwrap();
    let changed = admin.call(&fewer).await.unwrap();
    assert!(changed.in_force && changed.pending.is_none());
    assert_eq!(changed.sessions, 1);
    assert!(house.log_in(&certificate).is_err());

    let helpdesk = house.certify(&house.laptop.key, &["-n", "helpdesk"]);
    let (_kept, _) = house.log_in(&helpdesk).unwrap();
    let withdrawn = admin.call(&Certificates { identity: slug("tech"), principals: None }).await.unwrap();
    assert_eq!(withdrawn.sessions, 1);
    assert!(house.log_in(&helpdesk).is_err());

    // A removed key stays removed, whatever certifies it.
    house.allow("tech", &["helpdesk"]).await;
    assert!(house.log_in(&helpdesk).is_ok());
    let fingerprint = strongroom_tests::logins::fingerprint(&house.laptop.public_key());
    admin.call(&KeyRemove { identity: slug("tech"), fingerprint }).await.unwrap();
    assert!(house.log_in(&helpdesk).is_err());

    // And a revoked identity is revoked, with a new key too.
    let desk = Person::new("desk", house.organisation.root(), &house.organisation.launch.socket);
    let new = house.certify(&desk.key, &["-n", "helpdesk"]);
    assert!(log_in(&house.organisation, "tech", &desk, &new).is_ok());
    admin.call(&Revoke { identity: slug("tech"), reason: "left".to_owned() }).await.unwrap();
    assert!(log_in(&house.organisation, "tech", &desk, &new).is_err());
}

#[tokio::test]
async fn the_command_finds_certificates_beside_keys_and_in_the_ssh_agent() {
    let house = House::open().await;
    house.allow("tech", &[]).await;
    let call = |key: Option<&Path>, agent: Option<&Path>| {
        let mut command = house.tech.strongroom(&["whoami"]);
        command.env_remove("STRONGROOM_KEY");
        key.map(|key| command.env("STRONGROOM_KEY", key));
        agent.map(|agent| command.env("SSH_AUTH_SOCK", agent));
        let output = tools::output(&mut command);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(text).ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let key = house.laptop.key.clone();
    assert!(call(Some(&key), None).is_err(), "the key alone is not enrolled");
    house.certify(&key, &["-n", "tech"]);
    let fingerprint = strongroom_tests::logins::fingerprint(&house.laptop.public_key());
    for named in [key.clone(), key.with_extension("pub"), certificate_file(&key)] {
        let who = call(Some(&named), None).unwrap_or_else(|error| panic!("{}: {error}", named.display()));
        assert!(who.contains("tech (Test tech)") && who.contains(&fingerprint), "{who}");
    }

    // ssh-add takes key and certificate from beside each other: that is one key, not two.
    let socket = house.organisation.root().join("ssh-agent.sock");
    let mut agent = Command::new("ssh-agent").args(["-D", "-a"]).arg(&socket).stdout(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while !socket.exists() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the ssh-agent does not listen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let added = tools::output(Command::new("ssh-add").arg("-q").arg(&key).env("SSH_AUTH_SOCK", &socket));
    assert!(added.status.success());
    let by_agent = call(None, Some(&socket));
    std::fs::remove_file(&key).unwrap();
    let by_name = call(Some(&certificate_file(&key)), Some(&socket));
    agent.kill().unwrap();
    agent.wait().unwrap();
    for who in [by_agent.unwrap(), by_name.unwrap()] {
        assert!(who.contains(&fingerprint), "{who}");
    }
}
