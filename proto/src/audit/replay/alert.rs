//! Alerts of one log: records that raised an alarm, who was told, how often they escalated, who answered.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Said, Unsaid, happened};
use crate::ids::IdentityId;

/// An alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// The event of the record that raised it.
    pub event: String,
    /// How often it has escalated.
    pub level: u64,
    /// Who has been told.
    pub seen: BTreeSet<IdentityId>,
    /// Who answered.
    pub acked: Option<IdentityId>,
}

/// The alerts of one log, by the place of the record that raised them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarms(pub BTreeMap<u64, Alarm>);

impl Alarms {
    /// Takes the next record. Refusals and failures raise alarms as well.
    pub(super) fn take(&mut self, said: &Said<'_>) -> Result<(), Unsaid> {
        let record = said.0;
        // Records of agents that kept no alerts say `alert` and no level.
        if record.detail.contains_key("alert") && record.detail.contains_key("alert_level") {
            let event = record.event.clone();
            self.0.insert(record.seq, Alarm { event, level: 0, seen: BTreeSet::new(), acked: None });
        }
        if !happened(record) {
            return Ok(());
        }
        match record.event.as_str() {
            "alert.seen" => {
                let who = actor(said)?;
                for seq in said.list::<u64>("alert_seqs")? {
                    self.alarm(said, seq)?.seen.insert(who);
                }
            }
            "alert.ack" => {
                let who = actor(said)?;
                self.alarm(said, number(said, "alert_seq")?)?.acked = Some(who);
            }
            "alert.escalate" => {
                let level = number(said, "level")?;
                self.alarm(said, number(said, "alert_seq")?)?.level = level;
            }
            _ => {}
        }
        Ok(())
    }

    fn alarm(&mut self, said: &Said<'_>, seq: u64) -> Result<&mut Alarm, Unsaid> {
        self.0.get_mut(&seq).ok_or_else(|| said.unsaid("which alert"))
    }
}

fn actor(said: &Said<'_>) -> Result<IdentityId, Unsaid> {
    said.0.actor.as_ref().map(|actor| actor.identity).ok_or_else(|| said.unsaid("who"))
}

fn number(said: &Said<'_>, name: &'static str) -> Result<u64, Unsaid> {
    said.0.detail.get(name).and_then(Value::as_u64).ok_or_else(|| said.unsaid(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::Record;
    use serde_json::json;

    const JANA: &str = "00000000-0000-4000-8000-000000000001";

    fn record(seq: u64, event: &str, outcome: &str, detail: &Value) -> Record {
        let actor = json!({ "assurance": "software-key", "identity": JANA, "key": "k", "session": JANA });
        serde_json::from_value(json!({
            "actor": actor, "agent": JANA, "detail": detail, "event": event, "log": "strongroom/o/org", "outcome": outcome,
            "seq": seq, "ts": "2026-11-21T19:00:00.000000Z", "v": 1,
        }))
        .unwrap()
    }

    #[test]
    fn alarms_of_whatever_outcome_open_alerts_and_those_of_older_agents_none() {
        let mut alarms = Alarms::default();
        let mut take = |record: &Record| alarms.take(&Said(record));
        take(&record(1, "identity.hold", "ok", &json!({ "alert": "x" }))).unwrap();
        take(&record(2, "session.throttled", "denied", &json!({ "alert": "x", "alert_level": 0 }))).unwrap();
        take(&record(3, "stream.behind", "failed", &json!({ "alert": "x", "alert_level": 0 }))).unwrap();
        take(&record(4, "alert.seen", "ok", &json!({ "alert_seqs": "2 3" }))).unwrap();
        take(&record(5, "alert.escalate", "ok", &json!({ "alert_seq": 3, "level": 2 }))).unwrap();
        take(&record(6, "alert.ack", "denied", &json!({ "alert_seq": 2 }))).unwrap();
        take(&record(7, "alert.ack", "ok", &json!({ "alert_seq": 3 }))).unwrap();
        let unsaid = take(&record(8, "alert.ack", "ok", &json!({ "alert_seq": 1 }))).unwrap_err();
        assert_eq!(unsaid.to_string(), "record 8 (alert.ack) does not say which alert");
        let jana: IdentityId = JANA.parse().unwrap();
        let alarm = |event: &str, level, acked| Alarm { event: event.to_owned(), level, seen: [jana].into(), acked };
        let expected = [(2, alarm("session.throttled", 0, None)), (3, alarm("stream.behind", 2, Some(jana)))];
        assert_eq!(alarms.0, expected.into());
    }
}
