//! Error kinds: the contract between the agent, people and scripts. A kind is chosen by what somebody does next.

use serde::{Deserialize, Serialize};

/// Declares the kinds with their wire word, JSON-RPC code and CLI exit code in one table.
macro_rules! kinds {
    ($($(#[$meta:meta])* $variant:ident = $word:literal, $code:literal, $exit:literal;)+) => {
        /// Why a call failed. The word is stable; the sentence beside it is for people and may change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ErrorKind {
            $($(#[$meta])* #[serde(rename = $word)] $variant,)+
        }

        impl ErrorKind {
            /// Every kind, in the order of PROTOCOL.md.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word in `error.data.kind`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The JSON-RPC error code. Codes are never reused.
            #[must_use]
            pub const fn code(self) -> i32 {
                match self { $(Self::$variant => $code,)+ }
            }

            /// The exit code of the command line.
            #[must_use]
            pub const fn exit_code(self) -> u8 {
                match self { $(Self::$variant => $exit,)+ }
            }
        }
    };
}

kinds! {
    /// The frame is no JSON-RPC 2.0 request.
    Parse = "parse", -32700, 1;
    /// The method does not exist or its parameters do not fit.
    InvalidParams = "invalid_params", -32602, 2;
    /// The connection has no session, or the proof failed.
    Unauthenticated = "unauthenticated", -32001, 4;
    /// The thing does not exist, or the caller may not know that it does.
    NotFound = "not_found", -32002, 3;
    /// The caller sees the thing and may not do this with it.
    Denied = "denied", -32003, 4;
    /// Somebody else must approve first.
    NeedsApproval = "needs_approval", -32004, 5;
    /// The vault asks for a stronger login.
    NeedsAssurance = "needs_assurance", -32005, 4;
    /// The vault is frozen: nothing is released.
    Frozen = "frozen", -32006, 4;
    /// Too many attempts; try later.
    RateLimited = "rate_limited", -32007, 1;
    /// The state has changed, or the name is taken.
    Conflict = "conflict", -32008, 1;
    /// The token does not answer.
    HsmUnavailable = "hsm_unavailable", -32009, 7;
    /// The store cannot commit.
    StoreUnavailable = "store_unavailable", -32010, 7;
    /// The audit log is sealed or cannot be written: nothing is released.
    AuditUnavailable = "audit_unavailable", -32011, 7;
    /// The deadline passed, or the thing has ended.
    Expired = "expired", -32012, 8;
    /// A frame, list or file is over its limit.
    TooLarge = "too_large", -32013, 1;
    /// The vault gives codes only to calls that are signed.
    NeedsSignature = "needs_signature", -32014, 4;
    /// The records were pruned: their hashes are there, they are not.
    Pruned = "pruned", -32015, 3;
    /// A fault of the agent itself.
    Internal = "internal", -32603, 1;
}

impl std::fmt::Display for ErrorKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// An error as the wire carries it: a kind for programs, a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What programs branch on.
    pub kind: ErrorKind,
    /// One sentence for people, without secrets.
    pub message: String,
}

impl Failure {
    /// Makes a failure.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The one answer for what does not exist and for what the caller may not know of.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(ErrorKind::NotFound, "There is no such vault or account.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_words_are_unique() {
        for (place, kind) in ErrorKind::ALL.iter().enumerate() {
            for other in &ErrorKind::ALL[place + 1..] {
                assert_ne!(kind.code(), other.code());
                assert_ne!(kind.as_str(), other.as_str());
            }
        }
    }
}
