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
                let release = code::Release { account: account.clone(), reason: None, ticket: None, min_remaining_s };
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
