//! Stepping up: one call, signed by the key of the session. The text is built here from what this side knows.

use super::login::patiently;
use super::{Client, LoginError, Signer};
use crate::encoding;
use crate::ids::{Instance, Slug};
use crate::login::{STEP_UP_NAMESPACE, step_up_text};
use crate::method::SteppedUp;
use crate::method::session::{Challenge, StepUp};
use crate::sshsig;

/// What this side knows of the session since its login.
pub(super) struct Known {
    /// Fingerprint of the agent that proved itself.
    pub(super) agent: String,
    /// That agent's run.
    pub(super) instance: Instance,
    /// Who logged in.
    pub(super) identity: Slug,
}

impl Client {
    /// The fingerprint of the agent that proved itself at the login; `None` before.
    #[must_use]
    pub fn agent_fingerprint(&self) -> Option<&str> {
        self.known.as_ref().map(|known| known.agent.as_str())
    }

    /// Signs a call and makes it. `signer` is the one of the login; it may ask for a touch.
    ///
    /// # Errors
    /// [`LoginError::Agent`] without a login or if the nonce is malformed, [`LoginError::Sign`] if the key did not sign,
    /// [`LoginError::Call`] for what the agent answers.
    pub async fn call_signed<M: SteppedUp>(
        &mut self,
        mut params: M,
        signer: &dyn Signer,
    ) -> Result<M::Result, LoginError> {
        let refused = |what| LoginError::Agent { what, source: None };
        *params.step_up() = None;
        let params_sha256 = encoding::digest(&params).ok_or(refused("the call cannot be written down"))?;
        let challenge = Challenge { method: M::NAME.to_owned(), params_sha256: params_sha256.clone() };
        let nonce = self.call(&challenge).await?.nonce;
        if !super::login::is_nonce(&nonce) {
            return Err(refused("its nonce is not 64 hex digits"));
        }
        let known = self.known.as_ref().ok_or(refused("nobody has logged in on this connection"))?;
        let key = sshsig::fingerprint(signer.public_key());
        let text = step_up_text(&known.agent, known.instance, &nonce, &key, &known.identity, M::NAME, &params_sha256);
        let signature = patiently(|| signer.sign(STEP_UP_NAMESPACE, text.as_bytes()))?;
        *params.step_up() = Some(StepUp { nonce, signature });
        Ok(self.call(&params).await?)
    }
}
