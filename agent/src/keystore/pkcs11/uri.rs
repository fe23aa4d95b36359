//! PKCS #11 URIs (RFC 7512), as far as they choose a token: `pkcs11:token=strongroom;serial=81f2?module-path=/usr/lib/x.so`.
//!
//! Strict where the RFC leaves room: an attribute that is not known, or that names an object instead of a token, is an
//! error, because passing over it could choose another token than was meant. No error repeats a value: it may be a PIN.

use std::path::PathBuf;
use std::str::FromStr;

use super::selector::TokenSelector;

/// Longest URI that is taken, in bytes.
const URI_LEN_MAX: usize = 2048;

/// Which token a URI means, and where its module and PIN are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenUri {
    /// The token.
    pub selector: TokenSelector,
    /// `module-path`.
    pub module: Option<PathBuf>,
    /// The file of `pin-source`.
    pub pin_file: Option<PathBuf>,
}

/// Why a URI cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// It does not start with `pkcs11:`, or is too long.
    #[error("it must start with pkcs11: and have at most {URI_LEN_MAX} bytes")]
    Scheme,
    /// An attribute is not `name=value`, or a character must be percent-encoded there (RFC 7512 §2.3).
    #[error("attribute {place} is not of the form name=value, with everything unusual percent-encoded")]
    Syntax {
        /// Which attribute, from 1.
        place: usize,
    },
    /// An attribute stands there twice.
    #[error("{name} is given twice")]
    Duplicate {
        /// Which one.
        name: String,
    },
    /// An attribute is not known, or stands in the wrong half.
    #[error("{name} is not known here")]
    Unknown {
        /// Which one.
        name: String,
    },
    /// An attribute names an object in the token.
    #[error("{name} names an object, but this must name a token")]
    Object {
        /// Which one.
        name: String,
    },
    /// A PIN stands in the URI, where process lists, logs and backups find it.
    #[error("pin-value is refused: a PIN does not belong into a configuration; use pin-source=file:/path")]
    PinValue,
    /// `pin-source` is no file.
    #[error("pin-source must be file: and an absolute path")]
    PinSource,
    /// A value cannot be what its name says.
    #[error("the value of {name} is unusable")]
    Value {
        /// Of which attribute.
        name: String,
    },
}

impl FromStr for TokenUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        // The scheme knows no case (RFC 3986 §3.1).
        let (scheme, rest) = text.split_at_checked(7).ok_or(UriError::Scheme)?;
        if !scheme.eq_ignore_ascii_case("pkcs11:") || text.len() > URI_LEN_MAX {
            return Err(UriError::Scheme);
        }
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self::default();
        let mut seen = Vec::new();
        // Both halves may be empty (RFC 7512 §2.3), single attributes may not.
        let path = path.split(';').filter(|_| !path.is_empty()).map(|attribute| (attribute, Half::Path));
        let query = query.split('&').filter(|_| !query.is_empty()).map(|attribute| (attribute, Half::Query));
        for (place, (attribute, half)) in (1..).zip(path.chain(query)) {
            let (name, value) = attribute.split_once('=').ok_or(UriError::Syntax { place })?;
            if name.is_empty() || name.len() > 32 || !name.bytes().all(is_name) {
                return Err(UriError::Syntax { place });
            }
            if name == "pin-value" {
                return Err(UriError::PinValue);
            }
            if seen.contains(&name) {
                return Err(UriError::Duplicate { name: name.into() });
            }
            seen.push(name);
            let value = decode(value, half).ok_or(UriError::Syntax { place })?;
            uri.set(half, name, value)?;
        }
        Ok(uri)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Path,
    Query,
}

impl TokenUri {
    fn set(&mut self, half: Half, name: &str, value: Vec<u8>) -> Result<(), UriError> {
        let unusable = || UriError::Value { name: name.into() };
        // All attributes that choose a token are text (RFC 7512 §2.3); a zero byte could cut a path short.
        let text = String::from_utf8(value).ok().filter(|text| !text.contains('\0'));
        let selector = &mut self.selector;
        let slot = match (half, name) {
            (Half::Path, "token") => &mut selector.label,
            (Half::Path, "serial") => &mut selector.serial,
            (Half::Path, "manufacturer") => &mut selector.manufacturer,
            (Half::Path, "model") => &mut selector.model,
            (Half::Path, "slot-manufacturer") => &mut selector.slot_manufacturer,
            (Half::Path, "slot-description") => &mut selector.slot_description,
            (Half::Path, "library-manufacturer") => &mut selector.library_manufacturer,
            (Half::Path, "library-description") => &mut selector.library_description,
            (Half::Path, "library-version") => &mut selector.library_version,
            (Half::Path, "slot-id") => {
                let digits = text.filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
                selector.slot_id = Some(digits.and_then(|digits| digits.parse().ok()).ok_or_else(unusable)?);
                return Ok(());
            }
            (Half::Path, "object" | "type" | "id") => return Err(UriError::Object { name: name.into() }),
            (Half::Query, "module-path") => {
                let path = text.map(PathBuf::from).filter(|path| path.is_absolute());
                self.module = Some(path.ok_or_else(unusable)?);
                return Ok(());
            }
            (Half::Query, "pin-source") => {
                self.pin_file = Some(text.as_deref().and_then(file_of).ok_or(UriError::PinSource)?);
                return Ok(());
            }
            _ => return Err(UriError::Unknown { name: name.into() }),
        };
        *slot = Some(text.ok_or_else(unusable)?);
        Ok(())
    }
}

/// The path of a `file:` URI without a host (RFC 8089 §2).
fn file_of(text: &str) -> Option<PathBuf> {
    let rest = text.strip_prefix("file:")?;
    let path = rest.strip_prefix("//localhost").or_else(|| rest.strip_prefix("//")).unwrap_or(rest);
    Some(PathBuf::from(path)).filter(|path| path.is_absolute())
}

const fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// What may stand for itself in a value: RFC 7512 §2.3, `pk11-pchar` and `pk11-qchar`.
fn is_plain(byte: u8, half: Half) -> bool {
    let either = byte.is_ascii_alphanumeric() || b"-._~:[]@!$'()*+,=".contains(&byte);
    either || if half == Half::Path { byte == b'&' } else { b"/?|".contains(&byte) }
}

/// Undoes the percent-encoding (RFC 3986 §2.1).
fn decode(value: &str, half: Half) -> Option<Vec<u8>> {
    let mut bytes = value.bytes();
    let mut decoded = Vec::with_capacity(value.len());
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => (digit(bytes.next())? << 4) | digit(bytes.next())?,
            plain if is_plain(plain, half) => plain,
            _ => return None,
        });
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<TokenUri, UriError> {
        text.parse()
    }

    fn labelled(label: &str) -> TokenSelector {
        TokenSelector { label: Some(label.into()), ..TokenSelector::default() }
    }

    #[test]
    fn the_rfcs_examples_choose_their_tokens_or_are_refused_for_a_reason() {
        // RFC 7512 §3, in its order.
        let object = |name: &str| Err(UriError::Object { name: name.into() });
        assert_eq!(parse("pkcs11:"), Ok(TokenUri::default()));
        assert_eq!(parse("pkcs11:object=my-pubkey;type=public"), object("object"));
        assert_eq!(parse("pkcs11:object=my-key;type=private?pin-source=file:/etc/token"), object("object"));
        let long = "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;";
        let certificate = "object=my-certificate;type=cert;id=%69%95%3E%5C%F4%BD%EC%91;";
        let rest = "serial=?pin-source=file:/etc/token_pin";
        assert_eq!(parse(&format!("{long}{certificate}{rest}")), object("object"));
        let softtoken = TokenSelector {
            manufacturer: Some("Snake Oil, Inc.".into()),
            model: Some("1.0".into()),
            serial: Some(String::new()),
            ..labelled("The Software PKCS#11 Softtoken")
        };
        let pin_file = Some("/etc/token_pin".into());
        assert_eq!(parse(&format!("{long}{rest}")), Ok(TokenUri { selector: softtoken, module: None, pin_file }));
        assert_eq!(parse("pkcs11:object=my-sign-key;type=private?module-name=mypkcs11"), object("object"));
        let module = parse("pkcs11:token=a?module-path=/mnt/libmypkcs11.so.1").unwrap().module;
        assert_eq!(module, Some("/mnt/libmypkcs11.so.1".into()));
        let with_pin =
            "pkcs11:token=Software%20PKCS%2311%20softtoken;manufacturer=Snake%20Oil,%20Inc.?pin-value=the-pin";
        assert_eq!(parse(with_pin), Err(UriError::PinValue));
        let slot = TokenSelector { slot_description: Some("Sun Metaslot".into()), ..TokenSelector::default() };
        assert_eq!(parse("pkcs11:slot-description=Sun%20Metaslot").unwrap().selector, slot);
        let library = "pkcs11:library-manufacturer=Snake%20Oil,%20Inc.;library-description=Soft%20Token%20Library;library-version=1.23";
        assert_eq!(parse(library).unwrap().selector.library_version.as_deref(), Some("1.23"));
        let delimiters = parse("pkcs11:token=A%20name%20with%20a%20substring%20%25%3B").unwrap();
        assert_eq!(delimiters.selector, labelled("A name with a substring %;"));
        let acute = parse("pkcs11:token=Name%20with%20a%20small%20A%20with%20acute:%20%C3%A1").unwrap();
        assert_eq!(acute.selector, labelled("Name with a small A with acute: á"));
        let vendor =
            parse("pkcs11:token=my-token;vendor-aaa=value-a?pin-source=file:/etc/token_pin&vendor-bbb=value-b");
        assert_eq!(vendor, Err(UriError::Unknown { name: "vendor-aaa".into() }));
    }

    #[test]
    fn what_could_choose_another_token_is_refused() {
        let duplicate = parse("pkcs11:token=a;token=a");
        assert_eq!(duplicate, Err(UriError::Duplicate { name: "token".into() }));
        for wrong in ["", "pkcs11", "pkcs12:token=a", "token=a", "pkcs1é:"] {
            assert_eq!(parse(wrong), Err(UriError::Scheme), "{wrong}");
        }
        assert_eq!(parse(&format!("pkcs11:token={}", "a".repeat(URI_LEN_MAX))), Err(UriError::Scheme));
        for wrong in [
            "pkcs11:token",
            "pkcs11:token=a;",
            "pkcs11:;token=a",
            "pkcs11:token=%",
            "pkcs11:token=%2",
            "pkcs11:token=%ZZ",
            "pkcs11:token=a b",
            "pkcs11:token=a/b",
            "pkcs11:token=á",
            "pkcs11:token=a?&",
            "pkcs11:to%6ben=a",
            "pkcs11:=a",
        ] {
            assert!(matches!(parse(wrong), Err(UriError::Syntax { .. })), "{wrong}: {:?}", parse(wrong));
        }
        for (wrong, name) in [
            ("pkcs11:slot-id=", "slot-id"),
            ("pkcs11:slot-id=-1", "slot-id"),
            ("pkcs11:slot-id=+1", "slot-id"),
            ("pkcs11:slot-id=99999999999999999999", "slot-id"),
            ("pkcs11:token=%FF", "token"),
            ("pkcs11:token=a%00b", "token"),
            ("pkcs11:?module-path=x.so", "module-path"),
        ] {
            assert_eq!(parse(wrong), Err(UriError::Value { name: name.into() }), "{wrong}");
        }
        // Each in its own half only, and a module only by its path.
        for (wrong, name) in [
            ("pkcs11:module-path=/x", "module-path"),
            ("pkcs11:?token=a", "token"),
            ("pkcs11:?module-name=x", "module-name"),
        ] {
            let refused = parse(wrong);
            let half = matches!(&refused, Err(UriError::Unknown { name: found }) if found == name);
            assert!(half || matches!(refused, Err(UriError::Syntax { .. })), "{wrong}: {refused:?}");
        }
    }

    #[test]
    fn a_pin_is_a_file_or_nothing() {
        for good in ["file:/p", "file:///p", "file://localhost/p", "file:%2Fp"] {
            let uri = parse(&format!("pkcs11:?pin-source={good}")).unwrap();
            assert_eq!(uri.pin_file, Some("/p".into()), "{good}");
        }
        for wrong in ["/p", "file:p", "file://host/p", "|/usr/lib/pinomatic", "https:/p", ""] {
            assert_eq!(parse(&format!("pkcs11:?pin-source={wrong}")), Err(UriError::PinSource), "{wrong}");
        }
        for text in
            ["pkcs11:?pin-value=8351", "pkcs11:pin-value=8351", "pkcs11:token=a?pin-source=file:/p&pin-value=8351"]
        {
            let error = parse(text).unwrap_err();
            assert_eq!(error, UriError::PinValue);
            assert!(!format!("{error} {error:?}").contains("8351"));
        }
    }

    proptest! {
        #[test]
        fn any_text_survives_its_encoding(label in "\\PC{0,32}", serial in "\\PC{0,16}", slot in any::<u64>()) {
            let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
            let uri = parse(&format!("PKCS11:serial={};slot-id={slot};token={}", encode(&serial), encode(&label))).unwrap();
            let expected = TokenSelector { serial: Some(serial), slot_id: Some(slot), ..labelled(&label) };
            prop_assert_eq!(uri.selector, expected);
        }

        #[test]
        fn nothing_makes_it_panic_and_no_error_repeats_a_value(text in "(pkcs11:)?[ -~é]{0,60}") {
            let _ = parse(&text);
        }

        #[test]
        fn no_error_repeats_a_value(secret in "[G-Z]{12}", before in "[a-z=;?&%-]{0,12}", after in "[a-z=;?&%-]{0,12}") {
            if let Err(error) = parse(&format!("pkcs11:{before}={secret}{after}")) {
                prop_assert!(!error.to_string().contains(&secret), "{}", error);
            }
        }
    }
}
