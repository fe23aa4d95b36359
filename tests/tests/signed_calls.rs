//! The attack table of signatures over one call: what is sent to a real agent over its socket, and the reason that its log
//! keeps of the refusal.

use serde_json::{Value, json};
use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::encoding;
use strongroom_proto::login::{LOGIN_NAMESPACE, STEP_UP_NAMESPACE, step_up_text};
use strongroom_proto::method::identity::Certificates;
use strongroom_tests::clients::Clients;
use strongroom_tests::logins::{Wire, altered, certificate_file, certify, sign};
use strongroom_tests::organisation::slug;
use strongroom_tests::people::Person;
use strongroom_tests::trail::read_log;

/// The call is a release, which may be signed anywhere.
#[tokio::test]
async fn every_wrong_signature_over_a_call_is_refused_for_its_reason() {
    let clients = Clients::found().await;
    let tech = &clients.tech;
    let mut wire = Wire::connect(&clients.organisation.launch.socket);
    let opened = wire.open("tech", &tech.public_key(), None).unwrap();
    let login = sign(&tech.key, LOGIN_NAMESPACE, &opened.text(), &[]);
    wire.prove(&login).unwrap();
    let slow = json!({"account": "acme/slow"});
    let digest = |params: &Value| encoding::digest(params).unwrap();
    let mut call = |asked: &Value, done: &Value, make: &dyn Fn(&str) -> String| {
        let challenge = json!({"method": "code.release", "params_sha256": digest(asked)});
        let nonce = wire.call("session.challenge", &challenge).unwrap()["nonce"].as_str().unwrap().to_owned();
        let mut params = done.clone();
        params["step_up"] = json!({"nonce": nonce, "signature": make(&nonce)});
        wire.call("code.release", &params).map(|_| nonce)
    };
    let text = |nonce: &str, method: &str, digest: &str| {
        step_up_text(&opened.agent, opened.instance, nonce, &opened.key, &opened.identity, method, digest)
    };
    let signed = |key: &Person, namespace: &str, text: String| sign(&key.key, namespace, &text, &[]);
    let good = |nonce: &str| signed(tech, STEP_UP_NAMESPACE, text(nonce, "code.release", &digest(&slow)));
    let other = json!({"account": "acme/slow", "reason": "x"});

    let used = call(&slow, &slow, &good).unwrap();
    type Make<'a> = &'a dyn Fn(&str) -> String;
    let rows: [(&str, &Value, Make<'_>, &str); 9] = [
        ("a login proof", &slow, &|_| login.clone(), "signature"),
        ("the login text", &slow, &|_| signed(tech, STEP_UP_NAMESPACE, opened.text()), "signature"),
        (
            "the right text for a login",
            &slow,
            &|nonce| signed(tech, LOGIN_NAMESPACE, text(nonce, "code.release", &digest(&slow))),
            "signature",
        ),
        ("another nonce's signature", &slow, &|_| good(&used), "signature"),
        (
            "other parameters signed",
            &slow,
            &|nonce| signed(tech, STEP_UP_NAMESPACE, text(nonce, "code.release", &digest(&other))),
            "signature",
        ),
        ("other parameters sent", &other, &|nonce| good(nonce), "another call"),
        (
            "another method",
            &slow,
            &|nonce| signed(tech, STEP_UP_NAMESPACE, text(nonce, "request.approve", &digest(&slow))),
            "signature",
        ),
        (
            "another key",
            &slow,
            &|nonce| signed(&clients.manager, STEP_UP_NAMESPACE, text(nonce, "code.release", &digest(&slow))),
            "signature",
        ),
        ("a byte behind it", &slow, &|nonce| altered(&good(nonce), |bytes| bytes.push(0)), "signature"),
    ];
    for (name, done, make, _) in &rows {
        assert_eq!(call(&slow, done, make).unwrap_err(), "unauthenticated", "{name}");
    }
    call(&slow, &slow, &good).unwrap();
    // A nonce serves one call.
    let again = json!({"account": "acme/slow", "step_up": {"nonce": used, "signature": good(&used)}});
    assert_eq!(wire.call("code.release", &again).unwrap_err(), "unauthenticated");

    let mut admin = clients.admin;
    let log = read_log(&mut admin, None).await;
    let refused = log.iter().filter(|entry| entry.is("session.step_up", RecordOutcome::Denied));
    let reasons: Vec<&str> = refused.filter_map(|entry| entry.record.detail["reason"].as_str()).collect();
    let expected: Vec<&str> = rows.iter().map(|(_, _, _, reason)| *reason).chain(["no challenge"]).collect();
    assert_eq!(reasons, expected);
}

/// A session that a certificate opened signs with the certified key; the signature may carry that certificate and no other.
#[tokio::test]
async fn a_session_by_certificate_signs_its_calls_with_the_certified_key() {
    let mut clients = Clients::found().await;
    let (root, socket) = (clients.organisation.root().to_owned(), clients.organisation.launch.socket.clone());
    let (authority, laptop) = (Person::new("authority", &root, &socket), Person::new("laptop", &root, &socket));
    let allow = Certificates { identity: slug("tech"), principals: Some(vec![]) };
    assert!(clients.admin.call(&allow).await.unwrap().in_force, "there is one admin only");
    clients.organisation.configure(&format!("[login.certificates]\nauthorities = [\"{}\"]\n", authority.public_key()));

    let certificate = certify(&authority.key, &laptop.key, &["-n", "tech"]);
    let mut wire = Wire::connect(&socket);
    let opened = wire.open("tech", &laptop.public_key(), Some(&certificate)).unwrap();
    wire.prove(&sign(&laptop.key, LOGIN_NAMESPACE, &opened.text(), &[])).unwrap();
    let slow = json!({"account": "acme/slow"});
    let digest = encoding::digest(&slow).unwrap();
    let mut release = |key: &std::path::Path| {
        let challenge = json!({"method": "code.release", "params_sha256": digest});
        let nonce = wire.call("session.challenge", &challenge).unwrap()["nonce"].as_str().unwrap().to_owned();
        let text = step_up_text(
            &opened.agent,
            opened.instance,
            &nonce,
            &opened.key,
            &opened.identity,
            "code.release",
            &digest,
        );
        let signature = sign(key, STEP_UP_NAMESPACE, &text, &[]);
        let params = json!({"account": "acme/slow", "step_up": {"nonce": nonce, "signature": signature}});
        wire.call("code.release", &params).map(drop)
    };
    assert_eq!(release(&laptop.key), Ok(()));
    assert_eq!(release(&certificate_file(&laptop.key)), Ok(()));
    certify(&authority.key, &laptop.key, &["-n", "tech", "-z", "2"]);
    let other = release(&certificate_file(&laptop.key));
    assert_eq!(other.unwrap_err(), "unauthenticated", "another certificate of the same key was never judged");
    assert_eq!(release(&clients.tech.key).unwrap_err(), "unauthenticated", "another key of the same person");
}
