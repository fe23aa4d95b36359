//! Signed calls: what a technician's key signed, rebuilt from the record that keeps the signature. Nobody has to believe the
//! agent: the text is made here, from the record and its openings, and the signature holds over it or does not.
//! AUDIT-FORMAT.md ("Signed calls") describes the same for `ssh-keygen -Y verify`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ssh_key::public::KeyData;
use ssh_key::{HashAlg, SshSig};

use super::record::{Record, RecordOutcome};
use crate::encoding;
use crate::ids::Slug;
use crate::login::{STEP_UP_NAMESPACE, step_up_text};
use crate::sshsig::{self, SshSigError};

/// The values behind a record's commitments, by field. They must have been checked against it.
pub type Values = BTreeMap<String, String>;

/// A right signature, and how much it was shown to cover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCall {
    /// `SHA256:…` of the key that signed: the one that the record names.
    pub key: String,
    /// True if the parameters that were signed are those of the record. False if the record does not tell all of them, or a
    /// value is withheld: then the signature covers their digest alone.
    pub parameters_shown: bool,
}

/// Why a record's signature does not prove its call. Whoever wrote the log can cause every one of these.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignedCallError {
    /// The record names no actor, nonce or digest, or one of no such form.
    #[error("the record does not say {0}")]
    Unsaid(&'static str),
    /// The parameters in the record are not those that were signed.
    #[error("the call that was signed had other parameters than the record tells")]
    OtherCall,
    /// The signature is by another key than the record says.
    #[error("it was made by the key {0}, and the record names another")]
    OtherKey(String),
    /// The signature is none, or does not hold over this call.
    #[error("{0}")]
    Signature(#[from] SshSigError),
}

/// True if a record keeps a signature over its call.
#[must_use]
pub fn is_signed(record: &Record) -> bool {
    record.detail.contains_key("signature")
}

/// True if a record tells that a code was released.
#[must_use]
pub fn is_release(record: &Record) -> bool {
    record.event == "code.release" && record.outcome == RecordOutcome::Ok
}

/// Verifies the signature that a record keeps. `agents` are the fingerprints of the keys that the agent may have spoken with
/// then: the text names one of them. `None` if the opening of `actor.name` is withheld, without which there is no text.
///
/// # Errors
/// [`SignedCallError`] under its condition; a signature that holds for no agent key is [`SshSigError::Wrong`].
pub fn verify(record: &Record, values: &Values, agents: &[String]) -> Result<Option<SignedCall>, SignedCallError> {
    let unsaid = SignedCallError::Unsaid;
    let text = |name: &'static str| record.detail.get(name).and_then(Value::as_str).ok_or(unsaid(name));
    let (nonce, digest, armoured) = (text("nonce")?, text("params_sha256")?, text("signature")?);
    let actor = record.actor.as_ref().ok_or(unsaid("who acted"))?;
    let parameters_shown = match parameters(record, values) {
        Some(parameters) if encoding::digest(&parameters).as_deref() == Some(digest) => true,
        Some(_) => return Err(SignedCallError::OtherCall),
        None => false,
    };
    let signature = plain(sshsig::read(STEP_UP_NAMESPACE, armoured)?)?;
    let key = signature.public_key().fingerprint(HashAlg::Sha256).to_string();
    if key != actor.key {
        return Err(SignedCallError::OtherKey(key));
    }
    let Some(name) = values.get("actor.name") else { return Ok(None) };
    let name = Slug::new(name.as_str()).map_err(|_| unsaid("a name"))?;
    let mut wrong = SshSigError::Wrong;
    for agent in agents {
        let text = step_up_text(agent, record.agent, nonce, &key, &name, &record.event, digest);
        match sshsig::holds(signature.public_key(), &signature, text.as_bytes()) {
            Ok(()) => return Ok(Some(SignedCall { key, parameters_shown })),
            Err(error) => wrong = error,
        }
    }
    Err(wrong.into())
}

/// The signature with the plain key in it, where `ssh-keygen` put the certificate of the key. It covers neither.
fn plain(signature: SshSig) -> Result<SshSig, SshSigError> {
    let KeyData::Certificate(certificate) = signature.public_key() else { return Ok(signature) };
    let key = certificate.public_key().clone();
    SshSig::new(key, signature.namespace(), signature.hash_alg(), signature.signature().clone())
        .map_err(|_| SshSigError::Malformed)
}

/// The parameters of the call, as far as record and openings tell all of them.
fn parameters(record: &Record, values: &Values) -> Option<Value> {
    let detail = |name: &str| record.detail.get(name).cloned();
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
    match record.event.as_str() {
        "ceremony.confirm" => {
            put("ceremony", detail("ceremony")?);
            put("digest", detail("digest")?);
        }
        "request.approve" => {
            put("request", detail("request")?);
            put("digest", detail("digest")?);
        }
        "pending.confirm" => {
            put("pending", detail("pending")?);
            put("digest", detail("digest")?);
            if detail("in_person").is_some() {
                put("in_person", true.into());
            }
        }
        "code.release" => {
            put("account", values.get("account.address")?.clone().into());
            if let Some(seconds) = detail("min_remaining_s") {
                put("min_remaining_s", seconds);
            }
            for field in ["reason", "ticket"] {
                if record.h.contains_key(field) {
                    put(field, values.get(field)?.clone().into());
                }
            }
        }
        _ => return None,
    }
    Some(Value::Object(members))
}

/// Where the policy of a log demanded a signature for each release, told by its records in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedReleases {
    /// The record since which it does.
    since: Option<u64>,
    /// What changes of the policy that wait for a second person would bring.
    waiting: BTreeMap<String, bool>,
}

impl SignedReleases {
    /// Takes the next record. The record since which signatures are demanded, if this one released a code without.
    pub fn take(&mut self, record: &Record) -> Option<u64> {
        if record.outcome != RecordOutcome::Ok {
            return None;
        }
        let text = |name: &str| record.detail.get(name).and_then(Value::as_str);
        let in_force = record.detail.get("in_force").and_then(Value::as_u64) == Some(1);
        match record.event.as_str() {
            "policy.set" => {
                let after = text("after").and_then(|after| serde_json::from_str::<Value>(after).ok());
                let demanded = after.is_some_and(|after| after.get("signed_release") == Some(&Value::Bool(true)));
                match text("pending") {
                    Some(pending) if !in_force => {
                        self.waiting.insert(pending.to_owned(), demanded);
                    }
                    _ => self.set(demanded, record.seq),
                }
                None
            }
            "pending.confirm" => {
                if let Some(demanded) = text("pending").and_then(|pending| self.waiting.remove(pending)) {
                    self.set(demanded, record.seq);
                }
                None
            }
            "code.release" if !is_signed(record) => self.since,
            _ => None,
        }
    }

    fn set(&mut self, demanded: bool, seq: u64) {
        self.since = if demanded { self.since.or(Some(seq)) } else { None };
    }
}

#[cfg(test)]
#[path = "signed_call_tests.rs"]
mod tests;
