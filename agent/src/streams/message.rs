//! What is sent: a record with its place, in one of three forms. The record's bytes stand in each of them verbatim, so that
//! the receiver's copy can convict us.

use serde::Serialize;
use strongroom_proto::audit::opening::Opening;
use strongroom_proto::audit::record::Record;

use super::section::{Format, StreamConfig};
use super::{ocsf, rfc5424};

/// A record on its way.
pub(super) struct Item<'a> {
    /// The origin of its log.
    pub(super) log: &'a str,
    /// Its place.
    pub(super) seq: u64,
    /// Its leaf hash in hex.
    pub(super) leaf: &'a str,
    /// How many records the log had when this was sent: the receiver is an anchor that no restored store can fall short of.
    pub(super) size: u64,
    /// Its bytes.
    pub(super) bytes: &'a str,
    /// What they say; `None` if they are no record of a version that this agent knows.
    pub(super) record: Option<&'a Record>,
    /// The values behind its commitments; empty if they are not to be sent.
    pub(super) openings: &'a [Opening],
    /// It may have been sent before.
    pub(super) resent: bool,
}

/// True if a record raises an alarm, or says that nobody has answered one.
pub(super) fn alarms(record: &Record) -> bool {
    record.detail.contains_key("alert") || record.event == "alert.escalate"
}

/// Puts items into the form of one stream.
pub(super) struct Formatter {
    pub(super) stream: String,
    pub(super) format: Format,
    pub(super) enterprise: u32,
    pub(super) hostname: String,
    pub(super) process: u32,
}

impl Formatter {
    pub(super) fn new(config: &StreamConfig) -> Self {
        Self {
            stream: config.name.to_string(),
            format: config.format,
            enterprise: config.enterprise,
            hostname: std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned(),
            process: std::process::id(),
        }
    }

    /// One message, without what frames it.
    pub(super) fn message(&self, item: &Item<'_>) -> String {
        match self.format {
            Format::Rfc5424 => rfc5424::message(self, item),
            Format::Json => json(self, item),
            Format::Ocsf => ocsf::message(item),
        }
    }
}

/// A text as a JSON string.
pub(super) fn quoted(text: &(impl Serialize + ?Sized)) -> String {
    // Texts and lists of texts cannot fail to be written.
    serde_json::to_string(text).unwrap_or_else(|_| "null".to_owned())
}

/// The record is embedded, not serialised a second time: it stays the bytes whose hash the leaf is.
fn json(formatter: &Formatter, item: &Item<'_>) -> String {
    let mut text = format!(
        "{{\"stream\":{},\"log\":{},\"seq\":{},\"leaf\":{},\"size\":{},\"record\":{}",
        quoted(&formatter.stream),
        quoted(item.log),
        item.seq,
        quoted(item.leaf),
        item.size,
        item.bytes
    );
    if !item.openings.is_empty() {
        text.push_str(",\"openings\":");
        text.push_str(&quoted(item.openings));
    }
    if item.resent {
        text.push_str(",\"resent\":true");
    }
    text.push('}');
    text
}

#[cfg(test)]
pub(super) mod tests {
    use strongroom_proto::audit::merkle::leaf_hash;

    use super::*;

    pub(in super::super) const RECORD: &str = r#"{"actor":{"assurance":"hardware-verified","identity":"00000000-0000-4000-8000-000000000001","key":"SHA256:abc","session":"00000000-0000-4000-8000-000000000002"},"agent":"00000000-0000-4000-8000-000000000003","detail":{"step":9007199254740991},"event":"code.release","from":{"client":"strongroom/0.1.0","pid":7,"uid":1000},"h":{"reason":"AAAA"},"log":"strongroom/o/v","outcome":"ok","seq":41,"target":{"account":"00000000-0000-4000-8000-000000000004"},"ts":"2026-11-21T19:00:00.100000Z","v":1}"#;

    pub(in super::super) fn formatter(format: Format) -> Formatter {
        Formatter { stream: "siem".to_owned(), format, enterprise: 32_473, hostname: "bastion".to_owned(), process: 99 }
    }

    pub(in super::super) fn with_item<T>(
        bytes: &str,
        openings: &[Opening],
        resent: bool,
        look: impl FnOnce(&Item<'_>) -> T,
    ) -> T {
        let leaf = hex::encode(leaf_hash(bytes.as_bytes()));
        let record: Option<Record> = serde_json::from_str(bytes).ok();
        let (log, record) = ("strongroom/o/v", record.as_ref());
        look(&Item { log, seq: 41, leaf: &leaf, size: 50, bytes, record, openings, resent })
    }

    #[test]
    fn a_json_line_holds_the_records_own_bytes() {
        let opening = Opening::new("reason", [7; 16], "line\none \"two\"");
        let line =
            with_item(RECORD, std::slice::from_ref(&opening), true, |item| formatter(Format::Json).message(item));
        assert!(line.contains(RECORD), "{line}");
        assert!(!line.contains('\n'), "one line: {line}");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (value["stream"].as_str(), value["seq"].as_u64(), value["size"].as_u64()),
            (Some("siem"), Some(41), Some(50))
        );
        assert_eq!(value["leaf"], hex::encode(leaf_hash(RECORD.as_bytes())));
        assert_eq!(
            (value["openings"][0]["value"].as_str(), value["resent"].as_bool()),
            (Some("line\none \"two\""), Some(true))
        );
        let bare = with_item(RECORD, &[], false, |item| formatter(Format::Json).message(item));
        assert!(!bare.contains("openings") && !bare.contains("resent"), "{bare}");
    }
}
