//! An agent that gives prepared answers, for the logic that several calls share: pages, chunks, gaps. What one call does
//! is tested against the real agent.

use serde_json::{Value, json};
use strongroom_proto::client::Client;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::task::JoinHandle;

/// A client whose calls get these results in order; afterwards the connection closes. The handle gives what was asked, as
/// `[method, params]`.
pub(super) fn agent(answers: Vec<Value>) -> (Client, JoinHandle<Vec<Value>>) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let asked = tokio::spawn(async move {
        let (reader, mut writer) = tokio::io::split(far);
        let mut lines = BufReader::new(reader).lines();
        let mut asked = Vec::new();
        for answer in answers {
            let Ok(Some(line)) = lines.next_line().await else { break };
            let request: Value = serde_json::from_str(&line).unwrap();
            asked.push(json!([request["method"], request["params"]]));
            let (key, value) = match answer.get("error") {
                Some(error) => ("error", error),
                None => ("result", &answer),
            };
            let response = json!({ "jsonrpc": "2.0", "id": request["id"], key: value });
            writer.write_all(format!("{response}\n").as_bytes()).await.unwrap();
        }
        asked
    });
    (Client::from_stream(near, "/scripted".as_ref()), asked)
}

/// An error answer.
pub(super) fn refusal(kind: &str) -> Value {
    json!({ "error": { "code": -1, "message": "No.", "data": { "kind": kind } } })
}
