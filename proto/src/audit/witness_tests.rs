use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::*;
use crate::audit::checkpoint::{Checkpoint, Origin};

struct Witness {
    pair: Ed25519KeyPair,
    name: &'static str,
}

impl Witness {
    fn new(name: &'static str, seed: u8) -> Self {
        Self { pair: Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap(), name }
    }

    fn public(&self) -> [u8; 32] {
        self.pair.public_key().as_ref().try_into().unwrap()
    }

    fn vkey(&self) -> String {
        let id = WitnessKey::id_of(self.name, &self.public());
        format!(
            "{}+{}+{}",
            self.name,
            hex::encode(id),
            BASE64.encode([&[COSIGNATURE_TYPE][..], &self.public()].concat())
        )
    }

    fn key(&self) -> WitnessKey {
        WitnessKey::parse(&self.vkey()).unwrap()
    }

    fn line(&self, body: &str, time: u64) -> String {
        let signature = self.pair.sign(format!("cosignature/v1\ntime {time}\n{body}").as_bytes());
        let id = WitnessKey::id_of(self.name, &self.public());
        let blob = [&id[..], &time.to_be_bytes(), signature.as_ref()].concat();
        format!("\u{2014} {} {}\n", self.name, BASE64.encode(blob))
    }
}

fn checkpoint() -> Checkpoint {
    Checkpoint { origin: Origin::parse("strongroom/o/v").unwrap(), size: 4, root: [7; 32] }
}

/// A note with a line by somebody whose key is of another kind.
fn note() -> String {
    format!("{}\n\u{2014} strongroom/o/v {}\n", checkpoint().body(), BASE64.encode([1; 75]))
}

#[test]
fn a_key_is_read_as_witnesses_publish_it() {
    // Key, name and id as in the sum.golang.org style of C2SP signed-note; the id was computed with sha256sum.
    let witness = Witness::new("witness.example/w1", 3);
    let key = witness.key();
    assert_eq!((key.name(), key.public), ("witness.example/w1", witness.public()));
    let vkey = witness.vkey();
    let (head, base64) = vkey.rsplit_once('+').unwrap_or_default();
    assert!(!head.is_empty() && !base64.is_empty());
    assert_eq!(WitnessKey::parse(&vkey.replace("w1", "w2")), Err(WitnessKeyError::Id));
    let other = BASE64.encode([&[1][..], &witness.public()].concat());
    let name_and_id: Vec<&str> = vkey.splitn(3, '+').collect();
    let typed = format!("{}+{}+{other}", name_and_id[0], name_and_id[1]);
    assert_eq!(WitnessKey::parse(&typed), Err(WitnessKeyError::Type));
    for malformed in ["", "a", "a+00000000", "a b+00000000+AA==", "a+0000000+AAAA", "+00000000+AAAA", &"x".repeat(600)]
    {
        assert_eq!(WitnessKey::parse(malformed), Err(WitnessKeyError::Malformed), "{malformed}");
    }
}

/// A checkpoint of a public certificate log with the signatures of four public witnesses, as it was published on 2026-05-23.
const PUBLISHED: &str = "arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

\u{2014} arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
\u{2014} arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
\u{2014} transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
\u{2014} witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
\u{2014} remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
\u{2014} witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
";

#[test]
fn public_witnesses_and_their_signatures_are_understood() {
    let published = SignedCheckpoint::parse(PUBLISHED).unwrap();
    for key in [
        "transparency.dev/DEV:witness-little-garden+d8042a87+BCtusOxINQNUTN5Oj8HObRkh2yHf/MwYaGX4CPdiVEPM",
        "witness1.smartit.nu/witness1+a48c820f+BPSFWg9G6KPiO7QPryYO5Xq4oYJJ+kAvLKLSimDhoxMO",
        "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
        "witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv",
    ] {
        let key = WitnessKey::parse(key).unwrap();
        let at = key.signed_at(&published).unwrap().unwrap();
        assert_eq!(at.to_string(), "2026-05-23T21:50:24Z", "{key:?}");
        let altered = SignedCheckpoint::parse(&PUBLISHED.replace("\n1432088532\n", "\n1432088533\n")).unwrap();
        assert!(key.signed_at(&altered).is_err());
    }
}

#[test]
fn a_signature_holds_over_this_text_and_time_only() {
    let (one, other) = (Witness::new("one", 1), Witness::new("other", 2));
    let (text, at) = cosigned(&note(), &one.line(&checkpoint().body(), 1_790_000_000), &one.key()).unwrap();
    assert_eq!(at.to_string(), "2026-09-21T14:13:20Z");
    let signed = SignedCheckpoint::parse(&text).unwrap();
    assert_eq!(one.key().signed_at(&signed), Ok(Some(at)));
    assert_eq!(other.key().signed_at(&signed), Ok(None));
    let larger = SignedCheckpoint::parse(&text.replacen("\n4\n", "\n5\n", 1)).unwrap();
    assert_eq!(one.key().signed_at(&larger), Err(Forged("one".to_owned())));
    // The same name with another key is somebody else.
    assert_eq!(Witness::new("one", 9).key().signed_at(&signed), Ok(None));
}

#[test]
fn only_the_witness_own_true_lines_are_kept() {
    let (one, other) = (Witness::new("one", 1), Witness::new("other", 2));
    let body = checkpoint().body();
    let good = one.line(&body, 1_790_000_000);
    let lines = format!("garbage\n{}{good}{}", other.line(&body, 5), one.line("something else\n", 6));
    let (text, _) = cosigned(&note(), &lines, &one.key()).unwrap();
    assert_eq!(text, format!("{}{good}", note()));
    for nothing in ["", "garbage\n", &other.line(&body, 5), &one.line("something else\n", 6), good.trim_end()] {
        assert_eq!(cosigned(&note(), nothing, &one.key()), None, "{nothing}");
    }
}

#[test]
fn lines_of_several_witnesses_come_together_once_each() {
    let body = checkpoint().body();
    let (one, two) = (Witness::new("one", 1).line(&body, 5), Witness::new("two", 2).line(&body, 6));
    let first = format!("{}{one}", note());
    // Signed once more by the log, with another signature.
    let again = format!("{body}\n\u{2014} strongroom/o/v {}\n{two}", BASE64.encode([9; 75]));
    let joined = with_lines_of(&first, &again);
    assert_eq!(joined, format!("{}{one}{two}", note()));
    assert_eq!(with_lines_of(&joined, &again), joined);
    let other = again.replacen("\n4\n", "\n5\n", 1);
    assert_eq!(with_lines_of(&first, &other), first);
}

#[test]
fn requests_and_answers_are_those_of_the_standard() {
    let text = request(3, &[[1; 32], [2; 32]], "checkpoint\n");
    let lines: Vec<&str> = text.split('\n').collect();
    assert_eq!(lines[0], "old 3");
    assert_eq!(lines[3..], ["", "checkpoint", ""]);
    assert_eq!(answer(200, "\u{2014} one AAAA\n"), Answer::Signed("\u{2014} one AAAA\n".to_owned()));
    assert_eq!(answer(409, "17\n"), Answer::Knows(17));
    for (status, body, refusal) in [
        (403, "", Refusal::Key),
        (404, "", Refusal::Log),
        (422, "", Refusal::Proof),
        (400, "", Refusal::Request),
        (409, "-1", Refusal::Other(409)),
        (200, "no line feed", Refusal::Other(200)),
        (503, "", Refusal::Other(503)),
    ] {
        assert_eq!(answer(status, body), Answer::Refused(refusal), "{status}");
    }
}
