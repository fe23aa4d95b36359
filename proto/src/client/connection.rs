//! One connection, one call at a time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio_util::codec::FramedRead;

use crate::error::{ErrorKind, Failure};
use crate::frame::{self, FrameError, Lines};
use crate::method::Method;
use crate::rpc::{ErrorObject, Id, REQUEST_LEN_MAX, RESPONSE_LEN_MAX, Version};

/// How long a call may take unless told otherwise: the agent gives up after 30 s.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(35);

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// A connection to an agent.
pub struct Client {
    pub(super) socket: PathBuf,
    pub(super) agent_key: Option<String>,
    pub(super) known: Option<super::step_up::Known>,
    lines: FramedRead<ReadHalf<Box<dyn Duplex>>, Lines>,
    writer: WriteHalf<Box<dyn Duplex>>,
    last_id: u64,
    timeout: Duration,
    in_step: bool,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Client").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// Why a call gave no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The agent answered with an error.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// The connection broke.
    #[error("the connection to the agent broke")]
    Connection(#[from] ConnectionError),
    /// No answer in time. The call may still have taken effect.
    #[error("the agent did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The agent does not speak this protocol: what was wrong, for people.
    #[error("the agent's answer does not fit the protocol: {0}")]
    Protocol(&'static str),
}

/// How a connection broke.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The agent closed it.
    #[error("the agent closed the connection")]
    Closed,
    /// An earlier call was given up half-way.
    #[error("an earlier call was given up while it was being sent")]
    OutOfStep,
    /// Writing failed.
    #[error("cannot write to the agent")]
    Write(#[source] std::io::Error),
    /// Reading failed.
    #[error("cannot read from the agent")]
    Read(#[source] FrameError),
}

#[derive(Serialize)]
struct Call<'a, M> {
    jsonrpc: Version,
    id: u64,
    method: &'static str,
    params: &'a M,
}

/// The result stays raw text within its line until its type reads it: no unwiped copy in between.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(rename = "jsonrpc")]
    _jsonrpc: Version,
    id: Id,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// An error whose kind this client may not know yet.
#[derive(Deserialize)]
struct AnyError {
    message: String,
}

impl Client {
    /// Speaks the protocol over any stream, for example the standard input and output of a proxy. `socket` is the name
    /// under which pins know the agent.
    pub fn from_stream<S>(stream: S, socket: &Path) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (reader, writer) = tokio::io::split(Box::new(stream) as Box<dyn Duplex>);
        Self {
            socket: socket.to_owned(),
            agent_key: None,
            known: None,
            lines: FramedRead::new(reader, Lines::new(RESPONSE_LEN_MAX)),
            writer,
            last_id: 0,
            timeout: CALL_TIMEOUT,
            in_step: true,
        }
    }

    /// Sets how long each further call may take.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// The key of the agent that proved itself at login, as `keytype base64`.
    #[must_use]
    pub fn agent_key(&self) -> Option<&str> {
        self.agent_key.as_deref()
    }

    /// The name under which pins know this agent.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Calls a method and waits for its result. A call that is dropped or times out after it was sent may still take
    /// effect; its late answer is skipped by the next call.
    ///
    /// # Errors
    /// Each [`CallError`] under its condition. After [`CallError::Connection`] and [`CallError::Protocol`] the
    /// connection is of no further use.
    pub async fn call<M: Method>(&mut self, params: &M) -> Result<M::Result, CallError> {
        let timeout = self.timeout;
        tokio::time::timeout(timeout, self.exchange(params)).await.map_err(|_| CallError::Timeout(timeout))?
    }

    /// Waits until the connection breaks, for a caller that has nothing to ask meanwhile. Dropping it loses nothing: late
    /// answers to calls that were given up are what it skips.
    pub async fn closed(&mut self) -> ConnectionError {
        loop {
            match self.lines.next().await {
                Some(Ok(_late_answer)) => {}
                Some(Err(FrameError::Truncated)) | None => return ConnectionError::Closed,
                Some(Err(error)) => return ConnectionError::Read(error),
            }
        }
    }

    async fn exchange<M: Method>(&mut self, params: &M) -> Result<M::Result, CallError> {
        if !self.in_step {
            return Err(ConnectionError::OutOfStep.into());
        }
        self.last_id += 1;
        let frame = frame::encode(&Call { jsonrpc: Version::Two, id: self.last_id, method: M::NAME, params })
            .map_err(|_| CallError::Protocol("the parameters cannot be written"))?;
        if frame.len() > REQUEST_LEN_MAX + 1 {
            return Err(Failure::new(ErrorKind::TooLarge, "The request is longer than 64 KiB.").into());
        }
        self.in_step = false;
        let written = self.writer.write_all(frame.as_bytes()).await;
        let written = if written.is_ok() { self.writer.flush().await } else { written };
        // The agent may have closed after saying why, so a failed write is no reason not to read.
        self.in_step = written.is_ok();
        drop(frame);
        match self.receive::<M>().await {
            Err(CallError::Connection(_)) if written.is_err() => {
                Err(written.map_or_else(ConnectionError::Write, |()| ConnectionError::Closed).into())
            }
            outcome => outcome,
        }
    }

    async fn receive<M: Method>(&mut self) -> Result<M::Result, CallError> {
        loop {
            let line = match self.lines.next().await {
                Some(Ok(line)) => line,
                Some(Err(FrameError::Truncated)) | None => return Err(ConnectionError::Closed.into()),
                Some(Err(error)) => return Err(ConnectionError::Read(error).into()),
            };
            let answer: Answer<'_> =
                serde_json::from_str(&line).map_err(|_| CallError::Protocol("it is no JSON-RPC response"))?;
            match answer.id {
                Id::Number(id) if id == self.last_id => {}
                Id::Number(id) if id < self.last_id => continue,
                Id::Null if answer.error.is_some() => {}
                _ => return Err(CallError::Protocol("it answers a call that was not made")),
            }
            return match (answer.result, answer.error) {
                (Some(result), None) => serde_json::from_str(result.get())
                    .map_err(|_| CallError::Protocol("the result is not what the method promises")),
                (None, Some(error)) => Err(failure(error)?.into()),
                _ => Err(CallError::Protocol("it has not exactly one of result and error")),
            };
        }
    }
}

fn failure(raw: &RawValue) -> Result<Failure, CallError> {
    if let Ok(object) = serde_json::from_str::<ErrorObject>(raw.get()) {
        return Ok(object.into());
    }
    let any: AnyError =
        serde_json::from_str(raw.get()).map_err(|_| CallError::Protocol("the error is no error object"))?;
    Ok(Failure::new(ErrorKind::Internal, any.message))
}
