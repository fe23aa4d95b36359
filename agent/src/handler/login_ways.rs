//! Ways to log in beside a plain key: certificates, and keys that say what they are.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::Slug;
use strongroom_proto::login::attestation_challenge;
use strongroom_proto::method::identity as wire;

use super::identity::end_all;
use super::{Agent, Answer, Connection};
use crate::commands::identity::certificates;
use crate::identity::{ATTESTATION_LEN_MAX, EnrolmentKey, attest};
use crate::session::registry::Session;
use crate::state::LogId;
use crate::state::rows::Key;

pub(super) async fn certificates(
    agent: &Agent,
    connection: &mut Connection,
    params: wire::Certificates,
) -> Result<Answer<wire::CertificatesChanged>, Failure> {
    let caller = connection.caller(agent)?;
    let durable = agent
        .store
        .submit(move |tx| certificates::certificates(tx, &caller, &params.identity, params.principals.as_deref()))
        .await?;
    let (changed, receipt) = durable.into_parts();
    agent.anchor(vec![LogId::Org]).await;
    // Whom a certificate may no longer log in, no certificate keeps in.
    let view = agent.store.view();
    let stays = |principals: &[String]| {
        view.identities.get(&changed.identity).is_some_and(|identity| identity.is_named_by(principals))
    };
    let is_out = |session: &Session| {
        let by = session.certificate.as_ref();
        session.identity == changed.identity && by.is_some_and(|by| !stays(&by.vouched.principals))
    };
    let sessions = end_all(agent, agent.sessions.end_where(is_out), "certificates withdrawn").await;
    Ok(wire::CertificatesChanged { in_force: changed.in_force, pending: changed.pending, sessions, receipt }.into())
}

impl Agent {
    /// Ends the sessions whose certificates have been revoked since. A list that cannot be read ends none: it keeps new
    /// ones from beginning, and a file that is just being replaced must not log everybody out.
    pub(crate) async fn end_revoked(&self) {
        let certified = |session: &Session| session.certificate.is_some();
        if !self.sessions.all().iter().any(certified) {
            return;
        }
        let Ok(Some(list)) = self.authorities.list() else { return };
        let revoked = |session: &Session| {
            session.certificate.as_ref().is_some_and(|by| matches!(list.names(&by.certificate), Ok(true)))
        };
        let ended = self.sessions.end_where(revoked);
        end_all(self, ended, "certificate revoked").await;
    }
}

/// Adds what a key's attestation proves to its row. One that proves nothing refuses the enrolment: whoever gives one wants a
/// key that counts as hardware.
pub(super) fn attested(agent: &Agent, key: Key, attestation: Option<&str>, identity: &Slug) -> Result<Key, Failure> {
    let Some(attestation) = attestation else { return Ok(key) };
    let invalid = |message: String| Failure::new(ErrorKind::InvalidParams, format!("attestation: {message}."));
    if attestation.len() > ATTESTATION_LEN_MAX * 4 / 3 + 4 {
        return Err(invalid(format!("it is longer than {ATTESTATION_LEN_MAX} bytes")));
    }
    let file = BASE64.decode(attestation).map_err(|_| invalid("it is not base64".to_owned()))?;
    let public = EnrolmentKey::parse(&key.public_key).map_err(|refusal| invalid(refusal.to_string()))?.public_key;
    let challenge = attestation_challenge(agent.voices.current().proof.fingerprint(), identity);
    let attested = attest(&agent.vendors, &file, challenge.as_bytes(), &public, agent.now());
    let attested = attested.map_err(|refusal| invalid(refusal.to_string()))?;
    Ok(Key { attested: true, attestation: Some(attested), ..key })
}
