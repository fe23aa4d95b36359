//! `account.*`: OTP credentials. A seed goes in and never comes out.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Changed, Receipt, method};
use crate::ids::{AccountAddress, AccountId, ImportId, Slug};
use crate::words::{Access, Algorithm, OtpKind, Scheme};

/// Shortest seed that is taken, in bytes (80 bits: what the field still issues; RFC 4226 §4 asks for 128).
pub const SEED_LEN_MIN: usize = 10;
/// Longest seed that is taken, in bytes.
pub const SEED_LEN_MAX: usize = 256;
/// Fewest digits (RFC 4226 §5.3).
pub const DIGITS_MIN: u8 = 6;
/// Most digits: ten hold all 31 bits of the truncated value.
pub const DIGITS_MAX: u8 = 10;
/// Longest period, in seconds: one day.
pub const PERIOD_S_MAX: u32 = 86_400;
/// Characters of a Steam code.
pub const STEAM_DIGITS: u8 = 5;

/// Lists accounts that the caller sees, in one vault or in all.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Only this vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<Slug>,
    /// Where to go on: `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}
method!(List => "account.list" -> ListResult);

/// A page of accounts, by address.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListResult {
    /// By address.
    pub items: Vec<Item>,
    /// The cursor of the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One account. Never its seed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its address.
    pub account: AccountAddress,
    /// Its id, as audit records name it.
    pub id: AccountId,
    /// Who asks for the code, for example `Microsoft`.
    pub issuer: String,
    /// The login it belongs to, for example `admin@acme.example`.
    pub label: String,
    /// How codes are made.
    pub kind: OtpKind,
    /// The hash.
    pub algorithm: Algorithm,
    /// Digits of a code; characters for Steam.
    pub digits: u8,
    /// Seconds of a window; 0 for HOTP.
    pub period_s: u32,
    /// What the caller can do with it now.
    pub access: Access,
}

/// Shows one account.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Show {
    /// Which.
    pub account: AccountAddress,
}
method!(Show => "account.show" -> Shown);

/// One account with what the list leaves out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shown {
    /// As in the list.
    #[serde(flatten)]
    pub item: Item,
    /// The counter that the next HOTP code will use; absent for other kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_counter: Option<u64>,
    /// How the seed is sealed.
    pub scheme: Scheme,
    /// True if an offline recovery copy exists.
    pub recoverable: bool,
}

/// Opens an import into a vault. Managers only. Rows are staged sealed; nothing is visible before the commit.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportBegin {
    /// Into which vault.
    pub vault: Slug,
    /// What was read, for the record: `otpauth`, `manual`, …; 1 to 40 ASCII characters.
    pub source: String,
    /// Rows whose slug is taken give that account a new seed: it stays what it was to grants, requests and the log.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
}
method!(ImportBegin => "account.import_begin" -> ImportBegun);

/// An open import. It ends with its connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImportBegun {
    /// Names the import in the following calls.
    pub import: ImportId,
}

/// Hands over rows; may be called repeatedly. A row that cannot be taken fails the call and stages none of it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportRows {
    /// Which import.
    pub import: ImportId,
    /// At most 200.
    pub rows: Vec<Row>,
}
method!(ImportRows => "account.import_rows" -> ImportStaged);

/// One account to be made. Has no `Debug`: it holds the seed.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The new slug within the vault; must be free.
    pub account: Slug,
    /// Who asks for the code; at most 200 bytes.
    #[serde(default)]
    pub issuer: String,
    /// The login it belongs to; at most 200 bytes.
    #[serde(default)]
    pub label: String,
    /// How codes are made.
    pub kind: OtpKind,
    /// The hash.
    pub algorithm: Algorithm,
    /// Digits, [`DIGITS_MIN`] to [`DIGITS_MAX`]; [`STEAM_DIGITS`] for Steam.
    pub digits: u8,
    /// Seconds, 1 to [`PERIOD_S_MAX`]; 0 for HOTP.
    pub period_s: u32,
    /// The first counter of HOTP; 0 otherwise.
    #[serde(default)]
    pub counter: u64,
    /// The seed in base64 (RFC 4648 §4), [`SEED_LEN_MIN`] to [`SEED_LEN_MAX`] bytes.
    pub seed: Zeroizing<String>,
}

/// How much is staged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImportStaged {
    /// Rows staged so far.
    pub staged: u64,
}

/// Makes all staged accounts in one commit, or none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportCommit {
    /// Which import.
    pub import: ImportId,
}
method!(ImportCommit => "account.import_commit" -> Imported);

/// The new accounts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Imported {
    /// Their addresses, in the order of the rows.
    pub accounts: Vec<AccountAddress>,
    /// Where the import was recorded.
    pub receipt: Receipt,
}

/// Removes an account and its sealed seed for good. Managers only.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remove {
    /// Which.
    pub account: AccountAddress,
    /// Why, 1 to 500 bytes.
    pub reason: String,
}
method!(Remove => "account.remove" -> Changed);
