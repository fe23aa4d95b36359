//! `alert.*`: what raised an alarm, who has been told, and who answered.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Changed, method};
use crate::ids::Slug;

/// Alerts of one list.
pub const LIST_LEN_MAX: u32 = 200;

/// Lists alerts, the open ones alone if nothing else is asked for. That the caller has seen an open one stands in its log
/// from then on. Managers and auditors of the vault, admins and auditors of the organisation; those of the
/// organisation's own log only the latter two.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Only those in the log of this vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<Slug>,
    /// Those that were answered too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}
method!(List => "alert.list" -> ListResult);

/// The alerts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListResult {
    /// Newest first, at most 200.
    pub items: Vec<Item>,
    /// How many there are.
    pub total: u64,
}

/// One alert: a record that raised an alarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// In whose log the record stands; absent for the organisation's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<Slug>,
    /// The record's place there.
    pub seq: u64,
    /// Its event: the class of the alert.
    pub event: String,
    /// What the alarm is about, as the record says it.
    pub alert: String,
    /// When it was raised.
    pub at: Timestamp,
    /// Whose doing it was, or whom it is about; absent if that is nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Slug>,
    /// How often it has escalated.
    pub level: u64,
    /// When it last did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalated_at: Option<Timestamp>,
    /// Who has been told, the first of them first.
    pub seen: Vec<Seen>,
    /// Who answered; absent while nobody has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acked_by: Option<Slug>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acked_at: Option<Timestamp>,
    /// What they wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// True if nobody has answered and the caller may.
    pub yours: bool,
}

/// Somebody who has been told of an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Who.
    pub identity: Slug,
    /// When.
    pub at: Timestamp,
}

/// Answers an alert. Whoever may see it, except on what they did themselves.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ack {
    /// In the log of this vault; absent means the organisation's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<Slug>,
    /// The place of the record that raised it.
    pub seq: u64,
    /// What was found or done, 1 to 500 bytes.
    pub note: String,
}
method!(Ack => "alert.ack" -> Changed);
