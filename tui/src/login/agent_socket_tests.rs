use std::os::unix::net::UnixListener;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

use super::*;
use crate::login::test_keys::{Agent, KeyFolder, TestPerson, ssh_keygen_accepts};

const NAMESPACE: &str = "strongroom-login@v1";

#[test]
fn every_key_type_in_a_real_agent_signs() {
    let folder = KeyFolder::new();
    let agent = Agent::start(&folder);
    let person = Arc::new(TestPerson::default());
    let kinds = [
        ("ed25519", ""),
        ("ecdsa", "256"),
        ("ecdsa", "384"),
        ("ecdsa", "521"),
        ("rsa", "3072"),
        ("ed25519-sk", ""),
        ("ecdsa-sk", ""),
    ];
    let keys: Vec<_> = kinds.iter().map(|(kind, bits)| folder.make(kind, bits, "")).collect();
    for key in &keys {
        agent.add(key, &[]);
    }
    let ssh_agent = SshAgent::at(&agent.socket);
    let offered = ssh_agent.keys().unwrap();
    assert_eq!(offered.len(), kinds.len());
    for (key, offered) in keys.iter().zip(&offered) {
        let signer = AgentSigner::new(&ssh_agent, offered, person.clone()).unwrap();
        assert_eq!(signer.public_key().key_data(), key.public().key_data());
        let signature = signer.sign(NAMESPACE, b"text\n").unwrap();
        assert!(ssh_keygen_accepts(&key.public_line(), NAMESPACE, b"text\n", &signature), "{}", key.public_line());
        assert!(!ssh_keygen_accepts(&key.public_line(), NAMESPACE, b"other\n", &signature));
        sshsig::read(NAMESPACE, &signature).unwrap();
    }
    assert_eq!(person.touches.load(Ordering::SeqCst), 2, "security keys are announced, others are not");
}

#[test]
fn a_certificate_and_its_key_are_one_key_and_an_emptied_agent_refuses() {
    let folder = KeyFolder::new();
    let agent = Agent::start(&folder);
    let (key, authority) = (folder.make("ed25519", "", ""), folder.make("ed25519", "", ""));
    key.certificate(&authority);
    agent.add(&key, &[]);
    let ssh_agent = SshAgent::at(&agent.socket);
    let offered = ssh_agent.keys().unwrap();
    assert_eq!(offered.len(), 2);
    let person: Arc<dyn Person> = Arc::new(TestPerson::default());
    let mut signers = AgentSigner::all(&ssh_agent, &person).unwrap();
    assert_eq!(signers.len(), 1);
    let signer = signers.remove(0);
    assert_eq!(signer.public_key().key_data(), key.public().key_data());
    assert!(signer.certificate().is_some());
    let removed = agent.ssh_add().args(["-q", "-D"]).stderr(std::process::Stdio::null()).status().unwrap();
    assert!(removed.success());
    assert!(ssh_agent.keys().unwrap().is_empty());
    assert!(signer.sign(NAMESPACE, b"text").unwrap_err().0.contains("refused to sign"));
}

/// An agent that answers one request with these bytes.
fn answering(reply: Vec<u8>) -> (tempfile::TempDir, SshAgent) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 5];
        stream.read_exact(&mut request).unwrap();
        stream.write_all(&reply).unwrap();
    });
    (folder, SshAgent::at(&path))
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    put(&mut frame, body);
    frame
}

#[test]
fn a_hostile_agent_costs_neither_memory_nor_patience() {
    let start = Instant::now();
    let mut short = vec![IDENTITIES_ANSWER, 0, 0, 0, 1];
    short.extend_from_slice(&[0, 0, 1, 0]);
    for reply in [
        vec![0xff; 4],
        vec![0; 4],
        framed(&[IDENTITIES_ANSWER]),
        framed(&[IDENTITIES_ANSWER, 0xff, 0xff, 0xff, 0xff]),
        framed(&short),
        framed(&[99]),
    ] {
        let (_folder, agent) = answering(reply.clone());
        assert!(matches!(agent.keys(), Err(AgentError::Protocol)), "{reply:?}");
    }
    let (_folder, agent) = answering(framed(&[FAILURE]));
    assert!(matches!(agent.keys(), Err(AgentError::Refused)));
    let (_folder, agent) = answering(vec![0, 0]);
    assert!(matches!(agent.keys(), Err(AgentError::Socket { .. })));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn an_unknown_key_type_and_a_wild_comment_do_not_hide_the_other_keys() {
    let mut body = vec![IDENTITIES_ANSWER, 0, 0, 0, 2];
    put(&mut body, b"\0\0\0\x07unknown\0\0\0\x01x");
    put(&mut body, b"\xff\xfe not text");
    let folder = KeyFolder::new();
    let key = folder.make("ed25519", "", "");
    put(&mut body, &key.public().to_bytes().unwrap());
    put(&mut body, b"fine");
    let (_folder, agent) = answering(framed(&body));
    let keys = agent.keys().unwrap();
    let person: Arc<dyn Person> = Arc::new(TestPerson::default());
    assert!(AgentSigner::new(&agent, &keys[0], Arc::clone(&person)).is_none());
    assert!(AgentSigner::new(&agent, &keys[1], person).is_some());
}
