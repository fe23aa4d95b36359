//! Erasures: whose names are to be taken from the trail. The records stay as they are; what goes is the values behind their
//! commitments.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strongroom_proto::ids::{IdentityId, Slug};

use super::LogId;
use super::rows::row;

/// An erasure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    /// Whose names.
    pub identity: IdentityId,
    /// Since when it is settled that they go.
    pub since: Timestamp,
    /// When all of them were gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_at: Option<Timestamp>,
    /// What they were called, until it is done: at logins that failed somebody typed just that.
    #[serde(skip)]
    pub names: Called,
}

/// Nothing once it is done.
pub type Called = Option<Slug>;

row!(Erasure, "erasure", decides: true,
key: |erasure| erasure.identity.as_bytes().to_vec(), log: |_| LogId::Org, names: Called,
place: |erasure, state| { state.erasures.insert(erasure.identity, erasure); },
displace: |_, _| {});
