//! A small MSP for pictures and screen tests: fixed names, fixed clock, fixed codes.

#![allow(dead_code, reason = "the tests and the examples each use a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "fixed data; a mistake in it should stop the test")]
#![allow(unreachable_pub, missing_docs, reason = "no crate's interface")]

mod desk;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use strongroom_proto::audit::merkle::leaf_hash;
use strongroom_proto::audit::opening::Opening;
use strongroom_proto::audit::record::{Actor, From, RECORD_VERSION, Record, RecordOutcome, Target};
use strongroom_proto::ids::{AccountAddress, AccountId, VaultId};
use strongroom_proto::method::code::{Released, Taken};
use strongroom_proto::method::{Receipt, account, audit, vault};
use strongroom_proto::words::{Access, Algorithm, Assurance, OtpKind, Scheme, VaultRole};
use zeroize::Zeroizing;

#[allow(unused_imports, reason = "the tests and the examples each use a part")]
pub use desk::{Desk, buffer, code_shown, drawn, text, trail_verified};

/// Slug, name, frozen, accounts: slug, issuer, label, kind, digits, access.
type Vault =
    (&'static str, &'static str, bool, &'static [(&'static str, &'static str, &'static str, OtpKind, u8, Access)]);

const VAULTS: &[Vault] = &[
    (
        "acme",
        "Acme Dental Group",
        false,
        &[
            ("aws-root", "Amazon Web Services", "root@acme.example", OtpKind::Totp, 6, Access::Ask),
            ("datto-rmm", "Datto", "svc-rmm", OtpKind::Totp, 6, Access::Open),
            ("fortigate-vpn", "Fortinet", "msp-tech", OtpKind::Hotp, 6, Access::Open),
            ("m365-admin", "Microsoft", "admin@acme.onmicrosoft.com", OtpKind::Totp, 6, Access::Open),
            ("m365-breakglass", "Microsoft", "bg1@acme.onmicrosoft.com", OtpKind::Totp, 6, Access::Ask),
            ("steam-kiosk", "Steam", "acme-lobby", OtpKind::Steam, 5, Access::Open),
            ("veeam-console", "Veeam", "backup-op", OtpKind::Totp, 8, Access::Open),
        ],
    ),
    (
        "bluewater",
        "Bluewater Logistics",
        false,
        &[
            ("aws-root", "Amazon Web Services", "root@bluewater.example", OtpKind::Totp, 6, Access::Open),
            ("m365-admin", "Microsoft", "admin@bluewater.example", OtpKind::Totp, 6, Access::Open),
            ("meraki", "Cisco Meraki", "noc@bluewater.example", OtpKind::Totp, 6, Access::Listed),
        ],
    ),
    (
        "cafe-nandu",
        "Café Ñandú & Söhne",
        true,
        &[("godaddy-dns", "GoDaddy", "hostmaster", OtpKind::Totp, 6, Access::Frozen)],
    ),
    ("empty-co", "Empty Co (no accounts yet)", false, &[]),
    (
        "harborview",
        "Harborview Credit Union of Greater Portland",
        false,
        &[("m365-admin", "Microsoft", "it@harborview.example", OtpKind::Totp, 6, Access::Open)],
    ),
    ("rocket", "Rocket 🚀 Studios", false, &[("github-org", "GitHub", "rocket-bot", OtpKind::Totp, 6, Access::Open)]),
    (
        "tokyo-optics",
        "東京光学株式会社",
        false,
        &[
            ("fortigate-vpn", "Fortinet", "管理者", OtpKind::Totp, 6, Access::Open),
            ("m365-admin", "Microsoft", "admin@tokyo-optics.example", OtpKind::Totp, 6, Access::Open),
        ],
    ),
];

/// The time of every sample.
pub fn now() -> Timestamp {
    "2026-11-24T16:00:12Z".parse().unwrap()
}

fn id(number: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(0x1000_0000_0000_4000_8000_0000_0000_0000 + (number << 96) + number)
}

pub fn vaults() -> Vec<vault::Item> {
    let mut items: Vec<vault::Item> = VAULTS
        .iter()
        .map(|(slug, name, frozen, accounts)| vault_item(slug, name, *frozen, accounts.len() as u64))
        .collect();
    items.extend((0..20).map(|number| {
        vault_item(&format!("z-client-{number:02}"), &format!("Client number {number:02} Ltd"), false, 0)
    }));
    items
}

fn vault_item(slug: &str, name: &str, frozen: bool, accounts: u64) -> vault::Item {
    vault::Item {
        vault: slug.parse().unwrap(),
        id: VaultId::from_uuid(id(slug.len() as u128 * 31 + u128::from(slug.as_bytes()[0]))),
        name: name.to_owned(),
        roles: vec![VaultRole::Viewer],
        accounts,
        frozen,
        min_assurance: Assurance::SoftwareKey,
        signed_release: false,
        scheme: Scheme::Resident,
        log: format!("strongroom/org/{slug}"),
        destroyed_at: None,
    }
}

pub fn accounts() -> Vec<account::Item> {
    let mut number = 0;
    VAULTS
        .iter()
        .flat_map(|(vault, _, _, accounts)| accounts.iter().map(move |account| (*vault, account)))
        .map(|(vault, (slug, issuer, label, kind, digits, access))| {
            number += 1;
            account::Item {
                account: format!("{vault}/{slug}").parse().unwrap(),
                id: AccountId::from_uuid(id(number)),
                issuer: (*issuer).to_owned(),
                label: (*label).to_owned(),
                kind: *kind,
                algorithm: Algorithm::Sha1,
                digits: *digits,
                period_s: if *kind == OtpKind::Hotp { 0 } else { 30 },
                access: *access,
            }
        })
        .collect()
}

/// A released code with 18 s left, as the agent answers.
pub fn released(account: &AccountAddress, code: &str, remaining_ms: u64, taken_by: &[(&str, i64)]) -> Box<Released> {
    let left = SignedDuration::from_millis(i64::try_from(remaining_ms).unwrap());
    let kind = accounts().into_iter().find(|item| item.account == *account).map_or(OtpKind::Totp, |item| item.kind);
    let is_timed = kind != OtpKind::Hotp;
    Box::new(Released {
        account: account.clone(),
        kind,
        code: Zeroizing::new(code.to_owned()),
        period_s: if is_timed { 30 } else { 0 },
        valid_from: is_timed.then(|| now() + left - SignedDuration::from_secs(30)),
        valid_until: is_timed.then(|| now() + left),
        remaining_ms: is_timed.then_some(remaining_ms),
        counter: (!is_timed).then_some(7),
        window_taken_by: taken_by
            .iter()
            .map(|(who, ago_s)| Taken { identity: who.parse().unwrap(), at: now() - SignedDuration::from_secs(*ago_s) })
            .collect(),
        receipt: Receipt { log: "strongroom/org/acme".into(), seq: 60, leaf: "00".repeat(32) },
    })
}

/// The newest `len` records of a log of `size` records, and the leaf hashes of all of them.
pub fn trail(size: u64, len: u64) -> (audit::Page, Vec<[u8; 32]>) {
    let mut items: Vec<audit::Item> = (0..size).map(record).collect();
    let leaves = items.iter().map(|item| leaf_hash(item.record.as_bytes())).collect();
    items.reverse();
    items.truncate(usize::try_from(len).unwrap());
    let next = (len < size).then_some(size - len);
    (audit::Page { log: "strongroom/org/acme".into(), size, items, next, pruned: None }, leaves)
}

fn record(seq: u64) -> audit::Item {
    let who = ["jana", "marcus", "li-wei", "sam"][usize::try_from(seq % 4).unwrap()];
    let (event, outcome) = match seq % 7 {
        3 => ("code.release", RecordOutcome::Denied),
        5 => ("audit.read", RecordOutcome::Ok),
        _ => ("code.release", RecordOutcome::Ok),
    };
    let items = accounts();
    let account = &items[usize::try_from(seq * 5 % 7).unwrap()];
    let mut openings = vec![Opening::new("actor.name", [u8::try_from(seq % 251).unwrap(); 16], who)];
    if event == "code.release" {
        openings.push(Opening::new("account.name", [9; 16], account.account.account.as_str()));
    }
    if seq % 9 == 8 {
        openings.push(Opening::new("reason", [7; 16], "INC-4471: mailbox rule"));
    }
    let h = openings.iter().map(|opening| (opening.field.clone(), opening.commitment().unwrap())).collect();
    let detail = match outcome {
        RecordOutcome::Denied => BTreeMap::from([("kind".to_owned(), "needs_approval".into())]),
        _ => BTreeMap::new(),
    };
    let record = Record {
        actor: Some(Actor {
            assurance: Assurance::SoftwareKey,
            identity: strongroom_proto::ids::IdentityId::from_uuid(id(900 + u128::from(seq % 4))),
            key: "SHA256:uV7cV9m3rY1kq0b4x8wJm2n6p5s7t9v1x3z5B7D9F1H".into(),
            session: strongroom_proto::ids::SessionId::from_uuid(id(800 + u128::from(seq))),
        }),
        agent: strongroom_proto::ids::Instance::from_uuid(id(700)),
        detail,
        event: event.into(),
        from: Some(From {
            client: "strongroom/0.1.0".into(),
            pid: Some(4242),
            uid: Some(1000 + u32::try_from(seq % 4).unwrap()),
        }),
        grant: None,
        h,
        log: "strongroom/org/acme".into(),
        outcome,
        seq,
        state: None,
        target: Target { account: (event == "code.release").then_some(account.id), ..Target::default() },
        ts: now() - SignedDuration::from_secs(i64::try_from((60_u64.saturating_sub(seq)) * 733).unwrap()),
        v: RECORD_VERSION,
    };
    audit::Item { seq, record: record.to_bytes().unwrap(), openings }
}
