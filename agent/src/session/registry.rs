//! Who is connected now.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use strongroom_proto::audit::record::{Actor, From};
use strongroom_proto::ids::{IdentityId, SessionId};
use strongroom_proto::policy::OrgPolicy;
use strongroom_proto::words::Assurance;
use tokio_util::sync::CancellationToken;

use crate::identity::{UserCertificate, Vouched};

/// The certificate that a session began with.
#[derive(Debug)]
pub struct Certified {
    /// As it came.
    pub certificate: UserCertificate,
    /// What it said.
    pub vouched: Vouched,
}

/// An authenticated connection.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose.
    pub identity: IdentityId,
    /// The key that logged in.
    pub key: String,
    /// The certificate, if it was not the key alone.
    pub certificate: Option<Arc<Certified>>,
    /// How they proved themselves.
    pub assurance: Assurance,
    /// Where it comes from.
    pub from: From,
    /// Since when.
    pub since: Timestamp,
    /// Ends in any case then.
    pub expires_at: Timestamp,
    /// Ends after this long without a call.
    pub idle_timeout: Duration,
    /// Closes the connection.
    pub close: CancellationToken,
}

impl Session {
    /// The session as records name it.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor { assurance: self.assurance, identity: self.identity, key: self.key.clone(), session: self.id }
    }
}

/// How long sessions last at an assurance (NIST SP 800-63B-4 §2.2.3, §2.3.3): overall and idle. The organisation's policy
/// can only shorten that.
#[must_use]
pub fn lifetime(assurance: Assurance, policy: &OrgPolicy) -> (SignedDuration, Duration) {
    let (overall, idle) = match assurance {
        Assurance::SoftwareKey | Assurance::HardwareTouch => {
            (SignedDuration::from_hours(24), Duration::from_secs(60 * 60))
        }
        Assurance::HardwareVerified => (SignedDuration::from_hours(12), Duration::from_secs(15 * 60)),
    };
    let longest = policy.session_longest_h.map(|hours| SignedDuration::from_hours(hours.into()));
    let idle_most = policy.session_idle_min.map(|minutes| Duration::from_secs(u64::from(minutes) * 60));
    (longest.map_or(overall, |longest| longest.min(overall)), idle_most.map_or(idle, |most| most.min(idle)))
}

/// All sessions of this agent.
#[derive(Default)]
pub struct Registry {
    sessions: Mutex<HashMap<SessionId, Session>>,
}

impl Registry {
    fn sessions(&self) -> MutexGuard<'_, HashMap<SessionId, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a session that has begun.
    pub fn begin(&self, session: Session) {
        self.sessions().insert(session.id, session);
    }

    /// Takes a session out. `None` if it had ended before.
    pub fn end(&self, id: SessionId) -> Option<Session> {
        let session = self.sessions().remove(&id)?;
        session.close.cancel();
        Some(session)
    }

    /// Takes a session out without closing its connection.
    pub fn forget(&self, id: SessionId) {
        self.sessions().remove(&id);
    }

    /// True while the session has not been ended.
    #[must_use]
    pub fn lives(&self, id: SessionId) -> bool {
        self.sessions().contains_key(&id)
    }

    /// Finds a session.
    #[must_use]
    pub fn find(&self, id: SessionId) -> Option<Session> {
        self.sessions().get(&id).cloned()
    }

    /// Ends all sessions that match and closes their connections.
    pub fn end_where(&self, matches: impl Fn(&Session) -> bool) -> Vec<Session> {
        let mut sessions = self.sessions();
        let ended: Vec<Session> = sessions.values().filter(|session| matches(session)).cloned().collect();
        for session in &ended {
            sessions.remove(&session.id);
            session.close.cancel();
        }
        ended
    }

    /// All sessions, newest first.
    #[must_use]
    pub fn all(&self) -> Vec<Session> {
        let mut all: Vec<Session> = self.sessions().values().cloned().collect();
        all.sort_by_key(|session| std::cmp::Reverse(session.since));
        all
    }
}
