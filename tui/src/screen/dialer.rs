//! The real agent behind the worker: every call of the screen as calls of the protocol.

use std::path::PathBuf;
use std::time::Duration;

use strongroom_proto::agent_key::AgentKey;
use strongroom_proto::client::{CallError, Client, ConnectError, Login, LoginError, Pins, Signer};
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::Slug;
use strongroom_proto::method::{Method, account, agent, audit, code, vault};

use super::message::{AgentCall, AgentEvent, OfflineReason, Session, TrailPurpose, VerifyFailure};
use super::verify::{VerifiedLog, check};
use super::worker::{Dial, Dialed, Line, Lost};

/// How this program names itself; recorded by the agent.
const CLIENT: &str = concat!("strongroom/", env!("CARGO_PKG_VERSION"));
/// Records of one page of the table.
const TABLE_PAGE_LEN: u32 = 100;
/// Records beside the accounts.
const RECENT_PAGE_LEN: u32 = 30;
/// Most accounts that are listed: a bound against an agent that never ends a list.
const ACCOUNTS_LEN_MAX: usize = 100_000;
/// Longest log that is verified here; larger ones are exported and verified by the command line.
const VERIFY_SIZE_MAX: u64 = 5_000_000;

/// Opens sessions with the agent at a socket.
pub(super) struct Agent {
    pub(super) socket: PathBuf,
    pub(super) identity: Slug,
    pub(super) signer: Box<dyn Signer>,
    pub(super) pins: Box<dyn Pins>,
}

impl Dial for Agent {
    type Line = Client;

    async fn dial(&mut self) -> Result<Dialed<Client>, OfflineReason> {
        let mut client = Client::connect(&self.socket).await.map_err(|error| unreachable(&error))?;
        let (signer, pins) = (self.signer.as_ref(), self.pins.as_ref());
        let login = Login { identity: &self.identity, client: CLIENT, signer, pins };
        let proved = client.login(login).await.map_err(|error| match &error {
            LoginError::Call(CallError::Connection(_) | CallError::Timeout(_)) => OfflineReason::Lost(sentence(&error)),
            LoginError::Call(CallError::Failure(failure)) if is_passing(failure.kind) => {
                OfflineReason::Lost(failure.message.clone())
            }
            _ => OfflineReason::Refused(sentence(&error)),
        })?;
        Ok(Dialed {
            line: client,
            session: Session { identity: proved.identity, roles: proved.roles, expires_at: proved.expires_at },
            idle_timeout: Duration::from_secs(proved.idle_timeout_s),
        })
    }
}

/// Kinds that go away by themselves, so that trying again makes sense.
const fn is_passing(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::HsmUnavailable | ErrorKind::StoreUnavailable | ErrorKind::AuditUnavailable | ErrorKind::Internal
    )
}

fn unreachable(error: &ConnectError) -> OfflineReason {
    match error {
        ConnectError::NotRunning { .. } | ConnectError::Refused { .. } => OfflineReason::NotRunning,
        ConnectError::Forbidden { .. } => OfflineReason::Forbidden,
        ConnectError::NotYours { .. } => OfflineReason::Refused(sentence(error)),
        ConnectError::Timeout { .. } | ConnectError::Io { .. } => OfflineReason::Lost(sentence(error)),
    }
}

fn sentence(error: &dyn std::error::Error) -> String {
    format!("{error}.")
}

/// Keeps refusals as answers; everything else ends the connection.
async fn ask<M: Method>(client: &mut Client, method: &M) -> Result<Result<M::Result, Failure>, Lost> {
    match client.call(method).await {
        Ok(result) => Ok(Ok(result)),
        Err(CallError::Failure(failure)) if failure.kind == ErrorKind::Unauthenticated => Err(Lost(failure.message)),
        Err(CallError::Failure(failure)) => Ok(Err(failure)),
        Err(CallError::Timeout(after)) => {
            let sentence = format!("The agent did not answer within {} s.", after.as_secs());
            Ok(Err(Failure::new(ErrorKind::Expired, sentence)))
        }
        Err(error) => Err(Lost(sentence(&error))),
    }
}

/// Unwraps a refusal early out of a function that answers with it.
macro_rules! answer {
    ($asked:expr) => {
        match $asked {
            Ok(answer) => answer,
            Err(failure) => return Ok(Err(failure.into())),
        }
    };
}

impl Line for Client {
    async fn call(&mut self, call: AgentCall) -> Result<AgentEvent, Lost> {
        Ok(match call {
            AgentCall::Vaults => {
                AgentEvent::Vaults(ask(self, &vault::List {}).await?.map(|list: vault::ListResult| list.items))
            }
            AgentCall::Accounts => AgentEvent::Accounts(accounts(self).await?),
            AgentCall::Release { ticket, account, min_remaining_s } => {
                let release = code::Release {
                    account: account.clone(),
                    reason: None,
                    ticket: None,
                    min_remaining_s,
                    step_up: None,
                };
                AgentEvent::Released { ticket, account, outcome: ask(self, &release).await?.map(Box::new) }
            }
            AgentCall::Trail { vault, before, purpose } => {
                let limit = match purpose {
                    TrailPurpose::Table => TABLE_PAGE_LEN,
                    TrailPurpose::Recent => RECENT_PAGE_LEN,
                };
                let read = audit::Read { vault: vault.clone(), from: None, before, limit: Some(limit) };
                AgentEvent::Trail { vault, purpose, before, outcome: ask(self, &read).await? }
            }
            AgentCall::Verify { vault } => {
                AgentEvent::Verified { vault: vault.clone(), outcome: verify(self, vault).await? }
            }
            AgentCall::Status => AgentEvent::Status(ask(self, &agent::Status {}).await?),
        })
    }

    async fn closed(&mut self) -> Lost {
        Lost(sentence(&Client::closed(self).await))
    }
}

async fn accounts(client: &mut Client) -> Result<Result<Vec<account::Item>, Failure>, Lost> {
    let mut items = Vec::new();
    let mut cursor = None;
    loop {
        let page = answer!(ask(client, &account::List { vault: None, cursor }).await?);
        items.extend(page.items);
        cursor = page.next;
        if cursor.is_none() || items.len() >= ACCOUNTS_LEN_MAX {
            return Ok(Ok(items));
        }
    }
}

/// Fetches checkpoint and leaves and checks them against the key that proved itself at login and was pinned.
async fn verify(client: &mut Client, vault: Option<Slug>) -> Result<Result<VerifiedLog, VerifyFailure>, Lost> {
    let Some(key) = client.agent_key().and_then(|text| AgentKey::from_openssh(text).ok()) else {
        return Ok(Err(VerifyFailure::Broken("the agent's key cannot be read".into())));
    };
    // A page of one record tells the log's origin: a checkpoint of another log must not pass for this one's.
    let read = audit::Read { vault: vault.clone(), from: None, before: None, limit: Some(1) };
    let origin = answer!(ask(client, &read).await?).log;
    let checkpoint = answer!(ask(client, &audit::Checkpoint { vault: vault.clone() }).await?).checkpoint;
    let size = match super::verify::size(&checkpoint) {
        Ok(size) if size <= VERIFY_SIZE_MAX => size,
        Ok(_) => {
            let advice = "The log is too long for the screen: export it and run strongroom audit verify.";
            return Ok(Err(Failure::new(ErrorKind::TooLarge, advice).into()));
        }
        Err(reason) => return Ok(Err(VerifyFailure::Broken(reason))),
    };
    let mut leaves = Vec::new();
    while (leaves.len() as u64) < size {
        let from = leaves.len() as u64;
        let limit = u32::try_from(size - from).unwrap_or(u32::MAX).min(audit::LEAVES_LEN_MAX);
        let page = answer!(ask(client, &audit::Leaves { vault: vault.clone(), from, limit }).await?);
        match super::verify::decode(&page.leaves) {
            Some(hashes) if !hashes.is_empty() => leaves.extend(hashes),
            _ => return Ok(Err(VerifyFailure::Broken(format!("the leaves end at #{from}")))),
        }
    }
    leaves.truncate(usize::try_from(size).unwrap_or(usize::MAX));
    Ok(check(&checkpoint, &origin, &key, leaves).map_err(VerifyFailure::Broken))
}

impl From<Failure> for VerifyFailure {
    fn from(failure: Failure) -> Self {
        Self::Unavailable(failure)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, duplex};

    use super::*;

    /// A client whose agent answers each call with the next of these results or errors, then hangs up. The calls that it
    /// saw come back.
    fn scripted(answers: Vec<Value>) -> (Client, tokio::task::JoinHandle<Vec<Value>>) {
        let (ours, theirs) = duplex(64 * 1024);
        (Client::from_stream(ours, Path::new("/test")), tokio::spawn(serve(theirs, answers)))
    }

    async fn serve(stream: DuplexStream, answers: Vec<Value>) -> Vec<Value> {
        let mut stream = BufReader::new(stream);
        let mut seen = Vec::new();
        for mut answer in answers {
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            let call: Value = serde_json::from_str(&line).unwrap();
            answer["jsonrpc"] = "2.0".into();
            answer["id"] = call["id"].clone();
            seen.push(json!([call["method"], call["params"]]));
            stream.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
        }
        seen
    }

    fn refusal(kind: ErrorKind) -> Value {
        json!({"error": {"code": kind.code(), "message": "No.", "data": {"kind": kind.as_str()}}})
    }

    fn item(number: u32) -> Value {
        json!({"account": format!("acme/a{number}"), "id": uuid::Uuid::from_u128(u128::from(number)), "issuer": "", "label": "",
               "kind": "totp", "algorithm": "SHA1", "digits": 6, "period_s": 30, "access": "open"})
    }

    #[tokio::test]
    async fn all_pages_of_the_accounts_are_read() {
        let (mut client, agent) = scripted(vec![
            json!({"result": {"items": [item(1), item(2)], "next": "two"}}),
            json!({"result": {"items": [item(3)]}}),
        ]);
        let Ok(AgentEvent::Accounts(Ok(items))) = Line::call(&mut client, AgentCall::Accounts).await else {
            panic!("no accounts");
        };
        assert_eq!(items.len(), 3);
        assert_eq!(agent.await.unwrap()[1], json!(["account.list", {"cursor": "two"}]));
    }

    #[tokio::test]
    async fn a_refusal_is_an_answer_and_an_ended_session_ends_the_line() {
        let (mut client, _agent) = scripted(vec![refusal(ErrorKind::Frozen), refusal(ErrorKind::Unauthenticated)]);
        let release =
            || AgentCall::Release { ticket: 7, account: "acme/a1".parse().unwrap(), min_remaining_s: Some(5) };
        let Ok(AgentEvent::Released { ticket: 7, outcome: Err(failure), .. }) =
            Line::call(&mut client, release()).await
        else {
            panic!("no refusal");
        };
        assert_eq!(failure.kind, ErrorKind::Frozen);
        assert_eq!(Line::call(&mut client, release()).await.err(), Some(Lost("No.".into())));
    }

    #[tokio::test]
    async fn a_hang_up_is_noticed_without_a_call() {
        let (mut client, _agent) = scripted(vec![]);
        assert_eq!(Line::closed(&mut client).await, Lost("the agent closed the connection.".into()));
    }
}
