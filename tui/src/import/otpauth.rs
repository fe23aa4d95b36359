//! One `otpauth://` or `steam://` URI (the key URI format that Google Authenticator began and everybody bends).
//!
//! The URI is split by hand: URL parsers cut off what follows an unencoded `#` and take the last of two secrets.

use std::borrow::Cow;

use strongroom_proto::method::account::{DIGITS_MAX, DIGITS_MIN, PERIOD_S_MAX, STEAM_DIGITS};
use strongroom_proto::words::{Algorithm, OtpKind};
use zeroize::Zeroizing;

use super::problem::{Field, Note, Problem};
use super::text::{has_stray_percent, name, percent_decode};
use super::{Candidate, DIGITS_DEFAULT, PERIOD_S_DEFAULT, base32};

/// Parses one URI.
pub(super) fn parse(line: &str, line_number: usize) -> Result<Candidate, Problem> {
    let mut notes = Vec::new();
    let (scheme, rest) = line.split_once("://").ok_or(Problem::NotOtpauth)?;
    match scheme.to_ascii_lowercase().as_str() {
        "otpauth" => {}
        "steam" => return parse_steam_scheme(rest, line_number),
        "otpauth-migration" => return Err(Problem::Migration),
        _ => return Err(Problem::NotOtpauth),
    }
    let (path, query) = split_query(rest, &mut notes);
    let (type_name, label) = path.split_once('/').unwrap_or((path, ""));
    let stated_kind: OtpKind = type_name.to_ascii_lowercase().parse().map_err(|_| Problem::UnknownType)?;
    if scheme != "otpauth" || type_name != stated_kind.as_str() {
        notes.push(Note::FoldedCase);
    }

    let parameters = Parameters::read(query, &mut notes)?;
    let secret = percent_decode(parameters.secret.ok_or(Problem::MissingSecret)?)?;
    let seed = base32::decode(&secret, &mut notes)?;
    let (issuer, label) = names(label, parameters.issuer.as_deref(), &mut notes)?;
    refuse_secret_in_names(&secret, &issuer, &label)?;

    let kind = kind(stated_kind, &issuer, parameters.encoder, &mut notes);
    Ok(Candidate {
        line: line_number,
        algorithm: algorithm(kind, parameters.algorithm, &mut notes)?,
        digits: digits(kind, parameters.digits, &mut notes)?,
        period_s: period_s(kind, parameters.period, &mut notes)?,
        counter: counter(kind, parameters.counter)?,
        issuer,
        label,
        kind,
        seed,
        notes,
    })
}

/// `steam://SECRET`, as Steam's own tools and Bitwarden write it.
fn parse_steam_scheme(secret: &str, line_number: usize) -> Result<Candidate, Problem> {
    let mut notes = vec![Note::Steam];
    let secret = percent_decode(secret.trim_end_matches('/'))?;
    Ok(Candidate {
        line: line_number,
        issuer: "Steam".to_owned(),
        label: String::new(),
        kind: OtpKind::Steam,
        algorithm: Algorithm::Sha1,
        digits: STEAM_DIGITS,
        period_s: PERIOD_S_DEFAULT,
        counter: 0,
        seed: base32::decode(&secret, &mut notes)?,
        notes,
    })
}

/// Splits at the `?` that begins the parameters: the first one that a known name follows, so that a label may hold one.
fn split_query<'a>(rest: &'a str, notes: &mut Vec<Note>) -> (&'a str, &'a str) {
    let begins_query = |&(place, _): &(usize, &str)| {
        let after = rest.get(place + 1..).unwrap_or_default();
        let name_end = after.find(['=', '&']).unwrap_or(after.len());
        after.get(..name_end).is_some_and(is_known)
    };
    let place = rest.match_indices('?').find(begins_query).map(|(place, _)| place).or_else(|| rest.find('?'));
    let (path, query) = match place {
        Some(place) => (rest.get(..place).unwrap_or_default(), rest.get(place + 1..).unwrap_or_default()),
        None => (rest, ""),
    };
    if path.contains(['#', '?', '&']) || has_stray_percent(path) {
        note(notes, Note::Unencoded);
    }
    (path, query)
}

fn is_known(parameter: &str) -> bool {
    let parameter = parameter.to_ascii_lowercase();
    field(&parameter).is_some() || parameter == "image"
}

fn field(parameter: &str) -> Option<Field> {
    Some(match parameter {
        "secret" => Field::Secret,
        "issuer" => Field::Issuer,
        "algorithm" => Field::Algorithm,
        "digits" => Field::Digits,
        "period" => Field::Period,
        "counter" => Field::Counter,
        "encoder" => Field::Encoder,
        _ => return None,
    })
}

/// The raw values of the parameters; empty ones are absent, except the secret's.
#[derive(Default)]
struct Parameters<'a> {
    secret: Option<&'a str>,
    issuer: Option<Cow<'a, str>>,
    algorithm: Option<&'a str>,
    digits: Option<&'a str>,
    period: Option<&'a str>,
    counter: Option<&'a str>,
    encoder: Option<&'a str>,
}

impl<'a> Parameters<'a> {
    fn read(query: &'a str, notes: &mut Vec<Note>) -> Result<Self, Problem> {
        let mut parameters = Self::default();
        let mut seen = Vec::new();
        let mut unknown_count = 0;
        let mut last = None;
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (raw_name, value) = part.split_once('=').map_or((part, None), |(name, value)| (name, Some(value)));
            let mut lower = raw_name.to_ascii_lowercase();
            if let Some(stripped) = lower.strip_prefix("amp;") {
                note(notes, Note::HtmlEscapes);
                lower = stripped.to_owned();
            } else if lower != raw_name && is_known(&lower) {
                note(notes, Note::FoldedCase);
            }
            match field(&lower) {
                Some(known) => {
                    parameters.take(known, value.unwrap_or_default().trim(), &mut seen, notes)?;
                    last = Some(known);
                }
                // `issuer=AT&T`: a piece without `=` right behind the issuer is the rest of a name.
                None if value.is_none() && last == Some(Field::Issuer) => parameters.extend_issuer(part, notes),
                None if lower == "image" => note(notes, Note::ImageDropped),
                None => {
                    unknown_count += 1;
                    last = None;
                }
            }
        }
        if unknown_count > 0 {
            notes.push(Note::UnknownParameters { count: unknown_count });
        }
        Ok(parameters)
    }

    fn take(
        &mut self,
        field: Field,
        value: &'a str,
        seen: &mut Vec<(Field, &'a str)>,
        notes: &mut Vec<Note>,
    ) -> Result<(), Problem> {
        match seen.iter().find(|(earlier, _)| *earlier == field) {
            // Two secrets are refused even if equal: nobody writes that on purpose.
            Some((_, earlier)) if field == Field::Secret || *earlier != value => return Err(Problem::Repeated(field)),
            Some(_) => return Ok(()),
            None => seen.push((field, value)),
        }
        if value.is_empty() && field != Field::Secret {
            note(notes, Note::Empty(field));
            return Ok(());
        }
        match field {
            Field::Secret => self.secret = Some(value),
            Field::Issuer => self.issuer = Some(Cow::Borrowed(value)),
            Field::Algorithm => self.algorithm = Some(value),
            Field::Digits => self.digits = Some(value),
            Field::Period => self.period = Some(value),
            Field::Counter => self.counter = Some(value),
            Field::Encoder => self.encoder = Some(value),
        }
        Ok(())
    }

    fn extend_issuer(&mut self, piece: &str, notes: &mut Vec<Note>) {
        if let Some(issuer) = &mut self.issuer {
            *issuer = Cow::Owned(format!("{issuer}&{piece}"));
            note(notes, Note::Unencoded);
        }
    }
}

/// Settles issuer and label from `Issuer:label` and `issuer=`. The parameter wins, as the format's own page asks.
fn names(path: &str, issuer: Option<&str>, notes: &mut Vec<Note>) -> Result<(String, String), Problem> {
    let issuer = match issuer {
        Some(raw) => {
            if raw.contains('#') || has_stray_percent(raw) {
                note(notes, Note::Unencoded);
            }
            name(&percent_decode(&spaces(raw, notes))?)?
        }
        None => String::new(),
    };
    let path = percent_decode(path)?;
    let Some((first, rest)) = path.split_once(':') else { return Ok((issuer, name(&path)?)) };
    let prefix = name(&spaces(first, notes))?;
    let mut label = rest.trim_start();
    while let Some(shorter) = without_prefix(label, &prefix) {
        note(notes, Note::RepeatedIssuer);
        label = shorter;
    }
    let label = name(label)?;
    if issuer.is_empty() {
        return Ok((prefix, label));
    }
    if !prefix.is_empty() && prefix.to_lowercase() != issuer.to_lowercase() {
        notes.push(Note::IssuerMismatch { label_issuer: prefix });
    }
    Ok((issuer, label))
}

/// What follows when a label begins with its issuer again (`Gitea:Gitea:bob`) or with another colon (`Gitea::bob`).
fn without_prefix<'a>(label: &'a str, issuer: &str) -> Option<&'a str> {
    let rest = label.strip_prefix(':').or_else(|| label.strip_prefix(issuer)?.strip_prefix(':'))?;
    Some(rest.trim_start())
}

/// Form encoding writes `+` for a space; only issuers are treated so, because `bob+tag@example.com` is a real login.
fn spaces<'a>(issuer: &'a str, notes: &mut Vec<Note>) -> Cow<'a, str> {
    if !issuer.trim().contains('+') || issuer.contains(' ') {
        return Cow::Borrowed(issuer);
    }
    note(notes, Note::PlusAsSpace);
    Cow::Owned(issuer.replace('+', " "))
}

/// Names are shown to everybody with a grant; a seed in one of them would be given to all.
fn refuse_secret_in_names(secret: &str, issuer: &str, label: &str) -> Result<(), Problem> {
    let bare = |text: &str| -> Zeroizing<String> {
        Zeroizing::new(text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect())
    };
    let secret = bare(secret);
    if bare(issuer).contains(secret.as_str()) || bare(label).contains(secret.as_str()) {
        Err(Problem::SecretInName)
    } else {
        Ok(())
    }
}

fn kind(stated: OtpKind, issuer: &str, encoder: Option<&str>, notes: &mut Vec<Note>) -> OtpKind {
    let steam =
        encoder.is_some_and(|encoder| encoder.eq_ignore_ascii_case("steam")) || issuer.eq_ignore_ascii_case("steam");
    if stated == OtpKind::Totp && steam {
        notes.push(Note::Steam);
        OtpKind::Steam
    } else {
        stated
    }
}

fn algorithm(kind: OtpKind, value: Option<&str>, notes: &mut Vec<Note>) -> Result<Algorithm, Problem> {
    let Some(value) = value else {
        notes.push(Note::Defaulted(Field::Algorithm));
        return Ok(Algorithm::Sha1);
    };
    let folded: String = value.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_uppercase();
    let word = folded.strip_prefix("HMAC").unwrap_or(&folded);
    let algorithm: Algorithm = word.parse().map_err(|_| Problem::Algorithm)?;
    if value != algorithm.as_str() {
        notes.push(Note::AlgorithmSpelling);
    }
    if kind == OtpKind::Steam && algorithm != Algorithm::Sha1 {
        return Err(Problem::SteamAlgorithm);
    }
    Ok(algorithm)
}

fn digits(kind: OtpKind, value: Option<&str>, notes: &mut Vec<Note>) -> Result<u8, Problem> {
    let stated = value.map(|value| value.parse::<u8>().map_err(|_| Problem::Digits)).transpose()?;
    match (kind, stated) {
        (OtpKind::Steam, None | Some(STEAM_DIGITS)) => Ok(STEAM_DIGITS),
        (OtpKind::Steam, Some(_)) => {
            notes.push(Note::SteamDigits);
            Ok(STEAM_DIGITS)
        }
        (_, None) => {
            notes.push(Note::Defaulted(Field::Digits));
            Ok(DIGITS_DEFAULT)
        }
        (_, Some(digits @ DIGITS_MIN..=DIGITS_MAX)) => Ok(digits),
        (_, Some(_)) => Err(Problem::Digits),
    }
}

fn period_s(kind: OtpKind, value: Option<&str>, notes: &mut Vec<Note>) -> Result<u32, Problem> {
    match (kind, value) {
        (OtpKind::Hotp, _) => Ok(0),
        (_, None) => {
            notes.push(Note::Defaulted(Field::Period));
            Ok(PERIOD_S_DEFAULT)
        }
        (_, Some(value)) => {
            value.parse().ok().filter(|period| (1..=PERIOD_S_MAX).contains(period)).ok_or(Problem::Period)
        }
    }
}

fn counter(kind: OtpKind, value: Option<&str>) -> Result<u64, Problem> {
    match (kind, value) {
        (OtpKind::Hotp, Some(value)) => value.parse().map_err(|_| Problem::Counter),
        (OtpKind::Hotp, None) => Err(Problem::MissingCounter),
        // Some exporters write counter=0 for every kind.
        _ => Ok(0),
    }
}

fn note(notes: &mut Vec<Note>, note: Note) {
    if !notes.contains(&note) {
        notes.push(note);
    }
}

#[cfg(test)]
#[path = "otpauth_tests.rs"]
mod tests;
