//! Importers: foreign formats become [`Candidate`]s here, on the importer's side, so that the agent never parses them.
//! Pure: bytes in, rows out; nothing is opened, fetched or printed. A URL inside a row (`image=`) is dropped unread,
//! because following one made other importers into request forgers.
//!
//! Two rules decide every case: what real exporters do is repaired and the repair is reported as a [`Note`]; what would
//! make a code that looks right and is wrong is refused as a [`RowProblem`]. Neither ever holds the secret.

mod base32;
mod otpauth;
mod problem;
mod slugs;
mod text;

use std::collections::HashMap;

use sha2::{Digest, Sha256};
use strongroom_proto::words::{Algorithm, OtpKind};
use zeroize::Zeroizing;

pub use problem::{FileProblem, Note, Problem, RowProblem};
pub use slugs::derive_slugs;
pub(crate) use text::{forges_display, name};

/// Longest file that is read, in bytes.
pub const FILE_LEN_MAX: usize = 1024 * 1024;
/// Longest line, in bytes.
pub const LINE_LEN_MAX: usize = 4 * 1024;
/// Most rows in one file.
pub const ROWS_MAX: usize = 10_000;
/// Longest issuer or label, in bytes: what the agent takes.
pub const NAME_LEN_MAX: usize = 200;
/// Period when a URI names none, in seconds.
pub const PERIOD_S_DEFAULT: u32 = 30;
/// Digits when a URI names none.
pub const DIGITS_DEFAULT: u8 = 6;

/// One account that was read and may be imported. Has no `Debug`: it holds the seed.
pub struct Candidate {
    /// The line it stands on, from 1.
    pub line: usize,
    /// Who asks for the code; may be empty.
    pub issuer: String,
    /// The login it belongs to; may be empty.
    pub label: String,
    /// How codes are made.
    pub kind: OtpKind,
    /// The hash.
    pub algorithm: Algorithm,
    /// Digits of a code; characters for Steam.
    pub digits: u8,
    /// Seconds of a window; 0 for HOTP.
    pub period_s: u32,
    /// The first counter of HOTP; 0 otherwise.
    pub counter: u64,
    /// The seed's bytes.
    pub seed: Zeroizing<Vec<u8>>,
    /// What was repaired on the way.
    pub notes: Vec<Note>,
}

/// What a file holds, row by row, in the order of its lines. Blank lines and comments are no rows.
pub struct Parsed {
    /// A candidate or the reason why there is none.
    pub rows: Vec<Result<Candidate, RowProblem>>,
}

impl Parsed {
    /// The rows that may be imported.
    pub fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.rows.iter().filter_map(|row| row.as_ref().ok())
    }

    /// The rows that may not.
    pub fn problems(&self) -> impl Iterator<Item = &RowProblem> {
        self.rows.iter().filter_map(|row| row.as_ref().err())
    }
}

/// Reads a list of `otpauth://` and `steam://` URIs, one a line; blank lines and lines that start with `#` are skipped.
///
/// # Errors
/// [`FileProblem`] if the file is over a limit; everything that is wrong with one row is a [`RowProblem`] in its place.
pub fn parse_otpauth(bytes: &[u8]) -> Result<Parsed, FileProblem> {
    if bytes.len() > FILE_LEN_MAX {
        return Err(FileProblem::TooLong);
    }
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let mut rows = Vec::new();
    let mut seen = HashMap::new();
    for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let line_number = index + 1;
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        if rows.len() == ROWS_MAX {
            return Err(FileProblem::TooManyRows);
        }
        let row = read_line(line, line_number)
            .and_then(|candidate| refuse_duplicate(candidate, &mut seen))
            .map_err(|problem| RowProblem { line: line_number, problem });
        rows.push(row);
    }
    Ok(Parsed { rows })
}

/// Reads one URI that was pasted or piped in.
///
/// # Errors
/// [`Problem`], never holding the secret.
pub fn parse_uri(uri: &str) -> Result<Candidate, Problem> {
    if uri.len() > LINE_LEN_MAX { Err(Problem::LineTooLong) } else { otpauth::parse(uri.trim(), 1) }
}

/// Reads a bare base32 secret as people type it; the notes say what was repaired.
///
/// # Errors
/// [`Problem`], never holding the secret.
pub fn parse_secret(text: &str) -> Result<(Zeroizing<Vec<u8>>, Vec<Note>), Problem> {
    let mut notes = Vec::new();
    let seed = base32::decode(text.trim(), &mut notes)?;
    Ok((seed, notes))
}

fn read_line(line: &[u8], line_number: usize) -> Result<Candidate, Problem> {
    if line.len() > LINE_LEN_MAX {
        return Err(Problem::LineTooLong);
    }
    let line = std::str::from_utf8(line).map_err(|_| Problem::NotUtf8)?;
    otpauth::parse(line.trim(), line_number)
}

/// Two rows with one seed would be two accounts whose codes collide, and for HOTP two counters that drift apart.
fn refuse_duplicate(candidate: Candidate, seen: &mut HashMap<[u8; 32], usize>) -> Result<Candidate, Problem> {
    let parameters = format!("{} {} {} {} ", candidate.kind, candidate.algorithm, candidate.digits, candidate.period_s);
    let digest = Sha256::new().chain_update(parameters).chain_update(candidate.seed.as_slice()).finalize();
    match seen.entry(digest.into()) {
        std::collections::hash_map::Entry::Occupied(first) => Err(Problem::Duplicate { of: *first.get() }),
        std::collections::hash_map::Entry::Vacant(place) => {
            place.insert(candidate.line);
            Ok(candidate)
        }
    }
}
