//! The agent's proof to its clients. The identity key in the token endorses a session key for at most a day; the session
//! key answers every client's nonce. So logins put no load on the token, and nobody who cannot log in yet can either.

use std::sync::{Arc, PoisonError, RwLock};

use jiff::{SignedDuration, Timestamp};
use ssh_key::private::{Ed25519Keypair, PrivateKey};
use ssh_key::{HashAlg, LineEnding, PublicKey};
use strongroom_proto::ids::Instance;
use strongroom_proto::login::{
    AGENT_NAMESPACE, ENDORSEMENT_LIFE_S_MAX, ENDORSEMENT_NAMESPACE, NONCE_LEN, agent_text, endorsement_text,
};
use strongroom_proto::method::session::{Endorsement, Opened};
use strongroom_proto::sshsig;
use zeroize::Zeroizing;

use super::agent_sign::{agent_public_key, armour, digest_to_sign, sign_as_agent};

/// A new session key is made after half of the endorsement's life, in seconds: a token that is away then has the other
/// half to come back.
pub const RENEW_AFTER_S: i64 = ENDORSEMENT_LIFE_S_MAX / 2;

pub(super) type Fault = Box<dyn std::error::Error + Send + Sync>;
type SignDigest = Box<dyn Fn(&[u8; 32]) -> Result<[u8; 64], Fault> + Send + Sync>;

/// Why the agent cannot prove itself.
#[derive(Debug, thiserror::Error)]
pub enum EndorsementError {
    /// The identity key is no point of P-256.
    #[error("the agent identity key is no uncompressed P-256 point")]
    Point,
    /// The operating system gave no random bytes.
    #[error("no random bytes from the operating system for a session key")]
    Random,
    /// The token did not sign.
    #[error("the token did not sign the endorsement of a session key")]
    Token(#[source] Fault),
    /// The token's signature does not fit its public key.
    #[error("the token's signature over a session key does not fit the agent identity key")]
    WrongSignature,
    /// The library refused to build a text or a signature.
    #[error("cannot build the agent's proof")]
    Encode(#[from] ssh_key::Error),
    /// The client's nonce is not 64 hex digits. Outside data can cause it.
    #[error("client_nonce must be 64 hex digits")]
    ClientNonce,
}

/// Proves the agent to clients for one run.
pub struct AgentProof {
    identity: PublicKey,
    openssh: String,
    fingerprint: String,
    instance: Instance,
    sign: SignDigest,
    current: RwLock<Arc<Session>>,
}

struct Session {
    key: PrivateKey,
    endorsement: Endorsement,
}

impl AgentProof {
    /// Makes a session key and has it endorsed.
    ///
    /// `point` is the identity key as an uncompressed SEC 1 point of 65 bytes; `sign` signs a SHA-256 digest with its
    /// private half in the token and returns r ‖ s (PKCS#11 `CKM_ECDSA`).
    ///
    /// # Errors
    /// Every [`EndorsementError`] but [`EndorsementError::ClientNonce`].
    pub fn new<E: Into<Fault>>(
        point: &[u8],
        sign: impl Fn(&[u8; 32]) -> Result<[u8; 64], E> + Send + Sync + 'static,
        instance: Instance,
        now: Timestamp,
    ) -> Result<Self, EndorsementError> {
        let identity = agent_public_key(point)?;
        let sign: SignDigest = Box::new(move |digest| sign(digest).map_err(Into::into));
        let session = endorse(&identity, &sign, instance, now)?;
        Ok(Self {
            openssh: openssh(&identity)?,
            fingerprint: sshsig::fingerprint(&identity),
            identity,
            instance,
            sign,
            current: RwLock::new(Arc::new(session)),
        })
    }

    /// The agent identity key as `ecdsa-sha2-nistp256 base64`: what clients pin.
    #[must_use]
    pub fn openssh(&self) -> &str {
        &self.openssh
    }

    /// `SHA256:…` of the agent identity key: stands in every login text.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// This run.
    #[must_use]
    pub fn instance(&self) -> Instance {
        self.instance
    }

    /// Answers `session.open`. Both nonces are 64 hex digits; `nonce` is the agent's own, fresh one.
    ///
    /// # Errors
    /// [`EndorsementError::ClientNonce`] if the client's nonce is malformed.
    pub fn open_reply(&self, client_nonce: &str, nonce: &str) -> Result<Opened, EndorsementError> {
        if client_nonce.len() != 2 * NONCE_LEN || !client_nonce.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(EndorsementError::ClientNonce);
        }
        let session = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        let text = agent_text(self.instance, client_nonce, nonce);
        let signature = session.key.sign(AGENT_NAMESPACE, HashAlg::Sha512, text.as_bytes())?;
        Ok(Opened {
            agent_key: self.openssh.clone(),
            endorsement: session.endorsement.clone(),
            instance: self.instance,
            nonce: nonce.to_owned(),
            agent_signature: signature.to_pem(LineEnding::LF)?,
        })
    }

    /// What the identity key in the token has to sign for an SSHSIG over a text for outsiders.
    ///
    /// # Errors
    /// [`EndorsementError::Encode`] if the namespace is empty.
    pub fn statement_digest(&self, namespace: &str, text: &str) -> Result<[u8; 32], EndorsementError> {
        digest_to_sign(namespace, text.as_bytes())
    }

    /// Makes the armoured SSHSIG of what the token signed (`r ‖ s`): `ssh-keygen -Y verify` accepts it.
    ///
    /// # Errors
    /// [`EndorsementError::WrongSignature`] if the signature is not by the identity key over this text.
    pub fn statement(&self, namespace: &str, text: &str, raw: &[u8; 64]) -> Result<String, EndorsementError> {
        armour(&self.identity, namespace, text.as_bytes(), raw)
    }

    /// Makes and endorses a new session key if the current one is past half its life, or is not valid yet because the
    /// clock was set back. True if it did. Asks the token, so it may block; logins go on meanwhile.
    ///
    /// # Errors
    /// Every [`EndorsementError`] but [`EndorsementError::ClientNonce`]; the current key stays.
    pub fn renew_if_due(&self, now: Timestamp) -> Result<bool, EndorsementError> {
        let since = self.current.read().unwrap_or_else(PoisonError::into_inner).endorsement.not_before;
        let age = now.duration_since(since).as_secs();
        if (0..RENEW_AFTER_S).contains(&age) {
            return Ok(false);
        }
        let session = endorse(&self.identity, &self.sign, self.instance, now)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(session);
        Ok(true)
    }
}

fn endorse(
    identity: &PublicKey,
    sign: &SignDigest,
    instance: Instance,
    now: Timestamp,
) -> Result<Session, EndorsementError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(|_| EndorsementError::Random)?;
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
    let session_key = openssh(key.public_key())?;
    let not_before = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let not_after = not_before.saturating_add(SignedDuration::from_secs(ENDORSEMENT_LIFE_S_MAX)).unwrap_or(not_before);
    let text = endorsement_text(&sshsig::fingerprint(identity), instance, &session_key, not_before, not_after);

    let signature = sign_as_agent(identity, |digest| sign(digest), ENDORSEMENT_NAMESPACE, text.as_bytes())?;
    Ok(Session { key, endorsement: Endorsement { session_key, not_before, not_after, signature } })
}

fn openssh(key: &PublicKey) -> Result<String, EndorsementError> {
    let text = PublicKey::new(key.key_data().clone(), "").to_openssh()?;
    Ok(text.trim_end().to_owned())
}

#[cfg(test)]
#[path = "endorsement_tests.rs"]
mod tests;
