use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use strongroom_proto::login::LOGIN_NAMESPACE;

use super::*;
use crate::identity::EnrolmentKey;
use crate::identity::test_keys::{Key, KeyFolder};

const TEXT: &[u8] = b"strongroom-login-v1\npurpose login\n";

fn public(key: &Key) -> PublicKey {
    PublicKey::from_openssh(&key.public_line()).unwrap()
}

fn check(key: &Key, armoured: &str) -> Result<Proof, ProofError> {
    verify(&public(key), LOGIN_NAMESPACE, TEXT, armoured)
}

/// Takes the armour off, changes the bytes, puts it on again.
fn altered(armoured: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
    let body: String = armoured.lines().filter(|line| !line.starts_with("-----")).collect();
    let mut bytes = STANDARD.decode(body).unwrap();
    change(&mut bytes);
    let body = STANDARD.encode(bytes);
    format!("-----BEGIN SSH SIGNATURE-----\n{body}\n-----END SSH SIGNATURE-----\n")
}

#[test]
fn signatures_by_every_software_key_type_prove_and_no_variation_does() {
    let folder = KeyFolder::new();
    let other = folder.make("ed25519", "", &[]);
    for (kind, bits) in [("ed25519", ""), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521"), ("rsa", "3072")] {
        let key = folder.make(kind, bits, &[]);
        let good = key.sign(LOGIN_NAMESPACE, TEXT, &[]);
        let proof = check(&key, &good).unwrap();
        assert_eq!(proof.fingerprint, key.fingerprint(), "{kind} {bits}");
        assert_eq!((proof.touch, proof.verified, proof.counter), (false, false, None));
        assert_eq!(assurance(true, &proof), Assurance::SoftwareKey);

        let enrolled = public(&key);
        assert_eq!(verify(&enrolled, LOGIN_NAMESPACE, b"other", &good), Err(SshSigError::Wrong.into()), "{kind}");
        assert_eq!(verify(&enrolled, "strongroom-agent@v1", TEXT, &good), Err(SshSigError::Namespace.into()));
        assert_eq!(check(&other, &good), Err(SshSigError::Key.into()));
        assert_eq!(
            verify(&enrolled, LOGIN_NAMESPACE, TEXT, &key.sign("file", TEXT, &[])),
            Err(SshSigError::Namespace.into())
        );
        let flipped = altered(&good, |bytes| *bytes.last_mut().unwrap() ^= 1);
        assert_eq!(check(&key, &flipped), Err(SshSigError::Wrong.into()), "{kind} {bits}");
        let longer = altered(&good, |bytes| bytes.push(0));
        assert_eq!(check(&key, &longer), Err(SshSigError::Trailing.into()));
        let version = altered(&good, |bytes| bytes[9] = 0);
        assert_eq!(check(&key, &version), Err(SshSigError::Version(0).into()));
        let reserved = altered(&good, |bytes| {
            let name = LOGIN_NAMESPACE.as_bytes();
            let at = bytes.windows(name.len()).position(|window| window == name).unwrap() + name.len();
            bytes[at + 3] = 1;
            bytes.insert(at + 4, b'x');
        });
        assert_eq!(check(&key, &reserved), Err(SshSigError::Reserved.into()));
        let sha256 = key.sign(LOGIN_NAMESPACE, TEXT, &["-O", "hashalg=sha256"]);
        assert_eq!(check(&key, &sha256), Err(SshSigError::Hash.into()));
    }
}

#[test]
fn a_touched_security_key_proves_its_touch_and_an_untouched_one_nothing() {
    let folder = KeyFolder::new();
    for kind in ["ed25519-sk", "ecdsa-sk"] {
        let touched = folder.make(kind, "", &[]);
        let good = touched.sign(LOGIN_NAMESPACE, TEXT, &[]);
        let proof = check(&touched, &good).unwrap();
        assert_eq!((proof.touch, proof.verified, proof.counter), (true, false, Some(0x1234_5678)), "{kind}");
        assert_eq!(assurance(false, &proof), Assurance::SoftwareKey);
        assert_eq!(assurance(true, &proof), Assurance::HardwareTouch);
        for place in 1..=FIDO_TRAILER_LEN {
            let flipped = altered(&good, |bytes| {
                let at = bytes.len() - place;
                bytes[at] ^= 4;
            });
            assert_eq!(check(&touched, &flipped), Err(SshSigError::Wrong.into()), "{kind} {place}");
        }

        let verified = folder.make(kind, "", &["-O", "verify-required"]);
        let proof = check(&verified, &verified.sign(LOGIN_NAMESPACE, TEXT, &[])).unwrap();
        assert!(proof.touch && proof.verified, "{kind}");
        assert_eq!(assurance(false, &proof), Assurance::SoftwareKey);
        assert_eq!(assurance(true, &proof), Assurance::HardwareVerified);

        let untouched = folder.make(kind, "", &["-O", "no-touch-required"]);
        assert_eq!(check(&untouched, &untouched.sign(LOGIN_NAMESPACE, TEXT, &[])), Err(ProofError::Touch), "{kind}");

        let foreign = folder.make(kind, "", &["-O", "application=ssh:elsewhere"]);
        let signature = foreign.sign(LOGIN_NAMESPACE, TEXT, &[]);
        assert_eq!(check(&foreign, &signature), Err(KeyRefusal::FidoApplication.into()), "{kind}");
    }
}

#[test]
fn short_rsa_keys_prove_nothing_even_if_they_were_enrolled() {
    let folder = KeyFolder::new();
    for bits in [1024, 2048, 3066] {
        let key = folder.make("rsa", &bits.to_string(), &[]);
        let signature = key.sign(LOGIN_NAMESPACE, TEXT, &[]);
        assert_eq!(check(&key, &signature), Err(KeyRefusal::RsaBits(bits).into()));
    }
}

#[test]
fn an_rsa_signature_without_its_leading_zeros_still_proves() {
    let folder = KeyFolder::new();
    let key = folder.make("rsa", "3072", &[]);
    let mut tried = 0_u32;
    // One signature in 256 begins with a zero byte; look for one and strip it as some agents do.
    let (text, stripped) = loop {
        tried += 1;
        assert!(tried < 5_000, "no signature began with a zero byte");
        let text = format!("text {tried}");
        let armoured = sign_with_library(&key, text.as_bytes());
        let parsed = sshsig::read(LOGIN_NAMESPACE, &armoured).unwrap();
        if let [0, rest @ ..] = parsed.signature_bytes() {
            let signature = ssh_key::Signature::new(parsed.algorithm(), rest).unwrap();
            let short = SshSig::new(parsed.public_key().clone(), LOGIN_NAMESPACE, HashAlg::Sha512, signature).unwrap();
            break (text, short.to_pem(ssh_key::LineEnding::LF).unwrap());
        }
    };
    assert!(verify(&public(&key), LOGIN_NAMESPACE, text.as_bytes(), &stripped).is_ok());
    assert_eq!(check(&key, &stripped), Err(SshSigError::Wrong.into()));
}

/// Signing 256 times with a process each takes seconds; ring does it from the same file in milliseconds.
fn sign_with_library(key: &Key, text: &[u8]) -> String {
    let der = key.pkcs1_der();
    let pair = ring::signature::RsaKeyPair::from_der(&der).unwrap();
    let signed = SshSig::signed_data(LOGIN_NAMESPACE, HashAlg::Sha512, text).unwrap();
    let mut bytes = vec![0; pair.public().modulus_len()];
    let random = ring::rand::SystemRandom::new();
    pair.sign(&ring::signature::RSA_PKCS1_SHA512, &random, &signed, &mut bytes).unwrap();
    let algorithm = Algorithm::Rsa { hash: Some(HashAlg::Sha512) };
    let signature = ssh_key::Signature::new(algorithm, bytes).unwrap();
    let data = public(key).key_data().clone();
    SshSig::new(data, LOGIN_NAMESPACE, HashAlg::Sha512, signature).unwrap().to_pem(ssh_key::LineEnding::LF).unwrap()
}

#[test]
fn a_certificate_signature_is_no_proof_for_its_key() {
    let folder = KeyFolder::new();
    let (key, authority) = (folder.make("ed25519", "", &[]), folder.make("ed25519", "", &[]));
    let certificate = key.certificate_line(&authority);
    assert!(EnrolmentKey::parse(&certificate).is_err());
    let armoured = key.sign_with_certificate(LOGIN_NAMESPACE, TEXT);
    assert_eq!(check(&key, &armoured), Err(SshSigError::Key.into()));
}
