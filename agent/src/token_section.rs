//! The configuration's `[token]` and `[second_token]`: a profile, and what is said over it.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use strongroom_proto::words::Scheme;

use crate::keystore::pkcs11::profile::{Counted, ObjectBudget, ProfileError};
use crate::keystore::pkcs11::uri::TokenUri;
use crate::keystore::pkcs11::{TokenConfig, TokenProfile, TokenSelector};
use crate::pin::PinSource;

/// The token's label when nobody says.
const DEFAULT_LABEL: &str = "strongroom";

/// Which token: what the file says, and what comes of it. Two are equal if the same comes of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Section")]
pub struct Token {
    section: Section,
    merged: TokenConfig,
    pin_file: Option<PathBuf>,
}

/// The keys of either section. What is absent is as in the profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Section {
    profile: Option<String>,
    module: Option<PathBuf>,
    label: Option<String>,
    serial: Option<String>,
    uri: Option<String>,
    storage: Option<PathBuf>,
    pin: Option<PinSource>,
    key_budget: Option<u32>,
    object_budget: Option<u32>,
    schemes: Option<Vec<Scheme>>,
    workers: Option<u8>,
    memory_limit_mib: Option<u32>,
    operation_ms: Option<u32>,
    key_generation_ms: Option<u32>,
    hung_after_s: Option<u32>,
}

/// Why `[token]` cannot be used. No text repeats a URI: it may hold a PIN.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The profile cannot be used.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The URI cannot be used.
    #[error("uri: {0}")]
    Uri(#[from] crate::keystore::pkcs11::uri::UriError),
    /// Two keys say the same thing.
    #[error("uri and {key} both say which token: give one of them")]
    Twice {
        /// The other key.
        key: &'static str,
    },
    /// The URI asks for nothing.
    #[error("uri names no token: it needs token=, serial= or another attribute of one")]
    AnyToken,
    /// With these values the profile makes no sense.
    #[error("{0}")]
    Flaw(&'static str),
}

impl TryFrom<Section> for Token {
    type Error = TokenError;

    fn try_from(section: Section) -> Result<Self, TokenError> {
        let profile = TokenProfile::find(section.profile.as_deref().unwrap_or("softhsm2"))?;
        let (merged, pin_file) = section.over(profile)?;
        Ok(Self { section, merged, pin_file })
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.merged == other.merged && self.pin_file == other.pin_file && self.section.pin == other.section.pin
    }
}

impl Eq for Token {}

impl Default for Token {
    fn default() -> Self {
        Self {
            section: Section::default(),
            merged: TokenConfig::new(TokenProfile::default(), DEFAULT_LABEL),
            pin_file: None,
        }
    }
}

impl Token {
    /// The profile with the configuration's values over it.
    #[must_use]
    pub fn config(&self) -> &TokenConfig {
        &self.merged
    }

    /// Says that the token's files lie elsewhere: for a drill, which opens a copy of them.
    pub fn move_storage(&mut self, storage: PathBuf) {
        self.section.storage = Some(storage.clone());
        self.merged.storage = Some(storage);
    }

    /// The PIN's file, if the URI names one.
    #[must_use]
    pub fn pin_file(&self) -> Option<&Path> {
        self.pin_file.as_deref()
    }

    /// Where the section itself says that its PIN is.
    #[must_use]
    pub fn pin(&self) -> Option<&PinSource> {
        self.section.pin.as_ref()
    }

    /// The same configuration over another profile: to probe whether that one would do.
    ///
    /// # Errors
    /// Why the profile cannot be used.
    pub fn with_profile(&self, name: &str) -> Result<TokenConfig, TokenError> {
        Ok(self.section.over(TokenProfile::find(name)?)?.0)
    }
}

impl Section {
    /// Puts what is said over the profile. Gives the URI's PIN file too.
    fn over(&self, mut profile: TokenProfile) -> Result<(TokenConfig, Option<PathBuf>), TokenError> {
        let uri = self.uri.as_deref().map(str::parse::<TokenUri>).transpose()?;
        let (selector, uri_module, pin_file) = match uri {
            Some(TokenUri { selector, module, pin_file }) => {
                let twice = [
                    ("label", self.label.is_some()),
                    ("serial", self.serial.is_some()),
                    ("module", self.module.is_some() && module.is_some()),
                ];
                if let Some((key, _)) = twice.into_iter().find(|(_, both)| *both) {
                    return Err(TokenError::Twice { key });
                }
                if selector.is_empty() {
                    return Err(TokenError::AnyToken);
                }
                (selector, module, pin_file)
            }
            // A serial number alone is enough; without either it is the token of our name.
            None => {
                let label = self.label.clone().or_else(|| self.serial.is_none().then(|| DEFAULT_LABEL.to_owned()));
                (TokenSelector { label, serial: self.serial.clone(), ..TokenSelector::default() }, None, None)
            }
        };
        if let Some(schemes) = &self.schemes {
            let known = &profile.schemes.allowed;
            if let Some(default) = schemes.first().filter(|_| !schemes.contains(&profile.schemes.default)) {
                profile.schemes.default = *default;
            }
            if schemes.iter().any(|scheme| !known.contains(scheme)) {
                return Err(TokenError::Flaw("schemes names one that the profile does not allow"));
            }
            profile.schemes.allowed.clone_from(schemes);
        }
        if let Some(max) = self.object_budget {
            let said = ObjectBudget { max, reserve: 2, counted: Counted::AllObjects };
            profile.objects = Some(profile.objects.map_or(said, |objects| ObjectBudget { max, ..objects }));
        }
        profile.workers = self.workers.unwrap_or(profile.workers);
        profile.worker.memory_limit_mib = self.memory_limit_mib.or(profile.worker.memory_limit_mib);
        let deadlines = &mut profile.deadlines;
        deadlines.operation_ms = self.operation_ms.unwrap_or(deadlines.operation_ms);
        deadlines.key_generation_ms = self.key_generation_ms.unwrap_or(deadlines.key_generation_ms);
        deadlines.hung_after_s = self.hung_after_s.unwrap_or(deadlines.hung_after_s);
        profile.check().map_err(TokenError::Flaw)?;
        let module = self.module.clone().or(uri_module).unwrap_or_else(|| profile.module());
        let (storage, key_budget) = (self.storage.clone(), self.key_budget);
        Ok((TokenConfig { module, selector, storage, key_budget, profile }, pin_file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Token, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn what_is_said_goes_over_the_profile() {
        let bare = parse("").unwrap();
        assert_eq!(bare, Token::default());
        assert_eq!(bare.config().selector, TokenSelector::labelled("strongroom"));
        // A configuration of the first release.
        let old = parse("module = \"/m.so\"\nlabel = \"l\"\nserial = \"5\"\nstorage = \"/s\"\nkey_budget = 9").unwrap();
        let config = old.config();
        assert_eq!((config.module.to_str(), config.key_budget), (Some("/m.so"), Some(9)));
        assert_eq!(config.selector, TokenSelector { serial: Some("5".into()), ..TokenSelector::labelled("l") });
        assert_eq!(config.profile, TokenProfile::default());
        let text = "profile = \"yubihsm2\"\nworkers = 3\nobject_budget = 100\nhung_after_s = 9\nmemory_limit_mib = 64";
        let profile = parse(text).unwrap().config().profile.clone();
        assert_eq!((profile.name.as_str(), profile.workers, profile.deadlines.hung_after_s), ("yubihsm2", 3, 9));
        assert_eq!(profile.worker.memory_limit_mib, Some(64));
        assert_eq!(profile.objects, Some(ObjectBudget { max: 100, reserve: 8, counted: Counted::AllObjects }));
        let derived = parse("schemes = [\"derived\"]").unwrap().config().profile.schemes.clone();
        assert_eq!((derived.allowed, derived.default), (vec![Scheme::Derived], Scheme::Derived));
        let other = bare.with_profile("tpm2").unwrap();
        assert_eq!((other.profile.name.as_str(), other.selector), ("tpm2", TokenSelector::labelled("strongroom")));
    }

    #[test]
    fn a_uri_chooses_token_module_and_pin_file() {
        let token = parse("uri = \"pkcs11:serial=81f2?module-path=/m.so&pin-source=file:/p\"").unwrap();
        assert_eq!(token.config().selector, TokenSelector { serial: Some("81f2".into()), ..TokenSelector::default() });
        assert_eq!((token.config().module.as_path(), token.pin_file()), (Path::new("/m.so"), Some(Path::new("/p"))));
        let token = parse("uri = \"pkcs11:token=a\"\nmodule = \"/n.so\"").unwrap();
        assert_eq!(token.config().module, Path::new("/n.so"));
    }

    #[test]
    fn what_does_not_go_together_is_refused_and_a_pin_is_not_repeated() {
        let check = |text: &str, expected: &str| {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected) && !error.contains("8351"), "{error} should say {expected}");
        };
        check("uri = \"pkcs11:token=a\"\nlabel = \"a\"", "label");
        check("uri = \"pkcs11:token=a\"\nserial = \"a\"", "serial");
        check("uri = \"pkcs11:token=a?module-path=/m.so\"\nmodule = \"/m.so\"", "module");
        check("uri = \"pkcs11:?module-path=/m.so\"", "names no token");
        check("uri = \"pkcs11:token=a?pin-value=8351\"", "pin-value");
        check("profile = \"softhsm3\"", "softhsm3");
        check("schemes = []", "no scheme");
        check("profile = \"yubihsm2\"\nschemes = [\"resident\"]", "does not allow");
        check("workers = 0", "workers");
        check("object_budget = 2", "reserve");
        check("lable = \"x\"", "lable");
    }
}
