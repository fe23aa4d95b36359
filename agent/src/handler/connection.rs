//! What the agent remembers of one connection.

use std::collections::{HashMap, HashSet};

use strongroom_proto::audit::record::From;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{ImportId, VaultId};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Agent;
use super::session::record_end;
use crate::commands::Caller;
use crate::commands::account::Staged;
use crate::identity::UserCertificate;
use crate::server::Peer;
use crate::session::registry::Session;
use crate::state::LogId;

/// One connection: before, during and after its login.
pub struct Connection {
    pub(super) peer: Peer,
    pub(super) close: CancellationToken,
    pub(super) pending: Option<Pending>,
    pub(super) challenge: Option<super::step_up::Challenged>,
    pub(super) session: Option<Session>,
    pub(super) last_call: Instant,
    pub(super) imports: HashMap<ImportId, Import>,
    pub(super) read: HashSet<(LogId, i64)>,
}

/// A login between `session.open` and `session.prove`.
pub(super) struct Pending {
    pub(super) identity: String,
    /// Fingerprint of the key that the agent showed.
    pub(super) agent: String,
    pub(super) key: String,
    pub(super) certificate: Option<UserCertificate>,
    pub(super) nonce: String,
    pub(super) client: String,
}

/// An open import.
pub(super) struct Import {
    pub(super) vault: VaultId,
    /// Whether accounts that exist get a new seed.
    pub(super) replace: bool,
    pub(super) source: String,
    pub(super) staged: Vec<Staged>,
}

impl Connection {
    pub(super) fn new(peer: Peer, close: CancellationToken) -> Self {
        Self {
            peer,
            close,
            pending: None,
            challenge: None,
            session: None,
            last_call: Instant::now(),
            imports: HashMap::new(),
            read: HashSet::new(),
        }
    }

    /// Where this connection comes from, as records say it.
    pub(super) fn from(&self, client: &str) -> From {
        From { client: client.to_owned(), pid: u32::try_from(self.peer.pid).ok(), uid: Some(self.peer.uid) }
    }

    /// The caller of an authenticated call; moves the idle clock.
    ///
    /// # Errors
    /// `unauthenticated` without a session and after its end.
    pub(super) fn caller(&mut self, agent: &Agent) -> Result<Caller, Failure> {
        let session = self
            .session
            .as_ref()
            .ok_or_else(|| Failure::new(ErrorKind::Unauthenticated, "This connection has no session: log in first."))?;
        let over = || Failure::new(ErrorKind::Unauthenticated, "This session has ended: log in again.");
        if !agent.sessions.lives(session.id) {
            return Err(over());
        }
        let cause = match (agent.now() >= session.expires_at, self.last_call.elapsed() > session.idle_timeout) {
            (true, _) => Some("expired"),
            (_, true) => Some("idle"),
            _ => None,
        };
        if let Some(cause) = cause {
            // Without closing: the answer has to reach the client, who may log in again on this connection.
            agent.sessions.forget(session.id);
            if let Some(session) = self.session.take() {
                record_end(agent, session, cause);
            }
            return Err(over());
        }
        self.last_call = Instant::now();
        Ok(Caller { actor: session.actor(), from: session.from.clone() })
    }
}
