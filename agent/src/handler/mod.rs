//! Calls: who may make them, what they read and what they submit. One thin file per method family.

mod account;
mod agent;
mod alert;
mod audit;
mod brake;
mod canary;
mod ceremony;
mod code;
mod connection;
mod grant;
mod group;
mod identity;
mod incident;
mod login;
mod login_ways;
mod notices;
mod pending;
mod policy;
mod report;
mod request;
pub(crate) mod review;
mod rotation;
mod session;
mod step_up;
mod vault;

use std::sync::Arc;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::Instance;
use strongroom_proto::ids::{Slug, VaultId};
use strongroom_proto::method::{Method, Receipt};
use strongroom_proto::rpc::{Id, Request};
use strongroom_proto::{method, words::Scheme};
use tokio_util::sync::CancellationToken;

pub use self::connection::Connection;
pub(crate) use self::identity::key_row;
use crate::access::{Denial, Operation};
use crate::audit::checkpointer::Checkpointer;
use crate::commands::Caller;
use crate::config::Retention;
use crate::identity::{Alarm, Authorities, Throttle, Vendors};
use crate::keystore::worker::Workers;
use crate::keystore::{ErrorClass, KeystoreError};
use crate::reconcile::ledger::Ledger;
use crate::second::SecondWorkers;
use crate::server::{Held, Peer, Reply, Service};
use crate::session::flights::Flights;
use crate::session::registry::Registry;
use crate::state::alert::Escalation;
use crate::state::{LogId, State};
use crate::store::sqlite::{Clock, Store};
use crate::streams::Streams;
use crate::voice::Voices;

/// A running agent: what all calls share. The assembly in [`crate::run`] is the only place that makes one.
pub struct Agent {
    /// Durable state.
    pub store: Store,
    /// The token; the first one, where there are two.
    pub workers: Workers,
    /// The second token, once it has joined.
    pub second: Option<SecondWorkers>,
    /// Signs checkpoints.
    pub checkpointer: Arc<Checkpointer>,
    /// Proves this agent to clients.
    pub voices: Arc<Voices>,
    /// Whose certificates log in.
    pub authorities: Authorities,
    /// Whose security keys count as hardware by their attestation.
    pub vendors: Vendors,
    /// Slows down failed logins.
    pub throttle: Mutex<Throttle>,
    /// Whose logins were held back, newest first, and when it was said.
    pub held_back: Mutex<Vec<(Timestamp, Alarm)>>,
    /// Who is connected.
    pub sessions: Registry,
    /// Replies that carry a code.
    pub flights: Flights,
    /// This run.
    pub instance: Instance,
    /// Since when.
    pub started_at: Timestamp,
    /// The wall clock.
    pub clock: Clock,
    /// How seeds of new vaults are sealed when nobody says.
    pub default_scheme: Scheme,
    /// What an operator should have done by now, in sentences.
    pub overdue: Mutex<Vec<String>>,
    /// When alerts that nobody answers escalate.
    pub escalation: Escalation,
    /// Copies of the logs for others.
    pub streams: Arc<Streams>,
    /// Which uses of vault keys no record stands for.
    pub ledger: Arc<Ledger>,
    /// How long records stay.
    pub retention: Retention,
    /// Held while a ceremony runs: one at a time.
    pub ceremony: tokio::sync::Mutex<()>,
    /// Held for reading while a vault key is in use. Whoever is about to destroy one takes it for writing once: what began
    /// before has then ended, and what begins later sees the new seals.
    pub keys_in_use: tokio::sync::RwLock<()>,
}

/// An error's text as a sentence.
fn sentence(error: &KeystoreError) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}

/// What the caller is told when the token fails.
fn token_failed(error: &KeystoreError) -> Failure {
    tracing::error!(%error, "token");
    match error {
        // What the caller or an operator can mend, in the keystore's own words: they name no file and no secret.
        KeystoreError::SchemeNotAllowed { .. } => return Failure::new(ErrorKind::InvalidParams, sentence(error)),
        KeystoreError::NoSpareKey { .. } | KeystoreError::ObjectBudget { .. } => {
            return Failure::new(ErrorKind::Conflict, sentence(error));
        }
        _ => {}
    }
    match error.class() {
        ErrorClass::Busy => Failure::new(ErrorKind::RateLimited, "The token has too much to do just now; try again."),
        ErrorClass::Budget => Failure::new(ErrorKind::Conflict, "The token has no room for another vault key."),
        ErrorClass::Data => {
            Failure::new(ErrorKind::Internal, "The sealed seed does not belong to this account: an operator must look.")
        }
        ErrorClass::Usage => Failure::new(ErrorKind::Internal, "The token refused the operation: see the agent's log."),
        _ => Failure::new(ErrorKind::HsmUnavailable, "The token does not answer; lists and logs still work."),
    }
}

/// The vault that a list is limited to, if the caller may see that much of it; what they may not know of does not exist.
fn only(
    view: &State,
    caller: &Caller,
    slug: Option<&Slug>,
    operation: Operation,
    now: Timestamp,
) -> Result<Option<VaultId>, Failure> {
    let Some(slug) = slug else { return Ok(None) };
    let vault = view.vault(slug).ok_or_else(Failure::not_found)?;
    let _terms = caller.may_in(view, vault.id, operation, now).map_err(Denial::failure)?;
    Ok(Some(vault.id))
}

/// What a call gave.
struct Answer<R> {
    result: R,
    /// Dropped once the peer has read the reply.
    held: Option<Held>,
    /// Closes the connection after the reply.
    end: bool,
}

impl<R> From<R> for Answer<R> {
    fn from(result: R) -> Self {
        Self { result, held: None, end: false }
    }
}

impl Agent {
    /// Takes what is overdue now: `agent.status` says it.
    pub fn set_overdue(&self, sentences: Vec<String>) {
        *self.overdue.lock().unwrap_or_else(PoisonError::into_inner) = sentences;
    }

    /// Has what is on its way to the second token taken there at once.
    fn wake_second(&self) {
        if let Some(second) = &self.second {
            second.wake.notify_one();
        }
    }

    /// Waits for a call to the token and says to the caller what its failure means.
    async fn token<T>(&self, call: impl Future<Output = Result<T, KeystoreError>>) -> Result<T, Failure> {
        call.await.map_err(|error| token_failed(&error))
    }

    /// The wall clock: what codes and clients follow.
    pub(crate) fn wall(&self) -> Timestamp {
        (self.clock)()
    }

    /// The time of decisions: never before the newest record, so a clock that was set back revives nothing.
    pub(crate) fn now(&self) -> Timestamp {
        self.wall().max(self.store.view().latest)
    }

    /// Records a refusal that was decided on the published state, and gives what the caller is told.
    async fn refuse(&self, caller: &Caller, denial: Denial, vault: Option<VaultId>, event: &'static str) -> Failure {
        let caller = caller.clone();
        let refused = self
            .store
            .submit(move |tx| {
                let draft = caller.draft(&tx.state, event);
                Err::<((), Receipt), _>(caller.refused(&tx.state, denial, vault, draft))
            })
            .await;
        refused.err().map_or_else(|| denial.failure(), Failure::from)
    }

    /// Records that somebody asked for what does not exist, and gives the same answer as for what they may not know of.
    async fn nothing_there(&self, caller: &Caller, asked: String, event: &'static str) -> Failure {
        let caller = caller.clone();
        let refused =
            self.store.submit(move |tx| Err::<((), Receipt), _>(caller.nothing_there(&tx.state, event, &asked))).await;
        refused.err().map_or_else(Failure::not_found, Failure::from)
    }

    /// Moves the anchors of logs up to what is committed: after what ended somebody's access, a copy of the store from
    /// before must not be believed.
    async fn anchor(&self, logs: Vec<LogId>) {
        if let Err(error) = self.checkpointer.anchor(logs).await {
            tracing::error!(%error, "the anchors were not moved");
        }
    }
}

/// Matches the method's name, reads its parameters, runs it, writes the answer.
macro_rules! dispatch {
    ($agent:ident, $connection:ident, $request:ident, { $($params:ty => $call:expr,)+ }) => {
        match $request.method.as_str() {
            $(<$params>::NAME => {
                let id = $request.id;
                match read_params::<$params>($request.params) {
                    Ok(params) => {
                        #[allow(clippy::redundant_closure_call, reason = "the table below reads as one line a method")]
                        let answer: Result<Answer<<$params as Method>::Result>, Failure> =
                            ($call)($agent, $connection, params).await;
                        reply(id, answer)
                    }
                    Err(failure) => Reply::failure(id, failure),
                }
            })+
            _ => Reply::failure($request.id, Failure::new(ErrorKind::InvalidParams, "There is no such method.")),
        }
    };
}

impl Service for Agent {
    type Connection = Connection;

    fn open(&self, peer: Peer, close: CancellationToken) -> Connection {
        Connection::new(peer, close)
    }

    async fn call(&self, connection: &mut Connection, request: Request) -> Reply {
        let agent = self;
        dispatch!(agent, connection, request, {
            method::session::Open => login::open,
            method::session::Prove => login::prove,
            method::session::Challenge => step_up::challenge,
            method::session::Whoami => session::whoami,
            method::session::List => session::list,
            method::session::End => session::end,
            method::vault::List => vault::list,
            method::vault::Create => vault::create,
            method::vault::Rename => vault::rename,
            method::vault::Freeze => vault::freeze,
            method::vault::Thaw => vault::thaw,
            method::account::List => account::list,
            method::account::Show => account::show,
            method::account::ImportBegin => account::import_begin,
            method::account::ImportRows => account::import_rows,
            method::account::ImportCommit => account::import_commit,
            method::account::Remove => account::remove,
            method::code::Release => code::release,
            method::grant::List => grant::list,
            method::grant::Give => grant::give,
            method::grant::End => grant::end,
            method::identity::List => identity::list,
            method::identity::Enrol => identity::enrol,
            method::identity::KeyAdd => identity::key_add,
            method::identity::KeyRemove => identity::key_remove,
            method::identity::Revoke => identity::revoke,
            method::identity::Update => identity::update,
            method::identity::Roles => identity::roles,
            method::identity::Certificates => login_ways::certificates,
            method::identity::Suspend => identity::suspend,
            method::identity::Resume => identity::resume,
            method::identity::Report => report::report,
            method::group::List => group::list,
            method::group::Create => group::create,
            method::group::Remove => group::remove,
            method::group::MemberAdd => group::member_add,
            method::group::MemberRemove => group::member_remove,
            method::request::Make => request::make,
            method::request::List => request::list,
            method::request::Show => request::show,
            method::request::Approve => request::approve,
            method::request::Deny => request::deny,
            method::request::Cancel => request::cancel,
            method::request::Review => request::review,
            method::review::Start => review::start,
            method::review::List => review::list,
            method::review::Show => review::show,
            method::review::Decide => review::decide,
            method::review::Close => review::close,
            method::canary::Set => canary::set,
            method::canary::Clear => canary::clear,
            method::canary::List => canary::list,
            method::rotation::List => rotation::list,
            method::rotation::Dismiss => rotation::dismiss,
            method::alert::List => alert::list,
            method::alert::Ack => alert::ack,
            method::incident::Open => incident::open,
            method::incident::List => incident::list,
            method::incident::Show => incident::show,
            method::incident::Close => incident::close,
            method::pending::List => pending::list,
            method::pending::Show => pending::show,
            method::pending::Confirm => pending::confirm,
            method::pending::Reject => pending::reject,
            method::policy::Show => policy::show,
            method::policy::Set => policy::set,
            method::policy::ShowOrg => policy::show_org,
            method::policy::SetOrg => policy::set_org,
            method::ceremony::Propose => ceremony::propose,
            method::ceremony::List => ceremony::list,
            method::ceremony::Show => ceremony::show,
            method::ceremony::Confirm => ceremony::confirm,
            method::ceremony::Cancel => ceremony::cancel,
            method::ceremony::Run => ceremony::run,
            method::audit::Read => audit::read,
            method::audit::Search => audit::search,
            method::audit::Erase => audit::erase,
            method::audit::Leaves => audit::leaves,
            method::audit::Checkpoint => audit::checkpoint,
            method::audit::Snapshot => audit::snapshot,
            method::audit::Export => audit::export,
            method::agent::Status => agent::status,
        })
    }

    fn authenticated(&self, connection: &Connection) -> bool {
        connection.session.is_some()
    }

    fn closed(&self, connection: Connection) {
        session::closed(self, connection);
    }
}

fn read_params<P: DeserializeOwned>(params: serde_json::Value) -> Result<P, Failure> {
    let params = if params.is_null() { serde_json::Value::Object(serde_json::Map::new()) } else { params };
    // serde's own text may quote what was sent; only its first words are kept out of harm's way: no seed has a field name.
    serde_json::from_value(params).map_err(|error| {
        let text = error.to_string();
        let harmless = text.starts_with("missing field") || text.starts_with("unknown field");
        let reason =
            if harmless { text.chars().take(120).collect() } else { "a field has the wrong type or form".to_owned() };
        Failure::new(ErrorKind::InvalidParams, format!("The parameters do not fit: {reason}."))
    })
}

fn reply<R: Serialize>(id: Id, answer: Result<Answer<R>, Failure>) -> Reply {
    match answer {
        Ok(Answer { result, held, end }) => Reply { held, end, ..Reply::result(id, &result) },
        Err(failure) => Reply::failure(id, failure),
    }
}
