//! The envelope: JSON-RPC 2.0, one object per line. Batches and notifications from clients are refused.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{ErrorKind, Failure};

/// The protocol version that `session.open` names.
pub const PROTOCOL_VERSION: u32 = 1;
/// Longest frame a client may send, in bytes, without its line feed.
pub const REQUEST_LEN_MAX: usize = 64 * 1024;
/// Longest frame the agent sends, in bytes, without its line feed.
pub const RESPONSE_LEN_MAX: usize = 1024 * 1024;

/// A call. Unknown members are an error, so that a misspelt one is never silently ignored.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Always `2.0`.
    pub jsonrpc: Version,
    /// Chosen by the client; comes back in the response.
    pub id: Id,
    /// `family.verb`.
    pub method: String,
    /// An object; absent means empty.
    #[serde(default)]
    pub params: Value,
}

impl std::fmt::Debug for Request {
    /// Leaves the parameters out: an import's hold seeds.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Request").field("id", &self.id).field("method", &self.method).finish_non_exhaustive()
    }
}

/// The literal `2.0`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// JSON-RPC 2.0.
    #[default]
    #[serde(rename = "2.0")]
    Two,
}

/// A request id: a number or a text. `null` appears only in answers to frames that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Id {
    /// A number.
    Number(u64),
    /// A text.
    Text(String),
    /// The id of an unreadable frame.
    Null,
}

/// An answer: a result or an error.
#[derive(Debug, Serialize, Deserialize)]
pub struct Response<R> {
    /// Always `2.0`.
    pub jsonrpc: Version,
    /// The id of the request.
    pub id: Id,
    /// The outcome.
    #[serde(flatten)]
    pub outcome: Outcome<R>,
}

/// The outcome of a call.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome<R> {
    /// It worked.
    Result(R),
    /// It failed.
    Error(ErrorObject),
}

/// A JSON-RPC error object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorObject {
    /// See [`ErrorKind::code`].
    pub code: i32,
    /// A sentence for people.
    pub message: String,
    /// What programs branch on.
    pub data: ErrorData,
}

/// The contract part of an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorData {
    /// The kind.
    pub kind: ErrorKind,
}

impl From<Failure> for ErrorObject {
    fn from(failure: Failure) -> Self {
        Self { code: failure.kind.code(), message: failure.message, data: ErrorData { kind: failure.kind } }
    }
}

impl From<ErrorObject> for Failure {
    fn from(object: ErrorObject) -> Self {
        Self { kind: object.data.kind, message: object.message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_never_shows_its_parameters() {
        let text = r#"{"jsonrpc":"2.0","id":7,"method":"account.import_rows","params":{"seed":"JBSWY3DPEHPK3PXP"}}"#;
        let request: Request = serde_json::from_str(text).unwrap();
        let shown = format!("{request:?}");
        assert!(shown.contains("account.import_rows") && !shown.contains("JBSWY3DP"), "{shown}");
    }
}
