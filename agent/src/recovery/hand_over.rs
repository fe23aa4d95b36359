//! What a client finds in a hand-over: one JSON object that people, scripts and every authenticator's importer can use.

use serde_json::{Value, json};
use strongroom_proto::words::OtpKind;
use zeroize::Zeroizing;

use crate::keystore::batch::{HandOver, HandOverAccount};
use crate::keystore::{SEED_LEN_MAX, Seed};

/// Longest secret in base32 (RFC 4648 §6, without padding).
const SECRET_LEN_MAX: usize = (SEED_LEN_MAX * 8).div_ceil(5);

/// The document while it is written. Its buffer is made once: growing would leave seeds behind.
///
/// `{"format":"strongroom.hand-over/1","vault":…,"name":…,"made_at":…,"accounts":[{"account":…,"issuer":…,"label":…,`
/// `"kind":…,"algorithm":…,"digits":…,"period_s":…,"counter":…,"uri":"otpauth://…"}]}`
pub(crate) struct Document {
    text: Zeroizing<Vec<u8>>,
    accounts: usize,
}

impl Document {
    pub(crate) fn begin(order: &HandOver) -> Self {
        let HandOver { vault, name, made_at, .. } = order;
        let head = json!({"format": "strongroom.hand-over/1", "vault": vault, "name": name, "made_at": made_at});
        let head = head.to_string();
        // Text may grow sixfold when JSON escapes it, threefold when a URI does; an account stands in both.
        let lengths = order.accounts.iter().map(|account| {
            512 + SECRET_LEN_MAX + 9 * (account.account.as_str().len() + account.issuer.len() * 2 + account.label.len())
        });
        let mut text = Zeroizing::new(Vec::with_capacity(head.len() + 64 + lengths.sum::<usize>()));
        text.extend_from_slice(head.trim_end_matches('}').as_bytes());
        text.extend_from_slice(b",\"accounts\":[");
        Self { text, accounts: 0 }
    }

    /// Adds an account. Everything but the secret is written first; the secret goes straight into the buffer.
    pub(crate) fn add(&mut self, account: &HandOverAccount, seed: &Seed) {
        let context = &account.seed.context;
        let mut plain = json!({
            "account": account.account,
            "issuer": account.issuer,
            "label": account.label,
            "kind": context.kind,
            "algorithm": context.algorithm,
            "digits": context.digits,
        });
        if let Value::Object(members) = &mut plain {
            match context.kind {
                OtpKind::Hotp => members.insert("counter".into(), account.next_counter.into()),
                OtpKind::Totp | OtpKind::Steam => members.insert("period_s".into(), context.period_s.into()),
            };
        }
        let (before, after) = uri(account);
        self.text.extend_from_slice(if self.accounts == 0 { b"\n" } else { b",\n" });
        self.text.extend_from_slice(plain.to_string().trim_end_matches('}').as_bytes());
        self.text.extend_from_slice(b",\"uri\":\"");
        self.text.extend_from_slice(before.as_bytes());
        base32(seed.expose(), &mut self.text);
        self.text.extend_from_slice(after.as_bytes());
        self.text.extend_from_slice(b"\"}");
        self.accounts += 1;
    }

    pub(crate) fn end(mut self) -> Zeroizing<Vec<u8>> {
        self.text.extend_from_slice(b"\n]}\n");
        self.text
    }
}

/// The key URI around its secret, as Google Authenticator began it. Only characters that JSON need not escape.
fn uri(account: &HandOverAccount) -> (String, String) {
    let context = &account.seed.context;
    let (issuer, label) = (percent(&account.issuer), percent(&account.label));
    let kind = if context.kind == OtpKind::Hotp { "hotp" } else { "totp" };
    let name = if issuer.is_empty() { label } else { format!("{issuer}:{label}") };
    let mut after = String::new();
    if !issuer.is_empty() {
        after.push_str(&format!("&issuer={issuer}"));
    }
    after.push_str(&format!("&algorithm={}&digits={}", context.algorithm, context.digits));
    match context.kind {
        OtpKind::Hotp => after.push_str(&format!("&counter={}", account.next_counter)),
        OtpKind::Totp => after.push_str(&format!("&period={}", context.period_s)),
        OtpKind::Steam => after.push_str(&format!("&period={}&encoder=steam", context.period_s)),
    }
    (format!("otpauth://{kind}/{name}?secret="), after)
}

/// Percent-encodes all but the unreserved characters (RFC 3986 §2.3).
fn percent(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn base32(bytes: &[u8], out: &mut Vec<u8>) {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    for chunk in bytes.chunks(5) {
        let mut group = Zeroizing::new([0_u8; 8]);
        for (slot, byte) in group.iter_mut().skip(3).zip(chunk) {
            *slot = *byte;
        }
        let bits = Zeroizing::new(u64::from_be_bytes(*group));
        for place in 0..(chunk.len() * 8).div_ceil(5) {
            let quintet = (*bits >> (35 - 5 * place)) & 31;
            out.extend(ALPHABET.get(usize::try_from(quintet).unwrap_or(0)));
        }
    }
}

#[cfg(test)]
mod tests {
    use strongroom_proto::ids::{AccountId, OrgId, Slug, VaultId};
    use strongroom_proto::words::{Algorithm, Scheme};

    use super::*;
    use crate::keystore::batch::StoredSeed;
    use crate::keystore::{SealedSeed, SeedContext, TokenId, VaultKey};

    #[test]
    fn base32_is_that_of_rfc_4648() {
        for (plain, expected) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            let mut out = Vec::new();
            base32(plain.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{plain}");
        }
    }

    fn account(kind: OtpKind, issuer: &str, label: &str) -> HandOverAccount {
        let (vault, token) = (VaultId::random(), TokenId::new("1/test"));
        HandOverAccount {
            account: Slug::new("m365").unwrap(),
            issuer: issuer.into(),
            label: label.into(),
            next_counter: 7,
            seed: StoredSeed {
                context: SeedContext {
                    store: OrgId::random(),
                    vault,
                    account: AccountId::random(),
                    kind,
                    algorithm: Algorithm::Sha1,
                    digits: 6,
                    period_s: 30,
                    revision: 1,
                },
                key: VaultKey { vault, number: 1, scheme: Scheme::Derived, label: String::new(), kcv: [0; 8] },
                sealed: SealedSeed {
                    scheme: Scheme::Derived,
                    version: 1,
                    token,
                    key_number: 1,
                    salt: vec![],
                    blob: vec![],
                    binding: vec![],
                },
                copy: vec![],
            },
        }
    }

    #[test]
    fn the_document_is_json_with_a_key_uri_for_each_account_and_never_grows() {
        // The worst names: every byte is escaped, in JSON and in the URI.
        let accounts = vec![
            account(OtpKind::Totp, "Micro soft", "admin@acme"),
            account(OtpKind::Hotp, "", "vpn"),
            account(OtpKind::Steam, &"\u{7f}\"".repeat(100), &"\"\\".repeat(100)),
        ];
        let order = HandOver {
            vault: Slug::new("acme").unwrap(),
            name: "Acme \"Ltd\"".into(),
            made_at: "2026-11-22T00:00:00Z".parse().unwrap(),
            recipient: String::new(),
            accounts,
        };
        let mut document = Document::begin(&order);
        let room = document.text.capacity();
        let seed = Seed::new(vec![b'x'; SEED_LEN_MAX]).unwrap();
        for account in &order.accounts {
            document.add(account, &seed);
        }
        let text = document.end();
        assert_eq!(text.capacity(), room, "the buffer grew and left seeds behind");
        let value: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(value["format"], "strongroom.hand-over/1");
        let uri = |place: usize| value["accounts"][place]["uri"].as_str().unwrap().to_owned();
        assert!(uri(0).starts_with("otpauth://totp/Micro%20soft:admin%40acme?secret=PB4"), "{}", uri(0));
        assert!(uri(0).ends_with("&issuer=Micro%20soft&algorithm=SHA1&digits=6&period=30"));
        assert!(uri(1).starts_with("otpauth://hotp/vpn?secret=") && uri(1).ends_with("&counter=7"));
        assert!(uri(2).ends_with("&encoder=steam"));
        assert_eq!(value["accounts"][1]["counter"], 7);
    }
}
