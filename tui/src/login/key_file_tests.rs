use std::sync::atomic::Ordering;

use super::*;
use crate::login::test_keys::{KeyFolder, TestPerson, make_private, ssh_keygen_accepts};

const NAMESPACE: &str = "strongroom-login@v1";

fn open(path: &Path) -> KeyFile {
    KeyFile::open(path, Arc::new(TestPerson::default())).unwrap()
}

#[test]
fn every_key_type_in_a_file_signs() {
    let folder = KeyFolder::new();
    for (kind, bits) in [("ed25519", ""), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521"), ("rsa", "3072")] {
        let key = folder.make(kind, bits, "");
        let file = open(&key.path);
        assert!(!file.asks());
        let signature = file.sign(NAMESPACE, b"text\n").unwrap();
        assert!(ssh_keygen_accepts(&key.public_line(), NAMESPACE, b"text\n", &signature), "{kind} {bits}");
        assert!(!ssh_keygen_accepts(&key.public_line(), NAMESPACE, b"other\n", &signature), "{kind} {bits}");
        sshsig_reads(&signature);
    }
}

fn sshsig_reads(signature: &str) {
    strongroom_proto::sshsig::read(NAMESPACE, signature).unwrap();
}

#[test]
fn rsa_keys_sign_here_and_not_by_another_program() {
    let folder = KeyFolder::new();
    let key = folder.make("rsa", "3072", "");
    let private = PrivateKey::read_openssh_file(&key.path).unwrap();
    let KeypairData::Rsa(pair) = private.key_data() else { panic!("an RSA key") };
    assert!(rsa::sign(pair, b"data").is_some());
}

#[test]
fn what_the_library_cannot_read_is_signed_by_ssh_keygen() {
    let folder = KeyFolder::new();
    let old = folder.make("rsa", "3072", "");
    old.convert_to_pem();
    let file = open(&old.path);
    let signature = file.sign(NAMESPACE, b"text\n").unwrap();
    assert!(ssh_keygen_accepts(&old.public_line(), NAMESPACE, b"text\n", &signature));
    std::fs::remove_file(old.public_path()).unwrap();
    let refused = KeyFile::open(&old.path, Arc::new(TestPerson::default()));
    assert!(matches!(refused, Err(KeyFileError::Format { .. })));
}

#[test]
fn a_passphrase_is_asked_for_and_a_wrong_one_asked_again() {
    let folder = KeyFolder::new();
    for (kind, bits) in [("ed25519", ""), ("rsa", "3072")] {
        let key = folder.make(kind, bits, "correct horse");
        let person = Arc::new(TestPerson { passphrase: "correct horse", ..TestPerson::default() });
        let file = KeyFile::open(&key.path, person.clone()).unwrap();
        assert!(file.asks());
        assert_eq!(person.questions.load(Ordering::SeqCst), 0, "opening does not ask");
        let signature = file.sign(NAMESPACE, b"text\n").unwrap();
        assert!(ssh_keygen_accepts(&key.public_line(), NAMESPACE, b"text\n", &signature), "{kind}");
        assert_eq!(person.questions.load(Ordering::SeqCst), 1);
    }
    let key = folder.make("ed25519", "", "correct horse");
    let person = Arc::new(TestPerson { passphrase: "battery staple", ..TestPerson::default() });
    let file = KeyFile::open(&key.path, person.clone()).unwrap();
    let error = file.sign(NAMESPACE, b"text\n").unwrap_err().0;
    assert!(error.contains("does not open") && !error.contains("battery"), "{error}");
    assert_eq!(person.questions.load(Ordering::SeqCst), 3);
}

#[test]
fn a_key_that_is_kept_asks_once_and_at_once() {
    let folder = KeyFolder::new();
    let key = folder.make("ed25519", "", "correct horse");
    let person = Arc::new(TestPerson { passphrase: "correct horse", ..TestPerson::default() });
    let mut file = KeyFile::open(&key.path, person.clone()).unwrap();
    file.unlock_and_keep().unwrap();
    assert_eq!(person.questions.load(Ordering::SeqCst), 1);
    for text in [b"one", b"two"] {
        let signature = file.sign(NAMESPACE, text).unwrap();
        assert!(ssh_keygen_accepts(&key.public_line(), NAMESPACE, text, &signature));
    }
    assert_eq!(person.questions.load(Ordering::SeqCst), 1);
}

#[test]
fn files_that_others_may_read_or_that_are_no_key_are_refused() {
    let folder = KeyFolder::new();
    let key = folder.make("ed25519", "", "");
    make_private(&key.path, 0o640);
    let person: Arc<dyn Person> = Arc::new(TestPerson::default());
    assert!(matches!(KeyFile::open(&key.path, Arc::clone(&person)), Err(KeyFileError::Open { .. })));
    let text = folder.path().join("text");
    std::fs::write(&text, "hello").unwrap();
    make_private(&text, 0o600);
    assert!(matches!(KeyFile::open(&text, Arc::clone(&person)), Err(KeyFileError::Format { .. })));
    let missing = folder.path().join("missing");
    assert!(matches!(KeyFile::open(&missing, person), Err(KeyFileError::Read { .. })));
}
