//! The bytes of the protocol: what exactly the agent answers, for tests that compare answers.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};
use strongroom_proto::client::Client;

use crate::people::Person;

/// The id of every call, so that answers can be compared byte for byte.
const ID: u64 = 7;

/// A connection on which the test reads for itself.
pub struct Raw {
    stream: UnixStream,
    reader: BufReader<UnixStream>,
    /// Keeps the connection that logged in; nothing is read through it any more.
    _client: Option<Client>,
}

impl Raw {
    /// Connects and logs in.
    ///
    /// # Panics
    /// If the agent refuses.
    pub async fn connect(person: &Person, socket: &Path) -> Self {
        let stream = tokio::net::UnixStream::connect(socket).await.expect("the agent listens");
        let stream = stream.into_std().expect("a stream has a descriptor");
        let own = stream.try_clone().expect("a descriptor can be doubled");
        let stream = tokio::net::UnixStream::from_std(stream).expect("the runtime takes it back");
        let client = person.connect_over(stream).await.unwrap_or_else(|error| panic!("{}: {error:#}", person.slug));
        own.set_nonblocking(false).expect("a socket can block");
        let reader = BufReader::new(own.try_clone().expect("a descriptor can be doubled"));
        Self { stream: own, reader, _client: Some(client) }
    }

    /// Connects without logging in.
    ///
    /// # Panics
    /// If nothing listens.
    #[must_use]
    pub fn unknown(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).expect("the agent listens");
        let reader = BufReader::new(stream.try_clone().expect("a descriptor can be doubled"));
        Self { stream, reader, _client: None }
    }

    /// Calls a method and gives the line of the answer.
    ///
    /// # Panics
    /// If the connection ends.
    pub fn call(&mut self, method: &str, params: &Value) -> String {
        let request = json!({"jsonrpc": "2.0", "id": ID, "method": method, "params": params});
        self.stream.write_all(format!("{request}\n").as_bytes()).expect("the agent reads");
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("the agent answers");
        assert!(line.ends_with('\n'), "{method}: the connection ended");
        line
    }

    /// Calls a method and gives the kind of its refusal.
    ///
    /// # Panics
    /// If it is not refused.
    pub fn refusal(&mut self, method: &str, params: &Value) -> String {
        let line = self.call(method, params);
        let answer: Value = serde_json::from_str(&line).expect("an answer is JSON");
        answer["error"]["data"]["kind"].as_str().unwrap_or_else(|| panic!("{method} {params}: {line}")).to_owned()
    }

    /// Calls a method and gives its result.
    ///
    /// # Panics
    /// If it is refused.
    pub fn result(&mut self, method: &str, params: &Value) -> Value {
        let line = self.call(method, params);
        let answer: Value = serde_json::from_str(&line).expect("an answer is JSON");
        assert!(answer.get("error").is_none(), "{method} {params}: {line}");
        answer["result"].clone()
    }
}
