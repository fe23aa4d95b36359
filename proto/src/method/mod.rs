//! Every method of the protocol, one file per family. A method ties its name to its parameters and its result, so that
//! neither side can mix them up.

use serde::Serialize;
use serde::de::DeserializeOwned;

pub mod account;
pub mod agent;
pub mod alert;
pub mod audit;
pub mod canary;
pub mod ceremony;
pub mod code;
pub mod grant;
pub mod group;
pub mod identity;
pub mod incident;
pub mod pending;
pub mod policy;
pub mod request;
pub mod review;
pub mod rotation;
pub mod session;
pub mod vault;

/// One method of the protocol. The implementing type is its parameters; unknown fields in parameters are errors.
pub trait Method: Serialize + DeserializeOwned {
    /// `family.verb`.
    const NAME: &'static str;
    /// What the method answers. Clients ignore unknown fields in it.
    type Result: Serialize + DeserializeOwned;
}

/// Declares that a parameter type is a method.
macro_rules! method {
    ($params:ident => $name:literal -> $result:ty) => {
        impl $crate::method::Method for $params {
            const NAME: &'static str = $name;
            type Result = $result;
        }
    };
}
pub(crate) use method;

/// The name of every method. PROTOCOL.md and the access table must have each; tests compare.
pub const NAMES: &[&str] = &[
    session::Open::NAME,
    session::Prove::NAME,
    session::Challenge::NAME,
    session::Whoami::NAME,
    session::List::NAME,
    session::End::NAME,
    vault::List::NAME,
    vault::Create::NAME,
    vault::Rename::NAME,
    vault::Freeze::NAME,
    vault::Thaw::NAME,
    account::List::NAME,
    account::Show::NAME,
    account::ImportBegin::NAME,
    account::ImportRows::NAME,
    account::ImportCommit::NAME,
    account::Remove::NAME,
    code::Release::NAME,
    grant::List::NAME,
    grant::Give::NAME,
    grant::End::NAME,
    identity::List::NAME,
    identity::Enrol::NAME,
    identity::KeyAdd::NAME,
    identity::KeyRemove::NAME,
    identity::Revoke::NAME,
    identity::Update::NAME,
    identity::Roles::NAME,
    identity::Certificates::NAME,
    identity::Suspend::NAME,
    identity::Resume::NAME,
    identity::Report::NAME,
    group::List::NAME,
    group::Create::NAME,
    group::Remove::NAME,
    group::MemberAdd::NAME,
    group::MemberRemove::NAME,
    request::Make::NAME,
    request::List::NAME,
    request::Show::NAME,
    request::Approve::NAME,
    request::Deny::NAME,
    request::Cancel::NAME,
    request::Review::NAME,
    review::Start::NAME,
    review::List::NAME,
    review::Show::NAME,
    review::Decide::NAME,
    review::Close::NAME,
    canary::Set::NAME,
    canary::Clear::NAME,
    canary::List::NAME,
    rotation::List::NAME,
    rotation::Dismiss::NAME,
    alert::List::NAME,
    alert::Ack::NAME,
    incident::Open::NAME,
    incident::List::NAME,
    incident::Show::NAME,
    incident::Close::NAME,
    pending::List::NAME,
    pending::Show::NAME,
    pending::Confirm::NAME,
    pending::Reject::NAME,
    policy::Show::NAME,
    policy::Set::NAME,
    policy::ShowOrg::NAME,
    policy::SetOrg::NAME,
    ceremony::Propose::NAME,
    ceremony::List::NAME,
    ceremony::Show::NAME,
    ceremony::Confirm::NAME,
    ceremony::Cancel::NAME,
    ceremony::Run::NAME,
    audit::Read::NAME,
    audit::Search::NAME,
    audit::Erase::NAME,
    audit::Leaves::NAME,
    audit::Checkpoint::NAME,
    audit::Snapshot::NAME,
    audit::Export::NAME,
    agent::Status::NAME,
];

/// The methods whose caller signs each call; `code.release` where the vault's policy asks for it.
pub const STEPPED_UP: &[&str] = &[
    ceremony::Propose::NAME,
    ceremony::Confirm::NAME,
    pending::Confirm::NAME,
    request::Approve::NAME,
    code::Release::NAME,
];

/// A method whose caller signs the call itself ([`session::StepUp`]).
pub trait SteppedUp: Method {
    /// Where the signature stands. It is no part of what is signed.
    fn step_up(&mut self) -> &mut Option<session::StepUp>;
}

/// An empty result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Done {}

/// Where the record of a call stands: the caller can look it up and prove it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Receipt {
    /// The origin of the log.
    pub log: String,
    /// The place of the record, from 0.
    pub seq: u64,
    /// SHA-256(0x00 ‖ record), 64 hex digits (RFC 6962 §2.1).
    pub leaf: String,
}

/// The result of a change: its receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Changed {
    /// Where the change was recorded.
    pub receipt: Receipt,
}
