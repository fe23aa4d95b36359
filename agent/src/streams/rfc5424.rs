//! Syslog messages (RFC 5424). The message part is the record, byte for byte, without a byte order mark.

use std::fmt::Write as _;

use strongroom_proto::audit::record::{Record, RecordOutcome};

use super::message::{Formatter, Item, alarms};

/// `log audit` (RFC 5424 §6.2.1).
const FACILITY: u8 = 13;
/// Longest HOSTNAME and MSGID (RFC 5424 §6).
const HOSTNAME_LEN_MAX: usize = 255;
const MSGID_LEN_MAX: usize = 32;
/// Longest name of a parameter (SD-NAME).
const SD_NAME_LEN_MAX: usize = 32;

pub(super) fn message(formatter: &Formatter, item: &Item<'_>) -> String {
    let priority = FACILITY * 8 + item.record.map_or(3, severity);
    let timestamp = item.record.map_or_else(|| "-".to_owned(), |record| format!("{:.6}", record.ts));
    let event = item.record.map_or("-", |record| &record.event);
    let mut text = format!(
        "<{priority}>1 {timestamp} {} strongroom {} {} ",
        header(&formatter.hostname, HOSTNAME_LEN_MAX),
        formatter.process,
        header(event, MSGID_LEN_MAX)
    );
    let number = formatter.enterprise;
    let _ = write!(text, "[strongroom@{number}");
    let _ = write!(text, " stream=\"{}\" log=\"{}\"", escaped(&formatter.stream), escaped(item.log));
    let _ = write!(text, " seq=\"{}\" leaf=\"{}\" size=\"{}\"", item.seq, item.leaf, item.size);
    if item.resent {
        text.push_str(" resent=\"true\"");
    }
    text.push(']');
    if !item.openings.is_empty() {
        // Salt and value together, so that the commitment can be checked: the salt has 24 characters.
        let _ = write!(text, "[opening@{number}");
        for opening in item.openings {
            let _ = write!(text, " {}=\"{} {}\"", name(&opening.field), opening.salt, escaped(&opening.value));
        }
        text.push(']');
    }
    text.push(' ');
    text.push_str(item.bytes);
    text
}

/// How urgent a record is (RFC 5424 §6.2.1): what raised an alarm 1, what failed 3, what was refused 4, the rest 6.
fn severity(record: &Record) -> u8 {
    match record.outcome {
        _ if alarms(record) => 1,
        RecordOutcome::Failed => 3,
        RecordOutcome::Denied => 4,
        RecordOutcome::Ok => 6,
    }
}

/// A field of the header: printable ASCII without spaces, or `-`.
fn header(text: &str, len_max: usize) -> String {
    let field: String = text.chars().filter(char::is_ascii_graphic).take(len_max).collect();
    if field.is_empty() { "-".to_owned() } else { field }
}

/// A parameter's name: printable ASCII without `=`, `]`, `"` and spaces.
fn name(field: &str) -> String {
    let allowed = |character: &char| character.is_ascii_graphic() && !"=]\"".contains(*character);
    field.chars().filter(allowed).take(SD_NAME_LEN_MAX).collect()
}

/// A parameter's value: `"`, `\` and `]` behind a backslash (RFC 5424 §6.3.3). Line ends become spaces: receivers that read
/// by line would take the rest for a message of its own.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '"' | '\\' | ']' => text.extend(['\\', character]),
            control if control.is_control() => text.push(' '),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use strongroom_proto::audit::opening::Opening;

    use super::super::message::tests::{RECORD, formatter, with_item};
    use super::super::section::Format;
    use super::*;

    fn of(bytes: &str, openings: &[Opening], resent: bool) -> String {
        with_item(bytes, openings, resent, |item| message(&formatter(Format::Rfc5424), item))
    }

    #[test]
    fn the_header_and_the_verbatim_record() {
        let text = of(RECORD, &[], false);
        let leaf = hex::encode(strongroom_proto::audit::merkle::leaf_hash(RECORD.as_bytes()));
        let expected = format!(
            "<110>1 2026-11-21T19:00:00.100000Z bastion strongroom 99 code.release [strongroom@32473 stream=\"siem\" log=\"strongroom/o/v\" seq=\"41\" leaf=\"{leaf}\" size=\"50\"] {RECORD}"
        );
        assert_eq!(text, expected);
        assert!(of(RECORD, &[], true).contains("size=\"50\" resent=\"true\"] {"));
    }

    #[test]
    fn severity_follows_outcome_and_alarm() {
        let priority = |from: &str, to: &str| {
            let text = of(&RECORD.replace(from, to), &[], false);
            text.split_once('>').unwrap().0.trim_start_matches('<').parse::<u8>().unwrap()
        };
        assert_eq!(priority("\"ok\"", "\"denied\""), 13 * 8 + 4);
        assert_eq!(priority("\"ok\"", "\"failed\""), 13 * 8 + 3);
        assert_eq!(priority("{\"step\"", "{\"alert\":\"x\",\"step\""), 13 * 8 + 1);
        // What this agent cannot read is passed on all the same.
        assert!(of("{}", &[], false).starts_with("<107>1 - bastion strongroom 99 - ["));
    }

    #[test]
    fn values_are_escaped_as_the_standard_says() {
        // The characters of RFC 5424 §6.3.3, and §6.5's example values, which need no escape.
        assert_eq!(escaped(r#"a"b\c]d"#), r#"a\"b\\c\]d"#);
        assert_eq!(
            (escaped("Application"), escaped("1011"), escaped("[x")),
            ("Application".into(), "1011".into(), "[x".into())
        );
        assert_eq!(escaped("é\n<0>1 - forged"), "é <0>1 - forged");
        let opening = Opening::new("reason", [0; 16], "she said \"now]\"");
        let text = of(RECORD, &[opening], false);
        assert!(text.contains(r#"][opening@32473 reason="AAAAAAAAAAAAAAAAAAAAAA== she said \"now\]\""] {"#), "{text}");
    }

    #[test]
    fn header_fields_are_printable_ascii_of_limited_length() {
        assert_eq!(header("bas tion\u{e9}\n", 255), "bastion");
        assert_eq!(header("", 255), "-");
        assert_eq!(header(&"x".repeat(40), MSGID_LEN_MAX).len(), 32);
        assert_eq!(name("a=b]c\"d e"), "abcde");
    }
}
