//! `session.challenge`, and what becomes of its nonce: one call, signed by the key that logged in.

use jiff::{SignedDuration, Timestamp};
use strongroom_proto::encoding;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::login::{NONCE_LEN, STEP_UP_LIFE_S, STEP_UP_NAMESPACE, step_up_text};
use strongroom_proto::method::session::{Challenge, Challenged as Reply, StepUp};
use strongroom_proto::method::{Receipt, STEPPED_UP, SteppedUp};

use super::{Agent, Answer, Connection};
use crate::commands::Caller;
use crate::commands::step_up::Signed;
use crate::identity::{EnrolmentKey, UserCertificate, verify_with};
use crate::state::LogId;
use crate::store::tx::Refusal;

/// A nonce that waits for its call.
pub(super) struct Challenged {
    method: String,
    params_sha256: String,
    nonce: String,
    expires_at: Timestamp,
}

pub(super) async fn challenge(
    agent: &Agent,
    connection: &mut Connection,
    params: Challenge,
) -> Result<Answer<Reply>, Failure> {
    let _caller = connection.caller(agent)?;
    let invalid = |message: &str| Err(Failure::new(ErrorKind::InvalidParams, message));
    if !STEPPED_UP.contains(&params.method.as_str()) {
        return invalid("method is not one whose calls are signed.");
    }
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if params.params_sha256.len() != 64 || !params.params_sha256.bytes().all(is_digit) {
        return invalid("params_sha256 is 64 lower-case hex digits.");
    }
    let mut nonce = [0; NONCE_LEN];
    getrandom::fill(&mut nonce).map_err(|_| Failure::new(ErrorKind::Internal, "The agent has no randomness."))?;
    let nonce = hex::encode(nonce);
    let now = agent.now();
    let expires_at = now.checked_add(SignedDuration::from_secs(STEP_UP_LIFE_S)).unwrap_or(now);
    let Challenge { method, params_sha256 } = params;
    connection.challenge = Some(Challenged { method, params_sha256, nonce: nonce.clone(), expires_at });
    Ok(Reply { nonce, expires_at }.into())
}

/// As [`signed`], for calls that may be signed and need not.
pub(super) async fn signed_if_given<M: SteppedUp>(
    agent: &Agent,
    connection: &mut Connection,
    caller: &Caller,
    params: &mut M,
) -> Result<Option<Signed>, Failure> {
    match params.step_up() {
        Some(_) => signed(agent, connection, caller, params).await.map(Some),
        None => Ok(None),
    }
}

/// Checks the signature over a call. The nonce is used up, whatever comes of it; a refusal is recorded.
pub(super) async fn signed<M: SteppedUp>(
    agent: &Agent,
    connection: &mut Connection,
    caller: &Caller,
    params: &mut M,
) -> Result<Signed, Failure> {
    let challenged = connection.challenge.take();
    let Some(step_up) = params.step_up().take() else {
        let message = "This call has to be signed: call session.challenge and give step_up.";
        return Err(Failure::new(ErrorKind::InvalidParams, message));
    };
    let certificate = connection.session.as_ref().and_then(|session| session.certificate.clone());
    let certificate = certificate.as_ref().map(|certified| &certified.certificate);
    match check(agent, caller, certificate, params, (challenged, step_up)) {
        Ok(signed) => Ok(signed),
        Err(reason) => Err(refuse(agent, caller, M::NAME, reason).await),
    }
}

/// The reason of a refusal is for the log only.
fn check<M: SteppedUp>(
    agent: &Agent,
    caller: &Caller,
    certificate: Option<&UserCertificate>,
    params: &M,
    (challenged, step_up): (Option<Challenged>, StepUp),
) -> Result<Signed, &'static str> {
    let challenged = challenged.ok_or("no challenge")?;
    if challenged.nonce != step_up.nonce {
        return Err("another nonce");
    }
    if agent.now() >= challenged.expires_at {
        return Err("late");
    }
    // Computed from what is about to be done, not from what the challenge was asked for.
    let params_sha256 = encoding::digest(params).ok_or("parameters")?;
    if challenged.method != M::NAME || challenged.params_sha256 != params_sha256 {
        return Err("another call");
    }
    let view = agent.store.view();
    let identity = view.identities.get(&caller.identity()).ok_or("unknown identity")?;
    let key = view.keys.get(&caller.actor.key).filter(|key| key.identity == identity.id).ok_or("unknown key")?;
    let enrolled = EnrolmentKey::parse(&key.public_key).map_err(|_| "key")?;
    let text = step_up_text(
        agent.voices.current().proof.fingerprint(),
        agent.instance,
        &challenged.nonce,
        &key.fingerprint,
        &identity.names.slug,
        M::NAME,
        &params_sha256,
    );
    let proof = verify_with(&enrolled.public_key, certificate, STEP_UP_NAMESPACE, text.as_bytes(), &step_up.signature)
        .map_err(|error| {
            tracing::info!(%error, "a signature over a call was refused");
            "signature"
        })?;
    if proof.fingerprint != caller.actor.key {
        return Err("another key");
    }
    Ok(Signed { nonce: challenged.nonce, params_sha256, signature: step_up.signature })
}

async fn refuse(agent: &Agent, caller: &Caller, method: &'static str, reason: &'static str) -> Failure {
    let failure = Failure::new(
        ErrorKind::Unauthenticated,
        "The signature over this call was refused: ask for a new nonce and sign the call with the key of this session.",
    );
    let (caller, refused) = (caller.clone(), failure.clone());
    let recorded = agent.store.submit(move |tx| {
        let mut draft = caller.draft(&tx.state, "session.step_up").detail("method", method).detail("reason", reason);
        draft.outcome = strongroom_proto::audit::record::RecordOutcome::Denied;
        draft.detail.insert("kind".into(), refused.kind.as_str().into());
        Err::<((), Receipt), _>(Refusal::recorded(refused.clone(), LogId::Org, draft))
    });
    recorded.await.err().map_or(failure, Failure::from)
}
