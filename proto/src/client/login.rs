//! Logging in: the agent proves itself first, then the technician does. Both texts are built here from what this side
//! knows; nothing that was handed over is signed.

use jiff::{SignedDuration, Timestamp};
use ssh_key::{EcdsaCurve, PublicKey};

use super::step_up::Known;
use super::{CallError, Client, PinVerdict, Pins, SignError, Signer};
use crate::ids::Slug;
use crate::login::{
    AGENT_NAMESPACE, ENDORSEMENT_LIFE_S_MAX, ENDORSEMENT_NAMESPACE, LOGIN_NAMESPACE, NONCE_LEN, agent_text,
    endorsement_text, login_text,
};
use crate::method::agent::Status;
use crate::method::session::{Open, Opened, Prove, Proved};
use crate::rpc::PROTOCOL_VERSION;
use crate::sshsig::{self, SshSigError};

/// How far the clocks of client and agent may differ, in seconds.
pub const CLOCK_SKEW_S_MAX: i64 = 5 * 60;

/// What a login needs.
pub struct Login<'a> {
    /// Who logs in.
    pub identity: &'a Slug,
    /// Program and version, at most 64 printable ASCII characters; recorded by the agent.
    pub client: &'a str,
    /// The key.
    pub signer: &'a dyn Signer,
    /// The agents that are trusted.
    pub pins: &'a dyn Pins,
}

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The agent refused, or the connection failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The agent did not prove that it is what it says: which step, and why.
    #[error("the agent did not prove itself: {what}")]
    Agent {
        /// The step, for people.
        what: &'static str,
        /// The signature's fault, if it was one.
        source: Option<SshSigError>,
    },
    /// The endorsement's times do not fit this machine's clock.
    #[error(
        "the agent's endorsement is valid from {not_before} to {not_after} and it is {now} here: check both clocks"
    )]
    Clock {
        /// Valid from.
        not_before: Timestamp,
        /// Valid until.
        not_after: Timestamp,
        /// This machine's time.
        now: Timestamp,
    },
    /// Nobody has said that this agent is to be trusted.
    #[error("the agent's key {fingerprint} is not known: compare it with the agent's and pin it")]
    UnknownAgent {
        /// As `keytype base64`.
        agent_key: String,
        /// `SHA256:…`.
        fingerprint: String,
    },
    /// Another key is pinned: the agent was replaced, or somebody stands in its place.
    #[error("the agent's key {fingerprint} is NOT the pinned one: somebody may stand in the agent's place")]
    ChangedAgent {
        /// `SHA256:…` of what was shown.
        fingerprint: String,
    },
    /// The pins could not be used.
    #[error("cannot tell whether this agent is trusted: {0}")]
    Pins(String),
    /// The technician's key did not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The technician's key cannot be written as text.
    #[error("the key cannot be written as OpenSSH text")]
    Key,
    /// The operating system gave no random bytes.
    #[error("no random bytes from the operating system")]
    Random,
}

impl Client {
    /// Logs in on this connection.
    ///
    /// # Errors
    /// Each [`LoginError`] under its condition; nothing is signed unless the agent has proved itself and is pinned.
    pub async fn login(&mut self, login: Login<'_>) -> Result<Proved, LoginError> {
        let client_nonce = nonce()?;
        // An agent that knows no certificates knows no such field either, and would refuse the call.
        let certificate = match login.signer.certificate() {
            Some(line) if self.call(&Status {}).await?.certificates => Some(line.to_owned()),
            _ => None,
        };
        let open = Open {
            protocol: PROTOCOL_VERSION,
            client: login.client.to_owned(),
            identity: login.identity.clone(),
            public_key: openssh(login.signer.public_key()).ok_or(LoginError::Key)?,
            certificate,
            client_nonce: client_nonce.clone(),
        };
        let opened = self.call(&open).await?;
        let agent = check_agent(&opened, &client_nonce, Timestamp::now())?;
        match patiently(|| login.pins.check(&self.socket, &opened.agent_key, &agent)) {
            PinVerdict::Pinned => {}
            PinVerdict::Unknown => {
                return Err(LoginError::UnknownAgent { agent_key: opened.agent_key, fingerprint: agent });
            }
            PinVerdict::Mismatch => return Err(LoginError::ChangedAgent { fingerprint: agent }),
            PinVerdict::Unusable(reason) => return Err(LoginError::Pins(reason)),
        }
        let key = sshsig::fingerprint(login.signer.public_key());
        let text = login_text(&agent, opened.instance, &opened.nonce, &key, login.identity);
        let signature = patiently(|| login.signer.sign(LOGIN_NAMESPACE, text.as_bytes()))?;
        let proved = self.call(&Prove { signature }).await?;
        self.agent_key = Some(opened.agent_key);
        self.known = Some(Known { agent, instance: opened.instance, identity: login.identity.clone() });
        Ok(proved)
    }
}

/// Waits for a person without holding up the other tasks of a threaded runtime: a touch may take a minute.
pub(super) fn patiently<T>(ask: impl FnOnce() -> T) -> T {
    match tokio::runtime::Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(tokio::runtime::RuntimeFlavor::MultiThread) => tokio::task::block_in_place(ask),
        _ => ask(),
    }
}

fn nonce() -> Result<String, LoginError> {
    let mut bytes = [0; NONCE_LEN];
    getrandom::fill(&mut bytes).map_err(|_| LoginError::Random)?;
    Ok(hex::encode(bytes))
}

/// The key as `keytype base64`, without its comment, which is nobody's business.
fn openssh(key: &PublicKey) -> Option<String> {
    PublicKey::new(key.key_data().clone(), "").to_openssh().ok().map(|text| text.trim_end().to_owned())
}

/// Checks that the agent holds the key it shows, now; returns that key's fingerprint. Whether the key is the right one
/// is for the pins.
fn check_agent(opened: &Opened, client_nonce: &str, now: Timestamp) -> Result<String, LoginError> {
    let refused = |what| LoginError::Agent { what, source: None };
    let agent_key = PublicKey::from_openssh(&opened.agent_key).map_err(|_| refused("its key cannot be read"))?;
    if agent_key.key_data().ecdsa().is_none_or(|key| key.curve() != EcdsaCurve::NistP256) {
        return Err(refused("its key is not ECDSA P-256"));
    }
    let endorsement = &opened.endorsement;
    let session_key =
        PublicKey::from_openssh(&endorsement.session_key).map_err(|_| refused("its session key cannot be read"))?;
    if !session_key.key_data().is_ed25519() {
        return Err(refused("its session key is not Ed25519"));
    }
    if !is_nonce(&opened.nonce) {
        return Err(refused("its nonce is not 64 hex digits"));
    }
    let agent = sshsig::fingerprint(&agent_key);
    let (not_before, not_after) = (endorsement.not_before, endorsement.not_after);
    let text = endorsement_text(&agent, opened.instance, &endorsement.session_key, not_before, not_after);
    sshsig::verify(&agent_key, ENDORSEMENT_NAMESPACE, text.as_bytes(), &endorsement.signature)
        .map_err(|source| LoginError::Agent { what: "the endorsement of its session key", source: Some(source) })?;

    if not_after.duration_since(not_before) > SignedDuration::from_secs(ENDORSEMENT_LIFE_S_MAX) {
        return Err(refused("its session key is endorsed for more than 24 hours"));
    }
    let skew = SignedDuration::from_secs(CLOCK_SKEW_S_MAX);
    if now.duration_since(not_before) < -skew || not_after.duration_since(now) < -skew {
        return Err(LoginError::Clock { not_before, not_after, now });
    }

    let text = agent_text(opened.instance, client_nonce, &opened.nonce);
    sshsig::verify(&session_key, AGENT_NAMESPACE, text.as_bytes(), &opened.agent_signature)
        .map_err(|source| LoginError::Agent { what: "its answer to our nonce", source: Some(source) })?;
    Ok(agent)
}

/// Whatever goes into the signed text must not be able to add a line to it.
pub(super) fn is_nonce(text: &str) -> bool {
    text.len() == 2 * NONCE_LEN && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
#[path = "login_tests.rs"]
mod tests;
