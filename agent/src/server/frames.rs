//! Requests in, replies out.

use serde::Serialize;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::frame;
use strongroom_proto::rpc::{Id, Outcome, RESPONSE_LEN_MAX, Request, Response, Version};
use zeroize::Zeroizing;

/// Something that lives until a reply has been read; its drop is the message.
pub type Held = Box<dyn Send>;

/// The answer to one call.
pub struct Reply {
    /// One JSON object with its line feed; wiped when dropped.
    pub frame: Zeroizing<String>,
    /// Dropped once the frame has been written and the peer has read it, or cannot read it any more, or has not read it
    /// within the drain deadline. A revocation waits for it.
    pub held: Option<Held>,
    /// Closes the connection after the frame.
    pub end: bool,
}

impl Reply {
    /// Answers with a result; one that is longer than a frame may be becomes the error `too_large`.
    #[must_use]
    pub fn result<R: Serialize>(id: Id, result: &R) -> Self {
        let response = Response { jsonrpc: Version::Two, id, outcome: Outcome::Result(result) };
        match frame::encode(&response) {
            Ok(frame) if frame.len() <= RESPONSE_LEN_MAX + 1 => Self { frame, held: None, end: false },
            Ok(_) => Self::failure(response.id, Failure::new(ErrorKind::TooLarge, "The answer is longer than 1 MiB.")),
            Err(_) => Self::failure(response.id, Failure::new(ErrorKind::Internal, "The answer cannot be written.")),
        }
    }

    /// Answers with an error.
    #[must_use]
    pub fn failure(id: Id, failure: Failure) -> Self {
        let response = Response::<()> { jsonrpc: Version::Two, id, outcome: Outcome::Error(failure.into()) };
        // Numbers, words and a sentence: writing them cannot fail, and an empty frame would only end the connection.
        let frame = frame::encode(&response).unwrap_or_default();
        Self { frame, held: None, end: false }
    }

    /// Keeps something until the peer has read this reply.
    #[must_use]
    pub fn holding(mut self, held: Held) -> Self {
        self.held = Some(held);
        self
    }

    /// Closes the connection after this reply.
    #[must_use]
    pub fn ending(mut self) -> Self {
        self.end = true;
        self
    }
}

/// Reads one request. The reason that the parser gives stays here: it quotes the frame, which may hold a seed.
pub(super) fn parse(line: &str) -> Result<Request, Failure> {
    match serde_json::from_str::<Request>(line) {
        Ok(request) if request.id != Id::Null => Ok(request),
        _ => Err(Failure::new(ErrorKind::Parse, "This frame is no JSON-RPC 2.0 request with an id.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_single_requests_with_an_id_are_read() {
        assert!(parse(r#"{"jsonrpc":"2.0","id":1,"method":"a.b"}"#).is_ok());
        assert!(parse(r#"{"jsonrpc":"2.0","id":"x","method":"a.b","params":{"a":1}}"#).is_ok());
        for line in [
            "",
            "hello",
            r#"{"jsonrpc":"2.0","method":"a.b"}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"a.b"}"#,
            r#"{"jsonrpc":"1.0","id":1,"method":"a.b"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"a.b","extra":1}"#,
            r#"[{"jsonrpc":"2.0","id":1,"method":"a.b"}]"#,
            &"[".repeat(60_000),
        ] {
            assert_eq!(parse(line).unwrap_err().kind, ErrorKind::Parse, "{line:.60}");
        }
    }

    #[test]
    fn a_result_beyond_the_limit_becomes_an_error_with_its_id() {
        let reply = Reply::result(Id::Number(7), &"x".repeat(RESPONSE_LEN_MAX));
        let answer: serde_json::Value = serde_json::from_str(&reply.frame).unwrap();
        assert_eq!((&answer["id"], &answer["error"]["data"]["kind"]), (&7.into(), &"too_large".into()));
        let reply = Reply::result(Id::Number(7), &["x"]);
        assert_eq!(reply.frame.as_str(), "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":[\"x\"]}\n");
    }
}
