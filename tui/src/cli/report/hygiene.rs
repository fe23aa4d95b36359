//! `strongroom report hygiene`: which seeds are old, weak, forgotten or known to somebody who has left.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use strongroom_proto::ids::AccountId;
use strongroom_proto::method::account::Item;
use strongroom_proto::words::OtpKind;

use super::document::{Control, Section, row};
use super::evidence::Evidence;

pub(super) const CONTROLS: &[Control] = &[
    Control {
        standard: "NIST SP 800-63B-4",
        ids: "3.1.4.1",
        about: "at least six digits, and a time window of at most two minutes",
    },
    Control { standard: "SOC 2", ids: "CC6.1", about: "secrets are kept fit for use" },
    Control {
        standard: "ISO/IEC 27001:2022",
        ids: "A.5.17, A.8.24",
        about: "authentication information and its cryptography",
    },
    Control {
        standard: "PCI DSS 4.0.1",
        ids: "8.3.2, 8.3.11",
        about: "factors are protected, and sharing one is disclosed",
    },
];

/// Fewest digits (NIST SP 800-63B-4 §3.1.4.1).
const DIGITS_MIN: u8 = 6;
/// Longest time window, in seconds (the same).
const PERIOD_S_MAX: u32 = 120;

/// What the logs tell of an account.
#[derive(Clone, Copy, Debug, Default)]
struct Life {
    seed_since: Option<Timestamp>,
    released: u64,
    last: Option<Timestamp>,
    recovery_copies: Option<u64>,
}

fn lives(evidence: &Evidence) -> BTreeMap<AccountId, Life> {
    let mut lives: BTreeMap<AccountId, Life> = BTreeMap::new();
    for (_, entry) in evidence.all() {
        let Some(account) = entry.record.target.account else { continue };
        let life = lives.entry(account).or_default();
        if entry.happened("account.create") || entry.happened("account.replace") {
            life.seed_since = Some(entry.at());
            life.recovery_copies = entry.number("recovery_recipients");
        } else if entry.happened("code.release") {
            life.released += 1;
            life.last = Some(entry.at());
        }
    }
    lives
}

/// What a reader should think about.
fn flags(item: &Item, life: &Life, known: &[String], old_before: Timestamp) -> Vec<String> {
    let mut flags = Vec::new();
    match item.kind {
        OtpKind::Steam => flags.push("five characters of Steam's own".to_owned()),
        _ if item.digits < DIGITS_MIN => flags.push(format!("fewer than {DIGITS_MIN} digits")),
        _ => {}
    }
    if item.kind != OtpKind::Hotp && item.period_s > PERIOD_S_MAX {
        flags.push(format!("a window of more than {PERIOD_S_MAX} s"));
    }
    if item.kind == OtpKind::Hotp {
        flags.push("a code without a time limit".to_owned());
    }
    if life.seed_since.is_some_and(|since| since < old_before) {
        flags.push("an old seed".to_owned());
    }
    if life.released == 0 {
        flags.push("never released".to_owned());
    }
    if life.recovery_copies == Some(0) {
        flags.push("no recovery copy".to_owned());
    }
    if !known.is_empty() {
        flags.push(format!("known to {}", known.join(", ")));
    }
    flags
}

/// Every account that is listed, with its flags.
pub(super) fn sections(evidence: &Evidence, days: u32) -> Vec<Section> {
    let lives = lives(evidence);
    let old_before =
        evidence.now.checked_sub(SignedDuration::from_hours(24 * i64::from(days))).unwrap_or(Timestamp::MIN);
    let leavers = |id: AccountId| -> Vec<String> {
        let known = evidence.lists.rotations.iter().filter(|item| item.account_id == id);
        known.map(|item| item.identity.to_string()).collect::<BTreeSet<_>>().into_iter().collect()
    };
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut rows = Vec::new();
    for item in &evidence.lists.accounts {
        let life = lives.get(&item.id).copied().unwrap_or_default();
        let known = leavers(item.id);
        let flags = flags(item, &life, &known, old_before);
        for flag in &flags {
            let kind = if flag.starts_with("known to") { "known to a leaver" } else { flag };
            *counts.entry(kind.to_owned()).or_default() += 1;
        }
        let age =
            life.seed_since.map(|since| u64::try_from(evidence.now.duration_since(since).as_hours() / 24).unwrap_or(0));
        rows.push(row![
            item.account.to_string(),
            item.kind.as_str(),
            item.algorithm.as_str(),
            u64::from(item.digits),
            u64::from(item.period_s),
            life.seed_since,
            age,
            life.released,
            life.last,
            flags.join("; "),
        ]);
    }
    let columns = [
        "account",
        "kind",
        "algorithm",
        "digits",
        "period_s",
        "seed_since",
        "seed_days",
        "released",
        "last_at",
        "flags",
    ];
    let rows_of_counts = counts.into_iter().map(|(flag, count)| row![flag, count]).collect();
    vec![
        Section::new("flags", "What stands out", &["flag", "accounts"], rows_of_counts).chart(0, 1),
        Section::new("accounts", "Accounts", &columns, rows)
            .note("The length of a seed (at least 112 bits in the standard) cannot be seen from outside: it is padded before it is sealed, so that nobody learns it. A shared seed is always disclosed as one."),
    ]
}
