//! The attack table of logins (signed_calls.rs has that of single calls): what is shown to a real agent over its socket, what it answers, and the reason that its
//! log keeps. The answer is always the same; the reason never leaves the log.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::login::{LOGIN_NAMESPACE, STEP_UP_NAMESPACE};
use strongroom_proto::method::identity::{Certificates, KeyAdd};
use strongroom_proto::words::OrgRole;
use strongroom_tests::logins::{Opened, Wire, altered, certify, fido_provider, sign};
use strongroom_tests::organisation::{Organisation, slug};
use strongroom_tests::people::Person;
use strongroom_tests::tools;
use strongroom_tests::trail::read_log;

/// Failures that an agent lets pass without a pause.
const FREE: usize = 4;

/// One row: what is shown, the answer, and a part of the recorded reason; no reason where nothing is recorded.
type Row = (&'static str, Box<dyn Fn(&Bench) -> Result<Value, String>>, &'static str, &'static str);

struct Bench {
    organisation: Organisation,
    tech: Person,
    other: Person,
    rsa: Person,
    untouched: Person,
    touched: Person,
    certified: Person,
    authority: PathBuf,
    stranger: PathBuf,
    /// A login of an earlier run of the agent.
    earlier: Opened,
    /// A signature that was good once.
    used: String,
}

impl Bench {
    async fn found() -> Self {
        let mut organisation = Organisation::found();
        let (root, socket) = (organisation.root().to_owned(), organisation.launch.socket.clone());
        let authority = Person::new("authority", &root, &socket).key;
        let stranger = Person::new("stranger", &root, &socket).key;
        let file = authority.with_extension("pub").display().to_string();
        let mut admin = organisation.admin.connect().await;
        let tech = organisation.enrol(&mut admin, "tech", &[]).await;
        let other = organisation.enrol(&mut admin, "other", &[OrgRole::Auditor]).await;
        let provider = fido_provider().display().to_string();
        let sk = ["-t", "ed25519-sk", "-w", &provider];
        let person = |name: &str, kind: &[&str]| Person::with_key_type(name, &root, &socket, kind).called("tech");
        let rsa = person("rsa", &["-t", "rsa", "-b", "3072"]);
        let untouched = person("untouched", &[&sk[..], &["-O", "no-touch-required"]].concat());
        let touched = person("touched", &sk);
        for key in [&rsa, &untouched, &touched] {
            let add = KeyAdd { identity: slug("tech"), public_key: key.public_key(), attestation: None };
            assert!(admin.call(&add).await.unwrap().in_force, "there is one admin only");
        }
        let allow = Certificates { identity: slug("tech"), principals: Some(vec![]) };
        assert!(admin.call(&allow).await.unwrap().in_force);
        let certified = person("certified", &["-t", "ed25519"]);
        let mut wire = Wire::connect(&socket);
        let earlier = wire.open("tech", &tech.public_key(), None).unwrap();
        let used = sign(&tech.key, LOGIN_NAMESPACE, &earlier.text(), &[]);
        wire.prove(&used).unwrap();
        drop((admin, wire));
        organisation.configure(&format!("[login.certificates]\nauthorities_file = \"{file}\"\n"));
        Self { organisation, tech, other, rsa, untouched, touched, certified, authority, stranger, earlier, used }
    }

    fn open(&self, key: &Person) -> Result<(Wire, Opened), String> {
        let mut wire = Wire::connect(&self.organisation.launch.socket);
        let opened = wire.open("tech", &key.public_key(), None)?;
        Ok((wire, opened))
    }

    /// Logs in with a signature that is made from the text and then changed.
    fn shown(&self, key: &Person, make: impl FnOnce(&Opened) -> String) -> Result<Value, String> {
        let (mut wire, opened) = self.open(key)?;
        wire.prove(&make(&opened))
    }

    /// Logs in with a certificate of these arguments for a key of nobody's.
    fn certificate(&self, authority: &Path, more: &[&str]) -> Result<Value, String> {
        let certificate = certify(authority, &self.certified.key, more);
        let mut wire = Wire::connect(&self.organisation.launch.socket);
        let opened = wire.open("tech", &self.certified.public_key(), Some(&certificate))?;
        wire.prove(&good(&self.certified, &opened))
    }
}

fn good(key: &Person, opened: &Opened) -> String {
    sign(&key.key, LOGIN_NAMESPACE, &opened.text(), &[])
}

/// An RSA signature with SHA-1, as an old agent makes it when nobody asks for SHA-2. OpenSSH does not write such a signature
/// any more, so openssl signs and the envelope is made here.
fn sha1(key: &Person, opened: &Opened) -> String {
    let signed =
        ssh_key::SshSig::signed_data(LOGIN_NAMESPACE, ssh_key::HashAlg::Sha512, opened.text().as_bytes()).unwrap();
    let pem = key.key.with_extension("pem");
    std::fs::copy(&key.key, &pem).unwrap();
    tools::run("ssh-keygen", &["-q", "-p", "-m", "PEM", "-N", "", "-f", &pem.display().to_string()]);
    let data = key.key.with_extension("data");
    std::fs::write(&data, signed).unwrap();
    let output = tools::output(Command::new("openssl").args(["dgst", "-sha1", "-sign"]).arg(&pem).arg(&data));
    assert!(output.status.success());
    altered(&good(key, opened), |bytes| {
        // The last string holds algorithm and signature; the good one has the same length of signature.
        let len = output.stdout.len();
        let tail = 4 + 4 + "rsa-sha2-512".len() + 4 + len;
        bytes.truncate(bytes.len() - tail);
        let strings = [b"ssh-rsa".as_slice(), &output.stdout];
        let blob: Vec<u8> = strings
            .iter()
            .flat_map(|string| [&u32::try_from(string.len()).unwrap().to_be_bytes(), *string].concat())
            .collect();
        bytes.extend(u32::try_from(blob.len()).unwrap().to_be_bytes());
        bytes.extend(blob);
    })
}

fn rows() -> Vec<Row> {
    const REFUSED: &str = "unauthenticated";
    const WRONG: &str = "signature: the signature is wrong";
    fn row(
        name: &'static str,
        attack: impl Fn(&Bench) -> Result<Value, String> + 'static,
        answer: &'static str,
        reason: &'static str,
    ) -> Row {
        (name, Box::new(attack), answer, reason)
    }
    let text = |change: fn(String) -> String| {
        move |bench: &Bench| {
            bench.shown(&bench.tech, |o| sign(&bench.tech.key, LOGIN_NAMESPACE, &change(o.text()), &[]))
        }
    };
    vec![
        row(
            "forged",
            |b| b.shown(&b.tech, |o| altered(&good(&b.tech, o), |bytes| *bytes.last_mut().unwrap() ^= 1)),
            REFUSED,
            WRONG,
        ),
        row("replayed", |b| b.shown(&b.tech, |_| b.used.clone()), REFUSED, WRONG),
        row(
            "truncated",
            |b| b.shown(&b.tech, |o| altered(&good(&b.tech, o), |bytes| bytes.truncate(bytes.len() - 1))),
            REFUSED,
            "no armoured SSH signature",
        ),
        row(
            "a byte behind it",
            |b| b.shown(&b.tech, |o| altered(&good(&b.tech, o), |bytes| bytes.push(0))),
            REFUSED,
            "bytes follow",
        ),
        row(
            "version 0",
            |b| b.shown(&b.tech, |o| altered(&good(&b.tech, o), |bytes| bytes[9] = 0)),
            REFUSED,
            "version 0",
        ),
        row("no signature", |b| b.shown(&b.tech, |_| "hello".to_owned()), REFUSED, "no armoured SSH signature"),
        row(
            "another namespace",
            |b| b.shown(&b.tech, |o| sign(&b.tech.key, "file", &o.text(), &[])),
            REFUSED,
            "another purpose",
        ),
        row(
            "another hash",
            |b| b.shown(&b.tech, |o| sign(&b.tech.key, LOGIN_NAMESPACE, &o.text(), &["-O", "hashalg=sha256"])),
            REFUSED,
            "not sha512",
        ),
        row("another agent", text(|text| text.replace("agent SHA256:", "agent SHA256:x")), REFUSED, WRONG),
        row(
            "another run of the agent",
            |b| b.shown(&b.tech, |o| good(&b.tech, &Opened { instance: b.earlier.instance, ..o.clone() })),
            REFUSED,
            WRONG,
        ),
        row(
            "another nonce",
            |b| b.shown(&b.tech, |o| good(&b.tech, &Opened { nonce: "00".repeat(32), ..o.clone() })),
            REFUSED,
            WRONG,
        ),
        row("another identity", text(|text| text.replace("identity tech", "identity other")), REFUSED, WRONG),
        row("another purpose", text(|text| text.replace("purpose login", "purpose code.release")), REFUSED, WRONG),
        row("another text altogether", text(|_| "hello\n".to_owned()), REFUSED, WRONG),
        row(
            "a step-up as a login",
            |b| b.shown(&b.tech, |o| sign(&b.tech.key, STEP_UP_NAMESPACE, &o.text(), &[])),
            REFUSED,
            "another purpose",
        ),
        row("another key's signature", |b| b.shown(&b.tech, |o| good(&b.other, o)), REFUSED, "another key"),
        row("a colleague's key", |b| b.shown(&b.other.called("tech"), |o| good(&b.other, o)), REFUSED, "unknown key"),
        row("a key of nobody's", |b| b.shown(&b.certified, |o| good(&b.certified, o)), REFUSED, "unknown key"),
        row(
            "a second attempt on one nonce",
            |b| {
                let (mut wire, opened) = b.open(&b.tech)?;
                assert_eq!(wire.prove("hello").unwrap_err(), REFUSED);
                wire.prove(&good(&b.tech, &opened))
            },
            REFUSED,
            "no armoured SSH signature",
        ),
        row("SHA-1", |b| b.shown(&b.rsa, |o| sha1(&b.rsa, o)), REFUSED, "signature"),
        row(
            "RSA of 2048 bits",
            |b| {
                let weak = Person::with_key_type(
                    "weak",
                    b.organisation.root(),
                    &b.organisation.launch.socket,
                    &["-t", "rsa", "-b", "2048"],
                );
                b.shown(&weak, |o| good(&weak, o))
            },
            "invalid_params",
            "",
        ),
        row(
            "a security key that nobody touched",
            |b| b.shown(&b.untouched, |o| good(&b.untouched, o)),
            REFUSED,
            "not touched",
        ),
        row(
            "a flag that says it was",
            |b| {
                b.shown(&b.untouched, |o| {
                    altered(&good(&b.untouched, o), |bytes| {
                        let at = bytes.len() - 5;
                        bytes[at] |= 1;
                    })
                })
            },
            REFUSED,
            WRONG,
        ),
        row(
            "a security key of another application",
            |b| {
                let provider = fido_provider().display().to_string();
                let kind = ["-t", "ed25519-sk", "-w", &provider, "-O", "application=ssh:else"];
                let key = Person::with_key_type("foreign", b.organisation.root(), &b.organisation.launch.socket, &kind);
                b.shown(&key, |o| good(&key, o))
            },
            "invalid_params",
            "",
        ),
        row(
            "a certificate in the key's place",
            |b| {
                certify(&b.authority, &b.tech.key, &["-n", "tech"]);
                b.shown(&b.tech, |o| {
                    sign(&strongroom_tests::logins::certificate_file(&b.tech.key), LOGIN_NAMESPACE, &o.text(), &[])
                })
            },
            REFUSED,
            "another key",
        ),
        row(
            "a certificate of a stranger",
            |b| b.certificate(&b.stranger, &["-n", "tech"]),
            REFUSED,
            "authority is not trusted",
        ),
        row(
            "a certificate for somebody else",
            |b| b.certificate(&b.authority, &["-n", "other"]),
            REFUSED,
            "names somebody else",
        ),
        row("a certificate for everybody", |b| b.certificate(&b.authority, &[]), REFUSED, "names no principal"),
        row(
            "a certificate that has ended",
            |b| b.certificate(&b.authority, &["-n", "tech", "-V", "-2h:-1h"]),
            REFUSED,
            "expired",
        ),
        row(
            "a certificate for ever",
            |b| b.certificate(&b.authority, &["-n", "tech", "-V", "always:forever"]),
            REFUSED,
            "longer than",
        ),
        row(
            "a certificate with a command",
            |b| b.certificate(&b.authority, &["-n", "tech", "-O", "force-command=x"]),
            REFUSED,
            "critical option",
        ),
        row(
            "a certificate that wants a PIN",
            |b| b.certificate(&b.authority, &["-n", "tech", "-O", "verify-required"]),
            REFUSED,
            "PIN or a finger",
        ),
        row("a host certificate", |b| b.certificate(&b.authority, &["-n", "tech", "-h"]), "invalid_params", ""),
        // And what is right is taken.
        row("the plain good one", |b| b.shown(&b.tech, |o| good(&b.tech, o)), "ok", ""),
        row("a touched security key", |b| b.shown(&b.touched, |o| good(&b.touched, o)), "ok", ""),
        row("RSA with SHA-2", |b| b.shown(&b.rsa, |o| good(&b.rsa, o)), "ok", ""),
        row("a good certificate", |b| b.certificate(&b.authority, &["-n", "tech"]), "ok", ""),
    ]
}

#[tokio::test]
async fn every_wrong_login_is_refused_for_its_reason_and_the_right_ones_are_not() {
    let mut bench = Bench::found().await;
    let mut expected = Vec::new();
    for (place, (name, attack, answer, reason)) in rows().into_iter().enumerate() {
        if place % FREE == FREE - 1 {
            bench.organisation.restart();
        }
        let found = attack(&bench).err().unwrap_or_else(|| "ok".to_owned());
        assert_eq!(found, answer, "{name}");
        if !reason.is_empty() {
            expected.push((name, reason));
        }
    }
    bench.organisation.restart();
    let log = read_log(&mut bench.organisation.admin.connect().await, None).await;
    let refused = log.iter().filter(|entry| entry.is("session.login", RecordOutcome::Denied));
    let reasons: Vec<&str> = refused.filter_map(|entry| entry.record.detail["reason"].as_str()).collect();
    assert_eq!(reasons.len(), expected.len(), "{reasons:?}");
    for (found, (name, reason)) in reasons.iter().zip(expected) {
        assert!(found.contains(reason), "{name}: {found}");
    }
}
