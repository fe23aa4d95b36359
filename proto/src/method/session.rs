//! `session.*`: proving who is there, and who else is. PROTOCOL.md, "Login", has the texts that are signed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Done, method};
use crate::ids::{IdentityId, Instance, SessionId, Slug};
use crate::words::{Assurance, IdentityKind, OrgRole};

/// Opens a login: the client says who it is, the agent proves itself first.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// [`crate::rpc::PROTOCOL_VERSION`].
    pub protocol: u32,
    /// Program and version, at most 64 printable ASCII characters; recorded, never trusted.
    pub client: String,
    /// Who wants to log in.
    pub identity: Slug,
    /// The SSH public key that will sign, as `type base64`.
    pub public_key: String,
    /// The certificate of that key, as the line of its `-cert.pub` file; used if the key itself is not enrolled for the
    /// identity. Only for an agent that takes certificates ([`super::agent::StatusResult::certificates`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// 32 random bytes, 64 hex digits.
    pub client_nonce: String,
}
method!(Open => "session.open" -> Opened);

/// The agent's proof. It is the same for identities and keys that do not exist, so that nobody learns names here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Opened {
    /// The agent identity key in the token, as OpenSSH text `ecdsa-sha2-nistp256 base64`: what clients pin.
    pub agent_key: String,
    /// The identity key's word for this run's session key.
    pub endorsement: Endorsement,
    /// This run of the agent.
    pub instance: Instance,
    /// 32 random bytes, 64 hex digits: goes into the login text.
    pub nonce: String,
    /// Armoured SSHSIG by the session key over [`crate::login::agent_text`].
    pub agent_signature: String,
}

/// The token's key vouches for an Ed25519 key made at agent start, so that logins put no load on the token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Endorsement {
    /// The session key, as OpenSSH text `ssh-ed25519 base64`.
    pub session_key: String,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until; at most 24 h later.
    pub not_after: Timestamp,
    /// Armoured SSHSIG by the agent identity key over [`crate::login::endorsement_text`].
    pub signature: String,
}

/// Proves the identity named in `session.open`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prove {
    /// Armoured SSHSIG over [`crate::login::login_text`], namespace [`crate::login::LOGIN_NAMESPACE`].
    pub signature: String,
}
method!(Prove => "session.prove" -> Proved);

/// A session has begun on this connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Proved {
    /// This session.
    pub session: SessionId,
    /// Who it belongs to.
    pub identity: Slug,
    /// The display name.
    pub name: String,
    /// Roles over the organisation.
    pub roles: Vec<OrgRole>,
    /// How the identity proved itself.
    pub assurance: Assurance,
    /// The session ends after this long without a call, in seconds.
    pub idle_timeout_s: u64,
    /// The session ends then in any case.
    pub expires_at: Timestamp,
    /// Sentences that the caller should read: what waits for their decision, what nobody has reviewed, an end that is near.
    #[serde(default)]
    pub notices: Vec<String>,
}

/// Asks for a nonce to sign one call with. A connection has one such nonce; a new one takes the place of the old.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// The method to be called, one of [`crate::method::STEPPED_UP`].
    pub method: String,
    /// SHA-256 of its parameters without `step_up` ([`crate::encoding::digest`]), 64 hex digits.
    pub params_sha256: String,
}
method!(Challenge => "session.challenge" -> Challenged);

/// What goes into the text that is signed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Challenged {
    /// 32 random bytes, 64 hex digits; good for one call on this connection.
    pub nonce: String,
    /// Until when.
    pub expires_at: Timestamp,
}

/// A call's own signature, beside its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepUp {
    /// The nonce of `session.challenge`.
    pub nonce: String,
    /// Armoured SSHSIG over [`crate::login::step_up_text`] by the session's key, namespace
    /// [`crate::login::STEP_UP_NAMESPACE`].
    pub signature: String,
}

/// Asks who this connection is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Whoami {}
method!(Whoami => "session.whoami" -> WhoamiResult);

/// Who this connection is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WhoamiResult {
    /// The session.
    #[serde(flatten)]
    pub session: Proved,
    /// The identity's id, as audit records name it.
    pub identity_id: IdentityId,
    /// Person or script.
    pub kind: IdentityKind,
    /// Fingerprint of the key that logged in.
    pub key: String,
    /// True while this identity is the only admin there has ever been: its changes need nobody else and are marked.
    pub sole_admin: bool,
}

/// Lists sessions: an admin sees all, everybody else their own.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {}
method!(List => "session.list" -> ListResult);

/// The sessions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListResult {
    /// Newest first.
    pub items: Vec<Item>,
}

/// One session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Item {
    /// Its id.
    pub session: SessionId,
    /// Whose it is.
    pub identity: Slug,
    /// How they proved themselves.
    pub assurance: Assurance,
    /// The program, as it called itself.
    pub client: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when.
    pub expires_at: Timestamp,
    /// True for the session that asks.
    pub own: bool,
}

/// Ends a session: one's own, or as an admin anybody's. Its connection is closed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// Which.
    pub session: SessionId,
}
method!(End => "session.end" -> Done);
