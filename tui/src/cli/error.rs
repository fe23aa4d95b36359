//! How a command fails: one sentence, what to try next, and an exit code that scripts can branch on.

use std::error::Error;

use serde::Serialize;
use serde_json::Value;
use strongroom_proto::client::{CallError, ConnectError, LoginError};
use strongroom_proto::error::{ErrorKind, Failure};

use crate::settings::SettingsError;

/// Exit code of a failure without a code of its own.
const EXIT_FAILURE: u8 = 1;
/// Exit code of wrong arguments.
pub(super) const EXIT_USAGE: u8 = 2;
/// Exit code of a login that did not succeed.
pub(super) const EXIT_DENIED: u8 = 4;
/// Exit code when nobody answers at the socket.
const EXIT_UNREACHABLE: u8 = 6;
/// Exit code when the agent runs and gives no codes.
const EXIT_LOCKED: u8 = 7;
/// Exit code when the answer did not come in time.
pub(super) const EXIT_TIMED_OUT: u8 = 8;
/// Exit code when some rows were left out.
pub(super) const EXIT_PARTLY_DONE: u8 = 9;
/// Exit code when a person said no or pressed Ctrl-C (128 + SIGINT).
pub(super) const EXIT_CANCELLED: u8 = 130;

/// Why a command failed.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct CliError {
    /// The exit code.
    pub(super) code: u8,
    /// What programs branch on: a kind of the protocol, or one of this file.
    pub(super) kind: &'static str,
    /// One sentence for people.
    pub(super) message: String,
    /// What to try next.
    pub(super) hint: Option<String>,
    /// More for programs, for example the rows of an import.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<Value>,
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    schema: &'static str,
    error: &'a CliError,
}

impl CliError {
    pub(super) fn new(code: u8, kind: &'static str, message: impl Into<String>) -> Self {
        Self { code, kind, message: message.into(), hint: None, detail: None }
    }

    /// Wrong arguments, or arguments that are missing.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(EXIT_USAGE, "usage", message)
    }

    /// Something on this side went wrong.
    pub(super) fn failure(message: impl Into<String>) -> Self {
        Self::new(EXIT_FAILURE, "failure", message)
    }

    /// Something on this side went wrong, with its causes.
    pub(super) fn caused(message: &str, cause: &dyn Error) -> Self {
        Self::failure(format!("{message}: {}", chain(cause)))
    }

    /// The agent gives no codes.
    pub(super) fn locked(kind: &'static str, message: &str) -> Self {
        Self::new(EXIT_LOCKED, kind, message)
    }

    /// An exported log is not what it must be.
    pub(super) fn unverified(cause: &dyn Error) -> Self {
        Self::new(EXIT_FAILURE, "unverified", format!("NOT VERIFIED: {}", chain(cause)))
    }

    /// A person said no.
    pub(super) fn cancelled() -> Self {
        Self::new(EXIT_CANCELLED, "cancelled", "Cancelled; nothing was changed.")
    }

    /// Done, except for some rows.
    pub(super) fn partly_done(message: impl Into<String>) -> Self {
        Self::new(EXIT_PARTLY_DONE, "partly_done", message)
    }

    /// Adds what to try next.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds members for programs to the error object.
    pub(super) fn detail(mut self, detail: Value) -> Self {
        self.detail = Some(detail);
        self
    }

    /// The error object of `--json`.
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(&ErrorObject { schema: "strongroom.error/1", error: self }).unwrap_or_default()
    }
}

/// What somebody does next about a kind of error; `None` where the sentence already says it.
fn hint(kind: ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::Unauthenticated => {
            "check --identity and --key: the key must be enrolled for that identity and active"
        }
        ErrorKind::NotFound => "strongroom ls shows what you may use; a manager or admin can give you access",
        ErrorKind::Denied => "a manager of the vault or an admin can give you the role that this needs",
        ErrorKind::NeedsApproval => "ask a second person to approve",
        ErrorKind::NeedsAssurance => "log in with a hardware key: --key FILE of an sk- key",
        ErrorKind::Frozen => {
            "an admin lifts a freeze with: strongroom vault thaw VAULT --reason R; a hold with: strongroom identity resume \
             WHO --reason R"
        }
        ErrorKind::NeedsSignature => "take it with: strongroom code CLIENT/ACCOUNT, which signs the call with your key",
        ErrorKind::Pruned => "older exports and backups have them; strongroom audit show begins with what is left",
        ErrorKind::RateLimited => "wait a minute and try again",
        ErrorKind::Conflict => "look at the current state and try again",
        ErrorKind::HsmUnavailable | ErrorKind::StoreUnavailable | ErrorKind::AuditUnavailable => {
            "strongroom status shows what is wrong; on the agent's machine: strongroom-agent doctor"
        }
        ErrorKind::Internal => "the agent's log on its machine says more",
        ErrorKind::Parse | ErrorKind::InvalidParams | ErrorKind::Expired | ErrorKind::TooLarge => return None,
    })
}

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        let mut error = Self::new(failure.kind.exit_code(), failure.kind.as_str(), failure.message);
        error.hint = hint(failure.kind).map(str::to_owned);
        error
    }
}

impl From<CallError> for CliError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Failure(failure) => failure.into(),
            CallError::Timeout(_) => Self::new(EXIT_TIMED_OUT, "timed_out", chain(&error))
                .hint("it may still have happened: look before you try again; --timeout waits longer"),
            CallError::Connection(_) => Self::new(EXIT_UNREACHABLE, "agent_unreachable", chain(&error))
                .hint("it may still have happened: look before you try again"),
            CallError::Protocol(_) => {
                Self::failure(chain(&error)).hint("compare the versions: strongroom --version, strongroom status")
            }
        }
    }
}

impl From<ConnectError> for CliError {
    fn from(error: ConnectError) -> Self {
        let unreachable = Self::new(EXIT_UNREACHABLE, "agent_unreachable", chain(&error));
        match error {
            ConnectError::NotRunning { .. } | ConnectError::Refused { .. } => unreachable
                .hint("start it with strongroom-agent run, or name its socket with --sock or STRONGROOM_SOCK"),
            _ => unreachable,
        }
    }
}

impl From<LoginError> for CliError {
    fn from(error: LoginError) -> Self {
        let untrusted = |hint: &str| Self::new(EXIT_DENIED, "agent_untrusted", chain(&error)).hint(hint);
        match error {
            // Unlike any other call, a login that broke off has done nothing.
            LoginError::Call(call @ (CallError::Connection(_) | CallError::Timeout(_))) => {
                Self::from(call).hint("the login did not succeed: try again; the agent's log on its machine says more")
            }
            LoginError::Call(call) => call.into(),
            LoginError::UnknownAgent { .. } => untrusted(
                "compare it with what strongroom-agent shows on its machine, then use --accept-new-agent once",
            ),
            LoginError::ChangedAgent { .. } => {
                untrusted("do not go on before you know why; then remove the old line from your known_agents file")
            }
            LoginError::Agent { .. } | LoginError::Clock { .. } | LoginError::Pins(_) => {
                Self::new(EXIT_DENIED, "agent_untrusted", chain(&error))
            }
            LoginError::Sign(_) | LoginError::Key | LoginError::Random => {
                Self::new(EXIT_DENIED, ErrorKind::Unauthenticated.as_str(), chain(&error))
            }
        }
    }
}

impl From<SettingsError> for CliError {
    fn from(error: SettingsError) -> Self {
        Self::usage(chain(&error))
    }
}

/// An error with its causes, each said once.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let sentence = cause.to_string();
        if !text.contains(&sentence) {
            text = format!("{text}: {sentence}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use strongroom_proto::client::{ConnectionError, SignError};

    #[test]
    fn every_kind_of_the_protocol_keeps_its_exit_code() {
        let codes: Vec<_> = ErrorKind::ALL
            .iter()
            .map(|&kind| CliError::from(Failure::new(kind, "x")))
            .map(|error| format!("{} {}", error.kind, error.code))
            .collect();
        let expected = [
            "parse 1",
            "invalid_params 2",
            "unauthenticated 4",
            "not_found 3",
            "denied 4",
            "needs_approval 5",
            "needs_assurance 4",
            "frozen 4",
            "rate_limited 1",
            "conflict 1",
            "hsm_unavailable 7",
            "store_unavailable 7",
            "audit_unavailable 7",
            "expired 8",
            "too_large 1",
            "needs_signature 4",
            "pruned 3",
            "internal 1",
        ];
        assert_eq!(codes, expected);
    }

    #[test]
    fn what_happens_on_this_side_has_exit_codes_too() {
        let path = || "/run/x".into();
        let connect = |error: ConnectError| CliError::from(error).code;
        assert_eq!(connect(ConnectError::NotRunning { path: path() }), 6);
        assert_eq!(connect(ConnectError::Refused { path: path() }), 6);
        assert_eq!(connect(ConnectError::Forbidden { path: path() }), 6);
        assert_eq!(connect(ConnectError::Timeout { path: path() }), 6);
        assert_eq!(CliError::from(CallError::Connection(ConnectionError::Closed)).code, 6);
        assert_eq!(CliError::from(CallError::Timeout(Duration::from_secs(1))).code, 8);
        assert_eq!(CliError::from(CallError::Protocol("x")).code, 1);
        let cut_off = CliError::from(LoginError::Call(CallError::Connection(ConnectionError::Closed)));
        assert_eq!(cut_off.code, 6);
        assert!(cut_off.hint.is_some_and(|hint| hint.starts_with("the login did not succeed")));
        assert_eq!(CliError::from(LoginError::Sign(SignError("no key".into()))).code, 4);
        assert_eq!(CliError::from(LoginError::ChangedAgent { fingerprint: "SHA256:x".into() }).code, 4);
        assert_eq!(CliError::from(LoginError::from(CallError::from(Failure::not_found()))).code, 3);
        assert_eq!(CliError::usage("x").code, 2);
        assert_eq!(CliError::partly_done("x").code, 9);
        assert_eq!(CliError::cancelled().code, 130);
    }

    #[test]
    fn the_error_object_is_fixed() {
        let error = CliError::usage("Wrong.").hint("Right.");
        let plain =
            r#"{"schema":"strongroom.error/1","error":{"code":2,"kind":"usage","message":"Wrong.","hint":"Right."}}"#;
        assert_eq!(error.to_json(), plain);
        let detailed = CliError::failure("x").detail(serde_json::json!({"rows": []}));
        let expected = r#"{"schema":"strongroom.error/1","error":{"code":1,"kind":"failure","message":"x","hint":null,"rows":[]}}"#;
        assert_eq!(detailed.to_json(), expected);
    }

    #[test]
    fn causes_are_said_once() {
        let error = ConnectError::Io { path: "/x".into(), source: std::io::Error::other("boom") };
        assert_eq!(chain(&error), "cannot connect to /x: boom");
    }
}
