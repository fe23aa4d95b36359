use std::path::Path;

use ssh_key::private::{EcdsaKeypair, Ed25519Keypair, PrivateKey};
use ssh_key::{HashAlg, LineEnding};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream};

use super::*;
use crate::client::{ConnectionError, KnownAgents};
use crate::ids::{Instance, SessionId};
use crate::method::session::{Endorsement, Whoami};
use crate::words::Assurance;

struct TestSigner(PrivateKey);

impl Signer for TestSigner {
    fn public_key(&self) -> &PublicKey {
        self.0.public_key()
    }

    fn sign(&self, namespace: &str, text: &[u8]) -> Result<String, SignError> {
        Ok(self.0.sign(namespace, HashAlg::Sha512, text).unwrap().to_pem(LineEnding::LF).unwrap())
    }
}

struct Trusting;

impl Pins for Trusting {
    fn check(&self, _: &Path, _: &str, _: &str) -> PinVerdict {
        PinVerdict::Pinned
    }
}

fn ed25519(seed: u8) -> PrivateKey {
    Ed25519Keypair::from_seed(&[seed; 32]).into()
}

/// An agent identity key. ssh-key cannot read the one P-256 key in 256 whose scalar begins with a zero byte, so such a key
/// is made again.
fn p256() -> PrivateKey {
    let folder = tempfile::tempdir().unwrap();
    let key = (0..10)
        .find_map(|attempt| {
            let path = folder.path().join(attempt.to_string());
            let made = std::process::Command::new("ssh-keygen")
                .args(["-q", "-t", "ecdsa", "-b", "256", "-N", "", "-C", "", "-f"])
                .arg(&path)
                .status()
                .unwrap();
            assert!(made.success());
            PrivateKey::read_openssh_file(&path).ok()
        })
        .unwrap();
    assert!(matches!(key.key_data().ecdsa(), Some(EcdsaKeypair::NistP256 { .. })));
    key
}

fn text(key: &PublicKey) -> String {
    openssh(key).unwrap()
}

fn opened(identity: &PrivateKey, session: &PrivateKey, client_nonce: &str, from_s: i64, life_s: i64) -> Opened {
    let instance = Instance::random();
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
    let not_before = now + SignedDuration::from_secs(from_s);
    let not_after = not_before + SignedDuration::from_secs(life_s);
    let session_key = text(session.public_key());
    let agent = sshsig::fingerprint(identity.public_key());
    let endorsed = endorsement_text(&agent, instance, &session_key, not_before, not_after);
    let sign = |key: &PrivateKey, namespace: &str, text: &str| {
        key.sign(namespace, HashAlg::Sha512, text.as_bytes()).unwrap().to_pem(LineEnding::LF).unwrap()
    };
    let nonce = "ab".repeat(NONCE_LEN);
    Opened {
        agent_key: text(identity.public_key()),
        endorsement: Endorsement {
            session_key,
            not_before,
            not_after,
            signature: sign(identity, ENDORSEMENT_NAMESPACE, &endorsed),
        },
        instance,
        agent_signature: sign(session, AGENT_NAMESPACE, &agent_text(instance, client_nonce, &nonce)),
        nonce,
    }
}

fn refusal(opened: &Opened, client_nonce: &str) -> &'static str {
    match check_agent(opened, client_nonce, Timestamp::now()) {
        Ok(_) => "accepted",
        Err(LoginError::Agent { what, .. }) => what,
        Err(LoginError::Clock { .. }) => "clock",
        Err(_) => "other",
    }
}

#[test]
fn an_agent_passes_only_with_every_part_of_its_proof() {
    let (identity, session, nonce) = (p256(), ed25519(1), "01".repeat(NONCE_LEN));
    let good = opened(&identity, &session, &nonce, -10, 24 * 3600);
    assert_eq!(check_agent(&good, &nonce, Timestamp::now()).unwrap(), sshsig::fingerprint(identity.public_key()));
    assert_eq!(refusal(&good, &"02".repeat(NONCE_LEN)), "its answer to our nonce");

    let other_instance = Opened { instance: Instance::random(), ..good.clone() };
    assert_eq!(refusal(&other_instance, &nonce), "the endorsement of its session key");
    let other_key = Opened { agent_key: text(p256().public_key()), ..good.clone() };
    assert_eq!(refusal(&other_key, &nonce), "the endorsement of its session key");
    let no_p256 = Opened { agent_key: text(session.public_key()), ..good.clone() };
    assert_eq!(refusal(&no_p256, &nonce), "its key is not ECDSA P-256");
    let mut longer = good.clone();
    longer.endorsement.not_after = good.endorsement.not_after + SignedDuration::from_secs(1);
    assert_eq!(refusal(&longer, &nonce), "the endorsement of its session key");
    let mut swapped = good.clone();
    swapped.endorsement.session_key = text(ed25519(2).public_key());
    assert_eq!(refusal(&swapped, &nonce), "the endorsement of its session key");
    let line = Opened { nonce: "ab\npurpose other".to_owned(), ..good.clone() };
    assert_eq!(refusal(&line, &nonce), "its nonce is not 64 hex digits");
    let other_session = opened(&identity, &session, &nonce, -10, 60);
    let stolen = Opened { endorsement: other_session.endorsement, ..good };
    assert_eq!(refusal(&stolen, &nonce), "the endorsement of its session key");
}

#[test]
fn an_endorsement_must_be_current_and_short() {
    let (identity, session, nonce) = (p256(), ed25519(1), "01".repeat(NONCE_LEN));
    let verdict = |from, life| refusal(&opened(&identity, &session, &nonce, from, life), &nonce);
    assert_eq!(verdict(200, 60), "accepted");
    assert_eq!(verdict(400, 60), "clock");
    assert_eq!(verdict(-260, 60), "accepted");
    assert_eq!(verdict(-460, 60), "clock");
    assert_eq!(verdict(0, ENDORSEMENT_LIFE_S_MAX), "accepted");
    assert_eq!(verdict(0, ENDORSEMENT_LIFE_S_MAX + 1), "its session key is endorsed for more than 24 hours");
}

/// Plays the agent's half of a login; returns the signature that it got.
async fn play(stream: DuplexStream, identity: PrivateKey) -> (Open, Option<(Instance, String)>) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    let request: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(request["method"], "session.open");
    let open: Open = serde_json::from_value(request["params"].clone()).unwrap();
    let opened = opened(&identity, &ed25519(1), &open.client_nonce, 0, 3600);
    let instance = opened.instance;
    answer(&mut stream, &request["id"], serde_json::to_value(opened).unwrap()).await;
    line.clear();
    if stream.read_line(&mut line).await.unwrap() == 0 {
        return (open, None);
    }
    let request: serde_json::Value = serde_json::from_str(&line).unwrap();
    let prove: Prove = serde_json::from_value(request["params"].clone()).unwrap();
    let proved = Proved {
        session: SessionId::random(),
        identity: open.identity.clone(),
        name: "Jana".to_owned(),
        roles: vec![],
        assurance: Assurance::SoftwareKey,
        idle_timeout_s: 60,
        expires_at: Timestamp::now(),
        notices: vec![],
    };
    answer(&mut stream, &request["id"], serde_json::to_value(proved).unwrap()).await;
    (open, Some((instance, prove.signature)))
}

async fn answer(stream: &mut BufReader<DuplexStream>, id: &serde_json::Value, result: serde_json::Value) {
    let frame = serde_json::json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string() + "\n";
    stream.write_all(frame.as_bytes()).await.unwrap();
}

async fn log_in(pins: &dyn Pins) -> (Result<Proved, LoginError>, (Open, Option<(Instance, String)>), PrivateKey) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let identity = p256();
    let agent = tokio::spawn(play(far, identity.clone()));
    let mut client = Client::from_stream(near, Path::new("/run/test.sock"));
    let (slug, signer) = (Slug::new("jana").unwrap(), TestSigner(ed25519(9)));
    let login = Login { identity: &slug, client: "test/1", signer: &signer, pins };
    let outcome = client.login(login).await;
    assert_eq!(client.agent_key().is_some(), outcome.is_ok());
    drop(client);
    (outcome, agent.await.unwrap(), identity)
}

#[tokio::test]
async fn a_login_signs_exactly_the_login_text() {
    let (outcome, (open, proof), identity) = log_in(&Trusting).await;
    assert_eq!(outcome.unwrap().identity.as_str(), "jana");
    let (instance, signature) = proof.unwrap();
    let key = ed25519(9);
    assert_eq!(open.public_key, text(key.public_key()));
    let expected = login_text(
        &sshsig::fingerprint(identity.public_key()),
        instance,
        &"ab".repeat(NONCE_LEN),
        &sshsig::fingerprint(key.public_key()),
        &open.identity,
    );
    sshsig::verify(key.public_key(), LOGIN_NAMESPACE, expected.as_bytes(), &signature).unwrap();
}

#[tokio::test]
async fn nothing_is_signed_for_an_agent_that_nobody_pinned() {
    let (outcome, (_, proof), _) = log_in(&KnownAgents::new(None, None)).await;
    assert!(matches!(outcome, Err(LoginError::UnknownAgent { .. })));
    assert!(proof.is_none());
}

async fn whoami_against(answers: &'static str) -> Result<(), CallError> {
    let (near, mut far) = tokio::io::duplex(4 * 1024 * 1024);
    far.write_all(answers.as_bytes()).await.unwrap();
    let mut client = Client::from_stream(near, Path::new("/run/test.sock"));
    client.set_timeout(std::time::Duration::from_millis(200));
    let answer = client.call(&Whoami {}).await.map(|_| ());
    drop(far);
    answer
}

#[tokio::test]
async fn answers_that_do_not_fit_are_told_apart() {
    let missing = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32002,"message":"No.","data":{"kind":"not_found"}}}"#;
    let late = r#"{"jsonrpc":"2.0","id":0,"result":{}}"#;
    let both: &'static str = Box::leak(format!("{late}\n{missing}\n").into_boxed_str());
    assert!(matches!(whoami_against(both).await, Err(CallError::Failure(failure)) if failure.message == "No."));
    let unknown =
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-1,\"message\":\"New.\",\"data\":{\"kind\":\"novel\"}}}\n";
    assert!(matches!(whoami_against(unknown).await, Err(CallError::Failure(failure)) if failure.message == "New."));
    for wrong in
        ["hello\n", "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}\n", "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n"]
    {
        assert!(matches!(whoami_against(wrong).await, Err(CallError::Protocol(_))), "{wrong}");
    }
    assert!(matches!(whoami_against("{\"jsonrpc\"").await, Err(CallError::Timeout(_))));
    let endless: &'static str = Box::leak("x".repeat(crate::rpc::RESPONSE_LEN_MAX + 1).into_boxed_str());
    assert!(matches!(whoami_against(endless).await, Err(CallError::Connection(ConnectionError::Read(_)))));
}
