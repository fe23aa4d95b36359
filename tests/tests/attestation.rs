//! A security key that says who made it counts as hardware from its enrolment on; one that cannot prove it does not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use ssh_key::PublicKey;
use strongroom_agent::identity::{AttestationRefusal, ChainError, VendorError, Vendors, attest};
use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::client::CallError;
use strongroom_proto::error::ErrorKind;
use strongroom_proto::login::attestation_challenge;
use strongroom_proto::method::identity::{Enrol, List};
use strongroom_proto::words::{Assurance, IdentityKind};
use strongroom_tests::attestation::{Claim, Maker};
use strongroom_tests::logins::{Wire, fido_provider, sign};
use strongroom_tests::organisation::{Organisation, slug};
use strongroom_tests::people::Person;
use strongroom_tests::trail::read_log;

const CHALLENGE: &str = "strongroom-attestation-v1\nagent SHA256:a\nidentity jana\n";

/// A FIDO key of OpenSSH's software provider.
fn make(folder: &std::path::Path, kind: &str) -> PublicKey {
    let provider = fido_provider().display().to_string();
    let person = Person::with_key_type(kind, folder, folder, &["-t", kind, "-w", &provider]);
    person.public_key().parse().unwrap()
}

#[test]
fn each_flaw_of_an_attestation_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let maker = Maker::new(folder.path());
    let vendors = maker.vendors();
    for kind in ["ed25519-sk", "ecdsa-sk"] {
        let key = make(folder.path(), kind);
        let judge = |file: &[u8]| attest(&vendors, file, CHALLENGE.as_bytes(), &key, Timestamp::now());
        let good = maker.attest(&key, CHALLENGE, &Claim::default());
        let attested = judge(&good).unwrap();
        assert_eq!(attested.aaguid, "a1a1a1a1-a1a1-a1a1-a1a1-a1a1a1a1a1a1");
        assert!(attested.model.contains("Test key key") && attested.digest.len() == 64 && attested.root.len() == 64);

        let claim = |claim: Claim| judge(&maker.attest(&key, CHALLENGE, &claim)).unwrap_err();
        let claims = [
            (Claim { flags: 0x40, ..Claim::default() }, AttestationRefusal::Data),
            (Claim { flags: 0x01, ..Claim::default() }, AttestationRefusal::Data),
            (Claim { application: [7; 32], ..Claim::default() }, AttestationRefusal::Data),
            (Claim { tail: vec![0xa0], ..Claim::default() }, AttestationRefusal::Data),
            (Claim { aaguid: [0xb2; 16], ..Claim::default() }, AttestationRefusal::Model),
        ];
        for (wrong, refusal) in claims {
            assert_eq!(claim(wrong.clone()), refusal, "{kind} {wrong:?}");
        }
        let extended = Claim { flags: 0xc1, tail: vec![0xa0], ..Claim::default() };
        assert!(judge(&maker.attest(&key, CHALLENGE, &extended)).is_ok(), "extensions may follow");

        let elsewhere = maker.attest(&key, &CHALLENGE.replace("jana", "marcus"), &Claim::default());
        assert_eq!(judge(&elsewhere), Err(AttestationRefusal::Signature), "made for somebody else");
        let other = make(
            &{
                let other = folder.path().join(kind);
                std::fs::create_dir(&other).unwrap();
                other
            },
            kind,
        );
        assert_eq!(judge(&maker.attest(&other, CHALLENGE, &Claim::default())), Err(AttestationRefusal::OtherKey));
        for len in 0..good.len() {
            assert!(judge(&good[..len]).is_err(), "cut at {len}");
        }
        for place in (0..good.len()).step_by(3) {
            let mut flipped = good.clone();
            flipped[place] ^= 1;
            // The last eight bytes are reserved, and nobody signs them; the length in front of a reserved string counts.
            assert!(judge(&flipped).is_err() || place >= good.len() - 8, "{kind}: byte {place} may be anything");
        }
        assert_eq!(judge(&[good.as_slice(), &[0]].concat()), Err(AttestationRefusal::Malformed));
        let none = attest(&Vendors::default(), &good, CHALLENGE.as_bytes(), &key, Timestamp::now());
        assert_eq!(none, Err(AttestationRefusal::NoVendors));
    }
}

#[test]
fn a_certificate_counts_only_if_it_leads_to_a_trusted_root() {
    let folder = tempfile::tempdir().unwrap();
    let maker = Maker::new(folder.path());
    let key = make(folder.path(), "ecdsa-sk");
    let leaf = ["basicConstraints=CA:FALSE"];
    let judge = |certificate: &'static str| {
        let file = maker.attest(&key, CHALLENGE, &Claim { certificate, ..Claim::default() });
        attest(&maker.vendors(), &file, CHALLENGE.as_bytes(), &key, Timestamp::now())
    };
    maker.issue("between", "root", &["basicConstraints=critical,CA:TRUE,pathlen:0", "keyUsage=critical,keyCertSign"]);
    maker.issue("below", "between", &leaf);
    assert_eq!(judge("below").unwrap_err(), ChainError::Unknown.into(), "the one between is not known");
    maker.trust("between");
    let root = judge("below").unwrap().root;
    assert_eq!(root, judge("key").unwrap().root);

    maker.issue("deep", "between", &["basicConstraints=critical,CA:TRUE"]);
    maker.issue("deeper", "deep", &leaf);
    maker.trust("deep");
    assert_eq!(judge("deeper").unwrap_err(), ChainError::Unknown.into(), "the path is longer than allowed");
    maker.issue("signer", "root", &["basicConstraints=CA:TRUE", "keyUsage=digitalSignature"]);
    maker.issue("signed", "signer", &leaf);
    maker.trust("signer");
    assert_eq!(judge("signed").unwrap_err(), ChainError::Unknown.into(), "it may not sign certificates");
    maker.issue("by-a-leaf", "key", &leaf);
    maker.trust("key");
    assert_eq!(judge("by-a-leaf").unwrap_err(), ChainError::Unknown.into(), "a key's certificate issues nothing");
    maker.issue("authority", "root", &["basicConstraints=CA:TRUE"]);
    assert_eq!(judge("authority").unwrap_err(), AttestationRefusal::Certificate);
    maker.issue("odd", "root", &["basicConstraints=CA:FALSE", "1.2.3.4=critical,DER:0500"]);
    assert_eq!(judge("odd").unwrap_err(), ChainError::Extension.into());
    maker.issue_for("ended", "root", &leaf, "-1");
    assert_eq!(judge("ended").unwrap_err(), ChainError::Time.into());

    // Somebody else's root of the same name.
    let elsewhere = tempfile::tempdir().unwrap();
    let stranger = Maker::new(elsewhere.path());
    let file = stranger.attest(&key, CHALLENGE, &Claim::default());
    let refused = attest(&maker.vendors(), &file, CHALLENGE.as_bytes(), &key, Timestamp::now());
    assert_eq!(refused.unwrap_err(), ChainError::Unknown.into());

    // Keys of the older kind have no model and sign in their own way.
    maker.issue("u2f", "root", &leaf);
    let file = maker.attest_u2f(&key, CHALLENGE);
    let attested = attest(&maker.vendors(), &file, CHALLENGE.as_bytes(), &key, Timestamp::now()).unwrap();
    assert_eq!(attested.aaguid, "00000000-0000-0000-0000-000000000000");

    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(Vendors::read(empty.path()), Err(VendorError::NoRoot(_))));
    std::fs::write(empty.path().join("x.pem"), "hello").unwrap();
    assert!(matches!(Vendors::read(empty.path()), Err(VendorError::Certificate(_))));
}

#[tokio::test]
async fn an_attested_key_logs_in_as_hardware_and_the_record_says_why() {
    let mut organisation = Organisation::found();
    let root = organisation.root().to_owned();
    let maker = Maker::new(&root.join("maker"));
    organisation.configure(&format!("[login.attestation]\nroots = \"{}\"\n", maker.roots().display()));
    let provider = fido_provider().display().to_string();
    let socket = organisation.launch.socket.clone();
    let person = |name: &str| Person::with_key_type(name, &root, &socket, &["-t", "ed25519-sk", "-w", &provider]);
    let (jana, marcus) = (person("jana"), person("marcus"));
    let mut admin = organisation.admin.connect().await;
    let agent = admin.agent_fingerprint().unwrap().to_owned();
    let enrol = |person: &Person, attestation: Option<Vec<u8>>| Enrol {
        identity: slug(&person.slug),
        name: "Somebody".to_owned(),
        kind: IdentityKind::Technician,
        roles: vec![],
        public_key: person.public_key(),
        attestation: attestation.map(|file| BASE64.encode(file)),
        until: None,
        service: None,
    };

    // What OpenSSH's software key writes has no certificate.
    let (challenge, written) = (root.join("challenge"), root.join("written"));
    std::fs::write(&challenge, organisation.admin.succeed(&["identity", "challenge", "soft"])).unwrap();
    assert_eq!(std::fs::read_to_string(&challenge).unwrap(), attestation_challenge(&agent, &slug("soft")));
    let options = [format!("write-attestation={}", written.display()), format!("challenge={}", challenge.display())];
    let arguments = ["-t", "ed25519-sk", "-w", &provider, "-O", &options[0], "-O", &options[1]];
    let soft = Person::with_key_type("soft", &root, &socket, &arguments);
    let refused = admin.call(&enrol(&soft, Some(std::fs::read(&written).unwrap()))).await.unwrap_err();
    let CallError::Failure(failure) = refused else { panic!("{refused}") };
    assert_eq!(failure.kind, ErrorKind::InvalidParams);
    assert!(failure.message.contains("no certificate"), "{}", failure.message);

    let text = attestation_challenge(&agent, &slug("jana"));
    let file = maker.attest(&jana.public_key().parse().unwrap(), &text, &Claim::default());
    // The same file for somebody else, or with somebody else's key, proves nothing.
    for stranger in
        [enrol(&marcus, Some(file.clone())), Enrol { identity: slug("marcus"), ..enrol(&jana, Some(file.clone())) }]
    {
        let refused = admin.call(&stranger).await;
        assert!(matches!(refused, Err(CallError::Failure(failure)) if failure.kind == ErrorKind::InvalidParams));
    }
    let path = root.join("attestation");
    std::fs::write(&path, file).unwrap();
    let (key, path) = (jana.key.with_extension("pub").display().to_string(), path.display().to_string());
    organisation.admin.succeed(&["identity", "enrol", "jana", "--name", "Jana", "--key", &key, "--attestation", &path]);
    admin.call(&enrol(&marcus, None)).await.unwrap();

    for (person, assurance) in [(&jana, Assurance::HardwareTouch), (&marcus, Assurance::SoftwareKey)] {
        let mut wire = Wire::connect(&socket);
        let opened = wire.open(&person.slug, &person.public_key(), None).unwrap();
        let proved = wire.prove(&sign(&person.key, "strongroom-login@v1", &opened.text(), &[])).unwrap();
        assert_eq!(proved["assurance"], assurance.as_str(), "{}", person.slug);
    }
    let listed = admin.call(&List {}).await.unwrap().items;
    let jana = listed.iter().find(|item| item.identity == slug("jana")).unwrap();
    assert!(jana.keys[0].attested && jana.keys[0].model.as_ref().unwrap().contains("Test key"));
    let log = read_log(&mut admin, None).await;
    let enrolled = log.iter().rfind(|entry| {
        entry.is("identity.enrol", RecordOutcome::Ok) && entry.record.detail.contains_key("attestation")
    });
    let detail = &enrolled.unwrap().record.detail;
    assert_eq!(detail["aaguid"], "a1a1a1a1-a1a1-a1a1-a1a1-a1a1a1a1a1a1");
    assert_eq!(detail["attestation"].as_str().unwrap().len(), 64);
}
