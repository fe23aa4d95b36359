//! `session.open` and `session.prove`: who proves themselves, and by what.

use std::sync::Arc;

use jiff::Timestamp;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{IdentityId, SessionId, Slug};
use strongroom_proto::login::{LOGIN_NAMESPACE, NONCE_LEN, login_text};
use strongroom_proto::method::session::{Open, Opened, Prove, Proved};
use strongroom_proto::rpc::PROTOCOL_VERSION;
use tokio::time::Instant;

use super::brake::{throttle, wait_allowed};
use super::connection::Pending;
use super::identity::key_row;
use super::session::proved;
use super::{Agent, Answer, Connection};
use crate::commands::Caller;
use crate::commands::session::{self as command, ByCertificate};
use crate::identity::{CertificateRefusal, EnrolmentKey, Proof, ProofError, UserCertificate, assurance, verify_with};
use crate::session::registry::{Certified, Registry, Session, lifetime};
use crate::state::State;
use crate::state::rows::{Identity, Key};
use crate::store::Refused;

/// Longest name of a client program.
const CLIENT_LEN_MAX: usize = 64;

pub(super) async fn open(agent: &Agent, connection: &mut Connection, params: Open) -> Result<Answer<Opened>, Failure> {
    if params.protocol != PROTOCOL_VERSION {
        return Err(invalid(format!("This agent speaks protocol {PROTOCOL_VERSION} only.")));
    }
    let printable = params.client.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if params.client.is_empty() || params.client.len() > CLIENT_LEN_MAX || !printable {
        return Err(invalid("client is 1 to 64 printable ASCII characters."));
    }
    if connection.session.is_some() {
        return Err(Failure::new(ErrorKind::Conflict, "This connection has a session already."));
    }
    let key = EnrolmentKey::parse(&params.public_key).map_err(|refusal| invalid(format!("public_key: {refusal}.")))?;
    wait_allowed(agent, connection, &key.fingerprint)?;
    let certificate = match &params.certificate {
        Some(line) => {
            Some(certificate_for(agent, line, &key).map_err(|flaw| invalid(format!("certificate: {flaw}.")))?)
        }
        None => None,
    };
    let mut nonce = [0; NONCE_LEN];
    getrandom::fill(&mut nonce).map_err(|_| Failure::new(ErrorKind::Internal, "The agent has no randomness."))?;
    let nonce = hex::encode(nonce);
    let voice = agent.voices.current();
    let opened = voice.proof.open_reply(&params.client_nonce, &nonce).map_err(|error| invalid(format!("{error}.")))?;
    connection.pending = Some(Pending {
        identity: params.identity.to_string(),
        agent: voice.proof.fingerprint().to_owned(),
        key: key.fingerprint,
        certificate,
        nonce,
        client: params.client,
    });
    Ok(opened.into())
}

/// Reads a certificate for a key. What is said here is about the certificate alone, never about who is enrolled.
fn certificate_for(agent: &Agent, line: &str, key: &EnrolmentKey) -> Result<UserCertificate, CertificateRefusal> {
    if !agent.authorities.any() {
        return Err(CertificateRefusal::None);
    }
    let certificate = UserCertificate::parse(line)?;
    if certificate.key().key_data() == key.public_key.key_data() {
        Ok(certificate)
    } else {
        Err(CertificateRefusal::OtherKey)
    }
}

pub(super) async fn prove(
    agent: &Agent,
    connection: &mut Connection,
    params: Prove,
) -> Result<Answer<Proved>, Failure> {
    // Taken, so that a nonce serves one attempt only.
    let pending = connection
        .pending
        .take()
        .ok_or_else(|| Failure::new(ErrorKind::Unauthenticated, "Call session.open first."))?;
    wait_allowed(agent, connection, &pending.key)?;
    let view = agent.store.view();
    let from = connection.from(&pending.client);
    let (caller, proven) = match check(agent, &view, &pending, &params.signature) {
        Ok(proven) => {
            let actor = strongroom_proto::audit::record::Actor {
                assurance: assurance(proven.attested, &proven.proof),
                identity: proven.identity,
                key: proven.proof.fingerprint.clone(),
                session: SessionId::random(),
            };
            (Caller { actor, from: from.clone() }, proven)
        }
        Err(reason) => {
            throttle(agent).failed(connection.peer.uid, &pending.key, std::time::Instant::now());
            agent.raise_alarms();
            let (asked, key) = (pending.identity.clone(), pending.key.clone());
            let recorded = agent.store.submit(move |tx| command::failed(tx, &from, &asked, &key, &reason)).await;
            if let Err(refused) = recorded {
                return Err(refused.into());
            }
            return Err(command::login_refused());
        }
    };
    let (overall, idle_timeout) = lifetime(caller.assurance(), &view.org_policy);
    let since = agent.now();
    let expires_at = since.checked_add(overall).unwrap_or(Timestamp::MAX);
    // Nobody's session outlives their access.
    let until = view.identities.get(&caller.identity()).and_then(|identity| identity.until);
    let expires_at = until.map_or(expires_at, |until| until.min(expires_at));
    let by = proven.by_certificate;
    // Nor their certificate.
    let expires_at = by.as_ref().map_or(expires_at, |by| by.vouched.until.min(expires_at));
    let certified = pending.certificate.zip(by.as_ref());
    let session = Session {
        id: caller.actor.session,
        identity: caller.identity(),
        key: caller.actor.key.clone(),
        certificate: certified
            .map(|(certificate, by)| Arc::new(Certified { certificate, vouched: by.vouched.clone() })),
        assurance: caller.assurance(),
        from,
        since,
        expires_at,
        idle_timeout,
        close: connection.close.clone(),
    };
    // Registered before the commit: a revocation that commits right after this login finds the session and ends it.
    agent.sessions.begin(session.clone());
    // The call may be dropped at its deadline: then nobody has this session.
    let registered = Registered { sessions: &agent.sessions, session: session.id };
    let (login, counter) = (caller.clone(), proven.proof.counter);
    match agent.store.submit(move |tx| command::begin(tx, &login, counter, by.as_ref())).await {
        Ok(durable) => {
            if *durable.value() {
                tracing::warn!(key = %caller.actor.key, "ALERT: the counter of a FIDO key fell back: it may have been cloned");
            }
            throttle(agent).succeeded(&pending.key);
        }
        Err(refused) => {
            // Counted like any failed login: a revoked key must not fill the log. And answered, not shut out: the answer
            // is the one for unknown names.
            if matches!(refused, Refused::Denied(_)) {
                throttle(agent).failed(connection.peer.uid, &pending.key, std::time::Instant::now());
                agent.raise_alarms();
            }
            return Err(refused.into());
        }
    }
    std::mem::forget(registered);
    connection.last_call = Instant::now();
    let proved = proved(&agent.store.view(), &session, &caller, agent);
    connection.session = Some(session);
    Ok(proved?.into())
}

/// Forgets a session whose login did not come to its end.
struct Registered<'a> {
    sessions: &'a Registry,
    session: SessionId,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.sessions.forget(self.session);
    }
}

/// Checks a proof; the reason of a failure is for the log only. A stranger's key does the same work against a name that
/// exists and one that does not: neither gets as far as a signature.
fn check(agent: &Agent, view: &State, pending: &Pending, signature: &str) -> Result<Proven, Reason> {
    let slug = Slug::new(&pending.identity).map_err(|_| "identity")?;
    let identity = view.identity(&slug).ok_or("unknown identity")?;
    let known = view.keys.get(&pending.key);
    let by_certificate = match (&pending.certificate, known) {
        // A key that is enrolled for them needs no certificate.
        (Some(certificate), known) if !known.is_some_and(|key| key.identity == identity.id && key.logs_in()) => {
            Some(judge(agent, identity, known, certificate)?)
        }
        _ => None,
    };
    let key = match &by_certificate {
        Some(by) => known.unwrap_or(&by.key),
        None => known.filter(|key| key.identity == identity.id).ok_or("unknown key")?,
    };
    if by_certificate.is_none() && key.active && !key.confirmed {
        return Err("unconfirmed key".into());
    }
    let enrolled = EnrolmentKey::parse(&key.public_key).map_err(|_| "key")?;
    let text = login_text(&pending.agent, agent.instance, &pending.nonce, &pending.key, &slug);
    let certificate = pending.certificate.as_ref();
    let refused = |error: ProofError| {
        tracing::info!(%error, identity = %slug, "login refused");
        Reason::from(format!("signature: {error}"))
    };
    let proof = verify_with(&enrolled.public_key, certificate, LOGIN_NAMESPACE, text.as_bytes(), signature);
    let proof = proof.map_err(refused)?;
    if by_certificate.as_ref().is_some_and(|by| by.vouched.verify_required) && !proof.verified {
        return Err(refused(ProofError::Unverified));
    }
    Ok(Proven { identity: identity.id, attested: key.attested, proof, by_certificate })
}

/// Why a login was refused: for the log, never for the caller.
type Reason = std::borrow::Cow<'static, str>;

/// What a right proof proves.
struct Proven {
    identity: IdentityId,
    attested: bool,
    proof: Proof,
    by_certificate: Option<ByCertificate>,
}

/// Judges the certificate for an identity that it may log in, before its key's signature is looked at.
fn judge(
    agent: &Agent,
    identity: &Identity,
    known: Option<&Key>,
    certificate: &UserCertificate,
) -> Result<ByCertificate, Reason> {
    if !identity.certificates {
        return Err("certificate: not for this identity".into());
    }
    if known.is_some_and(|key| key.identity != identity.id) {
        return Err("certificate: the key is somebody else's".into());
    }
    if known.is_some_and(|key| !key.active) {
        return Err("certificate: the key was removed".into());
    }
    let vouched = agent.authorities.judge(certificate, &identity.names.principals, agent.now()).map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        tracing::warn!(%error, cause, identity = %identity.names.slug, "a certificate was refused");
        Reason::from(format!("certificate: {error}"))
    })?;
    let line = certificate.key().to_openssh().map_err(|_| "certificate: key")?;
    let key = key_row(&line).map_err(|_| "certificate: key")?;
    Ok(ByCertificate { vouched, key })
}

fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::InvalidParams, message)
}
