//! Every trap that was met in the wild, by name, and the properties that hold for any input.

use proptest::prelude::*;
use strongroom_proto::words::{Algorithm, OtpKind};

use crate::import::{
    Candidate, FileProblem, Note, Problem, derive_slugs, parse_otpauth,
    problem::Field::{Algorithm as AlgorithmField, Counter, Digits, Issuer, Period, Secret},
};

const SEED: &[u8] = b"12345678901234567890";
const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
/// Ends every URI of the tables whose defaults are not the point.
const FULL: &str = "algorithm=SHA1&digits=6&period=30";

fn one(uri: &str) -> Result<Candidate, Problem> {
    let mut rows = parse_otpauth(uri.as_bytes()).unwrap().rows;
    assert_eq!(rows.len(), 1, "{uri}");
    rows.remove(0).map_err(|row| row.problem)
}

/// Reads a URI that must give the RFC 6238 seed; the issuer, the label and the notes.
fn names(uri: &str) -> (String, String, Vec<Note>) {
    let candidate = one(uri).map_err(|problem| format!("{uri}: {problem}")).unwrap();
    assert_eq!(candidate.seed.as_slice(), SEED, "{uri}");
    (candidate.issuer, candidate.label, candidate.notes)
}

#[test]
fn traps_of_issuer_and_label_are_repaired() {
    let mismatch = |issuer: &str| Note::IssuerMismatch { label_issuer: issuer.into() };
    let table: &[(&str, &str, &str, &str, &[Note])] = &[
        ("plain", "totp/ACME:bob?issuer=ACME&", "ACME", "bob", &[]),
        ("issuer only in the label", "totp/ACME:bob?", "ACME", "bob", &[]),
        ("issuer only in the query", "totp/bob?issuer=ACME&", "ACME", "bob", &[]),
        ("no issuer at all", "totp/bob?", "", "bob", &[]),
        ("no label at all", "totp?issuer=ACME&", "ACME", "", &[]),
        ("encoded space after the colon", "totp/ACME:%20bob?issuer=ACME&", "ACME", "bob", &[]),
        ("raw space after the colon", "totp/ACME: bob?issuer=ACME&", "ACME", "bob", &[]),
        ("encoded colon", "totp/ACME%3Abob?", "ACME", "bob", &[]),
        ("empty issuer, none in the label", "totp/bob?issuer=&", "", "bob", &[Note::Empty(Issuer)]),
        ("empty issuer, one in the label", "totp/ACME:bob?issuer=&", "ACME", "bob", &[Note::Empty(Issuer)]),
        ("bare issuer", "totp/ACME:bob?issuer&", "ACME", "bob", &[Note::Empty(Issuer)]),
        ("plus in the query", "totp/bob?issuer=My+Co&", "My Co", "bob", &[Note::PlusAsSpace]),
        ("plus in label and query", "totp/My+Co:bob?issuer=My+Co&", "My Co", "bob", &[Note::PlusAsSpace]),
        ("plus in the label only", "totp/My+Co:bob?", "My Co", "bob", &[Note::PlusAsSpace]),
        ("plus address", "totp/ACME:bob+tag@x.example?", "ACME", "bob+tag@x.example", &[]),
        ("encoded plus", "totp/x?issuer=A%2BB&", "A+B", "x", &[]),
        ("issuers differ", "totp/GitHub:bob?issuer=github.com&", "github.com", "bob", &[mismatch("GitHub")]),
        ("issuers differ in case only", "totp/github:bob?issuer=GitHub&", "GitHub", "bob", &[]),
        ("unencoded hash in the label", "totp/ACME:bob#1?issuer=ACME&", "ACME", "bob#1", &[Note::Unencoded]),
        ("unencoded hash in the issuer", "totp/bob?issuer=A#1&", "A#1", "bob", &[Note::Unencoded]),
        ("unencoded question mark", "totp/who?me?issuer=ACME&", "ACME", "who?me", &[Note::Unencoded]),
        ("unencoded ampersand in the label", "totp/R&D:bob?", "R&D", "bob", &[Note::Unencoded]),
        ("unencoded ampersand in the issuer", "totp/bob?issuer=AT&T&", "AT&T", "bob", &[Note::Unencoded]),
        ("stray percent", "totp/100%:bob?", "100%", "bob", &[Note::Unencoded]),
        ("double issuer", "totp/Gitea:Gitea:bob?issuer=Gitea&", "Gitea", "bob", &[Note::RepeatedIssuer]),
        ("double colon", "totp/Gitea::bob?", "Gitea", "bob", &[Note::RepeatedIssuer]),
        ("colon in the account", "totp/ACME:host:8443?issuer=ACME&", "ACME", "host:8443", &[]),
        ("raw UTF-8", "totp/東京:山田?", "東京", "山田", &[]),
        ("slash in the label", "totp/ACME:a/b?", "ACME", "a/b", &[]),
        ("shouting", "TOTP/ACME:bob?", "ACME", "bob", &[Note::FoldedCase]),
        ("HTML escapes", "totp/bob?issuer=ACME&amp;", "ACME", "bob", &[Note::HtmlEscapes]),
        ("image", "totp/bob?image=http://10.0.0.1/&", "", "bob", &[Note::ImageDropped]),
        ("unknown parameters", "totp/bob?a=1&b&", "", "bob", &[Note::UnknownParameters { count: 2 }]),
    ];
    for (name, uri, issuer, label, notes) in table {
        let found = names(&format!("otpauth://{uri}secret={SECRET}&{FULL}"));
        assert_eq!(found, ((*issuer).into(), (*label).into(), notes.to_vec()), "{name}");
    }
    let found = names(&format!("OTPAUTH://TOTP/bob?Secret={SECRET}&{FULL}"));
    assert_eq!(found, (String::new(), "bob".into(), vec![Note::FoldedCase]));
}

#[test]
fn traps_of_the_secret_are_repaired() {
    let spaced = "gezd gnbv gy3t qojq gezd gnbv gy3t qojq";
    let table: &[(&str, String, &[Note])] = &[
        ("plain", SECRET.into(), &[]),
        ("padding", format!("{SECRET}===="), &[Note::Padding]),
        ("encoded padding", format!("{SECRET}%3D%3d"), &[Note::Padding]),
        ("lower case", SECRET.to_lowercase(), &[Note::LowerCase]),
        ("spaces", spaced.into(), &[Note::LowerCase, Note::Separators]),
        ("encoded spaces", spaced.replace(' ', "%20"), &[Note::LowerCase, Note::Separators]),
        ("plus signs", spaced.replace(' ', "+").to_uppercase(), &[Note::Separators]),
        ("dashes", spaced.replace(' ', "-").to_uppercase(), &[Note::Separators]),
    ];
    for (name, secret, notes) in table {
        let found = names(&format!("otpauth://totp/bob?secret={secret}&{FULL}"));
        assert_eq!(found.2, *notes, "{name}");
    }
}

#[test]
fn traps_of_the_parameters_are_repaired() {
    let spelling = &[Note::AlgorithmSpelling];
    let table: &[(&str, Algorithm, u8, u32, &[Note])] = &[
        ("algorithm=SHA256&digits=8&period=60", Algorithm::Sha256, 8, 60, &[]),
        ("algorithm=SHA512&digits=10&period=1", Algorithm::Sha512, 10, 1, &[]),
        ("algorithm=SHA-256&digits=6&period=86400", Algorithm::Sha256, 6, 86_400, spelling),
        ("algorithm=HmacSHA1&digits=6&period=30", Algorithm::Sha1, 6, 30, spelling),
        ("algorithm=sha256&digits=6&period=30", Algorithm::Sha256, 6, 30, spelling),
        ("algorithm=HMAC-SHA-512&digits=6&period=30", Algorithm::Sha512, 6, 30, spelling),
        (
            "algorithm=&digits=&period=",
            Algorithm::Sha1,
            6,
            30,
            &[
                Note::Empty(AlgorithmField),
                Note::Empty(Digits),
                Note::Empty(Period),
                Note::Defaulted(AlgorithmField),
                Note::Defaulted(Digits),
                Note::Defaulted(Period),
            ],
        ),
        (
            "",
            Algorithm::Sha1,
            6,
            30,
            &[Note::Defaulted(AlgorithmField), Note::Defaulted(Digits), Note::Defaulted(Period)],
        ),
    ];
    for (parameters, algorithm, digits, period_s, notes) in table {
        let found = one(&format!("otpauth://totp/bob?secret={SECRET}&{parameters}")).ok().unwrap();
        assert_eq!((found.algorithm, found.digits, found.period_s), (*algorithm, *digits, *period_s), "{parameters}");
        assert_eq!(found.notes, *notes, "{parameters}");
    }
}

#[test]
fn steam_is_recognised_in_every_dress() {
    for uri in [
        format!("steam://{SECRET}"),
        format!("otpauth://steam/bob?secret={SECRET}"),
        format!("otpauth://totp/Steam:bob?secret={SECRET}"),
        format!("otpauth://totp/Steam%3Abob?secret={SECRET}"),
        format!("otpauth://totp/bob?secret={SECRET}&issuer=steam"),
        format!("otpauth://totp/bob?secret={SECRET}&encoder=steam&digits=6"),
        format!("otpauth://totp/Steam:bob?secret={SECRET}&digits=5&period=30&algorithm=SHA1"),
    ] {
        let found = one(&uri).ok().unwrap();
        assert_eq!((found.kind, found.digits, found.period_s), (OtpKind::Steam, 5, 30), "{uri}");
        assert_eq!(found.seed.as_slice(), SEED, "{uri}");
    }
}

#[test]
fn hotp_keeps_its_counter() {
    let found = one(&format!("otpauth://hotp/ACME:bob?secret={SECRET}&counter=41&period=30&{FULL}"));
    // Period stands twice with the same value: harmless.
    let found = found.ok().unwrap();
    assert_eq!((found.kind, found.counter, found.period_s), (OtpKind::Hotp, 41, 0));
}

#[test]
fn what_is_unsafe_is_refused() {
    let other = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";
    let table: &[(&str, String, Problem)] = &[
        ("two secrets", format!("totp/b?secret={SECRET}&secret={other}"), Problem::Repeated(Secret)),
        ("one secret twice", format!("totp/b?secret={SECRET}&Secret={SECRET}"), Problem::Repeated(Secret)),
        ("empty secret", "totp/b?secret=&digits=6".into(), Problem::EmptySecret),
        ("only padding", "totp/b?secret=====".into(), Problem::EmptySecret),
        ("missing secret", "totp/b?issuer=ACME".into(), Problem::MissingSecret),
        ("missing query", "totp/b".into(), Problem::MissingSecret),
        ("a zero", "totp/b?secret=GEZDGNB0GY3TQOJQ".into(), Problem::SecretCharacter { position: 8 }),
        ("a stray percent", "totp/b?secret=GEZDGNB%zzGY3TQOJQ".into(), Problem::SecretCharacter { position: 8 }),
        ("27 characters", format!("totp/b?secret={}", &SECRET[..27]), Problem::SecretLength),
        ("trailing bits", format!("totp/b?secret={}B", &SECRET[..25]), Problem::SecretTail),
        ("9 bytes", "totp/b?secret=GEZDGNBVGY3TQOI".into(), Problem::SecretTooShort),
        ("257 bytes", format!("totp/b?secret={}AAAA", "AAAAAAAA".repeat(51)), Problem::SecretTooLong),
        ("5 digits", format!("totp/b?secret={SECRET}&digits=5"), Problem::Digits),
        ("11 digits", format!("totp/b?secret={SECRET}&digits=11"), Problem::Digits),
        ("no digits", format!("totp/b?secret={SECRET}&digits=six"), Problem::Digits),
        ("a fragment", format!("totp/b?secret={SECRET}&digits=6#x"), Problem::Digits),
        ("digits twice", format!("totp/b?secret={SECRET}&digits=6&digits=8"), Problem::Repeated(Digits)),
        ("period 0", format!("totp/b?secret={SECRET}&period=0"), Problem::Period),
        ("period of two days", format!("totp/b?secret={SECRET}&period=172800"), Problem::Period),
        ("endless period", format!("totp/b?secret={SECRET}&period=18446744073709551615"), Problem::Period),
        ("MD5", format!("totp/b?secret={SECRET}&algorithm=MD5"), Problem::Algorithm),
        ("Steam with SHA256", format!("steam/b?secret={SECRET}&algorithm=SHA256"), Problem::SteamAlgorithm),
        ("HOTP without counter", format!("hotp/b?secret={SECRET}"), Problem::MissingCounter),
        ("HOTP with empty counter", format!("hotp/b?secret={SECRET}&counter="), Problem::MissingCounter),
        ("negative counter", format!("hotp/b?secret={SECRET}&counter=-1"), Problem::Counter),
        ("counter twice", format!("hotp/b?secret={SECRET}&counter=1&counter=2"), Problem::Repeated(Counter)),
        ("encoded bytes that are no UTF-8", format!("totp/%ff?secret={SECRET}"), Problem::NotUtf8),
        ("encoded line feed", format!("totp/a%0Ab?secret={SECRET}"), Problem::NameCharacter),
        ("escape sequence", format!("totp/a?secret={SECRET}&issuer=%1B[2J"), Problem::NameCharacter),
        ("right-to-left override", format!("totp/a%E2%80%AEb?secret={SECRET}"), Problem::NameCharacter),
        ("long label", format!("totp/{}?secret={SECRET}", "a".repeat(201)), Problem::NameTooLong),
        ("secret as label", format!("totp/{SECRET}?secret={SECRET}"), Problem::SecretInName),
        ("unknown type", format!("motp/b?secret={SECRET}"), Problem::UnknownType),
        ("long line", format!("totp/b?secret={SECRET}&x={}", "y".repeat(4096)), Problem::LineTooLong),
    ];
    for (name, uri, expected) in table {
        assert_eq!(one(&format!("otpauth://{uri}")).err().as_ref(), Some(expected), "{name}");
    }
    assert_eq!(one("otpauth-migration://offline?data=AAAA").err(), Some(Problem::Migration));
    assert_eq!(one("https://example.com/?secret=x").err(), Some(Problem::NotOtpauth));
    assert_eq!(one("GEZDGNBVGY3TQOJQ").err(), Some(Problem::NotOtpauth));
}

#[test]
fn a_file_is_read_line_by_line() {
    let other = SECRET.replace('G', "H");
    let text = format!(
        "\u{feff}otpauth://totp/A:a?secret={SECRET}\r\n\r\n# a comment\r\n  otpauth://totp/B:b?secret={other}  \n\
         nonsense\notpauth://totp/C:c?secret={SECRET}&issuer=C\n"
    );
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(b"\xff\xfe\n");
    let parsed = parse_otpauth(&bytes).unwrap();
    let read: Vec<_> = parsed.candidates().map(|row| (row.line, row.issuer.as_str())).collect();
    assert_eq!(read, [(1, "A"), (4, "B")]);
    let problems: Vec<_> = parsed.problems().map(|row| (row.line, row.problem.clone())).collect();
    let expected = [(5, Problem::NotOtpauth), (6, Problem::Duplicate { of: 1 }), (7, Problem::NotUtf8)];
    assert_eq!(problems, expected);
}

#[test]
fn the_same_secret_with_other_parameters_is_no_duplicate() {
    let text = format!("otpauth://totp/a?secret={SECRET}\notpauth://totp/a?secret={SECRET}&digits=8\n");
    assert_eq!(parse_otpauth(text.as_bytes()).unwrap().candidates().count(), 2);
}

#[test]
fn files_over_a_limit_are_refused_whole() {
    assert_eq!(parse_otpauth(&vec![b'#'; 1024 * 1024 + 1]).err(), Some(FileProblem::TooLong));
    assert!(parse_otpauth(&vec![b'#'; 1024 * 1024]).is_ok());
    assert_eq!(parse_otpauth(&b"x\n".repeat(10_001)).err(), Some(FileProblem::TooManyRows));
    assert!(parse_otpauth(&b"x\n".repeat(10_000)).is_ok());
}

#[test]
fn what_totp_rs_writes_is_read_back() {
    for (algorithm, ours) in [
        (totp_rs::Algorithm::SHA1, Algorithm::Sha1),
        (totp_rs::Algorithm::SHA256, Algorithm::Sha256),
        (totp_rs::Algorithm::SHA512, Algorithm::Sha512),
    ] {
        for (digits, period_s, issuer, label) in
            [(6, 30, "Big Corp & Sons: #1", "bob@acme.example"), (8, 60, "東京光学", "山田 太郎"), (7, 15, "A", "b")]
        {
            let issuer = issuer.replace(':', "");
            let url = totp_rs::Builder::new()
                .with_algorithm(algorithm)
                .with_digits(digits)
                .with_step_duration(period_s)
                .with_secret(SEED.to_vec())
                .with_issuer(Some(issuer.clone()))
                .with_account_name(label.to_owned())
                .build()
                .unwrap()
                .to_url()
                .unwrap();
            let found = one(&url).ok().unwrap();
            assert_eq!(found.seed.as_slice(), SEED);
            assert_eq!((found.issuer.as_str(), found.label.as_str()), (issuer.as_str(), label));
            assert_eq!(found.algorithm, ours);
            assert_eq!((u64::from(found.period_s), u32::from(found.digits)), (period_s, u32::from(digits)));
        }
    }
}

/// Everything that a person could see of a file: notes, names, slugs and problems.
fn visible(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let Ok(parsed) = parse_otpauth(bytes) else { return String::new() };
    let mut text = String::new();
    for problem in parsed.problems() {
        write!(text, "{problem} {problem:?} ").unwrap();
    }
    for row in parsed.candidates() {
        write!(text, "{} {} ", row.issuer, row.label).unwrap();
        for note in &row.notes {
            write!(text, "{note} {note:?} ").unwrap();
        }
    }
    for slug in derive_slugs(parsed.candidates().map(|row| (row.issuer.as_str(), row.label.as_str()))) {
        write!(text, "{slug} ").unwrap();
    }
    text
}

proptest! {
    #[test]
    fn no_input_makes_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        visible(&bytes);
    }

    #[test]
    fn no_uri_makes_the_parser_panic(rest in "(totp|hotp|steam)?[/?&=:%#+a-zA-Z0-9 \u{e9}\u{202e}]{0,80}(secret|issuer|digits|period|counter|algorithm|amp;)?=?[A-Z2-9%=&]{0,40}") {
        visible(format!("otpauth://{rest}").as_bytes());
    }

    #[test]
    fn no_message_echoes_the_secret(
        secret in "[A-Za-z2-9]{16,40}",
        before in "(issuer=A&|issuer&|x&|image=&|secret=MFRGGZDFMZTWQ2LK&)?",
        after in "(&digits=[0-9]{1,2}|&period=x|&algorithm=MD5|&AAAA|#x|%ff|%0a|=|&secret=A)?",
    ) {
        let uri = format!("otpauth://totp/Acme:bob?{before}secret={secret}{after}");
        let text = visible(uri.as_bytes()).to_lowercase();
        prop_assert!(!text.contains(&secret.to_lowercase()[..16]), "{}", text);
    }

    #[test]
    fn what_is_read_is_within_the_limits(rest in "[/?&=:A-Z2-7]{0,30}secret=[A-Z2-7]{10,60}&digits=[0-9]{1,2}&period=[0-9]{1,6}") {
        if let Ok(row) = one(&format!("otpauth://totp/{rest}")) {
            prop_assert!((6..=10).contains(&row.digits) || row.kind == OtpKind::Steam);
            prop_assert!((1..=86_400).contains(&row.period_s));
            prop_assert!((10..=256).contains(&row.seed.len()));
            prop_assert!(row.issuer.len() <= 200 && row.label.len() <= 200);
        }
    }
}
