use serde_json::json;
use ssh_key::LineEnding;
use ssh_key::private::{Ed25519Keypair, PrivateKey};

use super::*;

const AGENT: &str = "SHA256:agent";

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

/// A release that was signed over `wanted`, and the values behind its commitments.
fn release(wanted: &Value, signer: &PrivateKey) -> (Record, Values) {
    let fingerprint = signer.fingerprint(HashAlg::Sha256).to_string();
    let digest = encoding::digest(wanted).unwrap();
    let id = "00000000-0000-4000-8000-000000000001";
    let text = step_up_text(
        AGENT,
        id.parse().unwrap(),
        "00ff",
        &fingerprint,
        &Slug::new("jana").unwrap(),
        "code.release",
        &digest,
    );
    let signature = signer.sign(STEP_UP_NAMESPACE, HashAlg::Sha512, text.as_bytes()).unwrap();
    let record = json!({
        "actor": {"assurance": "software-key", "identity": id, "key": fingerprint, "session": id}, "agent": id,
        "detail": {"nonce": "00ff", "params_sha256": digest, "signature": signature.to_pem(LineEnding::LF).unwrap()},
        "event": "code.release", "h": {"account.address": "x", "reason": "x"}, "log": "strongroom/o/v", "outcome": "ok",
        "seq": 4, "ts": "2026-11-21T19:00:00.100000Z", "v": 1
    });
    let values = [("actor.name", "jana"), ("account.address", "acme/m365"), ("reason", "T-7")];
    let values = values.map(|(field, value)| (field.to_owned(), value.to_owned())).into();
    (serde_json::from_value(record).unwrap(), values)
}

fn wanted() -> Value {
    json!({"account": "acme/m365", "reason": "T-7"})
}

#[test]
fn a_signature_proves_who_asked_for_what() {
    let (record, values) = release(&wanted(), &key(1));
    let agents = ["SHA256:older".to_owned(), AGENT.to_owned()];
    let proved = verify(&record, &values, &agents).unwrap().unwrap();
    assert!(proved.parameters_shown);
    assert_eq!(proved.key, record.actor.as_ref().unwrap().key);

    assert_eq!(verify(&record, &values, &agents[..1]), Err(SshSigError::Wrong.into()), "another agent's call");
    let mut without = values.clone();
    without.remove("reason");
    assert!(!verify(&record, &without, &agents).unwrap().unwrap().parameters_shown, "the digest alone");
    without.remove("actor.name");
    assert_eq!(verify(&record, &without, &agents), Ok(None), "without a name there is no text");
}

#[test]
fn each_change_of_a_record_convicts_it() {
    let agents = [AGENT.to_owned()];
    let (good, values) = release(&wanted(), &key(1));
    let changed = |change: &dyn Fn(&mut Record)| {
        let mut record = good.clone();
        change(&mut record);
        verify(&record, &values, &agents).unwrap_err()
    };
    let wrong = SignedCallError::from(SshSigError::Wrong);
    assert_eq!(changed(&|record| record.detail.insert("nonce".into(), "00fe".into()).map_or((), drop)), wrong);
    assert_eq!(changed(&|record| record.agent = "00000000-0000-4000-8000-000000000002".parse().unwrap()), wrong);
    assert_eq!(changed(&|record| record.event = "ceremony.propose".into()), wrong);
    let digest = encoding::digest(&json!({"account": "acme/other"})).unwrap();
    let other = changed(&|record| record.detail.insert("params_sha256".into(), digest.clone().into()).map_or((), drop));
    assert_eq!(other, SignedCallError::OtherCall);
    let other = changed(&|record| record.actor.as_mut().unwrap().key = "SHA256:somebody".into());
    assert_eq!(other, SignedCallError::OtherKey(good.actor.as_ref().unwrap().key.clone()));
    assert_eq!(changed(&|record| record.actor = None), SignedCallError::Unsaid("who acted"));
    assert_eq!(changed(&|record| drop(record.detail.remove("nonce"))), SignedCallError::Unsaid("nonce"));

    for (field, value) in [("account.address", "acme/other"), ("reason", "none")] {
        let mut forged = values.clone();
        forged.insert(field.to_owned(), value.to_owned());
        assert_eq!(verify(&good, &forged, &agents), Err(SignedCallError::OtherCall), "{field}");
    }
    let mut forged = values.clone();
    forged.insert("actor.name".to_owned(), "jack".to_owned());
    assert_eq!(verify(&good, &forged, &agents), Err(wrong));
}

#[test]
fn releases_without_a_signature_are_found_where_the_policy_demanded_one() {
    let (signed, _) = release(&wanted(), &key(1));
    let record = |seq: u64, event: &str, detail: Value| {
        let mut record = signed.clone();
        (record.seq, record.event) = (seq, event.to_owned());
        record.detail = serde_json::from_value(detail).unwrap();
        record
    };
    let on = json!({"signed_release": true}).to_string();
    let off = json!({"signed_release": false}).to_string();
    let mut demanded = SignedReleases::default();
    assert_eq!(demanded.take(&record(1, "code.release", json!({}))), None);
    assert_eq!(demanded.take(&record(2, "policy.set", json!({"after": on}))), None);
    assert_eq!(demanded.take(&signed), None);
    assert_eq!(demanded.take(&record(3, "code.release", json!({}))), Some(2));
    assert_eq!(demanded.take(&record(4, "policy.set", json!({"after": off, "pending": "p", "in_force": 0}))), None);
    assert_eq!(demanded.take(&record(5, "code.release", json!({}))), Some(2), "the change only waits");
    assert_eq!(demanded.take(&record(6, "pending.confirm", json!({"pending": "p"}))), None);
    assert_eq!(demanded.take(&record(7, "code.release", json!({}))), None);
}
