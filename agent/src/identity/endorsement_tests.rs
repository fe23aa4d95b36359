use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::identity::test_keys::{KeyFolder, ssh_keygen_accepts};

/// A P-256 key in a file, which `openssl` uses as the token would: a digest in, a signature out.
struct FileToken {
    folder: tempfile::TempDir,
    signatures: Arc<AtomicU32>,
}

impl FileToken {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = Command::new("openssl")
            .args(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out"])
            .arg(folder.path().join("key"))
            .status()
            .unwrap();
        assert!(made.success());
        Self { folder, signatures: Arc::default() }
    }

    /// The uncompressed point: the end of the SubjectPublicKeyInfo.
    fn point(&self) -> Vec<u8> {
        let output = Command::new("openssl")
            .args(["ec", "-pubout", "-outform", "DER", "-in"])
            .arg(self.folder.path().join("key"))
            .stderr(Stdio::null())
            .output()
            .unwrap();
        output.stdout[output.stdout.len() - 65..].to_vec()
    }

    fn signer(&self) -> impl Fn(&[u8; 32]) -> Result<[u8; 64], std::io::Error> + Send + Sync + use<> {
        let (key, signatures) = (self.folder.path().join("key"), Arc::clone(&self.signatures));
        move |digest| {
            signatures.fetch_add(1, Ordering::SeqCst);
            let mut child = Command::new("openssl")
                .args(["pkeyutl", "-sign", "-pkeyopt", "digest:sha256", "-inkey"])
                .arg(&key)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            child.stdin.take().unwrap().write_all(digest)?;
            Ok(raw_signature(&child.wait_with_output()?.stdout))
        }
    }
}

/// DER SEQUENCE of two INTEGERs to r ‖ s.
fn raw_signature(der: &[u8]) -> [u8; 64] {
    let mut raw = [0; 64];
    let mut rest = &der[2..];
    for half in raw.chunks_exact_mut(32) {
        let (number, after) = rest[2..].split_at(rest[1] as usize);
        let number = &number[number.len().saturating_sub(32)..];
        half[32 - number.len()..].copy_from_slice(number);
        rest = after;
    }
    raw
}

fn noon() -> Timestamp {
    "2026-03-01T12:00:00.75Z".parse().unwrap()
}

fn after(seconds: i64) -> Timestamp {
    noon() + SignedDuration::from_secs(seconds)
}

#[test]
fn both_signatures_satisfy_ssh_keygen() {
    let token = FileToken::new();
    let instance = Instance::random();
    let proof = AgentProof::new(&token.point(), token.signer(), instance, noon()).unwrap();
    let (client_nonce, nonce) = ("01".repeat(32), "02".repeat(32));
    let opened = proof.open_reply(&client_nonce, &nonce).unwrap();
    assert_eq!(opened.agent_key, proof.openssh());
    assert_eq!((opened.instance, opened.nonce.as_str()), (instance, nonce.as_str()));
    let endorsement = &opened.endorsement;
    assert_eq!(endorsement.not_before.to_string(), "2026-03-01T12:00:00Z");
    assert_eq!(endorsement.not_after.to_string(), "2026-03-02T12:00:00Z");

    let text = format!(
        "strongroom-endorse-v1\nagent {}\ninstance {instance}\nsession-key {}\n\
         not-before 2026-03-01T12:00:00Z\nnot-after 2026-03-02T12:00:00Z\n",
        proof.fingerprint(),
        endorsement.session_key
    );
    assert!(ssh_keygen_accepts(&opened.agent_key, ENDORSEMENT_NAMESPACE, text.as_bytes(), &endorsement.signature));
    assert!(!ssh_keygen_accepts(&opened.agent_key, ENDORSEMENT_NAMESPACE, b"other", &endorsement.signature));
    let text = format!("strongroom-agent-v1\ninstance {instance}\nclient-nonce {client_nonce}\nnonce {nonce}\n");
    assert!(ssh_keygen_accepts(&endorsement.session_key, AGENT_NAMESPACE, text.as_bytes(), &opened.agent_signature));
}

#[test]
fn logins_do_not_touch_the_token_until_half_a_day_has_passed() {
    let token = FileToken::new();
    let proof = AgentProof::new(&token.point(), token.signer(), Instance::random(), noon()).unwrap();
    let first = proof.open_reply(&"01".repeat(32), &"02".repeat(32)).unwrap();
    for _ in 0..20 {
        proof.open_reply(&"01".repeat(32), &"02".repeat(32)).unwrap();
    }
    assert!(!proof.renew_if_due(after(RENEW_AFTER_S - 1)).unwrap());
    assert_eq!(token.signatures.load(Ordering::SeqCst), 1);
    assert!(proof.renew_if_due(after(RENEW_AFTER_S + 1)).unwrap());
    assert_eq!(token.signatures.load(Ordering::SeqCst), 2);
    let second = proof.open_reply(&"01".repeat(32), &"02".repeat(32)).unwrap();
    assert_ne!(first.endorsement.session_key, second.endorsement.session_key);
    assert!(proof.renew_if_due(after(0)).unwrap(), "a clock set back before not_before needs a new endorsement");
}

#[test]
fn a_token_that_fails_or_signs_with_another_key_is_noticed() {
    let (token, other) = (FileToken::new(), FileToken::new());
    let wrong = AgentProof::new(&token.point(), other.signer(), Instance::random(), noon());
    assert!(matches!(wrong, Err(EndorsementError::WrongSignature)));
    let fails = |_: &[u8; 32]| Err::<[u8; 64], _>("the token is away");
    assert!(matches!(
        AgentProof::new(&token.point(), fails, Instance::random(), noon()),
        Err(EndorsementError::Token(_))
    ));
    assert!(matches!(
        AgentProof::new(&[4; 65], fails, Instance::random(), noon()),
        Err(EndorsementError::Point | EndorsementError::Token(_))
    ));
    assert!(matches!(AgentProof::new(&[4; 64], fails, Instance::random(), noon()), Err(EndorsementError::Point)));
}

#[test]
fn a_nonce_that_could_add_a_line_is_refused() {
    let token = FileToken::new();
    let proof = AgentProof::new(&token.point(), token.signer(), Instance::random(), noon()).unwrap();
    for nonce in ["", "01", &"0g".repeat(32), &format!("{}\n", "0".repeat(63)), &"01".repeat(33)] {
        assert!(matches!(proof.open_reply(nonce, &"02".repeat(32)), Err(EndorsementError::ClientNonce)), "{nonce}");
    }
}

#[test]
fn an_endorsement_made_here_lets_a_technician_check_it() {
    let folder = KeyFolder::new();
    let key = folder.make("ed25519", "", &[]);
    let token = FileToken::new();
    let proof = AgentProof::new(&token.point(), token.signer(), Instance::random(), noon()).unwrap();
    let identity = strongroom_proto::ids::Slug::new("jana").unwrap();
    let text = strongroom_proto::login::login_text(
        proof.fingerprint(),
        proof.instance(),
        &"02".repeat(32),
        &key.fingerprint(),
        &identity,
    );
    let namespace = strongroom_proto::login::LOGIN_NAMESPACE;
    let armoured = key.sign(namespace, text.as_bytes(), &[]);
    let enrolled = crate::identity::EnrolmentKey::parse(&key.public_line()).unwrap();
    let proved = crate::identity::verify(&enrolled.public_key, namespace, text.as_bytes(), &armoured).unwrap();
    assert_eq!(proved.fingerprint, enrolled.fingerprint);
}
