//! The Audit screen's state: the records of one log as rows, newest first, and whether the log holds.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use strongroom_proto::audit::record::{Record, RecordOutcome};
use strongroom_proto::ids::Slug;
use strongroom_proto::method::audit::Item;

use super::filter;
use super::message::VerifyFailure;
use super::model::Filter;
use super::text::clean;
use super::vaults::Vaults;
use super::verify::VerifiedLog;

/// The Audit screen.
#[derive(Default)]
pub struct Audit {
    /// Which log: a vault's, or `None` for the org log.
    pub log: Option<Slug>,
    /// True once a log was chosen.
    pub is_chosen: bool,
    /// The loaded records, newest first; `None` until the agent has answered.
    pub rows: Option<Vec<Row>>,
    /// How many records the log has.
    pub size: u64,
    /// Where the next older page begins; `None` at the log's start.
    pub older: Option<u64>,
    /// The first record that was not pruned; 0 if all are there.
    pub kept_from: u64,
    /// True while a page is on its way.
    pub is_loading: bool,
    /// The sentence of a refusal, if the log cannot be read.
    pub refusal: Option<String>,
    /// The filter.
    pub filter: Filter,
    /// Places in `rows` that the filter leaves.
    pub visible: Vec<usize>,
    /// The selected record by its place in the log.
    pub selected: Option<u64>,
    /// Whether the log holds.
    pub verification: Verification,
    /// What was verified before: a log may only grow.
    pub verified_before: Option<VerifiedLog>,
}

/// Whether the log holds.
#[derive(Clone, Debug, Default)]
pub enum Verification {
    /// Nobody asked.
    #[default]
    Unasked,
    /// Under way.
    Running,
    /// Every leaf is under the signed root, and every loaded record is its leaf.
    Verified(VerifiedLog),
    /// Something does not fit.
    Broken {
        /// The first record that is not what the log committed to, if one is known.
        seq: Option<u64>,
        /// What does not fit.
        reason: String,
    },
    /// The agent did not hand over what is needed.
    Unavailable(String),
}

/// One record as a row. Its texts are safe to draw.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its place in the log.
    pub seq: u64,
    /// Its bytes as the agent sent them.
    pub bytes: String,
    /// When; `None` if the record cannot be read.
    pub at: Option<Timestamp>,
    /// Who acted.
    pub who: String,
    /// What happened.
    pub what: String,
    /// To what.
    pub target: String,
    /// Whether it happened.
    pub result: RowResult,
    /// Where the call came from.
    pub from: String,
    /// Names and texts behind the record's commitments, each with whether it fits its commitment.
    pub openings: Vec<(String, String, bool)>,
}

/// The result column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowResult {
    /// It happened.
    Ok,
    /// It was refused, for this reason.
    Denied(String),
    /// It was allowed and failed, for this reason.
    Failed(String),
    /// The bytes are no record.
    Unreadable,
}

impl RowResult {
    /// Sign and word.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Ok => "✓ ok",
            Self::Denied(_) => "✗ DENIED",
            Self::Failed(_) => "✗ FAILED",
            Self::Unreadable => "✗ UNREADABLE",
        }
    }
}

impl Row {
    /// Reads a record and the openings beside it. A name is shown only if it fits its commitment: else anybody between
    /// store and screen could put another name beside a true record.
    #[must_use]
    pub fn new(item: Item, vaults: &Vaults) -> Self {
        let record = match serde_json::from_str::<Record>(&item.record) {
            // A true record at another place would be a lie about when things happened.
            Ok(record) if record.seq == item.seq => record,
            _ => return Self::unreadable(item),
        };
        let openings: Vec<(String, String, bool)> = item
            .openings
            .iter()
            .map(|opening| {
                let fits = opening.commitment().is_some_and(|own| record.h.get(&opening.field) == Some(&own));
                (clean(&opening.field), clean(&opening.value), fits)
            })
            .collect();
        let name = |field: &str| {
            openings.iter().find(|(found, _, fits)| found == field && *fits).map(|(_, value, _)| value.clone())
        };
        let who = match &record.actor {
            Some(actor) => name("actor.name").unwrap_or_else(|| short(&actor.identity)),
            None => name("actor.name").unwrap_or_else(|| "agent".into()),
        };
        let kind = || record.detail.get("kind").and_then(|kind| kind.as_str()).map(clean).unwrap_or_default();
        let result = match record.outcome {
            RecordOutcome::Ok => RowResult::Ok,
            RecordOutcome::Denied => RowResult::Denied(kind()),
            RecordOutcome::Failed => RowResult::Failed(kind()),
        };
        let from = record.from.as_ref().map(|from| {
            let user = from.uid.map(|uid| format!(" uid {uid}")).unwrap_or_default();
            clean(&format!("{}{user}", from.client))
        });
        Self {
            seq: item.seq,
            at: Some(record.ts),
            who,
            what: clean(&record.event),
            target: target(&record, &name, vaults),
            result,
            from: name("from.address").or(from).unwrap_or_default().trim().to_owned(),
            openings,
            bytes: item.record,
        }
    }

    fn unreadable(item: Item) -> Self {
        Self {
            seq: item.seq,
            bytes: item.record,
            at: None,
            who: String::new(),
            what: String::new(),
            target: String::new(),
            result: RowResult::Unreadable,
            from: String::new(),
            openings: Vec::new(),
        }
    }

    /// The record's leaf hash: SHA-256(0x00 ‖ record) (RFC 6962 §2.1).
    #[must_use]
    pub fn leaf(&self) -> [u8; 32] {
        Sha256::new().chain_update([0x00]).chain_update(&self.bytes).finalize().into()
    }

    fn line(&self) -> String {
        format!("#{} {} {} {} {} {}", self.seq, self.who, self.what, self.target, self.result.label(), self.from)
    }
}

/// The column "Account": the account, or else whatever the event was about.
fn target(record: &Record, name: &impl Fn(&str) -> Option<String>, vaults: &Vaults) -> String {
    let target = &record.target;
    if let Some(id) = target.account {
        let known = || vaults.account_name(id).map(|address| address.account.to_string());
        return name("account.name").or_else(known).unwrap_or_else(|| short(&id));
    }
    let named = name("account.name").or_else(|| name("target.name")).or_else(|| name("vault.name"));
    named
        .or_else(|| target.identity.as_ref().map(short))
        .or_else(|| target.vault.as_ref().map(short))
        .or_else(|| target.grant.as_ref().map(short))
        .or_else(|| target.key.as_deref().map(clean))
        .unwrap_or_default()
}

/// The first eight digits of an id, for things whose names were erased or are not ours to see.
fn short(id: &impl std::fmt::Display) -> String {
    id.to_string().chars().take(8).collect()
}

impl Audit {
    /// Turns to another log and forgets the one before.
    pub fn choose(&mut self, log: Option<Slug>) {
        *self = Self { log, is_chosen: true, filter: std::mem::take(&mut self.filter), ..Self::default() };
    }

    /// Adds a page: the newest, or the next older.
    pub fn add(&mut self, page: Vec<Row>, is_newest: bool) {
        if is_newest {
            self.rows = None;
        }
        self.rows.get_or_insert_default().extend(page);
        self.refresh();
        self.check();
    }

    /// Recomputes what the filter leaves and keeps the selection on something visible.
    pub fn refresh(&mut self) {
        let rows = self.rows.as_deref().unwrap_or_default();
        let lines: Vec<String> = rows.iter().map(Row::line).collect();
        self.visible = filter::matching(self.filter.input.value(), &lines);
        self.visible.sort_unstable();
        if self.selected_at().is_none() {
            self.selected = self.visible.first().map(|place| rows[*place].seq);
        }
    }

    /// The rows that the filter leaves, newest first.
    #[must_use]
    pub fn visible_rows(&self) -> Vec<&Row> {
        let rows = self.rows.as_deref().unwrap_or_default();
        self.visible.iter().filter_map(|place| rows.get(*place)).collect()
    }

    /// Place of the selected record among the visible.
    #[must_use]
    pub fn selected_at(&self) -> Option<usize> {
        self.visible_rows().iter().position(|row| Some(row.seq) == self.selected)
    }

    /// Takes the outcome of a verification.
    pub fn judge(&mut self, outcome: Result<VerifiedLog, VerifyFailure>) {
        self.verification = match outcome {
            Ok(log) => self.grown(log),
            Err(VerifyFailure::Broken(reason)) => Verification::Broken { seq: None, reason: clean(&reason) },
            Err(VerifyFailure::Unavailable(failure)) => Verification::Unavailable(clean(&failure.message)),
        };
        self.check();
    }

    /// Compares a log with what was verified before. A signature does not help against an agent that signs another past.
    fn grown(&mut self, log: VerifiedLog) -> Verification {
        if let Some(before) = &self.verified_before {
            if log.size < before.size {
                let reason = format!("the log has shrunk from {} records to {}", before.size, log.size);
                return Verification::Broken { seq: None, reason };
            }
            if let Some(place) = before.leaves.iter().zip(log.leaves.iter()).position(|(old, new)| old != new) {
                let reason = "the record was another one when the log was verified before".to_owned();
                return Verification::Broken { seq: u64::try_from(place).ok(), reason };
            }
        }
        self.verified_before = Some(log.clone());
        Verification::Verified(log)
    }

    /// Compares every loaded record with the leaf that the signed root covers. Pages loaded later are compared too.
    fn check(&mut self) {
        let Verification::Verified(log) = &self.verification else { return };
        let rows = self.rows.as_deref().unwrap_or_default();
        let broken = rows
            .iter()
            .filter(|row| {
                usize::try_from(row.seq)
                    .ok()
                    .and_then(|seq| log.leaves.get(seq))
                    .is_some_and(|leaf| *leaf != row.leaf())
            })
            .map(|row| row.seq)
            .min();
        if broken.is_some() {
            let reason = "the record is not the one that the log committed to".to_owned();
            self.verification = Verification::Broken { seq: broken, reason };
        }
    }
}
