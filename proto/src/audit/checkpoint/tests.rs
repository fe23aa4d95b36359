//! Notes against `openssl`, against `tlog_tiles`, and broken ones named by their flaw.

use std::process::Command;

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

use super::*;

/// A software key, and the same key in the form that gives r ‖ s as tokens do.
struct Signer {
    asn1: EcdsaKeyPair,
    raw: EcdsaKeyPair,
}

impl Signer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let pair = |algorithm| EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
        Self { asn1: pair(&ECDSA_P256_SHA256_ASN1_SIGNING), raw: pair(&ECDSA_P256_SHA256_FIXED_SIGNING) }
    }

    fn key(&self) -> AgentKey {
        AgentKey::from_point(self.asn1.public_key().as_ref()).unwrap()
    }

    fn note(&self, checkpoint: &Checkpoint) -> String {
        let signature = self.asn1.sign(&SystemRandom::new(), checkpoint.body().as_bytes()).unwrap();
        checkpoint.to_note(&self.key(), signature.as_ref())
    }
}

fn sample() -> Checkpoint {
    let id = "00000000-0000-4000-8000-000000000001";
    Checkpoint { origin: Origin::vault(id.parse().unwrap(), id.parse().unwrap()), size: 12, root: [0xab; 32] }
}

#[test]
fn the_text_of_a_checkpoint_is_fixed() {
    let id = "00000000-0000-4000-8000-000000000001";
    assert_eq!(sample().body(), format!("strongroom/{id}/{id}\n12\nq6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=\n"));
    assert_eq!(Origin::org(id.parse().unwrap()).as_str(), format!("strongroom/{id}/org"));
}

#[test]
fn a_note_comes_back_as_it_was_written_and_only_its_key_vouches_for_it() {
    let (signer, other) = (Signer::new(), Signer::new());
    let parsed = SignedCheckpoint::parse(&signer.note(&sample())).unwrap();
    assert_eq!(parsed.verify(&signer.key()), Ok(&sample()));
    let key_id = KeyId::of(&other.key());
    assert_eq!(parsed.verify(&other.key()), Err(CheckpointRefused::NotSigned { key_id }));
}

#[test]
fn signatures_as_tokens_give_them_verify_after_conversion() {
    let signer = Signer::new();
    // Many rounds, so that short and negative-looking integers occur.
    for size in 0..300 {
        let checkpoint = Checkpoint { size, ..sample() };
        let raw = signer.raw.sign(&SystemRandom::new(), checkpoint.body().as_bytes()).unwrap();
        let der = der_from_raw(raw.as_ref().try_into().unwrap());
        let note = checkpoint.to_note(&signer.key(), &der);
        assert_eq!(SignedCheckpoint::parse(&note).unwrap().verify(&signer.key()), Ok(&checkpoint));
    }
}

#[test]
fn openssl_verifies_a_note_and_refuses_it_for_another_size() {
    let signer = Signer::new();
    let note = signer.note(&sample());
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let line = note.lines().last().unwrap();
    let signature = BASE64.decode(line.rsplit(' ').next().unwrap()).unwrap();
    std::fs::write(at("signature"), &signature[4..]).unwrap();
    std::fs::write(at("key"), signer.key().spki_pem()).unwrap();
    for (body, accepted) in [(sample().body(), true), (Checkpoint { size: 13, ..sample() }.body(), false)] {
        std::fs::write(at("body"), body).unwrap();
        let arguments = ["dgst", "-sha256", "-verify", "key", "-signature", "signature", "body"];
        let output = Command::new("openssl").args(arguments).current_dir(folder.path()).output().unwrap();
        assert_eq!(output.status.success(), accepted);
    }
}

#[test]
fn the_checkpoint_reader_of_tlog_tiles_reads_our_text() {
    let theirs = tlog_tiles::Checkpoint::from_bytes(sample().body().as_bytes()).unwrap();
    assert_eq!((theirs.origin(), theirs.size(), theirs.hash().0), (sample().origin.as_str(), 12, [0xab; 32]));
    assert_eq!(theirs.extension(), "");
}

#[test]
fn lines_of_witnesses_are_ignored_and_a_false_line_of_the_key_is_not() {
    let (signer, witness) = (Signer::new(), Signer::new());
    let note = signer.note(&sample());
    let foreign = witness.note(&sample()).lines().last().unwrap().to_owned();
    let witnessed = format!("{note}{foreign}\n\u{2014} witness.example/w AAAAAAE=\n");
    let parsed = SignedCheckpoint::parse(&witnessed).unwrap();
    assert_eq!(parsed.verify(&signer.key()), Ok(&sample()));
    assert_eq!(parsed.verify(&witness.key()), Ok(&sample()));

    let key_id = KeyId::of(&signer.key());
    let forged = CheckpointRefused::Forged { key_id, source: SignatureRefused };
    let larger = SignedCheckpoint::parse(&note.replacen("\n12\n", "\n13\n", 1)).unwrap();
    assert_eq!(larger.verify(&signer.key()), Err(forged));
    let other_line = signer.note(&Checkpoint { size: 13, ..sample() }).lines().last().unwrap().to_owned();
    let both = SignedCheckpoint::parse(&format!("{note}{other_line}\n")).unwrap();
    assert_eq!(both.verify(&signer.key()), Err(forged));
    let renamed = note.replace("\u{2014} strongroom/", "\u{2014} elsewhere/");
    let not_signed = CheckpointRefused::NotSigned { key_id };
    assert_eq!(SignedCheckpoint::parse(&renamed).unwrap().verify(&signer.key()), Err(not_signed));
}

#[test]
fn an_origin_is_refused_when_it_could_be_read_in_two_ways() {
    let long = "x".repeat(ORIGIN_LEN_MAX + 1);
    for text in ["", "a b", "a\n9", "a+b", "a\tb", "a\u{a0}b", "a\u{0}", "a\u{2028}b", long.as_str()] {
        assert_eq!(Origin::parse(text), Err(NoteError::Origin), "{text:?}");
    }
    assert_eq!(Origin::parse(&long[1..]).unwrap().as_str().len(), ORIGIN_LEN_MAX);
}

#[test]
fn a_broken_note_is_refused_by_the_name_of_its_flaw() {
    let good = Signer::new().note(&sample());
    let root = BASE64.encode([0xab; 32]);
    let first_line = good.lines().next().unwrap().to_owned();
    let signature = good.lines().last().unwrap().to_owned();
    let cases = [
        ("", NoteError::NoSeparator),
        (&good.replacen("\n\n", "\n", 1), NoteError::NoSeparator),
        (&good.replacen("\n\n", "\nextension\n\n", 1), NoteError::Lines),
        (&good.replacen("\n12\n", "\n", 1), NoteError::Lines),
        (&good.replacen("\n12\n", "\n\n12\n", 1), NoteError::Lines),
        (&good.replace('\n', "\r\n"), NoteError::NoSeparator),
        (&good.replacen(&first_line, "", 1), NoteError::Origin),
        (&good.replacen(&first_line, "two words", 1), NoteError::Origin),
        (&good.replacen("\n12\n", "\n012\n", 1), NoteError::Size),
        (&good.replacen("\n12\n", "\n+12\n", 1), NoteError::Size),
        (&good.replacen("\n12\n", "\n-1\n", 1), NoteError::Size),
        (&good.replacen("\n12\n", "\n 12\n", 1), NoteError::Size),
        (&good.replacen("\n12\n", "\n9007199254740992\n", 1), NoteError::Size),
        (&good.replacen("\n12\n", "\n99999999999999999999\n", 1), NoteError::Size),
        (&good.replacen(&root, &BASE64.encode([0xab; 31]), 1), NoteError::Root),
        (&good.replacen(&root, root.trim_end_matches('='), 1), NoteError::Root),
        // The same 32 bytes with other bits behind the last one.
        (&good.replacen("q6s=", "q6t=", 1), NoteError::Root),
        (good.trim_end(), NoteError::SignatureLine),
        (&good.replace('\u{2014}', "-"), NoteError::SignatureLine),
        (&format!("{good}x\n"), NoteError::SignatureLine),
        (&format!("{good}\u{2014} name !!!!\n"), NoteError::SignatureLine),
        (&format!("{good}\u{2014} name AAAA\n"), NoteError::SignatureLine),
        (&format!("{good}\u{2014} na+me AAAAAAE=\n"), NoteError::SignatureLine),
        (&good.replacen(&format!("{signature}\n"), "", 1), NoteError::SignatureCount),
        (&format!("{good}{}", format!("{signature}\n").repeat(SIGNATURES_MAX)), NoteError::SignatureCount),
        (&format!("{good}{}", "x".repeat(NOTE_LEN_MAX)), NoteError::TooLong),
    ];
    assert!(SignedCheckpoint::parse(&good).is_ok());
    for (text, flaw) in cases {
        assert_eq!(SignedCheckpoint::parse(text).unwrap_err(), flaw, "{text}");
    }
}
