//! What is said about a row: repairs and refusals. No text here ever holds any part of a secret, not even the one
//! character that is wrong: terminals, tickets and screenshots keep what they see.

use std::fmt;

/// Why a whole file is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileProblem {
    /// Longer than [`super::FILE_LEN_MAX`].
    #[error("the file is longer than 1 MiB")]
    TooLong,
    /// More rows than [`super::ROWS_MAX`].
    #[error("the file has more than 10,000 rows")]
    TooManyRows,
}

/// A row that is not imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct RowProblem {
    /// The line, from 1.
    pub line: usize,
    /// Why.
    pub problem: Problem,
}

/// A parameter of a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `secret`
    Secret,
    /// `issuer`
    Issuer,
    /// `algorithm`
    Algorithm,
    /// `digits`
    Digits,
    /// `period`
    Period,
    /// `counter`
    Counter,
    /// `encoder`
    Encoder,
}

impl fmt::Display for Field {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Secret => "secret",
            Self::Issuer => "issuer",
            Self::Algorithm => "algorithm",
            Self::Digits => "digits",
            Self::Period => "period",
            Self::Counter => "counter",
            Self::Encoder => "encoder",
        })
    }
}

/// Why a row is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Longer than [`super::LINE_LEN_MAX`].
    #[error("the line is longer than 4 KiB")]
    LineTooLong,
    /// The line, or a text that its percent signs encode, is no UTF-8.
    #[error("the text is not UTF-8")]
    NotUtf8,
    /// Neither `otpauth://` nor `steam://`.
    #[error("this is no otpauth:// URI")]
    NotOtpauth,
    /// Google Authenticator's own transfer format.
    #[error("this is a Google Authenticator transfer code (otpauth-migration); export the accounts one by one")]
    Migration,
    /// Neither totp, hotp nor steam.
    #[error("the type after otpauth:// is none of totp, hotp, steam")]
    UnknownType,
    /// No `secret=`.
    #[error("there is no secret")]
    MissingSecret,
    /// `secret=` without a value.
    #[error("the secret is empty")]
    EmptySecret,
    /// The same parameter with two values.
    #[error("{0} is given twice, so it is unclear which one is right")]
    Repeated(Field),
    /// A character that base32 does not have; 0, 1, 8 and 9 are the usual typing errors.
    #[error("character {position} of the secret is not base32 (A to Z and 2 to 7; 0, 1, 8 and 9 do not occur)")]
    SecretCharacter {
        /// From 1, blanks and dashes not counted.
        position: usize,
    },
    /// No bytes encode to this many characters: something is missing.
    #[error("the secret has an impossible length for base32: a character is missing or too many")]
    SecretLength,
    /// The last character carries bits that belong to no byte: it was mistyped or something was cut off.
    #[error("the end of the secret is not valid base32: it was mistyped or cut off")]
    SecretTail,
    /// Shorter than the agent takes.
    #[error("the secret is shorter than 80 bits")]
    SecretTooShort,
    /// Longer than the agent takes.
    #[error("the secret is longer than 256 bytes")]
    SecretTooLong,
    /// The secret stands in the issuer or the label too, where everybody would read it.
    #[error("the issuer or the label holds the secret")]
    SecretInName,
    /// A hash that OTPs do not use.
    #[error("the algorithm is none of SHA1, SHA256, SHA512")]
    Algorithm,
    /// Steam has only one.
    #[error("Steam codes are made with SHA1 only")]
    SteamAlgorithm,
    /// No number, or outside 6 to 10.
    #[error("digits must be 6 to 10")]
    Digits,
    /// No number, or outside 1 to 86,400.
    #[error("the period must be 1 to 86400 seconds")]
    Period,
    /// No number.
    #[error("the counter is no whole number")]
    Counter,
    /// HOTP without `counter=`: a guessed one would give codes that the server refuses, or has seen.
    #[error("an HOTP account needs counter=, the next counter of its key; it cannot be guessed")]
    MissingCounter,
    /// A control character or a mark that turns the direction of writing: it could forge what a terminal shows.
    #[error("the issuer or the label holds control characters")]
    NameCharacter,
    /// Longer than [`super::NAME_LEN_MAX`].
    #[error("the issuer or the label is longer than 200 bytes")]
    NameTooLong,
    /// The same seed with the same parameters stood there before.
    #[error("this is the same secret as on line {of}")]
    Duplicate {
        /// The line of the first.
        of: usize,
    },
}

/// What was repaired in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Missing: the default of the format was taken.
    Defaulted(Field),
    /// There, but empty: treated as missing.
    Empty(Field),
    /// `=` at the end of the secret.
    Padding,
    /// Lower-case letters in the secret.
    LowerCase,
    /// Blanks, dashes or plus signs within the secret.
    Separators,
    /// `+` in the issuer read as a space.
    PlusAsSpace,
    /// Scheme, type or parameter names in unusual case.
    FoldedCase,
    /// `#`, `?`, `&` or a stray `%` stood unencoded in a name.
    Unencoded,
    /// `&amp;` instead of `&`.
    HtmlEscapes,
    /// The hash was spelled in another way, for example `HmacSHA1`.
    AlgorithmSpelling,
    /// The issuer stood more than once before the label.
    RepeatedIssuer,
    /// The label's issuer was another one; `issuer=` won.
    IssuerMismatch {
        /// What the label said.
        label_issuer: String,
    },
    /// Read as Steam Guard because of its name or encoder.
    Steam,
    /// Steam codes have five characters, whatever the URI says.
    SteamDigits,
    /// `image=` was dropped; it is never fetched.
    ImageDropped,
    /// Parameters that mean nothing here were left out.
    UnknownParameters {
        /// How many. Their names stay unsaid: one may be a secret in the wrong place.
        count: usize,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sentence = match self {
            Self::Defaulted(Field::Algorithm) => "no algorithm, taken as SHA1",
            Self::Defaulted(Field::Digits) => "no digits, taken as 6",
            Self::Defaulted(Field::Period) => "no period, taken as 30 s",
            Self::Defaulted(field) => return write!(formatter, "no {field}"),
            Self::Empty(field) => return write!(formatter, "empty {field}="),
            Self::Padding => "padding removed from the secret",
            Self::LowerCase => "secret in lower case",
            Self::Separators => "blanks or dashes removed from the secret",
            Self::PlusAsSpace => "+ in the issuer read as a space",
            Self::FoldedCase => "unusual upper or lower case in the URI",
            Self::Unencoded => "unencoded character kept in a name",
            Self::HtmlEscapes => "&amp; read as &",
            Self::AlgorithmSpelling => "unusual spelling of the algorithm",
            Self::RepeatedIssuer => "repeated issuer removed from the label",
            Self::IssuerMismatch { label_issuer } => {
                return write!(formatter, "the label says issuer \"{label_issuer}\"; issuer= was taken");
            }
            Self::Steam => "read as Steam Guard",
            Self::SteamDigits => "Steam codes have 5 characters; digits= left out",
            Self::ImageDropped => "image= left out",
            Self::UnknownParameters { count: 1 } => "1 unknown parameter left out",
            Self::UnknownParameters { count } => return write!(formatter, "{count} unknown parameters left out"),
        };
        formatter.write_str(sentence)
    }
}
