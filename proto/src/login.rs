//! The texts that keys sign at login. Each side builds a text from its own state and nobody parses one: the client never
//! signs bytes that were handed to it. All texts are ASCII, each line ends in LF, all signatures are SSHSIG
//! (OpenSSH PROTOCOL.sshsig) with hash sha512, so `ssh-keygen -Y sign` and `-Y verify` can do both sides.

use jiff::Timestamp;

use crate::ids::{Instance, Slug};

/// SSHSIG namespace of a technician's login.
pub const LOGIN_NAMESPACE: &str = "strongroom-login@v1";
/// SSHSIG namespace of the agent's proof to the client.
pub const AGENT_NAMESPACE: &str = "strongroom-agent@v1";
/// SSHSIG namespace of the endorsement of a session key by the agent identity key.
pub const ENDORSEMENT_NAMESPACE: &str = "strongroom-endorse@v1";
/// SSHSIG namespace of a step-up: one call, signed by its caller.
pub const STEP_UP_NAMESPACE: &str = "strongroom-step-up@v1";
/// SSHSIG namespace of a destruction certificate, signed by the agent identity key.
pub const CERTIFICATE_NAMESPACE: &str = "strongroom-certificate@v1";
/// How long the nonce of a step-up is good for, in seconds.
pub const STEP_UP_LIFE_S: i64 = 120;
/// Length of both nonces, in bytes.
pub const NONCE_LEN: usize = 32;
/// Longest life of an endorsement, in seconds.
pub const ENDORSEMENT_LIFE_S_MAX: i64 = 24 * 60 * 60;

/// What the agent identity key signs, once a day: this session key is mine.
#[must_use]
pub fn endorsement_text(
    agent: &str,
    instance: Instance,
    session_key: &str,
    not_before: Timestamp,
    not_after: Timestamp,
) -> String {
    format!(
        "strongroom-endorse-v1\nagent {agent}\ninstance {instance}\nsession-key {session_key}\nnot-before {not_before}\nnot-after {not_after}\n"
    )
}

/// What the agent's session key signs at each login: I am here now. `client_nonce` and `nonce` are 64 hex digits.
#[must_use]
pub fn agent_text(instance: Instance, client_nonce: &str, nonce: &str) -> String {
    format!("strongroom-agent-v1\ninstance {instance}\nclient-nonce {client_nonce}\nnonce {nonce}\n")
}

/// What the technician's key signs.
///
/// `agent` and `key` are fingerprints (`SHA256:…`): the agent's stops a signature for one agent from working at another,
/// the key's is there because SSHSIG does not cover the public key it carries. `nonce` is the agent's, 64 hex digits.
#[must_use]
pub fn login_text(agent: &str, instance: Instance, nonce: &str, key: &str, identity: &Slug) -> String {
    format!(
        "strongroom-login-v1\nagent {agent}\ninstance {instance}\nnonce {nonce}\nkey {key}\nidentity {identity}\npurpose login\n"
    )
}

/// What the caller's key signs to step up: this call, and no other.
///
/// The lines are those of [`login_text`], except that the purpose is a method and `params`, the digest of its parameters
/// ([`crate::encoding::digest`]) in 64 hex digits.
#[must_use]
pub fn step_up_text(
    agent: &str,
    instance: Instance,
    nonce: &str,
    key: &str,
    identity: &Slug,
    method: &str,
    params: &str,
) -> String {
    format!(
        "strongroom-step-up-v1\nagent {agent}\ninstance {instance}\nnonce {nonce}\nkey {key}\nidentity {identity}\npurpose {method} {params}\n"
    )
}

/// What a security key is made to attest: `ssh-keygen -O challenge=FILE` is given a file with exactly this text. Derived, not
/// drawn: it says for which agent and for whom, and the key that it comes with can be enrolled once only.
#[must_use]
pub fn attestation_challenge(agent: &str, identity: &Slug) -> String {
    format!("strongroom-attestation-v1\nagent {agent}\nidentity {identity}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_text_is_exactly_what_the_protocol_says() {
        let instance = "6ba7b810-9dad-11d1-80b4-00c04fd430c8".parse().unwrap();
        let text = login_text("SHA256:agent", instance, "00ff", "SHA256:key", &Slug::new("jana").unwrap());
        assert_eq!(
            text,
            "strongroom-login-v1\n\
             agent SHA256:agent\n\
             instance 6ba7b810-9dad-11d1-80b4-00c04fd430c8\n\
             nonce 00ff\n\
             key SHA256:key\n\
             identity jana\n\
             purpose login\n"
        );
    }
}
